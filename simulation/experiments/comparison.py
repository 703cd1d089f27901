"""Two or more settings on the same seeds: the metrics of each, and how sure their differences are.

Every setting runs with the same seeds, and every part of a run draws from a stream of its own, so that arrivals,
latencies and failures are equal in all settings as far as the setting leaves them alone (*common random numbers*). The
differences are then taken seed by seed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.errors import ConfigurationError
from actors.formatting import counted
from simulation.experiments.paired import (
    CONFIDENCE,
    Difference,
    OverRuns,
    Precision,
    difference,
    finite,
    over_runs,
    pairs_text,
)
from simulation.experiments.sweeping.result import setting_column
from simulation.experiments.sweeping.sweep import Done, Plan, grid
from simulation.results.files import folder_to_fill
from simulation.results.formatting import LABEL_MAX, NOTHING, line, metric_text, never_text, seeds_text
from simulation.results.progress import Interrupted
from simulation.running.replicates import Values, checked_metrics
from simulation.scenario import Scenario
from simulation.scenario.arguments import check_counts, seeds_of
from simulation.scenario.metrics import MetricKind, metric_kind
from simulation.scenario.ranges import RUNS_MAX
from simulation.scenario.space import Setting, load_all, space
from simulation.scenario.writing import file_of
from simulation.sheets import Column, Kind, Row, Sheet, notebook

if TYPE_CHECKING:
    import pandas as pd

DOCUMENT = "comparison.json"

COMBINATIONS_MAX = 1_000

METRICS = (
    "offered",
    "delivered",
    "sent_fraction",
    "dead_lettered",
    "attempts",
    "retry_amplification",
    "delivery_time_s.p50",
    "delivery_time_s.p99",
    "delivery_time_s.never",
    "dlq.peak",
)
"""The metrics that are compared by default, beside how often each breaker opens and for how long it is open."""


def compare(
    path: str | Path | Scenario,
    vary: Mapping[str, Any],
    *,
    replicates: int = 10,
    within: Mapping[str, float | str] | None = None,
    seed: int | None = None,
    metrics: Sequence[str] | None = None,
    sets: Sequence[str] = (),
    workers: int | None = 1,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Run a scenario with every combination of settings, each with the same seeds, and return how they compare.

    Args:
        path: the scenario's file; or a scenario, as :func:`simulation.parse` returns it.
        vary: the values to try for each path into the scenario, such as
            ``{"channels.email.retry.jitter": ["none", "full"]}``, or a range of them with its steps; the first of each
            is the baseline.
        replicates: how many runs of each combination, with the seeds `seed`, `seed` + 1 and so on; at least 1, and
            two for an interval. With `within`, at most so many.
        within: by the path of a metric, how far the ends of its intervals, those of the differences to the baseline,
            may be from their middles, such as ``{"sent_fraction": "0.1%"}``: runs are added, ten first, until all are
            so narrow. See :class:`simulation.experiments.paired.Precision`.
        seed: the first seed; the scenario's own when None.
        metrics: of the summary, by path; :data:`METRICS` and those of the breakers when None.
        sets: ``path=value`` changes to the file that hold for every combination.
        workers: how many processes share the runs; all cores when None. The result is the same for any number. A script
            that asks for more than one is imported by each, so what it does belongs under
            ``if __name__ == "__main__":``.
        out: a folder for the results, and for the runs that have finished; those that it has already are not done
            again. Nothing is kept when None.
        progress: called with how many runs have finished, and of how many; first with 0, or with those that are kept.

    Example:
        >>> compared = simulation.compare(
        ...     "scenarios/flapping-provider.yaml",
        ...     {"channels.sms.retry.max_attempts": [1, 8]},
        ...     replicates=3,
        ...     metrics=["sent_fraction"],
        ...     sets=["duration=2m"],
        ... )
        >>> compared.table[["setting", "mean", "excludes_0"]].round(3).values.tolist()
        [['max_attempts=1', 0.995, False], ['max_attempts=8', 1.0, True]]

    Raises:
        ConfigurationError: the file, a path, a value, a metric or the folder cannot be used; all problems.
        InvariantBreach: a run broke an invariant that always holds: a bug.
        OSError: the folder cannot be written.
        ValueError: `replicates` or `workers` is less than 1.
        WorkerLost: a process that did runs is gone; the finished runs are kept in `out`.
    """
    with file_of(path) as file:
        comparison = run_settings(file, vary, replicates, within, seed, metrics, sets, workers, out, progress)
    if out is not None:
        save_comparison(comparison, out)
    return comparison


