"""A LibreChat installation, as far as this server can tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.test import Client

from keys.models import APIKey
from tests import openapi

BOUNDARY = "--------------------------970161528731985486530438"

Ref = dict[str, Any]


class CheckedClient(Client):
    """Django's, and every answer that it gets has to be as described."""

    def request(self, **request: Any) -> Any:
        response: Any = super().request(**request)
        openapi.check(
            response.wsgi_request.method,
            response.wsgi_request.path_info,
            response.status_code,
            response.headers,
            None if response.streaming else response.content,
        )
        return response


@dataclass
class LibreChat:
    key: APIKey
    secret: str
    client: Client = field(default_factory=lambda: CheckedClient(raise_request_exception=False))

    @classmethod
    def named(cls, name: str) -> LibreChat:
        return cls(*APIKey.issue(name=name))

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.secret, "User-Agent": "LibreChat/1.0"}

    def call(self, method: str, path: str, **more: Any) -> Any:
        """Everything is read, as a client would: `body` has the bytes."""
        more["headers"] = self.headers | more.get("headers", {})
        # Given by itself: the client would take the first part of //exec for a host.
        more["PATH_INFO"] = path.partition("?")[0]
        response: Any = self.client.generic(method, path, **more)
        response.body = b"".join(response)
        return response

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path + ("?" + urlencode(query) if query else ""))

    def delete(self, path: str, **query: Any) -> Any:
        return self.call("DELETE", path + ("?" + urlencode(query) if query else ""))

    def post(self, path: str, body: Any, **more: Any) -> Any:
        """JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call("POST", path, data=data, **({"content_type": JSON} | more))

    def exec(self, code: str, lang: str = "py", **fields: Any) -> Any:
        return self.post("/exec", {"lang": lang, "code": code} | fields)

    def run(self, code: str, lang: str = "py", **fields: Any) -> Any:
        """The answer to a run that this server must accept."""
        response = self.exec(code, lang, **fields)
        assert response.status_code == 200, response.body
        return response.json()

    def post_form(self, path: str, *files: tuple[str, bytes], **fields: str) -> Any:
        return self.post(
            path, form_data(*files, fields=fields), content_type=FORM, headers={"User-Id": "u1"}
        )

    def upload(self, *files: tuple[str, bytes], **fields: str) -> Any:
        response = self.post_form("/upload", *files, **fields)
        assert response.status_code == 200, response.body
        return response.json()

    def download(self, ref: Mapping[str, Any], session: str = "session_id", **query: Any) -> bytes:
        response = self.get(f"/download/{ref[session]}/{ref['id']}", **query)
        assert response.status_code == 200, response.body
        body: bytes = response.body
        return body


JSON = "application/json"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form_data(*files: tuple[str, bytes], fields: Mapping[str, str]) -> bytes:
    """As the npm package form-data writes it, which escapes nothing."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, content in files:
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        parts.append(head.encode() + content + b"\r\n")
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def old_ref(answer: Mapping[str, Any], index: int = 0, name: str = "") -> Ref:
    """A ref to an upload, as LibreChat up to 0.8.5 sends it."""
    file = answer["files"][index]
    return {
        "id": file["id"],
        "session_id": answer["session_id"],
        "name": name or file["name"],
    }


def new_ref(answer: Mapping[str, Any], index: int = 0, **changes: Any) -> Ref:
    """A ref to an upload, as LibreChat from 0.8.6 sends it."""
    file = answer["files"][index]
    return {
        "id": file["id"],
        "storage_session_id": answer["storage_session_id"],
        "resource_id": "65f0c0ffee0123456789abcd",
        "kind": "user",
        "name": file["name"],
    } | changes
