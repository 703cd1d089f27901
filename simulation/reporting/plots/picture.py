"""The overview of a run: one picture that says what happened, when, and whether it is as expected."""

from __future__ import annotations

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulation.reporting.fault_windows import windows
from simulation.reporting.plots.breakers import HEADROOM, draw_breakers
from simulation.reporting.plots.canvas import DPI, STYLE, Picture
from simulation.reporting.plots.header import header, write_header
from simulation.reporting.plots.layout import BOTTOM, GAP, GREY, LEFT, NOTES_AT, PANEL_WIDTH, SMALL_SIZE, TOP, WIDTH
from simulation.reporting.plots.legend import legend_above
from simulation.reporting.plots.notes import breaker_notes, dlq_note, in_flight_note, note
from simulation.reporting.plots.panels import DEAD, IN_FLIGHT, bins, draw_level, draw_rates, peak
from simulation.reporting.plots.shading import draw_windows, mark_end_of_arrivals, shade, window_notes
from simulation.reporting.plots.source import PlottedRun, arrivals_end_of, check_run, end_of
from simulation.reporting.plots.time_axis import draw_time_axis
from simulation.results.formatting import duration_text

# Heights in inches.
WINDOW_LINE, BREAKER_LANE = 0.21, 0.32
RATES, LEVEL, DLQ, EMPTY_DLQ = 1.75, 1.25, 1.1, 0.45

TITLE_SHARE = 0.23
"""How much of the width of its panel the title of the dead letter queue takes."""


def overview(result: PlottedRun) -> Figure:
    """Return a figure of a run over time.

    From top to bottom: name, description and result; the windows of faults and quiet hours, which are shaded in all
    panels below; arrivals, deliveries and failed attempts a second; how many are in flight; the size of the dead letter
    queue; the states of each channel's circuit breaker.

    Raises:
        WrongType: it is no result.
    """
    check_run(result)
    with matplotlib.style.context(STYLE, after_reset=True):
        figure = _draw(result)
        figure.draw_without_rendering()  # makes the ticks while the style holds
    return figure


def _draw(result: PlottedRun) -> Figure:
    scenario, summary = result.scenario, result.summary
    end_s, arrivals_end_s = end_of(result), arrivals_end_of(result)
    found = windows(scenario, end_s)
    beside_windows = window_notes(found)
    figure, panels = _lay_out(
        result,
        {
            "windows": sum(map(len, beside_windows)) * WINDOW_LINE,
            "rates": RATES,
            "in flight": LEVEL,
            "dlq": DLQ if summary["dlq"]["peak"] else EMPTY_DLQ,
            "breakers": (len(scenario.breakers) + HEADROOM) * BREAKER_LANE,
        },
    )
    if found:
        draw_windows(panels["windows"], found, beside_windows)

    binned, bin_s = bins(result.series, end_s)
    panels["rates"].set_title(f"Per second, {draw_rates(panels['rates'], binned, bin_s)}")
    panels["rates"].legend(loc="upper left", bbox_to_anchor=(NOTES_AT, 1.0), handlelength=1.8, labelspacing=0.6)

    step = duration_text(bin_s)
    draw_level(panels["in flight"], binned, bin_s, end_s, "in_flight", IN_FLIGHT)
    panels["in flight"].set_title(f"In flight, at the end of each step of {step}")
    note(panels["in flight"], in_flight_note(result, *peak(binned, bin_s, "in_flight")))

    draw_level(panels["dlq"], binned, bin_s, end_s, "dlq_size", DEAD)
    panels["dlq"].set_title("Dead letter queue")
    note(panels["dlq"], dlq_note(result))

    panels["breakers"].set_title("Circuit breakers")
    legend_above(panels["breakers"], draw_breakers(panels["breakers"], result.breaker, scenario.breakers, end_s))
    breaker_notes(panels["breakers"], summary["breaker"])

    shade([axes for name, axes in panels.items() if name != "windows"], found, arrivals_end_s, end_s)
    if arrivals_end_s is not None and arrivals_end_s < end_s:
        _mark_the_drain(panels, arrivals_end_s, end_s)
    for axes in panels.values():
        lowest = axes is panels["breakers"]
        axes.tick_params(axis="x", labelbottom=lowest, length=3 if lowest else 0)
    draw_time_axis(panels["breakers"], scenario, end_s)
    return figure


def _lay_out(result: PlottedRun, heights: dict[str, float]) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with its header, and empty panels of these heights below each other; without height, none."""
    heights = {name: height for name, height in heights.items() if height}
    lines = header(result)
    header_height = sum(line.height for line in lines)
    height = TOP + header_height + sum(heights.values()) + GAP * len(heights) + BOTTOM
    figure = Picture(figsize=(WIDTH, height), dpi=DPI)
    write_header(figure, lines, height)
    panels: dict[str, Axes] = {}
    bottom = height - TOP - header_height
    for name, panel_height in heights.items():
        bottom -= GAP + panel_height
        box = (LEFT / WIDTH, bottom / height, PANEL_WIDTH / WIDTH, panel_height / height)
        panels[name] = figure.add_axes(box, sharex=next(iter(panels.values()), None), label=name)
    return figure, panels


def _mark_the_drain(panels: dict[str, Axes], arrivals_end_s: float, end_s: float) -> None:
    """Mark where arrivals stop: what comes after that is only what was in flight."""
    for axes in panels.values():
        mark_end_of_arrivals(axes, arrivals_end_s)
    place = arrivals_end_s / end_s
    beside_the_title = place < TITLE_SHARE
    panels["dlq"].text(
        max(place, TITLE_SHARE),
        1.03,
        "← arrivals stop" if beside_the_title else "arrivals stop",
        transform=panels["dlq"].transAxes,
        size=SMALL_SIZE,
        color=GREY,
        ha="left" if beside_the_title else "center" if place < 0.95 else "right",
        va="bottom",
    )
