"""Windows of time in which more than usual goes wrong, and how well their ends are known.

A stretch of attempts is scored by the logarithm of how much likelier its outcomes are where a certain share of them
fails, a level, than where the usual share does. Under the usual share, the chance that any stretch beginning at a
given attempt ever reaches a score of s is at most exp(-s) (Ville 1939, for the likelihood ratio is a martingale), so
with n attempts to begin at and m levels it is at most n · m · exp(-s) for all of them together. A window is a stretch
for which that is below `ALPHA`: the best set of stretches is found, each at the price of that score, by dynamic
programming over the runs of equal outcomes.

The usual share is that outside of the windows, so both are found in turn until nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulation.fitting.estimate import TAIL, Estimate
from simulation.fitting.log import Flags, Floats

ALPHA = 1e-3
INSIDE = 0.99
LEVELS = (INSIDE, 0.8, 0.6, 0.4, 0.25, 0.15, 0.08, 0.04, 0.02)
"""The shares that fail in windows where it is not known how many do: a total outage, and partial ones."""
LEVEL_ODDS = 2.0
"""The odds of failing in a window are at least so many times the usual ones."""
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
    """The decimal logarithm of the bound on the chance that there is any such stretch, of all that were looked at."""

    level: float = INSIDE
    """The share that fails in it, as the nearest of those that were tried."""

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


def find_windows(
    hit: Flags, start_s: Floats, *, levels: Sequence[float] = (INSIDE,), usual_max: float = USUAL_MAX
) -> list[Window]:
    """Return the windows in which more are hit than usual, in order.

    Args:
        hit: Of each attempt, in order: whether it failed (or was slow).
        start_s: When it started.
        levels: The shares that are hit in a window, as what is looked for may have it.
        usual_max: Look for nothing where more are hit as a rule.
    """
    size = len(hit)
    if size < LEAST or not hit.any():
        return []
    price = math.log(size * len(levels) / ALPHA)
    found: list[Stretch] = []
    outside = np.ones(size, dtype=bool)
    for _ in range(_ROUNDS):
        usual = (np.count_nonzero(hit & outside) + 1.0) / (np.count_nonzero(outside) + 2.0)
        odds = LEVEL_ODDS * usual / (1.0 - usual)
        tried = [level for level in levels if usual < usual_max and level / (1.0 - level) >= odds]
        if not tried:
            return []
        stretches = [
            Stretch(first, last, tried[number])
            for first, last, number in _stretches(hit, [_scores(usual, level) for level in tried], price)
            if np.count_nonzero(hit[first : last + 1]) >= LEAST
        ]
        if len(levels) > 1:
            stretches = _merged(stretches, hit, usual, price)
        if stretches == found:
            break
        found = stretches
        outside = np.ones(size, dtype=bool)
        for first, last, _level in found:
            outside[first : last + 1] = False
    bounds = [(-1, -1), *((first, last) for first, last, _level in found), (size, size)]
    return [
        _window(hit, start_s, stretch, (before[1], after[0]), _scores(usual, stretch.level), len(levels))
        for before, stretch, after in zip(bounds, found, bounds[2:], strict=False)
    ]


class Stretch(NamedTuple):
    """A stretch of attempts, by the indices of its first and its last one, and the share that is hit in it."""

    first: int
    last: int
    level: float


def _merged(stretches: list[Stretch], hit: Flags, usual: float, price: float) -> list[Stretch]:
    """Return the stretches, neighbours taken for one where two are not worth their price: of one whose share lies
    between two levels the parts were found at one and at the other."""
    before = np.concatenate([[0], np.cumsum(hit)])

    def hits(first: int, last: int) -> int:
        return int(before[last + 1] - before[first])

    def likelihood(first: int, last: int, share: float | None = None) -> float:
        count, size = hits(first, last), last - first + 1
        share = count / size if share is None and size else share or 0.0
        found = count * math.log(share) if count else 0.0
        return found + ((size - count) * math.log1p(-share) if size > count else 0.0)

    merged: list[Stretch] = []
    for stretch in stretches:
        one, here = merged[-1] if merged else None, stretch
        while one is not None:
            apart = likelihood(one.first, one.last) + likelihood(here.first, here.last)
            apart += likelihood(one.last + 1, here.first - 1, usual)
            if apart - likelihood(one.first, here.last) >= price:
                break
            share = hits(one.first, here.last) / (here.last - one.first + 1)
            is_total = min(one.level, here.level) == INSIDE or share >= INSIDE
            here = Stretch(one.first, here.last, INSIDE if is_total else min(share, 1.0 - 2.0 * (1.0 - INSIDE)))
            merged.pop()
            one = merged[-1] if merged else None
        merged.append(here)
    return merged


def _scores(usual: float, inside: float) -> tuple[float, float]:
    """Return what a hit adds to the score of a stretch, and what any other attempt does."""
    return math.log(inside / usual), math.log((1.0 - inside) / (1.0 - usual))


def _stretches(hit: Flags, scores: Sequence[tuple[float, float]], price: float) -> list[tuple[int, int, int]]:
    """Return the stretches whose scores, less the price of each, add up to the most; of each its first and last index,
    and the number of the scores that it has."""
    edges = np.flatnonzero(np.diff(hit.astype(np.int8))) + 1
    begins = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([begins, [len(hit)]]))
    outside = 0.0
    outside_parts: tuple[tuple[int, int, int], object] | None = None
    inside = [-math.inf] * len(scores)
    entered = [0] * len(scores)
    entered_parts: list[object] = [None] * len(scores)
    numbered = list(enumerate(scores))
    for begin, length, is_hit in zip(begins.tolist(), lengths.tolist(), hit[begins].tolist(), strict=True):
        if not is_hit:
            for number, (_gain, loss) in numbered:
                inside[number] += length * loss
            continue
        entry = outside - price
        before = outside_parts
        for number, (gain, _loss) in numbered:
            score = inside[number]
            if entry > score:
                score, entered[number], entered_parts[number] = entry, begin, before
            inside[number] = score = score + length * gain
            if score > outside:
                outside, outside_parts = score, ((entered[number], begin + length - 1, number), entered_parts[number])
    found: list[tuple[int, int, int]] = []
    parts: object = outside_parts
    while isinstance(parts, tuple):
        stretch, parts = parts
        found.append(stretch)
    return found[::-1]


def _window(
    hit: Flags,
    start_s: Floats,
    stretch: Stretch,
    between: tuple[int, int],
    scores: tuple[float, float],
    levels: int,
) -> Window:
    """Return a window: its first and last attempt, and those of the neighbouring windows that it lies between."""
    first, last, level = stretch
    hits = int(np.count_nonzero(hit[first : last + 1]))
    score = hits * scores[0] + (last - first + 1 - hits) * scores[1]
    middle = (first + last) // 2
    start = _edge(hit, start_s, range(middle, between[0], -1), *scores)
    end = _edge(hit, start_s, range(middle, between[1]), *scores)
    chance = (math.log(len(hit) * levels) - score) / math.log(10.0)
    return Window(first, last, start, end, hits, chance, level)


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
