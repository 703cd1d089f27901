"""Delivery times by the time of acceptance; and where the notifications in flight were meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from actors.formatting import instant_text
from actors.messages import NotificationChannel
from actors.settings.distribution_moments import quantile
from simulation.reporting.plots import findings
from simulation.reporting.plots.bounds import bounds_of, draw_bounds
from simulation.reporting.plots.canvas import say, size_in
from simulation.reporting.plots.findings import titled
from simulation.reporting.plots.in_faults import found_in, name_of, worst_fault
from simulation.reporting.plots.looks import BLUE, SKY, VERMILION
from simulation.reporting.plots.naming import name_line
from simulation.reporting.plots.panels import count_axis, log_durations, stairs
from simulation.reporting.plots.source import By, Source, Taken, parts, requests_where, why_empty
from simulation.reporting.plots.stacked import ends_s, over_time
from simulation.results.formatting import duration_text
from simulation.results.waiting import INTERRUPTION, WHERE, as_attempts, in_flight_most, waiting_of
from simulation.scenario.metrics import NEVER

STEPS_MAX, IN_A_STEP = 120, 30
"""The most steps, and the usual requests of a step: a 99th percentile of fewer requests is their longest."""

FEW, JOINED_MAX = 10, 8
"""A step with fewer requests is joined with others, at most so many; if they are still fewer, each request is a dot."""

ENOUGH, TOOTH, TEETH = 240, float(np.log(5.0)), 0.05
"""Steps are wider, of up to so many requests, where the 99th percentile of too large a share of steps stands out by
more than this factor from both sides."""

MANY_S = 1e9
"""Stands for the delivery time of a request that was never delivered."""

WAITING_STEPS = 300

RUG_MAX = 2000
"""More marks than that cannot be distinguished across a picture."""

LOG_TICKS_MAX, TICKS_MAX = 60, 6
TICKS_IN = 0.15
"""How far apart the texts of ticks are at least, in inches."""

ABOVE_IN = 0.23
"""The room above the longest times and the ones that never end, in inches."""

DECADES = 1e5
"""The axis covers this ratio; a shorter time stands at its bottom."""

SHORTEST_S = 1e-6
"""The shortest time on the logarithmic axis; a shorter one stands here."""

Floats = npt.NDArray[np.float64]


class Course(NamedTuple):
    accepted_s: Floats
    """When each request was accepted, in order."""

    times_s: Floats
    """The delivery time of each; infinite where it was never delivered."""

    edges_s: Floats
    """Of the steps."""

    p50_s: Floats
    p99_s: Floats
    """Of each step; NaN where few were accepted, or none."""

    is_single: npt.NDArray[np.bool_]
    """For each request whether it is one of the few of its step."""


def delivery_over_time(
    source: Source,
    ax: Axes | None = None,
    *,
    channel: str | None = None,
    entry: str | None = None,
    by: By | None = None,
) -> Axes:
    """Draw how long delivery took, by when a request was accepted: the median and the 99th percentile of each step.

    A request never delivered took longer than any time: a percentile that is never stands above all times, at a line of
    its own, where a mark shows each of these requests.

    Args:
        source: a result, or its frame `notifications`.
        ax: where to draw; axes of a figure of its own when None.
        channel: only the requests that this channel delivered or took over last.
        entry: only the requests of this entry of the workload.
        by: ``channel``, ``entry`` or ``priority``: one below the other on the same scales, in ``ax.child_axes``.

    Raises:
        ConfigurationError: there is no such channel or entry, or the run kept no rows that would tell them apart.
        WrongType: it is neither a result nor such a frame.
    """
    needed = ("channel", "waited_since_s", "outcome", "finished_at_s")
    found = parts(source, "notifications", *needed, channel=channel, entry=entry, by=by)
    shown = [part._replace(frame=requests_in(part)) for part in found]
    scale = scale_of([course_in(part) for part in shown])
    return over_time(shown, ax, partial(draw_delivery, scale=scale), "delivery time")


def requests_in(part: Taken) -> pd.DataFrame:
    found = requests_where(part.frame if part.run is None else part.run, part.where)
    accepted = found["waited_since_s"]
    return pd.DataFrame(
        {"requested_at_s": accepted, "time_s": found["time_s"], "finished_at_s": accepted + found["time_s"]}
    )


def course_in(part: Taken) -> Course:
    end_s = ends_s(part)
    turns_s = [at_s for window in part.windows(end_s) for at_s in (window.spans[0][0], window.spans[-1][1])]
    return course_of(part.frame, end_s, turns_s)


def course_of(requests: pd.DataFrame, end_s: float, turns_s: Sequence[float] = ()) -> Course:
    ordered = requests.sort_values("requested_at_s", kind="stable")
    accepted, times = ordered["requested_at_s"].to_numpy(float), ordered["time_s"].to_numpy(float)
    last_s = float(accepted[-1]) if len(accepted) else end_s
    wanted = IN_A_STEP
    while True:
        course = _in_steps(accepted, times, _turned(_edges(accepted, last_s, end_s, wanted), turns_s))
        if wanted >= ENOUGH or not _is_a_comb(course):
            return course
        wanted *= 2


def _in_steps(accepted: Floats, times: Floats, edges: Floats) -> Course:
    places = np.searchsorted(accepted, edges)
    counts = np.diff(places)
    of_step = [times[low:high] if high - low >= FEW else times[:0] for low, high in pairwise(places)]
    p50, p99 = (
        np.array([findings.quantile(each, share) if len(each) else np.nan for each in of_step]) for share in (0.5, 0.99)
    )
    return Course(accepted, times, edges, p50, p99, np.repeat(counts < FEW, counts))


def _is_a_comb(course: Course) -> bool:
    """Return whether the 99th percentile stands out in many steps, and the median in none: as few of each are slow."""
    p99, p50 = (np.diff(np.log(np.clip(each, SHORTEST_S, MANY_S))) for each in (course.p99_s, course.p50_s))
    turns = (np.abs(p99[:-1]) > TOOTH) & (np.abs(p99[1:]) > TOOTH) & (p99[:-1] * p99[1:] < 0)
    teeth = turns & (np.abs(p50[:-1]) < TOOTH) & (np.abs(p50[1:]) < TOOTH)
    return int(teeth.sum()) > max(2, TEETH * len(course.p50_s))


def _edges(accepted_s: Floats, last_s: float, end_s: float, wanted: int) -> Floats:
    """Return the edges of steps, none too narrow to be seen; steps with too few requests are joined with later ones."""
    stop_s = max(float(np.nextafter(last_s, np.inf)), end_s / STEPS_MAX)
    steps = int(np.clip(len(accepted_s) // wanted, 1, min(STEPS_MAX, np.ceil(stop_s / end_s * STEPS_MAX))))
    first_s = float(accepted_s[0]) if len(accepted_s) else 0.0
    edges = np.linspace(first_s if first_s > end_s / STEPS_MAX else 0.0, stop_s, steps + 1)
    counts = np.histogram(accepted_s, edges)[0].tolist()
    kept, joined, together = [0], 0, 0
    for number, count in enumerate(counts):
        if joined and (count >= FEW or joined == JOINED_MAX):
            kept.append(number)
            joined = together = 0
        joined, together = joined + 1, together + count
        if together >= FEW or not together:  # nothing is drawn before the first
            kept.append(number + 1)
            joined = together = 0
    return edges[[*kept, steps] if kept[-1] < steps else kept]


def _turned(edges_s: Floats, turns_s: Sequence[float]) -> Floats:
    """Return the edges with the nearest one to each turn moved there."""
    turned: dict[int, float] = {}
    for at_s in turns_s if len(edges_s) > 2 else ():
        place = 1 + int(np.abs(edges_s[1:-1] - at_s).argmin())
        if edges_s[place - 1] < at_s < edges_s[place + 1]:
            turned.setdefault(place, at_s)
    found = edges_s.copy()
    found[list(turned)] = list(turned.values())
    return found


def draw_delivery(ax: Axes, part: Taken, scale: Scale) -> tuple[str, Sequence[Artist]]:
    """Draw the delivery times of a part, whose frame is its requests; return a title and a legend's entries."""
    course = course_in(part)
    if not len(course.times_s):
        say(ax, why_empty(part.run))
        return titled(part.label, "delivery times"), []
    handles = draw_course(ax, course, scale)
    draw_alone(ax, part)
    if part.run is not None:
        draw_bounds(ax, bounds_of(part.run), "times", part)
    fault = worst_fault(part, course.accepted_s, course.times_s)
    found = (
        findings.of_the_times(with_refused(part, course.times_s))
        if fault is None
        else found_in(fault, name_of(fault, part.windows(ends_s(part))))
    )
    return titled(part.label, found), handles


