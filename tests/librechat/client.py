import base64
import os
import tempfile
from typing import Any

from tests.librechat.process import NodeProcess
from tests.librechat.refs import ALICE, JSON, Scope, StoredFile


class LibreChat(NodeProcess):
    """LibreChat's own calls for files, in the form of its release."""

    def upload(
        self,
        name: str,
        content: bytes,
        *,
        user: str = ALICE,
        scope: Scope | None = None,
        unknown_length: bool = False,
    ) -> StoredFile:
        """As when a file is attached; the location is read from where the release looks for it."""
        answer = self.upload_answer(
            name, content, user=user, scope=scope, unknown_length=unknown_length
        )
        session_id = answer["session_id" if self.release.sends_key else "storage_session_id"]
        file_id = answer["files"][0]["fileId"]
        return StoredFile(session_id, file_id, name, scope or self.own_scope(user))

    def upload_answer(
        self,
        name: str,
        content: bytes,
        *,
        user: str = ALICE,
        scope: Scope | None = None,
        unknown_length: bool = False,
    ) -> JSON:
        answer: JSON = self.ask(
            "upload",
            file=self._on_disk(name, content, unknown_length),
            userId=user,
            scope=(scope or self.own_scope(user)).as_json(),
            keepDirectories=not self.release.sends_key,
        )
        return answer

    def upload_batch(
        self, contents: dict[str, bytes], scope: Scope, *, read_only: bool = False
    ) -> JSON:
        answer: JSON = self.ask(
            "uploadBatch",
            files=[self._on_disk(name, content) for name, content in contents.items()],
            userId=ALICE,
            scope=scope.as_json(),
            readOnly=read_only,
        )
        return answer

    def upload_skill(self, contents: dict[str, bytes], scope: Scope) -> list[StoredFile]:
        answer = self.upload_batch(contents, scope, read_only=True)
        return [
            StoredFile(answer["storage_session_id"], file["fileId"], file["filename"], scope)
            for file in answer["files"]
        ]

    def own_scope(self, user: str = ALICE) -> Scope:
        return Scope() if self.release.sends_key else Scope(kind="user", id=user)

    def ref(self, file: StoredFile) -> JSON:
        return file.old_ref() if self.release.sends_key else file.new_ref()

    def freshness(self, file: StoredFile, *, shared_agent: bool = False) -> str | None:
        """The time of last modification, by the route that the release uses."""
        found: str | None
        if self.release.sends_key:
            found = self.ask(
                "freshnessByListing",
                **_location(file),
                entityId=file.scope.entity_id,
                sharedAgent=shared_agent,
            )
        else:
            found = self.ask("freshnessByObject", **_where(file))
        return found

    def is_alive(self, file: StoredFile) -> bool:
        return bool(self.ask("isAlive", **_where(file)))

    def list_files(self, session_id: str, detail: str) -> list[Any]:
        return list(self.ask("listFiles", sessionId=session_id, detail=detail))

    def download(self, file: StoredFile, *, stream: bool = False) -> tuple[bytes, dict[str, str]]:
        target = self.folder / "download"
        headers = self.ask("download", **_where(file), stream=stream, to=str(target))
        return target.read_bytes(), headers

    def download_all(self, files: list[StoredFile]) -> list[bytes]:
        """Side by side, as LibreChat fetches what a tool answer brought."""
        targets = [self.folder / f"download-{number}" for number in range(len(files))]
        downloads = [
            {**_where(file), "to": str(target)} for file, target in zip(files, targets, strict=True)
        ]
        self.ask("downloadAll", downloads=downloads)
        return [target.read_bytes() for target in targets]

    def delete(self, file: StoredFile, *routes: str) -> list[int]:
        """The status of each attempt, by default on both routes as 0.8.6 to 0.8.8 have them."""
        tried = routes or ("objects", "files")
        return list(self.ask("deleteFile", **_where(file), routes=tried))

    def run_bash(self, code: str, *files: JSON, **where: Any) -> JSON:
        """The raw answer, as the host's own helpers see it."""
        answer: JSON = self.ask("run", code=code, files=files, **where)
        return answer

    def read_text(self, path: str, *files: JSON, **where: Any) -> str | None:
        text: str | None = self.ask("readText", path=path, files=files, **where)
        return text

    def write_text(self, path: str, text: str, *files: JSON, **where: Any) -> JSON:
        answer: JSON = self.ask("writeText", path=path, text=text, files=files, **where)
        return answer

    def read_image(self, path: str, window: int, *files: JSON, **where: Any) -> tuple[bytes, int]:
        """The image's bytes, and in how many calls they came."""
        answer = self.ask("readImage", path=path, windowBytes=window, files=files, **where)
        return base64.b64decode(answer["base64"]), answer["calls"]

    def _on_disk(self, name: str, content: bytes, unknown_length: bool = False) -> JSON:
        handle, path = tempfile.mkstemp(dir=self.folder)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return {"name": name, "path": path, "unknownLength": unknown_length}


def _location(file: StoredFile) -> JSON:
    return {"sessionId": file.session_id, "id": file.id}


def _where(file: StoredFile) -> JSON:
    return {**_location(file), "scope": file.scope.as_json()}
