"""A share as the fraction that a person meant, so that a comparison with counts is exact."""

from __future__ import annotations

from fractions import Fraction

_FINEST = 10**9


def exact_share(share: float) -> Fraction:
    """Return the fraction nearest to `share` (0 to 1) with a denominator of at most a thousand million.

    1.1% arrives here as 0.011000000000000001, which 11 failures in 1000 calls do not reach; as 11/1000 they do. A
    share of more than 0 stays so.
    """
    fraction = Fraction(share).limit_denominator(_FINEST)
    return fraction if fraction or not share else Fraction(1, _FINEST)
