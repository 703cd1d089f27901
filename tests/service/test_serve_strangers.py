"""Strangers at a real service: what they send ends nothing, holds nothing up, and takes little room."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random

import pytest
import trio
from http_fuzz import attack
from served import OTTO, email, write
from test_serve_process import Process

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
    said = {line["event"] for line in logged}
    assert not any("exception" in line or "Traceback" in str(line) for line in process.lines)
    assert said <= {"NOTHING GOES OUT on email, sms: simulated"}
