"""How drawn things are distinguished: by colour, and in grey print by line, marker or hatching as well.

The colours are those of Masataka Okabe and Kei Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

LineStyle: TypeAlias = "str | tuple[float, tuple[float, ...]]"

BLACK, BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE = (
    "#222222",
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
)


class Series(NamedTuple):
    color: str
    line: LineStyle
    marker: str


SERIES = (
    Series(BLUE, "-", "o"),
    Series(VERMILION, (0, (5, 1.5)), "s"),
    Series(GREEN, (0, (6, 1.5, 1, 1.5)), "^"),
    Series(PURPLE, (0, (1.2, 1.2)), "D"),
    Series(BLACK, (0, (9, 2)), "v"),
    Series(ORANGE, (0, (3, 1, 1, 1, 1, 1)), "P"),
    Series(SKY, (0, (2.5, 2.5)), "X"),
)


def series_look(number: int) -> Series:
    """Return how the series of this number looks; with more than there are colours, lines and colours combine anew."""
    turn, place = divmod(number, len(SERIES))
    return Series(SERIES[place].color, *SERIES[(place + turn) % len(SERIES)][1:])


class Mark(NamedTuple):
    """The look of the end of an attempt or of a notification: as a bar, and as a point."""

    color: str
    hatch: str
    marker: str
    words: str


OUTCOMES = {
    "sent": Mark(BLUE, "", "o", "sent"),
    "transient": Mark(VERMILION, "////", "x", "transient failure"),
    "ambiguous": Mark(PURPLE, "xxxx", "D", "ambiguous"),
    "permanent": Mark(BLACK, "", "s", "permanent failure"),
    "dead_destination": Mark(BLACK, "....", "P", "address gone"),
    "channel_fault": Mark(ORANGE, "\\\\\\\\", "^", "channel fault"),
    "interrupted": Mark("#7a4a12", "++++", "d", "interrupted"),
}
"""The look of an attempt by its outcome."""

ENDS = {
    "dead_lettered": Mark(BLACK, "", "X", "dead-lettered"),
    "suppressed": Mark(GREEN, "", "v", "suppressed"),
    "in_flight": Mark(BLACK, "", ">", "still in flight"),
}
"""The look of the end of a notification that was not sent."""

REDRIVEN = Mark(GREEN, "", "^", "redriven")
"""The look of a redrive of dead letters."""

WAITS = {
    "backoff": Mark("#f0b400", "", "", "backoff"),
    "rate_limit": Mark(SKY, "////", "", "rate limit"),
    "circuit_breaker": Mark("#a3320f", "\\\\\\\\", "", "behind a breaker"),
    "quiet_hours": Mark("#8c3b7e", "....", "", "quiet hours"),
    "dead_letter_queue": Mark(BLACK, "xxxx", "", "in the dead letter queue"),
    "interruption": Mark("#7a4a12", "----", "", "after an interruption"),
    "turn": Mark("#999999", "", "", "waits for its turn"),
}
"""The look of a wait by its cause."""


def outcome_look(outcome: str) -> Mark:
    """Return how an attempt with this outcome looks, also with one that is not known here."""
    return OUTCOMES.get(outcome, Mark("#999999", "||||", "*", outcome))


# ── measures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


# All in inches: every panel has its own height, and the picture is as tall as they are together.
WIDTH, LEFT, RIGHT, TOP, BOTTOM, GAP = 11.3, 0.85, 2.75, 0.2, 0.6, 0.42
PANEL_WIDTH = WIDTH - LEFT - RIGHT
NOTE_ROOM = RIGHT - 0.25
"""The width of the note beside a panel, in inches."""

# In points.
SMALL_SIZE, NOTE_SIZE, TEXT_SIZE, TITLE_SIZE = 7.5, 8.5, 9.5, 15.0

NOTES_AT = 1.015
"""Where the notes beside a panel begin, in widths of it."""

GREY = "#444444"
HOLDS, FAILS = "#00664b", "#a3320f"
