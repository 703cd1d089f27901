"""What came of a run, or of many, as a terminal shows it; what it shows meanwhile is in
`simulation.reporting.terminal`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from actors.formatting import LARGER_UNITS, in_a_unit, plain_number
from simulation.experiments.comparison import Comparison
from simulation.experiments.paired import Difference
from simulation.results.formatting import seeds_text
from simulation.results.result import REPORT_FILE, Result
from simulation.scenario.figures import Figure

NOTHING = "–"
WIDTH_OF_A_FILE = 120
"""In a file or a pipe there is no terminal whose width could be taken."""
WIDEST = 10_000
"""Of a table, however narrow the terminal is."""


def print_result(result: Result, directory: Path | None) -> None:
    """Print the figures of a run on stdout, and where its report is."""
    console = stdout()
    summary = result.summary
    console.print(
        f"[bold]{escape(summary['scenario'])}[/bold]  seed {summary['seed']} · {summary['runtime']} · "
        f"{duration_text(summary['simulated_s'])} simulated",
        highlight=False,
    )
    if result.scenario.description:
        console.print(escape(result.scenario.description), style="dim", highlight=False)
    print_table(_figures_table(summary))
    if refused := summary["refused_arrivals"]:
        console.print(f"{refused:,} arrivals refused while the process was down", highlight=False)
    for expectation in summary["expectations"]:
        mark = "[green]holds[/green]" if expectation["holds"] else "[bold red]FAILS[/bold red]"
        value = NOTHING if expectation["value"] is None else plain_number(expectation["value"], 6)
        console.print(f"{mark}  {escape(expectation['text'])}  [dim]is {value}[/dim]", highlight=False)
    if result.checked:
        console.print(f"[dim]checked: {len(result.checked)} invariants[/dim]", highlight=False)
    console.print(f"[dim]digest {summary['digest']}[/dim]", highlight=False, soft_wrap=True)
    if directory is not None:
        console.print(
            f"report {escape(str(directory / REPORT_FILE))}, its tables beside it", highlight=False, soft_wrap=True
        )


def stdout() -> Console:
    """Return the console on stdout; where that is no terminal, with a width that suits a file."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_OF_A_FILE)


def print_table(table: Table) -> None:
    """Print a table on stdout as wide as it has to be: a narrower terminal breaks its lines, and cuts off no digits."""
    console = stdout()
    width = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    (console if width <= console.width else Console(width=width)).print(table)


_COUNTS = {
    "accepted": "accepted",
    "sent": "sent",
    "dead": "dead_lettered",
    "suppressed": "suppressed",
    "in flight": "in_flight",
}
_ALWAYS_SHOWN = {"accepted", "sent", "dead"}


def _figures_table(summary: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    counts = {name: key for name, key in _COUNTS.items() if name in _ALWAYS_SHOWN or summary[key]}
    table.add_column("channel", no_wrap=True)
    for heading in (*counts, "attempts", "p50", "p99", "breaker open"):
        table.add_column(heading, justify="right", no_wrap=True)
    for channel, figures in summary["channels"].items():
        table.add_row(channel, *_cells(figures, counts), _open_text(figures["breaker"]))
    if len(summary["channels"]) > 1:
        table.add_row("all", *_cells(summary, counts), "", style="bold")
    return table


def _cells(figures: dict[str, Any], counts: dict[str, str]) -> list[str]:
    return [
        *(f"{figures[key]:,}" for key in counts.values()),
        amplification_text(figures["retry_amplification"]),
        *(duration_text(figures["delivery_time_s"][key]) for key in ("p50", "p99")),
    ]


def _open_text(breaker: dict[str, Any]) -> str:
    times = "once" if breaker["opened"] == 1 else f"{breaker['opened']:,} times"
    return f"{times}, {duration_text(breaker['open_s'])}" if breaker["opened"] else NOTHING


def amplification_text(value: float | None) -> str:
    """Return how many times as many attempts as notifications there were."""
    return NOTHING if value is None else f"×{value:.2f}"


_UNITS = ((1000, 1000, "ms"), *LARGER_UNITS)


def duration_text(seconds: float | None) -> str:
    """Return a duration with three significant digits, in a unit that suits it."""
    if seconds is None:
        return NOTHING
    if seconds == 0:
        return "0 s"
    return " ".join(in_a_unit(seconds, _UNITS))


LABEL_MAX = 34
"""Longer names of settings are numbered, so that a table of them fits eighty columns."""


def print_comparison(comparison: Comparison, directory: Path | None) -> None:
    """Print how settings compare on stdout, and where the rest is."""
    console = stdout()
    seeds, settings = comparison.seeds, comparison.settings
    runs = seeds_text(seeds)
    console.print(
        f"[bold]{escape(comparison.scenario.name)}[/bold]  {runs} · {len(settings)} settings on the same luck",
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
        figure = comparison.figure(metric)
        table.add_row(f"[bold]{escape(metric)}[/bold]")
        for number, (label, mean) in enumerate(zip(labels, means, strict=True)):
            cells = _difference_cells(comparison.differences[metric][number], figure, len(comparison.seeds))
            table.add_row(f"  {escape(label)}", NOTHING if mean is None else figure_text(mean, figure), *cells)
    return table


def _difference_cells(found: Difference | None, figure: Figure, replicates: int) -> tuple[str, str]:
    if found is None:
        return "", ""
    if found.mean == 0 and found.half_width == 0:
        difference, interval = "same", ""
    else:
        difference = ("-" if found.mean < 0 else "+") + figure_text(abs(found.mean), figure, 3)
        interval = "" if found.half_width is None else f"± {figure_text(found.half_width, figure, 3)}"
    if found.excludes_0:
        interval += " *"
    if found.pairs < replicates:
        interval += f" ({found.pairs} of {replicates} pairs)"
    return difference, interval.strip()


def figure_text(value: float, figure: Figure, digits: int = 4) -> str:
    """Return a figure of at least 0, as suits its kind; what has no unit of its own with so many digits."""
    if figure is Figure.SECONDS:
        return duration_text(value)
    if figure is Figure.SHARE:
        return f"{value:.5f}"
    return plain_number(value, digits)
