"""How fast the pipeline is against hand-written models of the same, and how much memory it takes.

::

    python tests/benchmark/pipeline.py                 # half an hour on a quiet machine
    python tests/benchmark/pipeline.py --quick         # a first impression: small runs, noisy numbers
    python tests/benchmark/pipeline.py --only steady --only memory
    python tests/benchmark/pipeline.py --profile       # where the time of a run goes, and nothing else

All numbers are ratios taken within one run of this program: the sides take turns, each time in a process of its own,
and a ratio is the median of those of the rounds. Times are of the processor, those of starting by the wall. Nothing is
asserted: a decision depends on the machine.

The hand-written models draw as the product does, record the same rows and make the same metrics of them.
They have no digest of the history and no check that nothing is lost; they keep no payloads, and every id for good. The
product does all that in the time it is given here. One model, `checked`, does so too: its ratio to the first says what
these duties cost, the product's to it what the actors do.
"""

import argparse
import cProfile
import json
import pstats
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for what imports this

TEXTS = {
    "process": "SimPy, a process a notification",
    "checked": "SimPy, a process, all duties",
    "product": "retrylab, record: full",
    "aggregates": "retrylab, record: aggregates",
}
TARGETS = [
    ("product", "process", 1.0),
    ("aggregates", "process", 1.2),
    ("aggregates", "product", 1.5),
]
"""How many times as fast one is wanted to be as the other."""

SAME_DUTIES = {"steady": 0.82, "tripping": 0.9}
"""By load: the share of the speed of the model with the same duties that is wanted."""


class Sizes(NamedTuple):
    rounds: int
    notifications: int
    growing: tuple[int, ...]
    """Sizes between which the cost of a notification should not grow; the second is what the others are compared to."""

    starts: int
    """How often a program is started."""

    waiting: tuple[int, ...]
    """How many notifications wait at once; the second is what the others are compared to."""


FULL = Sizes(
    5,
    100_000,
    (10_000, 100_000, 1_000_000, 10_000_000),
    starts=7,
    waiting=(1000, 10_000, 100_000, 1_000_000),
)
QUICK = Sizes(3, 10_000, (1_000, 10_000, 100_000), starts=3, waiting=(1000, 10_000))


class Line(NamedTuple):
    """A line of the table at the end."""

    text: str
    value: float
    unit: str
    target: float | None
    is_met: bool | None


TABLE: list[Line] = []


def run_side(side: str, load: str, notifications: int) -> dict[str, Any]:
    """Run a side once in a process of its own."""
    return _run("side.py", side, load, str(notifications))


def _run(program: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE / program), *arguments]
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


def compare(load: str, text: str, sizes: Sizes) -> None:
    """Print a table of all sides on one load, and which ratios are as wanted."""
    print(f"\n{load}: {sizes.notifications:,} notifications, {text}; median of {sizes.rounds} rounds")
    per_second = rates(load, list(TEXTS), sizes)
    for side, label in TEXTS.items():
        relative = ratio(per_second, side, "process")
        print(f"  {label:<34} {median(per_second[side]):>9,.0f}/s   {relative:5.2f}")
    of_this_load = [("checked", "process", None), ("product", "checked", SAME_DUTIES[load])]
    for side, other, wanted in (*of_this_load, *TARGETS):
        text = f"{load}: {TEXTS[side]} against {TEXTS[other]}"
        judge_ratio(text, per_second, side, other, at_least=wanted)


def judge_ratio(text: str, per_second: dict[str, list[float]], side: str, other: str, **wanted: float | None) -> None:
    """Print how much faster one side was than another, the median of the rounds and the least and the most of them."""
    rounds = [mine / theirs for mine, theirs in zip(per_second[side], per_second[other], strict=True)]
    judge(f"{text} ({min(rounds):.2f} to {max(rounds):.2f})", median(rounds), "x", **wanted)


