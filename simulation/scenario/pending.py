"""The linter on room: where more may be pending than a live notifier would accept."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from actors.formatting import counted
from actors.lint.channel import Finding
from actors.messages import NotificationChannel, Priority
from actors.policies.admission import Admission
from actors.settings.channel import NotifierConfig
from simulation.scenario import ChannelWorkload, ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.expected_arrivals import expected_in_window
from simulation.scenario.workload import WorkloadEntry, class_of

_RULE = "more-pending-than-live"


def pending_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield where more may be pending than a live notifier accepts by default: in an outage, and at once in a burst."""
    if scenario.max_pending is not None:
        return
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, ClosedWorkload) or entry.arrivals.burst is None:
            continue
        come = sum(entry.arrivals.burst.size * share_wanted(scenario, entry, channel) for channel in entry.channels)
        if come > _most_live([entry]):
            path = ("workload", str(number), "arrivals", "burst", "size")
            yield Finding(path, _RULE, f"{counted(round(come), 'notification')} arrive at once, {_refused([entry])}")
    for number, fault in enumerate(scenario.faults):
        if not fault.outage or fault.for_ is None or fault.provider is not None:
            continue
        hit = [
            (entry, channel)
            for channel in scenario.channels_used
            if channel in fault.channel
            for entry in scenario.workload
            if channel in entry.channels and not isinstance(entry, ClosedWorkload)
        ]
        until_s = fault.at + fault.for_
        arrive = sum(
            _within(scenario, entry, fault.at, until_s) * share_wanted(scenario, entry, channel)
            for entry, channel in hit
        )
        entries = [entry for entry, _ in hit]
        if arrive > _most_live(entries):
            text = f"{counted(round(arrive), 'notification')} arrive meanwhile, {_refused(entries)}"
            yield Finding(("faults", str(number), "for"), _RULE, text)


def _most_live(entries: Collection[WorkloadEntry]) -> int:
    """Return how many may be pending before a live notifier refuses the first of these entries."""
    admission = Admission(NotifierConfig.model_fields["max_pending"].default)
    bounds = [admission.bound(Priority(class_of(entry))) for entry in entries]
    return min((bound for bound in bounds if bound is not None), default=0)


def _refused(entries: Collection[WorkloadEntry]) -> str:
    most = NotifierConfig.model_fields["max_pending"].default
    text = f"and a live notifier has at most {most:,} pending by default and refuses what is more"
    if (first := _most_live(entries)) < most:
        text += f", of these from {first:,} on"
    return f"{text}; max_pending says so here"


def _within(scenario: Scenario, entry: ChannelWorkload | EventWorkload, start_s: float, end_s: float) -> float:
    """Return how many of an entry are expected between two instants."""
    before, until = (expected_in_window(scenario, entry, until_s=at_s) for at_s in (start_s, end_s))
    return until - before


def share_wanted(scenario: Scenario, entry: ChannelWorkload | EventWorkload, channel: NotificationChannel) -> float:
    """Return the share of an entry that preferences let through."""
    if isinstance(entry, ChannelWorkload) and entry.critical:
        return 1.0
    off = sum(rule.share for rule in scenario.preferences if rule.channel is channel and not rule.enabled)
    return max(0.0, 1.0 - off)
