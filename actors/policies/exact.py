"""Numbers of settings exactly as they are written, so that comparisons with counts are exact.

A share becomes the exact fraction; the cost of a request is its weight against a limit: 1, or more (an SMS of three
segments costs 3).
"""

from __future__ import annotations

from fractions import Fraction


def as_fraction(number: float) -> Fraction:
    """Return the fraction of a number's decimals, so that 3.3 is 33/10 and not the nearest binary fraction."""
    return Fraction(repr(float(number)))


def never_fits(cost: int, limit: int) -> bool:
    """Return whether a request is more than a limit will ever let through at once.

    Raises:
        ValueError: `cost` is less than 1.
    """
    if cost < 1:
        raise ValueError(f"wanted a cost of at least 1, got {cost!r}")
    return cost > limit


_FINEST = 10**9


def exact_share(share: float) -> Fraction:
    """Return the fraction nearest to `share` (0 to 1) with a denominator of at most a thousand million.

    1.1% arrives here as 0.011000000000000001, which 11 failures in 1000 calls do not reach; as 11/1000 they do. A
    share of more than 0 stays so.
    """
    fraction = Fraction(share).limit_denominator(_FINEST)
    return fraction if fraction or not share else Fraction(1, _FINEST)
