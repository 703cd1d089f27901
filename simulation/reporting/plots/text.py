"""Text that fits: measured, wrapped, cut, and without characters that the font does not have."""

from __future__ import annotations

import re
from bisect import bisect
from functools import cache, lru_cache

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

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
    """Return `text` in lines that have room, at most so many; the last one is cut when there is more."""
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
