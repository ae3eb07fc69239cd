from audit.admin import dashboard, use_of_keys  # noqa: F401  They change the site.
from audit.admin.containers import SandboxContainerAdmin
from audit.admin.executions import ExecutionAdmin
from audit.admin.files import SandboxFileAdmin
from audit.admin.sessions import SandboxSessionAdmin

__all__ = ["ExecutionAdmin", "SandboxContainerAdmin", "SandboxFileAdmin", "SandboxSessionAdmin"]
