"""Connections over HTTP: what a server sends unasked is nobody's answer, wherever it waits."""

from __future__ import annotations

import ssl
from typing import Any

import httpcore2
import pytest
import trio
from http_servers import Request, Said, http_server
from tls_certificate import Tls

from actors.settings.transports import HttpSettings
from actors.transports.http_connections import CheckedStream, check_behind
from actors.transports.http_exchange import HttpExchange


def answer(status: int, body: str) -> bytes:
    return f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


def chunked(body: str) -> bytes:
    return f"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode()


UNASKED = answer(410, "unasked")


@pytest.mark.parametrize("behind", [UNASKED, UNASKED[:20], UNASKED * 3, b"\r\n", b"x", b"HTTP/1.1 100 x\r\n\r\n", b""])
@pytest.mark.parametrize("framed", [lambda body: answer(200, body), chunked, lambda body: answer(204, "")])
async def test_what_comes_behind_an_answer_is_not_taken_for_the_next_one(framed, behind):
    def says(request: Request) -> Said:
        return bytes(framed(request.target) + behind)

    async with http_server(says) as server:
        exchange = HttpExchange(HttpSettings(), lambda: 0.0)
        for number in range(3):
            received = await exchange.post(f"{server.url}/{number}", {}, b"")
            assert (received.status, received.body.decode()) in ((200, f"/{number}"), (204, ""))
        await exchange.aclose()
    assert server.connections == (3 if behind else 1)


async def test_where_the_library_does_not_show_what_is_left_the_connection_is_not_used_again():
    stream = CheckedStream(Wire())
    check_behind(httpcore2.Response(200, content=b"", extensions={"network_stream": stream}))
    await stream.read(10)
    with pytest.raises(httpcore2.ConnectionNotAvailable):
        await stream.write(b"request")


class Wire(httpcore2.AsyncNetworkStream):
    """A connection on which nothing happens but what is said here."""

    def __init__(self, **extra: Any) -> None:
        self.extra = extra
        self.written: list[bytes] = []

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return b"answer"

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.written.append(buffer)

    def get_extra_info(self, info: str) -> Any:
        return self.extra.get(info)


async def test_what_came_since_the_connection_was_chosen_is_seen_before_the_request_goes_out():
    wire = Wire(is_readable=False)
    stream = CheckedStream(wire)
    await stream.write(b"request")
    await stream.write(b"its body")
    await stream.read(10)
    await stream.write(b"request")
    await stream.read(10)
    wire.extra["is_readable"] = True
    with pytest.raises(httpcore2.ConnectionNotAvailable):
        await stream.write(b"request")
    assert wire.written == [b"request", b"its body", b"request"]


class Corked(trio.abc.Stream):
    """A stream that sends what was given to it since `hold` in one piece."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._held: bytes | None = None

    def hold(self) -> None:
        self._held = b""

    async def release(self) -> None:
        held, self._held = self._held, None
        await self._stream.send_all(held or b"")

    async def send_all(self, data: Any) -> None:
        if self._held is None:
            await self._stream.send_all(data)
        else:
            self._held += bytes(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> Any:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.parametrize("behind", [UNASKED, b""])
async def test_what_comes_in_a_tls_record_of_its_own_is_not_taken_for_the_next_answer(tls: Tls, behind):
    connections = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        corked = Corked(stream)
        over_tls = trio.SSLStream(corked, tls.server, server_side=True, https_compatible=True)
        try:
            while b"\r\n\r\n" in await over_tls.receive_some(65536):
                corked.hold()
                await over_tls.send_all(answer(200, "asked"))
                if behind:
                    await over_tls.send_all(behind)
                await corked.release()
        except (trio.BrokenResourceError, ssl.SSLError):
            pass

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        exchange = HttpExchange(HttpSettings(ca_file=tls.ca_file), lambda: 0.0)
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/"
        for _ in range(3):
            assert (await exchange.post(url, {}, b"")).text == "200 asked"
        await exchange.aclose()
        nursery.cancel_scope.cancel()
    assert connections == (3 if behind else 1)
