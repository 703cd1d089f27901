"""How attempts at one provider fail: windows of outage, bursts, and the rest, which is independent of time.

In a window all attempts fail, or a larger share than usual: a partial outage. Failures in a window count for nothing
else. Whether the rest fails in bursts, and whether a window is one of its own or only a long bad spell, is decided by
BIC among all models with the longest windows taken out (windows without answers, or with answers that the channel is
broken, always are): each window costs two instants that may be anywhere, a partial one its share besides, a burst model
three parameters more than a mere failure rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulation.fitting.bursts import CLUSTERED, Bursts, Candidate, candidate, clustering
from simulation.fitting.estimate import TAIL, Estimate, log_likelihood_of, share
from simulation.fitting.log import AttemptLog, Flags, Floats, OutcomeKind

# ── windows ───────────────────────────────────────────────────────────────────────────────────────────────────────────


ALPHA = 1e-3
INSIDE = 0.99
LEVELS = (INSIDE, 0.8, 0.6, 0.4, 0.25, 0.15, 0.08, 0.04, 0.02)
"""The shares that fail in windows where it is not known how many do: a total outage, and partial ones."""
LEVEL_ODDS = 2.0
"""The least ratio of the odds of failing in a window to the usual odds."""
LEAST = 3
"""Fewer failures in a row than these are no outage, however rare failures are."""
USUAL_MAX = 0.9
"""Windows cannot be distinguished where a larger share fails as a rule."""
_ROUNDS = 20
_BLOCKS = 20


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

    log10_chance: float
    """The decimal logarithm of the bound on the chance that there is any such stretch, of all that were looked at."""

    level: float = INSIDE
    """The share that fails in it: the nearest of the tried levels."""

    @property
    def attempts(self) -> int:
        return self.last - self.first + 1

    @property
    def duration_s(self) -> float:
        return self.end_s.value - self.start_s.value

    def holds(self, start_s: Floats) -> Flags:
        """Return which instants lie in it, between its first attempt and its last one, these included."""
        return (start_s >= self.start_s.high) & (start_s <= self.end_s.low)


def find_windows(
    hit: Flags, start_s: Floats, *, levels: Sequence[float] = (INSIDE,), usual_max: float = USUAL_MAX
) -> list[Window]:
    """Return the windows in which more are hit than usual, in order.

    The score of a stretch of attempts is the log-likelihood ratio of its outcomes, between a certain share of failures,
    a level, and the usual share. Under the usual share, the chance that any stretch beginning at a given attempt ever
    reaches a score of s is at most exp(-s) (Ville 1939, for the likelihood ratio is a martingale), so with n attempts
    to begin at and m levels it is at most n · m · exp(-s) for all of them together. A window is a stretch for which
    that is below `ALPHA`: the best set of stretches is found, each at the price of that score, by dynamic programming
    over the runs of equal outcomes.

    The usual share is that outside of the windows, so both are found in turn until nothing changes. Where several
    levels are tried that is done from two beginnings, as a long partial outage lifts the share of all so much that
    nothing stands out; the windows that are worth more are taken.

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
    sets = [_settled(hit, levels, start, price, usual_max) for start in _starts(hit, several=len(levels) > 1)]
    found = max(sets, key=lambda stretches: _worth(hit, stretches, price)) if len(sets) > 1 else sets[0]
    usual = _usual(hit, found)
    bounds = [(-1, -1), *((first, last) for first, last, _level in found), (size, size)]
    return [
        _window(hit, start_s, stretch, (before[1], after[0]), usual, levels)
        for before, stretch, after in zip(bounds, found, bounds[2:], strict=False)
    ]


