"""Lines of facts, bars and tables that fit a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

BAR_WIDTH_MAX = 100
_WIDEST = 10_000


def joined(parts: Iterable[Text]) -> Text:
    """Return parts one after the other, with dots between."""
    return Text.assemble((" · ", "dim")).join(parts)


def bar(finished: float, of: float) -> Padding:
    """Return a line with a bar that shows how much of something is finished; not of the colour of what is wrong."""
    return Padding(ProgressBar(of, finished, BAR_WIDTH_MAX, complete_style="cyan", finished_style="cyan"), expand=False)


class FittingTable(Table):
    """A table for narrow terminals too: columns come closer, then spare ones are left out, then text is cut off.

    A column with a `max_width` is cut to it before others are left out; where there is room it is as wide as it needs.
    """

    def __init__(self, columns: Iterable[Column], spare: Sequence[str]) -> None:
        """Begin with no rows.

        Args:
            columns: the columns. Those with `no_wrap` are cut off only when there is nothing left of the others.
            spare: the headings of columns that may be left out, in that order.
        """
        super().__init__(*columns, box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="bold")
        self._spare = spare

    def add(self, *cells: str | Text, style: str = "") -> None:
        """Add a row of one line."""
        self.add_row(*(Text.assemble(cell, no_wrap=True, overflow="ellipsis") for cell in cells), style=style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw what there is room for."""
        wide = options.update(max_width=_WIDEST)
        spare = iter(self._spare)
        while Measurement.get(console, wide, self).maximum > options.max_width:
            if self.padding[3] > 1:
                self.padding = (0, 0, 0, 1)
            elif heading := next(spare, None):
                self.columns = [column for column in self.columns if column.header != heading]
            else:
                for column in self.columns:
                    column.min_width = None
                break
        for column in self.columns:
            column.max_width = None
        return super().__rich_console__(console, options)


def figures_column(heading: str, min_width: int | None = None) -> Column:
    """Return a column of figures, which end at the right.

    Args:
        heading: what stands above it.
        min_width: room for the figures to come, so that the columns stay where they are.
    """
    return Column(heading, justify="right", no_wrap=True, min_width=min_width)
