"""The figures of the page, each with a caption that says in words and numbers what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import matplotlib.style
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from simulation.reporting import plots
from simulation.reporting.html import in_words
from simulation.reporting.html.drawing import as_svg
from simulation.reporting.html.hovering import fields
from simulation.reporting.plots.backoff import policies_by_channels
from simulation.reporting.plots.header import header
from simulation.reporting.plots.layout import LEFT, RIGHT, TOP, WIDTH
from simulation.reporting.plots.source import By

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulation.results.result import Result


class Drawn(NamedTuple):
    """A figure of the page."""

    key: str
    title: str
    said: str
    """What it shows."""
    svg: Markup
    wide: bool = False
    narrow: bool = False
    """Whether it is for narrow screens alone."""


class Size(NamedTuple):
    """How large a figure is, and how much of that is around its axes, in inches."""

    width: float
    height: float
    left: float
    right: float
    top: float = 0.35
    bottom: float = 0.6


BELOW_THE_OVERVIEW = Size(WIDTH, 2.9, LEFT, RIGHT, 0.65)
HALF = Size(6.4, 3.7, 0.85, 0.2)


def figures(result: Result, overview: Figure | None = None, keys: Mapping[str, str] | None = None) -> list[Drawn]:
    """Return the figures of a run.

    Args:
        result: of the run.
        overview: the figure of :func:`simulation.reporting.plots.overview`, where it has been drawn already.
        keys: the ids of the elements of the notifications that the page has more about, to which points are links.
    """
    return [_overview(result, overview or plots.overview(result), keys or {}), *_narrow(result), *_others(result)]


NARROW = 4.3
"""How wide the figures for narrow screens are, in inches; their text is then as large as that of the page."""


def _narrow(result: Result) -> Iterator[Drawn]:
    """Yield for narrow screens the whole course of the run, as wide as these."""
    if result.scenario.record != "full" or result.notifications.empty:
        return
    several: By | None = "channel" if len(result.scenario.channels_used) > 1 else None
    count = len(result.scenario.channels_used)
    for key, title, draw, left in (
        ("narrow-rates", "Per second", plots.throughput, 0.55),
        ("narrow-times", "Delivery time by acceptance", plots.delivery_over_time, 0.75),
    ):
        top, bottom = (0.5, 0.5) if several else (1.0, 0.5)
        height = 1.55 * count + top + bottom
        with matplotlib.style.context(plots.STYLE, after_reset=True), matplotlib.rc_context({"axes.titlesize": 8}):
            figure = Figure(figsize=(NARROW, height))
            box = (left / NARROW, bottom / height, 1 - (left + 0.1) / NARROW, 1 - (bottom + top) / height)
            draw(result, figure.add_axes(box), by=several)
            said = in_words.of_the_rates(result) if key == "narrow-rates" else in_words.of_the_delivery_times(result)
            yield Drawn(key, title, said, Markup(as_svg(figure, key, title, said)), narrow=True)


def _others(result: Result) -> Iterator[Drawn]:
    """Yield what the overview does not show; below it, and on the same axis, what is drawn over time."""
    used = result.scenario.channels_used
    policies = policies_by_channels({channel: result.scenario.channel_config(channel) for channel in used})

    def amplification(axes: Axes) -> str:
        plots.amplification(result, axes)
        return in_words.of_the_amplification(result, _highest_step(axes))

    def delivery_times(axes: Axes) -> str:
        plots.delivery_times(result, axes)
        return in_words.of_the_delivery_times(result)

    def backoff(axes: Axes) -> str:
        plots.backoff(policies, ax=axes)
        return in_words.of_the_backoff(policies)

    yield _drawn("amplification", "Retry amplification", amplification, BELOW_THE_OVERVIEW)
    if result.scenario.record == "full":
        yield _drawn("delivery", "Delivery times", delivery_times, HALF)
    yield _drawn("backoff", "Backoff", backoff, HALF)


def _highest_step(axes: Axes) -> tuple[float, float] | None:
    """Return the highest step of the first curve of steps, and where it begins."""
    for patch in axes.patches:
        if isinstance(patch, StepPatch):
            values, edges, _ = patch.get_data()
            if np.isfinite(values).any():
                number = int(np.nanargmax(values))
                return float(values[number]), float(edges[number])
    return None


def _overview(result: Result, figure: Figure, keys: Mapping[str, str]) -> Drawn:
    """Return the overview without the text above its panels, which stands on the page already."""
    said = in_words.overview(result)
    above_in = TOP + sum(line.height for line in header(result))
    for text in figure.texts:
        text.set_visible(False)
    svg = as_svg(figure, "overview", "Overview", said, above_in=above_in)
    for text in figure.texts:
        text.set_visible(True)
    with_fields = svg.removesuffix("</svg>") + str(fields(result, figure, keys)) + "</svg>"
    return Drawn("overview", "Overview", said, Markup(with_fields), wide=True)


def _drawn(key: str, title: str, draw: Callable[[Axes], str], size: Size) -> Drawn:
    """Return a figure that is drawn and written in one go, as its layout is fixed: half the time of finding one."""
    with matplotlib.style.context(plots.STYLE, after_reset=True):
        figure = Figure(figsize=(size.width, size.height))
        across, up = size.width - size.left - size.right, size.height - size.top - size.bottom
        box = (size.left / size.width, size.bottom / size.height, across / size.width, up / size.height)
        said = draw(figure.add_axes(box))
        svg = as_svg(figure, key, title, said)
    return Drawn(key, title, said, Markup(svg), size.width == WIDTH)
