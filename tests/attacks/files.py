"""Names and contents that do harm where they go: into the store, a header, the next workspace."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path

import requests

from tests.attacks.attack import Group, Need, held
from tests.attacks.target import Answer, Target

group = Group("files")

EVIL_NAMES = (
    "../../../../etc/cron.d/x",
    "/etc/passwd",
    "..\\..\\windows\\system32\\x.dll",
    "C:\\autoexec.bat",
    "\\\\server\\share\\x",
    "....//....//x.txt",
    "a/../../b.txt",
    "./././x.txt",
    "..",
    ".",
    "-rf",
    "$(id).txt",
    "`id`;id|id.txt",
    "x" * 5000 + ".txt",
    "/".join("d" * 50 for _ in range(60)),
    "CON",
    "x.txt:stream",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "\N{ZERO WIDTH SPACE}.txt",
    "\x1b[31mred\x1b[0m.txt",
    "a\tb\x7f.txt",
    "<script>alert(1)</script>.svg",
    'a"; filename="evil.html',
    "a%0d%0aSet-Cookie: x=1.txt",
    "a%2f..%2f..%2fetc%2fpasswd",
    ".bashrc",
    "sitecustomize.py",
)
# What an answer with a file may have for headers, whatever the file is called.
HEADERS = {
    "allow", "cache-control", "connection", "content-disposition", "content-length", "content-type",
    "cross-origin-opener-policy", "date", "referrer-policy", "server", "vary",
    "x-content-type-options", "x-frame-options", "content-security-policy", "x-read-only",
    "strict-transport-security", "x-request-id",
}  # fmt: skip
DISPOSITION = re.compile(r"attachment; filename=\"[ -!#-\[\]-~]*\"; filename\*=UTF-8''[!-~]*")
ACTIVE = re.compile("html|script|xml|svg|flash|java|x-sh", re.IGNORECASE)


def multipart(name: bytes, content: bytes = b"x", more: bytes = b"") -> tuple[bytes, str]:
    """As no client library would write it."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n'
    return head + more + b"\r\n" + content + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


def upload_named(target: Target, name: bytes, content: bytes = b"x") -> requests.Response:
    body, content_type = multipart(name, content)
    headers = {"Content-Type": content_type}
    return target.request("POST", "/upload", data=body, headers=headers)


def safe_headers(response: requests.Response) -> None:
    headers = {name.lower(): value for name, value in response.headers.items()}
    held(headers.keys() <= HEADERS, f"a header came in: {headers.keys() - HEADERS}")
    disposition = headers.get("content-disposition", "")
    held(DISPOSITION.fullmatch(disposition), f"Content-Disposition is {disposition!r}")
    held(headers.get("x-content-type-options") == "nosniff", "a browser may guess the type")
    held(not ACTIVE.search(headers["content-type"]), f"its type is {headers['content-type']}")


def as_input(target: Target, uploaded: Answer, name: str) -> requests.Response:
    ref = {"id": uploaded["files"][0]["fileId"], "session_id": uploaded["session_id"], "name": name}
    # All places that can be written to, but for what is in them from the start.
    code = "find /mnt /tmp /dev/shm /run ! -type d | grep -vE '^(/tmp/.cache|/run/code)/'"
    body = {"lang": "bash", "code": code, "files": [ref]}
    return target.request("POST", "/exec", json=body)


@group.attack()
def uploads_with_evil_names(target: Target) -> str:
    """Uploads files whose names lead elsewhere, are commands, or are no names."""
    for name in EVIL_NAMES:
        response = upload_named(target, name.encode(), b"uploaded")
        held(response.status_code in (200, 400), f"{name!r}: {response.status_code}")
        if response.status_code != 200:
            continue
        [file] = target.request("GET", f"/files/{response.json()['session_id']}?detail=full").json()
        kept = file["metadata"]["original-filename"]
        harmless = not kept.startswith("/") and "\\" not in kept and kept.isprintable()
        held(
            (harmless or "\N{RIGHT-TO-LEFT OVERRIDE}" in kept or "\N{ZERO WIDTH SPACE}" in kept)
            and not {"", ".", ".."} & set(kept.split("/")),
            f"{name!r} is kept as {kept!r}",
        )
        file_id = response.json()["files"][0]["fileId"]
        where = {"session_id": response.json()["session_id"], "id": file_id}
        downloaded = target.download(where)
        held(downloaded.content == b"uploaded", f"{name!r} has another content")
        safe_headers(downloaded)
    return ""


