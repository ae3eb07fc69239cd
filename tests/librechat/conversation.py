import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.librechat.client import LibreChat
from tests.librechat.refs import ALICE, JSON, StoredFile

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Answer:
    """A tool's result: the text is what the model reads, the artifact what LibreChat works with."""

    text: str
    failed: bool
    artifact: JSON

    @property
    def session_id(self) -> str:
        return str(self.artifact.get("session_id", ""))

    @property
    def files(self) -> list[JSON]:
        return self.artifact.get("files") or []

    @property
    def generated(self) -> dict[str, JSON]:
        return {file["name"]: file for file in self.files if not file.get("inherited")}

    @property
    def inherited(self) -> dict[str, JSON]:
        return {file["name"]: file for file in self.files if file.get("inherited")}


class Conversation:
    """One run of an agent: the release's own tool node carries the references from call to call."""

    def __init__(
        self, librechat: LibreChat, *refs: JSON, user: str = ALICE, **options: Any
    ) -> None:
        self.librechat = librechat
        self.user = user
        self.session: JSON = {}
        self._number = next(_numbers)
        librechat.ask(
            "openConversation", conversation=self._number, files=refs, userId=user, **options
        )

    def call(self, *calls: tuple[str, JSON]) -> list[Answer]:
        """The tool calls of one answer of the model, which the client runs side by side."""
        result = self.librechat.ask(
            "callTools",
            conversation=self._number,
            calls=[{"name": name, "args": arguments} for name, arguments in calls],
        )
        self.session = result["session"] or {}
        return [_answer_of(message) for message in result["answers"]]

    def run(self, language: str, code: str, args: Sequence[str] | None = None) -> Answer:
        """Runs code with the tool that the release has for the language."""
        more = {} if args is None else {"args": list(args)}
        if language == "bash" and not self.librechat.release.sends_key:
            return self.call(("bash_tool", {"command": code, **more}))[0]
        return self.call(("execute_code", {"lang": language, "code": code, **more}))[0]

    def stored(self, answer: Answer, name: str) -> StoredFile:
        """A generated file where the release looks for it."""
        file = answer.generated[name]
        session_id = answer.session_id
        if not self.librechat.release.sends_key:
            session_id = file.get("storage_session_id") or session_id
        return StoredFile(session_id, file["id"], name, self.librechat.own_scope(self.user))

    def delivered(self, answer: Answer) -> dict[str, bytes]:
        """Everything that LibreChat would attach to the chat, downloaded as it does."""
        names = list(answer.generated)
        files = [self.stored(answer, name) for name in names]
        return dict(zip(names, self.librechat.download_all(files), strict=True))


def _answer_of(message: JSON) -> Answer:
    text = message["content"]
    # The tool node of 0.8.0 marks no status: its failures begin with this word.
    failed = message.get("status") == "error" or text.startswith("Error: ")
    return Answer(text=text, failed=failed, artifact=message.get("artifact") or {})
