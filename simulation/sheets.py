"""A table of a result as data, and how a terminal, Markdown and a notebook show it; pages have a macro for it."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypeVar

from actors.formatting import NOTHING, duration_text, instant_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

S = TypeVar("S")

Mood: TypeAlias = Literal["fine", "bad", "unsure"]


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a cell that is good or bad news."""

    text: str
    mood: Mood

    rest: str = ""
    """The words that follow it."""


@dataclass(frozen=True, slots=True)
class Code:
    """A text of a cell that can be put into a file."""

    text: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Several lines of a cell."""

    lines: Sequence[str]


Cell: TypeAlias = str | float | Word | Code | Lines | None
"""A text stands as it is. A number is written as its column's kind is; infinity is never, and None is nothing."""


class Kind(Enum):
    """The kind of the numbers of a column; its value names the unit."""

    TEXT = "text"
    NUMBER = "number"
    COUNT = "how many"
    TIMES = "times"
    SHARE = "share of 1"
    DURATION = "seconds"
    INSTANT = "seconds from the start"


class Column(NamedTuple):
    """A column of a sheet."""

    heading: str
    kind: Kind = Kind.TEXT

    folds: bool = False
    """Whether a narrow terminal breaks lines within the column."""

    @property
    def is_number(self) -> bool:
        """Whether its cells are set flush right."""
        return self.kind is not Kind.TEXT


class Row(NamedTuple):
    """A row of a sheet."""

    cells: Sequence[Cell]

    rank: Literal["", "part", "total", "heading"] = ""
    """Says that it is a part of a row above, the total of all rows, or the heading of those that follow."""


class Sheet(NamedTuple):
    """A table with its title, its notes and the sentences that belong to it; any of these may be absent."""

    title: str = ""

    columns: Sequence[Column] = ()
    """The first one says what a row is about."""

    rows: Sequence[Row] = ()

    notes: Sequence[str] = ()
    """How to read the table."""

    said: Sequence[str] = ()
    """The sentences, each a finding."""

    warnings: Sequence[str] = ()
    """The limits of the findings."""

    about: str = ""
    """The rest of the line after the title."""

    key: str = ""
    """Tells the sheet from the others of a page."""

    def only(self, *headings: str) -> Sheet:
        """Return the sheet with those of these columns that it has, in this order."""
        places = [place for each in headings for place, column in enumerate(self.columns) if column.heading == each]
        rows = [row._replace(cells=[row.cells[place] for place in places]) for row in self.rows]
        return self._replace(columns=[self.columns[place] for place in places], rows=rows)


def share_text(share: float | None) -> str:
    """Return a share in percent; less than all is never shown as 100%, nor more than none as 0%."""
    if share is None:
        return NOTHING
    if 0.9995 <= share < 1:
        return ">99.9%"
    return "<0.1%" if 0 < share < 0.0005 else f"{share * 100:.1f}".removesuffix(".0") + "%"


_WRITERS: dict[Kind, Callable[[float], str]] = {
    Kind.TEXT: str,
    Kind.NUMBER: lambda value: f"{value:,}" if isinstance(value, int) else f"{value:.4g}",
    Kind.COUNT: lambda value: f"{value:,.0f}",
    Kind.TIMES: lambda value: f"×{value:.2f}",
    Kind.SHARE: share_text,
    Kind.DURATION: duration_text,
    Kind.INSTANT: instant_text,
}


def cell_text(cell: Cell, kind: Kind) -> str:
    """Return a cell as text."""
    match cell:
        case None:
            return NOTHING
        case str():
            return cell
        case Word():
            return f"{cell.text} {cell.rest}".rstrip()
        case Code():
            return cell.text
        case Lines():
            return "\n".join(cell.lines)
        case _:
            return "never" if cell == math.inf else _WRITERS[kind](cell)


def _cells(sheet: Sheet, write: Callable[[Cell, Column], S]) -> Iterator[tuple[Row, list[S]]]:
    for row in sheet.rows:
        yield row, [write(cell, column) for cell, column in zip(row.cells, sheet.columns, strict=False)]


# ── views ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_STYLES = {"fine": "green", "bad": "bold red", "unsure": "yellow"}


GAP = 2
"""Characters between the columns of a terminal."""


def terminal(sheet: Sheet, width: int | None = None) -> RenderableType:
    """Return the table of a sheet for Rich. No text of a cell is markup, or does anything to the terminal.

    Args:
        sheet: the table.
        width: where that is too narrow for the table, its texts are broken at words; and where no word has room, each
            row is a block of lines. None: it is as wide as it has to be.
    """
    from rich.table import Table

    widths = [None] * len(sheet.columns) if width is None else _widths(sheet, width)
    if widths is None:
        return _blocks(sheet)
    headings = any(column.heading for column in sheet.columns)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", show_header=headings)
    for column, wide in zip(sheet.columns, widths, strict=True):
        table.add_column(
            printable(column.heading),
            justify="right" if column.is_number else "left",
            overflow="ellipsis" if wide is None and not column.folds else "fold",
            no_wrap=wide is None and not column.folds,
            width=wide,
        )
    for row, cells in _cells(sheet, _in_terminal):
        if row.rank == "part":
            cells[0].pad_left(2)
        table.add_row(*cells, style="bold" if row.rank in ("total", "heading") else "")
    return table


