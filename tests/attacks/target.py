"""The server that is attacked, as its clients reach it."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.service import Service

Answer = dict[str, Any]

# Longer than any attack's run may take.
SECONDS = 120.0
# Containers are all taken for a moment, or a former run is still being ended.
BUSY_SECONDS = 60.0


class Unanswered(Exception):
    """The server did not do what it does for every honest client."""


@dataclass(frozen=True, kw_only=True)
class Target:
    base_url: str
    key: str
    # Of somebody else; empty where nobody gave us one.
    other_key: str = ""
    # Only where it is ours: what shows from its host.
    service: Service | None = None
    # Whether programs talk to gVisor's kernel, where some attacks end otherwise.
    under_gvisor: bool = False

    @property
    def port(self) -> int:
        url = urlsplit(self.base_url)
        return url.port or (443 if url.scheme == "https" else 80)

    def request(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> requests.Response:
        """As the key's holder, or with no key where it is empty."""
        key = self.key if key is None else key
        sent = {"User-Agent": "LibreChat/1.0", **({"X-API-Key": key} if key else {})}
        return requests.request(
            method,
            self.base_url + path,
            headers=sent | dict(headers or {}),
            timeout=SECONDS,
            **arguments,
        )

    def run(
        self,
        code: str,
        lang: str = "py",
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Answer:
        """Whatever a program does, its run is answered with 200."""
        deadline = time.monotonic() + BUSY_SECONDS
        body |= {"lang": lang, "code": code}
        while True:
            response = self.request("POST", "/exec", key=key, headers=headers, json=body)
            if response.status_code != 429 or time.monotonic() > deadline:
                break
            time.sleep(1)
        if response.status_code != 200:
            raise Unanswered(f"a run was answered with {response.status_code}: {response.text}")
        answer: Answer = response.json()
        return answer

    def upload(self, files: Mapping[str, bytes], *, key: str | None = None) -> Answer:
        sent = [("file", item) for item in files.items()]
        response = self.request("POST", "/upload", key=key, files=sent)
        if response.status_code != 200:
            raise Unanswered(f"an upload was answered with {response.status_code}")
        answer: Answer = response.json()
        return answer

    def download(self, file: Mapping[str, Any], *, key: str | None = None) -> requests.Response:
        return self.request("GET", f"/download/{file['session_id']}/{file['id']}", key=key)

    def listing(self, session_id: str, *, key: str | None = None) -> bytes:
        """All that the key's holder gets to see of the session's files, byte for byte."""
        return b"\n".join(
            self.request("GET", f"/files/{session_id}?detail={detail}", key=key).content
            for detail in ("simple", "summary", "full", "normalized")
        )

    def connect(self) -> socket.socket:
        url = urlsplit(self.base_url)
        assert url.hostname
        connection = socket.create_connection((url.hostname, self.port), timeout=SECONDS)
        if url.scheme == "https":
            context = ssl.create_default_context()
            connection = context.wrap_socket(connection, server_hostname=url.hostname)
        return connection

    @property
    def prefix(self) -> str:
        """The base URL's path, for requests that are written by hand."""
        return urlsplit(self.base_url).path.rstrip("/")

    def send(self, data: bytes, *, end: bool = False) -> Reply:
        """Bytes as they are, which no client library would send. `end`: and nothing after them."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
                if end:
                    connection.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                # It has heard enough, and may have said so.
                pass
            return Reply.read(connection)

    def head(self, method: str, path: str, *headers: str) -> bytes:
        """The beginning of a request of ours, with the key."""
        lines = (
            f"{method} {self.prefix}{path} HTTP/1.1",
            "Host: localhost",
            f"X-API-Key: {self.key}",
            *headers,
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


@dataclass(frozen=True)
class Reply:
    """What came back over a connection until it was closed."""

    data: bytes

    @classmethod
    def read(cls, connection: socket.socket) -> Reply:
        data = b""
        try:
            while chunk := connection.recv(65536):
                data += chunk
        except ConnectionResetError:
            pass
        return cls(data)

    @property
    def status(self) -> int:
        """0 where nothing came that could be read as HTTP."""
        line = self.data.partition(b"\r\n")[0].split(b" ")
        is_http = len(line) > 1 and line[0].startswith(b"HTTP/1.") and line[1].isdigit()
        return int(line[1]) if is_http else 0

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]

    @property
    def error(self) -> str:
        """What an error's JSON says, or nothing where it is none."""
        return error_of(self.body)


def error_of(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        return ""
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, str) else ""
