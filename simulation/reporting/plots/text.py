"""Text that fits: measured, wrapped, cut, and without characters that the font does not have."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

from simulation.reporting.plots.canvas import size_in

POINTS_PER_INCH = 72
FAMILY = "DejaVu Sans"  # comes with matplotlib
_BLANKS = re.compile(r"[ \t\r\n\f\v]+")  # not the no-break space, which keeps a number and its unit together
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@cache
def _characters() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=FAMILY))).get_charmap())


def drawable(text: str) -> str:
    """Return `text` on one line, each character that the font does not have replaced."""
    known = _characters()
    return "".join(letter if ord(letter) in known else _UNKNOWN for letter in _BLANKS.sub(" ", text).strip())


@lru_cache(4096)
def width_in(text: str, size: float, weight: str = "normal") -> float:
    """Return how wide `text` is, in inches, at a font size in points."""
    font = FontProperties(family=FAMILY, size=size, weight=weight)
    points: float = text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
    return points / POINTS_PER_INCH


def cut(text: str, room_in: float, size: float, weight: str = "normal") -> str:
    """Return `text`, or as much of its beginning as has room, and an ellipsis."""
    if width_in(text, size, weight) <= room_in:
        return text
    lengths = range(1, len(text))
    fits = bisect(lengths, room_in, key=lambda length: width_in(text[:length].rstrip() + "…", size, weight))
    return text[:fits].rstrip() + "…"


def fit(text: str, room_in: float, size: float, weight: str = "normal") -> tuple[str, float]:
    """Return `text` and the size at which it has room, at least three quarters of this one; then it is cut."""
    wide = width_in(text, size, weight)
    fitting = size * max(min(1.0, room_in / wide), 0.75) if wide else size
    return cut(text, room_in, fitting, weight), fitting


def wrap(text: str, room_in: float, size: float, lines_max: int, weight: str = "normal") -> list[str]:
    """Return `text` in at most `lines_max` lines that fit; the last one is cut when there is more."""
    words = drawable(text).split(" ") if text.strip() else []
    lines: list[str] = []
    while words and len(lines) < lines_max - 1:
        taken = 1
        while taken < len(words) and width_in(" ".join(words[: taken + 1]), size, weight) <= room_in:
            taken += 1
        line = " ".join(words[:taken])
        words = words[taken:]
        fitting = cut(line, room_in, size, weight)
        if fitting != line:  # one word, longer than the line: the rest of it goes on the next
            kept = fitting.removesuffix("…")
            words.insert(0, line[len(kept) :])
            line = kept
        lines.append(line)
    return [*lines, cut(" ".join(words), room_in, size, weight)] if words else lines


# ── legends and titles ────────────────────────────────────────────────────────────────────────────────────────────────


SIZE = 8.5
TITLE_LINES_MAX = 3
HANDLE_IN, LINE_IN = 0.42, 0.19
"""How wide the sign of an entry is with the gaps around it, and how high a line of the legend, in inches."""


def legend_width(handles: Sequence[Artist]) -> float:
    return sum(width_in(str(handle.get_label()), SIZE) + HANDLE_IN for handle in handles)


def legend_above(axes: Axes, handles: Sequence[Artist]) -> None:
    """Put a legend to the right of the title; where that is too long, between title and axes, in lines that fit.

    The title must have been set.
    """
    room = size_in(axes)[0]
    entries = [width_in(str(handle.get_label()), SIZE) + HANDLE_IN for handle in handles]
    title = _title(axes)
    beside = _title_width(axes) + sum(entries) + 0.25 <= room
    columns = len(handles) if beside else _columns(entries, room)
    axes.legend(
        handles=handles,
        loc="lower right" if beside else "lower left",
        bbox_to_anchor=(1.0 if beside else 0.0, 1.0),
        ncols=max(columns, 1),
        fontsize=SIZE,
        borderaxespad=0.4,
        handlelength=1.6,
        handletextpad=0.5,
        columnspacing=1.4,
    )
    if not beside and handles and title:
        lines = -(-len(handles) // columns)
        size, _ = _title_font(axes)
        axes.set_title(title, size=size, pad=5 + (lines * LINE_IN + 0.04) * POINTS_PER_INCH)


def legend_within(
    axes: Axes,
    handles: Sequence[Artist],
    *,
    loc: Literal["best", "lower left", "lower right", "upper left"] = "best",
    title: str | None = None,
) -> None:
    """Put a legend into the axes, over a patch that hides most of the drawing below it."""
    axes.legend(
        handles=handles,
        loc=loc,
        title=title,
        fontsize=SIZE,
        frameon=True,
        framealpha=0.8,
        edgecolor="none",
        fancybox=False,
        borderaxespad=0.6,
        borderpad=0.3,
        handlelength=2.2,
    )


def _title(axes: Axes) -> str:
    return axes.get_title("left") or axes.get_title("center") or axes.get_title("right")


def _title_width(axes: Axes) -> float:
    size, weight = _title_font(axes)
    return max(width_in(line, size, weight) for line in _title(axes).split("\n"))


def _title_font(axes: Axes) -> tuple[float, str]:
    font: FontProperties = getattr(axes, "_left_title" if axes.get_title("left") else "title").get_fontproperties()
    return font.get_size_in_points(), str(font.get_weight())


def set_title(axes: Axes, title: str, *, lines_max: int = TITLE_LINES_MAX) -> None:
    """Set the title of axes, in as many lines as keep it no wider than they are, or else cut."""
    size, weight = _title_font(axes)
    if lines_max == 1:
        title, size = fit(title, size_in(axes)[0], size, weight)
        axes.set_title(title, size=size)
        return
    axes.set_title("\n".join(wrap(title, size_in(axes)[0], size, lines_max, weight)))


def _columns(entries: Sequence[float], room: float) -> int:
    """Return how many columns of entries fit, at least one; all are as wide as the widest entry."""
    for columns in range(len(entries), 1, -1):
        if sum(max(entries[column::columns]) for column in range(columns)) <= room:
            return columns
    return 1
