"""Finds out, when the image is built, what each import alone loads.

`python3 brought_along.py preload.txt > brought_along.json`. Imports nothing before the end that a
fresh interpreter does not have: its own modules would be missing from the answers.
"""

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Names of modules, in the order in which they are loaded, by what is imported.
Groups = dict[str, list[str]]

# Modules deeper than this are imported by their packages, not by programs.
MAX_DEPTH = 3


def in_child(work: "Callable[[], Groups]") -> Groups:
    """The result of `work()`, done in a fork so that nothing of it stays."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with open(writer, "wb") as file:
            marshal.dump(work(), file)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        answer = file.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"a child ended with status {status}")
    groups: Groups = marshal.loads(answer)  # noqa: S302 - our own child's
    return groups


def load(name: str) -> list[str]:
    """What the import adds; nothing where the module cannot be imported by itself."""
    before = set(sys.modules)
    try:
        __import__(name)
    except Exception:  # noqa: BLE001 - whatever modules raise that are not meant for this
        return []
    return [module for module in sys.modules if module not in before]


def is_imported_by_programs(name: str) -> bool:
    parts = name.split(".")
    return len(parts) <= MAX_DEPTH and not any(part.startswith("_") for part in parts[1:])


def explore(name: str, names: "Iterable[str]") -> Groups:
    """For a name and, where its import does not load them all, those below it."""
    groups = {name: load(name)}
    for other in names:
        parent = other.rpartition(".")[0]
        if other.startswith(f"{name}.") and parent in sys.modules and other not in sys.modules:
            groups |= in_child(lambda other=other: explore(other, names))
    return groups


def preloaded(names: "Iterable[str]") -> Groups:
    before = set(sys.modules)
    for name in names:
        __import__(name)
    # It lies beside this, and imports what programs import at the first use of something.
    from rehearsal import rehearse

    rehearse()
    return {"": [name for name in sys.modules if name not in before]}


def main() -> None:
    with open(sys.argv[1]) as file:
        listed = file.read().split()
    names = [
        name for name in in_child(lambda: preloaded(listed))[""] if is_imported_by_programs(name)
    ]
    groups: Groups = {}
    for name in names:
        if "." not in name:
            groups |= in_child(lambda name=name: explore(name, names))
    import json

    json.dump({name: group for name, group in groups.items() if group}, sys.stdout)


main()
