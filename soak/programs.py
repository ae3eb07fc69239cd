"""Programs whose every answer is known in advance.

Each one lists what it finds in its workspace, by name and SHA-256, and then changes it. What it
writes is made of a seed that no other program has: whatever was lost, mixed up or somebody else's
shows in a listing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Language = Literal["py", "heredoc", "bash", "js"]
Ending = Literal["well", "raise", "exit", "timeout", "flood", "memory"]
# Name to SHA-256.
Files = Mapping[str, str]

TIMEOUT_MS = 1500
# Above any setting that is likely for the output's limit.
FLOOD_BYTES = 8 * 1024 * 1024
EXIT_CODE = 3
# The runner puts a source beside the files, and programs may leave caches.
NOT_FILES = ("main.py", "index.js", "index.mjs", ".cache")

PYTHON = """\
import hashlib, os, sys, time
writes, removes, seed = {writes!r}, {removes!r}, {seed!r}
for name in sorted(set(os.listdir(".")) - {not_files!r}):
    with open(name, "rb") as file:
        print(name, hashlib.sha256(file.read()).hexdigest())
{work}
time.sleep({pause})
for name, lines in writes.items():
    with open(name, "w") as file:
        file.write((seed + "\\n") * lines)
for name in removes:
    os.remove(name)
print("done", seed, flush=True)
{ending}
"""
PANDAS = """
import pandas as pd
print("sum", int(pd.DataFrame({"a": range(1000)})["a"].sum()))
"""
PANDAS_PRINTS = "sum 499500\n"
FIGURE = """
import matplotlib.pyplot as plt
plt.plot([1, 4, 9]); plt.title(seed); plt.savefig("figure.png"); plt.close()
with open("figure.png", "rb") as file:
    print("figure", hashlib.sha256(file.read()).hexdigest())
"""
FIGURE_NAME = "figure.png"
ENDINGS: dict[Ending, str] = {
    "well": "",
    "raise": "raise ValueError(seed)",
    "exit": f"sys.exit({EXIT_CODE})",
    "timeout": "while True: time.sleep(1)",
    "flood": f"sys.stdout.write('x' * {FLOOD_BYTES})",
    "memory": "kept = bytearray(2 ** 34)",
}
BASH = """\
shopt -s nullglob
for name in *; do
    case $name in {not_files}) continue ;; esac
    sum=$(sha256sum <"$name"); echo "$name ${{sum%% *}}"
done
sleep {pause}
{changes}
echo done {seed}
"""
NODE = """\
const fs = require('fs'), crypto = require('crypto');
const writes = {writes}, removes = {removes}, seed = {seed}, hidden = {not_files};
for (const name of fs.readdirSync('.').filter((name) => !hidden.includes(name)).sort())
  console.log(name, crypto.createHash('sha256').update(fs.readFileSync(name)).digest('hex'));
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, {pause} * 1000);
for (const [name, lines] of Object.entries(writes))
  fs.writeFileSync(name, `${{seed}}\\n`.repeat(lines));
for (const name of removes) fs.unlinkSync(name);
console.log('done', seed);
"""


def content(seed: str, lines: int) -> bytes:
    return f"{seed}\n".encode() * lines


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def listing(files: Files) -> str:
    return "".join(f"{name} {files[name]}\n" for name in sorted(files))


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    seed: str
    language: Language = "py"
    # Name to number of lines.
    writes: Mapping[str, int] = field(default_factory=dict)
    removes: tuple[str, ...] = ()
    ending: Ending = "well"
    figure: bool = False
    pause: float = 0

    @property
    def kind(self) -> str:
        """As what it is counted and timed."""
        if self.figure:
            return "figure"
        return self.language if self.ending == "well" else self.ending

    @property
    def sent_as(self) -> str:
        return "bash" if self.language == "heredoc" else self.language

    @property
    def timeout_ms(self) -> int:
        return TIMEOUT_MS if self.ending == "timeout" else 0

    def source(self) -> str:
        if self.language == "bash":
            changes = [
                *(f"yes {self.seed} | head -n {n} >{name}" for name, n in self.writes.items()),
                *(f"rm {name}" for name in self.removes),
            ]
            return BASH.format(
                not_files="|".join(NOT_FILES),
                pause=self.pause,
                changes="\n".join(changes),
                seed=self.seed,
            )
        if self.language == "js":
            return NODE.format(
                writes=json.dumps(dict(self.writes)),
                removes=json.dumps(self.removes),
                seed=json.dumps(self.seed),
                not_files=json.dumps(NOT_FILES),
                pause=self.pause,
            )
        python = PYTHON.format(
            writes=dict(self.writes),
            removes=self.removes,
            seed=self.seed,
            not_files=set(NOT_FILES),
            pause=self.pause,
            work=PANDAS if self.language == "heredoc" else FIGURE if self.figure else "",
            ending=ENDINGS[self.ending],
        )
        return f"python3 - <<'PROGRAM'\n{python}PROGRAM\n" if self.language == "heredoc" else python

    def prints(self, before: Files, figure: str = "") -> str:
        work = PANDAS_PRINTS if self.language == "heredoc" else ""
        if self.figure:
            work = f"figure {figure}\n"
        return f"{listing(before)}{work}done {self.seed}\n"

    def after(self, before: Files, figure: str = "") -> dict[str, str]:
        kept = {name: sha for name, sha in before.items() if name not in self.removes}
        if self.figure:
            kept[FIGURE_NAME] = figure
        return kept | {name: digest(content(self.seed, n)) for name, n in self.writes.items()}

    @property
    def written(self) -> set[str]:
        return {*self.writes, *((FIGURE_NAME,) if self.figure else ())}
