"""Which of the settings of a scenario matter most to a metric: each is turned alone, a way down and a way up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from actors.errors import ConfigurationError
from simulation.experiments.paired import difference
from simulation.running.executors import Task, figure_at, summary_of
from simulation.scenario import Scenario, parse
from simulation.scenario.metrics import metric_kind
from simulation.studio.comparing import row
from simulation.studio.knobs import groups_hit, knobs
from simulation.studio.splicing import CannotEdit, Splices, edited

SEEDS = 2
"""Of each end, from the scenario's own on."""

WAY = 0.15
"""So much of its slider a setting is turned to each side."""

LABELS = {
    "delivery_time_s.p99": "delivery time, 99 in 100",
    "delivery_time_s.p50": "delivery time, half",
    "dead_lettered": "dead letters",
    "retry_amplification": "attempts for each",
}
"""What pages call the metrics that they rank by."""


def rank(text: str, filename: str, metric: str, is_cancelled: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """Turn each setting of a scenario alone; yield how far it is, and the `rows`, those that matter most first.

    The settings of channels that faults are about are turned first, those of what comes from outside last.

    Each has the setting's `label` and `group`, what it was turned `down` and `up` to, what
    :func:`simulation.studio.comparing.row` says of the metric with one and the other, and as `share` how much it
    matters beside the first, from 0 to 1; beside the difference between never and a time no other counts.

    Args:
        text: of the scenario.
        filename: where it is from.
        metric: by its path in the summary.
        is_cancelled: asked again and again.

    Raises:
        ConfigurationError: the text cannot be used, or has no such metric.
        RunCancelled: it was cancelled.
    """
    scenario = parse(text, filename)
    try:
        metric_kind(scenario.outline, metric)
    except KeyError:
        raise ConfigurationError([f"metric: there is no {metric} in this scenario"]) from None
    turned = [knob for knob in knobs(Splices(text), scenario) if knob["splice"] and knob["path"] != "seed"]
    turned = [knob for knob in turned if knob["kind"] != "choice"]
    hit = groups_hit(scenario)
    turned.sort(key=lambda knob: (knob["group"] not in hit, not knob["group"].startswith("Channel")))
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
        value = 0.0 if effect is None or effect.value is None else abs(effect.value)
        found.append((value, {**row(scenario, metric, low, high), **_named(knob, down, up)}))
        found.sort(key=lambda each: -each[0])
        most = found[0][0]
        rows = [{**each, "share": most and (1 if value == most else value / most)} for value, each in found]
        yield {"done": done, "of": len(turned), "metric": LABELS.get(metric, metric), "rows": rows}


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