def with_refused(part: Taken, times_s: Floats) -> Floats:
    """Return delivery times with infinite ones for the arrivals that were refused."""
    return np.append(times_s, np.full(part.refused, np.inf))


def never_level(longest_s: float) -> float:
    """Return the place of times that are never, on a logarithmic axis up to this time."""
    return longest_s * 4.0


def draw_course(ax: Axes, course: Course, scale: Scale) -> list[Artist]:
    """Draw the percentiles as steps, and a mark for each request never delivered; return a legend's entries."""
    low_s, high_s, _ = scale
    never_s = never_level(high_s)
    p50, p99 = (
        np.where(np.isposinf(values), never_s, np.maximum(values, low_s)) for values in (course.p50_s, course.p99_s)
    )
    stairs(ax, p99, course.edges_s, baseline=p50, fill=True, color=SKY, alpha=0.35, label="between them")
    handles: list[Artist] = [
        stairs(ax, p99, course.edges_s, baseline=None, color=BLUE, linewidth=0.9, label="99% within", zorder=3),
        stairs(ax, p50, course.edges_s, baseline=None, color="#222222", linewidth=1.6, label="half within", zorder=3),
    ]
    single = course.is_single & np.isfinite(course.times_s)
    if single.any():
        look: dict[str, Any] = {"color": BLUE, "markersize": 2.5, "label": "each of a few", "zorder": 3}
        handles += ax.plot(course.accepted_s[single], np.maximum(course.times_s[single], low_s), "o", **look)
    never = course.accepted_s[np.isposinf(course.times_s)]
    if scale.has_never:
        ax.axhline(never_s, color=VERMILION, linewidth=0.6, linestyle=":", label="_never")
        shown = never[np.unique(np.linspace(0, len(never) - 1, min(len(never), RUG_MAX)).round().astype(int))]
        handles += ax.plot(
            shown,
            np.full(len(shown), never_s),
            "|",
            color=VERMILION,
            markersize=7,
            markeredgewidth=0.8,
            label=f"{NEVER} delivered",
            zorder=4,
        )
    _time_axis(ax, scale)
    return handles


