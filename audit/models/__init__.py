from audit.models.container import SandboxContainer
from audit.models.execution import Execution
from audit.models.file import SandboxFile, SandboxInput
from audit.models.limit_hit import LimitHit
from audit.models.live_run import LiveRun
from audit.models.session import SandboxSession

__all__ = [
    "Execution",
    "LimitHit",
    "LiveRun",
    "SandboxContainer",
    "SandboxFile",
    "SandboxInput",
    "SandboxSession",
]
