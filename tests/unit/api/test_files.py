"""Protocol §12 items 10, 12, 16 and 24."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.ids import new_id
from audit.models import SandboxFile, SandboxSession
from tests.unit.api.librechat import LibreChat, new_ref, old_ref

NO_FILE = {
    "error": "File not found",
    "details": "The file may have expired or does not exist",
}
NO_SESSION = {"error": "Session not found"}


def address(answer: dict[str, Any], index: int = 0) -> str:
    return f"{answer['session_id']}/{answer['files'][index]['id']}"


def test_a_download_is_the_bytes_with_safe_headers(alice: LibreChat) -> None:
    uploaded = alice.upload(('dir/Über "sicht".csv', b"a\0b\r\n"))
    response = alice.get(f"/download/{address(uploaded)}", kind="user", id="u1")
    assert response.status_code == 200
    assert response.body == b"a\0b\r\n"
    assert response["Content-Length"] == "5"
    assert response["Content-Type"] == "text/csv"
    assert response["Content-Disposition"] == (
        "attachment; filename=\"_ber _sicht_.csv\"; filename*=UTF-8''%C3%9Cber%20%22sicht%22.csv"
    )
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "no-store"
    for header in ("Content-Encoding", "Content-Security-Policy", "Set-Cookie", "X-Read-Only"):
        assert header not in response, header


@pytest.mark.parametrize(
    "name", ["page.html", "x.svg", "x.xml", "x.xhtml", "x.js", "x.css", "x.mhtml", "x", "x.swf"]
)
def test_a_download_is_never_of_a_type_that_a_browser_would_run(
    alice: LibreChat, name: str
) -> None:
    uploaded = alice.upload((name, b"<script>alert(1)</script>"))
    response = alice.get(f"/download/{address(uploaded)}")
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"].startswith("attachment;")


def test_a_client_may_ask_for_any_type(alice: LibreChat) -> None:
    uploaded = alice.upload(("a.png", b"x"))
    for accepted in ("application/octet-stream", "image/*", "text/html", "nonsense"):
        headers = {"Accept": accepted}
        assert (
            alice.call("GET", f"/download/{address(uploaded)}", headers=headers).status_code == 200
        )
        missing = alice.call("GET", f"/download/{new_id()}/{new_id()}", headers=headers)
        assert missing.json() == NO_FILE


def test_head_tells_the_size(alice: LibreChat) -> None:
    uploaded = alice.upload(("a.png", b"12345"))
    response = alice.call("HEAD", f"/download/{address(uploaded)}")
    assert (response.status_code, response["Content-Length"]) == (200, "5")


def test_a_read_only_file_says_so(alice: LibreChat) -> None:
    uploaded = alice.upload(("a.md", b"x"), read_only="true")
    assert alice.get(f"/download/{address(uploaded)}")["X-Read-Only"] == "true"


def test_a_listing_fits_every_client(alice: LibreChat) -> None:
    uploaded = alice.upload(("dir/sales.tar.CSV", b"a,b\n"))
    session_id, file_id = uploaded["session_id"], uploaded["files"][0]["id"]
    summary = alice.get(f"/files/{session_id}", detail="summary").json()
    assert summary == alice.get(f"/files/{session_id}", detail="full", entity_id="x").json()
    [entry] = summary
    modified = datetime.fromisoformat(entry.pop("lastModified"))
    assert abs(timezone.now() - modified) < timedelta(minutes=1)
    assert len(entry.pop("etag")) == 32
    assert entry == {
        "name": f"{session_id}/{file_id}.CSV",
        "id": file_id,
        "fileId": file_id,
        "filename": "dir/sales.tar.CSV",
        "session_id": session_id,
        "storage_session_id": session_id,
        "size": 4,
        "contentType": "text/csv",
        "metadata": {
            "content-type": "text/csv",
            "original-filename": "dir/sales.tar.CSV",
            "original-filename-encoded": "none",
        },
    }
    # As the executors up to 3.1.79 take the id out.
    assert summary[0]["name"].split("/")[1].split(".")[0] == file_id
    for detail in ("", "simple", "unheard-of"):
        assert alice.get(f"/files/{session_id}", detail=detail).json() == [summary[0]["name"]]
    [normal] = alice.get(f"/files/{session_id}", detail="normalized").json()
    assert normal["name"] == "dir/sales.tar.CSV"
    assert (normal["id"], normal["storage_session_id"]) == (file_id, session_id)


def test_last_modified_is_in_utc_with_milliseconds(alice: LibreChat) -> None:
    uploaded = alice.upload(("a", b""))
    SandboxFile.objects.update(created_at=datetime(2026, 8, 19, 9, 12, 44, 5600, tzinfo=UTC))
    [listed] = alice.get(f"/files/{uploaded['session_id']}", detail="summary").json()
    [session_id, file_id] = address(uploaded).split("/")
    metadata = alice.get(f"/sessions/{session_id}/objects/{file_id}").json()
    assert listed["lastModified"] == metadata["lastModified"] == "2026-08-19T09:12:44.005Z"


def test_a_run_without_files_is_a_known_and_empty_session(alice: LibreChat) -> None:
    answer = alice.run("")
    for detail in ("simple", "summary", "full", "normalized"):
        response = alice.get(f"/files/{answer['session_id']}", detail=detail)
        assert (response.status_code, response.json()) == (200, [])


def test_the_full_listing_of_a_run_has_its_inputs_under_its_own_id(alice: LibreChat) -> None:
    uploaded = alice.upload(("in.csv", b"in"))
    answer = alice.run("open('out.txt', 'w').write('out')", files=[old_ref(uploaded)])
    session_id = answer["session_id"]
    full = alice.get(f"/files/{session_id}", detail="full").json()
    assert {entry["filename"] for entry in full} == {"in.csv", "out.txt"}
    assert all(entry["name"].startswith(f"{session_id}/") for entry in full)
    refs = [
        {
            "session_id": session_id,
            "id": entry["name"].split("/")[1].split(".")[0],
            "name": entry["metadata"]["original-filename"],
        }
        for entry in full
    ]
    again = alice.run("print(open('in.csv').read() + open('out.txt').read())", files=refs)
    assert again["stdout"] == "inout\n"
    for entry in full:
        assert alice.get(f"/download/{session_id}/{entry['id']}").status_code == 200
    summary = alice.get(f"/files/{session_id}", detail="summary").json()
    assert [entry["filename"] for entry in summary] == ["out.txt"]


def test_an_objects_metadata(alice: LibreChat) -> None:
    uploaded = alice.upload(("sales.csv", b"a,b\n"), kind="agent", id="agent_1", read_only="true")
    session_id, file_id = uploaded["session_id"], uploaded["files"][0]["id"]
    answer = alice.get(
        f"/sessions/{session_id}/objects/{file_id}", kind="agent", id="agent_1"
    ).json()
    assert answer.pop("lastModified").endswith("Z")
    assert len(answer.pop("etag")) == 32
    assert answer == {
        "name": f"{session_id}/{file_id}.csv",
        "originalFilename": "sales.csv",
        "size": 4,
        "contentType": "text/csv",
        "readOnly": True,
    }


@pytest.mark.parametrize("state", ["unknown", "expired", "ended", "another key's", "no id at all"])
def test_what_is_not_there_is_a_404(alice: LibreChat, bob: LibreChat, state: str) -> None:
    uploaded = alice.upload(("a.csv", b"x"))
    session_id, file_id = uploaded["session_id"], uploaded["files"][0]["id"]
    asking = bob if state == "another key's" else alice
    match state:
        case "unknown":
            session_id = new_id()
        case "no id at all":
            session_id = "00000000-0000-0000-0000-000000000000"
        case "expired":
            SandboxSession.objects.update(expires_at=timezone.now())
        case "ended":
            SandboxSession.objects.update(ended_at=timezone.now())
    for detail in ("simple", "summary", "full", "normalized"):
        response = asking.get(f"/files/{session_id}", detail=detail)
        assert (response.status_code, response.json()) == (404, NO_SESSION)
    for method, path in (
        ("GET", "/download/{}/{}"),
        ("GET", "/sessions/{}/objects/{}"),
        ("DELETE", "/sessions/{}/objects/{}"),
        ("DELETE", "/files/{}/{}"),
    ):
        response = asking.call(method, path.format(session_id, file_id))
        assert (response.status_code, response.json()) == (404, NO_FILE), path


def test_a_skills_and_an_agents_file_answers_to_its_own_scope_only(alice: LibreChat) -> None:
    uploaded = alice.upload(("a.md", b"x"), kind="skill", id="s1", version="2")
    session_id, file_id = uploaded["session_id"], uploaded["files"][0]["id"]
    for query, status in (
        ({"kind": "skill", "id": "s1", "version": "2"}, 200),
        ({}, 200),
        ({"kind": "skill", "id": "s1", "version": "3"}, 404),
        ({"kind": "skill", "id": "s2", "version": "2"}, 404),
        ({"kind": "agent", "id": "s1"}, 404),
        ({"kind": "team", "id": "s1"}, 400),
    ):
        for path in (
            f"/files/{session_id}",
            f"/download/{session_id}/{file_id}",
            f"/sessions/{session_id}/objects/{file_id}",
        ):
            assert alice.get(path, **query).status_code == status, (path, query)


@pytest.mark.parametrize("path", ["/sessions/{}/objects/{}", "/files/{}/{}"])
def test_a_deleted_file_is_gone_and_stays_so(alice: LibreChat, path: str) -> None:
    uploaded = alice.upload(("a.csv", b"a"), ("b.csv", b"b"))
    session_id, file_id = uploaded["session_id"], uploaded["files"][0]["id"]
    response = alice.delete(path.format(session_id, file_id), kind="user", id="u1")
    assert response.status_code == 200
    assert response.json() == {
        "message": "File deleted successfully",
        "session_id": session_id,
        "fileId": file_id,
    }
    assert SandboxFile.objects.get(pk=file_id).deleted_at is not None
    for again in ("/sessions/{}/objects/{}", "/files/{}/{}"):
        response = alice.delete(again.format(session_id, file_id))
        assert (response.status_code, response.json()) == (404, NO_FILE)
    assert alice.get(f"/download/{session_id}/{file_id}").status_code == 404
    assert [
        entry["filename"] for entry in alice.get(f"/files/{session_id}", detail="full").json()
    ] == ["b.csv"]
    answer = alice.run("import os; print(os.listdir())", files=[new_ref(uploaded, 0)])
    assert "a.csv" not in answer["stdout"]
