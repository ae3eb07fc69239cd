"""What can go wrong in our world. A program that fails is not here: that is a result."""


class SandboxError(Exception):
    """The base of all; its text may be shown to the caller."""


class EngineUnavailable(SandboxError):
    """The container engine does not answer."""


class ImageMissing(EngineUnavailable):
    """The sandbox image has not been built."""


class RunnerMismatch(EngineUnavailable):
    """The image holds another version of the runner than this server speaks with."""


class ContainerLost(SandboxError):
    """The container died, or what it says can no longer be trusted; it must be discarded."""


class ProtocolError(ContainerLost):
    """The container broke the runner protocol."""


class WorkspaceFull(SandboxError):
    """The session's files do not fit into the container's workspace, of which `limits` says what
    there is too little of."""

    def __init__(self, message: str = "", *, limits: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.limits = limits


class AtCapacity(SandboxError):
    """No container became free in time."""

    def __init__(self, message: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QuotaExceeded(SandboxError):
    """The key, or the user, has used all that it may for now."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class StorageQuotaExceeded(SandboxError):
    """An upload does not fit into what the key, or the user, may keep in the store. `quota` is the
    name of the one that is in its way."""

    def __init__(self, message: str, *, quota: str) -> None:
        super().__init__(message)
        self.quota = quota


class Stopped(SandboxError):
    """An operator has stopped a run that was still waiting. One that runs ends with a result."""


class LeaseLost(SandboxError):
    """Another worker took the session over, because this one did not renew its lease in time."""


class StoreUnavailable(SandboxError):
    """The file store cannot be written or read, for example because its disk is full."""


class FileTooLarge(SandboxError):
    """An upload is over the limit."""


class SessionNotFound(SandboxError):
    """No such session, or it is another key's."""


class SandboxFileNotFound(SandboxError):
    """No such file, or it is another key's."""
