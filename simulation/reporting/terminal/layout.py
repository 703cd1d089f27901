"""Text and tables that fit a terminal, and stay where they are while their figures change."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.progress_bar import ProgressBar
from rich.text import Text

GAP = 2
"""Between columns; half of that where it is narrow."""

SEPARATOR = " · "
BAR_WIDTH_MAX = 100


def packed(parts: Sequence[Text], width: int, *, lines_max: int) -> list[Text]:
    """Return parts one after the other in as few lines as have room for them; at most so many, and an ellipsis."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(SEPARATOR) + part.cell_len <= width:
            lines[-1].append(SEPARATOR, style="dim").append_text(part)
        elif len(lines) < lines_max:
            lines.append(Text(no_wrap=True).append_text(part))
        else:
            lines[-1].append(f"{SEPARATOR}…", style="dim")
            break
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def in_a_line(facts: Iterable[Text]) -> str:
    """Return facts as one line of a log."""
    return " ".join(", ".join(fact.plain for fact in facts).split())


def bar(done: float, of: float, width: int) -> ProgressBar:
    """Return a bar that shows how much is done; not in the colour of problems."""
    return ProgressBar(
        total=of, completed=done, width=min(width, BAR_WIDTH_MAX), complete_style="cyan", finished_style="cyan"
    )


class Column(NamedTuple):
    heading: str
    least: int = 0
    """How wide it is from the beginning, for the figures to come."""

    need: int = 0
    """Where there is no room for all columns those with the smallest need go first; those of 0 stay."""

    left: bool = False
    """Its text begins at the left; figures end at the right."""

    cut_to: int | None = None
    """Where there is no room it is cut to so many characters before another column goes; None: never."""


class SteadyTable:
    """Rows under headings, drawn anew with other figures, in columns that grow and never shrink.

    So nothing jumps to and fro when a figure has a digit more for a moment.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths = [max(cell_len(column.heading), column.least) for column in columns]

    def draw(self, rows: Sequence[tuple[str, Sequence[Text]]], width: int) -> list[Text]:
        """Return the lines of a table of some rows, each with its style; only those columns that have room.

        Each line is one text: a table of rich's is measured anew each time, which takes several times as long.
        """
        for _, cells in rows:
            self._widths = [max(old, cell.cell_len) for old, cell in zip(self._widths, cells, strict=True)]
        kept, gap, widths = self._fitting(width)
        headings = [Text(column.heading) for column in self._columns]
        lines = []
        for style, cells in [("bold", headings), *rows]:
            shown = [cells[number].copy() for number in kept]
            for cell, number in zip(shown, kept, strict=True):
                cell.truncate(widths[number], overflow="ellipsis")
                cell.align("left" if self._columns[number].left else "right", widths[number])
            line = Text(" " * gap, style=style, no_wrap=True).join(shown)
            line.rstrip()
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
        return lines

    def _fitting(self, width: int) -> tuple[list[int], int, list[int]]:
        kept, gap = list(range(len(self._columns))), GAP
        widths = [
            full if column.cut_to is None else min(full, column.cut_to)
            for full, column in zip(self._widths, self._columns, strict=True)
        ]

        def room() -> int:
            return width - sum(widths[number] for number in kept) - gap * (len(kept) - 1)

        needed = sorted((number for number in kept if self._columns[number].need), key=lambda n: self._columns[n].need)
        while room() < 0:
            if gap > 1:
                gap = 1
            elif needed:
                kept.remove(needed.pop(0))
            else:
                break
        for number in kept:
            widths[number] += min(max(room(), 0), self._widths[number] - widths[number])
        return kept, gap, widths


# ── pace ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


WINDOW_S = 5.0
"""How far back a pace looks."""


class Pace:
    """How fast a count rises by the wall clock, over its latest seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def see(self, now_s: float, count: float) -> None:
        self._seen.append((now_s, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - WINDOW_S:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """Its rise a second; None where not enough has been seen."""
        if len(self._seen) < 2:
            return None
        (from_s, low), (to_s, high) = self._seen[0], self._seen[-1]
        return (high - low) / (to_s - from_s) if to_s > from_s else None


def time_left(elapsed_s: float, share: float) -> float | None:
    """Return the seconds that the rest takes, if the pace stays the same; None at the beginning."""
    return elapsed_s * (1 - share) / share if share > 0 else None
