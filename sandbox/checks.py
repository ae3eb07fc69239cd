"""Settings that cannot work are refused at start."""

import math
import re
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from keys.limits import LIMITS
from sandbox import images, seccomp
from sandbox.runner.protocol import MAX_CONTROL

IMAGE_NAME = re.compile("[a-z0-9][a-z0-9-]{0,62}")
# Those that are no limit of a program.
POSITIVE = (
    "SANDBOX_WARMING_CPUS",
    "SANDBOX_RUN_SECONDS",
    "SANDBOX_UPLOAD_MB",
    "SANDBOX_BODY_MB",
    "SANDBOX_MAX_INPUT_FILES",
    "SANDBOX_POOL_STARTS",
    "SANDBOX_MAX_CONTAINERS",
    "SANDBOX_SESSION_HOURS",
)
# What is within what: both are megabytes.
WITHIN = (
    ("SANDBOX_WORKSPACE_MB", "SANDBOX_MEMORY_MB", "its files are kept in memory"),
    ("SANDBOX_TMP_MB", "SANDBOX_MEMORY_MB", "its files are kept in memory"),
    ("SANDBOX_SHM_MB", "SANDBOX_MEMORY_MB", "its files are kept in memory"),
    ("SANDBOX_FILES_MB", "SANDBOX_WORKSPACE_MB", "that is where the files are"),
)


def is_number(value: float, *, lowest: float) -> bool:
    """Infinity is none that an engine takes; and what is not a number is less than nothing."""
    return math.isfinite(value) and value >= lowest


@register()
def check_limits(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = [
        Error(
            f"{limit.setting} must be at least {limit.lowest}.",
            hint=f"It is {limit.of_server}. Set it to a number of {limit.unit}: {limit.meaning}",
            id="sandbox.E001",
        )
        for limit in LIMITS
        if not is_number(limit.of_server, lowest=limit.lowest)
    ]
    for inner, outer, reason in WITHIN:
        if getattr(settings, inner) > getattr(settings, outer):
            found.append(
                Error(
                    f"{inner} is more than {outer}.",
                    hint=f"It is {getattr(settings, inner)} and must not be more than "
                    f"{getattr(settings, outer)}: {reason}. Lower it, or raise {outer}.",
                    id="sandbox.E002",
                )
            )
    return found


@register()
def check_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = [
        Error(f"{name} must be more than 0.", hint=f"It is {value}.", id="sandbox.E001")
        for name in POSITIVE
        if not (is_number(value := getattr(settings, name), lowest=0) and value)
    ]
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
def check_images(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    further, default = settings.SANDBOX_IMAGES, settings.SANDBOX_IMAGE
    found: list[CheckMessage] = [
        Error(
            f"SANDBOX_IMAGES: {name!r} is no name for an image.",
            hint="Names are lower-case letters, digits and -, up to 63 of them: science=image:tag",
            id="sandbox.E007",
        )
        for name in further
        if not IMAGE_NAME.fullmatch(name)
    ]
    if further.get(images.DEFAULT, default) != default:
        found.append(
            Error(
                "SANDBOX_IMAGES names another image as the default one than SANDBOX_IMAGE.",
                hint=f"SANDBOX_IMAGE is {default!r}. Leave default= out.",
                id="sandbox.E007",
            )
        )
    sizes = settings.SANDBOX_IMAGE_POOL_SIZES
    for name in sizes.keys() - (further.keys() - {images.DEFAULT}):
        found.append(
            Error(
                f"SANDBOX_IMAGE_POOL_SIZES: {name!r} is not one of SANDBOX_IMAGES.",
                hint="The pool of the default image has SANDBOX_POOL_SIZE containers.",
                id="sandbox.E008",
            )
        )
    waiting = settings.SANDBOX_POOL_SIZE + sum(sizes.values())
    if min(sizes.values(), default=0) < 0 or (sizes and waiting >= settings.SANDBOX_MAX_CONTAINERS):
        found.append(
            Error(
                "SANDBOX_POOL_SIZE and SANDBOX_IMAGE_POOL_SIZES together must be less than"
                " SANDBOX_MAX_CONTAINERS, and none less than 0.",
                hint="Containers waiting in the pool count as well.",
                id="sandbox.E008",
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
