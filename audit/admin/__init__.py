from audit.admin import dashboard, quotas_of_keys, use_of_keys  # noqa: F401  They change the site.
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