@group.attack()
def uploads_with_bytes_for_names(target: Target) -> str:
    """Uploads under names with NUL, line ends, broken UTF-8, twice the same, and none at all."""
    for name in (b"a\0b.txt", b"a\nb.txt", b"\xff\xfe\xed\xa0\x80.txt", b"", b'"', b'a"b"c',
                 b"a\r\nX-Evil: 1\r\n\r\nb", b"x" * 16_000, b"x" * 2_000_000):  # fmt: skip
        response = upload_named(target, name)
        held(response.status_code in (200, 400), f"{name[:40]!r}: {response.status_code}")
        held("evil" not in str(response.headers).lower(), f"{name[:40]!r} came back as a header")
        if response.status_code == 200:
            answer = response.json()
            where = {"session_id": answer["session_id"], "id": answer["files"][0]["fileId"]}
            safe_headers(target.download(where))
    twice = [("file", ("same.txt", b"1")), ("file", ("same.txt", b"2"))]
    response = target.request("POST", "/upload", files=twice)
    held(response.status_code in (200, 400), f"one name twice: {response.status_code}")
    return ""


@group.attack()
def inputs_with_evil_names(target: Target) -> str:
    """Has a file of its own put where the request says: outside of the workspace."""
    uploaded = target.upload({"x.txt": b"x"})
    for name in EVIL_NAMES:
        response = as_input(target, uploaded, name)
        held(response.status_code in (200, 400), f"{name!r}: {response.status_code}")
        if response.status_code == 200:
            found = response.json()["stdout"].splitlines()
            held(
                len(found) == 1 and found[0].startswith("/mnt/data/"),
                f"{name!r} went to {found}",
            )
    return ""


HOSTILE = """
import os
names = [
    'a"; filename="evil.html', "a'b.txt", "a;b.txt", "a,b.txt", "a%0d%0ab.txt", "-rf", "--help",
    "\\u202egpj.exe", "\\u200b.txt", "<b>.svg", "x" * 255, "%s%n%x.txt", "$(id)", "`id`", "*", "?",
    "\\U0001f600.txt", "e\\u0301.txt", " ", "  x ", "CON", "a:b", "..a", "a..", "...", "~", "#.txt",
    "&x=1.txt", "a\\nb", "a\\rb", "a\\x1bb", "a\\\\b", "a\\x7fb", "\\x01", "page.html", "x.svg",
    "x.js", "x.xml", "x.swf", "x.pdf", "x.htm", "x.xhtml", "x.hta",
]
for name in names:
    with open(name, "w") as file:
        file.write("<script>alert(document.domain)</script>")
"""


@group.attack()
def results_with_evil_names(target: Target) -> str:
    """Writes results whose names and contents would be a page, or end a header early."""
    answer = target.run(HOSTILE)
    held(answer["code"] == 0, f"it could not: {answer}")
    names = {file["name"] for file in answer["files"]}
    held({"-rf", "page.html", "x" * 255} <= names, f"names are missing: {names}")
    held(all("\n" not in name and "\\" not in name for name in names), f"a name is none: {names}")
    for file in answer["files"]:
        for method in ("GET", "HEAD"):
            path = f"/download/{file['session_id']}/{file['id']}"
            response = target.request(method, path)
            held(response.status_code == 200, f"{file['name']!r}: {response.status_code}")
            safe_headers(response)
    return str(answer["session_id"])


@group.attack()
def uploads_that_are_pages(target: Target) -> str:
    """Uploads pages and scripts, and says itself what type they are."""
    for kind in ("text/html", "image/svg+xml", "application/javascript", "text/html;charset=utf-7",
                 "text/xml", "application/xhtml+xml", "x/y\0z"):  # fmt: skip
        sent = {"file": ("page.txt", b"<script>alert(1)</script>", kind)}
        response = target.request("POST", "/upload", files=sent)
        held(response.status_code == 200, f"{kind}: {response.status_code}")
        answer = response.json()
        where = {"session_id": answer["session_id"], "id": answer["files"][0]["fileId"]}
        safe_headers(target.download(where))
    return ""


OVER_ALL_LIMITS = """
import os
for number in range(1500): open(f"{number:04}.txt", "w").write("x")
open("large.bin", "wb").truncate(200 * 2**20)
os.makedirs("/".join("d" * 14)); open("/".join("d" * 14) + "/x", "w").write("x")
os.makedirs("p" * 200 + "/" + "p" * 200); open("p" * 200 + "/" + "p" * 200 + "/x", "w").write("x")
open("closed", "w").write("x"); os.chmod("closed", 0)
open("line\\nend", "w").write("x")
"""


