"""How fast a notifier accepts in each host: in trio, in asyncio and uvloop as a guest, and from eight threads.

::

    python tests/benchmark/hosts.py
    python tests/benchmark/hosts.py --quick --only asyncio --store memory

Each side has a process of its own, and the rounds alternate between them. Five hundred clients, or eight threads, send
one notification after the other and wait for each to be durable; meanwhile a transport that does nothing takes them.
Nothing is asserted: a decision depends on the machine.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import live
import trio

from actors import Notifier

THREADS = 8
TARGETS = {"asyncio": 0.5, "uvloop": 0.5}
"""What a host should reach of trio's rate."""

THREADS_TARGET = 5_000
"""Notifications a second from the threads, in memory."""

Figures = dict[str, float]


class Stopwatch:
    """Times the notifications after the first, which warm it up."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def figures(self) -> Figures:
        """Return what has passed since it was made."""
        return {
            "seconds": time.perf_counter() - self.began[0],
            "cpu_seconds": time.process_time() - self.began[1],
        }


async def in_trio(notifications: int, store: str, directory: Path) -> Figures:
    """Return how long it takes trio's clients to have theirs accepted."""
    provider = live.Takes()
    async with (
        live.opened_store(store, directory) as opened,
        Notifier.open(providers=provider, store=opened) as notifier,
    ):

        async def work(numbers: range) -> None:
            await live.send_all(lambda number: notifier.send(live.email(number)), numbers, live.CLIENTS)

        return await live.timed(work, notifications)


async def in_asyncio(notifications: int, store: str, directory: Path) -> Figures:
    """Return how long it takes asyncio's clients to have theirs accepted."""
    async with Notifier.open_asyncio(
        providers=live.Takes, store=lambda: live.opened_store(store, directory)
    ) as notifier:

        async def work(numbers: range) -> None:
            left = iter(numbers)

            async def client() -> None:
                for number in left:
                    await notifier.send(live.email(number))

            async with asyncio.TaskGroup() as group:
                for _ in range(live.CLIENTS):
                    group.create_task(client())

        return await live.timed(work, notifications)


def in_uvloop(notifications: int, store: str, directory: Path) -> Figures:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(in_asyncio(notifications, store, directory))


def in_threads(notifications: int, store: str, directory: Path) -> Figures:
    """Return how long it takes eight threads to have theirs accepted."""
    with (
        Notifier.open_in_thread(providers=live.Takes, store=lambda: live.opened_store(store, directory)) as notifier,
        ThreadPoolExecutor(THREADS) as pool,
    ):

        def work(numbers: range) -> None:
            left = iter(numbers)

            def client(_: int) -> None:
                for number in left:
                    notifier.send(live.email(number))

            list(pool.map(client, range(THREADS)))

        work(range(live.WARM_UP))
        watch = Stopwatch()
        work(range(live.WARM_UP, live.WARM_UP + notifications))
        return watch.figures()


SIDES: dict[str, Callable[[int, str, Path], Figures]] = {
    "trio": partial(trio.run, in_trio),
    "asyncio": lambda *args: asyncio.run(in_asyncio(*args)),
    "uvloop": in_uvloop,
    "threads": in_threads,
}


def run_side(side: str, notifications: int, store: str, parent: Path) -> Figures:
    """Measure one side in a process of its own, in a directory of its own."""
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        argv = [sys.executable, __file__, "--side", side, "--notifications", str(notifications), "--store", store]
        out = subprocess.run([*argv, "--directory", directory], check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: Figures = json.loads(out)
    return figures


def compare(sides: list[str], store: str, notifications: int, rounds: int, directory: Path) -> None:
    """Print how fast each side accepts, and that as a share of trio's rate."""
    rates: dict[str, list[float]] = {side: [] for side in sides}
    cpu_us: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            figures = run_side(side, notifications, store, directory)
            rates[side].append(notifications / figures["seconds"])
            cpu_us[side].append(figures["cpu_seconds"] / notifications * 1e6)
    print(f"accepting over {store}; median (and best) of {rounds} rounds of {notifications:,}")
    for side in sides:
        line = f"  {side:<8}{median(rates[side]):>8,.0f}/s ({max(rates[side]):,.0f})  {min(cpu_us[side]):>5.0f} µs each"
        if side in TARGETS and "trio" in rates:
            share = median(mine / trios for mine, trios in zip(rates[side], rates["trio"], strict=True))
            line += f"  {share:.2f} of trio's (target {TARGETS[side]}: {'met' if share >= TARGETS[side] else 'MISSED'})"
        if side == "threads" and store == "memory":
            line += f"  target {THREADS_TARGET:,}: {'met' if median(rates[side]) >= THREADS_TARGET else 'MISSED'}"
        print(line)


def main() -> None:
    """Print the comparison; or, with ``--side``, the numbers of one side as JSON."""
    parser = argparse.ArgumentParser(description="Measure how fast a notifier accepts in each host.")
    parser.add_argument("--quick", action="store_true", help="small runs: a first impression")
    parser.add_argument("--only", action="append", choices=SIDES, help="this side only; may be repeated")
    parser.add_argument("--store", choices=("memory", "sqlite"), help="over this store only")
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="where the store's file is to be")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--notifications", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        print(json.dumps(SIDES[options.side](options.notifications, options.store, options.directory)))
        return
    for store in [options.store] if options.store else ["memory", "sqlite"]:
        compare(options.only or list(SIDES), store, *(5_000, 3) if options.quick else (20_000, 5), options.directory)


if __name__ == "__main__":
    main()