def alone_of(part: Taken) -> float | None:
    """Return the time within which 99% of single requests are answered, on a channel that hedges; None: it does not, or
    its provider calls an upstream first, whose time has no formula."""
    if part.run is None or part.channel is None:
        return None
    config = part.run.scenario.channel_config(NotificationChannel(part.channel))
    return None if config.hedging is None or config.provider.upstream else quantile(config.provider.latency, 0.99)


def draw_alone(ax: Axes, part: Taken) -> None:
    """Draw for a channel that hedges how long one request alone takes, which the copies are there to cut."""
    alone_s = alone_of(part)
    if alone_s is None:
        return
    low, high = ax.get_ylim()
    if low < alone_s:
        ax.set_ylim(top=max(high, alone_s * 2.2))
        ax.axhline(alone_s, color="#555555", linewidth=1.0, linestyle=(0, (1, 1.5)), label="without copies")
        name_line(ax, f"without copies: 99% within {duration_text(alone_s)}", alone_s, "#555555", right=False)


class Scale(NamedTuple):
    low_s: float
    high_s: float
    has_never: bool
    """Whether some were never delivered."""


def scale_of(courses: Sequence[Course], also_s: Sequence[float] = ()) -> Scale:
    """Return the scale on which the percentiles of all courses have room, and other times too."""
    drawn = [part for each in courses for part in (each.p50_s, each.p99_s, each.times_s[each.is_single])]
    known = np.concatenate([*drawn, [np.nan], also_s])
    known = np.maximum(known[np.isfinite(known)], SHORTEST_S)
    low_s, high_s = (float(known.min()), float(known.max())) if len(known) else (0.1, 1.0)
    low_s = max(low_s, high_s / DECADES)
    return Scale(low_s, max(high_s, low_s * 2), any(np.isposinf(each.times_s).any() for each in courses))


def _time_axis(ax: Axes, scale: Scale) -> None:
    low_s, high_s, has_never = scale
    ax.set_yscale("log")
    bottom = low_s / 1.5
    highest_s = never_level(high_s) if has_never else high_s
    above = min(ABOVE_IN / size_in(ax)[1], 0.4)  # where the letters of windows have room
    top = float(highest_s * (highest_s / bottom) ** (above / (1 - above)))
    ax.set_ylim(bottom, top)
    apart = float(np.exp(np.log(top / bottom) * max(TICKS_IN / size_in(ax)[1], 1 / TICKS_MAX)))
    below = never_level(high_s) / apart if has_never else high_s * 1.2
    texts: dict[float, str] = {}
    for tick in reversed(log_durations(low_s / 1.5, below, LOG_TICKS_MAX)):  # the highest first, which data comes near
        if not texts or tick <= min(texts) / apart:
            texts[tick] = duration_text(tick)
    if has_never:
        texts[never_level(high_s)] = NEVER
    ax.yaxis.set_major_locator(FixedLocator(sorted(texts)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda at_s, _position: texts.get(at_s, duration_text(at_s))))
    ax.set_axisbelow(True)
    ax.grid(axis="y")


SEEN, NAMED = 0.005, 0.015
"""The shares of the highest level below which a place is left out, as it cannot be seen, and is in no legend."""

