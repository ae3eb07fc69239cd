"""A container made as good as new: the same tests on the fake and on the real engine."""

from __future__ import annotations

from sandbox.channel import CollectRequest
from tests.containers import LIMITS, Sandbox, run_limits, sink_into

# All places that a program can write to, as it finds them and leaves them.
PLACES = """
import os, tempfile
for place in (os.getcwd(), tempfile.gettempdir()):
    names = sorted(set(os.listdir(place)) - {"main.py", ".cache"})
    print(oct(os.stat(place).st_mode & 0o7777), names, os.listxattr(place))
"""


def reset(sandbox: Sandbox) -> None:
    with sandbox.attach() as channel:
        channel.reset()


def test_nothing_is_left_of_what_was_there(sandbox: Sandbox) -> None:
    sandbox.put({"new/a": b"1", "new/b/c": b"2", "d": b"3"}, read_only=True)
    reset(sandbox)
    fresh = sandbox.output(PLACES)
    sandbox.bash(
        "mkdir -p deep/er $TMPDIR/x/y .hidden .removed-0 .removed-1; touch .removed-2 deep/.f;"
        "mkfifo $TMPDIR/fifo; ln -s / root; ln -s /nowhere deep/er/dangling; touch $TMPDIR/.t;"
        "echo -n > $'odd \\xff name'; chmod 0 deep/er deep .hidden . $TMPDIR"
    )
    reset(sandbox)
    assert sandbox.output(PLACES) == fresh
    assert sandbox.files() == {}


def test_nothing_is_left_of_a_tree_of_any_depth(sandbox: Sandbox) -> None:
    code = "import os\nos.mkdir('deep'); os.chdir('deep')\n"
    sandbox.output(code + "for _ in range(1500): os.mkdir('d'); os.chdir('d')")
    reset(sandbox)
    assert sandbox.bash("ls -A | grep -v main; true") == ""


def test_nothing_is_left_of_as_many_files_as_fit(sandbox: Sandbox) -> None:
    """Half of them are directories, with names that a removal would like to use."""
    sandbox.output(
        "import os\ntry:\n    for n in range(9990):\n"
        "        os.makedirs(f'.removed-{n}/x')\nexcept OSError: pass"
    )
    reset(sandbox)
    assert sandbox.bash("ls -A | grep -v main; true") == ""


def test_a_run_goes_on_with_what_it_left(sandbox: Sandbox) -> None:
    sandbox.put({"same": b"1", "changed": b"2"})
    known = {entry.name: entry.sha256 for entry in sandbox.collect()[0].entries}
    received: dict[str, bytes] = {}
    request = CollectRequest(known=known, limits=LIMITS)
    with sandbox.attach() as channel:
        result = channel.run(
            language="bash",
            code=b"echo out; echo 3 > changed; head -c 600000 /dev/zero > large",
            args=(),
            limits=run_limits(wall_seconds=10),
            abandoned=lambda: False,
            then_collect=request,
        )
        collection = channel.receive_collection(request, sink_into(received))
        # The channel is ready for the next request.
        assert channel.hello(5).version
    assert result.stdout == b"out\n"
    assert {entry.name for entry in collection.entries} == {"same", "changed", "large"}
    assert received == {"changed": b"3\n", "large": b"\0" * 600_000}
