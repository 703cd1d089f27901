"""The tables of an explanation as text, for whatever shows them."""

from __future__ import annotations

from typing import NamedTuple

from actors.formatting import counted, plain_number
from simulation.experiments.explaining.parts import By, ChannelExplained, OneCall, Reach, Schedule, Sentence, UnderLoad
from simulation.results.formatting import NOTHING, duration_text, mean_count_text
from simulation.scenario.metrics import NEVER

MARKS = {By.FORMULA: "", By.DRAWS: " ~", By.RUN: " *"}
"""What stands behind a number, by how it was found."""

LEGEND = "~ by drawn schedules   * by a run with seed 0   all else by closed form"


class Grid(NamedTuple):
    """A table of text."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """What to know of it; nothing where empty."""


def reach_text(reach: Reach) -> str:
    """Return where a time lies: ``3 s``, or ``0 s to 3 s``."""
    if reach.is_certain:
        return duration_text(reach.shortest)
    return f"{duration_text(reach.shortest)} to {duration_text(reach.longest)}"


def said_text(said: Sentence) -> str:
    """Return a sentence with the mark of how its numbers were found."""
    return f"{said.text.removesuffix('.')}{MARKS[said.by]}."


def load_text(channel: ChannelExplained) -> str:
    """Return the load of a channel in words."""
    rate = f"{plain_number(channel.load)}/s"
    return {"of the scenario": f"{rate}, the scenario's mean"}.get(channel.load_is, f"{rate}, {channel.load_is}")


def grids(channel: ChannelExplained) -> list[Grid]:
    """Return the tables of a channel, in order."""
    return [*map(_of_schedule, channel.schedules), _of_one_call(channel.one_call), _of_load(channel)]


def _of_schedule(schedule: Schedule) -> Grid:
    failures = "" if schedule.failures == "any" else f" after {schedule.failures} failures"
    rows = []
    before = 0
    for attempt in schedule.attempts:
        if attempt.number > before + 1:
            rows.append(("…", "", "", ""))
        before = attempt.number
        start = attempt.start
        mark = MARKS[By.FORMULA if start.is_certain else By.DRAWS]
        rows.append(
            (
                f"{attempt.number}{'' if attempt.is_certain else ' ?'}",
                NOTHING if attempt.wait is None else reach_text(attempt.wait),
                reach_text(start),
                f"{duration_text(start.median)}{mark}" if start.median is not None else NOTHING,
            )
        )
    title = f"Attempts{failures}: {schedule.policy}, {counted(schedule.max_attempts, 'attempt')}"
    note = "" if all(each.is_certain for each in schedule.attempts) else "? only where max_elapsed has not come first"
    return Grid(title, ("attempt", "wait before it", "starts after the first", "half by"), tuple(rows), note)


def _of_one_call(calls: tuple[OneCall, ...]) -> Grid:
    rows = []
    for call in calls:
        mark = MARKS[call.by]
        after = NOTHING if call.after is None else f"{reach_text(call.after)}{mark}"
        rows.append(
            (duration_text(call.outage_s), _share(call.delivered) + mark, after, f"{plain_number(call.attempts)}{mark}")
        )
    return Grid(
        "An outage, and one call that meets its beginning",
        ("outage", "delivered", "after", "attempts"),
        tuple(rows),
        "Its retries alone, with no breaker in their way.",
    )


def _of_load(channel: ChannelExplained) -> Grid:
    rows = [_load_row(found) for found in channel.under_load]
    slower = [found for found in channel.under_load if found.rate < channel.load]
    note = "never: not delivered at all; requests: in the outage; peak: in a second after it."
    if slower:
        rates = " and ".join(f"{plain_number(found.rate)}/s" for found in slower)
        lengths = " and ".join(duration_text(found.outage_s) for found in slower)
        note += f" The runs of {lengths} are at {rates}: more would take long."
    if channel.besides:
        note += f" In the runs only: {', '.join(channel.besides)}."
    if channel.left_out:
        note += f" Of one node, which has the whole load. Left out: {', '.join(channel.left_out)}."
    return Grid(
        f"An outage, and a load of {load_text(channel)}",
        ("outage", "calls", "never", "slowest", "requests", "peak after", "opens", "closes"),
        tuple(rows),
        note,
    )


def _load_row(found: UnderLoad) -> tuple[str, ...]:
    opens = NOTHING if found.opens_s is None else duration_text(found.opens_s)
    closes = (
        NOTHING if found.opens_s is None else NEVER if found.closes_s is None else f"+{duration_text(found.closes_s)}"
    )
    return (
        f"{duration_text(found.outage_s)}{MARKS[found.by]}",
        f"{found.calls:,}",
        _lost(found),
        NOTHING if found.slowest_s is None else duration_text(found.slowest_s),
        f"{found.requests:,.0f}",
        f"{found.peak_per_s:,.0f}/s",
        opens,
        closes,
    )


def _lost(found: UnderLoad) -> str:
    meanwhile = f"{mean_count_text(found.lost)}, {_share(found.lost_share)}" if found.lost else "none"
    return f"{meanwhile}; {found.lost_after:,} after it" if found.lost_after else meanwhile


def _share(share: float) -> str:
    percent = 100.0 * share
    return (
        f"{percent:.0f}%"
        if percent in (0.0, 100.0) or 1.0 <= percent <= 99.0
        else f"{percent:.2g}%"
        if percent < 1
        else f"{percent:.4g}%"
    )
