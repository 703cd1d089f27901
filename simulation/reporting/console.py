"""The results of a run, printed in a terminal; the views of a running one are in `simulation.reporting.terminal`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from actors.formatting import counted, instant_text
from actors.instants import NS_PER_S
from actors.messages import NotificationChannel
from simulation.reporting.expectations import in_words
from simulation.reporting.facts import facts
from simulation.results.formatting import NOTHING, duration_text
from simulation.results.progress import RunSnapshot
from simulation.results.result import REPORT_FILE, Result
from simulation.results.sheet import COUNTED, IN_SHORT, channels_sheet
from simulation.scenario import Scenario
from simulation.scenario.identity import entries_apart
from simulation.sheets import Column, Kind, Sheet, narrowest, terminal

WIDTH_OF_A_FILE = 120
"""In a file or a pipe there is no terminal whose width could be taken."""
WIDEST = 10_000
"""Of a table, however narrow the terminal is."""

_MARKS = {True: "[green]holds[/green]", False: "[bold red]FAILS[/bold red]", None: "[yellow]undecided[/yellow]"}


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
        console.print(f"{_MARKS[each.holds]}  [dim]{escape(each.text)}[/dim]  {escape(told)}")
    for limit in result.scenario.limits.items():
        console.print(f"[yellow]not asked[/yellow]  [dim]{escape(' '.join(limit))}[/dim]  retrylab limits asks")
    if result.checked:
        names = ", ".join(result.checked)
        console.print(f"[dim]checked: {len(result.checked)} invariants: {escape(names)}[/dim]")
        console.print(f"[dim]{escape(comparison)}[/dim]")
    console.print(f"[dim]digest {summary['digest']}[/dim]", soft_wrap=True)
    if directory is not None:
        console.print(f"report {escape(str(directory / REPORT_FILE))}, its tables beside it", soft_wrap=True)


def print_interrupted(scenario: Scenario, so_far: RunSnapshot, summary: Mapping[str, Any]) -> None:
    """Print on stdout how the requests of a run stood when it was interrupted."""
    sheet = channels_sheet(summary).only(*COUNTED)
    at, of = instant_text(so_far.seconds), duration_text(scenario.arrivals_end_ns / NS_PER_S)
    about = f"seed {scenario.seed} · interrupted at {at} of {of}"
    notes = ["expectations are not decided by a part of a run"] if scenario.expect else []
    print_sheets(sheet._replace(title=scenario.name, about=about, notes=notes))


def stdout() -> Console:
    """Return the console on stdout; where that is no terminal, with a width that suits a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=WIDTH_OF_A_FILE, highlight=False)


def print_sheets(*sheets: Sheet) -> None:
    """Print sheets on stdout with an empty line between two; a table fits the terminal."""
    console = stdout()
    for number, sheet in enumerate(sheets):
        if number:
            console.print()
        if sheet.title:
            about = f"  {escape(sheet.about)}" if sheet.about else ""
            console.print(f"[bold]{escape(sheet.title)}[/bold]{about}", soft_wrap=True)
        if sheet.rows:
            print_table(sheet)
        for note in sheet.notes:
            console.print(f"[dim]{escape(note)}[/dim]")
        for sentence in sheet.said:
            console.print(escape(sentence))
        for warning in sheet.warnings:
            console.print(f"[yellow]{escape(warning)}[/yellow]", soft_wrap=not console.is_terminal)


def print_written(where: str) -> None:
    stdout().print(f"written to {escape(where)}", soft_wrap=True)


def print_table(sheet: Sheet) -> None:
    """Print the table of a sheet on stdout. In a file each row is a line, however long, unless a column folds: then
    texts are broken at words."""
    console = stdout()
    width: int | None = console.width
    if not console.is_terminal:
        folds = any(column.folds for column in sheet.columns)
        width = max(console.width, narrowest(sheet)) if folds else None
        console.width = width or WIDEST
    console.print(terminal(sheet, width), soft_wrap=False)


def _figures_sheet(result: Result) -> Sheet:
    sheet = channels_sheet(result.summary, entries_apart(result.scenario)).only(*IN_SHORT)
    opened = {channel: _open_text(result, channel) for channel in result.summary["channels"]}
    rows = [row._replace(cells=[*row.cells, "" if row.rank else opened[str(row.cells[0])]]) for row in sheet.rows]
    return sheet._replace(columns=[*sheet.columns, Column("breaker open", Kind.NUMBER)], rows=rows, said=facts(result))


def _open_text(result: Result, channel: str) -> str:
    breaker, nodes = result.summary["channels"][channel]["breaker"], len(result.summary.get("nodes", ()))
    if not breaker["opened"]:
        return NOTHING
    times = "once" if breaker["opened"] == 1 else f"{breaker['opened']:,} times"
    own = [entry for entry in result.scenario.workload if channel in entry.channels]
    per = result.scenario.channel_config(NotificationChannel(channel)).circuit_breaker.per
    is_of_hosts = per == "host" and any(getattr(entry, "hosts", None) for entry in own)
    where = f" at {counted(nodes, 'node')}" if nodes else " at all hosts" if is_of_hosts else ""
    return f"{times}, {duration_text(breaker['open_s'])}{where}"
