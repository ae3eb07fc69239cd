"""What a program must not be able to do, asked from inside a container."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sandbox.findings import Finding, fail, ok, skip
from sandbox.probe import Probe

PROGRAM = """
import ctypes, errno, json, os, socket

found = {}
for line in open("/proc/self/status"):
    name, _, value = line.partition(":")
    found[name] = value.strip()
with open("/proc/self/mounts") as mounts:
    roots = [line.split()[3].split(",") for line in mounts if line.split()[1] == "/"]
found["root"] = bool(roots) and "ro" in roots[-1]
found["interfaces"] = sorted(set(os.listdir("/sys/class/net")) - {"lo"})
found["reached"] = []
for address in [("1.1.1.1", 53), ("169.254.169.254", 80), ("172.17.0.1", 80)]:
    with socket.socket() as probe:
        probe.settimeout(2)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            found["reached"].append(address[0])
        except OSError:
            pass
        else:
            found["reached"].append(address[0])
CLONE_NEWUSER = 0x10000000
libc = ctypes.CDLL(None, use_errno=True)
found["namespace"] = libc.unshare(CLONE_NEWUSER) == 0
found["uid"] = os.getuid()
print(json.dumps(found))
"""
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
REPORT = "Let no program run here until that is mended; compare with sandbox/confinement.py."


def check(probe: Probe) -> Iterator[Finding]:
    result = probe.run(PROGRAM)
    try:
        found = json.loads(result.stdout)
    except ValueError:
        said = result.stderr.decode(errors="replace").strip().splitlines()
        yield fail("isolation", f"the program that looks failed: {said[-1:]}", REPORT)
        return
    yield _network(found)
    yield _seccomp(found)
    yield _privileges(found)
    yield _capabilities(found)
    yield _root(found)


def _network(found: dict[str, Any]) -> Finding:
    check = "isolation.network"
    if found["interfaces"] or found["reached"]:
        text = f"a program has a network: {found['interfaces']}, reached: {found['reached']}"
        return fail(check, text, REPORT)
    return ok(check, "none but its own loopback")


def _seccomp(found: dict[str, Any]) -> Finding:
    check, mode = "isolation.seccomp", found.get("Seccomp")
    if found["namespace"]:
        return fail(check, "a program can make namespaces", REPORT)
    if mode is None:
        # gVisor's kernel does not tell, and refuses by itself.
        return skip(check, "the kernel does not say; it refuses namespaces")
    if mode != "2":
        return fail(check, f"system calls are not filtered (mode {mode})", REPORT)
    return ok(check, "system calls are filtered")


def _privileges(found: dict[str, Any]) -> Finding:
    check, flag = "isolation.privileges", found.get("NoNewPrivs")
    if found["uid"] == 0:
        return fail(check, "programs run as root", REPORT)
    if flag is None:
        return skip(check, "the kernel does not say whether a program can gain privileges")
    if flag != "1":
        return fail(check, "a program can gain privileges", REPORT)
    return ok(check, f"uid {found['uid']}, and no way to gain privileges")


def _capabilities(found: dict[str, Any]) -> Finding:
    held = [name for name in CAPABILITIES if int(found.get(name, "0"), 16)]
    if held:
        values = ", ".join(f"{name} {found[name]}" for name in held)
        return fail("isolation.capabilities", f"a program has some: {values}", REPORT)
    return ok("isolation.capabilities", "none")


def _root(found: dict[str, Any]) -> Finding:
    if not found["root"]:
        return fail("isolation.root", "the root file system can be written to", REPORT)
    return ok("isolation.root", "read-only")
