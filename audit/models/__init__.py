from audit.models.container import SandboxContainer
from audit.models.execution import Execution
from audit.models.file import SandboxFile, SandboxInput
from audit.models.limit_hit import LimitHit
from audit.models.report import Report
from audit.models.session import SandboxSession

__all__ = [
    "Execution",
    "LimitHit",
    "Report",
    "SandboxContainer",
    "SandboxFile",
    "SandboxInput",
    "SandboxSession",
]
