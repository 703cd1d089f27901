"""Text and tables that fit a terminal, and stay where they are while their figures change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

GAP = 2
SEPARATOR = " · "


def packed(parts: Sequence[Text], width: int, *, lines_max: int) -> list[Text]:
    """Return parts one after the other in as few lines as have room for them; at most so many, and an ellipsis."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(SEPARATOR) + part.cell_len <= width:
            lines[-1].append(SEPARATOR, style="dim").append_text(part)
        elif len(lines) < lines_max:
            lines.append(part.copy())
        else:
            lines[-1].append(f"{SEPARATOR}…", style="dim")
            break
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return lines


class Column(NamedTuple):
    """A column of a table."""

    heading: str
    least: int = 0
    """How wide it is from the beginning, for the figures to come."""

    need: int = 0
    """Where there is no room for all columns those with the smallest need go first; those of 0 stay."""

    left: bool = False
    """Its text begins at the left; figures end at the right."""


class SteadyTable:
    """Rows under headings, drawn anew with other figures, in columns that grow and never shrink.

    So nothing jumps to and fro when a figure has a digit more for a moment.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths = [max(cell_len(column.heading), column.least) for column in columns]

    def draw(self, rows: Sequence[tuple[str, Sequence[Text]]], width: int) -> Table:
        """Return the table of some rows, each with its style; only those columns that have room."""
        for _, cells in rows:
            self._widths = [max(old, cell.cell_len) for old, cell in zip(self._widths, cells, strict=True)]
        kept = self._fitting(width)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        for number in kept:
            column = self._columns[number]
            table.add_column(
                column.heading,
                justify="left" if column.left else "right",
                no_wrap=True,
                overflow="ellipsis",
                min_width=min(self._widths[number], width),
            )
        for style, cells in rows:
            table.add_row(*(cells[number] for number in kept), style=style)
        return table

    def _fitting(self, width: int) -> list[int]:
        kept = list(range(len(self._columns)))
        needed = sorted((number for number in kept if self._columns[number].need), key=lambda n: self._columns[n].need)
        for number in needed:
            if sum(self._widths[n] + GAP for n in kept) - GAP <= width:
                break
            kept.remove(number)
        return kept
