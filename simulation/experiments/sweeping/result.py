"""The result of a sweep: a row for each run, a row for each metric of each cell, and both on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from actors.errors import ConfigurationError
from actors.formatting import counted
from simulation.experiments.paired import (
    CONFIDENCE,
    Difference,
    OverRuns,
    difference,
    finite,
    over_runs,
    share_interval,
)
from simulation.results.files import folder_to_fill, read_table
from simulation.results.formatting import NOTHING, line, metric_text, never_text, seeds_text
from simulation.results.result import SCENARIO_FILE
from simulation.results.saved_result import scenario_kept
from simulation.running.deciding import Evidence
from simulation.running.executors import RunMetrics
from simulation.scenario import Scenario
from simulation.scenario.arguments import check_metric, shown
from simulation.scenario.metrics import MetricKind, kind_of, path_of
from simulation.scenario.ranges import Range
from simulation.scenario.space import Choices, Setting, Space, number_of, settings_of, short_names, value_of
from simulation.scenario.writing import write
from simulation.sheets import Column, Kind, Row, Sheet, notebook

if TYPE_CHECKING:
    import pandas as pd


# ── columns of what was varied ────────────────────────────────────────────────────────────────────────────────────────


INT64_MAX = 2**63 - 1


def setting_column(texts: Iterable[str | None]) -> pd.Series[Any]:
    """Return the values of a setting as a column, from how they are written in a file; None: there is none.

    They are whole numbers where all are, numbers where all are without a unit, and otherwise text as it was written:
    ``60s`` stays ``60s``, so that tables of one's own with the same values join.
    """
    import pandas as pd

    written = list(texts)
    values = [None if text is None else value_of(text) for text in written]
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, int) and abs(value) <= INT64_MAX for value in known):
        return pd.Series(values, dtype="int64" if len(known) == len(values) else "Int64")
    if known and all(isinstance(value, (int, float)) for value in known):
        return pd.Series(values, dtype="float64")
    return pd.Series(written, dtype="str")


HOLDS = "expectations_hold"
"""The metric that is 1 in a run in which every expectation of the scenario holds, and 0 in others, without expectations
of a share of runs, which no single run decides."""

SHOWN = ("sent_fraction", "requests", "delivery_time_s.p99")
"""The metrics that are shown of each cell, unless others are asked for."""

ROWS_SHOWN = 50

DOCUMENT, RUNS, CELLS = "sweep.json", "runs.parquet", "cells.parquet"


class SweepResult:
    """The result of a sweep. Durations are in seconds, rates a second, shares between 0 and 1."""

    def __init__(
        self,
        scenario: Scenario,
        varied: list[str],
        settings: list[Setting],
        runs: pd.DataFrame,
        path: str | Path | None = None,
    ) -> None:
        self.scenario = scenario
        """The scenario of the file, with the settings for all cells."""
        self.varied = varied
        self.settings = settings
        self.runs = runs
        """One row a run: `cell`, a column for each varied path, `replicate`, `seed`, a column for each metric of the
        summary by its path, `expectations_hold` if there are any, and `digest`. A metric that is never is infinite, and
        one with nothing to measure is null.

        Values that were given keep their types: whole numbers where all are, numbers where none has a unit, and
        otherwise text as it was written, such as ``60s``. Those out of a range are numbers, durations in seconds.
        """
        self.path = None if path is None else Path(path)
        self.notes: tuple[str, ...] = ()
        """A line for each metric with intervals that are wider than was wanted."""

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        space: Space,
        settings: list[Setting],
        seeds: Sequence[int],
        runs: Iterable[Sequence[RunMetrics]],
        path: str | Path | None = None,
    ) -> SweepResult:
        """Return the result of the runs of each cell, in the order of the seeds; and of the scenario in a file."""
        by_cell = list(runs)
        metrics = dict.fromkeys(path for of_cell in by_cell for path in of_cell[0].figures)
        flat = [run for of_cell in by_cell for run in of_cell]
        cells = [cell for cell, of_cell in enumerate(by_cell) for _ in of_cell]
        columns: dict[str, Any] = {
            "cell": pd.Series(cells, dtype="int64"),
            **{path: _column(path, of, settings, cells) for path, of in space.items()},
            "replicate": pd.Series([place for of_cell in by_cell for place in range(len(of_cell))], dtype="int64"),
            "seed": pd.Series([seed for _ in by_cell for seed in seeds], dtype="int64"),
            **{path: pd.Series([run.figures.get(path) for run in flat], dtype="float64") for path in metrics},
        }
        if any(expectation.share is None for expectation in scenario.expect):
            columns[HOLDS] = pd.Series([_holds(scenario, run) for run in flat], dtype="float64")
        columns["digest"] = pd.Series([run.digest for run in flat], dtype="str")
        return cls(scenario, list(space), settings, pd.DataFrame(columns), path)

    def __repr__(self) -> str:
        seeds = self.runs["seed"]
        facts = [
            seeds_text(range(seeds.min(), seeds.max() + 1)),
            counted(len(self.settings), "cell"),
            counted(len(self.runs), "run"),
        ]
        if HOLDS in self.runs:
            facts.append(f"expectations met in {int(self.runs[HOLDS].sum()):,}")
        return line("SweepResult", self.scenario.name, facts)

    def _repr_html_(self) -> str:
        return notebook(self.sheet())

    def sheet(self, metrics: Mapping[str, MetricKind] | None = None) -> Sheet:
        """Return a row for each of the first cells.

        Args:
            metrics: the kinds of the metrics to show, by their paths; :data:`SHOWN` when None.
        """
        if metrics is None:
            metrics = {path: kind for path in SHOWN if path in self.figures and (kind := kind_of(path))}
        expected = [each.text for each in self.scenario.expect if each.share is not None]
        names, holds = short_names(self.varied), ["as expected"] if HOLDS in self.figures else []
        columns = [Column(names[path], folds=True) for path in self.varied]
        columns += [Column(heading, Kind.NUMBER, folds=True) for heading in (*metrics, *holds, *expected)]
        statistics = self.cells.set_index(["cell", "figure"])[[*OverRuns._fields]].to_dict("index")
        rows = []
        for cell, setting in enumerate(self.settings[:ROWS_SHOWN]):
            row = [text for _, text in setting.values]
            row += [_over_runs_text(OverRuns(*statistics[cell, path].values()), kind) for path, kind in metrics.items()]
            if holds:
                values = self.values(cell, HOLDS)
                row.append(f"{values.count(1.0)} of {len(values)}")
            rows.append(Row([*row, *map(_decided_text, self.decided(cell))]))
        seeds = sorted(self.runs["seed"].unique())
        cells, runs = counted(len(self.settings), "cell"), counted(len(self.runs), "run")
        about = f"{seeds_text(seeds)} · {cells} on the same seeds · {runs}"
        notes = list(self._how_to_read(len(seeds), metrics))
        return Sheet(self.scenario.name, columns, rows, notes, warnings=self.notes, about=about)

    def _how_to_read(self, seeds: int, metrics: Mapping[str, MetricKind]) -> Iterator[str]:
        if (more := len(self.settings) - ROWS_SHOWN) > 0:
            yield f"and {more:,} more cells"
        if seeds > 1:
            yield "± 95% confidence, Student's t"
            if MetricKind.QUANTILE in metrics.values():
                yield "a metric that may be never has its median, with its 95% confidence interval from six runs on"

    @property
    def figures(self) -> list[str]:
        """The metrics of each run, by their paths in the summary, and whether all expectations hold."""
        return list(self.runs.columns[3 + len(self.varied) : -1])

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row for each metric of each cell: `n` runs that have it, `mean`, `sd`, and the interval `low` to `high`.

        A metric that may be never, as a quantile of delivery times, has a `median` in the place of the mean, and
        `never` is the number of runs in which it was. A median or an end of an interval that is never is infinite.

        The interval has 95% confidence: Student's t for the mean, the sign test for the median, and Wilson's for the
        share of runs whose expectations hold. It ends where the metric does: at 0, and of a share at 1. It is null with
        fewer than two runs, and of a median with fewer than six.
        """
        replicates = int(self.runs["replicate"].max()) + 1
        values = {metric: self.runs[metric].to_list() for metric in self.figures}
        cells = [cell for cell in range(len(self.settings)) for _ in values]
        shares = {metric for metric in values if kind_of(metric) is MetricKind.SHARE}
        rows = []
        for cell in range(len(self.settings)):
            for metric, of_all in values.items():
                of_cell = of_all[cell * replicates : (cell + 1) * replicates]
                known = [value for value in of_cell if not math.isnan(value)]
                found = _held(known) if metric == HOLDS else over_runs(metric, known)
                low, high = max(found.low, 0.0), min(found.high, 1.0) if metric in shares else found.high
                rows.append(found._replace(low=low, high=high))
        counts, never, *statistics = zip(*rows, strict=True)
        varied = self.runs.drop_duplicates("cell").set_index("cell")[self.varied].loc[cells].reset_index(drop=True)
        return pd.DataFrame(
            {
                "cell": pd.Series(cells, dtype="int64"),
                **{path: varied[path] for path in self.varied},
                "figure": pd.Series([*values] * len(self.settings), dtype="str"),
                "n": pd.Series(counts, dtype="int64"),
                "never": pd.Series(never, dtype="int64"),
                **{
                    name: pd.Series(column, dtype="float64")
                    for name, column in zip(OverRuns._fields[2:], statistics, strict=True)
                },
            }
        )

    def values(self, cell: int, figure: str) -> list[float | None]:
        """Return a metric in each run of a cell, in the order of the seeds; None where the run has none, and
        infinite where it is never.

        Raises:
            ConfigurationError: there is no such cell, or no such metric.
        """
        self._check_cell("cell", cell)
        check_metric(figure, self.figures)
        column = self.runs.loc[self.runs["cell"] == cell, figure]
        return [None if math.isnan(value) else value for value in column]

    def difference(self, cell: int, figure: str, baseline: int = 0) -> Difference | None:
        """Return the difference of a metric between two cells, seed by seed; see
        :func:`simulation.experiments.paired.difference`.

        Raises:
            ConfigurationError: there is no such cell, or no such metric.
        """
        self._check_cell("baseline", baseline)
        return difference(self.values(cell, figure), self.values(baseline, figure))

    def decided(self, cell: int) -> list[dict[str, Any]]:
        """Return the results of a cell for each expectation of a share of runs, in the order of the seeds.

        A result has the expectation's `text`; whether it `holds`, None where that is undecided; after how many `runs`;
        in how many of these it `held`; and the `interval` of the probability. See
        :class:`simulation.running.sequential_test.SequentialTest`.

        Raises:
            ConfigurationError: there is no such cell.
        """
        self._check_cell("cell", cell)
        expectations = [expectation for expectation in self.scenario.expect if expectation.share is not None]
        values = [self.values(cell, path_of(expectation.path)) for expectation in expectations]
        evidence = Evidence(expectations)
        for of_run in zip(*values, strict=True):
            pairs = zip(expectations, of_run, strict=True)
            evidence.add(tuple(expectation.holds_of(value) for expectation, value in pairs))
        documents = zip(expectations, evidence.document, strict=True)
        return [{"text": expectation.text, **document} for expectation, document in documents]

    def _check_cell(self, name: str, cell: object) -> None:
        count = len(self.settings)
        if cell not in range(count):
            there = f"from 0 to {count - 1}" if count > 1 else "0, the only one"
            raise ConfigurationError([f"{name}: wanted a cell of the sweep, {there}, got {shown(cell)}"])

    def document(self, figures: Sequence[str] = ()) -> dict[str, Any]:
        """Return the sweep in short, as a plain dict that is also the JSON document, with some metrics of each cell.

        A metric that is never, or unknown, is null.
        """
        statistics = self.cells.set_index(["cell", "figure"])[[*OverRuns._fields]].to_dict("index")
        return {
            "scenario": self.scenario.name,
            "seeds": sorted(map(int, self.runs["seed"].unique())),
            "confidence": CONFIDENCE,
            "notes": list(self.notes),
            "varied": self.varied,
            "expectations": [expectation.text for expectation in self.scenario.expect],
            "cells": [
                {
                    "setting": dict(setting.values),
                    **({"expectations": decided} if (decided := self.decided(cell)) else {}),
                    **(
                        {"figures": {name: _plain(name, statistics[cell, name]) for name in figures}} if figures else {}
                    ),
                }
                for cell, setting in enumerate(self.settings)
            ],
        }


