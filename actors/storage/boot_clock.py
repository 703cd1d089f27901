"""The clock that counts from the start of the machine, and that nobody sets."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial


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
