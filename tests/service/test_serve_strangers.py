"""Strangers at a real service: what they send ends nothing, holds nothing up, and takes little room."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio
from http_fuzz import attack
from serve_processes import SERVE, Process
from served import OTTO, SHOP, email, write

AT_ONCE = 20
"""Strangers side by side."""

GROWTH_MAX = 50 * 2**20
"""Bytes."""


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


async def strangers(port: int, seed: int, at_least: int) -> int:
    """Attack with so many requests and frames; return how many there were."""
    sent = 0
    kept: list[trio.SocketStream] = []

    async def one(random: Random) -> None:
        nonlocal sent
        while sent < at_least:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            done = await attack(random, stream)
            sent += done  # not in one: others have counted meanwhile
            if random.random() < 0.01 and len(kept) < 200:
                kept.append(stream)  # and stay, in the middle of something
            else:
                stream.socket.close()

    async with trio.open_nursery() as nursery:
        for number in range(AT_ONCE):
            nursery.start_soon(one, Random(f"{seed}/{number}"))
    for stream in kept:
        stream.socket.close()
    return sent


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("count", [1_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_service_outlives_its_strangers(tmp_path: Path, count: int):
    count = int(os.environ.get("RETRYLAB_FUZZ", count))
    process = Process(write(tmp_path / "service.yaml", listen="127.0.0.1:0", store={"sqlite": "store.db"}))
    try:
        assert process.port is not None
        assert process.ask("POST", "/notifications", email(1))[0] == 202
        trio.run(strangers, process.port, 1, count // 10)  # until all is loaded that they can reach
        before = resident(process.popen.pid)
        started = time.monotonic()
        sent = trio.run(strangers, process.port, 2, count)
        took, grown = time.monotonic() - started, resident(process.popen.pid) - before
        asked = time.monotonic()
        assert process.ask("POST", "/notifications", email(2))[0] == 202
        answered = time.monotonic() - asked
        print(
            f"\n{sent:,} requests and frames in {took:.1f} s; the next request was answered after "
            f"{answered * 1000:.1f} ms; {before / 2**20:.1f} MiB grew by {grown / 2**20:.1f}"
        )
        assert process.popen.poll() is None
        assert grown < GROWTH_MAX
        assert process.ask("GET", "/healthz", None, OTTO)[0] == 200
        assert process.end() == 0
    finally:
        process.popen.kill()
    logged = [line for line in process.lines if line["level"] in ("warning", "error", "critical")]
    said = {line["event"] for line in logged if not line["event"].startswith("Python ")}  # it may be too old a patch
    assert not any("exception" in line or "Traceback" in str(line) for line in process.lines)
    assert said <= {"NOTHING GOES OUT on email, sms: simulated"}


async def slow_ones(port: int, release: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
    """Have more slow clients than the service has descriptors: silent, in a head, in a form, in a body with a token."""
    head = "POST /console/sign-in HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nContent-Length: 9000\r\n"
    form = f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken=".encode()
    body = f"POST /events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {SHOP}\r\nContent-Length: 99\r\n\r\n[".encode()
    streams = []
    for number in range(200):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all((b"", b"GET /", form, body)[number % 4])
        streams.append(stream)
    task_status.started()
    await release.wait()
    for stream in streams:
        stream.socket.close()


@pytest.mark.thorough
@pytest.mark.integration
async def test_slow_clients_of_a_service_with_few_descriptors_keep_out_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("serve_processes.SERVE", ["sh", "-c", 'ulimit -n 100; exec "$0" "$@"', *SERVE])
    settings = write(tmp_path / "service.yaml", listen="127.0.0.1:0", store={"sqlite": "store.db"})
    process = Process(settings)
    release = trio.Event()
    try:
        assert process.port is not None
        async with trio.open_nursery() as nursery:
            await nursery.start(slow_ones, process.port, release)
            for number in range(30):
                asked = partial(process.ask, "POST", "/notifications", email(number))
                assert (await trio.to_thread.run_sync(asked))[0] == 202
            write(settings, listen="127.0.0.1:0", store={"sqlite": "store.db"}, channels={"email": {"timeout": "7s"}})
            process.popen.send_signal(signal.SIGHUP)
            await trio.to_thread.run_sync(process.wait_for, "settings read again")
            assert await trio.to_thread.run_sync(process.end) == 0
            release.set()
    finally:
        process.popen.kill()
    assert not any("exception" in line for line in process.lines)
    assert any(line["event"] == "stopped; nothing was in flight" for line in process.lines)
