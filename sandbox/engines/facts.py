"""What Docker's API says of the engine and its images, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sandbox.engines.base import EngineInfo, ImageInfo

# What `docker info` warns of, too, by the field that says so.
SUPPORT = {
    "MemoryLimit": "memory",
    "SwapLimit": "swap",
    "CpuCfsPeriod": "CPU period",
    "CpuCfsQuota": "CPU quota",
    "PidsLimit": "processes",
}


def engine_info(info: Mapping[str, Any]) -> EngineInfo:
    options = info.get("SecurityOptions") or []
    return EngineInfo(
        version=info.get("ServerVersion", ""),
        runtimes=frozenset(info.get("Runtimes") or {}),
        default_runtime=info.get("DefaultRuntime", ""),
        cgroup_version=info.get("CgroupVersion", ""),
        # A field that an engine does not have is one of another engine that speaks Docker's API.
        unsupported=tuple(name for key, name in SUPPORT.items() if info.get(key) is False),
        has_seccomp=any(option.startswith("name=seccomp") for option in options),
        root_directory=info.get("DockerRootDir", ""),
    )


def image_info(image: Mapping[str, Any]) -> ImageInfo:
    return ImageInfo(
        id=image["Id"],
        created_at=datetime.fromisoformat(image["Created"]),
        size_bytes=image["Size"],
        labels=image["Config"].get("Labels") or {},
    )
