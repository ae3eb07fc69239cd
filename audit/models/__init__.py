from audit.models.container import SandboxContainer
from audit.models.execution import Execution
from audit.models.file import SandboxFile, SandboxInput
from audit.models.session import SandboxSession

__all__ = ["Execution", "SandboxContainer", "SandboxFile", "SandboxInput", "SandboxSession"]
