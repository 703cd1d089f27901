"""The results of expectations in words: the value, the bound, how far it is, and on which side."""

from __future__ import annotations

from typing import NamedTuple

from actors.formatting import plain_number
from simulation.results.formatting import duration_text
from simulation.results.result import RunResult
from simulation.running.deciding import decision_text
from simulation.scenario import Expectation
from simulation.scenario.metrics import DURATIONS, NEVER, MetricKind, metric_kind, path_of

_WANTED = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than", "==": "", "!=": "other than"}


_UNMEASURED = "there was nothing to measure"


def verdict(expectation: Expectation, result: RunResult, value: float | None) -> str:
    """Return the value and the wanted one in a few words: ``is 3.02 min, wanted at most 60 s``."""
    if value is None and not expectation.is_never(result.summary):
        return f"has no value: {_UNMEASURED}"
    words = wording(result, expectation, value)
    return f"is {words.value}, wanted {words.wanted}"


class Wording(NamedTuple):
    value: str
    """The value of the metric."""

    wanted: str
    """The wanted value."""

    off: str | None
    """How far the value is from the bound, and on which side: ``2.02 min over, 3 times as much``, ``0.7 points to
    spare``; None where there is no value, or it is at the bound."""

    def __str__(self) -> str:
        return f"is {self.value}{f', {self.off}' if self.off else ''}"


def wording(result: RunResult, expectation: Expectation, value: float | None) -> Wording:
    kind = metric_kind(result.scenario.outline, path_of(expectation.path))
    wanted = expectation.value
    if value is None:
        nothing = NEVER if expectation.is_never(result.summary) else f"unknown: {_UNMEASURED}"
        return Wording(nothing, f"{_WANTED[expectation.op]} {with_unit(wanted, kind)}".lstrip(), None)
    value_text, wanted_text = with_unit(value, kind), with_unit(wanted, kind)
    if value_text == wanted_text and value != wanted:
        value_text, wanted_text = (with_unit(each, kind, exact=True) for each in (value, wanted))
    off = distance_text(expectation, value, kind)
    return Wording(value_text, f"{_WANTED[expectation.op]} {wanted_text}".lstrip(), off)


def with_unit(value: float, kind: MetricKind, *, exact: bool = False) -> str:
    """Return a metric with its unit; with nine digits where it is to be exact."""
    if kind in DURATIONS:
        return f"{plain_number(value, 9)} s" if exact else duration_text(value)
    if kind is MetricKind.SHARE:
        return f"{plain_number(100 * value, 9 if exact else 4)}%"
    unit = {MetricKind.PER_SECOND: "/s", MetricKind.PER_MINUTE: "/min"}.get(kind, "")
    return plain_number(value, 9 if exact else 6) + unit


def distance_text(expectation: Expectation, value: float, kind: MetricKind) -> str | None:
    """Return how far a value is from a bound, and on which side; None where it is at the bound, or may be anywhere."""
    wanted = expectation.value
    apart, holds = abs(value - wanted), expectation.holds_of(value)
    if not apart or (holds and expectation.op == "!="):
        return None
    if kind is MetricKind.SHARE:
        amount = f"{plain_number(100 * apart, 2)} point{'s'[: round(100 * apart, 6) != 1]}"
    else:
        amount = with_unit(float(f"{apart:.3g}") if kind is not MetricKind.COUNT else apart, kind)
    if holds:
        return f"{amount} to spare"
    times = f", {_two_digits(value / wanted)} times as much" if wanted > 0 and value / wanted >= 2 else ""
    return f"{amount} {'over' if value > wanted else 'short'}{times}"


class ExpectationResult(NamedTuple):
    text: str
    """The expectation, as it was written."""

    holds: bool | None
    """None: undecided."""

    words: Wording

    decided: str
    """The result of the replicates in words; empty where there are none, and none are needed."""

    @property
    def mark(self) -> tuple[str, str]:
        """How the result is drawn, and the result in a word."""
        return {True: ("fine", "holds"), False: ("bad", "fails"), None: ("off", "undecided")}[self.holds]


def in_words(result: RunResult) -> list[ExpectationResult]:
    """Return the result of each expectation of a run, in the order of the file."""
    return [
        ExpectationResult(
            expectation.text,
            outcome["holds"],
            wording(result, expectation, outcome["value"]),
            decision_text(expectation, outcome),
        )
        for expectation, outcome in zip(result.scenario.expect, result.summary["expectations"], strict=True)
    ]


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
