"""A server that notes what a client sends and answers as the official one would."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

SESSION = "V1StGXR8_Z5jdHi6B-myT"
RUN = "n8Wq2-RtYuIoPaSdFgHjK"
FILE = "Zk3pQ0x9aB_7cDeFgHiJ1"
OUTPUT = "pL0oK9iJ8uH7yG6tF5rD4"
# What of a head says who calls and what it wants; the rest is the HTTP library's own.
HEADERS = (
    "accept-encoding",
    "authorization",
    "user-agent",
    "user-id",
    "x-api-key",
    "x-codeapi-expected-profile",
)
BOUNDARY = re.compile("boundary=([^;]+)")


@dataclass(frozen=True)
class Seen:
    """A request, without what differs between two that are the same."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    # Of JSON, or the parts of a form: their heads, and their bytes.
    body: Any = None


@dataclass
class Recorder:
    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> Self:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                recorder.handle(self)

            do_POST = do_DELETE = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self) -> list[Seen]:
        taken, self.seen = self.seen, []
        return taken

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        content = self._body(request)
        self.seen.append(
            Seen(
                request.command,
                parts.path,
                tuple(parse_qsl(parts.query)),
                {name: request.headers[name] for name in HEADERS if name in request.headers},
                _parsed(request.headers, content),
            )
        )
        answer = _answer(request.command, parts.path)
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        request.send_response(200)
        kind = "application/octet-stream" if isinstance(answer, bytes) else "application/json"
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(raw)))
        request.end_headers()
        request.wfile.write(raw)

    def _body(self, request: BaseHTTPRequestHandler) -> bytes:
        if request.headers.get("Transfer-Encoding") != "chunked":
            return request.rfile.read(int(request.headers.get("Content-Length") or 0))
        content = b""
        while size := int(request.rfile.readline(), 16):
            content += request.rfile.read(size)
            request.rfile.readline()
        request.rfile.readline()
        return content


def _parsed(headers: Message, content: bytes) -> Any:
    kind = headers.get("Content-Type", "")
    if kind.startswith("application/json"):
        return json.loads(content)
    if not (boundary := BOUNDARY.search(kind)):
        return content or None
    parts = content.split(b"--" + boundary[1].encode())
    return [part.strip(b"\r\n") for part in parts[1:-1]]


def _answer(method: str, path: str) -> Any:
    modified = datetime.now(UTC).isoformat()
    if path.endswith("/upload"):
        file = {"fileId": FILE, "filename": "sales.csv"}
        return {
            "message": "success",
            "session_id": SESSION,
            "storage_session_id": SESSION,
            "files": [file],
        }
    if path.endswith("/upload/batch"):
        names = ("skills/doctor/SKILL.md", "skills/doctor/scripts/run.py")
        files = [{"status": "success", "fileId": FILE, "filename": name} for name in names]
        return {
            "message": "success",
            "storage_session_id": SESSION,
            "files": files,
            "succeeded": 2,
            "failed": 0,
        }
    if path.endswith("/exec"):
        file = {"id": OUTPUT, "name": "out.txt", "session_id": RUN, "storage_session_id": RUN}
        return {"session_id": RUN, "stdout": "3\n", "stderr": "", "files": [file]}
    if "/download/" in path:
        return b"3"
    if "/objects/" in path and method == "GET":
        return {"name": f"{SESSION}/{FILE}.csv", "lastModified": modified}
    if method == "DELETE":
        return {"message": "File deleted successfully"}
    return [
        {
            "name": f"{SESSION}/{FILE}.csv",
            "fileId": FILE,
            "lastModified": modified,
            "metadata": {"original-filename": "sales.csv"},
        }
    ]
