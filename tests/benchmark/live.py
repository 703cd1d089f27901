"""How fast the live pipeline is: over each store with a transport that does nothing, and with webhooks on loopback.

::

    python tests/benchmark/live.py            # some minutes
    python tests/benchmark/live.py --quick    # a first impression: small runs, noisy numbers
    python tests/benchmark/live.py --only sqlite --only memory

Each side has a process of its own; the rounds alternate between the sides, so that all see the same neighbours on a
busy machine. Over the stores, clients send one notification after the other and wait for each to be accepted, which
with a store on disk means: for the disk. That the file is on a real disk matters, so the file system is named
(``--directory`` chooses another one); a sync of memory costs nothing. PostgreSQL is a server of the benchmark's own, as
the tests have it, in the directory for temporary files; its processor time is not counted.

Webhooks go to a receiver in another process, so many at once; against them a bare loop of httpx2 posts the same body as
many at once to the same receiver, without headers of its own, signature, retry, breaker or store. Nothing is asserted:
a decision depends on the machine. Processor time is less so, and is printed too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import trio

from actors import MemoryStore, Notifier, SendNotification, Sent, SqliteStore
from actors.domain.attempts import Attempt, Provider
from actors.messages import NotificationChannel
from actors.transports.webhook import WebhookProvider, body_of

TARGETS = {"memory": 15_000, "sqlite": 5_000, "postgres": 3_000}
"""Notifications a second, on two cores that have nothing else to do."""

WEBHOOK_SHARE = 0.6
"""What webhooks should reach of the bare loop."""

sys.path.append(str(Path(__file__).parents[1] / "support"))  # where the tests have their PostgreSQL

SIDES = (*TARGETS, "webhook", "bare")
CLIENTS = 500
AT_ONCE = 50
"""How many webhooks are in flight at once, each over a connection of its own."""

WARM_UP = 1_000
"""Notifications before the timed ones."""

SIGNING_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Takes(Provider):
    """A transport that takes everything and does nothing but count."""

    def __init__(self) -> None:
        self.taken = 0

    def attempt(self, attempt: Attempt, now_ns: int) -> Callable[[], Awaitable[Sent]]:
        return self._take

    async def _take(self) -> Sent:
        self.taken += 1
        return Sent()


def order(number: int, channel: NotificationChannel, recipient: str) -> SendNotification:
    return SendNotification(
        notification_id=f"order-{number}",
        channel=channel,
        recipient=recipient,
        subject="Order Confirmation",
        message=f"Thank you for your order {number}. It is on its way to you.",
    )


def email(number: int) -> SendNotification:
    return order(number, NotificationChannel.EMAIL, f"user-{number}@example.org")


async def send_all(send: Callable[[int], Awaitable[Any]], numbers: range, clients: int) -> None:
    """Have clients send notifications with these numbers, each one after the other."""
    left = iter(numbers)

    async def client() -> None:
        for number in left:
            await send(number)

    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(client)


async def timed(work: Callable[[range], Awaitable[None]], notifications: int) -> dict[str, Any]:
    """Return how long some work takes, when it has warmed up."""
    await work(range(WARM_UP))
    began, cpu_began = time.perf_counter(), time.process_time()
    await work(range(WARM_UP, WARM_UP + notifications))
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu_began}


# ── the stores ──────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def opened_store(side: str, directory: Path) -> AsyncIterator[Any]:
    if side == "memory":
        yield MemoryStore()
    elif side == "sqlite":
        async with SqliteStore.open(directory / "store.db") as store:
            yield store
    else:
        from postgres_server import running_server

        from actors.storage.postgres.store import PostgresStore

        with running_server() as server:
            async with PostgresStore.open(server.new_database()) as store:
                yield store


async def over_store(side: str, notifications: int, directory: Path) -> dict[str, Any]:
    """Return how long it takes over one kind of store."""
    provider = Takes()
    async with opened_store(side, directory) as store, Notifier.open(providers=provider, store=store) as notifier:

        async def work(numbers: range) -> None:
            await send_all(lambda number: notifier.send(email(number)), numbers, CLIENTS)
            await notifier.wait_until_quiet()

        figures = await timed(work, notifications)
        assert provider.taken == WARM_UP + notifications, f"{provider.taken} have been sent"
        return {**figures, "transactions": getattr(store, "transactions", 0)}


# ── webhooks ────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def receiver() -> Iterator[str]:
    """Run a receiver of webhooks in a process of its own; give its URL."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("receiver.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/hooks/orders"
        process.terminate()


async def webhooks(notifications: int, url: str) -> dict[str, Any]:
    """Return how long it takes to send webhooks through the pipeline."""
    settings = {"channels": {"webhook": {"max_in_flight": AT_ONCE}}}
    transport = WebhookProvider(
        {
            "signing_keys": [SIGNING_KEY],
            "allow_http": True,
            "allow_networks": ["127.0.0.0/8"],
            "connections": AT_ONCE,
        }
    )
    providers = {NotificationChannel.WEBHOOK: transport}
    async with transport, Notifier.open(settings, providers=providers) as notifier:

        async def work(numbers: range) -> None:
            await send_all(lambda number: notifier.send(webhook(number, url)), numbers, CLIENTS)
            await notifier.wait_until_quiet()

        figures = await timed(work, notifications)
        assert not notifier.dead_letter_queue, "the receiver takes everything"
        return figures


