"""Requests that are wrong before their body begins, or about where it ends."""

from __future__ import annotations

import json

from tests.attacks.attack import held
from tests.attacks.refusals import RUN, group, refused, reply_refused, silent
from tests.attacks.target import Target


@group.attack()
def lengths_that_lie(target: Target) -> str:
    """Bodies shorter and longer than was said, and lengths that are none."""
    body = json.dumps(RUN).encode()
    for length in ("5", "0", str(len(body) + 1), "-1", "+35", "0x23", "1e2", " ", "9" * 30,
                   "35, 36", "٣٥"):  # fmt: skip
        head = target.head("POST", "/exec", "Content-Type: application/json")
        head = head[:-2] + f"Content-Length: {length}\r\n\r\n".encode()
        reply_refused(target.send(head + body, end=True), length)
    return ""


@group.attack()
def chunks_that_are_none(target: Target) -> str:
    """A body in pieces whose sizes are junk, negative, gigantic, or whose last never comes."""
    head = target.head(
        "POST", "/exec", "Content-Type: application/json", "Transfer-Encoding: chunked"
    )
    for chunks in (b"zz\r\nx\r\n", b"-1\r\nx\r\n0\r\n\r\n", b"ffffffffffffffffffff\r\nx", b"5\r\nx",
                   b"\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5;" + b"x" * 100_000 + b"\r\nhello",
                   b"1\r\n{\r\n", b"1" * 10_000, b"3\r\nabcdef\r\n0\r\n\r\n"):  # fmt: skip
        reply_refused(target.send(head + chunks, end=True), chunks[:20])
    return ""


SMUGGLED = b"DELETE /v1/files/" + b"x" * 21 + b"/" + b"y" * 21 + b" HTTP/1.1\r\nHost: x\r\n\r\n"


@group.attack()
def smuggled_requests(target: Target) -> str:
    """Two lengths in one request: what one server takes for a body is the next one's request."""
    for lengths in (
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding : chunked", "Content-Length: 5"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: identity, chunked", "Content-Length: 5"),
        ("Transfer-Encoding:\tchunked", "Content-Length: 5"),
        ("Transfer-Encoding: chunked\r\n continued", "Content-Length: 5"),
        ("X: y\nTransfer-Encoding: chunked", "Content-Length: 5"),
        ("Content-Length: 0",),
        ("Connection: keep-alive, Content-Length", "Content-Length: 0"),
    ):
        head = target.head("POST", "/exec", "Content-Type: application/json", *lengths)
        reply = target.send(head + b"0\r\n\r\n" + SMUGGLED, end=True)
        reply_refused(reply, lengths, {*range(400, 500), 501})
    return ""


@group.attack()
def several_requests_at_once(target: Target) -> str:
    """Further requests behind the first in one connection, of which one must answer for itself."""
    first = target.head("GET", "/health")
    reply = target.send(first + SMUGGLED * 10, end=True)
    held(reply.status == 200 and reply.data.count(b"HTTP/1.") == 1, repr(reply.data[:400]))
    return ""


@group.attack()
def paths_that_climb(target: Target) -> str:
    """Climbs out in every part of every path, plain, encoded once and twice, with other signs."""
    up = ("..", "../..", "%2e%2e", "%2e%2e%2f%2e%2e", "%252e%252e%252f", "..%5c..", "..\\..", "%00",
          "..;", "....//", "%c0%ae%c0%ae", "%uff0e%uff0e", ".%00.", "%ff", "%", "%zz")  # fmt: skip
    tail = "etc/passwd"
    for part in up:
        for path in (
            f"/{part}/{tail}",
            f"/download/{part}/{part}/{tail}",
            f"/download/{'x' * 21}/{part}%2f{tail}",
            f"/files/{part}%2f{tail}",
            f"/sessions/{part}/objects/{tail}",
            f"/v1/{part}/{tail}",
            f"/k/{part}/{tail}",
            f"/static/{part}/{part}/{part}/{tail}",
            f"/static/{part}/interpreter_site/settings.py",
        ):
            reply = target.send(target.head("GET", path), end=True)
            held(400 <= reply.status < 500, f"{path} was answered with {reply.status}")
            held(b"root:" not in reply.data and b"SECRET" not in reply.data, f"{path} reads files")
            silent(reply.body.replace(b"<!doctype html>", b""), path)
    return ""


@group.attack()
def places_that_tell(target: Target) -> str:
    """Looks where careless servers keep their secrets and show their insides."""
    for path in ("/.env", "/.git/config", "/settings.py", "/debug", "/__debug__/", "/server-status",
                 "/metrics/../.env", "/openapi.json/..", "/actuator/env", "/console",
                 "/var/files", "/download", "/files", "/sessions", "/upload/x", "/exec/x", "//",
                 "/favicon.ico", "/robots.txt", "/static/", "/%2561dmin", "/v2/exec"):  # fmt: skip
        for method in ("GET", "POST"):
            answer = target.request(method, path)
            held(400 <= answer.status_code < 500, f"{path}: {answer.status_code}")
            if not path.startswith("/static"):
                refused(answer.content, answer.status_code, path)
    return ""


