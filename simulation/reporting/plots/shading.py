"""The windows of faults and quiet hours in the picture: a lane for each, and shading in the panels below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from simulation.reporting.fault_windows import Window
from simulation.reporting.plots.canvas import size_in
from simulation.reporting.plots.looks import GREY, NOTE_ROOM, NOTE_SIZE, NOTES_AT, PANEL_WIDTH, SMALL_SIZE
from simulation.reporting.plots.text import POINTS_PER_INCH, cut, drawable, width_in, wrap

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
    """Return the lines beside each window; the last entry is for the windows without room."""
    notes = [wrap(window.text, NOTE_ROOM, NOTE_SIZE, 2) for window in found[:WINDOWS_MAX]]
    if len(found) > WINDOWS_MAX:
        notes.append([f"and {len(found) - WINDOWS_MAX:,} more"])
    return notes


def draw_windows(axes: Axes, found: list[Window], notes: list[list[str]]) -> None:
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


def shade(
    panels: list[Axes],
    found: list[Window],
    arrivals_end_s: float | None,
    end_s: float,
    *,
    tagged: bool = True,
    numbers: Sequence[int] | None = None,
) -> None:
    """Shade the windows in all `panels`; one that holds all the time is not shaded.

    Their letters are written into the shades unless they are not `tagged`; `numbers` are the places of the windows
    among all with letters, in order when None.
    """
    tags: dict[float, str] = {}
    for number, window in zip(range(len(found)) if numbers is None else numbers, found, strict=True):
        first_s, until_s = window.spans[0]
        if first_s == 0 and until_s >= (end_s if arrivals_end_s is None else min(arrivals_end_s, end_s)):
            continue
        color = QUIET if window.quiet else FAULT
        for start_s, stop_s in window.spans:
            for axes in panels:
                axes.axvspan(start_s, stop_s, facecolor=color, alpha=0.14, linewidth=0, label=window.text, zorder=0.5)
        if number < WINDOWS_MAX:
            tags[first_s] = tags.get(first_s, "") + tag(number)
    for axes in panels if tagged else []:
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


LANE_INCHES = 0.17
LANES_MAX = 4
TOP_SHARE_MAX = 0.45
"""Labels take no more than this of the height of axes."""


class Label(NamedTuple):
    """The text of a window within axes: where it begins, in inches from the left, and in which line from the top."""

    window: Window
    text: str
    at_in: float
    lane: int


def labels_of(found: Sequence[Window], end_s: float, room_in: float) -> tuple[list[Label], int]:
    """Return where the windows' texts have room beside and below each other, and how many find none."""
    labels: list[Label] = []
    free_from_in = [0.0] * LANES_MAX
    for window in sorted(found, key=lambda window: window.spans[0]):
        text = cut(drawable(window.text), room_in - 0.1, SMALL_SIZE)
        width = width_in(text, SMALL_SIZE) + 0.12
        at_in = max(0.0, min(window.spans[0][0] / end_s * room_in, room_in - width))
        lane = next((lane for lane, free in enumerate(free_from_in) if free <= at_in), None)
        if lane is None:
            continue
        free_from_in[lane] = at_in + width
        labels.append(Label(window, text, at_in, lane))
    return labels, len(found) - len(labels)


def shade_and_label(
    axes: Axes, found: Sequence[Window], end_s: float, arrivals_end_s: float | None, top: float = 1.0
) -> None:
    """Shade the windows, and write what they are about above the data, for which the axis is made to go higher.

    A bar below each text is as long as its window, which grey print shows too.
    """
    width_in_inches, height = size_in(axes)
    labels, left_out = labels_of(found, end_s, width_in_inches)
    lanes = 1 + max((label.lane for label in labels), default=-1) + bool(left_out)
    lane_share = min(LANE_INCHES / height, TOP_SHARE_MAX / max(lanes, 1))
    keep_free_above(axes, top - lanes * lane_share)
    shade([axes], list(found), arrivals_end_s, end_s, tagged=False)
    across = axes.get_xaxis_transform()
    for label in labels:
        middle = top - (label.lane + 0.5) * lane_share
        color = QUIET if label.window.quiet else FAULT
        spans = label.window.spans
        axes.hlines(
            [middle - lane_share * 0.42] * len(spans),
            [start_s for start_s, _ in spans],
            [stop_s for _, stop_s in spans],
            color=color,
            linewidth=1.6,
            transform=across,
            label=f"{label.window.text}: span",
        )
        at_s = (label.at_in + 0.04) / width_in_inches * end_s
        axes.text(at_s, middle, label.text, transform=across, size=SMALL_SIZE, va="center")
    if left_out:
        text = f"and {left_out:,} more"
        axes.text(0.0, top - (lanes - 0.5) * lane_share, text, transform=axes.transAxes, size=SMALL_SIZE, va="center")
    if arrivals_end_s is not None and arrivals_end_s < end_s:
        mark_end_of_arrivals(axes, arrivals_end_s)


def keep_free_above(axes: Axes, share: float) -> None:
    """Raise the upper limit of the y axis until the former height is this share of the new one; 0: there is no data."""
    if share <= 0:
        return
    scale = axes.yaxis.get_transform()
    low, high = scale.transform(axes.get_ylim())
    axes.set_ylim(top=float(scale.inverted().transform([low + (high - low) / share])[0]))


def mark_end_of_arrivals(axes: Axes, arrivals_end_s: float) -> None:
    """Mark where arrivals stop: afterwards only notifications in flight are left."""
    axes.axvline(arrivals_end_s, color=GREY, linewidth=1.0, linestyle=(0, (1, 1.5)), label="arrivals stop")
