"""Poisson arrivals whose rate goes in straight lines, from one value to another or jumping: instants, mean and peak.

A rate is a sequence of pieces, one after the other from 0. Behind the last one nothing arrives.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from random import Random
from typing import NamedTuple

from actors.instants import NS_PER_S, seconds


class Piece(NamedTuple):
    """A time over which a rate goes in a straight line."""

    length_ns: int
    first: float
    """The rate a second at its start, at least 0."""

    last: float
    """The rate that it has come to at its end."""


def poisson_along(pieces: Iterable[Piece], random: Random, duration_ns: int) -> Iterator[int]:
    """Yield a Poisson process with this rate, in [0, `duration_ns`).

    By inversion (Çinlar 1975; Lewis and Shedler 1979, section 2): the n-th arrival of a unit Poisson process at u is
    put where the integrated rate reaches u. Within a piece that is a·t + b·t²/2, whose root is taken in the form
    2u / (a + sqrt(a² + 2bu)), which loses no digits where b is small and holds for b = 0.
    """
    start_ns, expected = 0, random.expovariate(1.0)  # `expected` counts from the start of the piece
    for length_ns, first, last in pieces:
        if start_ns >= duration_ns:
            return
        if length_ns:
            length_s, end_ns = length_ns / NS_PER_S, start_ns + length_ns
            area, slope = (first + last) / 2.0 * length_s, (last - first) / length_s
            while expected <= area:
                root = first + math.sqrt(max(0.0, first * first + 2.0 * slope * expected))
                at_ns = start_ns + int(2.0 * expected / root * NS_PER_S) if root else start_ns
                if at_ns >= duration_ns:
                    return
                yield min(at_ns, end_ns)
                expected += random.expovariate(1.0)
            expected -= area
            start_ns = end_ns


def expected_along(pieces: Iterable[Piece], until_ns: int) -> float:
    """Return how many arrive on average in [0, `until_ns`)."""
    areas, start_ns = [], 0
    for piece in pieces:
        if start_ns >= until_ns:
            break
        areas.append(_area(piece, min(piece.length_ns, until_ns - start_ns)))
        start_ns += piece.length_ns
    return math.fsum(areas)


def most_along(pieces: Sequence[Piece], stretch_s: float) -> float:
    """Return how many arrive on average in the busiest stretch of `stretch_s` seconds.

    As the stretch moves, its arrivals follow a quadratic until one of its ends meets another piece. So the most is
    where an end meets a piece, or at the vertex between.
    """
    starts = [0.0, *(seconds(at_ns) for at_ns in accumulate(piece.length_ns for piece in pieces))]
    sums = [0.0, *accumulate(_area(piece, piece.length_ns) for piece in pieces)]
    end = starts[-1]

    def until(at: float) -> float:
        number = min(bisect_right(starts, at), len(pieces)) - 1
        piece = pieces[number]
        return sums[number] + _area(piece, min(piece.length_ns, (at - starts[number]) * NS_PER_S))

    def within(start: float) -> float:
        return until(min(end, start + stretch_s)) - until(start)

    if stretch_s >= end:
        return sums[-1]
    edges = sorted({at for edge in starts for at in (edge, edge - stretch_s) if 0 <= at <= end - stretch_s})
    most = max(map(within, edges))
    for low, high in pairwise(edges):
        middle = (low + high) / 2.0
        one, two, three = within(low), within(middle), within(high)
        bend = one - 2.0 * two + three
        if bend < 0.0:  # the vertex of the parabola through the three, as a share of the half of the way
            offset = (one - three) / (2.0 * bend)
            if -1.0 < offset < 1.0:
                most = max(most, within(middle + offset * (high - low) / 2.0))
    return most


def _area(piece: Piece, length_ns: float) -> float:
    """Return how many arrive on average in the first `length_ns` nanoseconds of a piece."""
    if not piece.length_ns:
        return 0.0
    at_end = piece.first + (piece.last - piece.first) * (length_ns / piece.length_ns)
    return (piece.first + at_end) / 2.0 * (length_ns / NS_PER_S)
