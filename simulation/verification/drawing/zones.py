"""People in time zones: entries have users in some, quiet hours go by these or not, and arrivals come at local times or
in bursts of drawn sizes and intervals."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from actors.instants import ns, seconds
from simulation.scenario import ClosedWorkload, QuietHoursShare, Scenario
from simulation.scenario.arrivals import Arrivals
from simulation.scenario.expected_arrivals import expected_in_window
from simulation.scenario.workload import UserSpread, WorkloadEntry, count_of
from simulation.verification.drawing.numbers import log_uniform, rounded

_ZONES = ("Asia/Tokyo", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "America/Los_Angeles", "UTC")


def in_zones(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario most of whose users are in time zones, by which quiet hours of some go."""
    rules = tuple(
        QuietHoursShare.model_validate(rule.model_dump(by_alias=True, exclude={"zone"}))
        if random.random() < 0.7
        else rule
        for rule in scenario.quiet_hours
    )
    workload = tuple(_entry(scenario, entry, random) for entry in scenario.workload)
    return scenario.model_copy(update={"workload": workload, "quiet_hours": rules})


def has_local_times(scenario: Scenario) -> bool:
    """Tell whether arrivals come at local times, so that at another start there may be none."""
    opened = [entry for entry in scenario.workload if not isinstance(entry, ClosedWorkload)]
    return any(entry.arrivals.daily is not None for entry in opened)


def _entry(scenario: Scenario, entry: WorkloadEntry, random: Random) -> WorkloadEntry:
    changes: dict[str, Any] = {}
    if entry.users is not None and random.random() < 0.7:
        zipf = entry.users.zipf if isinstance(entry.users, UserSpread) else random.choice([0.0, 1.0])
        changes["users"] = UserSpread(count=count_of(entry.users), zipf=zipf, zone=random.choice(_ZONES))
    begins_s, lasts_s = entry.at, seconds(scenario.arrivals_end_of(entry) - ns(entry.at))
    if not isinstance(entry, ClosedWorkload) and lasts_s > 1.0 and random.random() < 0.5:
        count = max(1, round(expected_in_window(scenario, entry)))
        every = rounded(lasts_s / random.randint(1, 10))
        at = scenario.start + timedelta(seconds=begins_s + random.uniform(1.0, lasts_s))
        zone = random.choice(_ZONES)
        sizes = {"uniform": {"low": 1.0, "high": rounded(max(2.0, 2.0 * count * every / lasts_s))}}
        over = random.choice([0.0, rounded(log_uniform(random, 0.01, lasts_s))])
        written: list[dict[str, Any]] = [
            {"burst": {"size": sizes, "every": {"exponential": {"mean": every}}}},
            {"daily": {"at": f"{at.astimezone(ZoneInfo(zone)):%H:%M:%S}", "zone": zone, "count": count, "over": over}},
        ]
        changes["arrivals"] = Arrivals.model_validate(random.choice(written))
    return entry.model_copy(update=changes)
