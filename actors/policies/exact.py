"""Numbers of settings as what they are written as."""

from __future__ import annotations

from fractions import Fraction


def as_fraction(number: float) -> Fraction:
    """Return a number by way of its decimals, so that 3.3 is 33/10 and not the binary fraction next to it."""
    return Fraction(repr(float(number)))
