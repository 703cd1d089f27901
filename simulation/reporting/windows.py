"""Windows of time in which something out of the ordinary holds: injected faults, and quiet hours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from actors.formatting import plain_number
from actors.messages import NotificationChannel
from actors.policies.quiet_hours import QuietHours
from actors.settings.faults import ChannelNames, FaultConfig
from actors.settings.quantities import Rate
from simulation.results.formatting import duration_text
from simulation.scenario import Scenario
from simulation.scenario.model import QuietHoursShare

Span = tuple[float, float]
"""From and to, in seconds from the start."""

FLAPS_MAX = 1000
"""More dips than that are not told apart in a picture."""


class Window(NamedTuple):
    """When something holds, and what."""

    text: str
    spans: tuple[Span, ...]
    """When, in order, within the run."""

    dips: tuple[Span, ...] = ()
    """When a flapping provider is down."""

    quiet: bool = False
    """Quiet hours, not a fault."""


def windows(scenario: Scenario, end_s: float, channel: str | None = None) -> list[Window]:
    """Return the faults of `scenario`, then its quiet hours, as far as they lie within a run of this length.

    With a `channel`, only what holds for it.
    """
    used = scenario.channels_used
    faults = [fault for fault in scenario.faults if channel is None or channel in fault.channel]
    rules = [rule for rule in scenario.quiet_hours if channel is None or channel in rule.channels]
    found = [_fault_window(fault, used, end_s) for fault in faults]
    found += [_quiet_window(rule, used, scenario.start, end_s) for rule in rules]
    return [window for window in found if window.spans]


def _fault_window(fault: FaultConfig, used: tuple[NotificationChannel, ...], end_s: float) -> Window:
    until_s = end_s if fault.for_ is None else min(end_s, fault.at + fault.for_)
    if fault.injects <= _AT_THE_START:
        until_s = min(end_s, fault.at + (fault.restart_after or 0.0))
    spans = ((fault.at, until_s),) if fault.at < end_s else ()
    return Window(f"{_place_text(fault, used)}{fault_text(fault)}", spans, _dips(fault, until_s))


_AT_THE_START = {"crash", "clock_step"}
"""What happens once, however long the window is."""


def _place_text(fault: FaultConfig, used: tuple[NotificationChannel, ...]) -> str:
    """Return where a fault hits; nothing where it is everywhere, since it hits the process."""
    if fault.injects == {"clock_step"} or (fault.injects <= _AT_THE_START and fault.crash == "process"):
        return ""
    provider = "" if fault.provider is None else f"/{fault.provider}"
    return f"{_channels_text(fault.channel, used)}{provider}: "


def _dips(fault: FaultConfig, until_s: float) -> tuple[Span, ...]:
    if fault.flap is None:
        return ()
    cycle_s = fault.flap.up + fault.flap.down
    count = int((until_s - fault.at) / cycle_s) + 1
    if count > FLAPS_MAX:
        return ()
    starts = [fault.at + number * cycle_s + fault.flap.up for number in range(count)]
    return tuple((start_s, min(start_s + fault.flap.down, until_s)) for start_s in starts if start_s < until_s)


def _channels_text(channels: ChannelNames, used: tuple[NotificationChannel, ...]) -> str:
    hit = [channel for channel in used if channel in channels]
    return "all" if len(hit) == len(used) > 1 else ", ".join(hit)


def fault_text(fault: FaultConfig) -> str:
    """Return what goes wrong, in a few words."""
    parts = []
    if fault.crash is not None:
        victim, back = ("process", "down") if fault.crash == "process" else (fault.crash.actor, "back after")
        parts.append(
            f"{victim} crashes" + (f", {back} {_duration(fault.restart_after)}" if fault.restart_after else "")
        )
    if fault.clock_step is not None:
        sign = "−" if fault.clock_step < 0 else "+"
        parts.append(f"wall clock steps {sign}{_duration(abs(fault.clock_step))}")
    if fault.outage:
        parts.append("outage")
    if fault.hang:
        parts.append("hangs, no answer")
    if fault.flap is not None:
        parts.append(f"flaps, {_duration(fault.flap.up)} up, {_duration(fault.flap.down)} down")
    if fault.fail_first is not None:
        parts.append(f"first {fault.fail_first:,} attempts fail")
    if fault.failure_rate is not None:
        parts.append(f"{_share(fault.failure_rate)} fail")
    if fault.burst is not None:
        good, bad = _duration(fault.burst.mean_good), _duration(fault.burst.mean_bad)
        parts.append(f"{_share(fault.burst.failure_rate)} fail in bursts, {good} good, {bad} bad")
    if fault.permanent_rate is not None:
        parts.append(f"{_share(fault.permanent_rate)} fail for good")
    if fault.channel_fault_rate is not None:
        parts.append(f"{_share(fault.channel_fault_rate)} find the channel broken")
    if fault.dead_destination_rate is not None:
        parts.append(f"{_share(fault.dead_destination_rate)} of addresses gone")
    if fault.lost_reply_rate is not None:
        parts.append(f"{_share(fault.lost_reply_rate)} of replies lost")
    if fault.throttle is not None:
        hint = fault.throttle.retry_after
        asks = "" if hint is None else f", Retry-After {_duration(hint)}"
        parts.append(f"throttled to {_rate(fault.throttle.rate)}{asks}")
    if fault.capacity is not None:
        parts.append(f"capacity {fault.capacity:,}")
    if fault.latency is not None:
        parts.append("other latency")
    if fault.latency_factor is not None:
        parts.append(f"latency ×{plain_number(fault.latency_factor, 6)}")
    if fault.duplicate_rate is not None:
        parts.append(f"{_share(fault.duplicate_rate)} of messages come twice")
    if fault.reorder is not None:
        parts.append("messages late, out of order")
    if fault.host is not None:
        hosts = fault.host[0] if len(fault.host) == 1 else f"{len(fault.host)} hosts"
        parts[-1] += f", at {hosts}"
    return "; ".join(parts) or "fault"


def _duration(seconds: float) -> str:
    return duration_text(seconds).replace(" ", "\N{NO-BREAK SPACE}")


def _share(share: float) -> str:
    return f"{share * 100:.3g}%"


def _rate(rate: Rate) -> str:
    unit = {1.0: "s", 60.0: "min", 3600.0: "h"}.get(rate.period, _duration(rate.period))
    return f"{plain_number(rate.count, 6)}/{unit}"


def _quiet_window(
    rule: QuietHoursShare, used: tuple[NotificationChannel, ...], start: datetime, end_s: float
) -> Window:
    hours = f"{rule.from_:%H:%M}–{rule.to:%H:%M} {rule.zone}"
    text = f"{_channels_text(rule.channels, used)}: {_share(rule.share)} of users quiet {hours}"
    return Window(text, tuple(_quiet_spans(rule, start, end_s)), quiet=True)


def _quiet_spans(rule: QuietHoursShare, start: datetime, end_s: float) -> Iterator[Span]:
    """Yield when it is quiet. The hours between quiet ones are, to the policy, quiet hours the other way round."""
    quiet = QuietHours(rule.from_, rule.to, rule.zone)
    between = QuietHours(rule.to, rule.from_, rule.zone)
    end = start + timedelta(seconds=end_s)
    at = start
    while at < end:
        quiet_until = quiet.end_of_quiet(at)
        if quiet_until is not None:
            yield (at - start).total_seconds(), (min(quiet_until, end) - start).total_seconds()
            at = quiet_until
        else:
            at = between.end_of_quiet(at) or end
