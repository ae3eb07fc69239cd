"""The container engine: does it answer, to whom, and can it keep our limits."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from sandbox.doctor.store import check_room
from sandbox.engines import engine
from sandbox.engines.base import EngineInfo
from sandbox.errors import EngineUnavailable
from sandbox.findings import Finding, fail, ok, skip, warn

SOCKET = "/var/run/docker.sock"
OTHERS_CAN_WRITE = stat.S_IWOTH
ROOT_OF_MACHINE = "whoever can reach the engine is root on its machine"


def check() -> Iterator[Finding]:
    yield check_access(os.environ.get("DOCKER_HOST") or f"unix://{SOCKET}")
    try:
        info = engine().info()
    except EngineUnavailable as error:
        yield fail(
            "engine.reachable",
            str(error),
            "Start Docker, let this user reach its socket, or correct DOCKER_HOST.",
        )
        return
    yield ok("engine.reachable", f"version {info.version}")
    yield _check_runtime(info)
    yield _check_cgroups(info)
    yield _check_seccomp(info)
    yield _check_root(info)


def check_access(host: str) -> Finding:
    check, parts = "engine.access", urlsplit(host)
    if parts.scheme == "unix":
        return _check_socket(Path(parts.path or SOCKET))
    if os.environ.get("DOCKER_TLS_VERIFY") or parts.scheme == "ssh":
        return ok(check, f"{parts.scheme}, and the engine asks who one is")
    if _is_loopback(parts.hostname or ""):
        advice = "Use the Unix socket: every user of this machine can reach that port."
        return warn(check, f"{host} asks nobody who one is; {ROOT_OF_MACHINE}", advice)
    advice = "Give it TLS and set DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, or go by ssh://."
    return fail(check, f"{host} asks nobody who one is; {ROOT_OF_MACHINE}", advice)


def _check_socket(path: Path) -> Finding:
    check = "engine.access"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return skip(check, f"{path}: {error.strerror}")
    if mode & OTHERS_CAN_WRITE:
        text = f"every user of this machine can write to {path}; {ROOT_OF_MACHINE}"
        # Not for --fix: the socket is the engine's, which makes it anew at its next start.
        return fail(check, text, f"chmod o-rwx {path}, and look for who changed it.")
    return ok(check, f"{path} is closed to others")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _check_runtime(info: EngineInfo) -> Finding:
    check, wanted = "engine.runtime", settings.SANDBOX_RUNTIME
    if wanted and wanted not in info.runtimes:
        known = ", ".join(sorted(info.runtimes))
        advice = "Put it under `runtimes` of /etc/docker/daemon.json and reload the engine."
        return fail(check, f"SANDBOX_RUNTIME={wanted}, but the engine knows {known}", advice)
    return ok(check, wanted or f"{info.default_runtime}, the engine's default")


def _check_cgroups(info: EngineInfo) -> Finding:
    check, version = "engine.cgroups", f"version {info.cgroup_version or 'unknown'}"
    if set(info.unsupported) == {"swap"}:
        return warn(
            check,
            f"{version}, without a limit on swap: programs can have more than SANDBOX_MEMORY_MB",
            "Boot with swapaccount=1, or turn swap off.",
        )
    if info.unsupported:
        missing = ", ".join(info.unsupported)
        advice = "Have the kernel's cgroup controllers delegated to the engine, or its user."
        return fail(check, f"{version}; the engine cannot limit: {missing}", advice)
    return ok(check, f"{version}, with all limits that we use")


def _check_seccomp(info: EngineInfo) -> Finding:
    if info.has_seccomp:
        return ok("engine.seccomp", "the engine filters system calls")
    text = "the engine cannot filter system calls"
    return fail("engine.seccomp", text, "Use a kernel and an engine with seccomp.")


def _check_root(info: EngineInfo) -> Finding:
    check, root = "engine.room", Path(info.root_directory or "/nowhere")
    try:
        return check_room(check, root, f"the engine in {root}")
    except OSError:
        return skip(check, f"{root} cannot be seen from here")
