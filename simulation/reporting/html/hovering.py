"""Values and links in the overview: a transparent field for each step of a panel, with a title; there is no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from actors.formatting import counted
from simulation.reporting.html.drawing import POINTS_PER_INCH, element
from simulation.reporting.html.words import count, plain_duration
from simulation.reporting.plots import findings
from simulation.reporting.plots.delivery_over_time import requests_in
from simulation.reporting.plots.source import end_of, parts

if TYPE_CHECKING:
    from simulation.results.result import Result

STEPS = 60
"""The number of fields beside each other; narrower ones cannot be pointed at."""


def fields(result: Result, figure: Figure, keys: Mapping[str, str]) -> Markup:
    """Return the fields over an overview, each with the events of its time; a field with the acceptance of a
    notification that the page shows is a link to it.

    Args:
        result: the result of the run.
        figure: its overview.
        keys: the ids of the elements of the notifications that the page shows.
    """
    end_s = end_of(result)
    edges = np.linspace(0.0, end_s, STEPS + 1)
    several = any(str(axes.get_label()).startswith("rates ") for axes in figure.axes)
    by_label = {part.label: part for part in parts(result, "series", "time_s", by="channel" if several else None)}
    drawn = []
    width, height = (size * POINTS_PER_INCH for size in figure.get_size_inches())
    for axes in figure.axes:
        what, _, label = str(axes.get_label()).partition(" ")
        if what not in ("rates", "times") or label not in by_label:
            continue
        part = by_label[label]
        said = _rates(part.frame, edges) if what == "rates" else _times(requests_in(part), edges)
        links = _links(result, label, edges, keys)
        box = axes.get_position()
        for place, text in enumerate(said):
            left = (box.x0 + box.width * place / STEPS) * width
            rect = element(
                "rect",
                element("title", f"{label + ', ' if label else ''}{_span(edges, place)}: {text}"),
                x=left,
                y=(1 - box.y1) * height,
                width=box.width * width / STEPS,
                height=box.height * height,
                class_="field",
            )
            drawn.append(element("a", rect, href=f"#{links[place]}") if place in links else rect)
    return Markup("").join(drawn)


def _span(edges: np.ndarray[tuple[int], np.dtype[np.float64]], place: int) -> str:
    return f"{plain_duration(float(edges[place]))} to {plain_duration(float(edges[place + 1]))}"


def _rates(series: pd.DataFrame, edges: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Iterator[str]:
    places = np.clip(np.searchsorted(edges, series["time_s"], side="right") - 1, 0, STEPS - 1)
    sums = {name: np.bincount(places, series[name], STEPS) for name in ("arrivals", "sent", "failed")}
    for place in range(STEPS):
        failed = counted(int(sums["failed"][place]), "failed attempt")
        yield f"{count(sums['arrivals'][place])} accepted, {count(sums['sent'][place])} delivered, {failed}"


def _times(requests: pd.DataFrame, edges: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Iterator[str]:
    ordered = requests.sort_values("requested_at_s", kind="stable")
    bounds = np.searchsorted(ordered["requested_at_s"].to_numpy(float), edges)
    times = ordered["time_s"].to_numpy(float)
    for place in range(STEPS):
        yield f"of those accepted, {findings.of_the_times(times[bounds[place] : bounds[place + 1]])}"


def _links(
    result: Result, label: str, edges: np.ndarray[tuple[int], np.dtype[np.float64]], keys: Mapping[str, str]
) -> dict[int, str]:
    rows = result.notifications
    rows = rows[rows["id"].isin(list(keys))]
    rows = rows[rows["channel"] == label] if label else rows
    return {
        min(int(np.searchsorted(edges, at_s, side="right")) - 1, STEPS - 1): keys[str(notification_id)]
        for notification_id, at_s in zip(rows["id"], rows["requested_at_s"], strict=True)
    }
