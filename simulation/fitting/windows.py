"""Windows of time in which nearly everything goes wrong, and how well their ends are known.

A stretch of attempts is scored by the logarithm of how much likelier its outcomes are where nearly all fail (`INSIDE`)
than where the usual share does. Under the usual share, the chance that any stretch beginning at a given attempt ever
reaches a score of s is at most exp(-s) (Ville 1939, for the likelihood ratio is a martingale), so with n attempts to
begin at it is at most n · exp(-s) for all of them together. A window is a stretch for which that is below `ALPHA`: the
best set of stretches is found, each at the price of that score, by dynamic programming over the runs of equal outcomes.

The usual share is that outside of the windows, so both are found in turn until nothing changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulation.fitting.estimate import TAIL, Estimate
from simulation.fitting.log import Flags, Floats

ALPHA = 1e-3
INSIDE = 0.99
LEAST = 3
"""Fewer failures in a row than these are no outage, however rare failures are."""
USUAL_MAX = 0.9
"""Where more than so many fail as a rule, windows cannot be distinguished."""
_ROUNDS = 20


@dataclass(frozen=True)
class Window:
    """A stretch of attempts, and when it was: [start, end)."""

    first: int
    """Index of its first attempt, in the sequence in which it was found."""

    last: int
    """Index of its last attempt."""

    start_s: Estimate
    end_s: Estimate
    hits: int
    """How many failed in it."""

    log10_chance: float
    """The decimal logarithm of the bound on the chance that there is any such stretch; see above."""

    @property
    def attempts(self) -> int:
        """How many attempts it is of."""
        return self.last - self.first + 1

    @property
    def duration_s(self) -> float:
        """How long it lasts, in seconds."""
        return self.end_s.value - self.start_s.value

    def holds(self, start_s: Floats) -> Flags:
        """Return which instants lie in it, between its first attempt and its last one, these included."""
        return (start_s >= self.start_s.high) & (start_s <= self.end_s.low)


def find_windows(hit: Flags, start_s: Floats, *, inside: float = INSIDE, usual_max: float = USUAL_MAX) -> list[Window]:
    """Return the windows in which nearly all are hit, in order.

    Args:
        hit: Of each attempt, in order: whether it failed (or was slow).
        start_s: When it started.
        inside: The share that is hit in a window, as what is looked for has it.
        usual_max: Look for nothing where more are hit as a rule.
    """
    size = len(hit)
    if size < LEAST or not hit.any():
        return []
    price = math.log(size / ALPHA)
    found: list[tuple[int, int]] = []
    outside = np.ones(size, dtype=bool)
    for _ in range(_ROUNDS):
        usual = (np.count_nonzero(hit & outside) + 1.0) / (np.count_nonzero(outside) + 2.0)
        if usual >= min(usual_max, inside):
            return []
        stretches = [
            (first, last)
            for first, last in _stretches(hit, *_scores(usual, inside), price)
            if np.count_nonzero(hit[first : last + 1]) >= LEAST
        ]
        if stretches == found:
            break
        found = stretches
        outside = np.ones(size, dtype=bool)
        for first, last in found:
            outside[first : last + 1] = False
    bounds = [(-1, -1), *found, (size, size)]
    return [
        _window(hit, start_s, stretch, (before[1], after[0]), _scores(usual, inside))
        for before, stretch, after in zip(bounds, found, bounds[2:], strict=False)
    ]


def _scores(usual: float, inside: float) -> tuple[float, float]:
    """Return what a hit adds to the score of a stretch, and what any other attempt does."""
    return math.log(inside / usual), math.log((1.0 - inside) / (1.0 - usual))


def _stretches(hit: Flags, gain: float, loss: float, price: float) -> list[tuple[int, int]]:
    """Return the stretches whose scores, less the price of each, add up to the most; first and last index of each."""
    edges = np.flatnonzero(np.diff(hit.astype(np.int8))) + 1
    begins = np.concatenate([[0], edges])
    ends = np.concatenate([edges, [len(hit)]])
    outside, inside = 0.0, -math.inf
    outside_parts: tuple[tuple[int, int], object] | None = None
    entered, entered_parts = 0, None
    for begin, end, is_hit in zip(begins.tolist(), ends.tolist(), hit[begins].tolist(), strict=True):
        score = (end - begin) * (gain if is_hit else loss)
        if is_hit:
            if outside - price > inside:
                inside, entered, entered_parts = outside - price, begin, outside_parts
            inside += score
            if inside > outside:
                outside, outside_parts = inside, ((entered, end - 1), entered_parts)
        else:
            inside += score
    found: list[tuple[int, int]] = []
    parts: object = outside_parts
    while isinstance(parts, tuple):
        stretch, parts = parts
        found.append(stretch)
    return found[::-1]


def _window(
    hit: Flags, start_s: Floats, stretch: tuple[int, int], between: tuple[int, int], scores: tuple[float, float]
) -> Window:
    """Return a window: its first and last attempt, and those of the neighbouring windows that it lies between."""
    first, last = stretch
    hits = int(np.count_nonzero(hit[first : last + 1]))
    score = hits * scores[0] + (last - first + 1 - hits) * scores[1]
    middle = (first + last) // 2
    start = _edge(hit, start_s, range(middle, between[0], -1), *scores)
    end = _edge(hit, start_s, range(middle, between[1]), *scores)
    return Window(first, last, start, end, hits, (math.log(len(hit)) - score) / math.log(10.0))


_EDGE_REACH = 30.0
"""How far below the best a place of an edge may score before nothing behind it counts."""


def _edge(hit: Flags, start_s: Floats, way: range, gain: float, loss: float) -> Estimate:
    """Return where a window ends in the direction of `way`, and between which attempts it does for sure.

    Each gap between neighbours is as likely as it is long, times the likelihood of all outcomes if the edge is there;
    the interval is of whole gaps, those that hold the middle 95% of it, and the value the middle of the likeliest gap.
    """
    positions: list[tuple[float, float]] = []
    logs: list[float] = []
    score = best = 0.0
    for index in way:
        score += gain if hit[index] else loss
        best = max(best, score)
        if score < best - _EDGE_REACH:
            break
        beyond = index + way.step
        here = float(start_s[index])
        there = float(start_s[beyond]) if 0 <= beyond < len(start_s) else 0.0 if way.step < 0 else here
        positions.append((min(here, there), max(here, there)))
        logs.append(score + math.log(max(positions[-1][1] - positions[-1][0], 1e-9)))
    weights = np.exp(np.array(logs) - max(logs))
    likeliest = positions[int(np.argmax(weights))]
    sums = np.cumsum(weights) / weights.sum()
    inner = positions[int(np.searchsorted(sums, TAIL))]
    outer = positions[min(int(np.searchsorted(sums, 1.0 - TAIL)), len(positions) - 1)]
    ends = (*inner, *outer)
    return Estimate((likeliest[0] + likeliest[1]) / 2.0, min(ends), max(ends))