@group.attack()
def headers_in_headers(target: Target) -> str:
    """Line ends in paths, queries and headers, to come back as a header of the answer."""
    for path in ("/files/x%0d%0aX-Evil:1", "/health?x=%0d%0aX-Evil:1", "/download/%0aX-Evil:1/x",
                 "/k/%0d%0aX-Evil:1/health", "/files/x%E5%98%8A%E5%98%8DX-Evil:1"):  # fmt: skip
        reply = target.send(target.head("GET", path, "X-CodeAPI-Expected-Profile: stateful"))
        head = reply.data.partition(b"\r\n\r\n")[0].lower()
        held(reply.status and b"x-evil" not in head, f"{path}: {head!r}")
    for header in ("X-CodeAPI-Expected-Profile: default\rX-Evil: 1", "X: a\x00b", "X: \r\n folded",
                   ": empty", "no colon", "X Y: z", "X\x0b: y", "X: y\r\n\x00: z"):  # fmt: skip
        reply = target.send(target.head("GET", "/health", header), end=True)
        held(reply.status == 200 or 400 <= reply.status < 500, f"{header!r}: {reply.status}")
        held(b"x-evil" not in reply.data.lower(), f"{header!r} came back")
        silent(reply.body, header)
    return ""


@group.attack()
def headers_twice(target: Target) -> str:
    """Headers that there may be one of, with two values that differ."""
    body = json.dumps(RUN)
    for first, second in (
        ("Content-Type: application/json", "Content-Type: text/html"),
        ("Host: a", "Host: b"),
        ("X-API-Key: a", "X-API-Key: b"),
        ("User-Id: a", "User-Id: b"),
        ("Expect: 100-continue", "Expect: everything"),
    ):
        length = f"Content-Length: {len(body)}"
        reply = target.send(target.head("POST", "/exec", first, second, length) + body.encode())
        held(reply.status in (100, 200, *range(400, 500)), f"{first}, {second}: {reply.status}")
        silent(reply.body, first)
    return ""


@group.attack()
def unknown_methods(target: Target) -> str:
    """Methods that are not there, on every route."""
    for path in ("/exec", "/upload", f"/files/{'x' * 21}", f"/download/{'x' * 21}/{'y' * 21}"):
        for method in ("TRACE", "TRACK", "CONNECT", "OPTIONS", "PATCH", "PUT", "PROPFIND", "BREW",
                       "get", "G" * 5000, "GET\t", "GE\x00T", "_", "POST,GET"):  # fmt: skip
            reply = target.send(target.head(method, path), end=True)
            reply_refused(reply, f"{method[:9]} {path}", {*range(400, 500), 501})
            held(target.key.encode() not in reply.data, "the key came back")
    return ""


@group.attack()
def too_long_to_read(target: Target) -> str:
    """Addresses, headers and numbers of headers beyond all need."""
    long = "x" * 1_000_000
    for data in (
        target.head("GET", "/files/" + long),
        target.head("GET", "/health?" + long),
        target.head("GET", "/health", "X: " + long),
        target.head("GET", "/health", long + ": x"),
        target.head("GET", "/health", *[f"X-{number}: y" for number in range(10_000)]),
        target.head("GET", "/health", "Cookie: " + "a=b; " * 100_000),
        long.encode(),
    ):
        reply_refused(target.send(data, end=True), data[:30])
    return ""


@group.attack()
def other_protocols(target: Target) -> str:
    """Speaks HTTP/0.9, HTTP/2, TLS, SOCKS, a proxy's preface and noise to the port."""
    for data in (
        b"GET /\r\n",
        b"GET /health HTTP/0.9\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health HTTQ/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"\x05\x01\x00",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET /health HTTP/1.1\r\n\r\n",
        b"\r\n" * 10_000,
        bytes(range(256)) * 40,
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"* OK\r\n\r\n",
    ):
        reply = target.send(data, end=True)
        held(reply.status in (0, *range(400, 506)), f"{data[:30]!r}: {reply.status}")
        silent(reply.data, data[:30])
    return ""


@group.attack()
def somebody_elses_address(target: Target) -> str:
    """Addresses in full, hosts that are another's, and headers that a proxy would set."""
    evil = "evil.example"
    for path in (f"http://{evil}/health", f"//{evil}/health", f"/\\{evil}", f"http:{evil}"):
        reply = target.send(target.head("GET", path), end=True)
        held(reply.status and evil.encode() not in reply.data, f"{path}: {reply.data[:300]!r}")
    for header in ("X-Forwarded-Host", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override",
                   "Forwarded", "X-Forwarded-Proto", "Referer", "Script-Name"):  # fmt: skip
        answer = target.request("GET", "/nowhere", headers={header: f"http://{evil}/health"})
        held(answer.status_code == 404 and evil not in str(answer.headers), f"{header}: {answer}")
    answer = target.request("GET", "/health", headers={"Upgrade": "websocket"})
    held(answer.status_code == 200, f"an upgrade was answered with {answer.status_code}")
    for name in ("X-Forwarded-For", "X-Real-IP", "Remote-Addr", "True-Client-IP"):
        answer = target.request("GET", f"/files/{'x' * 21}", key="", headers={name: "127.0.0.1"})
        held(answer.status_code == 401, f"{name} let it in: {answer.status_code}")
    return ""


@group.attack()
def ranges(target: Target) -> str:
    """Asks for a thousand overlapping parts of a file, and for impossible ones."""
    uploaded = target.upload({"a.txt": b"x" * 100_000})
    path = f"/download/{uploaded['session_id']}/{uploaded['files'][0]['fileId']}"
    for wanted in ("bytes=0-", "bytes=" + ",".join(["0-"] * 1000), "bytes=-1", "bytes=5-1", "x",
                   "bytes=" + "9" * 30 + "-"):  # fmt: skip
        answer = target.request("GET", path, headers={"Range": wanted})
        held(answer.status_code in (200, 206, 400, 416), f"{wanted[:20]}: {answer.status_code}")
        held(len(answer.content) <= 100_000, f"{wanted[:20]} made it longer")
    return ""
