"""Searches for the settings of a scenario that are best by a metric, among those that meet its expectations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from actors.errors import ConfigurationError, RunCancelled
from simulation.experiments.tuning.tune import tune
from simulation.experiments.tuning.tuning import Tuning
from simulation.results.formatting import NOTHING, metric_text
from simulation.results.progress import FinishedCell
from simulation.running.sequential_test import Decision
from simulation.scenario import Scenario, parse
from simulation.scenario.metrics import metric_kind
from simulation.studio.comparing import is_small
from simulation.studio.knobs import knobs
from simulation.studio.ranking import LABELS
from simulation.studio.splicing import CannotEdit, Splices, edited

TRIALS = 24
REPLICATES = 4
PROBABILITY = CONFIDENCE = 0.9
"""A page wants an answer within minutes: `retrylab tune` tries twice as many settings, and asks for 95%."""

SEARCHED = (
    "circuit_breaker.failure_threshold",
    "circuit_breaker.timeout",
    "circuit_breaker.resume_rate",
    "retry.max_attempts",
    "retry.initial_delay",
    "retry.max_delay",
    "timeout",
    "max_in_flight",
)
"""The settings of a channel that are searched: so few trials would say little of more of them."""


def search(
    text: str,
    filename: str,
    metric: str,
    channel: str,
    tell: Callable[[dict[str, Any]], None],
    is_cancelled: Callable[[], bool],
) -> None:
    """Search settings of a channel with :func:`simulation.tune`, over the numbers at which their sliders stop.

    Each document passed to `tell` has `done` and `of`, the finished runs and the estimate of all, the metric with the
    `best` settings so far, as text (empty: there are none), and as `result` None. The last one has the `result` of
    :func:`_result`. Each has as `rows` the settings that differ from before, with `path`, `label`, and the values `was`
    and `now`, and as `tuned` the text with them; None where there are none, or they cannot be changed in place.
    Documents before the last one are not confirmed.

    Raises:
        ConfigurationError: the text cannot be used, or has no such metric or channel, or none of the settings.
        RunCancelled: it was cancelled.
    """
    scenario = parse(text, filename)
    searched = _searched(text, scenario, f"channels.{channel}.")
    name = LABELS.get(metric, metric)
    vary = {path: list(dict.fromkeys([*knob["stops"], knob["value"]])) for path, knob in searched.items()}
    best, own, so_far = math.inf, None, _changes({}, text, searched)

    def progress(done: int, of: int, cell: FinishedCell | None = None) -> None:
        nonlocal best, own, so_far
        if is_cancelled():
            raise RunCancelled("cancelled between two runs")
        if cell is not None and (value := cell.figures[metric]) is not None and value < best:
            own = own if cell.settings else value
            best, so_far = value, _changes({} if _gains_little(own, value) else cell.settings, text, searched)
        shown = "" if best == math.inf else _text(scenario, metric, best)
        tell({"done": done, "of": of, "best": shown, "metric": name, "result": None, **so_far})

    found = tune(
        scenario.model_copy(update={"record": "aggregates"}),
        vary,
        minimize=[metric],
        probability=PROBABILITY,
        confidence=CONFIDENCE,
        trials=TRIALS,
        replicates=REPLICATES,
        progress=progress,
    )
    trial, result = found.best or found.nearest, _result(found, scenario)
    stays = result["gains_little"] or trial is found.baseline
    turned = [knob["label"] for knob in searched.values()]
    tell(
        {
            "metric": name,
            "result": result,
            "turned": turned,
            **_changes({} if stays else dict(trial.setting.values), text, searched),
        }
    )


def _searched(text: str, scenario: Scenario, channel: str) -> dict[str, dict[str, Any]]:
    found = {
        knob["path"]: knob
        for knob in knobs(Splices(text), scenario)
        if knob["splice"] and knob["path"].startswith(channel) and knob["path"].removeprefix(channel) in SEARCHED
    }
    if not found:
        raise ConfigurationError(["There are no settings of this channel that can be changed in place."])
    return found


def _result(tuning: Tuning, scenario: Scenario) -> dict[str, Any]:
    """Return the result of a search, for a template.

    `is_found` says whether it meets the expectations, in `held` of `runs` runs that were not part of the search where
    it does; else it is the nearest setting. `was` and `now` are the metric before and with it, as text. `gains_little`
    says that the settings of before meet the expectations as well, and :func:`_gains_little` by others.
    """
    trial, [objective] = tuning.best or tuning.nearest, tuning.goal.objectives
    runs, holds = tuning.runs_of(trial), tuning.baseline.decision is Decision.CONFIRMED
    was, now = (tuning.value(each, objective) for each in (tuning.baseline, trial))
    return {
        "is_found": bool(tuning.found),
        "expects": bool(tuning.goal.expectations),
        "share": PROBABILITY,
        "held": tuning.held(runs),
        "runs": len(runs),
        "tried": len(tuning.trials),
        "was": _text(scenario, objective.metric, was),
        "now": _text(scenario, objective.metric, now),
        "gains_little": trial is not tuning.baseline and holds and _gains_little(was, now),
    }


def _gains_little(was: float | None, now: float | None) -> bool:
    """Return whether a metric is not better than before, or by so little that nobody changes settings for it."""
    return was is not None and now is not None and (now >= was or is_small(was - now, was))


def _changes(settings: Mapping[str, Any], text: str, searched: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    rows = [
        {"path": path, "label": knob["label"], "was": knob["value"], "now": value}
        for path, knob in searched.items()
        if path in settings and (value := str(settings[path])) != knob["value"]
    ]
    return {"rows": rows, "tuned": _tuned(text, rows)}


def _tuned(text: str, rows: Sequence[Mapping[str, Any]]) -> str | None:
    if not rows:
        return None
    try:
        for row in rows:
            text = edited(text, tuple(row["path"].split(".")), row["now"])
    except CannotEdit:
        return None
    return text


def _text(scenario: Scenario, metric: str, value: float | None) -> str:
    return NOTHING if value is None else metric_text(value, metric_kind(scenario.outline, metric))
