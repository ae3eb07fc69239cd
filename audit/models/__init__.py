from audit.models.audit_entry import AuditEntry
from audit.models.container import SandboxContainer
from audit.models.execution import Execution
from audit.models.file import SandboxFile, SandboxInput
from audit.models.limit_hit import LimitHit
from audit.models.session import SandboxSession

__all__ = [
    "AuditEntry",
    "Execution",
    "LimitHit",
    "SandboxContainer",
    "SandboxFile",
    "SandboxInput",
    "SandboxSession",
]
