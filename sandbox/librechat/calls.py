"""The calls of one version of LibreChat, as it sends them. tests/librechat compares them with those
of the real client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests

from sandbox.librechat.forms import form
from sandbox.librechat.releases import Release
from sandbox.librechat.tokens import USER

SKILL = "65f0c0ffee00000000005712"
SKILL_VERSION = 1
# LibreChat's own patience; a run has none, and gets what this server may take for the longest.
UPLOAD_SECONDS, DOWNLOAD_SECONDS, LOOK_SECONDS, RUN_SECONDS = 120, 15, 5, 330

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a file belongs to, from 0.8.6 on."""

    kind: str = "user"
    id: str = USER
    version: int | None = None

    def fields(self) -> dict[str, str]:
        version = {} if self.version is None else {"version": str(self.version)}
        return {"kind": self.kind, "id": self.id, **version}


OF_SKILL = Scope("skill", SKILL, SKILL_VERSION)


@dataclass(frozen=True, slots=True)
class File:
    session_id: str
    id: str
    name: str
    scope: Scope = field(default_factory=Scope)


@dataclass(frozen=True, slots=True)
class Calls:
    """With a key, a token, or neither, where the way in is in the URL."""

    release: Release
    base_url: str
    key: str = ""
    token: str = ""
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        # Neither a proxy nor a password of this machine is LibreChat's.
        self.session.trust_env = False

    def run(self, language: str, code: str, *files: File) -> requests.Response:
        body: JSON = {"lang": language, "code": code}
        if self.release.sends_key:
            body["user_id"] = USER
        if files:
            body["files"] = [self._ref(file) for file in files]
        if self.release.sends_key:
            body["LIBRECHAT_CODE_API_KEY"] = self.key
        base = self.base_url if self.release.sends_key else self.base_url.rstrip("/")
        return self._send(
            "POST",
            f"{base}/exec",
            RUN_SECONDS,
            json=body,
            headers={"Accept-Encoding": "gzip,deflate"},
        )

    def upload(self, name: str, content: bytes) -> requests.Response:
        fields = {} if self.release.sends_key else Scope().fields()
        return self._post_form("/upload", fields, {name: content})

    def upload_skill(self, files: Mapping[str, bytes]) -> requests.Response:
        return self._post_form("/upload/batch", OF_SKILL.fields() | {"read_only": "true"}, files)

    def freshness(self, file: File) -> requests.Response:
        """Asked before each turn: how old a file is."""
        if self.release.has_objects:
            return self._look(f"/sessions/{file.session_id}/objects/{file.id}", self._scope(file))
        return self._look(f"/files/{file.session_id}", {"detail": "summary"})

    def is_alive(self, file: File) -> requests.Response:
        query = {"detail": "summary"} | self._scope(file)
        return self._look(f"/files/{file.session_id}", query)

    def download(self, file: File) -> requests.Response:
        path = f"/download/{file.session_id}/{file.id}"
        return self._send("GET", self._url(path, self._scope(file)), DOWNLOAD_SECONDS)

    def delete(self, file: File) -> list[requests.Response]:
        """On one route after the other, until one has it."""
        routes = [f"/files/{file.session_id}/{file.id}"]
        if not self.release.asks_listing_again:
            routes.insert(0, f"/sessions/{file.session_id}/objects/{file.id}")
        answers: list[requests.Response] = []
        for route in routes:
            url = self._url(route, self._scope(file))
            answers.append(self._send("DELETE", url, DOWNLOAD_SECONDS))
            if answers[-1].ok:
                break
        return answers

    def shown(self, answer: requests.Response) -> str:
        """What this version makes of an answer to a run that is none."""
        if self.release.sends_key:
            return f"HTTP error! status: {answer.status_code}"
        if self.release.shows_url_of_errors:
            url = self._url("/exec", {})
            return f"CodeAPI request failed: POST {hidden(url)} returned {answer.status_code}, body"
        texts = {400: "rejected", 401: "not authorized", 403: "not authorized", 429: "rate-limited"}
        return texts.get(answer.status_code, "temporarily unavailable")

    def _ref(self, file: File) -> JSON:
        if self.release.sends_key:
            return {"id": file.id, "session_id": file.session_id, "name": file.name}
        version = {} if file.scope.version is None else {"version": file.scope.version}
        return {
            "id": file.id,
            "resource_id": file.scope.id,
            "name": file.name,
            "storage_session_id": file.session_id,
            "kind": file.scope.kind,
            **version,
        }

    def _scope(self, file: File) -> dict[str, str]:
        return {} if self.release.sends_key else file.scope.fields()

    def _post_form(
        self, path: str, fields: Mapping[str, str], files: Mapping[str, bytes]
    ) -> requests.Response:
        kind, body = form(fields, files)
        headers = {"Content-Type": kind, "User-Id": USER}
        return self._send("POST", self._url(path, {}), UPLOAD_SECONDS, data=body, headers=headers)

    def _look(self, path: str, query: Mapping[str, str]) -> requests.Response:
        return self._send("GET", self._url(path, query), LOOK_SECONDS)

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        """LibreChat's code for files takes the base as it is, slash at the end or not."""
        return f"{self.base_url}{path}" + (f"?{urlencode(query)}" if query else "")

    def _send(
        self,
        method: str,
        url: str,
        seconds: int,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> requests.Response:
        return self.session.request(
            method,
            url,
            headers={**self._headers(), **(headers or {})},
            timeout=seconds,
            # A form would be sent again without its body.
            allow_redirects=False,
            **more,
        )

    def _headers(self) -> dict[str, str]:
        headers = {
            "User-Agent": "LibreChat/1.0",
            "Accept-Encoding": "gzip, compress, deflate, br",
        }
        if self.release.sends_key:
            headers["X-API-Key"] = self.key
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if self.release.expects_profile:
            headers["X-CodeAPI-Expected-Profile"] = "default"
        return headers


def hidden(url: str) -> str:
    """Without the key that may be in it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"any:***@{host}" if "@" in parts.netloc else host).geturl()