def judge(text: str, value: float, unit: str, *, at_least: float | None = None, below: float | None = None) -> None:
    """Print a number, and whether it is as wanted; it is in the table at the end too."""
    sign, target, is_met = "", None, None
    if at_least is not None:
        sign, target, is_met = ">=", at_least, value >= at_least
    elif below is not None:
        sign, target, is_met = "<", below, value < below
    wanted = "" if target is None else f" (target {sign} {target:g}: {'met' if is_met else 'MISSED'})"
    print(f"  {text}: {value:,.3f} {unit}{wanted}")
    TABLE.append(Line(text, value, unit, target, is_met))


def steady(sizes: Sizes) -> None:
    """Print how fast it is while the breaker stays closed."""
    compare("steady", "30% of the attempts fail, breaker and limit out of reach", sizes)


def tripping(sizes: Sizes) -> None:
    """Print how fast it is when outages trip the breaker."""
    compare("tripping", "10% of the attempts fail, three outages trip the breaker", sizes)


def policies(sizes: Sizes) -> None:
    """Print how fast it is with one policy or another, against the models that have only those of the steady load."""
    from scenario_file import POLICIES

    print(f"\npolicies: as steady, with record: full and another policy; median of {sizes.rounds} rounds")
    per_second = rates("steady", ["process", "product", *POLICIES], sizes)
    for side in ("product", *POLICIES):
        label = "as steady" if side == "product" else side
        judge(f"policies: {label}, against {TEXTS['process']}", ratio(per_second, side, "process"), "x")


def growth(sizes: Sizes) -> None:
    """Print whether a notification costs the same however many there are, and memory stays flat, when no rows are kept.

    The two runs of the second size round each other one are what it is compared to, so that a machine that slows down
    in the meantime does not count.
    """
    print("\ngrowth: record: aggregates, remember_ids: 1h, nearly all sent in the end")
    usual = sizes.growing[1]
    for size in sizes.growing:
        before = run_side("forgetful", "enduring", usual)
        figures = run_side("forgetful", "enduring", size)
        after = run_side("forgetful", "enduring", usual)
        cost = figures["seconds"] / figures["notifications"]
        relative = cost / fmean(each["seconds"] / each["notifications"] for each in (before, after))
        megabytes = figures["peak_rss_bytes"] / 1e6
        print(f"  {figures['notifications']:>10,}: {cost * 1e6:6.2f} µs each, peak {megabytes:6.1f} MB")
        judge(f"growth: cost each at {size:,} against {usual:,}", relative, "x", below=1.15 if size > usual else None)
        if size == sizes.growing[-1]:
            judge(f"growth: peak at {size:,}", megabytes, "MB", below=500)


