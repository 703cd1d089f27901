"""The structure of axes as plain data: texts, scales, and each artist with its kind, label, look and data in short.

It says what a reader would see missing: a series, a label, a point; not where a pixel is. Data is described by the
number of points, its range, its mean and its mean weighted by place, with four digits each.
"""

import numpy as np
from matplotlib.collections import Collection, LineCollection, PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle, StepPatch


def described(ax):
    """Return what is in axes, drawn once already."""
    legend = ax.get_legend()
    return {
        "title": "|".join(filter(None, (ax.get_title(place) for place in ("left", "center", "right")))),
        "x": _axis(ax.xaxis, ax.get_xlim()),
        "y": _axis(ax.yaxis, ax.get_ylim()),
        "legend": [] if legend is None else [text.get_text() for text in legend.get_texts()],
        "texts": [text.get_text() for text in ax.texts],
        "artists": [_artist(one) for one in (*ax.lines, *ax.patches, *ax.collections)],
        "within": [described(child) for child in ax.child_axes],
    }


def _axis(axis, limits):
    return {
        "label": axis.get_label_text(),
        "scale": axis.get_scale(),
        "limits": [_rounded(limit) for limit in limits],
        "ticks": [text.get_text() for text in axis.get_ticklabels() if text.get_text()] if axis.get_visible() else None,
    }


def _artist(artist):
    shown = {"kind": type(artist).__name__, "label": _label(artist)}
    if isinstance(artist, Line2D):
        points = np.column_stack([np.asarray(axis, float) for axis in artist.get_data()])
        shown |= {"color": to_hex(artist.get_color()), "line": artist.get_linestyle(), "marker": artist.get_marker()}
    elif isinstance(artist, StepPatch):
        values, edges, _ = artist.get_data()
        points = np.column_stack([edges[:-1], values])
        shown |= {"color": to_hex(artist.get_facecolor() if artist.get_fill() else artist.get_edgecolor())}
    elif isinstance(artist, Rectangle):
        points = np.array([[artist.get_x(), artist.get_y()], [artist.get_x() + artist.get_width(), artist.get_y()]])
        shown |= {"color": to_hex(artist.get_facecolor()), "hatch": artist.get_hatch()}
    elif isinstance(artist, QuadMesh):
        values = np.ma.filled(artist.get_array(), np.nan).astype(float).ravel()
        points = np.column_stack([np.arange(len(values)), values])
    elif isinstance(artist, PathCollection):
        points = np.asarray(artist.get_offsets(), float)
        shown |= _look(artist)
    elif isinstance(artist, (LineCollection, Collection)):
        points = np.concatenate([path.vertices for path in artist.get_paths()] or [np.empty((0, 2))])
        shown |= _look(artist) | {"pieces": len(artist.get_paths())}
    else:
        raise TypeError(f"no description of {artist}")
    return {**shown, "points": len(points), "x": _in_short(points[:, 0]), "y": _in_short(points[:, 1])}


def _look(collection):
    colors = [*collection.get_facecolor(), *collection.get_edgecolor()]
    return {"color": to_hex(colors[0]) if len(colors) else None, "hatch": collection.get_hatch()}


def _label(artist):
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _in_short(values):
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    weighted = (known * np.arange(1, len(known) + 1)).sum() / np.arange(1, len(known) + 1).sum()
    return [_rounded(value) for value in (known.min(), known.max(), known.mean(), weighted)]


def _rounded(value):
    return float(f"{value:.4g}") + 0.0
