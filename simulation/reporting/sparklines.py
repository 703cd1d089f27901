"""Series as lines of text: blocks of eight heights, bands of states, windows of time, and the axis below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

BLOCKS = "▁▂▃▄▅▆▇█"
"""Of an eighth to all of the height; nothing at all is a blank."""

T = TypeVar("T")
S = TypeVar("S")


def in_cells(values: Sequence[T], size: int, fold: Callable[[Sequence[T]], S]) -> list[S]:
    """Return `values`, so many of them folded into one."""
    return [fold(values[start : start + size]) for start in range(0, len(values), size)]


def sparkline(values: Iterable[float], top: float | None = None) -> str:
    """Return a block for each value of at least 0; the highest block is `top`, by default the largest of them."""
    values = list(values)
    top = max(values, default=0) if top is None else top
    return "".join(_block(value / top) if value > 0 and top > 0 else " " for value in values)


def _block(share: float) -> str:
    """Return the lowest block for whatever is more than nothing, so that a single failure is seen."""
    return BLOCKS[min(len(BLOCKS) - 1, max(0, round(share * len(BLOCKS)) - 1))]


def windows_line(spans: Iterable[tuple[float, float]], cell_s: float, cells: int) -> str:
    """Return a line that is drawn where a window is open: from and to in seconds, however short it is."""
    line = [" "] * cells
    for start_s, end_s in spans:
        first = min(cells - 1, int(start_s / cell_s))
        last = min(cells - 1, max(first, int(-(-end_s // cell_s)) - 1))
        line[first : last + 1] = "━" * (last + 1 - first)
    return "".join(line)


def axis(ticks: Iterable[tuple[float, str]], cell_s: float, cells: int) -> tuple[str, str]:
    """Return a line with ticks, given in seconds with their texts, and the line of those texts that have room."""
    line, texts, free_from = ["─"] * cells, [" "] * (cells + 8), 0
    for at_s, text in ticks:
        cell = int(at_s / cell_s)
        if cell >= cells:
            break
        line[cell] = "┬" if cell else "┌"
        if cell >= free_from:
            texts[cell : cell + len(text)] = text
            free_from = cell + len(text) + 1
    return "".join(line), "".join(texts).rstrip()
