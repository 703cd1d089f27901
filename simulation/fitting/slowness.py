"""Brownouts: windows in which the provider answers, but slowly.

They are looked for as outages are (:mod:`simulation.fitting.failing`), with the slow attempts in place of the failed
ones: those above the upper quartile of all. Few things but a brownout have four in five of them in a row. A window
counts if the median in it is, for sure, well above that outside. The fit finds the factor; that it stretches the whole
distribution, as `latency_factor` means, is not tested.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from simulation.fitting.estimate import TAIL, Estimate
from simulation.fitting.failing import Window, find_windows
from simulation.fitting.latency import Latency
from simulation.fitting.log import Flags, Floats

QUANTILE = 0.75
INSIDE = 0.8
FACTOR_MIN = 1.5
"""Slower by less is no brownout."""
SURE_MIN = 1.2
"""And the interval's lower end is at least this."""
LEAST = 8


@dataclass(frozen=True, eq=False)
class Brownout:
    """A window of slowness, or one in which a share gets no answer at all."""

    window: Window
    factor: Estimate
    """The ratio of its latency to the usual one, over answered attempts."""

    latency: Latency | None = None
    """The latency in it, where that is not the usual one times the factor."""

    unanswered: Estimate | None = None
    """The share that gets no answer in it, beyond the timeouts that the latency explains."""

    @property
    def is_slow(self) -> bool:
        """Whether answered attempts take significantly longer than usual."""
        return self.factor.value >= FACTOR_MIN and self.factor.low >= SURE_MIN


def find_brownouts(latency_s: Floats, start_s: Floats) -> list[Brownout]:
    """Return the windows in which nearly all attempts are slow.

    Args:
        latency_s: Of each attempt, in order; of one that timed out, how long the sender waited.
        start_s: When it started.
    """
    if len(latency_s) < 2 * LEAST or latency_s.min() == latency_s.max():
        return []
    slow: Flags = latency_s > np.quantile(latency_s, QUANTILE)
    windows = find_windows(slow, start_s, levels=(INSIDE,), usual_max=0.6)
    outside = np.ones(len(latency_s), dtype=bool)
    for window in windows:
        outside[window.first : window.last + 1] = False
    usual = latency_s[outside]
    if not len(usual) or np.median(usual) <= 0:
        return []
    found = []
    for window in windows:
        brownout = Brownout(window, slowness(latency_s[window.first : window.last + 1], usual))
        if window.attempts >= LEAST and brownout.is_slow:
            found.append(brownout)
    return found


def slowness(inside: Floats, outside: Floats) -> Estimate:
    """Return the ratio of the medians; the interval has both by order statistics, as if they erred independently."""
    inner, outer = _median(inside), _median(outside)
    value = inner.value / outer.value
    down = math.hypot(math.log(inner.value / max(inner.low, 1e-12)), math.log(outer.high / outer.value))
    up = math.hypot(math.log(inner.high / inner.value), math.log(outer.value / max(outer.low, 1e-12)))
    return Estimate(value, value * math.exp(-down), value * math.exp(up))


def _median(values: Floats) -> Estimate:
    ordered = np.sort(values)
    size = len(ordered)
    rank = max(0, int(stats.binom.ppf(TAIL, size, 0.5)) - 1)
    return Estimate(float(np.median(ordered)), float(ordered[rank]), float(ordered[size - 1 - rank]))
