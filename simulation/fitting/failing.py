"""How attempts at one provider fail: windows of outage, bursts, and what is left, which is independent of time.

In a window all attempts fail, or a larger share than usual: a partial outage. Failures in a window count for nothing
else. Whether the rest fails in bursts, and whether a window is one of its own or only a long bad spell, is decided by
BIC among all models with the longest windows taken out (those without answers, or with answers that the channel is
broken, always are): each window costs two instants that may be anywhere, a partial one its share besides, a burst model
three parameters more than a mere failure rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulation.fitting.bursts import CLUSTERED, Bursts, Candidate, candidate, clustering, independent_log_likelihood
from simulation.fitting.estimate import Estimate, share
from simulation.fitting.log import AttemptLog, Flags, Floats, OutcomeKind
from simulation.fitting.windows import INSIDE, LEVELS, Window, find_windows

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
"""Failures that are nearer to each other by so many standard errors are not explained by a failure rate: the most over
all block sizes of a long log is beyond it once in a thousand times."""


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
        """Whether only a share fails in it."""
        return self.window.level < INSIDE


@dataclass(frozen=True, kw_only=True)
class Failing:
    rates: dict[str, Estimate]
    """Shares of the attempts outside of windows, by the key of a scenario; `failure_rate` is that of good spells where
    there are bursts."""

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
        """Whether failures are nearer to each other than what was found has them."""
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
    independent = _windows_bic(windows, price) - 2.0 * independent_log_likelihood(hit) + price
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