@group.attack()
def told_what_was_left_out(target: Target) -> str:
    """Goes over every limit on results at once: number, size, depth, length, rights, names."""
    answer = target.run(OVER_ALL_LIMITS, timeout=60_000)
    held((answer["code"], answer["status"]) == (0, None), f"the run failed: {answer}"[:500])
    cut = answer.get("artifact_truncation") or {}
    reasons: Mapping[str, int] = cut.get("reasons", {})
    held(reasons.keys() >= {"max_files", "size", "depth", "path"}, f"not told of: {reasons}")
    held(sum(reasons.values()) == cut["skipped_count"], f"the numbers do not add up: {cut}")
    held(len(cut["skipped"]) <= 20, "there is no end to the names")
    held(all(name.isprintable() for name in cut["skipped"]), f"not names: {cut['skipped']}")
    return str(answer["session_id"])


RACE = """
import ctypes, os, time
libc = ctypes.CDLL(None)
for number in range(8):
    os.makedirs(f"d{number}")
    open(f"d{number}/passwd", "w").write("mine" * 1000)
    os.symlink("/etc", f"link{number}")
    os.symlink("/etc/passwd", f"f{number}.lnk")
    open(f"f{number}.txt", "w").write("mine" * 1000)
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            while True:
                libc.renameat2(-100, b"d%d" % number, -100, b"link%d" % number, 2)
                libc.renameat2(-100, b"f%d.txt" % number, -100, b"f%d.lnk" % number, 2)
                try: os.truncate(f"d{number}/passwd", number)
                except OSError: pass
time.sleep(0.3)
"""


@group.attack()
def results_swapped_for_links(target: Target) -> str:
    """Surviving processes swap results and links to the system's files while they are collected."""
    session_id = ""
    for _ in range(3):
        answer = target.run(RACE, timeout=5_000)
        # It may not even get the time to end.
        held(answer["status"] in (None, "TO"), f"the run failed: {answer}")
        session_id = answer["session_id"]
        for file in answer["files"]:
            content = target.download(file).content
            held(b"root:" not in content, f"{file['name']} is a file of the system")
    return session_id


LINKS = """
import os
os.makedirs("/tmp/outside")
open("/tmp/outside/kept.txt", "w").write("kept")
os.symlink("/tmp/outside/kept.txt", "data.txt")
os.symlink("/tmp/outside", "d")
os.symlink("/tmp/outside/new.txt", "new.txt")
os.mkfifo("pipe.txt")
os.makedirs("dir.txt/inside")
"""
LOOK = """
import os
print(sorted(os.listdir("/tmp/outside")), open("/tmp/outside/kept.txt").read())
for name in ("data.txt", "d/x.txt", "new.txt", "pipe.txt", "dir.txt"):
    print(open(name).read(), os.path.islink(name.split("/")[0]))
"""


@group.attack()
def inputs_through_links(target: Target) -> str:
    """Puts links, a pipe and a directory where the next run's inputs are going to be written."""
    hint = f"links-{secrets.token_hex(4)}"
    target.run(LINKS, runtime_session_hint=hint)
    names = ("data.txt", "d/x.txt", "new.txt", "pipe.txt", "dir.txt")
    uploaded = target.upload({f"{n}.txt": b"input" for n in range(len(names))})
    refs = [
        {"id": file["fileId"], "storage_session_id": uploaded["session_id"], "name": name}
        for file, name in zip(uploaded["files"], names, strict=True)
    ]
    answer = target.run(LOOK, runtime_session_hint=hint, files=refs)
    expected = "['kept.txt'] kept\n" + "input False\n" * len(names)
    held(answer["stdout"] == expected, f"it was written through: {answer}")
    return str(answer["session_id"])


@group.attack(Need.HOST)
def names_in_the_store(target: Target) -> str:
    """Looks at the server's disk for what the names of uploads and results made there."""
    assert target.service
    for name in EVIL_NAMES:
        upload_named(target, name.encode(), b"looked for")
    target.run(HOSTILE)
    store = Path(target.service.environment["SANDBOX_STORE_DIR"])
    paths = [path for path in store.rglob("*") if ".incoming" not in path.parts]
    held(len(paths) > len(EVIL_NAMES), "the store is elsewhere")
    for path in paths:
        held(not path.is_symlink(), f"{path} is a link")
        for part in path.relative_to(store).parts:
            held(re.fullmatch(r"[A-Za-z0-9_-]{2}|[A-Za-z0-9_-]{21}", part), f"{path} is no id")
        held(not path.stat().st_mode & 0o111 or path.is_dir(), f"{path} can be executed")
    return ""
