"""The linter on what has no effect beside something else: faults that another one decides before, and users that are
more than what arrives for them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from actors.formatting import counted
from actors.lint.channel import Finding
from actors.settings.faults import FaultConfig
from simulation.scenario import ClosedWorkload, Scenario
from simulation.scenario.popularity import count_of

_RATES = frozenset(
    {
        "failure_rate", "fail_first", "permanent_rate", "dead_destination_rate", "channel_fault_rate", "burst",
        "lost_reply_rate", "flap",
    }
)  # fmt: skip
_NOTHING_LEFT_TO = {
    "hang": _RATES | {"hang", "outage", "throttle", "latency", "latency_factor"},
    "outage": _RATES | {"outage"},
    "latency": frozenset({"latency"}),
}
"""Which faults decide before which: `actors.faults.rules` has the order."""


def swallowing_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the faults to which another one leaves nothing for as long as they last."""
    deciding = [each for each in enumerate(scenario.faults) if each[1].injects & _NOTHING_LEFT_TO.keys()]
    for number, fault in enumerate(scenario.faults):
        others = [(other, outer) for other, outer in deciding if _covers(scenario, outer, fault)]
        for key in sorted(fault.injects):
            decides = [
                (other, own)
                for other, outer in others
                for own, nothing_left_to in _NOTHING_LEFT_TO.items()
                if other != number and own in outer.injects and key in nothing_left_to
                # Of two alike the first is kept; of two latencies the last one holds.
                and not (key == own == "latency" and other < number)
                and not (key == own != "latency" and number < other and _covers(scenario, fault, outer))
            ]  # fmt: skip
            if decides:
                other, own = decides[0]
                text = f"lies within the {own} of faults.{other}, which decides before it: it has no effect"
                yield Finding(("faults", str(number), key), "fault-without-effect", text)


def _covers(scenario: Scenario, outer: FaultConfig, fault: FaultConfig) -> bool:
    """Tell whether a fault hits all that another one hits, for as long as that lasts."""
    ends = [math.inf if each.for_ is None else each.at + each.for_ for each in (fault, outer)]
    if outer.at > fault.at or ends[0] > ends[1]:
        return False
    return (
        set(fault.channel).intersection(scenario.channels_used) <= set(outer.channel)
        and outer.provider in (None, fault.provider)
        and _is_part(fault.host, outer.host)
        and _is_part(fault.node, outer.node)
        and (fault.upstream or not outer.upstream)
    )


def _is_part(some: tuple[object, ...] | None, of: tuple[object, ...] | None) -> bool:
    return of is None or (some is not None and set(some) <= set(of))


def few_for_many_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield the entries whose listed arrivals are fewer than their users, as where each was meant to get one."""
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, ClosedWorkload) or entry.arrivals.times is None or entry.users is None:
            continue
        users, times = count_of(entry.users), len(entry.arrivals.times)
        if times < users:
            yield Finding(
                ("workload", str(number), "users"),
                "more-users-than-arrivals",
                f"{users:,} users share what arrives, which is {counted(times, 'notification')}: not each of them gets "
                f"one (burst: {{size: {users}, every: …}} has so many arrive at once)",
            )