def run_settings(
    path: str | Path,
    vary: Mapping[str, Any],
    replicates: int,
    within: Mapping[str, float | str] | None,
    seed: int | None,
    metrics: Sequence[str] | None,
    sets: Sequence[str],
    workers: int | None,
    out: str | Path | None,
    progress: Callable[[int, int], None] | None,
    announce: Callable[[Sequence[Scenario]], None] | None = None,
) -> Comparison:
    """Do the runs of a comparison that have not finished yet, keep them in `out`, and return how the settings compare.

    See :func:`compare` for the arguments and errors; `announce` is called with the runs to be done.
    """
    check_counts(replicates=replicates, workers=workers)
    varied = space(vary) if vary else {}
    settings = grid(varied, most=COMBINATIONS_MAX) if vary else []
    if len(settings) < 2:
        raise ConfigurationError(
            ["--vary: wanted two values to compare, such as channels.email.retry.jitter=none,full"]
        )
    most = len(settings) * replicates
    if most > RUNS_MAX:
        raise ConfigurationError([f"--replicates: wanted at most {RUNS_MAX:,} runs in all"])
    scenarios = load_all(path, settings, sets, seed)
    _check_all_differ(settings, scenarios)
    precision = Precision.of(within, scenarios, "--within")
    paths = checked_metrics(metrics, scenarios, "--metric") if metrics is not None else _default_metrics(scenarios)
    paths = tuple(dict.fromkeys((*paths, *precision.half_widths)))
    seeds = seeds_of(scenarios[0].seed, replicates)
    plan = Plan(path, scenarios[0], varied, settings, seeds, scenarios, precision, sets)

    everything = range(len(settings))

    def found_of(done: Done, cells: Sequence[int]) -> Comparison:
        values: dict[str, list[Values]] = {path: [done.values(cell, path) for cell in cells] for path in paths}
        if metrics is None:
            values = {metric: runs for metric, runs in values.items() if not _is_idle_breaker(metric, runs)}
        return Comparison(scenarios[0], [settings[each] for each in cells], list(done.seeds), values, done.notes)

    if announce is not None:
        announce(scenarios)
    try:
        done = plan.do(
            min(most, workers) if workers else workers,
            None,
            out,
            DOCUMENT,
            None if progress is None else lambda finished, of, _=None: progress(finished, of),
            lambda done, metric: differences_of([done.values(cell, metric) for cell in everything])[1:],
        )
    except Interrupted as stopped:
        if len(whole := stopped.so_far.complete()) < 2:
            raise KeyboardInterrupt from None
        raise Interrupted(found_of(stopped.so_far, whole)) from None
    return found_of(done, everything)


def differences_of(of_setting: Sequence[Values]) -> list[Difference | None]:
    """Return for each setting the difference to the first; None for that itself, and where no pair has both. They are
    means, or medians where the metric is never in a run of any of the settings."""
    has_never = _has_never(of_setting)
    return [None, *(difference(runs, of_setting[0], by_median=has_never) for runs in of_setting[1:])]


def _has_never(of_setting: Sequence[Values]) -> bool:
    return any(math.inf in runs for runs in of_setting)


