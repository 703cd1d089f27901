"""Connections over HTTP: what a server sends unasked is nobody's answer, and no host takes them all."""

import ssl
from collections import Counter
from typing import Any

import httpcore2
import pytest
import trio
import trio.testing
from http_servers import HANG, Reply, Request, Said, http_server
from hypothesis import given, strategies as st
from tls_certificate import Tls

from actors.settings.transports import HttpSettings
from actors.transports.http_connections import SPARE, CheckedStream, HostShares, check_behind
from actors.transports.http_exchange import HttpExchange, NoConnectionFree


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


# ── one host and the others ─────────────────────────────────────────────────────────────────────────────────────


async def until(condition: Any) -> None:
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.001)


async def test_a_host_that_does_not_answer_takes_none_of_the_connections_of_others():
    async with http_server([HANG]) as slow, http_server([Reply(200)]) as other, trio.open_nursery() as nursery:
        exchange = HttpExchange(HttpSettings(connections=8, connect_timeout=60), lambda: 0.0, is_ours=False)
        for _ in range(30):
            nursery.start_soon(exchange.post, slow.url, {}, b"")
        await until(lambda: slow.connections == 8)
        url = other.url.replace("127.0.0.1", "localhost")
        for _ in range(3):
            assert (await exchange.post(url, {}, b"")).status == 200
        assert (slow.connections, len(slow.requests)) == (8, 8)
        nursery.cancel_scope.cancel()
    await exchange.aclose()


async def test_who_waits_for_a_host_in_vain_has_said_nothing_and_leaves_no_trace():
    async with http_server([HANG]) as slow, trio.open_nursery() as nursery:
        exchange = HttpExchange(HttpSettings(connections=1, connect_timeout=0.05), lambda: 0.0, is_ours=False)
        nursery.start_soon(exchange.post, slow.url, {}, b"")
        await slow.hangs.wait()
        for _ in range(3):
            with pytest.raises(NoConnectionFree):
                await exchange.post(slow.url, {}, b"")
        assert len(slow.requests) == 1
        nursery.cancel_scope.cancel()
    async with http_server([Reply(200)]) as well:
        assert (await exchange.post(well.url, {}, b"")).status == 200
    await exchange.aclose()


@pytest.mark.parametrize(("connections", "total"), [(1, 2), (4, 5), (100, 125)])
async def test_one_host_may_have_all_and_the_next_one_finds_some(connections, total):
    shares = HostShares(connections)
    assert shares.total == total
    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            await shares.acquire(b"slow")
        nursery.start_soon(shares.acquire, b"slow")
        await trio.testing.wait_all_tasks_blocked()
        await shares.acquire(b"other")
        nursery.cancel_scope.cancel()


@given(st.integers(1, 12), st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=60))
def test_nobody_waits_for_what_is_there_and_a_host_leaves_one_free(connections, steps):
    """Each step has a host wait for a connection (0, 1), give one back (2), or leave the queue (3)."""

    async def run() -> None:
        shares = HostShares(connections)
        has: Counter[str] = Counter()
        served: dict[str, list[int]] = {host: [] for host in "abc"}
        waiting: dict[str, list[tuple[int, trio.CancelScope]]] = {host: [] for host in "abc"}

        async def wait(host: str, number: int, scope: trio.CancelScope) -> None:
            with scope:
                await shares.acquire(host.encode())
                has[host] += 1
                served[host].append(number)
                waiting[host] = [each for each in waiting[host] if each[0] != number]

        async with trio.open_nursery() as nursery:
            for number, (host, action) in enumerate(steps):
                if action < 2:
                    scope = trio.CancelScope()
                    waiting[host].append((number, scope))
                    nursery.start_soon(wait, host, number, scope)
                elif action == 2 and has[host]:
                    has[host] -= 1
                    shares.release(host.encode())
                elif action == 3 and waiting[host]:
                    waiting[host].pop()[1].cancel()
                await trio.testing.wait_all_tasks_blocked()
                free = shares.total - has.total()
                assert free >= 0
                for each in "abc":
                    assert has[each] <= connections
                    assert not waiting[each] or has[each] >= min(connections, SPARE * free)
                    assert served[each] == sorted(served[each])
                if len(+has) == 1 and has.total() >= SPARE:
                    assert free
            nursery.cancel_scope.cancel()

    trio.run(run)


async def test_who_stops_waiting_as_a_connection_is_given_to_it_gives_it_back():
    shares = HostShares(1)
    await shares.acquire(b"a")
    with trio.CancelScope() as patience:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shares.acquire, b"a")
            await trio.testing.wait_all_tasks_blocked()
            patience.cancel()
            shares.release(b"a")
    assert patience.cancelled_caught
    with trio.fail_after(1):
        await shares.acquire(b"a")
