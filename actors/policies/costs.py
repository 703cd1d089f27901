"""What one request weighs against a limit: 1, or more of them (an SMS of three segments costs 3)."""

from __future__ import annotations


def never_fits(cost: int, limit: int) -> bool:
    """Return whether a request is more than a limit will ever let through at once.

    Raises:
        ValueError: `cost` is less than 1.
    """
    if cost < 1:
        raise ValueError(f"wanted a cost of at least 1, got {cost!r}")
    return cost > limit
