"""The disturbances of a drawn case: crashes that it survives, orders of an operator, and a start at which clocks and
quiet hours change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from actors.kernel.actor import Supervision
from actors.messages import Priority
from actors.settings.faults import Crash, FaultConfig
from simulation.scenario import Operation, QuietHoursShare, Scenario
from simulation.verification.drawing.shapes import Between, drawn

TOO_MANY_CRASHES = 11
"""So often within a minute crashes, now and then, one that no failure of its own ends the run for: until its wait is
the longest that there is."""

DOWN_TIME = Between(0.01, 30.0, zero_below=0.02)
"""For how many seconds an actor is down, which now and then is not at all."""


def bearable(faults: Sequence[FaultConfig]) -> tuple[FaultConfig, ...]:
    """Return the faults; of an actor that crashes more often than its supervision bears, which ends a run, it is always
    said when it starts again."""
    crashes = Counter(fault.crash.actor for fault in faults if isinstance(fault.crash, Crash))
    return tuple(
        fault.model_copy(update={"restart_after": 1.0})
        if isinstance(fault.crash, Crash)
        and fault.restart_after is None
        and fault.crash.actor != "alert"
        and crashes[fault.crash.actor] > Supervision().max_restarts
        else fault
        for fault in faults
    )


def start_at_an_edge(case: Scenario, at: float, random: Random) -> datetime:
    """Return a start with which quiet hours of some users begin, or end, so many seconds after it."""
    rule = random.choice(case.quiet_hours)
    shown = random.choice([rule.from_, rule.to])
    edge = datetime.combine(case.start.date(), shown, _zone_of(case, rule, random))
    return edge.astimezone(UTC) - timedelta(seconds=at)


def start_at_a_change(case: Scenario, random: Random) -> datetime:
    """Return a start some hours before the clocks of some users with quiet hours change; in a year, where they
    never do."""
    zone = _zone_of(case, random.choice(case.quiet_hours), random)
    hours = (case.start.replace(minute=0, second=0, microsecond=0) + timedelta(hours=n) for n in range(366 * 24))
    at, offset = case.start, case.start.astimezone(zone).utcoffset()
    for at in hours:
        if at.astimezone(zone).utcoffset() != offset:
            break
    return at - timedelta(minutes=random.randrange(10 * 60))


def _zone_of(case: Scenario, rule: QuietHoursShare, random: Random) -> ZoneInfo:
    zones = case.zones_of(rule)
    return ZoneInfo(zones[0] if len(zones) == 1 else random.choice(zones))


def down_time(random: Random) -> float:
    """Return for how many seconds an actor is down, which now and then is not at all."""
    down_s: float = drawn(DOWN_TIME, random)
    return down_s


def cancellation(channel: str, at: float, random: Random) -> Operation:
    """Return an order to cancel what waits at an instant, or a class of it; on a channel, or on all."""
    which: Any = "all" if random.random() < 0.5 else {"priority": random.choice(list(Priority)).value}
    written = {"at": at, "cancel": which}
    if random.random() < 0.5:
        written["channel"] = channel
    return Operation.model_validate(written)


def edit(case: Scenario, random: Random) -> dict[str, Any]:
    """Return what an operator changes of what they redrive, as it stands in a file."""
    hosts = [entry for entry in case.workload if getattr(entry, "hosts", None) is not None]
    edits: list[dict[str, Any]] = [
        {"recipient": "user-0@host-0.example" if hosts else "user-0"},
        {"message": "edited"},
        {"expires_after": random.choice([0.001, 1.0, 60.0])},
        {"expires_after": None},
    ]
    if any(getattr(entry, "priority", None) is not None for entry in case.workload):
        edits.append({"priority": random.choice(list(Priority)).value})
    return random.choice(edits) | (random.choice(edits) if random.random() < 0.3 else {})
