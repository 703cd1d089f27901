"""Goals that no settings of a channel can reach: what arrives in a total outage cannot be delivered before its end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from actors.formatting import duration_text, instant_text, plain_number
from actors.messages import NotificationChannel
from actors.settings.faults import FaultConfig
from simulation.scenario import ClosedWorkload, Expectation, Scenario
from simulation.scenario.expected_arrivals import expected_notifications

_QUANTILE = re.compile(r"p(\d+(?:_\d+)?)")


def unreachable(scenario: Scenario, varied: Iterable[str]) -> list[str]:
    """Return a sentence with the arithmetic for each expectation that no value of the varied settings can meet.

    Args:
        scenario: with the expectations.
        varied: the paths that are searched.
    """
    roots = ("faults", "workload", "duration", "channels.*.failover", "channels.*.fallback", "quiet_hours")
    if any(re.sub(r"^channels\.\w+", "channels.*", path).startswith(roots) for path in varied):
        return []
    return [problem for each in scenario.expect for problem in _problems(scenario, each)]


def _problems(scenario: Scenario, expectation: Expectation) -> Iterator[str]:
    wanted = _wanted(expectation)
    if wanted is None or expectation.window is not None:
        return
    share, within_s, path = wanted
    channels = [each for each in scenario.channels_used if path[0] != "channels" or each.value == path[1]]
    if path[0] not in ("channels", "delivered_within", "delivery_time_s"):
        return
    offered = sum(_arriving(scenario, channel, 0.0, float("inf")) for channel in channels)
    late = {
        (fault, channel): _arriving(scenario, channel, fault.at, fault.at + (fault.for_ or 0.0) - within_s)
        for fault in scenario.faults
        if _is_total(fault) and (fault.for_ or 0.0) > within_s
        for channel in channels
        if channel in fault.channel and scenario.channel_config(channel).fallback is None
    }
    if not offered or sum(late.values()) / offered <= 1.0 - share + 0.01:  # a hundredth is left to chance
        return
    for (fault, channel), count in late.items():
        lasts_s = fault.for_ or 0.0
        early, arrive = duration_text(lasts_s - within_s), plain_number(100 * count / offered)
        yield (
            f"expect: {expectation.text}: no setting can meet that: {arrive}% arrive in the first {early} of the "
            f"outage of {channel}, which lasts {duration_text(lasts_s)} from {instant_text(fault.at)} on: they cannot "
            f"be there within {duration_text(within_s)}"
        )


def _wanted(expectation: Expectation) -> tuple[float, float, tuple[str, ...]] | None:
    path = tuple(expectation.path)
    if expectation.within_s is not None and expectation.op in (">=", ">"):
        return expectation.value, expectation.within_s, path
    found = _QUANTILE.fullmatch(path[-1])
    if len(path) > 1 and path[-2] == "delivery_time_s" and found and expectation.op in ("<=", "<"):
        return float(found[1].replace("_", ".")) / 100, expectation.value, path
    return None


def _is_total(fault: FaultConfig) -> bool:
    whole = fault.provider is None and fault.node is None and fault.host is None
    return bool(fault.outage) and whole and not fault.upstream


def _arriving(scenario: Scenario, channel: NotificationChannel, from_s: float, until_s: float) -> float:
    found = 0.0
    for entry in scenario.workload:
        if channel in entry.channels:
            count = expected_notifications(scenario, entry, until_s) - expected_notifications(scenario, entry, from_s)
            found += count / (1 if isinstance(entry, ClosedWorkload) else len(entry.channels))
    return found
