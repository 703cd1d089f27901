"""Values, intervals and numbers, as people read them."""

from __future__ import annotations

import math
from typing import Any

from actors.formatting import plain_number


def rounded(value: float, digits: int = 2) -> str:
    """Return a number with so many digits that count."""
    return plain_number(value, digits)


def interval(mean: float, half_width: float) -> str:
    """Return a mean and half its interval, both to the second digit of the latter that counts."""
    if half_width <= 1e-12 * abs(mean):  # what is left of equal floats
        return written(mean)
    decimals = max(0, 1 - math.floor(math.log10(half_width)))
    return f"{mean:,.{decimals}f} ± {half_width:,.{decimals}f}"


def bounds(value: float, low: float, high: float) -> str:
    """Return a number and its interval, which is not symmetric, all to the second digit of the width that counts."""
    decimals = max(0, 1 - math.floor(math.log10((high - low) / 2))) if high > low else 0
    return f"{value:,.{decimals}f} ({low:,.{decimals}f} … {high:,.{decimals}f})"


def written(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        shown = [written(each) for each in value]
        return ", ".join(shown if len(shown) <= 7 else [*shown[:3], "…", *shown[-3:]])
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return plain_number(value, 7)
    return f"{value:,}" if isinstance(value, int) else str(value)
