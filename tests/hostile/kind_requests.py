"""HTTP as strangers and operators may send it, by mistake or on purpose, to the whole service over streams in memory.

Requests to every route with bodies, queries, cookies and forms of what hurts; heads and chunks that are too many or too
long; pipelines of these; and the bytes of `http_fuzz`. No answer is a 500, and nothing is logged as an exception.
"""

import json
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import trio
from bounds import Kind
from http_fuzz import attack_bytes
from served import ANN, OTTO, SHOP, Served, email, service
from starlette.requests import Request
from starlette.routing import Mount, Route
from trio.testing import memory_stream_pair

from actors.service.app import make_app
from actors.service.http.access import SESSION_COOKIE
from actors.service.http_connection import Connection, Limits

TEXTS = (
    "", " ", "0", "-1", "9" * 30, "9" * 5000, "1e999", "nan", "²", "٣", "a\nb", "\x1b[31m", "\u2028", "a" * 3000,
    "http://[", "[", "//x", "..", ".", "%", "%00", "%2F", "a/b", "a/retry", "2026-13-45T99:99", "99999999999d",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1e300d", "n-1", "email", "fax", "oldest", "retry",
    "[" * 500, "{" * 500, "é", "\U0001f389", "null", "groups", "1-n-1", "9" * 19 + "-", "1-" + "x" * 3000, "\0",
)  # fmt: skip
NAMES = (
    "limit", "after", "order", "since", "until", "id", "reason", "reason_is", "channel", "recipient", "by", "address",
    "source", "why", "next", "live", "done", "action", "breaker", "token", "form_token", "rate", "edit", "message",
    "metadata", "expires_after", "subject", "lang", "out", "bulk", "page",
)  # fmt: skip
VALUES = (
    None, True, 0, -1, 1e308, 10**30, "", "\0", "a\nb", "x" * 3000, [], {}, [[]], {"a": {"b": [1]}}, "email", "2h",
    "99999999999d", "\U0001f389", {"": ""}, {"\0": "\0"}, ["email"], {"channel": "email"}, {"sms": "off"},
    [{"from": "25:00", "to": "x", "zone": "../etc/passwd"}], "10/s", "1e400/s", {str(n): n for n in range(300)},
)  # fmt: skip
FIELDS = (
    *NAMES, "notification_id", "user_id", "critical", "addresses", "type", "order_id", "placed_at", "total_amount",
    "filter", "dry_run", "provider", "channels", "quiet_hours", "variables", "served", "priority", "not_before",
)  # fmt: skip
BODIES: tuple[Callable[[Random], bytes], ...] = (
    lambda random: b"[" * random.choice((60, 70, 500, 100_000)),
    lambda random: b'{"a":' * random.choice((60, 70, 100_000)) + b"1",
    lambda random: json.dumps([_document(random)] * random.choice((2, 999, 1_001))).encode()[: 2**20 + 9],
    lambda _: b"[" + b"[]," * 300_000 + b"[]]",
    lambda _: b'{"metadata":{' + b",".join(b'"%d":[]' % n for n in range(60_000)) + b"}}",
    lambda random: json.dumps([email(random.randrange(10**6)) for _ in range(random.choice((10, 300)))]).encode(),
    lambda random: b'{"notification_id":"\\ud800' + b"\\u0041" * random.choice((9, 9_000)) + b'"}',
    lambda random: b"1" * random.choice((10, 4_000, 100_000)),
    lambda random: b"1e" + b"9" * random.choice((3, 10_000)),
    lambda _: b'"' + b"\\n" * 400_000 + b'"',
    lambda random: random.randbytes(random.choice((1, 30, 3_000))),
    lambda random: b"channel,address,reason\n" + b"email,a@example.com,x\n" * random.choice((1, 3_000)),
    lambda random: b"channel;" * random.choice((1, 100_000)) + b'"',
    lambda random: b"&".join(b"a%d=%%%02x" % (n, n % 256) for n in range(random.choice((20, 60, 5_000)))),
    lambda random: b"=&" * random.choice((40, 100_000)),
)  # fmt: skip


