"""The figures of the page, each with a caption and in words what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from simulation.report.drawing import as_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulation.result import Result


class Drawn(NamedTuple):
    """A figure of the page."""

    key: str
    title: str
    caption: str
    svg: Markup
    wide: bool = False


def figures(result: Result, overview: Figure | None = None) -> list[Drawn]:
    """Return the figures of a run.

    Args:
        result: of the run.
        overview: the figure of :func:`simulation.plots.overview`, where it has been drawn already.
    """
    from simulation.plots import overview as draw_overview
    from simulation.report import in_words

    return [_drawn(overview or draw_overview(result), "overview", "Overview", in_words.overview(result), wide=True)]


def _drawn(figure: Figure, key: str, title: str, said: str, *, wide: bool = False) -> Drawn:
    return Drawn(key, title, said, Markup(as_svg(figure, key, title, said)), wide)