def waiting(sizes: Sizes) -> None:
    """Print whether a notification costs the same however many wait, by classes and in turns, wherever they do.

    Calls of functions are the same on any machine; they are counted up to a tenth of the most, as that takes long.
    """
    from waiting import PLACES

    print(
        "\nwaiting: all come at once, a third of each class, of as many users, hosts and tenants as a hundredth of them"
    )
    usual = sizes.waiting[1]
    for place in PLACES:
        compared = _run("waiting.py", place, str(usual))
        counted = _run("waiting.py", place, str(usual), "--calls")
        for size in sizes.waiting:
            if size == usual:
                continue
            figures = _run("waiting.py", place, str(size))
            text = f"waiting: {place}, {size:,} against {usual:,}"
            judge(f"{text}, cost each", _each(figures, "seconds") / _each(compared, "seconds"), "x")
            judge(f"{text}, collecting garbage", _each(figures, "collecting") * 1e6, "µs each")
            if size <= max(usual, sizes.waiting[-1] // 10):
                calls = _each(_run("waiting.py", place, str(size), "--calls"), "calls") / _each(counted, "calls")
                judge(f"{text}, calls each", calls, "x", below=1.05)


def _each(figures: dict[str, Any], key: str) -> float:
    return float(figures[key] / figures["notifications"])


def memory(sizes: Sizes) -> None:
    """Print how much memory a notification takes when all tables are kept."""
    few, many = sizes.notifications, 2 * sizes.notifications
    print(f"\nmemory: peak with all tables, {many:,} notifications less {few:,}")
    for side in ("tables", "product", "process"):
        small, large = (run_side(side, "steady", size) for size in (few, many))
        each = (large["peak_rss_bytes"] - small["peak_rss_bytes"]) / (large["notifications"] - small["notifications"])
        if side == "tables":
            judge("memory: retrylab, record: full, all tables made", each, "bytes a notification", below=2048)
        else:
            print(f"  {TEXTS[side]}, no tables: {each:,.0f} bytes a notification")


def in_flight(sizes: Sizes) -> None:
    """Print how much memory a notification takes while it is in flight."""
    from in_flight import PLACES

    print(f"\nin flight: bytes of each with record: aggregates, {sizes.notifications:,} less a third of them")
    for place in PLACES:
        figures = _run("in_flight.py", place, str(sizes.notifications // 3), str(sizes.notifications))
        below = 600 if place == "behind a breaker" else None  # where those of an outage are
        judge(f"in flight: {place}", figures["bytes_each"], "bytes", below=below)


def start_up(sizes: Sizes) -> None:
    """Print how long programs take to start."""
    print(f"\nstart: seconds by the wall, median of {sizes.starts}")
    bare = _seconds_to_run([sys.executable, "-c", "pass"], sizes.starts)
    print(f"  python itself: {bare:.3f} s")
    actors = _seconds_to_run([sys.executable, "-c", "import actors"], sizes.starts)
    judge("start: import actors", actors, "s", below=0.25)
    retrylab = shutil.which("retrylab", path=str(Path(sys.executable).parent)) or shutil.which("retrylab")
    if retrylab is None:
        print("  retrylab --help: the command is not installed")
    else:
        judge("start: retrylab --help", _seconds_to_run([retrylab, "--help"], sizes.starts), "s", below=0.5)


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
    "policies": policies,
    "growth": growth,
    "waiting": waiting,
    "memory": memory,
    "in flight": in_flight,
    "start": start_up,
}


def print_table() -> None:
    """Print every ratio, and which targets are met."""
    print("\nall in one")
    for text, value, unit, target, is_met in TABLE:
        wanted = "" if target is None else f"target {target:g}: {'met' if is_met else 'MISSED'}"
        print(f"  {text:<100} {value:>9,.2f} {unit:<20} {wanted}".rstrip())


def profile(notifications: int) -> None:
    """Print where the time of a steady run with all rows recorded goes, by file."""
    from load import LOADS
    from side import SIDES, WARM_UP

    run, _ = SIDES["product"](LOADS["steady"](WARM_UP))
    run()
    run, _ = SIDES["product"](LOADS["steady"](notifications))
    profiler = cProfile.Profile(builtins=False)  # what is written in C counts as the function's that calls it
    profiler.runcall(run)
    by_file: dict[str, float] = {}
    for (file, _, _), (_, _, own_s, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        path = Path(file)
        name = str(path.relative_to(HERE.parents[1])) if path.is_relative_to(HERE.parents[1]) else "libraries"
        by_file[name] = by_file.get(name, 0.0) + own_s
    whole = sum(by_file.values())
    print(f"share of the time in each file: steady, {notifications:,} notifications, record: full")
    for name, own_s in sorted(by_file.items(), key=lambda each: -each[1]):
        if own_s >= 0.01 * whole:
            print(f"  {own_s / whole:4.0%}  {name}")


def main() -> None:
    """Print the parts asked for."""
    parser = argparse.ArgumentParser(description="Compare the pipeline with hand-written models of the same.")
    parser.add_argument("--quick", action="store_true", help="small runs: a first impression")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="this part only; may be repeated")
    parser.add_argument("--profile", action="store_true", help="print where the time of a run goes, and nothing else")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    print(f"Python {sys.version.split()[0]} on {sys.platform}")
    if options.profile:
        profile(sizes.notifications)
        return
    for name in options.only or PARTS:
        PARTS[name](sizes)
    print_table()


if __name__ == "__main__":
    main()
