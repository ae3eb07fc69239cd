"""Settings that cannot work are refused at start."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from sandbox import seccomp
from sandbox.runner.protocol import MAX_CONTROL

POSITIVE = (
    "SANDBOX_CPUS",
    "SANDBOX_WARMING_CPUS",
    "SANDBOX_PIDS",
    "SANDBOX_POOL_STARTS",
    "SANDBOX_WORKSPACE_MB",
    "SANDBOX_TMP_MB",
    "SANDBOX_SHM_MB",
    "SANDBOX_INODES",
    "SANDBOX_OPEN_FILES",
    "SANDBOX_RUN_SECONDS",
    "SANDBOX_OUTPUT_BYTES",
    "SANDBOX_UPLOAD_MB",
    "SANDBOX_BODY_MB",
    "SANDBOX_FILE_MB",
    "SANDBOX_MAX_OUTPUT_FILES",
    "SANDBOX_MAX_INPUT_FILES",
    "SANDBOX_MAX_SESSION_FILES",
    "SANDBOX_MAX_CONTAINERS",
    "SANDBOX_SESSION_HOURS",
)
# A container that cannot even hold its runner and one interpreter.
SMALLEST_MEMORY_MB = 64


@register()
def check_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = [
        Error(f"{name} must be more than 0.", hint=f"It is {value}.", id="sandbox.E001")
        for name in POSITIVE
        if (value := getattr(settings, name)) <= 0
    ]
    if settings.SANDBOX_MEMORY_MB < SMALLEST_MEMORY_MB:
        found.append(
            Error(f"SANDBOX_MEMORY_MB must be at least {SMALLEST_MEMORY_MB}.", id="sandbox.E002")
        )
    if settings.SANDBOX_MAX_RUN_SECONDS < settings.SANDBOX_RUN_SECONDS:
        found.append(
            Error(
                "SANDBOX_MAX_RUN_SECONDS must not be less than SANDBOX_RUN_SECONDS.",
                id="sandbox.E003",
            )
        )
    if not 0 <= settings.SANDBOX_POOL_SIZE < settings.SANDBOX_MAX_CONTAINERS:
        found.append(
            Error(
                "SANDBOX_POOL_SIZE must be less than SANDBOX_MAX_CONTAINERS.",
                hint="Containers waiting in the pool count as well.",
                id="sandbox.E004",
            )
        )
    # As JSON, with the hash and some punctuation for each name.
    if settings.SANDBOX_MAX_SESSION_FILES * (settings.SANDBOX_MAX_PATH + 150) > MAX_CONTROL:
        found.append(
            Error(
                "SANDBOX_MAX_SESSION_FILES with names of SANDBOX_MAX_PATH bytes are more than the"
                " server and a container can tell each other at once.",
                hint=f"A list of all names must fit into {MAX_CONTROL} bytes.",
                id="sandbox.E005",
            )
        )
    writable = settings.SANDBOX_WORKSPACE_MB + settings.SANDBOX_TMP_MB + settings.SANDBOX_SHM_MB
    if writable >= settings.SANDBOX_MEMORY_MB:
        found.append(
            Warning(
                "A session's files can use up all of its container's memory.",
                hint="SANDBOX_WORKSPACE_MB, SANDBOX_TMP_MB and SANDBOX_SHM_MB together should be"
                " less than SANDBOX_MEMORY_MB: they are kept in memory.",
                id="sandbox.W001",
            )
        )
    if settings.SANDBOX_SESSION_HOURS < 24:
        found.append(
            Warning(
                "SANDBOX_SESSION_HOURS is less than 24.",
                hint="LibreChat trusts an uploaded file for 23 hours without asking.",
                id="sandbox.W002",
            )
        )
    return found


@register()
def check_seccomp(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    try:
        profile = seccomp.read(settings.SANDBOX_SECCOMP)
    except ImproperlyConfigured as error:
        return [
            Error(
                f"SANDBOX_SECCOMP: {error}.",
                hint="It is the path of a seccomp profile in Docker's format. Leave it empty for"
                " the one in sandbox/seccomp.json; containers without any are not offered.",
                id="sandbox.E006",
            )
        ]
    if seccomp.allows_by_default(profile):
        return [
            Warning(
                "SANDBOX_SECCOMP: the profile allows every system call that it does not name.",
                hint="So it allows what future kernels bring. Start from sandbox/seccomp.json,"
                " which names what is allowed.",
                id="sandbox.W003",
            )
        ]
    return []