class Comparison:
    """How the settings of a scenario compare. The first setting is the baseline."""

    def __init__(
        self,
        scenario: Scenario,
        settings: list[Setting],
        seeds: list[int],
        values: dict[str, list[Values]],
        notes: Sequence[str] = (),
    ) -> None:
        self.scenario = scenario
        self.settings = settings
        self.seeds = seeds
        self.values = values
        """By metric, for each setting, its value in each run; infinite where it is never."""
        self.notes = tuple(notes)
        """A line for each interval that is wider than was wanted."""
        self.over_runs: dict[str, list[OverRuns]] = {
            metric: [over_runs(metric, runs, by_mean=not _has_never(of_setting)) for runs in of_setting]
            for metric, of_setting in values.items()
        }
        """By metric, for each setting: its mean, or the median of a metric that is never in some run."""
        self.differences: dict[str, list[Difference | None]] = {
            metric: differences_of(of_setting) for metric, of_setting in values.items()
        }
        """By metric, for each setting, to the baseline; None for the baseline itself, and where no pair has both."""

    def __repr__(self) -> str:
        facts = [seeds_text(self.seeds), counted(len(self.settings), "setting"), counted(len(self.values), "metric")]
        return line("Comparison", self.scenario.name, facts)

    def _repr_html_(self) -> str:
        return notebook(self.sheet)

    @property
    def sheet(self) -> Sheet:
        """How the settings compare: a row for each metric and setting."""
        labels = [setting.label for setting in self.settings]
        said: list[str] = []
        if max(map(len, labels)) > LABEL_MAX:
            said = [f"#{number}  {label}" for number, label in enumerate(labels, start=1)]
            labels = [f"#{number}" for number in range(1, len(labels) + 1)]
        columns = (Column(""), Column("mean", Kind.NUMBER), Column("difference", Kind.NUMBER), Column(""))
        about = f"{seeds_text(self.seeds)} · {len(self.settings)} settings on the same seeds"
        rows = list(self._rows(labels))
        return Sheet(self.scenario.name, columns, rows, list(self._how_to_read()), said, self.notes, about)

    def _rows(self, labels: Sequence[str]) -> Iterator[Row]:
        for metric, of_setting in self.over_runs.items():
            kind, runs = self.figure(metric), len(self.seeds)
            yield Row((metric, "median" if _has_never(self.values[metric]) else "", "", ""), "heading")
            for label, over, found in zip(labels, of_setting, self.differences[metric], strict=True):
                difference, *notes = _difference_cells(found, kind, runs)
                never = never_text(over.never, over.n)
                notes += [f"({never})"] if never else []
                middle = None if over.middle is None else metric_text(over.middle, kind)
                yield Row((label, middle, difference, " ".join(filter(None, notes))), "part")

    def _how_to_read(self) -> Iterator[str]:
        if len(self.seeds) > 1:
            yield "± 95% confidence, Student's t over the differences by seed; *: excludes 0"
            found = [one for of_setting in self.differences.values() for one in of_setting if one is not None]
            if any(one.mean is None for one in found):
                yield "of what is never in a run: medians, also of the differences, and * by the sign test"

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each metric and setting: its mean, or the `median` of a metric that is never in some run, the
        number of runs in which it is `never`, and the difference to the baseline with its interval. A metric that is
        never is infinite; see :func:`simulation.experiments.paired.difference`."""
        import pandas as pd

        rows = []
        for metric, of_setting in self.over_runs.items():
            for number, (setting, over) in enumerate(zip(self.settings, of_setting, strict=True)):
                found = self.differences[metric][number]
                rows.append(
                    {
                        "metric": metric,
                        "setting": setting.label,
                        **dict(setting.values),
                        "runs": over.n,
                        "never": over.never,
                        "mean": over.mean,
                        "median": over.median,
                        "pairs": found.pairs if found else 0,
                        "more": found.more if found else 0,
                        "less": found.less if found else 0,
                        "difference": found.value if found else None,
                        "low": found.low if found else None,
                        "high": found.high if found else None,
                        "excludes_0": bool(found and found.excludes_0),
                    }
                )
        frame = _typed(pd.DataFrame(rows), self.settings)
        numbers = ["mean", "median", "difference", "low", "high"]
        return frame.astype(dict.fromkeys(numbers, "float64"))

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run: its setting, its seed and its metrics; a metric that is never is infinite."""
        import pandas as pd

        rows = [
            {
                "setting": setting.label,
                **dict(setting.values),
                "seed": seed,
                **{metric: values[number][run] for metric, values in self.values.items()},
            }
            for number, setting in enumerate(self.settings)
            for run, seed in enumerate(self.seeds)
        ]
        return _typed(pd.DataFrame(rows), self.settings).astype(dict.fromkeys(self.values, "float64"))

    @property
    def document(self) -> dict[str, Any]:
        """The comparison as a plain dict that is also the JSON document, in which null stands for never too."""
        return {
            "scenario": self.scenario.name,
            "seeds": self.seeds,
            "confidence": CONFIDENCE,
            "notes": list(self.notes),
            "settings": [dict(setting.values) for setting in self.settings],
            "metrics": {
                metric: [
                    {
                        **_over_runs_as_dict(self.over_runs[metric][number], self.figure(metric)),
                        "values": [finite(value) for value in runs],
                        "difference": _as_dict(self.differences[metric][number]),
                    }
                    for number, runs in enumerate(of_setting)
                ]
                for metric, of_setting in self.values.items()
            },
        }

    def figure(self, metric: str) -> MetricKind:
        return metric_kind(self.scenario.outline, metric)


