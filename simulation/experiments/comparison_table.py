"""How settings compare, as a terminal shows it."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from simulation.experiments.comparison import Comparison
from simulation.experiments.paired import Difference
from simulation.reporting.console import print_table, stdout
from simulation.results.formatting import LABEL_MAX, NOTHING, metric_text, seeds_text
from simulation.scenario.metrics import MetricKind


def print_comparison(comparison: Comparison, directory: Path | None) -> None:
    """Print how settings compare on stdout, and where the rest is."""
    console = stdout()
    seeds, settings = comparison.seeds, comparison.settings
    runs = seeds_text(seeds)
    console.print(
        f"[bold]{escape(comparison.scenario.name)}[/bold]  {runs} · {len(settings)} settings on the same seeds",
        highlight=False,
    )
    labels = [setting.label for setting in settings]
    if max(map(len, labels)) > LABEL_MAX:
        for number, setting in enumerate(settings, start=1):
            console.print(f"#{number}  {escape(setting.label)}", highlight=False, soft_wrap=True)
        labels = [f"#{number}" for number in range(1, len(settings) + 1)]
    print_table(_comparison_table(comparison, labels))
    if len(seeds) > 1:
        console.print(
            "[dim]± 95% confidence, Student's t over the differences by seed; *: excludes 0[/dim]",
            highlight=False,
        )
    if directory is not None:
        console.print(f"written to {escape(str(directory))}", highlight=False, soft_wrap=True)


def _comparison_table(comparison: Comparison, labels: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for metric, means in comparison.means.items():
        kind = comparison.figure(metric)
        table.add_row(f"[bold]{escape(metric)}[/bold]")
        for number, (label, mean) in enumerate(zip(labels, means, strict=True)):
            cells = _difference_cells(comparison.differences[metric][number], kind, len(comparison.seeds))
            table.add_row(f"  {escape(label)}", NOTHING if mean is None else metric_text(mean, kind), *cells)
    return table


def _difference_cells(found: Difference | None, kind: MetricKind, replicates: int) -> tuple[str, str]:
    if found is None:
        return "", ""
    if found.mean == 0 and found.half_width == 0:
        difference, interval = "same", ""
    else:
        difference = ("-" if found.mean < 0 else "+") + metric_text(abs(found.mean), kind, 3)
        interval = "" if found.half_width is None else f"± {metric_text(found.half_width, kind, 3)}"
    if found.excludes_0:
        interval += " *"
    if found.pairs < replicates:
        interval += f" ({found.pairs} of {replicates} pairs)"
    return difference, interval.strip()
