"""How much a service in a world costs, beside the same service with a transport made by hand.

::

    python tests/benchmark/world.py
    python tests/benchmark/world.py --instructions --library httpx

A service places two orders a second for ten virtual minutes, three of which are an outage: it calls an API with
five attempts each. By hand the same answers come from a transport of the client, without any socket, over `MockClock`.
Each side has a process of its own. With `--instructions` valgrind counts those of an attempt: the difference between a
run of many orders and one of few, divided by how many more attempts there were. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, Final

import tenacity
import trio
import trio.testing

import simulation
from simulation.world.run import World

ORDERS: Final = 1_200
MOST: Final = {"http": 4.0, "https": 4.0}
"""How many times the CPU of a transport by hand a side may take."""

_SCENARIO: Final = """
duration: 10m
workload: [{channel: payments, arrivals: {constant: 2/s}}]
channels:
  payments: {kind: call, provider: {latency: 120ms}}
faults: [{channel: payments, at: 3m, for: 3m, outage: true}]
world: {api.example.com: payments}
"""
_OUTAGE_S: Final = (180, 360)
_LATENCY_S: Final = 0.12
_START_S: Final = 10_000
_COUNTED: Final = re.compile(r"Collected : (\d+)")


async def place_orders(client: Any, library: Any, scheme: str, orders: int) -> None:
    """Place orders, two a second: the service."""

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(library.HTTPError),
        stop=tenacity.stop_after_attempt(5),
        wait=tenacity.wait_exponential(max=10),
        sleep=trio.sleep,
        reraise=True,
    )
    async def charge(order: int) -> None:
        answer = await client.post(f"{scheme}://api.example.com/charges", json={"order": order}, timeout=5.0)
        answer.raise_for_status()

    async def place(order: int) -> None:
        try:
            await charge(order)
        except library.HTTPError:
            return

    async with trio.open_nursery() as nursery:
        for order in range(orders):
            nursery.start_soon(place, order)
            await trio.sleep(600 / ORDERS)


def in_world(library: Any, scheme: str, orders: int) -> int:
    """Run the service in a world; return how many attempts it made."""

    async def main() -> None:
        async with library.AsyncClient() as client:
            await place_orders(client, library, scheme, orders)

    return len(World(simulation.parse(_SCENARIO)).run(main, None, {}).rows)


def by_hand(library: Any, orders: int) -> int:
    """Run the service over a transport made by hand; return how many attempts it made."""
    attempts = 0

    class Transport(library.AsyncBaseTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            nonlocal attempts
            attempts += 1
            begins, ends = _OUTAGE_S
            status = 503 if begins <= trio.current_time() - _START_S < ends else 200
            await trio.sleep(_LATENCY_S)
            return library.Response(status, json={"ok": status == 200})

    async def main() -> None:
        async with library.AsyncClient(transport=Transport()) as client:
            await place_orders(client, library, "https", orders)

    clock = trio.testing.MockClock(autojump_threshold=0)
    clock.jump(_START_S)
    trio.run(main, clock=clock)
    return attempts


SIDES: Final[dict[str, Callable[[Any, int], int]]] = {
    "by hand": by_hand,
    "http": lambda library, orders: in_world(library, "http", orders),
    "https": lambda library, orders: in_world(library, "https", orders),
}


def measured(side: str, library: str, orders: int) -> tuple[int, float]:
    """Run a side here; return its attempts, and the seconds of CPU that it took."""
    module = importlib.import_module(library)
    began = time.process_time()
    attempts = SIDES[side](module, orders)
    return attempts, time.process_time() - began


def _in_a_process(side: str, library: str, orders: int, before: tuple[str, ...] = ()) -> tuple[int, float, str]:
    command = [*before, sys.executable, __file__, "--library", library, "--side", side, "--orders", str(orders)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    attempts, cpu_s = json.loads(done.stdout)
    return attempts, cpu_s, done.stderr


def cpu_us(side: str, library: str) -> float:
    """Return the microseconds of CPU that an attempt takes, with all that a run takes beside."""
    attempts, cpu_s, _ = _in_a_process(side, library, ORDERS)
    return cpu_s / attempts * 1e6


def instructions(side: str, library: str) -> float:
    """Return the instructions that an attempt takes, as valgrind counts them."""
    valgrind = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
    few, many = (_in_a_process(side, library, orders, valgrind) for orders in (20, 120))
    # Both end before the outage.
    counted = [int(_COUNTED.findall(stderr)[0]) for _, _, stderr in (few, many)]
    return (counted[1] - counted[0]) / (many[0] - few[0])


def main() -> None:
    """Print the comparison; or, with ``--side``, the numbers of one side as JSON."""
    parser = argparse.ArgumentParser(description="Measure how much a service in a world costs.")
    parser.add_argument("--library", choices=("httpx", "httpx2"), help="with this client only")
    parser.add_argument("--instructions", action="store_true", help="count instructions, by valgrind")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        print(json.dumps(measured(options.side, options.library, options.orders)))
        return
    for library in (options.library,) if options.library else ("httpx", "httpx2"):
        measure = partial(instructions if options.instructions else cpu_us, library=library)
        rounds = 1 if options.instructions else options.rounds
        taken = {side: median(measure(side) for _ in range(rounds)) for side in SIDES}
        unit = "instructions" if options.instructions else "µs of CPU"
        print(f"{library}: an attempt by hand takes {taken['by hand']:,.0f} {unit}")
        for side, most in MOST.items():
            ratio = taken[side] / taken["by hand"]
            verdict = "met" if ratio <= most else "MISSED"
            print(f"  over {side} {taken[side]:,.0f}: ×{ratio:.2f} (at most ×{most:g}: {verdict})")


if __name__ == "__main__":
    main()
