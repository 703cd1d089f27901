"""How settings compare, as a terminal shows it."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from simulation.experiments.comparison import Comparison
from simulation.experiments.paired import Difference, OverRuns, pairs_text
from simulation.reporting.console import print_notes, print_table, stdout
from simulation.results.formatting import LABEL_MAX, NOTHING, metric_text, never_text, seeds_text
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
        found = [one for of_setting in comparison.differences.values() for one in of_setting if one is not None]
        if any(one.mean is None for one in found):
            console.print(
                "[dim]where one of a pair is never: the median difference, and * by the sign test[/dim]",
                highlight=False,
            )
    print_notes(comparison.notes)
    if directory is not None:
        console.print(f"written to {escape(str(directory))}", highlight=False, soft_wrap=True)


def _comparison_table(comparison: Comparison, labels: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for metric, of_setting in comparison.over_runs.items():
        kind = comparison.figure(metric)
        table.add_row(f"[bold]{escape(metric)}[/bold]", "[dim]median[/dim]" if kind is MetricKind.QUANTILE else "")
        for number, (label, over) in enumerate(zip(labels, of_setting, strict=True)):
            difference, *notes = _difference_cells(comparison.differences[metric][number], kind, len(comparison.seeds))
            notes.append(_never_note(over))
            table.add_row(
                f"  {escape(label)}",
                NOTHING if over.middle is None else metric_text(over.middle, kind),
                difference,
                " ".join(filter(None, notes)),
            )
    return table


def _never_note(found: OverRuns) -> str:
    text = never_text(found.never, found.n)
    return f"({text})" if text else ""


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
