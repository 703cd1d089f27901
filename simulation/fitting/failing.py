"""How attempts at one provider fail: windows of outage, bursts, and what is left, which is independent of time.

What fails in a window counts for nothing else. Whether the rest fails in bursts, and whether a window is one of its own
or only a long bad spell, is decided by BIC among all models with the longest windows taken out (those without answers,
or with answers that the channel is broken, always are): each window costs two instants that may be anywhere, a burst
model three parameters more than a mere failure rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from simulation.fitting.bursts import CLUSTERED, Bursts, Candidate, candidate, clustering, independent_log_likelihood
from simulation.fitting.estimate import Estimate, share
from simulation.fitting.log import AttemptLog, Flags, Floats, OutcomeKind
from simulation.fitting.windows import INSIDE, Window, find_windows

MARGIN = 10.0
"""By so much must the BIC of bursts be lower than that of none: very strong evidence."""
SPELLS_MIN = 3.0
"""Of fewer bad spells than these the length cannot be estimated."""
_TAKEN_OUT_MAX = 4
"""So many of the longest windows are tried as outages beside bursts."""

RATES = {
    "failure_rate": OutcomeKind.TRANSIENT,
    "permanent_rate": OutcomeKind.PERMANENT,
    "dead_destination_rate": OutcomeKind.DEAD_DESTINATION,
    "channel_fault_rate": OutcomeKind.CHANNEL_FAULT,
}
_FAILED = (OutcomeKind.TRANSIENT, OutcomeKind.AMBIGUOUS, OutcomeKind.CHANNEL_FAULT)

WindowKind = Literal["outage", "hang", "channel_fault"]


@dataclass(frozen=True)
class Outage:
    """A window in which nearly every attempt failed."""

    window: Window
    kind: WindowKind
    """Whether there were answers, or none, or such as say that the channel is broken."""


@dataclass(frozen=True, kw_only=True)
class Failing:
    """What was found about the failures of one provider."""

    rates: dict[str, Estimate]
    """Shares of the attempts outside of windows, by the key of a scenario; `failure_rate` is that of good spells where
    there are bursts."""

    counts: dict[str, int]
    """How many attempts each rate was counted from, `answered` of them."""

    outages: tuple[Outage, ...]
    bursts: Bursts | None
    clustering: float
    """How many standard errors failures are nearer to each other than independent ones, windows taken out."""

    evidence: dict[str, float]
    """The BIC of each model that was compared; less is better."""

    def inside(self, start_s: Floats) -> Flags:
        """Return which instants lie in a window of outage."""
        found: Flags = np.zeros(len(start_s), dtype=bool)
        for outage in self.outages:
            found |= outage.window.holds(start_s)
        return found


def fit_failing(log: AttemptLog) -> Failing:
    """Return what failures there are in the attempts at one provider."""
    asked = log.where(log.kind != OutcomeKind.THROTTLED)
    windows = find_windows(np.isin(asked.kind, _FAILED), asked.start_s)
    taken_out, chosen, evidence, clustered = _chosen(asked, windows)
    outages = tuple(Outage(window, _kind_of(asked.kind[window.first : window.last + 1])) for window in taken_out)
    answered = asked.where(~_in_windows(len(asked), taken_out) & (asked.kind != OutcomeKind.AMBIGUOUS))
    total = len(answered)
    counts = {name: int(np.count_nonzero(answered.kind == kind)) for name, kind in RATES.items()}
    rates = {name: share(count, total) for name, count in counts.items()}
    bursts = None if chosen is None else chosen.described()
    if bursts is not None:
        rates["failure_rate"] = bursts.base_rate
    return Failing(
        rates=rates,
        counts={**counts, "answered": total},
        outages=outages,
        bursts=bursts,
        clustering=clustered,
        evidence=evidence,
    )


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
    hits = sum(window.hits for window in windows)
    others = sum(window.attempts for window in windows) - hits
    inside = hits * math.log(INSIDE) + others * math.log1p(-INSIDE)
    return 4.0 * price * len(windows) - 2.0 * inside


def _outside(asked: AttemptLog, windows: Sequence[Window]) -> tuple[Flags, Flags, Floats]:
    """Return which attempts are outside of windows and answered, which of these failed, and when they started."""
    chosen = ~_in_windows(len(asked), windows) & (asked.kind != OutcomeKind.AMBIGUOUS)
    return chosen, asked.kind[chosen] == OutcomeKind.TRANSIENT, asked.start_s[chosen]


def _in_windows(size: int, windows: Sequence[Window]) -> Flags:
    inside: Flags = np.zeros(size, dtype=bool)
    for window in windows:
        inside[window.first : window.last + 1] = True
    return inside


def _kind_of(kinds: np.ndarray[Any, np.dtype[np.int8]]) -> WindowKind:
    counts = {kind: int(np.count_nonzero(kinds == kind)) for kind in _FAILED}
    most = max(_FAILED, key=lambda kind: counts[kind])
    return {OutcomeKind.TRANSIENT: "outage", OutcomeKind.AMBIGUOUS: "hang", OutcomeKind.CHANNEL_FAULT: "channel_fault"}[
        most
    ]  # type: ignore[return-value]
