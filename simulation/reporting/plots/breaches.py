"""Where and when an expectation broke: the times, and which notifications did it, from the tables of the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from actors.formatting import counted, duration_text, instant_text
from simulation.reporting.fault_windows import Span
from simulation.reporting.plots.breakers import openings
from simulation.reporting.plots.source import PlottedRun, are_first, end_of, requests_where, rows_where
from simulation.results.counters import OPEN_STATES
from simulation.results.tables import transitions_of
from simulation.scenario import Expectation
from simulation.scenario.metrics import QUANTILES, WINDOWS, WITHIN, WITHIN_S

IDS_MAX = 5
"""The most notifications that are named as a cause."""

STEPS = 120
"""The number of steps of a run's time, to find when a share or a percentile broke its bound."""

NEAR = 5
"""The number of steps around the one in question that are looked at together."""

AT_MOST, AT_LEAST = ("<=", "<", "=="), (">=", ">", "==")
"""The operators of expectations that more, or less, than the value can break."""

Times = npt.NDArray[np.float64]


class Scope(NamedTuple):
    where: dict[str, str]
    """The columns of tables that select it."""

    metric: tuple[str, ...]
    """The path of the metric within the scope."""

    from_s: float
    to_s: float
    """The part of the run that it is about."""

    is_cut: bool = False
    """Whether the run goes on after that part, which then does not have its end in it."""

    def has(self, at_s: Any) -> Any:
        """Return of instants, as an array or a column of a table, which are in that part."""
        return (at_s >= self.from_s) & ((at_s < self.to_s) if self.is_cut else (at_s <= self.to_s))


class Breach(NamedTuple):
    text: str
    """In words, with the times."""

    spans: tuple[Span, ...]
    """When, in order, in seconds from the start."""

    ids: tuple[str, ...] = ()
    """Some of the notifications that did it, the worst first."""

    most_s: float | None = None
    """The instant around which most causes lie, in seconds; None: nowhere more than anywhere else."""

    @property
    def at_s(self) -> float | None:
        """Where to look first, in seconds from the start; None if that cannot be said."""
        return self.most_s if self.most_s is not None or not self.spans else self.spans[0][0]


def scope_of(expectation: Expectation, end_s: float) -> Scope:
    path = expectation.path[2:] if expectation.path[0] == WINDOWS else expectation.path
    window = expectation.window
    from_s = 0.0 if window is None else window.from_s
    to_s = end_s if window is None or window.to_s is None else min(window.to_s, end_s)
    column = {"channels": "channel", "workload": "entry", "classes": "priority"}.get(path[0])
    where, metric = ({}, path) if column is None else ({column: path[1]}, path[2:])
    if metric[0] == "breaker" and column is None:
        where, metric = {"breaker": metric[1]}, ("breaker", *metric[2:])
    elif metric[0] == "breaker":
        where = {"breaker": path[1]}
    elif metric[0] == "providers":
        where, metric = {**where, "provider": metric[1]}, metric[2:]
    return Scope(where, metric, from_s, to_s, is_cut=to_s < end_s)


def breach_of(run: PlottedRun, number: int) -> Breach | None:
    """Return where and when an expectation of a run broke.

    None: it holds; or nothing of its metric has a time, or a place, as when too few of something came.
    """
    expectation, outcome = run.scenario.expect[number], run.summary["expectations"][number]
    if outcome["holds"] is not False:
        return None
    scope = scope_of(expectation, end_of(run))
    if _is_of_deliveries(scope.metric):
        return _deliveries(run, expectation, scope)
    if expectation.op not in AT_MOST:
        return None
    return next((find(run, expectation, scope) for finds, find in _FINDERS if finds(scope.metric)), None)


# ── deliveries ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _is_of_deliveries(metric: Sequence[str]) -> bool:
    return metric[0] in ("delivery_time_s", "sent_time_s", WITHIN, "sent_fraction")


