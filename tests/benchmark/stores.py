"""How fast the live pipeline is over each store, with a provider that answers at once.

Run ``python tests/benchmark/stores.py``, or with ``--quick`` for a first impression. Each side has a process of its
own; the rounds alternate between the sides, so that both see the same neighbours on a busy machine. Clients send one
notification after the other and wait for each to be accepted, which with a store on disk means: for the disk. That the
file is on a real disk matters, so the file system is named (``--directory`` chooses another one); a sync of memory
costs nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import trio

from actors import Foreseen, MemoryStore, Notifier, SendNotification, Sent, SqliteStore
from actors.messages import NotificationChannel
from actors.pipeline.attempts import Attempt, Provider

TARGETS = {"memory": 15_000, "sqlite": 5_000}
"""Notifications a second, on two cores that have nothing else to do."""

CLIENTS = 500
WARM_UP = 1_000
"""Notifications before the timed ones."""


class AnswersAtOnce(Provider):
    """Takes everything, and counts it."""

    def __init__(self) -> None:
        self.taken = 0

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        self.taken += 1
        return Foreseen(0, Sent())


async def send(notifier: Notifier, numbers: Iterator[int]) -> None:
    """Send one notification after the other."""
    for number in numbers:
        await notifier.send(
            SendNotification(
                notification_id=f"order-{number}",
                channel=NotificationChannel.EMAIL,
                recipient=f"user-{number}@example.org",
                subject="Order Confirmation",
                message=f"Thank you for your order {number}. It is on its way to you.",
            )
        )


async def send_all(notifier: Notifier, numbers: range) -> None:
    """Send notifications with these numbers, by all clients, and wait until they have been sent on."""
    left = iter(numbers)
    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(send, notifier, left)
    await notifier.wait_until_quiet()


async def measure(side: str, notifications: int, directory: Path) -> dict[str, Any]:
    """Return how long it takes over one kind of store."""
    opened: AbstractAsyncContextManager[Any] = (
        SqliteStore.open(directory / "store.db") if side == "sqlite" else nullcontext(MemoryStore())
    )
    provider = AnswersAtOnce()
    async with opened as store, Notifier.open(providers=provider, store=store) as notifier:
        await send_all(notifier, range(WARM_UP))
        began, cpu_began, transactions = time.perf_counter(), time.process_time(), getattr(store, "transactions", 0)
        await send_all(notifier, range(WARM_UP, WARM_UP + notifications))
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
        assert provider.taken == WARM_UP + notifications, f"{provider.taken} have been sent"
        return {
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "transactions": getattr(store, "transactions", 0) - transactions,
        }


def run_side(side: str, notifications: int, parent: Path) -> dict[str, Any]:
    """Measure one side in a process of its own, in a directory of its own."""
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        argv = [
            sys.executable,
            __file__,
            "--side",
            side,
            "--notifications",
            str(notifications),
            "--directory",
            directory,
        ]
        out = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(out)
    return figures


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


def compare(notifications: int, rounds: int, directory: Path) -> None:
    """Print how fast both sides are, and their ratio."""
    sync = seconds_of_a_sync(directory)
    print(f"{notifications:,} notifications by {CLIENTS} clients; median of {rounds} rounds")
    print(f"store in {directory} ({file_system_of(directory)}, a sync takes {sync * 1e3:.2f} ms)")
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    figures: dict[str, list[dict[str, Any]]] = {side: [] for side in TARGETS}
    for _ in range(rounds):
        for side, measured in figures.items():
            measured.append(run_side(side, notifications, directory))
    rates = {side: [notifications / each["seconds"] for each in measured] for side, measured in figures.items()}
    for side, target in TARGETS.items():
        rate, by_cpu = median(rates[side]), median(notifications / each["cpu_seconds"] for each in figures[side])
        met = "met" if rate >= target else "MISSED"
        print(f"  {side:<8} {rate:>8,.0f}/s (target >= {target:,}: {met}); {by_cpu:,.0f} for each second of processor")
    ratios = [mine / memory for mine, memory in zip(rates["sqlite"], rates["memory"], strict=True)]
    share = median(each["transactions"] for each in figures["sqlite"])
    print(f"  sqlite against memory: {median(ratios):.2f}; {2 * notifications / share:.0f} changes in each transaction")


def main() -> None:
    """Print the comparison; or, with ``--side``, the figures of one side as JSON."""
    parser = argparse.ArgumentParser(description="Compare the stores under the live pipeline.")
    parser.add_argument("--quick", action="store_true", help="small runs: a first impression")
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="where the store's file is to be")
    parser.add_argument("--side", choices=list(TARGETS), help=argparse.SUPPRESS)
    parser.add_argument("--notifications", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        print(json.dumps(trio.run(measure, options.side, options.notifications, options.directory)))
    else:
        compare(*((5_000, 3) if options.quick else (30_000, 5)), options.directory)


if __name__ == "__main__":
    main()
