# In front of each program that calls these. Whatever a program prints, it got: one that is refused
# everything prints nothing.
import ctypes
import os
from collections.abc import Callable, Iterator
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)


def attempt(what: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        result = call(*arguments, **named)
    except OSError:
        return None
    print(what, "worked:", repr(result)[:200])
    return result


def native(name: str, *arguments: Any) -> int:
    """A function of the C library, with an error as Python has it."""
    function = getattr(libc, name)
    function.restype = ctypes.c_long
    result: int = function(*[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    # Of some only the lower half counts.
    if result & 0xFFFFFFFF == 0xFFFFFFFF:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def system_call(number: int, *arguments: Any) -> int:
    return native("syscall", number, *arguments)


def prctl(*arguments: int) -> int:
    return native("prctl", *arguments, *[0] * (5 - len(arguments)))


def open_to_write(path: str) -> str:
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    return "opened to write"


def others() -> Iterator[int]:
    """The processes of the sandbox itself: not this program's, nor its children's."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}").st_uid != os.getuid() or pid == "1":
                yield int(pid)
        except FileNotFoundError:
            pass
