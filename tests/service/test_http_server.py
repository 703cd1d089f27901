"""The HTTP server: no client ends anything but its own connection, waits for ever, or holds much."""

import logging
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import h11
import pytest
import trio
from effort import sliced
from http_fuzz import ATTACKS, attack
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from actors.service.http_connection import PARTS_MAX, Connection, Limits
from actors.service.http_server import HttpServer

OK = b"GET / HTTP/1.1\r\nHost: service\r\n\r\n"


class Served:
    def __init__(self, server: HttpServer, port: int) -> None:
        self.server = server
        self.port = port
        self.streams: list[trio.SocketStream] = []

    async def connect(self, sent: bytes = b"") -> trio.SocketStream:
        """Open a connection, and send this."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.streams.append(stream)
        if sent:
            await stream.send_all(sent)
        return stream

    async def say(self, sent: bytes) -> bytes:
        """Send this over a connection of its own, and return all that comes until the server closes it."""
        async with await self.connect(sent) as stream:
            return await everything(stream)

    async def status(self, sent: bytes = OK) -> int:
        """Return the status of the first answer to this."""
        async with await self.connect(sent) as stream:
            return status_of(await answer(stream))


async def everything(stream: trio.SocketStream) -> bytes:
    """Return all that comes until the other side closes, or resets."""
    got = b""
    try:
        while data := await stream.receive_some():
            got += data
    except trio.BrokenResourceError:
        pass
    return got


async def answer(stream: trio.SocketStream) -> bytes:
    return bytes(await stream.receive_some())


def status_of(said: bytes) -> int:
    assert said.startswith(b"HTTP/1.1 "), said
    return int(said[9:12])


def post(body: bytes = b"", *headers: bytes, length: int | None = None, path: bytes = b"/read") -> bytes:
    """Return a request with a body, of which there may be more to come."""
    length = len(body) if length is None else length
    return b"\r\n".join(
        [b"POST " + path + b" HTTP/1.1", b"Host: service", b"Content-Length: %d" % length, *headers, b"", body]
    )


async def _home(_request: Request) -> Response:
    return PlainTextResponse("home")


async def _read(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _refuse(_request: Request) -> Response:
    raise HTTPException(401)


async def _fail(_request: Request) -> Response:
    raise ValueError("ann@example.com is not to be logged")


async def _large(_request: Request) -> Response:
    return Response(b"x" * 50_000_000)


async def _forever(_request: Request) -> Response:
    await trio.sleep_forever()
    raise AssertionError


class Gate:
    """An endpoint that answers when it may."""

    def __init__(self) -> None:
        self.go = trio.Event()

    async def wait(self, _request: Request) -> Response:
        await self.go.wait()
        return PlainTextResponse("waited")


async def _stream(_request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"one ", b"two"):
            yield part

    return StreamingResponse(parts())


def application(**endpoints: Callable[[Request], Any]) -> Starlette:
    own = {"": _home, "read": _read, "refuse": _refuse, "fail": _fail, "large": _large, "stream": _stream}
    given = (own | endpoints).items()
    return Starlette(routes=[Route(f"/{name}", answered, methods=["GET", "POST"]) for name, answered in given])


@asynccontextmanager
async def serving(app: Any = None, **limits: Any) -> AsyncIterator[Served]:
    async with trio.open_nursery() as nursery:
        server = HttpServer(application() if app is None else app, Limits(**limits))
        (url,) = await server.listen("127.0.0.1:0", nursery)
        port = urlsplit(url).port
        assert port is not None
        at = Served(server, port)
        try:
            yield at
        finally:
            for stream in at.streams:
                stream.socket.close()
            nursery.cancel_scope.cancel()


async def test_a_connection_is_kept_for_further_requests_and_pipelined_ones():
    async with serving() as at, await at.connect(OK) as stream:
        first = await answer(stream)
        assert first.startswith(b"HTTP/1.1 200 ")
        assert first.endswith(b"\r\n\r\nhome")
        assert b"\r\ndate: " in first
        assert b"connection: close" not in first.lower()
        await stream.send_all(post(b"12345") + OK + b"HEAD / HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n")
        rest = await everything(stream)
        assert rest.count(b"HTTP/1.1 200 ") == 3
        assert b"\r\n\r\n5HTTP" in rest
        assert b"\r\n\r\nhomeHTTP" in rest
        assert rest.endswith(b"\r\n\r\n")


async def test_bodies_in_chunks_after_100_and_answers_in_parts():
    async with serving() as at:
        async with await at.connect(
            b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        ) as stream:
            assert status_of(await answer(stream)) == 100
            await stream.send_all(b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
            assert (await answer(stream)).endswith(b"\r\n\r\n4")
        said = await at.say(b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n" in said
        assert b"\r\n\r\none two" in await at.say(b"GET /stream HTTP/1.0\r\n\r\n")


async def test_a_target_with_a_host_is_taken_and_the_host_is_that():
    async def whereto(request: Request) -> Response:
        return PlainTextResponse(str(request.url))

    async with serving(application(whereto=whereto)) as at:
        said = await at.say(b"GET http://b:8/whereto?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert said.endswith(b"\r\n\r\nhttp://b:8/whereto?x")


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST /read HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        (501, b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (501, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: [\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a/console?\r\n\r\n"),
        (400, b"GET http://[/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET \xff HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000),
    ],
)
async def test_what_is_wrong_with_a_request_closes_its_connection(status: int, request_: bytes):
    async with serving() as at:
        said = await at.say(request_ + (b"" if request_.endswith(b"x") else OK * 2))
        statuses = [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [status], said
        assert await at.status() == 200


CHUNKED = b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def head_of(size: int, headers: int) -> bytes:
    start = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x:\r\n" * (headers - 2) + b"y:"
    return start + b"z" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("statuses", "sent"),
    [
        ([200, 200], head_of(2**14, 100) + OK),
        ([200, 200], head_of(600, 100).replace(b"\r\n", b"\n") + OK),
        ([431], head_of(2**14 + 1, 100) + OK),
        ([431], head_of(600, 101) + OK),
        ([200, 431], OK + head_of(60_000, 10) + OK),
        ([200, 431], post(b"\n" * 2_000) + head_of(60_000, 15_000) + OK),
        ([200, 200], CHUNKED + b"0\r\n" + b"x:\r\n" * 100 + b"\r\n" + head_of(2**14, 100)),
        ([431], CHUNKED + b"0\r\n" + b"x:\r\n" * 102 + b"\r\n" + OK),
        ([431], CHUNKED + b"3\r\nabc\r\n000;x\r\n" + b"x:\r\n" * 15_000 + b"\r\n" + OK),
        ([404], CHUNKED.replace(b"read", b"nowhere") + b"0\r\n" + b"x:\r\n" * 15_000 + b"\r\n" + OK),
    ],
)
async def test_a_head_or_trailers_have_at_most_16_kib_and_100_headers(statuses: list[int], sent: bytes, monkeypatch):
    parsed = []
    decode = h11._readers._decode_header_lines
    monkeypatch.setattr("h11._readers._decode_header_lines", lambda lines: parsed.append(len(lines)) or decode(lines))
    async with serving() as at:
        for parts in ([sent], [sent[start : start + 977] for start in range(0, len(sent), 977)]):
            stream = await at.connect()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_parts, stream, parts)
                said = await everything(stream) if statuses[-1] != 200 else await answers(stream, len(statuses))
            assert [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]] == statuses
    assert max(parsed, default=0) <= 102


async def send_parts(stream: trio.SocketStream, parts: list[bytes]) -> None:
    with suppress(trio.BrokenResourceError):
        for part in parts:
            await stream.send_all(part)


async def answers(stream: trio.SocketStream, count: int) -> bytes:
    said = b""
    while said.count(b"\r\n\r\n") < count:
        said += await answer(stream)
    return said


@pytest.mark.parametrize("size", [1, 2, 3, 5, 50])
async def test_content_that_looks_like_a_last_chunk_is_content(size: int):
    content = [b"0\r\n" + b"a\n" * 110, b"\n0\r\n" + b"\r\n" * 110, b"0", b"0\n" * 110]
    sent = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in content) + b"0\r\n\r\n"
    parts = [sent[: len(CHUNKED)], *(sent[start : start + size] for start in range(len(CHUNKED), len(sent), size))]
    server_side, client = memory_stream_pair()
    answered: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        answered.append(await request.body())
        await PlainTextResponse("")(scope, receive, send)

    server_side.socket = SimpleNamespace(getpeername=lambda: ("a", 1), getsockname=lambda: ("b", 2))
    connection = Connection(server_side, app, Limits(), HttpServer(app))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.serve)
        for part in parts:
            await client.send_all(part)
            await wait_all_tasks_blocked()
        await client.receive_some()
        nursery.cancel_scope.cancel()
    assert answered == [b"".join(content)]


@pytest.mark.parametrize(
    "headers",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: !!!\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
        b"Sec-WebSocket-Protocol: \xff\r\nSec-WebSocket-Extensions: \xe9\r\n",
    ],
)
async def test_an_upgrade_is_answered_as_if_it_had_not_been_asked_for(headers: bytes):
    async with serving() as at:
        assert await at.status(b"GET / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n") == 200


async def test_an_application_that_raises_is_a_500_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with serving() as at:
        assert await at.status(b"GET /fail HTTP/1.1\r\nHost: a\r\n\r\n") == 500
        assert await at.status() == 200
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "a request failed: ValueError"
    assert record.exc_info is None
    assert "test_http_server.py:" in record.__dict__["fields"]["at"]


async def test_a_client_that_leaves_in_mid_body_is_no_error(caplog: pytest.LogCaptureFixture):
    async with serving() as at:
        for sent in (post(b"abc", length=100), post(b"abc", length=100) * 2):
            stream = await at.connect(sent)
            await wait_all_tasks_blocked()
            await stream.aclose()
        await wait_all_tasks_blocked()
        assert await at.status() == 200
    assert not caplog.records


@pytest.mark.parametrize("seed", sliced(range(4), 3))
async def test_no_bytes_or_frames_end_anything_but_their_connection(seed: int, caplog: pytest.LogCaptureFixture):
    random = Random(seed)
    async with serving() as at:
        for _ in range(150):
            async with await at.connect() as stream:
                await attack(random, stream)
            with trio.fail_after(30):
                assert await at.status() == 200
        for name in ATTACKS:
            async with await at.connect() as stream:
                await attack(random, stream, name)
        assert await at.status() == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_head_has_to_come_in_time(mock_clock: MockClock):
    async with serving() as at:
        silent, half = await at.connect(), await at.connect(b"GET / HTTP/1.1\r\nHost:")
        await wait_all_tasks_blocked()
        for _ in range(3):  # what comes drop by drop is not in time either
            mock_clock.jump(3)
            await half.send_all(b"x")
            await wait_all_tasks_blocked()
        mock_clock.jump(2)
        assert status_of(await everything(half)) == 408
        assert await everything(silent) == b""


async def test_a_body_has_to_come_in_time_however_it_drips(mock_clock: MockClock):
    async with serving() as at:
        stream = await at.connect(post(b"x", length=1_000_000))
        await wait_all_tasks_blocked()
        drops = 0
        while drops < 100:
            mock_clock.jump(1)
            await wait_all_tasks_blocked()
            try:
                await stream.send_all(b"x")
            except trio.BrokenResourceError:
                break
            await wait_all_tasks_blocked()
            drops += 1
            if len(at.server._connections) == 0:
                break
        assert 19 <= drops <= 23
        assert status_of(await everything(stream)) == 408


async def test_a_large_body_at_a_fair_pace_has_its_time(mock_clock: MockClock):
    body = b"x" * 2_000_000
    async with serving() as at:
        stream = await at.connect(post(length=len(body)))
        for start in range(0, len(body), 40_000):
            await stream.send_all(body[start : start + 40_000])
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
        assert (await answer(stream)).endswith(b"\r\n\r\n2000000")


async def test_a_connection_without_a_further_request_is_closed(mock_clock: MockClock):
    async with serving() as at:
        stream = await at.connect(OK)
        assert status_of(await answer(stream)) == 200
        await wait_all_tasks_blocked()
        mock_clock.jump(74)
        await stream.send_all(OK)
        assert status_of(await answer(stream)) == 200
        await wait_all_tasks_blocked()
        mock_clock.jump(76)
        assert await everything(stream) == b""


async def test_an_answer_that_is_not_taken_is_given_up(mock_clock: MockClock):
    async with serving() as at:
        stream = await at.connect(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_all_tasks_blocked()
        assert len(at.server._connections) == 1
        mock_clock.jump(21)
        await wait_all_tasks_blocked()
        assert len(at.server._connections) == 0
        await stream.aclose()


async def test_a_body_that_is_refused_is_not_read():
    async with serving() as at:
        async with await at.connect(post(length=10_000_000, path=b"/refuse")) as stream:
            said = await answer(stream)
            assert status_of(said) == 401
            assert b"connection: close" in said.lower()
        async with await at.connect(post(b"short", path=b"/refuse") + OK) as stream:
            said = await answer(stream)  # what has come already keeps its connection
            assert status_of(said) == 401
            assert b"connection: close" not in said.lower()


async def test_a_body_in_very_many_small_parts_is_refused_and_in_fair_ones_is_not():
    def chunked(data: bytes, size: int) -> bytes:
        chunks = [data[start : start + size] for start in range(0, len(data), size)]
        return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"

    head = b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving() as at:
        assert await at.status(head + chunked(b"x" * 900, 1)) == 200
        assert await at.status(head + chunked(b"x" * 500_000, 100)) == 200
        said = await at.say(head + chunked(b"x" * 16_000, 1))
        assert status_of(said) == 400
        assert b"too many parts" in said


async def test_a_head_in_very_many_parts_is_refused():
    async with serving() as at:
        stream = await at.connect(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        for _ in range(PARTS_MAX + 10):
            await stream.send_all(b"x")
            await wait_all_tasks_blocked()
        assert status_of(await everything(stream)) == 400


async def test_slow_clients_make_way_for_new_ones():
    async with serving(connections=20) as at:
        slow = [await at.connect(post(b"x", length=1000)) for _ in range(15)]
        idle = [await at.connect() for _ in range(15)]
        half = [await at.connect(b"GET /") for _ in range(15)]
        for _ in range(30):
            with trio.fail_after(60):
                assert await at.status() == 200
        assert len(at.server._connections) <= 25
        ends = [await everything(stream) for stream in slow[:5]]
        assert {status_of(said) for said in ends} == {503}
        assert len(idle) == len(half) == 15


async def test_what_is_being_answered_is_not_sent_away():
    gate = Gate()
    async with serving(application(wait=gate.wait), connections=4) as at:
        waiting = [await at.connect(b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") for _ in range(3)]
        await wait_all_tasks_blocked()
        for _ in range(20):
            assert await at.status() == 200
        idle = [await at.connect() for _ in range(10)]
        assert await at.status() == 200
        gate.go.set()
        assert [(await everything(stream))[-6:] for stream in waiting] == [b"waited"] * 3
        assert len(idle) == 10


def test_few_descriptors_leave_room_for_everything_else(monkeypatch: pytest.MonkeyPatch):
    from actors.service.http_server import _connections_max

    for limit, wanted in ((resource.RLIM_INFINITY, 1000), (1024, 512), (400, 200), (1, 1), (10**6, 1000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _which, limit=limit: (limit, limit))
        assert _connections_max(1000) == wanted


async def test_a_system_without_descriptors_is_a_line_in_the_log_and_no_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mock_clock: MockClock
):
    accept, failures = trio.SocketListener.accept, 5

    async def failing(self: trio.SocketListener) -> trio.SocketStream:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(24, "Too many open files")
        return await accept(self)

    monkeypatch.setattr(trio.SocketListener, "accept", failing)
    async with serving() as at:
        stream = await at.connect(OK)
        while failures:
            await wait_all_tasks_blocked()
            mock_clock.jump(0.2)
        assert status_of(await answer(stream)) == 200
    (record,) = caplog.records
    assert record.getMessage() == "no connection can be accepted: Too many open files"
    assert record.exc_info is None


async def test_bodies_that_are_being_read_are_bounded_together(monkeypatch):
    read = 0

    def hold(connection, size):
        nonlocal read
        read += size
        return HttpServer.hold(at.server, connection, size)

    async with serving(bodies_bytes=1_000_000, body_s=10_000.0) as at:
        monkeypatch.setattr(at.server, "hold", hold)
        slow = []
        for number in range(1, 11):
            slow.append(await at.connect(post(b"x" * 300_000, length=300_001)))
            while read < 300_000 * number:  # it comes in as many parts as the system likes
                await trio.sleep(0.001)
            await wait_all_tasks_blocked()
            assert at.server._held <= 1_000_000 + 2**16
        assert (await at.say(post(b"y" * 400_000, b"Connection: close"))).endswith(b"\r\n\r\n400000")
        assert status_of(await answer(slow[0])) == 503
        await slow[-1].send_all(b"x")
        assert (await answer(slow[-1])).endswith(b"\r\n\r\n300001")
        for stream in slow:
            await stream.aclose()
        await wait_all_tasks_blocked()
        assert at.server._held == 0


async def test_slow_clients_do_not_hold_up_the_end_and_answers_do(mock_clock: MockClock):
    gate = Gate()
    async with serving(application(wait=gate.wait)) as at:
        streams = [await at.connect(sent) for sent in (b"", b"GET /", post(b"x", length=1000), OK)]
        waiting = await at.connect(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.server.stop)
            await wait_all_tasks_blocked()
            assert len(at.server._connections) == 3  # that which waits, and two that may still read their refusal
            mock_clock.jump(0.1)
            await wait_all_tasks_blocked()
            assert len(at.server._connections) == 1
            gate.go.set()
            said = await everything(waiting)
            await waiting.aclose()
        assert mock_clock.current_time() < 1
        assert said.endswith(b"waited")
        assert b"connection: close" in said.lower()
        assert b" 503 " in await everything(streams[2])


async def test_answers_hold_up_the_end_for_so_long_and_no_longer(mock_clock: MockClock):
    async with serving(application(wait=_forever)) as at:
        stream = await at.connect(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.server.stop)
            await wait_all_tasks_blocked()
            mock_clock.jump(3.1)
        assert status_of(await everything(stream)) == 503


async def test_who_is_being_answered_when_the_process_ends_is_told_to_come_again():
    async with serving(application(wait=_forever)) as at:
        stream = await at.connect(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        at.streams.clear()
        await wait_all_tasks_blocked()
    said = await everything(stream)
    await stream.aclose()
    assert status_of(said) == 503
    assert b"retry-after: 1" in said.lower()


async def test_an_application_hears_of_a_client_that_has_gone():
    heard = trio.Event()

    async def listen(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["more_body"] is False
        assert (await receive())["type"] == "http.disconnect"
        heard.set()

    async with serving(listen) as at:
        stream = await at.connect(OK)
        await wait_all_tasks_blocked()
        await stream.aclose()
        with trio.fail_after(60):
            await heard.wait()
