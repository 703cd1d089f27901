"""Numbers of cases that are drawn, with three digits, so that a person can read them."""

from __future__ import annotations

import math
from random import Random


def log_uniform(random: Random, low: float, high: float) -> float:
    """Return a number between two others, about as often in one order of magnitude as in another."""
    return rounded(math.exp(random.uniform(math.log(low), math.log(high))))


def rounded(value: float) -> float:
    return float(f"{value:.3g}")
