"""The results of a run, printed in a terminal; what is shown while it goes on is in `simulation.reporting.terminal`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement

from simulation.reporting.expectations import in_words
from simulation.reporting.facts import facts
from simulation.results.formatting import NOTHING, duration_text
from simulation.results.result import REPORT_FILE, Result
from simulation.results.sheet import IN_SHORT, channels_sheet
from simulation.scenario.identity import entries_apart
from simulation.sheets import Column, Kind, Sheet, terminal

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
        f"{duration_text(summary['simulated_s'])} simulated"
    )
    if result.scenario.description:
        console.print(escape(result.scenario.description), style="dim")
    print_sheets(_figures_sheet(result))
    for each in in_words(result):
        told = f"{each.words}; {each.decided}" if each.decided else str(each.words)
        console.print(f"{_MARKS[each.holds]}  {escape(each.text)}  [dim]{escape(told)}[/dim]")
    if result.checked:
        names = ", ".join(result.checked)
        console.print(f"[dim]checked: {len(result.checked)} invariants: {escape(names)}[/dim]")
        console.print(f"[dim]{escape(comparison)}[/dim]")
    console.print(f"[dim]digest {summary['digest']}[/dim]", soft_wrap=True)
    if directory is not None:
        console.print(f"report {escape(str(directory / REPORT_FILE))}, its tables beside it", soft_wrap=True)


def stdout() -> Console:
    """Return the console on stdout; where that is no terminal, with a width that suits a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=WIDTH_OF_A_FILE, highlight=False)


def print_sheets(*sheets: Sheet) -> None:
    """Print sheets on stdout with an empty line between two; a table is as wide as it has to be, unless it folds."""
    console = stdout()
    for number, sheet in enumerate(sheets):
        if number:
            console.print()
        if sheet.title:
            about = f"  {escape(sheet.about)}" if sheet.about else ""
            console.print(f"[bold]{escape(sheet.title)}[/bold]{about}", soft_wrap=True)
        if sheet.rows:
            _print_table(sheet)
        for note in sheet.notes:
            console.print(f"[dim]{escape(note)}[/dim]")
        for sentence in sheet.said:
            console.print(escape(sentence))
        for warning in sheet.warnings:
            console.print(f"[yellow]{escape(warning)}[/yellow]", soft_wrap=True)


def print_written(where: str) -> None:
    """Print where results were written."""
    stdout().print(f"written to {escape(where)}", soft_wrap=True)


def _print_table(sheet: Sheet) -> None:
    console, table = stdout(), terminal(sheet)
    width = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    fits = width <= console.width or any(column.folds for column in sheet.columns)
    (console if fits else Console(width=width)).print(table)


def _figures_sheet(result: Result) -> Sheet:
    sheet = channels_sheet(result.summary, entries_apart(result.scenario)).only(*IN_SHORT)
    channels = result.summary["channels"]
    opened = [_open_text(figures["breaker"]) for figures in channels.values()]
    opened += [""] * (len(sheet.rows) - len(opened))
    rows = [row._replace(cells=[*row.cells, text]) for row, text in zip(sheet.rows, opened, strict=True)]
    return sheet._replace(columns=[*sheet.columns, Column("breaker open", Kind.NUMBER)], rows=rows, said=facts(result))


def _open_text(breaker: dict[str, Any]) -> str:
    times = "once" if breaker["opened"] == 1 else f"{breaker['opened']:,} times"
    return f"{times}, {duration_text(breaker['open_s'])}" if breaker["opened"] else NOTHING
