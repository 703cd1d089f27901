"""The course of one notification: its attempts, and what it waited for before each of them and before its end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any, NamedTuple

import pandas as pd

from simulation.results.waiting import TURN, changes


class Wait(NamedTuple):
    """From and to, in seconds from the start of the run, and what was waited for; a key of `looks.WAITS`."""

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
    """All of a notification."""

    requested_s: float
    attempts: tuple[Attempt, ...]
    waits: tuple[Wait, ...]
    """Those after the last attempt, before the end."""

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
    """Return the course of a notification.

    Args:
        row: of ``result.notifications``.
        attempts: its rows of ``result.attempts``, and of ``result.interrupted``; of the other tables as well.
        deferrals: its rows of ``result.deferrals``.
        dlq: its rows of ``result.dlq``.
        end_s: when the run ended.
    """
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
