"""The overview of a run: one picture with its events, their times and places, and its expectations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import matplotlib.style
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from actors.faults.build import faults_of
from actors.faults.conditions import capacity_steps, speed_steps
from actors.faults.provider import parted
from actors.formatting import instant_text, plain_number
from actors.instants import seconds
from actors.messages import BreakerState, NotificationChannel
from actors.settings.channel import PRIMARY
from actors.settings.distribution_moments import mean
from simulation.reporting.fault_windows import Window, windows
from simulation.reporting.plots import findings
from simulation.reporting.plots.bounds import Bound, bounds_of, draw_bounds, draw_requests
from simulation.reporting.plots.breakers import HEADROOM, draw_breakers, found_of_breakers, host_counts
from simulation.reporting.plots.canvas import DPI, STYLE, Picture, make_ticks, size_in
from simulation.reporting.plots.delivery_over_time import (
    Course,
    Scale,
    alone_of,
    course_in,
    draw_alone,
    draw_course,
    draw_waiting,
    found_waiting,
    requests_in,
    scale_of,
    waiting_in,
    with_refused,
)
from simulation.reporting.plots.findings import listed, quantile_text, titled
from simulation.reporting.plots.header import header, set_apart, write_header
from simulation.reporting.plots.in_faults import found_in, worst_fault
from simulation.reporting.plots.looks import BOTTOM, GAP, LEFT, NOTE_ROOM, NOTE_SIZE, NOTES_AT, PANEL_WIDTH, TOP, WIDTH
from simulation.reporting.plots.naming import name_line
from simulation.reporting.plots.notes import breaker_notes, delivery_note, dlq_note, in_flight_note, note, rates_note
from simulation.reporting.plots.panels import (
    DEAD,
    IN_FLIGHT,
    QUEUE,
    bins,
    count_axis,
    draw_level,
    draw_rates,
    draw_time_axis,
    mark_redrives,
    peak,
)
from simulation.reporting.plots.shading import WINDOWS_MAX, draw_windows, mark_end_of_arrivals, shade, tag, window_notes
from simulation.reporting.plots.source import PlottedRun, Taken, arrivals_end_of, check_run, end_of, parts
from simulation.reporting.plots.stacked import on_one_scale, scale_of_all
from simulation.reporting.plots.text import drawable, fit, legend_above, legend_width, wrap
from simulation.results.formatting import duration_text
from simulation.results.waiting import in_flight_changes
from simulation.running.downtimes import downtimes

# ── queues at providers ───────────────────────────────────────────────────────────────────────────────────────────────


def queues_in(run: PlottedRun) -> list[str]:
    """Return the columns of the series of the providers at which any waited."""
    return [column for column in run.series.columns if column.startswith(QUEUE) and run.series[column].any()]


def draw_queue(axes: Axes, run: PlottedRun, column: str, binned: pd.DataFrame, bin_s: float) -> None:
    """Draw how many wait at a provider at the end of each step, and the bound where the queue came near it."""
    channel, _, name = column.removeprefix(QUEUE).partition("/")
    figures = run.summary["channels"][channel]
    queue = (figures["providers"][name or PRIMARY] if "providers" in figures else figures)["queue"]
    draw_level(axes, binned, bin_s, end_of(run), column, IN_FLIGHT)
    bound = run.scenario.channel_config(NotificationChannel(channel)).by_provider()[name or PRIMARY].provider.queue
    assert bound is not None
    if 2 * queue["peak"] >= bound.limit:
        axes.axhline(bound.limit, color="#333333", linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set_title(
        f"Waiting at {name or 'the provider'} of {channel}: at most {queue['peak']:,}, bound {bound.limit:,}"
    )
    left = int(run.series[column].iloc[-1])
    lines = [f"{queue['abandoned']:,} begun after their sender's", "timeout", f"{queue['turned_away']:,} found it full"]
    note(
        axes,
        [
            *lines,
            f"{left:,} at the end"
            if left
            else f"highest in the step to {instant_text(peak(binned, bin_s, column)[1])}",
        ],
    )


# ── what a provider works off ─────────────────────────────────────────────────────────────────────────────────────────


INK = "#222222"


def served_per_s(part: Taken, end_s: float) -> list[tuple[float, float]]:
    """Return from when on the provider of a part's channel works off how many a second; empty where it has no capacity.

    That is its capacity by the mean of its latency; less of both while a fault says so.
    """
    if part.run is None or part.channel is None:
        return []
    channel = NotificationChannel(part.channel)
    provider = part.run.scenario.channel_config(channel).provider
    takes_s = mean(provider.latency)
    if provider.capacity is None or not takes_s:
        return []
    faults, _ = parted(faults_of(part.run.scenario.faults, channel, PRIMARY))
    places = dict(capacity_steps(provider.capacity, faults))
    speeds = dict(speed_steps(faults))
    found, at_once, speed = [], 0, Fraction(1)
    for at_ns in sorted({*places, *speeds}):
        at_once, speed = places.get(at_ns, at_once), speeds.get(at_ns, speed)
        if seconds(at_ns) < end_s:
            found.append((seconds(at_ns), at_once / takes_s * speed))
    return found


def draw_capacity(axes: Axes, part: Taken) -> None:
    """Draw how many requests a second the provider works off, unless that is beyond the axes."""
    end_s = part.end_s
    assert end_s is not None
    steps = served_per_s(part, end_s)
    if not steps or steps[0][1] > axes.get_ylim()[1]:
        return
    for (from_s, served), (to_s, _) in pairwise([*steps, (end_s, 0.0)]):
        axes.plot([from_s, to_s], [served] * 2, color=INK, linewidth=1.0, linestyle=(0, (6, 2)), label="_served")
    text = f"the provider can do {plain_number(steps[0][1])}/s"
    name_line(axes, text, steps[0][1], INK, right=False)


# Heights in inches.
WINDOW_LINE, BREAKER_LANE = 0.21, 0.32
RATES, LEVEL, DLQ, TIMES = 1.6, 1.25, 0.9, 1.15
RATES_OF_SEVERAL, TIMES_OF_SEVERAL = 0.85, 0.8
"""Of each channel, where there are several."""

LEGEND_BELOW = 0.16
"""How far a legend beside a panel begins below the top of it for each line of the note, in inches."""


DRAIN_SEEN = 0.01
"""Where arrivals stop is marked if the run goes on for at least this share of it."""

LANES_MAX = 8
"""The most breakers that never opened that are drawn all the same."""


class _Panel(NamedTuple):
    name: str
    height: float
    draw: Callable[[Axes], None]
    part: Taken | None = None
    """The part of the run; the faults of its channel are shaded, of all when None."""


def overview(result: PlottedRun) -> Figure:
    """Return a figure of a run over time.

    From top to bottom: name, description and result; the windows of faults and quiet hours, which are shaded in the
    panels below that they hit; for each channel arrivals, deliveries and failed attempts a second; delivery times by
    the time of acceptance; the waits of notifications in flight; dead letters; the circuit breakers that opened.
    Expectations are drawn where they apply, with the places where they broke. A panel that would be empty is left out.

    Raises:
        WrongType: it is no result.
    """
    check_run(result)
    with matplotlib.style.context(STYLE, after_reset=True):
        figure = _draw(result)
        make_ticks(figure)
    return figure


def _draw(result: PlottedRun) -> Figure:
    scenario = result.scenario
    end_s, arrivals_end_s = end_of(result), arrivals_end_of(result)
    found = windows(scenario, end_s)
    notes = window_notes(found)
    bounds = bounds_of(result)
    wanted: list[_Panel] = []
    if found:
        height = sum(map(len, notes)) * WINDOW_LINE
        wanted.append(_Panel("windows", height, lambda axes: draw_windows(axes, found, notes)))
    channels = _channels(result)
    apart = set_apart(scenario) if len(channels) > 1 else {}
    wanted += [*_rates(channels, bounds), *_times(channels, bounds, found), *_levels(result, bounds)]
    wanted += _breakers(result, end_s, found)
    figure, panels = _lay_out(result, wanted)
    for each in wanted:
        if each.name != "windows":  # before all else, as texts at lines go where the letters are not
            own = found if each.part is None else each.part.windows(end_s)
            shade([panels[each.name]], own, arrivals_end_s, end_s, numbers=[found.index(window) for window in own])
        each.draw(panels[each.name])
    rates = [panels[_rates_name(part)] for part in channels]
    on_one_scale(rates)
    _, bin_s = bins(result.series, end_s)
    steps = ["per second", f"in steps of {duration_text(bin_s)}", scale_of_all(rates).removeprefix(", ")]
    for axes, part in zip(rates, channels, strict=True):  # on the scale of all: texts are where the curves are not
        first_lines = wrap(apart.get(part.label, ""), NOTE_ROOM, NOTE_SIZE, 2)
        note(axes, rates_note(part, [*filter(None, steps)] if axes is rates[0] else []), first_lines)
        draw_capacity(axes, part)
        draw_bounds(axes, bounds, "rates", part)
    lowest = panels[wanted[-1].name]
    for axes in panels.values():
        axes.xaxis.set_visible(axes is lowest)  # the ticks of the others would be made, and not be seen
    draw_time_axis(lowest, scenario, end_s)
    if arrivals_end_s is not None and arrivals_end_s < end_s * (1 - DRAIN_SEEN):
        for axes in panels.values():
            mark_end_of_arrivals(axes, arrivals_end_s)
        lowest.set_xlabel(f"{lowest.get_xlabel()}; arrivals stop at the dotted line")
    return figure


def _lay_out(result: PlottedRun, wanted: Sequence[_Panel]) -> tuple[Figure, dict[str, Axes]]:
    lines = header(result)
    header_height = sum(line.height for line in lines)
    height = TOP + header_height + sum(each.height + GAP for each in wanted) + BOTTOM
    figure = Picture(figsize=(WIDTH, height), dpi=DPI)
    write_header(figure, lines, height)
    panels: dict[str, Axes] = {}
    bottom = height - TOP - header_height
    for each in wanted:
        bottom -= GAP + each.height
        box = (LEFT / WIDTH, bottom / height, PANEL_WIDTH / WIDTH, each.height / height)
        panels[each.name] = figure.add_axes(box, sharex=next(iter(panels.values()), None), label=each.name)
    next(iter(panels.values())).set_xlim(0, end_of(result))
    return figure, panels


# ── panels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _channels(result: PlottedRun) -> list[Taken]:
    """Return the parts that have panels of their own: the channels, or the whole where there is one or no rows."""
    by_channel = result.scenario.record == "full" and len(result.scenario.channels_used) > 1
    return parts(result, "series", "time_s", by="channel" if by_channel else None)


def _rates(shown: Sequence[Taken], bounds: Sequence[Bound]) -> Iterator[_Panel]:
    for number, part in enumerate(shown):
        yield _Panel(
            _rates_name(part),
            RATES if len(shown) == 1 else RATES_OF_SEVERAL,
            lambda axes, part=part, first=number == 0: _draw_rates(  # type: ignore[misc]
                axes, part, bounds, first
            ),
            part,
        )


def _rates_name(part: Taken) -> str:
    return f"rates {part.label}".strip()


def _draw_rates(axes: Axes, part: Taken, bounds: Sequence[Bound], first: bool) -> None:
    assert part.run is not None
    binned, bin_s = bins(part.frame, end_of(part.run))
    draw_rates(axes, binned, bin_s, part.arriving)
    fails = part.run.summary["attempts"] and part.run.series["failed"].any()
    named = (part.arriving, "delivered", *(["failed attempts"] if fails else []))
    handles = [each for each in axes.get_legend_handles_labels()[0] if first and each.get_label() in named]
    draw_requests(axes, bounds, part, bin_s)
    said = findings.of_the_rates(part.frame, part.offered_delivered), _copies(part)
    _set_title(axes, titled(part.label, *said), handles)


def _copies(part: Taken) -> str:
    """Return how many copies were sent beside the requests, and how many more that makes; empty where none were."""
    assert part.run is not None
    figures = part.run.summary if part.channel is None else part.run.summary["channels"][part.channel]
    if not figures["hedges"]:
        return ""
    more = figures["hedges"] / max(figures["requests"] - figures["hedges"], 1)
    return f"{figures['hedges']:,} copies (+{more:.1%})"


def _set_title(axes: Axes, title: str, handles: Sequence[Artist] = ()) -> None:
    room = PANEL_WIDTH - (legend_width(handles) + 0.3 if handles else 0.0)
    text, size = fit(drawable(title), room, 10, "bold")
    axes.set_title(text, size=size)
    if handles:
        legend_above(axes, handles)


def _times(channels: Sequence[Taken], bounds: Sequence[Bound], found: Sequence[Window]) -> Iterator[_Panel]:
    run = channels[0].run
    assert run is not None
    if run.scenario.record != "full" or run.notifications.empty:
        return
    shown = [part._replace(frame=requests_in(part)) for part in channels]
    courses = [course_in(part) for part in shown]
    scale = scale_of(courses, [bound.value for bound in bounds if bound.panel == "times" and bound.value > 0])
    for number, (part, course) in enumerate(zip(shown, courses, strict=True)):
        if len(course.times_s):
            yield _Panel(
                f"times {part.label}".strip(),
                TIMES if len(shown) == 1 else TIMES_OF_SEVERAL,
                lambda axes, part=part, course=course, first=number == 0: _draw_times(  # type: ignore[misc]
                    axes, part, course, scale, bounds, first, found
                ),
                part,
            )


def _draw_times(
    axes: Axes, part: Taken, course: Course, scale: Scale, bounds: Sequence[Bound], first: bool, among: Sequence[Window]
) -> None:
    handles = draw_course(axes, course, scale)
    draw_alone(axes, part)
    draw_bounds(axes, bounds, "times", part)
    fault = worst_fault(part, course.accepted_s, course.times_s)
    number = WINDOWS_MAX if fault is None else among.index(fault.window)
    above = ["by the time of acceptance"] if first else []
    whole_s = with_refused(part, course.times_s)
    if fault is None or number >= WINDOWS_MAX:
        found = findings.of_the_times(whole_s)
    else:
        found = found_in(fault, f"in {tag(number)}")
        half, most = (quantile_text(whole_s, share) for share in (0.5, 0.99))
        above.append(f"whole run: half {half}, 99% {most}")
    alone_s = alone_of(part)
    without = "" if alone_s is None else f"{duration_text(alone_s)} without copies"
    title = titled(f"Delivery time, {part.label}".removesuffix(", "), found, without)
    lines = [*above, *delivery_note(course.accepted_s, course.times_s)]
    note(axes, lines)
    _legend_beside(axes, handles if first else (), len(lines))
    _set_title(axes, title)


def _levels(result: PlottedRun, bounds: Sequence[Bound]) -> Iterator[_Panel]:
    end_s = end_of(result)
    (whole,) = parts(result, "series", "time_s")
    binned, bin_s = bins(result.series, end_s)
    if result.series["in_flight"].any() or result.scenario.record != "full":
        yield _Panel("in flight", LEVEL, lambda axes: _draw_in_flight(axes, whole, binned, bin_s))
    for column in queues_in(result):
        yield _Panel(column, LEVEL, partial(draw_queue, run=result, column=column, binned=binned, bin_s=bin_s))
    if result.summary["dlq"]["peak"]:
        yield _Panel("dlq", DLQ, lambda axes: _draw_dead_letters(axes, whole, bounds, binned, bin_s))


def _draw_in_flight(axes: Axes, whole: Taken, binned: pd.DataFrame, bin_s: float) -> None:
    run = whole.run
    assert run is not None
    end_s = end_of(run)
    handles: Sequence[Artist] = ()
    if run.scenario.record == "full":
        edges, levels = waiting_in(whole, end_s)
        count_axis(axes, max(float(levels.sum(axis=0).max()), 1.0), whole=False)
        handles = draw_waiting(axes, edges, levels)
        found, at_s = found_waiting(whole)
        _set_title(axes, titled("In flight", found))
        channels = _in_flight_by_channel(run, at_s)
        most = wrap(listed(channels, 4), NOTE_ROOM, NOTE_SIZE, 3) if len(run.scenario.channels_used) > 1 else []
        steps = f"drawn: mean of each step of {duration_text(float(edges[1]))}"
        said = [*most, steps, f"{run.summary['in_flight']:,} at the end"]
    else:
        draw_level(axes, binned, bin_s, end_s, "in_flight", IN_FLIGHT)
        said = in_flight_note(run, *peak(binned, bin_s, "in_flight"))
        axes.set_title(f"In flight, at the end of each step of {duration_text(bin_s)}")
    note(axes, said)
    _legend_beside(axes, handles, len(said))


def _legend_beside(axes: Axes, handles: Sequence[Artist], lines: int) -> None:
    if handles:
        beside = (NOTES_AT, 1 - (LEGEND_BELOW * lines + 0.06) / size_in(axes)[1])
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=beside, handlelength=1.8, labelspacing=0.25)


def _in_flight_by_channel(run: PlottedRun, at_s: float) -> list[str]:
    counts: dict[str, int] = {}
    for part in _channels(run):
        begins, ends = in_flight_changes(part.table("notifications"), part.table("dlq"))
        counts[part.label] = int((begins <= at_s).sum() - (ends <= at_s).sum())
    return [f"{counts[name]:,} {name}" for name in sorted(counts, key=lambda name: -counts[name]) if counts[name]]


def _draw_dead_letters(axes: Axes, whole: Taken, bounds: Sequence[Bound], binned: pd.DataFrame, bin_s: float) -> None:
    assert whole.run is not None
    draw_level(axes, binned, bin_s, end_of(whole.run), "dlq_size", DEAD)
    mark_redrives(axes, whole)
    draw_bounds(axes, bounds, "dlq", whole)
    peak_size, last = whole.run.summary["dlq"]["peak"], whole.run.summary["dlq"]["final"]
    by_channel = whole.run.dlq["channel"].value_counts() if whole.run.scenario.record == "full" else pd.Series()
    said = listed((f"{count:,} of {channel}" for channel, count in by_channel.items()), 4)
    if by_channel.size < 1 or len(whole.run.scenario.channels_used) == 1:
        said = f"{peak_size:,}" if peak_size == last else f"at most {peak_size:,}, {last:,} at the end"
    _set_title(axes, f"Dead letters: {said}")
    note(axes, dlq_note(whole.run))


def _breakers(result: PlottedRun, end_s: float, found: Sequence[Window]) -> Iterator[_Panel]:
    """Yield the panel of the breakers, if any changed: also those of first providers that did not, which may matter."""
    moved = set(result.breaker["channel"])
    if not moved:
        return
    known = result.scenario.breakers
    calm = [name for name, begins in known.items() if "/" not in name and begins is not BreakerState.DISABLED]
    wanted = moved.union(calm) if len(moved.union(calm)) <= LANES_MAX else moved
    shown = {name: begins for name, begins in known.items() if name in wanted}

    def draw(axes: Axes) -> None:
        hosts = host_counts(result.breaker, result.notifications)
        several = {name: count for name, count in hosts.items() if count > 1}
        handles = draw_breakers(axes, result.breaker, shown, end_s, hosts, downtimes(result.scenario, end_s, result))
        lettered = [(tag(number), window) for number, window in enumerate(found[:WINDOWS_MAX])]
        title = f"Breakers: {found_of_breakers(result.breaker, shown, lettered)}"
        _set_title(axes, title, handles)
        breaker_notes(axes, result, list(shown), several, end_s, lettered)

    yield _Panel("breakers", (len(shown) + HEADROOM) * BREAKER_LANE, draw)
