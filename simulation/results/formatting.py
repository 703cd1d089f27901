"""Results of runs in words: metrics with their units, and the one line that a notebook shows of an object."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from actors.formatting import NOTHING as NOTHING, counted, duration_text as duration_text, plain_number
from simulation.scenario.metrics import DURATIONS, NEVER, MetricKind
from simulation.sheets import Kind, cell_text

if TYPE_CHECKING:
    from simulation.scenario import Scenario


def line(kind: str, scenario: str, facts: Iterable[str]) -> str:
    """Return the line of an object: the names of its class and of its scenario or subject, and the facts."""
    return f"<{kind} of {scenario!r}: {', '.join(facts)}>"


def line_of_run(kind: str, summary: Mapping[str, Any]) -> str:
    """Return the line of a result of one run from its summary alone: no table is made for it."""
    expectations = summary["expectations"]
    failing = sum(expectation["holds"] is False for expectation in expectations)
    undecided = sum(expectation["holds"] is None for expectation in expectations)
    if not expectations:
        result = "no expectations"
    elif failing:
        result = f"{failing} of {counted(len(expectations), 'expectation')} not met"
    elif undecided:
        result = f"{undecided} of {counted(len(expectations), 'expectation')} undecided, others met"
    else:
        result = f"{counted(len(expectations), 'expectation')} met"
    sent = f"{summary['sent']:,} of {counted(summary['accepted'], 'notification')} sent"
    return line(kind, summary["scenario"], [f"seed {summary['seed']}", str(summary["runtime"]), sent, result])


_WHY_UNHANDLED = "by an own actor, which raised or ended first"


def refusals_text(refused: Mapping[str, int], scenario: Scenario) -> str:
    """Return why arrivals were refused, with how many for each cause; empty where none was."""
    causes = {"down": _why_down(scenario), "overloaded": "for lack of room", "unhandled": _WHY_UNHANDLED}
    return ", ".join(f"{count:,} {causes[cause]}" for cause, count in refused.items() if count)


def fate_text(delivered: bool) -> str:
    return "delivered all the same" if delivered else "not known to be delivered"


def _why_down(scenario: Scenario) -> str:
    if not scenario.has_partitions:
        if scenario.crashes_as_a_whole or scenario.nodes_at_most > 1:
            return "as the process was down or died" if scenario.may_end_accepting else "while the process was down"
        return "not accepted by the end of the run"
    return f"at nodes that {'were down or ' * scenario.crashes_as_a_whole}did not reach their store"


def seeds_text(seeds: Sequence[int]) -> str:
    """Return seeds that follow one another: ``seed 7``, ``seeds 7 to 11``."""
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


LABEL_MAX = 34
"""Longer names of settings are numbered, so that a table of them fits eighty columns."""


def amplification_text(value: float | None) -> str:
    return NOTHING if value is None else f"×{value:.2f}"


def quantile(figures: Mapping[str, Any], name: str) -> float | None:
    """Return a quantile of the delivery times among the metrics of a summary, such as p99, in seconds.

    It is infinite where it is never, and None where nothing was offered.
    """
    times = figures["delivery_time_s"]
    return math.inf if times[name] is None and times[NEVER] else times[name]


def quantile_text(figures: Mapping[str, Any], name: str) -> str:
    return cell_text(quantile(figures, name), Kind.DURATION)


def value_text(expectation: Mapping[str, Any], number: Callable[[float], str]) -> str:
    """Return the value of an expectation of a summary in text, a number as `number` writes it."""
    if expectation["value"] is None:
        return NEVER if expectation.get("never") else NOTHING
    return number(expectation["value"])


def never_text(never: int, runs: int) -> str:
    """Return in how many runs a metric is never: ``never in 3 of 20``; nothing if in none."""
    return f"{NEVER} in {never:,} of {runs:,}" if never else ""


def mean_count_text(count: float) -> str:
    """Return how many there are on average: whole from 10 on, with two digits below."""
    return f"{count:,.0f}" if count >= 10 else f"{count:.2g}"


def metric_text(value: float, kind: MetricKind, digits: int = 4) -> str:
    """Return a metric of at least 0 as suits its kind; a metric without a unit gets so many digits."""
    if math.isinf(value):
        return NEVER
    if kind in DURATIONS:
        return duration_text(value)
    if kind is MetricKind.SHARE:
        return f"{value:.5f}"
    return plain_number(value, digits)
