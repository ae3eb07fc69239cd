"""The use cases. The API layer calls these and nothing below them."""

from sandbox.services.clock import StepClock
from sandbox.services.executing import execute
from sandbox.services.files import (
    Incoming,
    UploadResult,
    delete_file,
    get_file,
    get_session,
    list_files,
    open_file,
    upload,
)
from sandbox.services.requests import (
    NO_SCOPE,
    Abandoned,
    Caller,
    FileRef,
    Inherited,
    Outcome,
    Output,
    RunRequest,
    Scope,
)

__all__ = [
    "NO_SCOPE",
    "Abandoned",
    "Caller",
    "FileRef",
    "Incoming",
    "Inherited",
    "Outcome",
    "Output",
    "RunRequest",
    "Scope",
    "StepClock",
    "UploadResult",
    "delete_file",
    "execute",
    "get_file",
    "get_session",
    "list_files",
    "open_file",
    "upload",
]
