"""The windows of faults and quiet hours in the picture: a lane for each, and shading in the panels below."""

from __future__ import annotations

from matplotlib.axes import Axes

from simulation.plots.layout import NOTE_ROOM, NOTE_SIZE, NOTES_AT, PANEL_WIDTH, SMALL_SIZE
from simulation.plots.text import POINTS_PER_INCH, wrap
from simulation.windows import Window

WINDOWS_MAX = 12
FAULT, QUIET, TAG = "#e69f00", "#56b4e9", "#7a4f00"


def tag(number: int) -> str:
    """Return the letter by which a window is known in all panels."""
    return chr(ord("A") + number)


_TITLES = {
    frozenset({False}): "Faults",
    frozenset({True}): "Quiet hours",
    frozenset({False, True}): "Faults and quiet hours",
}


def window_notes(found: list[Window]) -> list[list[str]]:
    """Return the lines beside each window, the last entry being about those that find no room."""
    notes = [wrap(window.text, NOTE_ROOM, NOTE_SIZE, 2) for window in found[:WINDOWS_MAX]]
    if len(found) > WINDOWS_MAX:
        notes.append([f"and {len(found) - WINDOWS_MAX:,} more"])
    return notes


def draw_windows(axes: Axes, found: list[Window], notes: list[list[str]]) -> None:
    """Draw a lane for each window, with what it is about beside it."""
    axes.set_title(_TITLES[frozenset(window.quiet for window in found)])
    middles: list[float] = []
    bottom = 0.0
    for lines in notes:
        middles.append(bottom + len(lines) / 2)
        bottom += len(lines)
    for window, middle in zip(found, middles[: min(len(found), WINDOWS_MAX)], strict=False):
        lane = (middle - 0.32, 0.64)
        spans = [(start_s, stop_s - start_s) for start_s, stop_s in window.spans]
        color = QUIET if window.quiet else FAULT
        axes.broken_barh(spans, lane, facecolor=color, alpha=0.6, linewidth=0.7, edgecolor="#555555", label=window.text)
        if window.dips:
            dips = [(start_s, stop_s - start_s) for start_s, stop_s in window.dips]
            axes.broken_barh(dips, lane, facecolor=TAG, linewidth=0, label=f"{window.text}: down")
    for lines, middle in zip(notes, middles, strict=True):
        beside = axes.get_yaxis_transform()
        axes.text(NOTES_AT, middle, "\n".join(lines), transform=beside, size=NOTE_SIZE, va="center", linespacing=1.15)
    axes.set_ylim(bottom, 0)
    tags = [tag(number) for number in range(min(len(found), WINDOWS_MAX))]
    axes.set_yticks(middles[: len(tags)], tags, color=TAG, weight="bold")
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def shade(panels: list[Axes], found: list[Window], arrivals_end_s: float, end_s: float) -> None:
    """Shade the windows in all `panels`, with their letters; one that holds all the time would set nothing apart."""
    tags: dict[float, str] = {}
    for number, window in enumerate(found):
        first_s, until_s = window.spans[0]
        if first_s == 0 and until_s >= min(arrivals_end_s, end_s):
            continue
        color = QUIET if window.quiet else FAULT
        for start_s, stop_s in window.spans:
            for axes in panels:
                axes.axvspan(start_s, stop_s, facecolor=color, alpha=0.14, linewidth=0, label=window.text, zorder=0.5)
        if number < WINDOWS_MAX:
            tags[first_s] = tags.get(first_s, "") + tag(number)
    for axes in panels:
        _write_tags(axes, tags, end_s)


def _write_tags(axes: Axes, tags: dict[float, str], end_s: float) -> None:
    free_from_s = 0.0
    for start_s, letters in sorted(tags.items()):
        if start_s < free_from_s:
            continue
        axes.annotate(
            letters,
            (start_s, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -3),
            textcoords="offset points",
            size=SMALL_SIZE,
            weight="bold",
            color=TAG,
            va="top",
            annotation_clip=False,
        )
        free_from_s = start_s + end_s * (8 * len(letters) + 4) / (PANEL_WIDTH * POINTS_PER_INCH)
