"""Measures and colours that the parts of a picture share."""

from __future__ import annotations

# All in inches: every panel has its own height, and the picture is as tall as they are together.
WIDTH, LEFT, RIGHT, TOP, BOTTOM, GAP = 11.3, 0.85, 2.75, 0.2, 0.6, 0.42
PANEL_WIDTH = WIDTH - LEFT - RIGHT
NOTE_ROOM = RIGHT - 0.25
"""How wide what stands beside a panel may be."""

# In points.
SMALL_SIZE, NOTE_SIZE, TEXT_SIZE, TITLE_SIZE = 7.5, 8.5, 9.5, 15.0

NOTES_AT = 1.015
"""Where the notes beside a panel begin, in widths of it."""

GREY = "#444444"
HOLDS, FAILS = "#00664b", "#a3320f"
