from sandbox.admin.containers import ContainerAdmin
from sandbox.admin.files import StoredFileAdmin
from sandbox.admin.sessions import SessionAdmin

__all__ = ["ContainerAdmin", "SessionAdmin", "StoredFileAdmin"]
