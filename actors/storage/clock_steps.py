"""The clock that counts from the machine's boot and that no one sets, and how far the wall clock has been set."""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from actors.instants import NS_PER_S

STEP_NS = NS_PER_S
"""By how much two clocks have to part for one to have been set: reading both takes its time, and one is slewed."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def clock_that_counts_sleep() -> Callable[[], int]:
    """Return the monotonic clock, in nanoseconds, that goes on while the machine sleeps.

    That is CLOCK_BOOTTIME where there is one (Linux, Android, OpenBSD). On macOS CLOCK_MONOTONIC does that, which is
    not the clock that Python calls monotonic. On other systems it is Python's monotonic clock, which does it on
    Windows.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC)
    return time.monotonic_ns


class Clocks(NamedTuple):
    """The clocks of a machine, to be replaced in tests."""

    wall_ns: Callable[[], int]
    """Returns nanoseconds since 1970, by a clock that may be set at any time."""
    boot_ns: Callable[[], int]
    """Returns nanoseconds by a clock that no one sets, and that goes on while the machine sleeps."""
    boot_id: str
    """Names the time for which `boot_ns` goes on: another one after each start of the machine."""


def clocks_of_this_machine() -> Clocks:
    """Return the clocks of this machine.

    On a machine that cannot tell its boots apart, each call counts as a boot of its own.
    """
    boot_id = ""
    with contextlib.suppress(OSError, ValueError):
        boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
    return Clocks(time.time_ns, clock_that_counts_sleep(), boot_id or secrets.token_hex(16))


class ClockSteps:
    """How far the wall clock is ahead of where it would be if no one had set it since this object was made or
    resumed."""

    def __init__(self, clocks: Clocks | None = None) -> None:
        self.clocks = clocks_of_this_machine() if clocks is None else clocks
        self._wall_ns, self._boot_ns = self.clocks.wall_ns, self.clocks.boot_ns
        self._anchor_ns = self._wall_ns() - self._boot_ns()
        """The wall clock, had no one set it, minus the boot's clock, in nanoseconds."""
        self._ahead_ns = 0

    def ahead_ns(self) -> int:
        """Return by how much the wall clock is ahead, in nanoseconds; negative where it was set back."""
        ahead_ns = self._wall_ns() - self._boot_ns() - self._anchor_ns
        if not -STEP_NS < ahead_ns - self._ahead_ns < STEP_NS:
            self._ahead_ns = ahead_ns
        return self._ahead_ns

    @property
    def steady_ns(self) -> int:
        """The wall clock's time if no one had set it, in nanoseconds since 1970."""
        return self._boot_ns() + self._anchor_ns

    @property
    def anchor_ns(self) -> int:
        """The number to keep, with the id of the boot, for resuming within the same boot."""
        return self._anchor_ns

    def resume(self, anchor_ns: int) -> None:
        """Go on as before in this boot: a step of the wall clock since then is counted."""
        self._anchor_ns = anchor_ns

    def show_now(self, now_ns: int) -> None:
        """Go on from what another clock shows now: by how much this one's wall clock differs is counted."""
        self._anchor_ns = now_ns - self._boot_ns()

    def go_on_from(self, latest_ns: int) -> None:
        """Go on in another boot, when the latest instant of the one before is known: time does not run backwards."""
        self._anchor_ns = max(self._anchor_ns, latest_ns - self._boot_ns())