def _starts(hit: Flags, *, several: bool) -> list[float]:
    """Return the first guesses of the usual share: the share of all, and one that a long window does not lift."""
    usual = _usual(hit, [])
    if not several or len(hit) < 10 * _BLOCKS:
        return [usual]
    rates = sorted(_usual(block, []) for block in np.array_split(hit, _BLOCKS))
    return [usual, rates[_BLOCKS // 10]]


def _settled(hit: Flags, levels: Sequence[float], usual: float, price: float, usual_max: float) -> list[Stretch]:
    found: list[Stretch] | None = None
    for _ in range(_ROUNDS):
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
        usual = _usual(hit, found)
    return found or []


def _usual(hit: Flags, stretches: Sequence[Stretch]) -> float:
    hits, size = int(np.count_nonzero(hit)), len(hit)
    for first, last, _level in stretches:
        hits -= int(np.count_nonzero(hit[first : last + 1]))
        size -= last - first + 1
    return (hits + 1.0) / (size + 2.0)


def _worth(hit: Flags, stretches: Sequence[Stretch], price: float) -> float:
    """Return the logarithm of the likelihood with a share for each stretch and one for the rest, less the price of each
    stretch."""
    outside = np.ones(len(hit), dtype=bool)
    worth = -price * len(stretches)
    for first, last, _level in stretches:
        outside[first : last + 1] = False
        worth += log_likelihood_of(int(np.count_nonzero(hit[first : last + 1])), last - first + 1)
    return worth + log_likelihood_of(int(np.count_nonzero(hit & outside)), int(np.count_nonzero(outside)))


class Stretch(NamedTuple):
    """A stretch of attempts, by the indices of its first and its last one, and the share that is hit in it."""

    first: int
    last: int
    level: float


def _merged(stretches: list[Stretch], hit: Flags, usual: float, price: float) -> list[Stretch]:
    """Return the stretches, with neighbours joined where two are not worth their price: a share between two levels is
    found in parts, some at one level and some at the other."""
    before = np.concatenate([[0], np.cumsum(hit)])

    def hits(first: int, last: int) -> int:
        return int(before[last + 1] - before[first])

    def likelihood(first: int, last: int, share: float | None = None) -> float:
        return log_likelihood_of(hits(first, last), last - first + 1, share)

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
    """Return the score of a hit in a stretch, and the score of any other attempt."""
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
    hit: Flags, start_s: Floats, stretch: Stretch, between: tuple[int, int], usual: float, levels: Sequence[float]
) -> Window:
    """Return a window: its first and last attempt, and the neighbouring windows' attempts that it lies between."""
    first, last, level = stretch
    size = last - first + 1
    hits = int(np.count_nonzero(hit[first : last + 1]))
    # The bound is that of a level that was tried; where the window ends is best known by the share itself.
    score = max(hits * gain + (size - hits) * loss for gain, loss in (_scores(usual, each) for each in levels))
    is_partial = len(levels) > 1 and level < INSIDE
    ends = _scores(usual, min(max(hits / size, level / 2.0), INSIDE) if is_partial else level)
    middle = (first + last) // 2
    start = _edge(hit, start_s, range(middle, between[0], -1), *ends)
    end = _edge(hit, start_s, range(middle, between[1]), *ends)
    chance = (math.log(len(hit) * len(levels)) - score) / math.log(10.0)
    return Window(first, last, start, end, hits, chance, level)


_EDGE_REACH = 30.0
"""Places of an edge are searched until one scores so far below the best."""


def _edge(hit: Flags, start_s: Floats, way: range, gain: float, loss: float) -> Estimate:
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


MARGIN = 10.0
"""The least by which the BIC of bursts must be lower than without them: very strong evidence."""
SPELLS_MIN = 3.0
"""The length of bad spells cannot be estimated from fewer of them."""
_TAKEN_OUT_MAX = 4
"""The number of the longest windows that are tried as outages beside bursts."""

RATES = {
    "failure_rate": OutcomeKind.TRANSIENT,
    "permanent_rate": OutcomeKind.PERMANENT,
    "dead_destination_rate": OutcomeKind.DEAD_DESTINATION,
    "channel_fault_rate": OutcomeKind.CHANNEL_FAULT,
}
_FAILED = (OutcomeKind.TRANSIENT, OutcomeKind.AMBIGUOUS, OutcomeKind.CHANNEL_FAULT)

WindowKind = Literal["outage", "hang", "channel_fault"]
UNEXPLAINED = 4.0
"""A failure rate does not explain failures that are clustered by so many standard errors: the most over all block sizes
of a long log is beyond it once in a thousand times."""


@dataclass(frozen=True)
class Outage:
    """A window in which nearly every attempt failed, or more of them than usual."""

    window: Window
    kind: WindowKind
    """Whether there were answers, or none, or such as say that the channel is broken."""

    rates: Mapping[str, Estimate] = field(default_factory=dict)
    """Of a partial one: the shares of its attempts that end so, by the key of a scenario; for `failure_rate` and
    `channel_fault_rate` the difference to the share outside."""

    @property
    def is_partial(self) -> bool:
        return self.window.level < INSIDE


@dataclass(frozen=True, kw_only=True)
class Failing:
    rates: dict[str, Estimate]
    """Shares of the attempts outside of windows, by the key of a scenario; `failure_rate` is the rate in good spells
    where there are bursts."""

    counts: dict[str, int]
    """The attempts from which each rate was counted, by its key; `answered` are those with an answer."""

    outages: tuple[Outage, ...]
    bursts: Bursts | None
    clustering: float
    """The clustering of failures against independent ones, in standard errors, without windows."""

    evidence: dict[str, float]
    """The BIC of each model that was compared; less is better."""

    @property
    def is_unexplained(self) -> bool:
        """Whether failures are more clustered than the model that was found explains."""
        return self.bursts is None and self.clustering >= UNEXPLAINED

    def inside(self, start_s: Floats) -> Flags:
        """Return which instants lie in a window in which nearly all failed."""
        found: Flags = np.zeros(len(start_s), dtype=bool)
        for outage in self.outages:
            if not outage.is_partial:
                found |= outage.window.holds(start_s)
        return found


def fit_failing(log: AttemptLog) -> Failing:
    asked = log.where(log.kind != OutcomeKind.THROTTLED)
    windows = find_windows(np.isin(asked.kind, _FAILED), asked.start_s, levels=LEVELS)
    taken_out, chosen, evidence, clustered = _chosen(asked, windows)
    answered = asked.where(~_in_windows(len(asked), taken_out) & (asked.kind != OutcomeKind.AMBIGUOUS))
    total = len(answered)
    counts = {name: int(np.count_nonzero(answered.kind == kind)) for name, kind in RATES.items()}
    rates = {name: share(count, total) for name, count in counts.items()}
    bursts = None if chosen is None else chosen.described()
    if bursts is not None:
        rates["failure_rate"] = bursts.base_rate
    unanswered = asked.where(~_in_windows(len(asked), taken_out)).kind == OutcomeKind.AMBIGUOUS
    usual = {**rates, "lost_reply_rate": share(int(np.count_nonzero(unanswered)), len(unanswered))}
    outages = []
    for window in taken_out:
        kinds = asked.kind[window.first : window.last + 1]
        outage = Outage(window, _kind_of(kinds))
        outages.append(replace(outage, rates=_added(kinds, usual)) if outage.is_partial else outage)
    return Failing(
        rates=rates,
        counts={**counts, "answered": total},
        outages=tuple(outages),
        bursts=bursts,
        clustering=clustered,
        evidence=evidence,
    )


_KIND_OF = {
    "failure_rate": OutcomeKind.TRANSIENT,
    "channel_fault_rate": OutcomeKind.CHANNEL_FAULT,
    "lost_reply_rate": OutcomeKind.AMBIGUOUS,
}


def _added(kinds: NDArray[np.int8], usual: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Return the shares of attempts in a window that end in each bad way, where significantly more often than outside.

    The share outside is subtracted from each, except from the share of attempts without an answer.
    """
    found = {}
    for name, kind in _KIND_OF.items():
        there = share(int(np.count_nonzero(kinds == kind)), len(kinds))
        if there.low <= usual[name].high:
            continue
        less = 0.0 if name == "lost_reply_rate" else usual[name].value
        found[name] = Estimate(there.value - less, there.low - less, there.high - less)
    return found


def _chosen(
    asked: AttemptLog, windows: Sequence[Window]
) -> tuple[list[Window], Candidate | None, dict[str, float], float]:
    """Return the windows that stand for themselves, the bursts, all BIC, and how clustered the other failures are."""
    price = math.log(max(len(asked), 2))
    certain = [window for window in windows if _kind_of(asked.kind[window.first : window.last + 1]) != "outage"]
    by_length = sorted((w for w in windows if w not in certain), key=lambda window: (-window.hits, window.first))
    _, hit, _ = _outside(asked, windows)
    clustered = clustering(hit)
    independent = _windows_bic(windows, price) - 2.0 * log_likelihood_of(int(np.count_nonzero(hit)), len(hit)) + price
    evidence = {_name(len(windows), bursts=False): independent}
    best: tuple[float, int, Candidate] | None = None
    found: Candidate | None = None
    worse = 0
    for number in dict.fromkeys([*range(min(len(by_length), _TAKEN_OUT_MAX) + 1), len(by_length)]):
        out = [*certain, *by_length[:number]]
        _, hit, start_s = _outside(asked, out)
        if worse >= 2 or clustering(hit) < CLUSTERED:
            continue
        found = candidate(hit, start_s, found)
        if found is None or found.spells < SPELLS_MIN:
            continue
        bic = _windows_bic(out, price) - 2.0 * found.log_likelihood + 4.0 * price
        evidence[_name(len(out), bursts=True)] = bic
        worse = worse + 1 if best is not None and bic > best[0] else 0
        if best is None or bic < best[0]:
            best = bic, number, found
    if best is None or best[0] > independent - MARGIN:
        return sorted(windows, key=lambda window: window.first), None, evidence, clustered
    kept = sorted([*certain, *by_length[: best[1]]], key=lambda window: window.first)
    return kept, best[2], evidence, clustering(_outside(asked, kept)[1])


def _name(windows: int, *, bursts: bool) -> str:
    plural = "" if windows == 1 else "s"
    return f"{windows or 'no'} window{plural}, {'bursts' if bursts else 'independent failures'}"


def _windows_bic(windows: Sequence[Window], price: float) -> float:
    bic = 0.0
    for window in windows:
        is_partial = window.level < INSIDE
        level = window.hits / window.attempts if is_partial else INSIDE
        others = window.attempts - window.hits
        inside = window.hits * math.log(level) + (others * math.log1p(-level) if others else 0.0)
        bic += (5.0 if is_partial else 4.0) * price - 2.0 * inside
    return bic


def _outside(asked: AttemptLog, windows: Sequence[Window]) -> tuple[Flags, Flags, Floats]:
    chosen = ~_in_windows(len(asked), windows) & (asked.kind != OutcomeKind.AMBIGUOUS)
    return chosen, asked.kind[chosen] == OutcomeKind.TRANSIENT, asked.start_s[chosen]


def _in_windows(size: int, windows: Sequence[Window]) -> Flags:
    inside: Flags = np.zeros(size, dtype=bool)
    for window in windows:
        inside[window.first : window.last + 1] = True
    return inside


def _kind_of(kinds: NDArray[np.int8]) -> WindowKind:
    counts = {kind: int(np.count_nonzero(kinds == kind)) for kind in _FAILED}
    most = max(_FAILED, key=lambda kind: counts[kind])
    return {OutcomeKind.TRANSIENT: "outage", OutcomeKind.AMBIGUOUS: "hang", OutcomeKind.CHANNEL_FAULT: "channel_fault"}[
        most
    ]  # type: ignore[return-value]
