"""How fast a served notifier accepts over HTTP, beside a bare application that commits the same to SQLite in groups.

::

    python tests/benchmark/ingest.py                  # lists of 1,000 and single ones
    python tests/benchmark/ingest.py --size 1000 --delivering

Each side is a process of its own, on the same server, and the rounds alternate between them. Clients post one request
after the other on a connection each, and wait for each answer, which comes when all of it is on the disk. The bare
application reads the JSON, hands a row for each item to a thread that commits what has come in one transaction, and
answers each item: it checks nothing, knows no id again and sends nothing.

The provider of the served one takes an hour, so that it does nothing but accept; with ``--delivering`` it takes
everything at once, and what is accepted is sent meanwhile. Nothing is asserted: a decision depends on the machine.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import trio

from actors.service.http_server import HttpServer

SINGLE_SHARE = 0.5
"""What the served one should reach of the bare one's rate with single notifications."""

LIST_TARGET = 10_000
"""Notifications a second in lists of 1,000, on a core to itself: what its processor time comes to."""

TOKEN = "shop-0123456789abcdef"
SERVE = [sys.executable, "-c", "from simulation.commands.cli import main; main()", "serve"]
SIDES = ("serve", "bare")
NOTIFICATIONS = {1: 10_000, 1_000: 40_000}
CONNECTIONS = {1: 40, 1_000: 4}


def settings(is_delivering: bool) -> dict[str, Any]:
    latency = "0s" if is_delivering else "1h"
    return {
        "listen": "127.0.0.1:0",
        "store": {"sqlite": "store.db"},
        "tokens": [{"name": "shop", "role": "ingest", "secret": TOKEN}],
        "transports": {"email": {"simulated": True}},
        "channels": {"email": {"provider": {"latency": latency, "failure_rate": 0}, "timeout": "2h"}},
        "logs": {"format": "json"},
        "drain": "1s",
    }


def body(numbers: range) -> bytes:
    """Return a request: a notification, or a list of them."""
    items = [
        {
            "notification_id": f"order-{number}",
            "channel": "email",
            "recipient": f"user-{number}@example.org",
            "subject": "Order Confirmation",
            "message": f"Thank you for your order {number}. It is on its way to you.",
        }
        for number in numbers
    ]
    return json.dumps(items[0] if len(items) == 1 else items).encode()


# ── the bare application ────────────────────────────────────────────────────────────────────────────────────────────


