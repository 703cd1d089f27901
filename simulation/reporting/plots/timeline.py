"""The attempts of one notification on a timeline, a line for each, with the waits before it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from actors.errors import ConfigurationError
from actors.formatting import counted
from simulation.reporting.fault_windows import Window, windows
from simulation.reporting.plots.canvas import canvas, size_in
from simulation.reporting.plots.looks import ENDS, NOTE_SIZE, REDRIVEN, SMALL_SIZE, WAITS, Mark, outcome_look
from simulation.reporting.plots.panels import draw_time_axis
from simulation.reporting.plots.shading import shade_and_label
from simulation.reporting.plots.source import PlottedRun, check_run, end_of, taken
from simulation.reporting.plots.text import cut, drawable, legend_above, width_in
from simulation.results.formatting import duration_text
from simulation.results.waiting import INTERRUPTED, TURN, as_attempts, changes

# ── what a notification waits for ─────────────────────────────────────────────────────────────────────────────────────


class Wait(NamedTuple):
    """From and to, in seconds from the start of the run, and the cause of the wait; a key of `looks.WAITS`."""

    start_s: float
    end_s: float
    cause: str


class Attempt(NamedTuple):
    """One attempt, as a row of ``result.attempts`` has it, or an interrupted request, and the waits right before it."""

    number: int
    """From 1 on; 0: a request that was interrupted, which is no attempt."""

    start_s: float
    end_s: float
    outcome: str
    reason: str | None
    provider: str | None
    """At which provider, where the channel has several."""

    hedges: int
    """Copies that were sent beside it."""

    waits: tuple[Wait, ...]


class Course(NamedTuple):
    requested_s: float
    attempts: tuple[Attempt, ...]
    waits: tuple[Wait, ...]
    """The waits after the last attempt, before the end."""

    outcome: str
    """sent, dead_lettered, suppressed or in_flight."""

    end_s: float
    """When it ended; when the run did, for one in flight."""

    reason: str | None
    """Why it was dead-lettered."""

    redriven_s: tuple[float, ...] = ()
    """When it was redriven."""


def course_of(
    row: pd.Series[Any], attempts: pd.DataFrame, deferrals: pd.DataFrame, dlq: pd.DataFrame, end_s: float
) -> Course:
    ended_s = end_s if pd.isna(row["finished_at_s"]) else float(row["finished_at_s"])
    waits_for = sorted(
        (float(at_s), part.order, str(into))
        for part in changes(row.to_frame().T, attempts, deferrals, dlq)
        for at_s, into in zip(part.at_s, repeat(part.into) if isinstance(part.into, str) else part.into, strict=False)
    )
    found: list[Attempt] = []
    free_s = float(row["requested_at_s"])
    for one in attempts.sort_values(["start_s", "end_s"], kind="stable").to_dict("records"):
        waits = tuple(_between(waits_for, free_s, one["start_s"]))
        reason, provider = (None if pd.isna(one[key]) else str(one[key]) for key in ("reason", "provider"))
        found.append(
            Attempt(
                int(one["attempt"]),
                one["start_s"],
                one["end_s"],
                str(one["outcome"]),
                reason,
                provider,
                int(one["hedges"]),
                waits,
            )
        )
        free_s = one["end_s"]
    reason = str(dlq["reason"].iloc[-1]) if row["outcome"] == "dead_lettered" and len(dlq) else None
    waits = tuple(_between(waits_for, free_s, ended_s))
    redriven = tuple(dlq.loc[dlq["left"] == "redriven", "left_at_s"])
    return Course(float(row["requested_at_s"]), tuple(found), waits, str(row["outcome"]), ended_s, reason, redriven)


def _between(waits_for: list[tuple[float, int, str]], start_s: float, end_s: float) -> Iterator[Wait]:
    cause = TURN
    for at_s, _, following in waits_for:
        if at_s >= end_s:
            break
        if at_s > start_s:
            yield Wait(start_s, at_s, cause)
            start_s = at_s
        cause = following
    if start_s < end_s:
        yield Wait(start_s, end_s, cause)


WIDTH, LINE, AROUND = 8.6, 0.27, 1.35
"""In inches: the figure, a line in it, and the space above and below the lines."""

LINES_MAX = 24
"""Of more attempts only the first and the last ones are shown."""

BAR = 0.62
NARROW_INCHES = 0.045
"""A shorter time is drawn as wide as this, or it would not be seen."""

SHARE_MIN = 0.55
"""The least share of the width for the notification, however long the texts beside it are."""

TEXT_APART = 0.09
"""The gap between a text and the mark that it is about, in inches."""

_Line: TypeAlias = "Attempt | int | None"
"""An attempt, how many are left out, or None: the end."""


def timeline(result: PlottedRun, notification_id: str, ax: Axes | None = None) -> Axes:
    """Draw the attempts of one notification: a line each with the wait before it, its outcome and the reason.

    Args:
        result: a result, or one that was saved and opened again.
        notification_id: which; an id of ``result.notifications``.
        ax: where to draw; axes of a figure of its own when None.

    Raises:
        ConfigurationError: there is no such notification.
        WrongType: it is no result.
    """
    check_run(result)
    course, channel = course_in(result, notification_id)
    lines = _lines(course)
    with canvas(ax, WIDTH, AROUND + LINE * (len(lines) + 1)) as ax:
        length_s = _length_s(course, lines, size_in(ax)[0])
        found = [
            window._replace(spans=spans, dips=())
            for window in windows(result.scenario, end_of(result), channel)
            if (spans := _shifted(window, course.requested_s, length_s))
        ]
        ax.set_xlim(0, length_s)
        ax.set_ylim(len(lines) - 0.4, -0.6)
        for place, line in enumerate(lines):
            if isinstance(line, Attempt):
                _draw_attempt(ax, place, line, course, length_s)
            elif line is None:
                _draw_end(ax, place, course, length_s)
            else:
                text = f"… {line:,} more attempts …"
                across = ax.get_yaxis_transform()
                ax.text(0.5, place, text, transform=across, ha="center", va="center", size=NOTE_SIZE)
        for at_s in course.redriven_s:
            place = next((n for n, line in enumerate(lines) if isinstance(line, Attempt) and line.start_s >= at_s), -1)
            place = len(lines) - 1 if place < 0 else place
            ax.plot(
                [at_s - course.requested_s], [place], REDRIVEN.marker, color=REDRIVEN.color, zorder=5, label="_redriven"
            )
        ax.set_yticks(range(len(lines)), [_line_name(line) for line in lines])
        ax.tick_params(axis="y", length=0)
        ax.set_title(f"{cut(drawable(notification_id), size_in(ax)[0] * 0.6, 10, 'bold')}, {_end_text(course)}")
        _legend(ax, course, lines)
        shade_and_label(ax, found, length_s, None)
        draw_time_axis(ax, result.scenario, length_s, since="it was accepted", origin_s=course.requested_s)
    return ax


def course_in(result: PlottedRun, notification_id: str) -> tuple[Course, str]:
    """Return the course of a notification of a run, and its channel; of several with this id, of the first.

    Raises:
        ConfigurationError: there is no such notification.
    """
    rows = taken(result, "notifications", "id", "channel").frame
    row = rows[rows["id"] == notification_id]
    if row.empty:
        raise ConfigurationError([_unknown(result, notification_id, list(rows["id"]))])
    first = row.iloc[0]
    until_s = math.inf if pd.isna(first["finished_at_s"]) else first["finished_at_s"]
    attempts, interrupted, deferrals, dlq = (
        frame[(frame["id"] == notification_id) & frame[column].between(first["requested_at_s"], until_s)]
        for frame, column in (
            (result.attempts, "start_s"),
            (result.interrupted, "start_s"),
            (result.deferrals, "time_s"),
            (result.dlq, "time_s"),
        )
    )
    if len(interrupted):
        attempts = pd.concat([as_attempts(interrupted), attempts], ignore_index=True)
    if len(result.scenario.providers_used[first["channel"]]) == 1:
        attempts = attempts.assign(provider=None)  # the provider says nothing new
    return course_of(first, attempts, deferrals, dlq, end_of(result)), str(first["channel"])


def _unknown(result: PlottedRun, notification_id: str, ids: Sequence[str]) -> str:
    if not ids:
        why = " with record: aggregates" if result.scenario.record != "full" else ""
        return f"notification: wanted one of the run's, which kept none{why}, got {notification_id!r}"
    near = difflib.get_close_matches(notification_id, ids[:20_000], 1, 0.0)
    return f"notification: wanted the id of one of the run's {len(ids):,}, such as {near[0]}, got {notification_id!r}"


def _lines(course: Course) -> list[_Line]:
    attempts: list[_Line] = list(course.attempts)
    if len(attempts) > LINES_MAX:
        half = LINES_MAX // 2
        attempts[half:-half] = [len(attempts) - 2 * half]
    return attempts if course.outcome == "sent" else [*attempts, None]


def _line_name(line: _Line) -> str:
    if line is None:
        return "end"
    if not isinstance(line, Attempt):
        return ""
    return f"attempt {line.number}" if line.number else "request"


def _shifted(window: Window, by_s: float, length_s: float) -> tuple[tuple[float, float], ...]:
    moved = ((max(0.0, start_s - by_s), min(length_s, end_s - by_s)) for start_s, end_s in window.spans)
    return tuple(span for span in moved if span[0] < span[1])


def _draw_attempt(ax: Axes, place: int, attempt: Attempt, course: Course, length_s: float) -> None:
    _draw_waits(ax, place, attempt.waits, course, length_s)
    look = outcome_look(attempt.outcome)
    start_s, took_s = attempt.start_s - course.requested_s, attempt.end_s - attempt.start_s
    narrow_s = NARROW_INCHES / size_in(ax)[0] * length_s
    _bar(ax, place, start_s, max(took_s, narrow_s), look, BAR, look.words)
    _beside(ax, place, _end_and_text(attempt, course)[1], start_s + max(took_s, narrow_s), length_s)


def _draw_end(ax: Axes, place: int, course: Course, length_s: float) -> None:
    _draw_waits(ax, place, course.waits, course, length_s)
    at_s = course.end_s - course.requested_s
    look = ENDS[course.outcome]
    ax.plot([at_s], [place], look.marker, color=look.color, markersize=7, label=look.words, clip_on=False, zorder=4)
    _beside(ax, place, _end_and_text(None, course)[1], at_s, length_s)


def _draw_waits(ax: Axes, place: int, waits: Sequence[Wait], course: Course, length_s: float) -> None:
    inches_per_s = size_in(ax)[0] / length_s
    for wait in waits:
        look = WAITS.get(wait.cause, WAITS["turn"])
        start_s, took_s = wait.start_s - course.requested_s, wait.end_s - wait.start_s
        _bar(ax, place, start_s, took_s, look, BAR * 0.55, f"wait: {look.words}")
        text = duration_text(took_s)
        if (width_in(text, SMALL_SIZE) + 0.12) / inches_per_s < took_s:
            box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
            ax.text(
                start_s + took_s / 2, place, text, size=SMALL_SIZE, color="#222222", ha="center", va="center", bbox=box
            )


def _bar(ax: Axes, place: int, start_s: float, took_s: float, look: Mark, height: float, label: str) -> None:
    faint = label.startswith("wait: ")
    ax.broken_barh(
        [(start_s, took_s)],
        (place - height / 2, height),
        facecolor=look.color,
        edgecolor="white" if look.hatch and not faint else look.color,
        hatch=look.hatch or None,
        alpha=0.55 if faint else 1.0,
        linewidth=0.6,
        label=label,
        zorder=2 if faint else 3,
    )


def _beside(ax: Axes, place: int, text: str, at_s: float, length_s: float) -> None:
    room = (1 - at_s / length_s) * size_in(ax)[0] - TEXT_APART
    ax.annotate(
        cut(drawable(text), max(room, 0.3), NOTE_SIZE),
        (at_s, place),
        xytext=(TEXT_APART * 72, 0),
        textcoords="offset points",
        va="center",
        size=NOTE_SIZE,
        zorder=5,
    )


def _length_s(course: Course, lines: Sequence[_Line], width: float) -> float:
    """Return the length of the axis that leaves room for the texts to the right of their marks, in seconds."""
    inches_per_s = [
        (width - width_in(drawable(text), NOTE_SIZE) - 2 * TEXT_APART) / (end_s - course.requested_s)
        for end_s, text in (_end_and_text(line, course) for line in lines if not isinstance(line, int))
        if end_s > course.requested_s
    ]
    took_s = course.end_s - course.requested_s
    slowest = max(min(inches_per_s, default=width), 1e-300)
    return float(np.clip(width / slowest, took_s * 1.02, took_s / SHARE_MIN)) or 1e-3


def _end_and_text(line: Attempt | None, course: Course) -> tuple[float, str]:
    if line is None:
        return course.end_s, ENDS[course.outcome].words + ("" if course.reason is None else f": {course.reason}")
    provider = "" if line.provider is None else f" at {line.provider}"
    took = f" after {duration_text(line.end_s - line.start_s)}"
    copies = "" if line.hedges == 0 else f", with {counted(line.hedges, 'copy', 'copies')}"
    reason = "" if line.reason is None else f": {line.reason}"
    return line.end_s, f"{outcome_look(line.outcome).words}{provider}{took}{copies}{reason}"


def _end_text(course: Course) -> str:
    took = duration_text(course.end_s - course.requested_s)
    words = {"sent": "sent after", "dead_lettered": "dead-lettered after", "suppressed": "suppressed after"}
    interrupted = sum(attempt.outcome == INTERRUPTED for attempt in course.attempts)
    made = counted(len(course.attempts) - interrupted, "attempt")
    if interrupted:
        made = f"{counted(interrupted, 'interrupted request')} and {made}"
    times = len(course.redriven_s)
    again = f", redriven {'once' if times == 1 else f'{times:,} times'}" if times else ""
    return f"{words.get(course.outcome, 'still in flight after')} {took}{', ' if interrupted else ' and '}{made}{again}"


def _legend(ax: Axes, course: Course, lines: Sequence[_Line]) -> None:
    drawn = [line for line in lines if isinstance(line, Attempt)]
    waits = {wait.cause for attempt in drawn for wait in attempt.waits} | {wait.cause for wait in course.waits}
    patches: list[Artist] = [
        Patch(facecolor=look.color, edgecolor=look.color, hatch=look.hatch or None, alpha=0.55, label=look.words)
        for cause, look in WAITS.items()
        if cause in waits
    ]
    if course.redriven_s:
        patches.append(Line2D([], [], color=REDRIVEN.color, marker=REDRIVEN.marker, linestyle="", label=REDRIVEN.words))
    if patches:
        legend_above(ax, patches)
