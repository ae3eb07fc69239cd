"""Which system calls a container can make: a seccomp profile in the format that Docker takes."""

from __future__ import annotations

import errno
import json
from functools import cache
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

# Why each call is in it or not is said in the file.
SHIPPED = Path(__file__).with_suffix(".json")
ACTION_ALLOW = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")


@cache
def profile(path: str) -> str:
    """As JSON, which goes to the engine as it is; of no path, ours. It is read once: all of a
    server's containers have the same."""
    return json.dumps(read(path), separators=(",", ":"))


@cache
def for_gvisor(profile: str) -> str:
    """The same in words that gVisor understands.

    It refuses with EPERM whatever number a rule names. But with ENOSYS in place of `clone3` the C
    library takes an older call, and with EPERM there are no threads at all. A call that its tracer
    decides on is answered with ENOSYS where there is none, and no program may trace another.
    """
    found = json.loads(profile)
    for rule in found["syscalls"]:
        if rule.get("action") == "SCMP_ACT_ERRNO" and rule.get("errnoRet") == errno.ENOSYS:
            rule["action"] = "SCMP_ACT_TRACE"
            del rule["errnoRet"]
    return json.dumps(found, separators=(",", ":"))


def read(path: str) -> dict[str, Any]:
    """Raises `ImproperlyConfigured` for what is no profile. The rest is the engine's to judge, but
    it takes an object without rules as the wish for no profile at all."""
    file = Path(path) if path else SHIPPED
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise ImproperlyConfigured(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ImproperlyConfigured(f"{file} is not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("defaultAction"), str):
        raise ImproperlyConfigured(f"{file} is no seccomp profile: it has no defaultAction")
    if not isinstance(found.get("syscalls"), list) or not found["syscalls"]:
        raise ImproperlyConfigured(f"{file} is no seccomp profile: it has no syscalls")
    return found


def allows_by_default(found: dict[str, Any]) -> bool:
    """Whether it is a list of what is refused, on which no future call is."""
    return found["defaultAction"] in ACTION_ALLOW
