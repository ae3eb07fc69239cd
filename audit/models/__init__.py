from audit.models.container import SandboxContainer
from audit.models.execution import Execution
from audit.models.file import SandboxFile, SandboxInput
from audit.models.limit_hit import LimitHit
from audit.models.rollup import HourlyCount, HourlyDurations, RolledUpHour
from audit.models.session import SandboxSession

__all__ = [
    "Execution",
    "HourlyCount",
    "HourlyDurations",
    "LimitHit",
    "RolledUpHour",
    "SandboxContainer",
    "SandboxFile",
    "SandboxInput",
    "SandboxSession",
]