def _deliveries(run: PlottedRun, expectation: Expectation, scope: Scope) -> Breach | None:
    """Return when requests were accepted that were late, or never delivered, and in which steps there were too many."""
    is_a_time = scope.metric[0] in ("delivery_time_s", "sent_time_s")
    if expectation.op not in (AT_MOST if is_a_time else AT_LEAST):
        return None
    requests = _requests(run, scope)
    if requests.empty:
        return None
    limit_s = expectation.value if is_a_time else _within_s(expectation, scope)
    accepted, times = (
        requests["waited_since_s"].to_numpy(float),
        requests["time_s"].to_numpy(float).round(9),
    )  # whole nanoseconds
    late = np.isinf(times) if math.isinf(limit_s) else times > limit_s
    if scope.metric[0] == "sent_time_s":
        late &= np.isfinite(times)
    if not late.any():
        return None
    allowed = 1 - (QUANTILES.get(scope.metric[-1], 1.0) if is_a_time else expectation.value)
    what = "never delivered" if math.isinf(limit_s) else f"not delivered within {duration_text(limit_s)}"
    first, last = float(accepted[late].min()), float(accepted[late].max())
    text = f"{late.sum():,} of {counted(len(late), 'request')} {what}, {_from_to(first, last, 'accepted ')}"
    worst = requests[late].sort_values("time_s", ascending=False, kind="stable")["id"]
    spans = _steps_above(accepted, late, allowed, scope)
    return Breach(text, spans, tuple(worst.head(IDS_MAX)), _thickest(accepted[late], spans))


def _within_s(expectation: Expectation, scope: Scope) -> float:
    if scope.metric[0] != WITHIN:
        return math.inf
    return WITHIN_S.get(scope.metric[1], expectation.within_s or math.inf)


def _requests(run: PlottedRun, scope: Scope) -> pd.DataFrame:
    if run.notifications.empty:
        return run.notifications
    found = requests_where(run, scope.where)
    rows: pd.DataFrame = found[scope.has(found["waited_since_s"])]
    return rows


def _steps_above(at_s: Times, marked: npt.NDArray[np.bool_], allowed: float, scope: Scope) -> tuple[Span, ...]:
    """Return the spans in which a larger share than allowed was marked, counting neighbouring steps too.

    If few are marked, a single step may have too many by chance. Such a step counts only if there are no others.
    """
    edges = np.linspace(scope.from_s, scope.to_s, STEPS + 1)
    all_of, _ = np.histogram(at_s, edges)
    some, _ = np.histogram(at_s[marked], edges)
    above = (some > 0) & (_near(some) > allowed * _near(all_of) + 1e-9)
    spans = _joined(edges, above if above.any() else some > allowed * all_of + 1e-9)
    bad_s = np.sort(at_s[marked])  # a step may begin before the first of them
    return tuple((max(start_s, float(bad_s[np.searchsorted(bad_s, start_s)])), stop_s) for start_s, stop_s in spans)


