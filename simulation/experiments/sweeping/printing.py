"""How a sweep is printed in a terminal: a row a cell, with the means or medians of some metrics and their
intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from actors.formatting import counted
from simulation.experiments.paired import OverRuns
from simulation.experiments.sweeping.result import HOLDS, SweepResult
from simulation.reporting.console import print_notes, stdout
from simulation.results.formatting import NOTHING, metric_text, never_text, seeds_text
from simulation.scenario.metrics import MetricKind
from simulation.scenario.space import short_names

METRICS = ("sent_fraction", "requests", "delivery_time_s.p99")
"""What is printed unless it is said otherwise; and in how many runs all expectations hold, where there are any."""

CELLS_SHOWN = 50


def print_sweep(sweep: SweepResult, metrics: Mapping[str, MetricKind], plot_command: str, directory: Path) -> None:
    """Print the cells of a sweep on stdout, with metrics of these kinds, and where the rest is."""
    console = stdout()
    runs, cells = len(sweep.runs), len(sweep.settings)
    seeds = sorted(sweep.runs["seed"].unique())
    shown_seeds = seeds_text(seeds)
    console.print(
        f"[bold]{escape(sweep.scenario.name)}[/bold]  {shown_seeds} · {counted(cells, 'cell')} on the same seeds · "
        f"{counted(runs, 'run')}",
        highlight=False,
    )
    console.print(_table(sweep, metrics))
    if cells > CELLS_SHOWN:
        console.print(f"[dim]and {cells - CELLS_SHOWN:,} more cells, in cells.parquet[/dim]", highlight=False)
    if len(seeds) > 1:
        console.print("[dim]± 95% confidence, Student's t[/dim]", highlight=False)
        if MetricKind.QUANTILE in metrics.values():
            console.print(
                "[dim]of what may be never the median, with its 95% confidence interval from six runs on[/dim]",
                highlight=False,
            )
    print_notes(sweep.notes)
    console.print(
        f"written to {escape(str(directory))}; to see it: {escape(plot_command)}", soft_wrap=True, highlight=False
    )


def _table(sweep: SweepResult, metrics: Mapping[str, MetricKind]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    names = short_names(sweep.varied)
    for path in sweep.varied:
        table.add_column(escape(names[path]), overflow="fold")
    for metric in metrics:
        table.add_column(escape(metric), justify="right", overflow="fold")
    holds = HOLDS in sweep.figures
    if holds:
        table.add_column("as expected", justify="right")
    for expectation in sweep.scenario.expect:
        if expectation.share is not None:
            table.add_column(escape(expectation.text), justify="right", overflow="fold")
    statistics = sweep.cells.set_index(["cell", "figure"])[[*OverRuns._fields]].to_dict("index")
    for cell, setting in enumerate(sweep.settings[:CELLS_SHOWN]):
        row = [escape(text) for _, text in setting.values]
        for metric, kind in metrics.items():
            row.append(_over_runs_text(OverRuns(*statistics[cell, metric].values()), kind))
        if holds:
            values = sweep.values(cell, HOLDS)
            row.append(f"{values.count(1.0)} of {len(values)}")
        row += [_decided(entry) for entry in sweep.decided(cell)]
        table.add_row(*row)
    return table


def _decided(entry: Mapping[str, Any]) -> str:
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
