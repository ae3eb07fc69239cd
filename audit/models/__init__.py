from audit.models.audit_entry import AuditEntry
from audit.models.container import SandboxContainer
from audit.models.execution import Execution
from audit.models.file import SandboxFile, SandboxInput
from audit.models.limit_hit import LimitHit
from audit.models.live_run import LiveRun
from audit.models.report import Report
from audit.models.rollup import HourlyCount, HourlyDurations, RolledUpHour
from audit.models.search import SearchEntry, SearchProgress
from audit.models.session import SandboxSession
from audit.models.usage import Reservation, Usage

__all__ = [
    "AuditEntry",
    "Execution",
    "HourlyCount",
    "HourlyDurations",
    "LimitHit",
    "LiveRun",
    "Report",
    "Reservation",
    "RolledUpHour",
    "SandboxContainer",
    "SandboxFile",
    "SandboxInput",
    "SandboxSession",
    "SearchEntry",
    "SearchProgress",
    "Usage",
]