async def bare(notifications: int, url: str) -> dict[str, Any]:
    """Return how long it takes to post as much in a loop."""
    limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with httpx2.AsyncClient(limits=limits, trust_env=False) as client:

        async def send(number: int) -> None:
            content_type, body = body_of(webhook(number, url))
            answer = await client.post(url, headers={"content-type": content_type}, content=body)
            assert answer.status_code == 200

        return await timed(lambda numbers: send_all(send, numbers, AT_ONCE), notifications)


def webhook(number: int, url: str) -> SendNotification:
    return order(number, NotificationChannel.WEBHOOK, url)


# ── the comparison ──────────────────────────────────────────────────────────────────────────────────────────────────


def measure(side: str, notifications: int, directory: Path) -> dict[str, Any]:
    if side in TARGETS:
        return trio.run(over_store, side, notifications, directory)
    with receiver() as url:
        return trio.run({"webhook": webhooks, "bare": bare}[side], notifications, url)


def run_side(side: str, notifications: int, parent: Path) -> dict[str, Any]:
    """Measure one side in a process of its own, in a directory of its own."""
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        argv = [sys.executable, __file__, "--side", side, "--notifications", str(notifications)]
        out = subprocess.run([*argv, "--directory", directory], check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, Any] = json.loads(out)
    return figures


def why_not(side: str) -> str | None:
    """Return why a side cannot be measured here; None when it can."""
    if side != "postgres":
        return None
    try:
        from postgres_server import NoServer, running_server
    except ImportError as error:
        return str(error)
    try:
        with running_server():
            return None
    except NoServer as error:
        return str(error)


def compare(sides: list[str], notifications: Mapping[str, int], rounds: int, directory: Path) -> None:
    """Print how fast the sides are, and their ratios."""
    print(f"Python {sys.version.split()[0]}; median (and best) of {rounds} rounds")
    print(
        f"store in {directory} ({file_system_of(directory)}, a sync takes {seconds_of_a_sync(directory) * 1e3:.2f} ms)"
    )
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    figures: dict[str, list[dict[str, Any]]] = {}
    for side in sides:
        if (reason := why_not(side)) is None:
            figures[side] = []
        else:
            print(f"  {side}: not measured, {reason}")
    for _ in range(rounds):
        for side, measured in figures.items():
            measured.append(run_side(side, notifications[side], directory))
    rates = {side: [notifications[side] / each["seconds"] for each in of] for side, of in figures.items()}
    for side, each in rates.items():
        cpu_us = median(of["cpu_seconds"] for of in figures[side]) / notifications[side] * 1e6
        target = TARGETS.get(side)
        wanted = "" if target is None else f"   target {target:,}: {'met' if median(each) >= target else 'MISSED'}"
        print(f"  {side:<9}{median(each):>8,.0f}/s ({max(each):,.0f})  {cpu_us:>5.0f} µs of processor each{wanted}")
    for mine, theirs, target in (
        ("sqlite", "memory", None),
        ("postgres", "memory", None),
        ("webhook", "bare", WEBHOOK_SHARE),
    ):
        if rates.keys() >= {mine, theirs}:
            ratio = median(one / other for one, other in zip(rates[mine], rates[theirs], strict=True))
            wanted = "" if target is None else f" (target {target:g}: {'met' if ratio >= target else 'MISSED'})"
            print(f"  {mine} against {theirs}: {ratio:.2f}{wanted}")


def seconds_of_a_sync(directory: Path) -> float:
    """Return how long it takes to have a page more of a file on the disk."""
    taken = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(50):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return median(taken)


def file_system_of(directory: Path) -> str:
    """Return the type of the file system that a directory is in, where the machine says."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "a file system of unknown type"
    entries = [line.split()[:3] for line in mounts.read_text().splitlines()]
    inside = [(len(where), kind) for _, where, kind in entries if directory.resolve().is_relative_to(where)]
    return max(inside)[1]


FULL = (5, {"memory": 60_000, "sqlite": 30_000, "postgres": 20_000, "webhook": 10_000, "bare": 10_000})
QUICK = (3, {"memory": 10_000, "sqlite": 5_000, "postgres": 5_000, "webhook": 2_000, "bare": 2_000})


def main() -> None:
    """Print the comparison; or, with ``--side``, the numbers of one side as JSON."""
    parser = argparse.ArgumentParser(description="Measure how fast the live pipeline is.")
    parser.add_argument("--quick", action="store_true", help="small runs: a first impression")
    parser.add_argument("--only", action="append", choices=SIDES, help="this side only; may be repeated")
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="where the store's file is to be")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--notifications", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        print(json.dumps(measure(options.side, options.notifications, options.directory)))
    else:
        rounds, notifications = QUICK if options.quick else FULL
        compare(options.only or list(SIDES), notifications, rounds, options.directory)


if __name__ == "__main__":
    main()