def save_comparison(comparison: Comparison, directory: str | Path) -> list[Path]:
    """Write `comparison.json` and the tables as Parquet into a directory; return the paths.

    Raises:
        ConfigurationError: the directory has the results of another kind of command.
        OSError: it, or a file in it, cannot be written.
    """
    directory = folder_to_fill(directory, DOCUMENT, None)
    written = [directory / DOCUMENT, directory / "comparison.parquet", directory / "runs.parquet"]
    comparison.table.to_parquet(written[1], index=False)
    comparison.runs.to_parquet(written[2], index=False)
    written[0].write_text(json.dumps(comparison.document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return written


def _difference_cells(found: Difference | None, kind: MetricKind, replicates: int) -> tuple[str, str]:
    if found is None:
        return "", ""
    value = found.value
    if not found.more and not found.less:
        difference, interval = "same", ""
    else:
        difference = NOTHING if value is None else ("-" if value < 0 else "+") + metric_text(abs(value), kind, 3)
        if found.mean is None:
            interval = pairs_text(found)
        else:
            interval = "" if found.half_width is None else f"± {metric_text(found.half_width, kind, 3)}"
    if found.excludes_0:
        interval += " *"
    if found.pairs < replicates:
        interval += f" ({found.pairs} of {replicates} pairs)"
    return difference, interval.strip()


def _typed(frame: pd.DataFrame, settings: Sequence[Setting]) -> pd.DataFrame:
    return frame.assign(**{path: setting_column(frame[path]) for path, _ in settings[0].values})


def _as_dict(found: Difference | None) -> dict[str, Any] | None:
    return None if found is None else {**found.document, "excludes_0": found.excludes_0}


def _over_runs_as_dict(found: OverRuns, kind: MetricKind) -> dict[str, Any]:
    if kind is MetricKind.QUANTILE:
        mean = {} if math.isnan(found.mean) else {"mean": found.mean}
        return {**mean, "median": finite(found.median), "never": found.never}
    return {"mean": finite(found.mean)}


def _check_all_differ(settings: Sequence[Setting], scenarios: Sequence[Scenario]) -> None:
    firsts: dict[str, Setting] = {}
    # What is left out may be another thing than its default in the file.
    given = [repr(scenario.model_dump(exclude_unset=True)) for scenario in scenarios]
    pairs = [(firsts.setdefault(text, own), own) for text, own in zip(given, settings, strict=True)]
    if problems := [f"--vary: {own.label} is the same as {first.label}" for first, own in pairs if first is not own]:
        raise ConfigurationError(problems)


def _default_metrics(scenarios: Sequence[Scenario]) -> tuple[str, ...]:
    common = [name for name in scenarios[0].breakers if all(name in scenario.breakers for scenario in scenarios)]
    breakers = [f"breaker.{name}.{key}" for name in common for key in ("opened", "open_s")]
    return (*METRICS, *breakers)


def _is_idle_breaker(metric: str, values: list[Values]) -> bool:
    return metric.startswith("breaker.") and not any(value for runs in values for value in runs)
