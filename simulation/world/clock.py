"""The clocks of the interpreter, which follow the clock of the run.

`time.time`, `datetime.now`, `date.today`, `uuid1` and all else that asks for the date is time_machine's, which patches
the tables of C and so reaches names that were imported early. `time.monotonic` and its kin are functions here, so they
have to stand before the service is imported.

All that is random follows the run's seed: `random`, `secrets`, `uuid`, `os.urandom`, the order of trio's tasks. Each
module that asks has a stream of its own, so that a module which is imported late, or only in the first of two runs,
does not shift the draws of the others.
"""

from __future__ import annotations

import gc
import os
import random
import ssl
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import time_machine
import trio
import trio.testing
from trio._core import _run

from simulation.world.patching import Patches

START_S: Final = 10_000.0
"""The run begins at this time of `trio.current_time` and `time.monotonic`: services take 0 for "never"."""

_MONOTONIC_IDS: Final = frozenset(
    getattr(time, name) for name in ("CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME") if hasattr(time, name)
)
REAL_CLOCKS: Final[dict[str, Callable[..., Any]]] = {
    name: getattr(time, name)
    for name in ("clock_gettime", "clock_gettime_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
    if hasattr(time, name)
}
_clocks: list[trio.abc.Clock] = []
"""The clocks of the blocks that are open; the last one counts."""


def stepping_clock() -> trio.testing.MockClock:
    """Return a clock that stands at :data:`START_S`, and jumps when all tasks wait.

    trio asks it some eighty times a request, so it asks no clock of the machine in turn.
    """
    clock = trio.testing.MockClock(autojump_threshold=0)
    clock.jump(START_S)
    clock.current_time = lambda: clock._virtual_base  # type: ignore[method-assign]
    return clock


@contextmanager
def virtual_clock(clock: trio.abc.Clock, epoch: float) -> Iterator[None]:
    """Let the functions of `time` and `datetime` follow a clock.

    Args:
        clock: made before the block; its `current_time` begins at :data:`START_S`.
        epoch: the Unix time, in seconds, at that begin.
    """
    epoch_ns = round(epoch * 1e9)

    class Traveller(time_machine.Traveller):
        def time_ns(self) -> int:
            return epoch_ns + round((clock.current_time() - START_S) * 1e9)

    with Patches() as patches, time_machine.travel(0, tick=False):
        # time_machine asks the last traveller; it takes ours off its stack again at the end.
        time_machine.traveller_stack[-1] = Traveller(0, None, False)
        _clocks.append(clock)
        patches.callback(_clocks.pop)
        patches.rebind([(REAL_CLOCKS[name], _VIRTUAL[name]) for name in REAL_CLOCKS])
        for name in REAL_CLOCKS:
            patches.put(time, name, _VIRTUAL[name])
        yield


@contextmanager
def local_time_is_utc() -> Iterator[None]:
    """Have local times not depend on the machine: its time zone is UTC for as long as the block lasts."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


def _reading(name: str) -> Callable[[], Any]:
    real = REAL_CLOCKS[name]

    def seconds() -> Any:
        return _clocks[-1].current_time() if _clocks else real()

    def nanoseconds() -> Any:
        return round(_clocks[-1].current_time() * 1e9) if _clocks else real()

    return nanoseconds if name.endswith("_ns") else seconds


virtual_monotonic, _monotonic_ns = _reading("monotonic"), _reading("monotonic_ns")


def _clock_gettime(clk_id: int, /) -> float:
    return virtual_monotonic() if _clocks and clk_id in _MONOTONIC_IDS else float(REAL_CLOCKS["clock_gettime"](clk_id))


def _clock_gettime_ns(clk_id: int, /) -> int:
    return _monotonic_ns() if _clocks and clk_id in _MONOTONIC_IDS else int(REAL_CLOCKS["clock_gettime_ns"](clk_id))


_VIRTUAL: Final[dict[str, Callable[..., Any]]] = {
    "clock_gettime": _clock_gettime,
    "clock_gettime_ns": _clock_gettime_ns,
    "monotonic": virtual_monotonic,
    "monotonic_ns": _monotonic_ns,
    "perf_counter": _reading("perf_counter"),
    "perf_counter_ns": _reading("perf_counter_ns"),
}


# ── chance ────────────────────────────────────────────────────────────────────────────────────────────────────────────


_BETWEEN: Final = frozenset({__name__, "os", "random", "secrets", "uuid", "tempfile"})
"""Modules that pass entropy on: the stream is their caller's."""

REAL_URANDOM: Final = os.urandom
_REAL_SEED: Final = random.Random.seed
_Random: Final = random.Random


class _Streams:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._by_module: dict[str, random.Random] = {}

    def of_caller(self) -> random.Random:
        frame = sys._getframe(1)
        while (module := frame.f_globals.get("__name__", "")) in _BETWEEN and frame.f_back is not None:
            frame = frame.f_back
        if module not in self._by_module:
            self._by_module[module] = _seeded(f"{self._seed}/{module}")
        return self._by_module[module]


_open: list[_Streams] = []
"""The streams of the blocks that are open; the last ones count."""


@contextmanager
def seeded_entropy(seed: int) -> Iterator[None]:
    state = random.getstate()
    with Patches() as patches:
        _open.append(_Streams(seed))
        patches.callback(_open.pop)
        patches.callback(random.setstate, state)
        random.seed(f"{seed}/random")
        patches.rebind([(REAL_URANDOM, _urandom)])
        patches.put(os, "urandom", _urandom)
        patches.put(random, "_urandom", _urandom)
        patches.put(random.Random, "seed", _seed)
        patches.put(random, "seed", random._inst.seed)
        patches.put(ssl, "RAND_bytes", _urandom)
        patches.put(uuid, "_node", _seeded(f"{seed}/node").getrandbits(48) | 1 << 40)  # a random node has this bit set
        if hasattr(os, "getrandom"):
            patches.put(os, "getrandom", lambda size, flags=0: _urandom(size))
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed(_seeded(f"{seed}/numpy").getrandbits(32))
        yield


def reseed(seed: int) -> None:
    _open[-1] = _Streams(seed)
    random.seed(f"{seed}/random")


def _urandom(size: int, /) -> bytes:
    return _open[-1].of_caller().randbytes(size) if _open else REAL_URANDOM(size)


def _seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    if a is None and _open:
        a = _open[-1].of_caller().getrandbits(64)
    _REAL_SEED(self, a, version)


def _seeded(text: str) -> random.Random:
    return _Random(text)


@contextmanager
def seeded_scheduler(seed: int) -> Iterator[None]:
    """Let a seed decide the order in which trio runs tasks that are ready at the same instant."""
    with Patches() as patches:
        patches.put(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        patches.put(_run, "_r", _seeded(f"{seed}/schedule"))
        yield


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep the garbage collector from running finalizers where the heap happens to be full."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
