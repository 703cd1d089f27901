"""Sockets in memory do what clients and servers expect of a network; all in one world, as each takes a process."""

import errno
import socket

import httpx2
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import simulation
from simulation.world.sockets import BUFFER_SIZE

SCENARIO = """
duration: 1m
workload: [{channel: payments, arrivals: {constant: 1/s}}]
channels: {payments: {kind: call, provider: {latency: 80ms}}}
world: {api.example.com: payments}
"""
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


async def pair():
    """Return the two ends of a connection of the service to itself."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        ends = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: _append(ends, listener.accept))
            ends.append(await trio.open_tcp_stream("localhost", port))
        one, other = sorted(ends, key=lambda end: end.socket.getpeername()[1] != port)
        return one, other


async def _append(ends, accept):
    ends.append(await accept())


@check
async def bytes_arrive_in_order_and_the_end_after_them():
    one, other = await pair()
    sent = bytes(range(256)) * 2000
    got = bytearray()

    async def read():
        async for part in other:
            got.extend(part)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await one.send_all(sent)
        await one.send_eof()
    assert bytes(got) == sent
    assert await other.receive_some() == b""


@check
async def a_sender_waits_for_room():
    one, other = await pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, bytes(BUFFER_SIZE + 1))
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        await other.receive_some(1)
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks


@check
async def to_close_wakes_a_task_that_reads_or_writes():
    for use in ("receive_some", "send_all"):
        one, _other = await pair()
        arguments = () if use == "receive_some" else (bytes(2 * BUFFER_SIZE),)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_closed, getattr(one, use), arguments)
            await wait_all_tasks_blocked()
            one.socket.close()
        assert one.socket.fileno() == -1


async def _closed(use, arguments):
    with pytest.raises(trio.ClosedResourceError):
        await use(*arguments)


@check
async def what_is_sent_to_a_closed_end_is_answered_with_a_reset():
    one, other = await pair()
    await other.aclose()
    assert await one.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await one.send_all(b"x")


@check
async def a_call_that_need_not_wait_is_a_checkpoint_all_the_same():
    one, other = await pair()
    await other.send_all(b"x")
    with trio.CancelScope() as scope:
        scope.cancel()
        await one.receive_some()
    assert scope.cancelled_caught
    assert await one.receive_some() == b"x"


@check
async def errors_are_those_of_the_operating_system():
    sock = trio.socket.socket()
    for call in (sock.recv(1), sock.send(b"x")):
        with pytest.raises(OSError, match=rf"Errno {errno.ENOTCONN}]"):
            await call
    await sock.bind(("127.0.0.1", 7000))
    sock.listen()
    with pytest.raises(OSError, match=rf"Errno {errno.EADDRINUSE}]"):
        await trio.socket.socket().bind(("127.0.0.1", 7000))
    sock.close()
    again = trio.socket.socket()
    await again.bind(("127.0.0.1", 7000))
    again.close()


@check
async def names_are_public_addresses():
    (found,) = await trio.socket.getaddrinfo("api.example.com", 443, type=socket.SOCK_STREAM)
    assert found[4][0].startswith("11.0.")
    assert await trio.socket.getnameinfo(found[4], 0) == ("api.example.com", "443")
    with pytest.raises(socket.gaierror):
        await trio.socket.getaddrinfo("api.example.com", 443, family=socket.AF_INET6)


@check
async def six_requests_share_two_connections():
    began = trio.current_time()
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=2)) as client, trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(client.get, "http://api.example.com/")
    assert trio.current_time() - began == pytest.approx(0.24)


@check
async def a_request_after_cancelled_ones_is_answered():
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1)) as client:
        for _ in range(3):
            with trio.move_on_after(0.01):
                await client.get("https://api.example.com/")
        assert (await client.get("https://api.example.com/")).json() == {"ok": True}


@check
async def uploads_come_in_chunks_and_on_request():
    async def chunks():
        for _ in range(40):
            yield bytes(65536)

    async with httpx2.AsyncClient() as client:
        answer = await client.post("https://api.example.com/", content=chunks(), headers={"expect": "100-continue"})
        assert answer.status_code == 200
        assert (await client.head("https://api.example.com/")).content == b""


@check
async def what_is_no_http_ends_the_connection():
    stream = await trio.open_tcp_stream("api.example.com", 80)
    await stream.send_all(b"EHLO shop\r\n\r\n")
    assert await stream.receive_some() == b""


@check
async def an_idle_connection_expires_by_the_clock_of_the_run():
    limits = httpx2.Limits(keepalive_expiry=5)
    async with httpx2.AsyncClient(limits=limits) as client:
        ports = []
        for wait in (0, 1, 20):
            await trio.sleep(wait)
            async with client.stream("GET", "http://api.example.com/") as answer:
                await answer.aread()
                ports.append(answer.extensions["network_stream"].get_extra_info("client_addr")[1])
    assert ports[0] == ports[1] != ports[2]


def test_sockets():
    async def main():
        for function in CHECKS:
            try:
                await function()
            except BaseException as error:
                error.add_note(function.__name__)
                raise

    simulation.run_service(main, simulation.parse(SCENARIO))
