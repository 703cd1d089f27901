"""How two texts of a scenario compare on the same seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from actors.errors import ConfigurationError
from simulation.experiments.comparison import METRICS
from simulation.experiments.paired import difference, over_runs
from simulation.results.formatting import NOTHING, metric_text
from simulation.running.executors import Task, figure_at, summary_of
from simulation.scenario import Scenario, parse
from simulation.scenario.metrics import metric_kind

REPLICATES_MAX = 100

SMALL = 0.01
"""A difference of less than this share of the value before may be real, but is not worth a look."""


def compare(
    texts: Sequence[str], filename: str, replicates: int, is_cancelled: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """Run two scenarios with consecutive seeds, from the first one's own on; yield the progress, and a table.

    Each row of the `table` has the `metric`, its values `before` and `after` as text, the `difference` with its
    interval, whether that `differs` by more than chance explains, and whether it `is_small` beside the value before, or
    nothing at all: `is_same`.

    Raises:
        ConfigurationError: a text cannot be used, or there are too many seeds.
        RunCancelled: it was cancelled.
    """
    if not 2 <= replicates <= REPLICATES_MAX:
        raise ConfigurationError([f"replicates: wanted 2 to {REPLICATES_MAX}, got {replicates}"])
    scenarios = [parse(text, filename).model_copy(update={"record": "aggregates"}) for text in texts]
    paths = _metrics(scenarios)
    values: list[dict[str, list[float | None]]] = [{path: [] for path in paths} for _ in texts]
    first = scenarios[0].seed
    for seed in range(first, first + replicates):
        for scenario, found in zip(scenarios, values, strict=True):
            summary = summary_of(Task(scenario, seed), cancelled=is_cancelled)
            for path in paths:
                found[path].append(figure_at(summary, path))
        done = seed - first + 1
        if done > 1:
            yield {
                "done": done,
                "of": replicates,
                "table": [row(scenarios[0], path, values[0][path], values[1][path]) for path in paths],
            }


def _metrics(scenarios: Sequence[Scenario]) -> list[str]:
    expected = [".".join(each.path) for scenario in scenarios for each in scenario.expect if each.window is None]
    common = [name for name in scenarios[0].breakers if name in scenarios[1].breakers][:6]
    breakers = [f"breaker.{name}.{key}" for name in common for key in ("opened", "open_s")]
    found = []
    for path in dict.fromkeys([*METRICS, *expected, *breakers]):
        try:
            for scenario in scenarios:
                metric_kind(scenario.outline, path)
        except KeyError:
            continue
        found.append(path)
    return found


def row(scenario: Scenario, path: str, before: Sequence[float | None], after: Sequence[float | None]) -> dict[str, Any]:
    """Return how a metric compares between runs with the same seeds, as plain data for a table.

    Between never and a time there is no difference in seconds. A difference `agrees` if it is to one side with every
    seed. None stands where there was nothing to measure.
    """
    kind = metric_kind(scenario.outline, path)
    has_never = math.inf in (*before, *after)
    found = difference(after, before, by_median=has_never)
    middle, middle_after = (over_runs(path, each, by_mean=not has_never).middle for each in (before, after))

    def text(value: float | None) -> str:
        if value is None or value != value:
            return NOTHING
        return metric_text(value, kind) if value >= 0 else f"−{metric_text(-value, kind)}"

    ends = [] if found is None else [each for each in (found.low, found.high) if each is not None]
    is_finite = found is not None and found.value is not None and math.isfinite(found.value)
    was, now, differs = text(middle), text(middle_after), bool(found and found.excludes_0)
    return {
        "metric": path,
        "before": was,
        "after": now,
        "difference": _signed(text(found.value)) if found is not None and is_finite else NOTHING,
        "interval": " to ".join(map(text, ends)) if all(map(math.isfinite, ends)) else "",
        "differs": differs,
        "agrees": bool(found and found.pairs and found.pairs in (found.more, found.less)),
        "is_same": was == now and not differs,
        "is_small": bool(found and middle and found.value is not None and is_small(found.value, middle)),
    }


def is_small(difference: float, before: float) -> bool:
    """Return whether a difference is less than the share :data:`SMALL` of the value before."""
    return abs(difference) < SMALL * abs(before)


def _signed(text: str) -> str:
    return text if text.startswith(("−", NOTHING)) or text.strip("0. s") == "" else f"+{text}"
