"""What callers ask for and what they get: plain values, no wire format and no database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from audit.models import Execution, SandboxFile, SandboxSession
from keys.models import APIKey
from sandbox.channel import Skipped
from sandbox.outcome import Verdict
from sandbox.workspace import NOTHING_SKIPPED

Abandoned = Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: the key, and the LibreChat user where one is known."""

    key: APIKey
    user_id: str = ""
    # By a token. Otherwise the user is a hint within the key.
    user_is_proven: bool = False
    # Where nothing else tells the user: who its files are said to be of. Only noted down, for it
    # comes and goes with the files, and nothing is found or hidden by it.
    named_user: str = ""
    entity_id: str = ""
    address: str | None = None

    @property
    def noted_user(self) -> str:
        """For the records and for quotas."""
        return self.user_id or self.named_user


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose an upload is, in LibreChat's words; skills and agents are shared by users."""

    kind: str = ""
    resource_id: str = ""
    version: int | None = None


NO_SCOPE = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRef:
    """A file that a request wants in the workspace. An empty name means the stored one."""

    id: str
    session_id: str
    name: str = ""
    # It arrived with `session_id` only: LibreChat before 0.8.6.
    legacy: bool = False
    kind: str | None = None
    resource_id: str | None = None
    version: int | None = None
    entity_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    language: str
    code: str
    args: tuple[str, ...] = ()
    files: tuple[FileRef, ...] = ()
    session_id: str = ""
    hint: str = ""
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Output:
    file: SandboxFile
    modified_from: SandboxFile | None = None


@dataclass(frozen=True, slots=True)
class Inherited:
    ref: FileRef
    file: SandboxFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    session: SandboxSession
    execution: Execution
    verdict: Verdict
    outputs: list[Output] = field(default_factory=list)
    inherited: list[Inherited] = field(default_factory=list)
    # Names of the request's files that the run removed.
    deleted: list[str] = field(default_factory=list)
    skipped: Skipped = NOTHING_SKIPPED
    # The run found its session's container alive.
    reused: bool = False
