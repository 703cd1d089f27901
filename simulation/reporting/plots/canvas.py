"""The canvas of a plot: the axes that the caller gives, or axes of a figure of its own in retrylab's style."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

STYLE = Path(__file__).with_name("retrylab.mplstyle")
"""The style sheet. For axes of your own in its style, make them ``with matplotlib.style.context(STYLE):``."""

DPI = 130

_ON_ANY_AXES: dict[Any, Any] = {"text.parse_math": False, "legend.frameon": False, "hatch.linewidth": 0.6}
"""Styles for the caller's axes too: a name with two dollar signs in it is no formula."""


class Picture(Figure):
    """A figure that a notebook shows where it is the value of a cell.

    IPython shows a plain `Figure` only once pyplot's inline backend is active, which registers a formatter for it;
    nothing here imports pyplot. A `_repr_png_` of its own is shown by every front end, and where that formatter is
    registered too, it is the one that is used.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return picture_bytes(self, "png"), {"alt": in_words(self)}


class PlotAxes(Axes):
    """Axes that a notebook shows as the picture that they are in, where they are the value of a cell."""

    def _repr_png_(self) -> tuple[bytes, dict[str, str]] | None:
        figure = self.get_figure(root=True)
        return figure._repr_png_() if isinstance(figure, Picture) else None


@contextmanager
def canvas(ax: Axes | None, width: float, height: float) -> Iterator[Axes]:
    """Yield the axes to draw on: `ax`, in the caller's style, or axes of a new figure of this size in inches."""
    if ax is not None:
        with matplotlib.rc_context(_ON_ANY_AXES):
            yield ax
        return
    with matplotlib.style.context(STYLE, after_reset=True):
        figure = Picture(figsize=(width, height), dpi=DPI, layout="constrained")
        yield figure.add_subplot(axes_class=PlotAxes)
        figure.draw_without_rendering()  # makes the ticks while the style holds


def make_ticks(figure: Figure) -> None:
    """Make the ticks of a figure whose layout is fixed, so that they have the style that holds now.

    Drawing does it too, as `draw_without_rendering`, and takes as long as all else together.
    """
    for axes in figure.get_axes():
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_visible():
                axis.get_ticklabels()


def picture_bytes(figure: Figure, form: str) -> bytes:
    """Return the picture as the bytes of a file; the same ones for equal figures. `form` is ``png`` or ``svg``."""
    made_by: dict[str, Any] = {"metadata": {"Date": None}} if form == "svg" else {}
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "retrylab", "svg.fonttype": "path"}):
        figure.savefig(file, format=form, dpi=figure.dpi, facecolor=figure.get_facecolor(), **made_by)
    return file.getvalue()


def as_image(figure: Figure) -> str:
    image, alt = base64.b64encode(picture_bytes(figure, "png")).decode(), escape(in_words(figure), quote=True)
    return f'<img style="max-width:100%" alt="{alt}" src="data:image/png;base64,{image}">'


def in_words(figure: Figure) -> str:
    """Return a text alternative of a figure: the titles, the axes and the legends."""
    sentences: list[str] = []
    axes = [each for of in figure.get_axes() for each in (of, *of.child_axes) if isinstance(each, Axes)]
    for ax in axes:
        legend = ax.get_legend()
        shown = [
            ax.get_title(loc="left"),
            " against ".join(label for label in (ax.get_ylabel(), ax.get_xlabel()) if label),
            ", ".join(text.get_text() for text in legend.get_texts()) if legend is not None else "",
        ]
        sentences += [" ".join(words.split()) for words in shown if words]
    return ". ".join(sentences)


def size_in(ax: Axes) -> tuple[float, float]:
    """Return how wide and how high axes are, in inches, as far as their layout is known by now."""
    dpi = ax.figure.dpi
    return ax.bbox.width / dpi, ax.bbox.height / dpi


def say(ax: Axes, text: str) -> None:
    """Write into axes without data why they are empty, and remove the ticks."""
    ax.xaxis.set_major_locator(NullLocator())
    ax.yaxis.set_major_locator(NullLocator())
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", wrap=True)


def figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None  # unless the axes have been removed
    return figure


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure into a file, as PNG or as SVG by the ending of its name."""
    path.write_bytes(picture_bytes(figure, path.suffix.lower().removeprefix(".")))
