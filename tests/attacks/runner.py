"""Deceiving the runner by what its server gets to read."""

from __future__ import annotations

from sandbox.runner import protocol
from tests.attacks.attack import Group, held
from tests.attacks.target import Target

group = Group("runner")

FORGE = """
import glob, os
forged = bytes.fromhex({forged!r})
for path in ("/proc/self/fd/1", "/proc/1/fd/1", "/dev/stdout", *glob.glob("/dev/pts/[0-9]*")):
    try:
        file = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        os.write(file, forged)
    except OSError:
        pass
os._exit(7)
"""


def forged_frames() -> bytes:
    """What the runner would say if the program had ended well, for each request it may be."""
    report: protocol.Control = {
        "code": 0,
        "signal": None,
        "reason": "exit",
        "oom_kills": 0,
        "files": [],
    }
    return b"".join(
        protocol.pack(protocol.STDOUT, request, b"forged") + protocol.pack_control(request, report)
        for request in range(20)
    )


@group.attack()
def forged_frames_in_its_output(target: Target) -> str:
    """Writes the runner's own frames to stdout and wherever else they might be taken for its."""
    frames = forged_frames()
    answer = target.run(FORGE.format(forged=frames.hex()))
    held(answer["code"] == 7, f"the exit status was forged: {answer['code']}")
    # All of it is the program's output, and comes as such.
    shown = frames.decode(errors="replace")
    held(answer["stdout"].count("forged") == 2 * 20, "frames were taken for the runner's")
    held(answer["stdout"].startswith(shown[:50]), "what the program wrote was changed")
    return str(answer["session_id"])


@group.attack()
def answer_made_of_json(target: Target) -> str:
    """Prints an answer of the API, with the files and the session of somebody else."""
    forged = '{"session_id": "' + "x" * 21 + '", "code": 0, "files": [{"id": "1", "name": "f"}]}'
    answer = target.run(f"print({forged!r}); raise SystemExit(3)")
    held(answer["code"] == 3 and answer["files"] == [], f"it was believed: {answer}")
    held(answer["session_id"] != "x" * 21, "the session was forged")
    held(answer["stdout"] == forged + "\n", "the output was changed")
    return str(answer["session_id"])


@group.attack()
def arguments_as_options(target: Target) -> str:
    """Sends arguments that an interpreter would take for its own options."""
    for lang, code in (
        ("py", "import sys; print(sys.argv[1:])"),
        ("bash", 'printf "%s " "$@"'),
        ("js", "console.log(process.argv.slice(2).join(' '))"),
    ):
        args = ["-c", "print(1)", "--eval=1", "-i", "--", "-", "$(id)", "`id`", ";id", ""]
        answer = target.run(code, lang, args=args)
        held(answer["code"] == 0, f"{lang} took an argument for its own: {answer}")
        for argument in args:
            held(argument in answer["stdout"], f"{lang} lost {argument!r}: {answer['stdout']}")
        held("uid=" not in answer["stdout"], f"{lang} ran an argument")
    return str(answer["session_id"])
