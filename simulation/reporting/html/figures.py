"""The figures of the page; the finding of each is in its titles, which its text alternative quotes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.style
from markupsafe import Markup
from matplotlib.figure import Figure

from simulation.reporting import plots
from simulation.reporting.html.drawing import as_svg
from simulation.reporting.html.hovering import fields
from simulation.reporting.plots.backoff import policies_by_channels
from simulation.reporting.plots.canvas import in_words
from simulation.reporting.plots.header import header
from simulation.reporting.plots.looks import LEFT, RIGHT, TOP, WIDTH
from simulation.reporting.plots.source import By

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulation.results.result import Result


class Drawn(NamedTuple):
    key: str
    title: str
    svg: Markup
    wide: bool = False
    narrow: bool = False
    """Whether it is for narrow screens alone."""


class Size(NamedTuple):
    """The size of a figure, and of the margins around its axes, in inches."""

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
"""The width of figures for narrow screens, in inches; their text is then as large as the page's."""


def _narrow(result: Result) -> Iterator[Drawn]:
    if result.scenario.record != "full" or result.notifications.empty:
        return
    count = len(result.scenario.channels_used)
    several: By | None = "channel" if count > 1 else None
    for key, title, draw, left in (
        ("narrow-rates", "Per second", plots.throughput, 0.55),
        ("narrow-times", "Delivery time by acceptance", plots.delivery_over_time, 0.75),
    ):
        size = Size(NARROW, 0.0, left, 0.1, 0.5 if several else 1.0, 0.5)
        size = size._replace(height=1.55 * count + size.top + size.bottom)
        drawn = _drawn(key, title, partial(draw, result, by=several), size, 8)
        yield drawn._replace(narrow=True)


def _others(result: Result) -> Iterator[Drawn]:
    """Yield the figures beside the overview; plots over time come below it, on the same axis."""
    used = result.scenario.channels_used
    policies = policies_by_channels({channel: result.scenario.channel_config(channel) for channel in used})
    yield _drawn("amplification", "Retry amplification", partial(plots.amplification, result), BELOW_THE_OVERVIEW)
    if result.scenario.record == "full":
        yield _drawn("delivery", "Delivery times", partial(plots.delivery_times, result), HALF)
    yield _drawn("backoff", "Backoff", lambda axes: plots.backoff(policies, ax=axes), HALF)


def _overview(result: Result, figure: Figure, keys: Mapping[str, str]) -> Drawn:
    above_in = TOP + sum(line.height for line in header(result))
    for text in figure.texts:
        text.set_visible(False)
    svg = as_svg(figure, "overview", "Overview", in_words(figure), above_in=above_in)
    for text in figure.texts:
        text.set_visible(True)
    with_fields = svg.removesuffix("</svg>") + str(fields(result, figure, keys)) + "</svg>"
    return Drawn("overview", "Overview", Markup(with_fields), wide=True)


def _drawn(key: str, title: str, draw: Callable[[Axes], object], size: Size, title_size: float | None = None) -> Drawn:
    """Return a figure that is drawn and written in one go, as its layout is fixed: half the time of finding one."""
    rc: Any = {} if title_size is None else {"axes.titlesize": title_size}
    with matplotlib.style.context(plots.STYLE, after_reset=True), matplotlib.rc_context(rc):
        figure = Figure(figsize=(size.width, size.height))
        across, up = size.width - size.left - size.right, size.height - size.top - size.bottom
        box = (size.left / size.width, size.bottom / size.height, across / size.width, up / size.height)
        draw(figure.add_axes(box))
        svg = as_svg(figure, key, title, in_words(figure))
    return Drawn(key, title, Markup(svg), size.width == WIDTH)
