from audit.admin import quotas_of_keys  # noqa: F401  It changes a page of the keys.
from audit.admin.containers import SandboxContainerAdmin
from audit.admin.executions import ExecutionAdmin
from audit.admin.files import SandboxFileAdmin
from audit.admin.log import LogEntryAdmin
from audit.admin.sessions import SandboxSessionAdmin

__all__ = [
    "ExecutionAdmin",
    "LogEntryAdmin",
    "SandboxContainerAdmin",
    "SandboxFileAdmin",
    "SandboxSessionAdmin",
]