def _near(counts: npt.NDArray[np.int_]) -> Times:
    """Return for each step the sum of the :data:`NEAR` steps about it; at the ends of the run, of the outermost."""
    sums = np.convolve(counts, np.ones(NEAR), "valid")
    return sums[np.clip(np.arange(len(counts)) - NEAR // 2, 0, len(sums) - 1)]


def _thickest(at_s: Times, spans: tuple[Span, ...]) -> float:
    """Return the median of the instants in the span that has the most of them."""
    within = [at_s[(start_s <= at_s) & (at_s <= stop_s)] for start_s, stop_s in spans]
    return float(np.quantile(max(within, key=len, default=at_s), 0.5, method="lower"))


def _joined(edges: Times, marked: npt.NDArray[np.bool_]) -> tuple[Span, ...]:
    """Return the spans of marked steps; touching ones are joined."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(int)))
    return tuple(
        (float(edges[first]), float(edges[stop])) for first, stop in zip(changes[::2], changes[1::2], strict=True)
    )


def _from_to(first_s: float, last_s: float, what: str = "") -> str:
    first, last = instant_text(first_s), instant_text(last_s)
    return f"{what}at {first}" if first == last else f"{what}from {first} to {last}"


# ── counts ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_NOUNS = {
    "dead_lettered": "dead letter",
    "attempts": "attempt",
    "requests": "request to a provider",
    "retries": "retry",
    "deferred": "wait",
    "suppressed": "suppressed notification",
    "opened": "opening of the breaker",
}


def _is_a_count(metric: Sequence[str]) -> bool:
    return metric[-1] in _NOUNS and metric[0] in (*_NOUNS, "breaker")


def _counts(run: PlottedRun, expectation: Expectation, scope: Scope) -> Breach | None:
    at_s, ids = _events(run, scope)
    within = scope.has(at_s)
    at_s, ids = at_s[within], ids[within]
    order = np.argsort(at_s, kind="stable")
    place = math.ceil(expectation.value) - 1 if expectation.op == "<" else math.floor(expectation.value)
    if not 0 <= place < len(at_s):
        return None
    from_s = float(at_s[order[place]])
    noun = _NOUNS[scope.metric[-1]]
    text = f"the {_ordinal(place + 1)} {noun} came at {instant_text(from_s)}, the last at {instant_text(at_s.max())}"
    named = dict.fromkeys(str(ids[at]) for at in order[place:] if ids[at] is not None)
    return Breach(text, ((from_s, scope.to_s),), tuple(named)[:IDS_MAX])


def _events(run: PlottedRun, scope: Scope) -> tuple[Times, npt.NDArray[Any]]:
    name = scope.metric[-1]
    if name == "opened":
        rows = openings(transitions_of(run.breaker, scope.where["breaker"]))
        return rows["time_s"].to_numpy(float), np.full(len(rows), None)
    if name == "dead_lettered":
        rows, column = rows_where(run.dlq, scope.where), "time_s"
        rows = rows[rows["left"] != "redriven"]
    elif name == "deferred":
        rows, column = rows_where(run.deferrals, scope.where), "time_s"
    elif name == "suppressed":
        rows, column = rows_where(run.notifications, scope.where), "finished_at_s"
        rows = rows[rows["outcome"] == "suppressed"]
    else:
        rows, column = rows_where(run.attempts, scope.where), "start_s"
        if name == "requests":
            rows = rows[~rows["refused"]]
        elif name == "retries":
            rows = rows[~are_first(rows)]
    return rows[column].to_numpy(float), rows["id"].to_numpy(object)


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number:,}{ending}"


# ── levels and rates ────────────────────────────────────────────────────────────────────────────────────────────────


def _exceeds(values: npt.NDArray[Any], expectation: Expectation) -> npt.NDArray[np.bool_]:
    return np.asarray(values >= expectation.value if expectation.op == "<" else values > expectation.value, np.bool_)


def _dead_letters(run: PlottedRun, expectation: Expectation, scope: Scope) -> Breach | None:
    rows = rows_where(run.dlq, scope.where)
    left = rows["left_at_s"].dropna().to_numpy(float)
    times = np.concatenate([rows["time_s"].to_numpy(float), left])
    steps = np.concatenate([np.ones(len(rows)), -np.ones(len(left))])
    order = np.argsort(times, kind="stable")
    edges, levels = np.append(times[order], scope.to_s), np.cumsum(steps[order])
    above = _exceeds(levels, expectation)
    if not above.any():
        return None
    spans = _joined(edges, above)
    text = f"more than that {_from_to(spans[0][0], spans[-1][1])}, at most {levels.max():,.0f}"
    first = rows.loc[rows["time_s"] >= spans[0][0], "id"].head(IDS_MAX)
    return Breach(text, spans, tuple(map(str, first)))


def requests_by_second(run: PlottedRun, where: Mapping[str, str]) -> Times:
    """Return how many requests to providers started in each whole second, with hedged copies and interrupted ones."""
    rows, lost = rows_where(run.attempts, where), rows_where(run.interrupted, where)
    rows = rows[~rows["refused"]]
    starts_s = np.concatenate([rows["start_s"].to_numpy(float), lost["start_s"].to_numpy(float)])
    weights = np.concatenate([rows["hedges"].to_numpy(float) + 1, np.ones(len(lost))])
    return np.bincount(starts_s.astype(int), weights, minlength=1).astype(float)


def _busy_seconds(run: PlottedRun, expectation: Expectation, scope: Scope) -> Breach | None:
    counts = requests_by_second(run, scope.where)
    above = _exceeds(counts, expectation)
    if not above.any():
        return None
    spans = _joined(np.arange(len(counts) + 1.0), above)
    at = int(counts.argmax())
    seconds = counted(int(above.sum()), "second")
    text = f"in {seconds}, the first at {instant_text(spans[0][0])}; most at {instant_text(at)}: {counts[at]:,.0f}"
    return Breach(text, spans, most_s=at + 0.5)


def _amplified(run: PlottedRun, expectation: Expectation, scope: Scope) -> Breach | None:
    rows = rows_where(run.attempts, scope.where).sort_values("start_s", kind="stable")
    if rows.empty:
        return None
    edges = np.linspace(scope.from_s, scope.to_s, STEPS + 1)
    attempts, _ = np.histogram(rows["start_s"], edges)
    firsts, _ = np.histogram(rows.drop_duplicates("id")["start_s"], edges)
    above = attempts > expectation.value * np.maximum(firsts, 1)
    if not above.any():
        return None
    spans = _joined(edges, above)
    many = rows["id"].value_counts().head(IDS_MAX)
    text = f"more than that {_from_to(spans[0][0], spans[-1][1])}; one notification took {many.iloc[0]:,} attempts"
    return Breach(text, spans, tuple(map(str, many.index)))


def _open_times(run: PlottedRun, expectation: Expectation, scope: Scope) -> Breach | None:
    rows = transitions_of(run.breaker, scope.where["breaker"])
    opened: dict[Any, float] = {}
    spans = []
    for at_s, after, *one in zip(rows["time_s"], rows["to"], rows["channel"], rows["host"].fillna(""), strict=True):
        since_s = opened.pop(tuple(one), None)
        if since_s is not None:
            spans.append((since_s, float(at_s)))
        if after in OPEN_STATES:
            opened[tuple(one)] = float(at_s)
    spans = sorted([*spans, *((since_s, scope.to_s) for since_s in opened.values())])
    left_s = expectation.value
    for start_s, stop_s in spans:
        if stop_s - start_s > left_s:
            broke_s = start_s + left_s
            return Breach(f"open for that long at {instant_text(broke_s)}", ((broke_s, scope.to_s),))
        left_s -= stop_s - start_s
    return None


def _backlog(run: PlottedRun, expectation: Expectation, scope: Scope) -> Breach | None:
    """Return from when on the backlog of a fault should have been cleared until it was."""
    fault = run.scenario.faults[int(scope.metric[1])]
    cleared_s = run.summary["faults"][scope.metric[1]]["backlog_cleared_s"]
    if fault.ends_at is None:
        return None
    from_s = fault.ends_at + expectation.value
    until_s = end_of(run) if cleared_s is None else fault.ends_at + cleared_s
    after = f"{duration_text(expectation.value)} after the end of the fault at {instant_text(fault.ends_at)}"
    text = f"still there {after}" + ("" if cleared_s is None else f", cleared at {instant_text(until_s)}")
    return Breach(text, ((from_s, until_s),)) if from_s < until_s else None


_Finder = tuple[Callable[[Sequence[str]], bool], Callable[[PlottedRun, Expectation, Scope], "Breach | None"]]
_FINDERS: Iterable[_Finder] = (
    (_is_a_count, _counts),
    (lambda metric: metric[0] == "dlq" and metric[-1] in ("peak", "final"), _dead_letters),
    (lambda metric: metric[-1] == "requests_per_s", _busy_seconds),
    (lambda metric: metric[0] == "retry_amplification", _amplified),
    (lambda metric: metric[-1] == "open_s", _open_times),
    (lambda metric: metric[0] == "faults", _backlog),
)
"""Finders for metrics with an upper bound; the first that knows the metric finds the breach."""