class Rows:
    """A thread that writes what has come, in one transaction at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._news = threading.Condition()
        self._to_do: list[tuple[list[tuple[str, bytes]], trio.Event]] = []
        self._token = trio.lowlevel.current_trio_token()
        threading.Thread(target=self._work, daemon=True).start()

    async def write(self, rows: list[tuple[str, bytes]]) -> None:
        done = trio.Event()
        with self._news:
            self._to_do.append((rows, done))
            self._news.notify()
        await done.wait()

    def _work(self) -> None:
        sql = sqlite3.connect(self._path, isolation_level=None)
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = FULL")
        sql.execute("CREATE TABLE notifications (id TEXT PRIMARY KEY, written BLOB) WITHOUT ROWID")
        while True:
            with self._news:
                while not self._to_do:
                    self._news.wait()
                to_do, self._to_do = self._to_do, []
            sql.execute("BEGIN")
            for rows, _ in to_do:
                sql.executemany("INSERT INTO notifications VALUES (?, ?)", rows)
            sql.execute("COMMIT")
            for _, done in to_do:
                self._token.run_sync_soon(done.set)


def bare_app(rows: Rows) -> Any:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        read = bytearray()
        while True:
            message = await receive()
            read += message["body"]
            if not message["more_body"]:
                break
        content = msgspec.json.decode(bytes(read))
        items = content if isinstance(content, list) else [content]
        await rows.write([(item["notification_id"], msgspec.msgpack.encode(item)) for item in items])
        results = [
            {"status": "accepted", "notification_id": item["notification_id"], "code": 202}  # as the served one has it
            for item in items
        ]
        answer = msgspec.json.encode(results if isinstance(content, list) else results[0])
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


async def serve_bare(directory: Path) -> None:
    """Serve the bare application; say where, as `retrylab serve` does."""
    async with trio.open_nursery() as nursery:
        urls = await HttpServer(bare_app(Rows(directory / "bare.db"))).listen("127.0.0.1:0", nursery)
        print(urls[0], flush=True)


# ── the clients ─────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def running(argv: list[str], directory: Path) -> Iterator[tuple[int, int]]:
    """Run a side; give its process and its port."""
    with subprocess.Popen(argv, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline().rpartition(":")[2])
        process.terminate()


async def post_all(port: int, path: str, bodies: list[bytes], connections: int) -> None:
    left = iter(bodies)
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n".encode()

    async def client() -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        for each in left:
            await stream.send_all(b"%scontent-length: %d\r\n\r\n%s" % (head, len(each), each))
            await _answer(stream)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(client)


async def _answer(stream: trio.SocketStream) -> None:
    got = b""
    while b"\r\n\r\n" not in got:
        got += await stream.receive_some(2**16)
    head, _, rest = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 202"), got[:500]
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    left = length - len(rest)
    while left > 0:
        left -= len(await stream.receive_some(2**16))


def cpu_seconds(pid: int) -> float:
    """Return how much processor time a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(side: str, size: int, is_delivering: bool, parent: Path) -> dict[str, float]:
    """Return how long a side takes, when it has warmed up."""
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        if side == "serve":
            Path(directory, "service.yaml").write_text(json.dumps(settings(is_delivering)))
            argv = [*SERVE, "service.yaml"]
        else:
            argv = [sys.executable, str(Path(__file__).resolve()), "--side", side]
        count, warm_up = NOTIFICATIONS[size], 2 * size * CONNECTIONS[size]
        bodies = [body(range(first, first + size)) for first in range(0, count + warm_up, size)]
        with running(argv, Path(directory)) as (pid, port):
            before = warm_up // size
            trio.run(post_all, port, "/notifications", bodies[:before], CONNECTIONS[size])
            began, cpu_began = time.perf_counter(), cpu_seconds(pid)
            trio.run(post_all, port, "/notifications", bodies[before:], CONNECTIONS[size])
            return {"seconds": time.perf_counter() - began, "cpu_seconds": cpu_seconds(pid) - cpu_began}


def compare(size: int, rounds: int, is_delivering: bool, directory: Path) -> None:
    """Print how fast the sides accept, and their ratio."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    cpu_us: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            figures = measure(side, size, is_delivering, directory)
            rates[side].append(NOTIFICATIONS[size] / figures["seconds"])
            cpu_us[side].append(figures["cpu_seconds"] / NOTIFICATIONS[size] * 1e6)
    print(f"requests of {size:,}: median (and best) of {rounds} rounds of {NOTIFICATIONS[size]:,} notifications")
    for side in SIDES:
        rate, each_us = median(rates[side]), median(cpu_us[side])
        print(f"  {side:<6}{rate:>8,.0f}/s ({max(rates[side]):,.0f})  {each_us:>5.0f} µs of processor each")
        if side == "serve" and size == max(NOTIFICATIONS):
            alone = 1e6 / each_us
            said = "met" if alone >= LIST_TARGET else "MISSED"
            print(f"    with a core to itself: {alone:,.0f}/s   target {LIST_TARGET:,}: {said}")
    ratios = sorted(theirs / ours for ours, theirs in zip(cpu_us["serve"], cpu_us["bare"], strict=True))
    said = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    if size == 1:
        said += f"   target {SINGLE_SHARE}: {'met' if median(ratios) >= SINGLE_SHARE else 'MISSED'}"
    print(f"  served against bare, by processor time: {said}")


def main() -> None:
    """Print the comparison; or, with ``--side``, serve the bare application."""
    parser = argparse.ArgumentParser(description="Measure how fast a served notifier accepts over HTTP.")
    parser.add_argument("--size", type=int, choices=NOTIFICATIONS, action="append", help="items of a request")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delivering", action="store_true", help="send what is accepted meanwhile")
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="where the stores' files are to be")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        trio.run(serve_bare, Path.cwd())
        return
    for size in options.size or list(NOTIFICATIONS):
        compare(size, options.rounds, options.delivering, options.directory)


if __name__ == "__main__":
    main()
