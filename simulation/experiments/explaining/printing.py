"""An explanation in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from simulation.experiments.explaining.parts import ChannelExplained, Sentence
from simulation.experiments.explaining.words import LEGEND, Grid, grids, said_text
from simulation.reporting.console import print_table, stdout


def print_explanation(name: str, channels: Sequence[ChannelExplained]) -> None:
    """Print what settings will do on stdout.

    Args:
        name: the scenario's.
        channels: of it.
    """
    console = stdout()
    for channel in channels:
        console.print(f"[bold]{escape(name)}: {channel.channel}[/bold]", highlight=False)
        first, *others = grids(channel)
        _print_grid(first)
        _print_said(channel.in_words)
        for grid in others:
            _print_grid(grid)
        console.print("\n[bold]The breaker, and what it costs[/bold]", highlight=False)
        _print_said((*channel.breaker, *channel.cost))
        console.print()
    console.print(f"[dim]{LEGEND}[/dim]", highlight=False)


def _print_said(said: Sequence[Sentence]) -> None:
    for each in said:
        stdout().print(escape(said_text(each)), highlight=False)


def _print_grid(grid: Grid) -> None:
    stdout().print(f"\n[bold]{escape(grid.title)}[/bold]", highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, heading in enumerate(grid.headings):
        table.add_column(heading, justify="left" if number == 0 else "right", no_wrap=True)
    for row in grid.rows:
        table.add_row(*map(escape, row))
    print_table(table)
    if grid.note:
        stdout().print(f"[dim]{escape(grid.note)}[/dim]", highlight=False)
