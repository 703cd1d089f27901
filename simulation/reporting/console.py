"""The results of a run, printed in a terminal; what is shown while it goes on is in `simulation.reporting.terminal`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from actors.formatting import plain_number
from simulation.reporting.facts import facts
from simulation.results.formatting import NOTHING, amplification_text, duration_text, quantile_text, value_text
from simulation.results.result import REPORT_FILE, Result
from simulation.running.deciding import decision_text
from simulation.scenario.identity import entries_apart

WIDTH_OF_A_FILE = 120
"""In a file or a pipe there is no terminal whose width could be taken."""
WIDEST = 10_000
"""Of a table, however narrow the terminal is."""

_MARKS = {
    True: "[green]holds[/green]",
    False: "[bold red]FAILS[/bold red]",
    None: "[yellow]undecided[/yellow]",
}


def print_result(result: Result, directory: Path | None, comparison: str = "") -> None:
    """Print the figures of a run on stdout, where its report is, and whether it was compared with the model."""
    console = stdout()
    summary = result.summary
    console.print(
        f"[bold]{escape(summary['scenario'])}[/bold]  seed {summary['seed']} · {summary['runtime']} · "
        f"{duration_text(summary['simulated_s'])} simulated",
        highlight=False,
    )
    if result.scenario.description:
        console.print(escape(result.scenario.description), style="dim", highlight=False)
    print_table(_figures_table(result))
    for fact in facts(result):
        console.print(escape(fact), highlight=False)
    for expectation, entry in zip(result.scenario.expect, summary["expectations"], strict=True):
        value = value_text(entry, lambda value: plain_number(value, 6))
        decided = decision_text(expectation, entry)
        told = "; ".join([f"is {value}", *([decided] if decided else [])])
        console.print(f"{_MARKS[entry['holds']]}  {escape(entry['text'])}  [dim]{told}[/dim]", highlight=False)
    if result.checked:
        names = ", ".join(result.checked)
        console.print(f"[dim]checked: {len(result.checked)} invariants: {escape(names)}[/dim]", highlight=False)
        console.print(f"[dim]{escape(comparison)}[/dim]", highlight=False)
    console.print(f"[dim]digest {summary['digest']}[/dim]", highlight=False, soft_wrap=True)
    if directory is not None:
        console.print(
            f"report {escape(str(directory / REPORT_FILE))}, its tables beside it", highlight=False, soft_wrap=True
        )


def stdout() -> Console:
    """Return the console on stdout; where that is no terminal, with a width that suits a file."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_OF_A_FILE)


def print_notes(notes: Iterable[str]) -> None:
    """Print what is to be known of results beside them, a line each."""
    for note in notes:
        stdout().print(f"[yellow]{escape(note)}[/yellow]", highlight=False, soft_wrap=True)


def print_table(table: Table) -> None:
    """Print a table on stdout as wide as it has to be: a narrower terminal breaks its lines, and cuts off no digits."""
    console = stdout()
    width = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    (console if width <= console.width else Console(width=width)).print(table)


_COUNTS = {
    "offered": "offered",
    "delivered": "delivered",
    "dead": "dead_lettered",
    "unwanted": "unwanted",
    "in flight": "in_flight",
}
_ALWAYS_SHOWN = {"offered", "delivered", "dead"}


def _figures_table(result: Result) -> Table:
    summary = result.summary
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    counts = {name: key for name, key in _COUNTS.items() if name in _ALWAYS_SHOWN or summary[key]}
    table.add_column("channel", no_wrap=True)
    for heading in (*counts, "attempts", "p50", "p99", "breaker open"):
        table.add_column(heading, justify="right", no_wrap=True)
    entries = entries_apart(result.scenario)
    for channel, figures in summary["channels"].items():
        table.add_row(channel, *_cells(figures, counts), _open_text(figures["breaker"]))
    for name in entries:
        table.add_row(f"  {name}", *_cells(summary["workload"][name], counts), "", style="dim")
    if len(summary["channels"]) > 1:
        table.add_row("all", *_cells(summary, counts), "", style="bold")
    return table


def _cells(figures: dict[str, Any], counts: dict[str, str]) -> list[str]:
    return [
        *(f"{figures[key]:,}" for key in counts.values()),
        amplification_text(figures["retry_amplification"]),
        *(quantile_text(figures, key) for key in ("p50", "p99")),
    ]


def _open_text(breaker: dict[str, Any]) -> str:
    times = "once" if breaker["opened"] == 1 else f"{breaker['opened']:,} times"
    return f"{times}, {duration_text(breaker['open_s'])}" if breaker["opened"] else NOTHING
