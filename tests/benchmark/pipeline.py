"""How fast the pipeline is against hand-written models of the same, and how much memory it takes.

::

    python tests/benchmark/pipeline.py            # some minutes
    python tests/benchmark/pipeline.py --quick    # a first impression: small runs, noisy figures
    python tests/benchmark/pipeline.py --only steady --only memory

All figures are ratios taken within one run of this program: the sides take turns, each time in a process of its own,
and a ratio is the median of those of the rounds. Nothing is asserted: a verdict depends on the machine.

The hand-written models record the same rows; they make no digest, no summary and no check that nothing was lost, which
the product's figures contain.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

HERE = Path(__file__).parent

TEXTS = {
    "process": "SimPy, a process a notification",
    "stores": "SimPy, a Store a stage",
    "bare": "bare heapq, nothing recorded",
    "product": "retrylab, record: full",
    "aggregates": "retrylab, record: aggregates",
}


class Sizes(NamedTuple):
    """How much is run."""

    rounds: int
    notifications: int
    flat: tuple[int, int]
    """Sizes between which memory should not grow."""

    starts: int
    """How often a program is started."""


FULL = Sizes(rounds=5, notifications=100_000, flat=(250_000, 1_000_000), starts=7)
QUICK = Sizes(rounds=3, notifications=10_000, flat=(25_000, 100_000), starts=3)


def run_side(side: str, load: str, notifications: int) -> dict[str, Any]:
    """Run a side once in a process of its own."""
    command = [sys.executable, str(HERE / "side.py"), side, load, str(notifications)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def rates(load: str, sides: Sequence[str], sizes: Sizes) -> dict[str, list[float]]:
    """Return the notifications a second of each side, round by round; the sides take turns."""
    per_second: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(sizes.rounds):
        for side in sides:
            figures = run_side(side, load, sizes.notifications)
            per_second[side].append(figures["notifications"] / figures["seconds"])
    return per_second


def ratio(per_second: dict[str, list[float]], side: str, other: str) -> float:
    """Return the median over the rounds of how much faster one side was than another."""
    return median(mine / theirs for mine, theirs in zip(per_second[side], per_second[other], strict=True))


def compare(load: str, text: str, targets: Sequence[tuple[str, str, float]], sizes: Sizes) -> None:
    """Print a table of all sides on one load, and the verdicts on the ratios wanted (side, other, at least)."""
    print(f"\n{load}: {sizes.notifications:,} notifications, {text}; median of {sizes.rounds} rounds")
    per_second = rates(load, list(TEXTS), sizes)
    for side, label in TEXTS.items():
        relative = ratio(per_second, side, "process")
        print(f"  {label:<34} {median(per_second[side]):>9,.0f}/s   {relative:5.2f}")
    for side, other, wanted in targets:
        verdict(f"{TEXTS[side]} against {TEXTS[other]}", ratio(per_second, side, other), "x", at_least=wanted)


def verdict(text: str, value: float, unit: str, *, at_least: float | None = None, below: float | None = None) -> None:
    """Print a figure, and whether it is what was wanted."""
    if at_least is not None:
        print(f"  {text}: {value:,.3f} {unit} (target >= {at_least:g}: {'met' if value >= at_least else 'MISSED'})")
    elif below is not None:
        print(f"  {text}: {value:,.2f} {unit} (target < {below:g}: {'met' if value < below else 'MISSED'})")


def steady(sizes: Sizes) -> None:
    """Print how fast it is while the breaker stays closed."""
    targets = [("product", "process", 0.6), ("product", "stores", 3.0)]
    compare("steady", "30% of the attempts fail, breaker and limit out of reach", targets, sizes)


def tripping(sizes: Sizes) -> None:
    """Print how fast it is when outages trip the breaker."""
    targets = [("product", "process", 0.6), ("product", "stores", 3.0)]
    compare("tripping", "10% of the attempts fail, three outages trip the breaker", targets, sizes)


def memory(sizes: Sizes) -> None:
    """Print how much memory a notification takes when all tables are kept."""
    few, many = sizes.notifications, 2 * sizes.notifications
    print(f"\nmemory: peak with all tables, {many:,} notifications less {few:,}")
    for side in ("tables", "product", "process"):
        small, large = (run_side(side, "steady", size) for size in (few, many))
        each = (large["peak_rss_bytes"] - small["peak_rss_bytes"]) / (large["notifications"] - small["notifications"])
        if side == "tables":
            verdict("retrylab, record: full, all tables made", each, "bytes a notification", below=2048)
        else:
            print(f"  {TEXTS[side]}, no tables: {each:,.0f} bytes a notification")


def flat(sizes: Sizes) -> None:
    """Print whether memory stays flat when no rows are kept."""
    few, many = sizes.flat
    print(f"\nflat: peak with record: aggregates and remember_ids: 1m, {many:,} notifications against {few:,}")
    small, large = (run_side("forgetful", "enduring", size) for size in sizes.flat)
    grown = large["peak_rss_bytes"] - small["peak_rss_bytes"]
    for figures in (small, large):
        print(f"  {figures['notifications']:>9,}: {figures['peak_rss_bytes'] / 1e6:,.1f} MB")
    verdict("growth for each further notification", grown / (many - few), "bytes", below=8)


def start_up(sizes: Sizes) -> None:
    """Print how long programs take to start."""
    print(f"\nstart: seconds by the wall, median of {sizes.starts}")
    bare = _seconds_to_run([sys.executable, "-c", "pass"], sizes.starts)
    print(f"  python itself: {bare:.3f} s")
    verdict("import actors", _seconds_to_run([sys.executable, "-c", "import actors"], sizes.starts), "s", below=0.25)
    retrylab = shutil.which("retrylab", path=str(Path(sys.executable).parent)) or shutil.which("retrylab")
    if retrylab is None:
        print("  retrylab --help: the command is not installed")
    else:
        verdict("retrylab --help", _seconds_to_run([retrylab, "--help"], sizes.starts), "s", below=0.5)


def _seconds_to_run(command: Sequence[str], times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return median(taken)


PARTS: dict[str, Callable[[Sizes], None]] = {
    "steady": steady,
    "tripping": tripping,
    "memory": memory,
    "flat": flat,
    "start": start_up,
}


def main() -> None:
    """Print the parts asked for."""
    parser = argparse.ArgumentParser(description="Compare the pipeline with hand-written models of the same.")
    parser.add_argument("--quick", action="store_true", help="small runs: a first impression")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="this part only; may be repeated")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    print(f"Python {sys.version.split()[0]} on {sys.platform}")
    for name in options.only or PARTS:
        PARTS[name](sizes)


if __name__ == "__main__":
    main()