def save_sweep(sweep: SweepResult, directory: str | Path) -> list[Path]:
    """Write `sweep.json`, the scenario, and the tables of runs and cells as Parquet into a folder; return the
    paths. Equal sweeps are equal byte by byte.

    Raises:
        ConfigurationError: the folder has the results of another kind of command, or the file of the scenario
            itself under one of these names.
        OSError: it, or a file in it, cannot be written.
    """
    directory = folder_to_fill(directory, DOCUMENT, sweep.path)
    written = [directory / name for name in (DOCUMENT, SCENARIO_FILE, RUNS, CELLS)]
    sweep.runs.to_parquet(written[2], index=False)
    sweep.cells.to_parquet(written[3], index=False)
    written[1].write_text(write(sweep.scenario), encoding="utf-8")
    written[0].write_text(json.dumps(sweep.document(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return written


def open_sweep(directory: str | Path) -> SweepResult:
    """Return the sweep that was saved in a folder.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    directory = Path(directory)
    wanted = f"{directory}: wanted the folder of a finished sweep, got one"
    missing = [name for name in (DOCUMENT, SCENARIO_FILE, RUNS) if not (directory / name).is_file()]
    if missing:
        raise ConfigurationError([f"{wanted} without {missing[0]}"])
    try:
        document = json.loads((directory / DOCUMENT).read_text(encoding="utf-8"))
        runs = read_table(directory / RUNS)
        varied = list(document["varied"])
        rows = [[cell["setting"][path] for path in varied] for cell in document["cells"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError([f"{wanted} that cannot be read: {error}"]) from None
    scenario, _ = scenario_kept(directory / SCENARIO_FILE)  # with which nothing is run, so data files may be gone
    result = SweepResult(scenario, varied, settings_of(varied, rows), runs)
    result.notes = tuple(document.get("notes", ()))
    return result


def _holds(scenario: Scenario, run: RunMetrics) -> bool:
    return all(
        expectation.holds_of(run.figures.get(path_of(expectation.path)))
        for expectation in scenario.expect
        if expectation.share is None
    )


def _held(values: Sequence[float]) -> OverRuns:
    share, sd, low, high = share_interval(values)
    return OverRuns(len(values), 0, share, math.nan, sd, low, high)


def _decided_text(entry: Mapping[str, Any]) -> str:
    word = {True: "holds", False: "fails", None: "undecided"}[entry["holds"]]
    return f"{word}, {entry['held']:,} of {entry['runs']:,}"


def _over_runs_text(found: OverRuns, kind: MetricKind) -> str:
    middle = found.middle
    if middle is None:
        return NOTHING
    never = never_text(found.never, found.n)
    if math.isinf(middle):
        return never
    text = metric_text(middle, kind)
    if found.low < found.high and math.isnan(found.mean):
        text += f", {metric_text(found.low, kind, 3)} to {metric_text(found.high, kind, 3)}"
    elif not math.isnan(found.mean + found.low):
        text += f" ± {metric_text(max(found.high - middle, middle - found.low), kind, 3)}"
    return f"{text} ({never})" if never else text


def _column(path: str, dimension: Choices | Range, settings: Sequence[Setting], cells: Iterable[int]) -> pd.Series[Any]:
    texts = [dict(setting.values)[path] for setting in settings]
    if not isinstance(dimension, Range):
        return setting_column(texts[cell] for cell in cells)
    numbers = [value if isinstance(value := value_of(text), (int, float)) else number_of(text) for text in texts]
    kind = "int64" if all(isinstance(number, int) for number in numbers) else "float64"
    return pd.Series([numbers[cell] for cell in cells], dtype=kind)


def _plain(figure: str, statistics: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the statistics that a metric has: a mean, or a median and in how many runs it is never."""
    others = ("mean",) if kind_of(figure) is MetricKind.QUANTILE else ("median", "never")
    return {name: finite(value) for name, value in statistics.items() if name not in others}
