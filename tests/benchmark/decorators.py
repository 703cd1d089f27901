"""What the decorators of one policy alone cost a call that succeeds, beside those of tenacity and pybreaker.

::

    python tests/benchmark/decorators.py

All sides are in one process and take turns; of each the best of the rounds is taken. Nothing is asserted.
"""

import argparse
import asyncio
import time
from collections.abc import Callable
from typing import Any

import pybreaker
import tenacity
import trio

from actors import Bulkhead, CircuitBreaker, RateLimiter, Retry

Call = Callable[[], Any]


def plain() -> int:
    return 1


async def asynchronous() -> int:
    return 1


def decorated(function: Any) -> dict[str, Any]:
    """Return the function itself, and each of its decorated forms."""
    sides = {
        "bare": function,
        "Retry": Retry()(function),
        "tenacity": tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True)(function),
        "CircuitBreaker": CircuitBreaker()(function),
        "pybreaker": pybreaker.CircuitBreaker()(function),
        "Retry + CircuitBreaker": Retry()(CircuitBreaker()(function)),
        "tenacity + pybreaker": tenacity.retry(reraise=True)(pybreaker.CircuitBreaker()(function)),
        "Bulkhead": Bulkhead(10)(function),
        "RateLimiter": RateLimiter(config={"rate": "1000000000/s", "kind": "token_bucket"})(function),
    }
    if function is asynchronous:
        del sides["pybreaker"], sides["tenacity + pybreaker"]  # which would take what is to be awaited for a success
    return sides


def in_a_thread(call: Any, calls: int) -> float:
    """Return the seconds of processor that so many calls take."""
    began = time.process_time()
    for _ in range(calls):
        call()
    return time.process_time() - began


async def in_a_loop(call: Any, calls: int) -> float:
    """Return the seconds of processor that so many calls take, in a loop."""
    began = time.process_time()
    for _ in range(calls):
        await call()
    return time.process_time() - began


HOSTS: dict[str, Callable[[Any, int], float]] = {
    "a thread": in_a_thread,
    "trio": lambda call, calls: trio.run(in_a_loop, call, calls),
    "asyncio": lambda call, calls: asyncio.run(in_a_loop(call, calls)),
}


def compare(calls: int, rounds: int) -> None:
    """Print what each side costs."""
    for host, measure in HOSTS.items():
        sides = decorated(plain if host == "a thread" else asynchronous)
        best = dict.fromkeys(sides, float("inf"))
        for _ in range(rounds):
            for name, call in sides.items():
                best[name] = min(best[name], measure(call, calls) / calls * 1e6)
        print(f"in {host}: µs a call over the bare one's {best['bare']:.2f}")
        for name in list(sides)[1:]:
            print(f"  {name:<24}{best[name] - best['bare']:>8.2f}")
        for ours, theirs in (
            ("Retry", "tenacity"),
            ("CircuitBreaker", "pybreaker"),
            ("Retry + CircuitBreaker", "tenacity + pybreaker"),
        ):
            if theirs in sides:
                ratio = (best[ours] - best["bare"]) / (best[theirs] - best["bare"])
                print(f"  {ours} costs {ratio:.2f} of {theirs}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the decorators of one policy alone cost.")
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    compare(options.calls, options.rounds)


if __name__ == "__main__":
    main()
