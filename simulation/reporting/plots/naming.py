"""Texts at lines within axes, where they hide least: beside each other, and off the curves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.text import Annotation
from matplotlib.transforms import blended_transform_factory

from simulation.reporting.plots.canvas import size_in
from simulation.reporting.plots.looks import SMALL_SIZE
from simulation.reporting.plots.text import POINTS_PER_INCH, cut, drawable, width_in

ROOM = 2.9
"""How wide a text may be, in inches."""

HEIGHT, APART, GAP, CLEAR = 0.12, 0.06, 0.03, 0.025
"""Of a text: how high it is, how far from others and from the ends, how far off its line, and off curves."""

STEP = 0.15
"""In inches: how far apart the places are that are tried."""

ON_A_TEXT = 100.0
"""Lying on another text is so many times as bad as lying on as much of a curve."""

ON_A_FILL = 0.3
"""And to lie on as much of an area."""

ASIDE = 0.1
"""The cost of being this far from the wanted side, likewise."""

OFF_ITS_LINE = 0.6
"""The cost of being this far from its line, likewise."""

FOOT = 0.045
"""The height of a text at the bottom, as a share of the axes."""

Floats = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in inches within the axes."""


def name_line(
    axes: Axes, text: str, at: float | None, color: str, *, span: tuple[float, float] | None = None, right: bool = True
) -> None:
    """Write a text near a horizontal line, where it hides least of what is drawn by now.

    The limits of the axes must be known.
    """
    width, height = size_in(axes)
    text = cut(drawable(text), min(ROOM, width - 2 * APART), SMALL_SIZE)
    takes = width_in(text, SMALL_SIZE)
    line_in = FOOT * height if at is None else float(_inches(axes, np.array([[0.0, at]]))[0, 1])
    first, last = (
        (0.0, width) if span is None else np.clip(_inches(axes, np.array([[x, 0.0] for x in span]))[:, 0], 0, width)
    )
    places = np.arange(first + APART, max(last - takes - APART, first + APART) + 1e-9, STEP)
    places = np.minimum(places, width - takes - APART)
    boxes = [
        (left, bottom, left + takes, bottom + HEIGHT)
        for left in (places[::-1] if right else places)
        for bottom in (line_in + GAP, line_in - GAP - HEIGHT, *np.arange(APART, height - HEIGHT - APART, STEP))
        if bottom >= 0 and bottom + HEIGHT <= height
    ] or [(float(places[-1]), line_in, float(places[-1]) + takes, line_in + HEIGHT)]
    curves, fills, texts = _curves(axes), _fills(axes), _texts(axes)
    wanted_in = boxes[0][0]
    hidden = [
        _on_curves(box, curves)
        + ON_A_FILL * _on_fills(box, fills)
        + ON_A_TEXT * _on_texts(box, texts)
        + ASIDE * abs(box[0] - wanted_in)
        + OFF_ITS_LINE * max(0.0, min(abs(box[1] - line_in), abs(box[3] - line_in)) - 2 * GAP)
        for box in boxes
    ]
    left, bottom, _, _ = boxes[int(np.argmin(hidden))]
    axes.annotate(
        text,
        (left / width, FOOT if at is None else at),
        xycoords=axes.transAxes if at is None else blended_transform_factory(axes.transAxes, axes.transData),
        xytext=(0, (bottom - line_in) * POINTS_PER_INCH),
        textcoords="offset points",
        va="bottom",
        size=SMALL_SIZE,
        color=color,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        zorder=6,
    )


def _inches(axes: Axes, points: Floats) -> Floats:
    """Return points of the data in inches from the lower left corner of the axes."""
    found: Floats = (axes.transData.transform(points) - [axes.bbox.x0, axes.bbox.y0]) / axes.figure.dpi
    return found


def _curves(axes: Axes) -> Floats:
    """Return the segments of drawn curves as boxes, a row each: left, bottom, right and top in inches."""
    segments = [np.empty((0, 4))]
    for artist in (*axes.lines, *axes.patches):
        if isinstance(artist, Line2D) and artist.get_transform().contains_branch(axes.transData):
            points = np.asarray(artist.get_xydata(), float)
            if artist.get_transform() != axes.transData:  # from one end of the axes to the other
                points[:, 0] = axes.get_xlim()
        elif isinstance(artist, StepPatch):
            values, edges, _ = artist.get_data()
            points = np.column_stack([np.repeat(edges, 2)[1:-1], np.repeat(values, 2)])
        else:
            continue
        inches = _inches(axes, points)
        pairs = np.hstack([np.minimum(inches[:-1], inches[1:]), np.maximum(inches[:-1], inches[1:])])
        segments.append(pairs[np.isfinite(pairs).all(axis=1)])
    return np.concatenate(segments)


def _fills(axes: Axes) -> Floats:
    """Return the steps of areas as boxes, a row each, as the segments of curves are."""
    found = [np.empty((0, 4))]
    for artist in axes.patches:
        if isinstance(artist, StepPatch) and artist.get_fill():
            values, edges, baseline = artist.get_data()
            low = _inches(axes, np.column_stack([edges[:-1], np.broadcast_to(baseline, len(values))]))
            high = _inches(axes, np.column_stack([edges[1:], values]))
            boxes = np.hstack([np.minimum(low, high), np.maximum(low, high)])
            found.append(boxes[np.isfinite(boxes).all(axis=1)])
    return np.concatenate(found)


def _on_fills(box: Box, fills: Floats) -> float:
    """Return how much of a box is on areas, in inches of its width."""
    sides = np.minimum(fills[:, 2:], box[2:]) - np.maximum(fills[:, :2], box[:2])
    return float(np.prod(sides.clip(0.0), axis=1).sum()) / HEIGHT


def _texts(axes: Axes) -> list[Box]:
    found = []
    width, height = size_in(axes)
    for text in axes.texts:
        if not isinstance(text, Annotation):
            continue
        box = text.get_window_extent()
        left, bottom, right, top = (
            np.array([box.x0 - axes.bbox.x0, box.y0 - axes.bbox.y0, box.x1 - axes.bbox.x0, box.y1 - axes.bbox.y0])
            / axes.figure.dpi
        )
        if right > 0 and left < width and top > 0 and bottom < height:
            found.append((left, bottom, right, top))
    return found


def _on_curves(box: Box, curves: Floats) -> float:
    around = np.add(box, (-CLEAR, -CLEAR, CLEAR, CLEAR))
    low, high = np.maximum(curves[:, :2], around[:2]), np.minimum(curves[:, 2:], around[2:])
    lengths = high - low
    return float(lengths[(lengths >= 0).all(axis=1)].sum())


def _on_texts(box: Box, texts: list[Box]) -> float:
    return sum(
        max(0.0, min(box[2], other[2]) - max(box[0], other[0]) + APART)
        for other in texts
        if box[1] < other[3] and box[3] > other[1]
    )
