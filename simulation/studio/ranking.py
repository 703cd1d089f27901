"""Which of the settings of a scenario matter most to a metric: each is turned alone, a way down and a way up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from actors.errors import ConfigurationError
from simulation.experiments.paired import Difference, difference
from simulation.running.executors import Task, figure_at, summary_of
from simulation.scenario import Scenario, parse
from simulation.scenario.metrics import metric_kind
from simulation.studio.comparing import row
from simulation.studio.knobs import groups_hit, is_own, knobs
from simulation.studio.splicing import CannotEdit, Splices, edited

SEEDS = 2
"""Of each end, from the scenario's own on."""

WAY = 0.15
"""The share of its slider by which a setting is turned to each side."""

LABELS = {
    "delivery_time_s.p99": "delivery time, 99 in 100",
    "delivery_time_s.p50": "delivery time, half",
    "dead_lettered": "dead letters",
    "retry_amplification": "retry amplification",
}
"""The names of the metrics that pages rank by."""


def rank(text: str, filename: str, metric: str, is_cancelled: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """Turn each setting of a scenario alone; yield the progress, and the `rows`, those that matter most first.

    Only settings that the sender decides are turned, first those of channels with faults.

    Each row has the setting's `label` and `group`, the values `down` and `up` that it was turned to, the metric with
    each by :func:`simulation.studio.comparing.row`, whether it `is_never` with one and a time with the other, and its
    `share` of the largest move of the metric, from 0 to 1; a metric that becomes never has the share 1.

    Raises:
        ConfigurationError: the text cannot be used, or has no such metric.
        RunCancelled: it was cancelled.
    """
    scenario = parse(text, filename)
    try:
        metric_kind(scenario.outline, metric)
    except KeyError:
        raise ConfigurationError([f"metric: there is no {metric} in this scenario"]) from None
    turned = [
        knob
        for knob in knobs(Splices(text), scenario)
        if knob["splice"] and knob["kind"] != "choice" and is_own(knob["path"])
    ]
    if not turned:
        raise ConfigurationError(["There are no settings of a channel here that can be turned in the text."])
    hit = groups_hit(scenario)
    turned.sort(key=lambda knob: knob["group"] not in hit)
    found: list[tuple[float, dict[str, Any]]] = []
    for done, knob in enumerate(turned, 1):
        down, up = _ends(knob)
        try:
            texts = [edited(text, tuple(knob["path"].split(".")), value) for value in (down, up)]
            scenarios = [parse(each, filename) for each in texts]
        except (CannotEdit, ConfigurationError):  # as of attempts that are fewer than another setting needs
            continue
        low, high = ([_figure(each, seed, metric, is_cancelled) for seed in _seeds(scenario)] for each in scenarios)
        effect = difference(high, low)
        found.append((_moves(effect), {**row(scenario, metric, low, high), **_named(knob, down, up)}))
        found.sort(key=lambda each: -each[0])
        most = max((value for value, _ in found if value < math.inf), default=0.0) or 1.0
        rows = [{**each, "share": min(1.0, value / most), "is_never": value == math.inf} for value, each in found]
        yield {"done": done, "of": len(turned), "metric": LABELS.get(metric, metric), "rows": rows}


def _moves(effect: Difference | None) -> float:
    """Return how far a metric moves; infinitely far between a time and never, with whichever seed."""
    if effect is None:
        return 0.0
    return math.inf if effect.mean is None and effect.more + effect.less else abs(effect.value or 0.0)


def _seeds(scenario: Scenario) -> range:
    return range(scenario.seed, scenario.seed + SEEDS)


def _figure(scenario: Scenario, seed: int, metric: str, is_cancelled: Callable[[], bool]) -> float | None:
    of_counts = scenario.model_copy(update={"record": "aggregates"})
    return figure_at(summary_of(Task(of_counts, seed), cancelled=is_cancelled), metric)


def _ends(knob: dict[str, Any]) -> Sequence[str]:
    stops, at = knob["stops"], knob["at"]
    way = max(1, round(WAY * len(stops)))
    return stops[max(0, at - way)], stops[min(len(stops) - 1, at + way)]


def _named(knob: dict[str, Any], *ends: str) -> dict[str, str]:
    words = {"true": "on", "false": "off"} if knob["kind"] == "switch" else {}
    down, up = (words.get(each, each) for each in ends)
    return {"label": knob["label"], "group": knob["group"], "down": down, "up": up}