def narrowest(sheet: Sheet) -> int:
    """Return in how many characters the table has room with texts that are broken at words only."""
    fewest, _ = _bounds(sheet)
    return sum(fewest) + GAP * (len(fewest) - 1)


def _bounds(sheet: Sheet) -> tuple[list[int], list[int]]:
    """Return how wide each column is with its texts broken at words, and as they are."""
    from rich.cells import cell_len

    drawn = [cells for _, cells in _cells(sheet, _in_terminal)]
    indent = 2 * any(row.rank == "part" for row in sheet.rows)
    fewest, most = [], []
    for number, column in enumerate(sheet.columns):
        texts = [printable(column.heading).plain, *(cells[number].plain for cells in drawn if number < len(cells))]
        lines = [line for text in texts for line in text.splitlines()]
        parts = lines if column.is_number and not column.folds else [part for line in lines for part in line.split()]
        fewest.append(indent * (not number) + max(map(cell_len, parts), default=0))
        most.append(indent * (not number) + max(map(cell_len, lines), default=0))
    return fewest, most


def _widths(sheet: Sheet, width: int) -> list[int | None] | None:
    """Return how wide each column is in a terminal, the wider ones as narrow as need be; None: it is too narrow."""
    fewest, most = _bounds(sheet)
    for cap in range(width, 0, -1):
        found: list[int | None] = [min(wide, max(narrow, cap)) for narrow, wide in zip(fewest, most, strict=True)]
        if sum(filter(None, found)) + GAP * len(found) <= width + GAP:
            return found
    return None


def _blocks(sheet: Sheet) -> RenderableType:
    """Return the rows of a sheet one below the other, each with a line for each of its columns that has a heading."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    found: list[RenderableType] = []
    for row, (name, *cells) in _cells(sheet, _in_terminal):
        block = Table.grid(padding=(0, GAP, 0, 0))
        block.add_column(style="dim", no_wrap=True)
        block.add_column(overflow="fold")
        for column, cell in zip(sheet.columns[1:], cells, strict=False):
            if column.heading and cell.plain:
                block.add_row(printable(column.heading), cell)
        unnamed = [cell for column, cell in zip(sheet.columns[1:], cells, strict=False) if not column.heading]
        found += [
            Text("  ").join(
                [Text("").append_text(name) if row.rank == "part" else Text.assemble(name, style="bold"), *unnamed]
            )
        ]
        found += [Padding(block, (0, 0, 0, GAP))] if block.row_count else []
    return Group(*found)


def _in_terminal(cell: Cell, column: Column) -> Text:
    from rich.text import Text

    if isinstance(cell, Lines):
        return Text("\n").join(map(printable, cell.lines))
    if isinstance(cell, Word):
        rest = f" {printable(cell.rest).plain}" if cell.rest else ""
        return Text.assemble((printable(cell.text).plain, _STYLES[cell.mood]), rest)
    return printable(cell_text(cell, column.kind))


def printable(text: str) -> Text:
    """Return a text for a terminal in which every control character is written out, a line break too."""
    from rich.text import Text

    return Text("".join(each if each.isprintable() or each == "\xa0" else _escaped(each) for each in text))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def markdown(sheet: Sheet) -> Iterator[str]:
    """Yield the lines of the table of a sheet in Markdown of GitHub's kind; no text but code has markup."""
    cells = [[column.heading for column in sheet.columns], [":--"] * len(sheet.columns)]
    cells += [texts for _, texts in _cells(sheet, _in_markdown)]
    yield from (f"| {' | '.join(each)} |" for each in cells)


def _in_markdown(cell: Cell, column: Column) -> str:
    if isinstance(cell, Code):
        return f"`{cell.text}`"
    if isinstance(cell, Word) and cell.mood == "bad":
        return f"**{markdown_text(cell.text)}** {markdown_text(cell.rest)}".rstrip()
    return markdown_text(cell_text(cell, column.kind))


def markdown_text(text: str) -> str:
    """Return a text in one line of Markdown, with no markup in it."""
    escaped = re.sub(r"([\\`*_\[\]|~])", r"\\\1", " ".join(text.split()))
    return html.escape(escaped, quote=False)


def notebook(*sheets: Sheet) -> str:
    """Return sheets as HTML in which every text is escaped."""
    return f"<div>{''.join(part for sheet in sheets for part in _in_notebook(sheet))}</div>"


def _in_notebook(sheet: Sheet) -> Iterator[str]:
    if sheet.title:
        yield f"<p><b>{html.escape(sheet.title)}</b> {html.escape(sheet.about)}</p>"
    if sheet.rows:
        head = "".join(f"<th>{html.escape(column.heading)}</th>" for column in sheet.columns)
        yield f"<table><thead><tr>{head}</tr></thead><tbody>"
        for row, (first, *others) in _cells(sheet, lambda cell, column: html.escape(cell_text(cell, column.kind))):
            indent = "&emsp;" if row.rank == "part" else ""
            yield f"<tr><th align=left>{indent}{first}</th>{''.join(f'<td>{text}</td>' for text in others)}</tr>"
        yield "</tbody></table>"
    yield from (f"<p><small>{html.escape(note)}</small></p>" for note in sheet.notes)
    if said := [*sheet.said, *sheet.warnings]:
        yield f"<p>{'<br>'.join(map(html.escape, said))}</p>"