LOOKS = {
    "at the provider": ("#0072b2", ""),
    "backing off": ("#f0b400", ""),
    "behind a breaker": ("#a3320f", ""),
    "held by a crashed process": ("#7a4a12", "----"),
    "limit": ("#56b4e9", "////"),
    "quiet hours": ("#8c3b7e", "...."),
    "its turn or a free slot": ("#999999", ""),
}
"""The look of the time in each place."""


def waiting(
    source: Source,
    ax: Axes | None = None,
    *,
    channel: str | None = None,
    entry: str | None = None,
    by: By | None = None,
) -> Axes:
    """Draw where the notifications in flight are, at the provider or in one of the waits, one above the other.

    Together they are all in flight: the areas are means of each step, the title has the most at any instant.
    The arguments are those of :func:`delivery_over_time`; the source is a result.
    """
    found = parts(source, "notifications", "id", channel=channel, entry=entry, by=by)
    return over_time(found, ax, draw_waits, "in flight")


def draw_waits(ax: Axes, part: Taken) -> tuple[str, Sequence[Artist]]:
    if part.run is None or part.run.scenario.record != "full":
        say(ax, why_empty(part.run))
        return titled(part.label, "where notifications wait"), []
    end_s = ends_s(part)
    edges, levels = waiting_in(part, end_s)
    count_axis(ax, max(float(levels.sum(axis=0).max()), 1.0), whole=False)
    said = (found_waiting(part)[0], f"in steps of {duration_text(float(edges[1]))}, drawn as their means")
    return titled(part.label, *said), draw_waiting(ax, edges, levels)


def waiting_in(part: Taken, end_s: float) -> tuple[Floats, Floats]:
    """Return the edges of steps of a part, and how many are where in each of them."""
    edges = np.linspace(0.0, end_s, WAITING_STEPS + 1)
    return edges, _waiting(part, edges)


def _waiting(part: Taken, edges_s: Floats) -> Floats:
    attempts, interrupted = part.table("attempts"), part.table("interrupted")
    if len(interrupted):
        attempts = pd.concat([attempts, as_attempts(interrupted)], ignore_index=True)
    notifications, deferrals, dlq = (part.table(name) for name in ("notifications", "deferrals", "dlq"))
    levels = waiting_of(notifications, attempts, deferrals, dlq, edges_s).clip(0.0)
    assert part.run is not None
    for fault in part.run.scenario.faults:
        if fault.crash == "process" and fault.node is None and fault.ends_at is not None:
            is_down = (edges_s[:-1] >= fault.at) & (edges_s[1:] <= fault.ends_at)
            held = levels[:, is_down].sum(axis=0)
            levels[:, is_down] = 0.0
            levels[list(WHERE).index(INTERRUPTION), is_down] = held
    return levels


def draw_waiting(ax: Axes, edges_s: Floats, levels: Floats) -> list[Artist]:
    """Draw how many are where as areas one above the other; return the entries of a legend."""
    below = np.zeros(levels.shape[1])
    handles: list[Artist] = []
    most = max(float(levels.sum(axis=0).max(initial=0.0)), 1e-9)
    for name, level in zip(WHERE.values(), levels, strict=True):
        highest = float(level.max(initial=0.0))
        if highest < SEEN * most:
            continue
        color, hatch = LOOKS[name]
        stairs(
            ax,
            below + level,
            edges_s,
            baseline=below,
            fill=True,
            facecolor=color,
            edgecolor="white" if hatch else color,
            hatch=hatch or None,
            linewidth=0.0,
            alpha=0.85,
            label=name,
        )
        if highest >= NAMED * most:
            handles.append(
                Patch(facecolor=color, edgecolor="white" if hatch else color, hatch=hatch or None, label=name)
            )
        below = below + level
    return handles


AN_INSTANT_S = 1e-6


def found_waiting(part: Taken) -> tuple[str, float]:
    """Return how many are in flight when most are, and where most of these are; and when that is, in seconds."""
    most, at_s = in_flight_most(part.table("notifications"), part.table("dlq"))
    if not most:
        return "nothing in flight", at_s
    there = _waiting(part, np.array([at_s, at_s + AN_INSTANT_S]))[:, 0]
    name = list(WHERE.values())[int(there.argmax())]
    share = f"{100 * round(there.max()) // most}% {_THERE.get(name, name)}"  # rounded down: 100% are all
    return f"up to {most:,}, at {instant_text(at_s)}, {share}", at_s


_THERE = {
    "limit": "waiting for a limit",
    "quiet hours": "waiting for quiet hours to end",
    "its turn or a free slot": "waiting for a turn or a free slot",
}
