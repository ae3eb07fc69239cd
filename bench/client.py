"""LibreChat's calls, for any server that answers them. Standard library only: what a client
library costs would be measured as the server's."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

Answer = dict[str, Any]

# Longer than any run that a server allows.
CALL_SECONDS = 330.0
MAX_MESSAGE = 120


class CallFailed(Exception):
    """No answer, or another one than was asked for."""

    def __init__(self, message: str, *, status: int = 0, body: bytes = b"") -> None:
        super().__init__(message)
        # Of the answer; 0 is none.
        self.status = status
        self.body = body


class Interpreter:
    """A server and a key; usable by several threads, each call has a connection of its own."""

    def __init__(self, base_url: str, api_key: str, *, user: str = "") -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("the base URL is to be http://… or https://…")
        self._connection = (
            http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        )
        self._host, self._port = url.hostname, url.port
        self._base = url.path.rstrip("/")
        self._headers = {"User-Agent": "LibreChat/1.0"}
        if user:
            self._headers["User-Id"] = user
        if api_key:
            self._headers["X-API-Key"] = api_key
        elif url.username is not None:
            login = f"{unquote(url.username)}:{unquote(url.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"

    def execute(
        self,
        language: str,
        code: str,
        *,
        session_id: str = "",
        files: Sequence[Mapping[str, str]] = (),
        hint: str = "",
        timeout_ms: int = 0,
    ) -> Answer:
        body: Answer = {"lang": language, "code": code}
        if session_id:
            body["session_id"] = session_id
        if files:
            body["files"] = list(files)
        if hint:
            body["runtime_session_hint"] = hint
        if timeout_ms:
            body["timeout"] = timeout_ms
        headers = {"Content-Type": "application/json"}
        return self._json(self._call("POST", "/exec", json.dumps(body).encode(), headers))

    def upload(self, form: Form) -> Answer:
        headers = {"Content-Type": form.content_type}
        return self._json(self._call("POST", "/upload", form.body, headers))

    def download(self, session_id: str, file_id: str) -> bytes:
        return self._call("GET", f"/download/{quote(session_id)}/{quote(file_id)}")

    def delete(self, session_id: str, file_id: str) -> Answer:
        path = f"/files/{quote(session_id)}/{quote(file_id)}"
        return self._json(self._call("DELETE", path))

    def _json(self, body: bytes) -> Answer:
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise CallFailed("the answer is not JSON") from error
        if not isinstance(answer, dict):
            raise CallFailed("the answer is not a JSON object")
        return answer

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        connection = self._connection(self._host, self._port, timeout=CALL_SECONDS)
        try:
            connection.request(
                method, self._base + path, body, {**self._headers, **(headers or {})}
            )
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise CallFailed(f"{type(error).__name__}: {error}"[:MAX_MESSAGE]) from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            text = content.decode(errors="replace")
            raise CallFailed(
                f"HTTP {response.status}: {text}"[:MAX_MESSAGE],
                status=response.status,
                body=content,
            )
        return content


class Form:
    """An upload's body, made before the clock starts."""

    def __init__(self, filename: str, content: bytes) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self.body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()


def check_run(answer: Answer, prints: str, writes: str = "") -> None:
    """A run counts only if it did what was asked for."""
    if prints not in answer.get("stdout", ""):
        raise CallFailed(f"unexpected output; stderr: {answer.get('stderr', '')}"[:MAX_MESSAGE])
    if writes:
        written_file(answer, writes)


def written_file(answer: Answer, name: str) -> Answer:
    """The file of that name that the run has made or changed."""
    for file in answer.get("files") or []:
        if file.get("name") == name and not file.get("inherited"):
            found: Answer = file
            return found
    raise CallFailed(f"{name} is not among the answer's files")