def endpoints(routes: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return the methods and paths of all routes."""
    for route in routes:
        if isinstance(route, Mount):
            yield from endpoints(route.routes, prefix + route.path)
        elif isinstance(route, Route):
            yield from ((method, prefix + route.path) for method in sorted((route.methods or set()) - {"HEAD"}))


ENDPOINTS = sorted(set(endpoints(make_app().routes)))
ENDPOINTS += 4 * [each for each in ENDPOINTS if each in (("POST", "/notifications"), ("POST", "/events"))]


@dataclass(frozen=True)
class Asked:
    """A request; one in a session gets its cookie, and the token of its forms, when it is sent."""

    method: str
    target: str
    headers: tuple[bytes, ...]
    body: bytes
    chunks: tuple[int, ...]
    """How long each part of the body is; none: it has a length."""
    trailers: bytes
    in_session: bool

    def sent(self, session: str, form_token: str) -> bytes:
        headers, body = list(self.headers), self.body
        if self.in_session:
            headers.append(f"Cookie: {SESSION_COOKIE}={session}".encode())
            body = body.replace(b"FORM-TOKEN", form_token.encode())
        if self.chunks:
            headers.append(b"Transfer-Encoding: chunked")
            parts, start = [], 0
            for length in (*self.chunks, len(body)):
                if part := body[start : start + length]:
                    parts.append(b"%x\r\n%b\r\n" % (len(part), part))
                start += length
            body = b"".join(parts) + b"0\r\n" + self.trailers + b"\r\n"
        elif body:
            headers.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join((f"{self.method} {self.target} HTTP/1.1".encode(), b"Host: service", *headers, b"", body))


def _document(random: Random) -> Any:
    document: Any = {name: random.choice(VALUES) for name in random.sample(FIELDS, random.randrange(8))}
    if random.random() < 0.3:
        document |= email(random.choice(("\0", "2", "x" * 3000)))
    return random.choice((document, document, [document], random.choice(VALUES)))


def _request(random: Random) -> Asked:
    method, path = random.choice(ENDPOINTS)
    parts = (
        quote(random.choice(TEXTS), safe=random.choice(("", "/"))) if part.startswith("{") else part
        for part in path.split("/")
    )
    query = urlencode({name: random.choice(TEXTS) for name in random.sample(NAMES, random.randrange(4))})
    if random.random() < 0.05:
        query = random.choice(("&" * 15_000, "a=b&" * 3_500, "=" * 15_000, "%" * 15_000, "limit=1&" * 1_800))
    headers, body = [f"Authorization: Bearer {random.choice((OTTO, OTTO, OTTO, ANN, SHOP, 'x' * 40))}".encode()], b""
    in_session = path.startswith("/console")
    if in_session:
        headers = [random.choice((b"Origin: http://service", b"Origin: http://service", b"Origin: http://[", b"X: y"))]
    if method in ("POST", "PUT"):
        body = json.dumps(_document(random)).encode()
        if in_session or path == "/callbacks/twilio":
            fields = {name: random.choice(TEXTS) for name in random.sample(NAMES, 8)}
            fields |= {"id": "n-1", "form_token": "FORM-TOKEN"}
            body = urlencode(fields).encode()
            headers.append(b"Content-Type: application/x-www-form-urlencoded")
        if random.random() < 0.3:
            body = random.choice(BODIES)(random)
        if random.random() < 0.1:
            headers.append(b"Content-Type: text/csv")
    if random.random() < 0.1:
        headers += random.choice((
            [b"Cookie: " + b"a=b; " * 3_000], [b"Cookie: " + b'"\\' * 7_000], [b"x:" * 20] * 99, [b"x:"] * 4_000,
            [b"X-Forwarded-For: " + b"1.1.1.1," * 1_900], [b"X: " + b"y" * 60_000], [b"traceparent: " + b"0-" * 7_000],
            [b"Authorization: Bearer " + b"x" * 15_000], [b"Content-Type: " + b";a=b" * 3_500],
        ))  # fmt: skip
    chunks: tuple[int, ...] = ()
    if body and random.random() < 0.3:
        chunks = tuple(random.choice((1, 2, 16, 1_000, 70_000)) for _ in range(random.choice((1, 20, 3_000))))
    trailers = random.choice((b"", b"", b"x:\r\n" * 50, b"x:\r\n" * 15_000, b"x: " + b"y" * 30_000 + b"\r\n"))
    target = "/".join(parts) + (f"?{query}" if query else "")
    return Asked(method, target, tuple(headers), body, chunks, trailers if chunks else b"", in_session)


def draw(random: Random) -> list[Asked | bytes]:
    """Return what is sent over one connection."""
    if random.random() < 0.2:
        return [attack_bytes(random)]
    requests: list[Asked | bytes] = [_request(random) for _ in range(random.choice((1, 1, 1, 4)))]
    if random.random() < 0.1:
        requests += random.choice(([attack_bytes(random)], [b"GET /healthz/live HTTP/1.1\r\nHost: a\r\n\r\n" * 150]))
    return requests


class _Room:
    def changed(self) -> None: ...

    def hold(self, _connection: Connection, _size: int) -> bool:
        return True

    def release(self, size: int) -> None: ...


class _Errors(logging.Handler):
    """Keeps what is logged as an exception, or as a request that failed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or (" failed: " in record.getMessage() and record.name == "retrylab.service"):
            self.found.append(f"{record.getMessage()} {record.__dict__.get('fields')}")


async def send(served: Served, errors: _Errors, pieces: list[Asked | bytes]) -> list[int]:
    """Send it over a connection, and return the statuses of the answers."""
    access = served.server.app.service.access
    scope: dict[str, Any] = {"type": "http", "path": "/console", "headers": [], "query_string": b""}
    session = access.begin_session(Request(scope), OTTO)[1]
    scope["headers"] = [(b"cookie", f"{SESSION_COOKIE}={session}".encode())]
    form_token = access.form_token(Request(scope))
    sent = b"".join(each if isinstance(each, bytes) else each.sent(session, form_token) for each in pieces)
    server_side, client = memory_stream_pair()
    server_side.socket = SimpleNamespace(getpeername=lambda: ("10.0.0.1", 1), getsockname=lambda: ("10.0.0.2", 2))
    answers = bytearray()

    async def take() -> None:
        while data := await client.receive_some():
            answers.extend(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await client.send_all(sent)
        await client.send_eof()
        await Connection(server_side, served.server._http._app, Limits(), _Room()).serve()
        await server_side.aclose()
    statuses = [int(status) for status in re.findall(rb"(?:^|[^ ])HTTP/1\.1 (\d{3})", bytes(answers))]
    assert 500 not in statuses, "500"
    assert not errors.found, errors.found
    return statuses


@asynccontextmanager
async def opened() -> AsyncIterator[Callable[[list[Asked | bytes]], Awaitable[list[int]]]]:
    """Open a service over memory and one over SQLite; each takes every other input."""
    errors, number = _Errors(), 0
    logging.getLogger().addHandler(errors)
    async with AsyncExitStack() as stack:
        both = []
        for store in ("memory", {"sqlite": "store.db"}):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / "templates").mkdir()
            served = await stack.enter_async_context(service(folder, store=store, templates="templates"))
            logging.getLogger().addHandler(errors)
            await served.post("/notifications", email(1))
            both.append(served)

        async def feed(pieces: list[Asked | bytes]) -> list[int]:
            nonlocal number
            number += 1
            return await send(both[number % 2], errors, pieces)

        yield feed


KIND = Kind("requests", draw, opened=opened, short=6)
