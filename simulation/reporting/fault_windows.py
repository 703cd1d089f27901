"""Windows of time in which something out of the ordinary holds: injected faults, and quiet hours."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from actors.formatting import plain_number
from actors.messages import NotificationChannel
from actors.policies.quiet_hours import QuietHours
from actors.settings.channel import PRIMARY
from actors.settings.faults import Change, ChannelNames, FaultConfig, channels_hit, hits_all
from actors.settings.quantities import Rate
from simulation.results.formatting import duration_text
from simulation.scenario import Scenario
from simulation.scenario.people import QuietHoursShare

Span = tuple[float, float]
"""From and to, in seconds from the start."""

FLAPS_MAX = 1000
"""More dips than that cannot be distinguished in a picture."""


class Window(NamedTuple):
    """The time of a fault or of quiet hours, and its name."""

    text: str
    spans: tuple[Span, ...]
    """When, in order, within the run."""

    dips: tuple[Span, ...] = ()
    """When a flapping provider is down."""

    quiet: bool = False
    """Quiet hours, not a fault."""

    channels: Container[str] = ()
    """The channels that a fault hits."""

    provider: str | None = None
    """The one provider of them that it hits; None: all of them."""

    def hits(self, breaker: str) -> bool:
        """Return whether it is a fault of the provider behind a breaker of this name: ``email``, ``email/backup@2``."""
        channel, _, provider = breaker.partition("@")[0].partition("/")
        return not self.quiet and channel in self.channels and self.provider in (None, provider or PRIMARY)


def channel_of_breaker(name: str) -> str:
    """Return the channel of a breaker by its name, such as ``email``, ``email@2`` or ``email/backup@2``."""
    return name.partition("@")[0].partition("/")[0]


def windows(scenario: Scenario, end_s: float, channel: str | None = None) -> list[Window]:
    """Return the faults of `scenario`, then its quiet hours, as far as they lie within a run of this length.

    With a `channel`, only its own.
    """
    used = scenario.channels_used
    faults = [fault for fault in scenario.faults if channel is None or channel in channels_hit(fault)]
    rules = [rule for rule in scenario.quiet_hours if channel is None or channel in rule.channels]
    found = [_fault_window(fault, scenario, end_s) for fault in faults]
    found += [
        _quiet_window(rule, zone, used, scenario.start, end_s) for rule in rules for zone in scenario.zones_of(rule)
    ]
    return [window for window in found if window.spans]


def _fault_window(fault: FaultConfig, scenario: Scenario, end_s: float) -> Window:
    lasts_s = lasting_s(fault, scenario)
    until_s = end_s if lasts_s is None else min(end_s, fault.at + lasts_s)
    spans = ((fault.at, until_s),) if fault.at < end_s else ()
    label, dips = fault_label(fault, scenario.channels_used), _dips(fault, until_s)
    return Window(label, spans, dips, channels=channels_hit(fault), provider=fault.provider)


def lasting_s(fault: FaultConfig, scenario: Scenario) -> float | None:
    """Return for how many seconds a fault holds; None: to the end.

    A fault that happens once lasts until the stopped process is back: in a deploy, the last node that exists when it
    begins.
    """
    if not fault.injects <= AT_THE_START:
        return fault.for_
    lasts_s = fault.restart_after or 0.0
    if (deploy := fault.deploy) is not None:
        last_s = (_nodes_at(scenario, fault.at) - 1) * deploy.every
        lasts_s = max(lasts_s, last_s + deploy.drain + deploy.each_down)
    return lasts_s


def _nodes_at(scenario: Scenario, at_s: float) -> int:
    scaled = [(fault.at, fault.scale.to) for fault in scenario.faults if fault.scale is not None and fault.at <= at_s]
    return max(scaled, key=lambda each: each[0])[1] if scaled else scenario.fleet.count


def fault_label(fault: FaultConfig, used: tuple[NotificationChannel, ...]) -> str:
    return f"{_place_text(fault, used)}{fault_text(fault)}"


AT_THE_START = {"crash", "deploy", "scale", "clock_step"}
"""The faults that happen once, however long `for` is."""


def _place_text(fault: FaultConfig, used: tuple[NotificationChannel, ...]) -> str:
    """Return where a fault hits; nothing where it is everywhere, since it hits the process."""
    if hits_all(fault):
        return _nodes_text(fault.node, behind=" " if fault.injects == {"partition"} else ", ")
    provider = "" if fault.provider is None else f"/{fault.provider}"
    provider += " upstream" if fault.upstream else ""
    provider += f" {fault.upstream}" if fault.upstream > 1 else ""
    return f"{_nodes_text(fault.node)}{_channels_text(fault.channel, used)}{provider}: "


def _nodes_text(nodes: Sequence[int] | None, behind: str = ", ") -> str:
    if nodes is None:
        return ""
    return f"node{'s'[: len(nodes) != 1]} {', '.join(map(str, nodes))}{behind}"


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


_WORDS: dict[str, Callable[[Any], str]] = {
    "deploy": lambda deploy: f"deploy, a node every {_duration(deploy.every)}, each down {_duration(deploy.each_down)}",
    "scale": lambda scale: f"{scale.to:,} node{'s'[: scale.to != 1]} from now on",
    "partition": lambda _: "cut off from the store",
    "clock_step": lambda step: f"wall clock steps {'−' if step < 0 else '+'}{_duration(abs(step))}",
    "outage": lambda _: "outage",
    "hang": lambda _: "hangs, no answer",
    "flap": lambda flap: f"flaps, {_duration(flap.up)} up, {_duration(flap.down)} down",
    "fail_first": lambda count: f"first {count:,} attempts fail",
    "failure_rate": lambda share: f"{_changing(share, _share)} fail",
    "burst": lambda burst: (
        f"{_share(burst.failure_rate)} fail in bursts, {_duration(burst.mean_good)} good, "
        f"{_duration(burst.mean_bad)} bad"
    ),
    "permanent_rate": lambda share: f"{_share(share)} fail for good",
    "channel_fault_rate": lambda share: f"{_share(share)} find the channel broken",
    "dead_destination_rate": lambda share: f"{_share(share)} of addresses gone",
    "lost_reply_rate": lambda share: f"{_share(share)} of replies lost",
    "refused_rate": lambda share: f"{_share(share)} of connections refused",
    "throttle": lambda throttle: (
        f"throttled to {_rate(throttle.rate)}"
        + ("" if throttle.retry_after is None else f", Retry-After {_duration(throttle.retry_after)}")
    ),
    "capacity": lambda capacity: f"capacity {capacity:,}",
    "speed": lambda speed: f"works at {plain_number(speed, 6)} of its speed" if speed else "frozen",
    "latency": lambda _: "other latency",
    "latency_factor": lambda factor: f"latency ×{_changing(factor, lambda number: plain_number(number, 6))}",
    "duplicate_rate": lambda share: f"{_share(share)} of messages come twice",
    "reorder": lambda _: "messages late, out of order",
}
"""The words for each effect of a fault except a crash, in this order."""


def fault_text(fault: FaultConfig) -> str:
    parts = []
    if fault.crash is not None:
        victim, back = ("process", "down") if fault.crash == "process" else (fault.crash.actor, "back after")
        parts.append(
            f"{victim} crashes" + (f", {back} {_duration(fault.restart_after)}" if fault.restart_after else "")
        )
    parts += [words(getattr(fault, key)) for key, words in _WORDS.items() if key in fault.injects]
    if fault.host is not None:
        hosts = fault.host[0] if len(fault.host) == 1 else f"{len(fault.host)} hosts"
        parts[-1] += f", at {hosts}"
    return "; ".join(parts) or "fault"


def _duration(seconds: float) -> str:
    return duration_text(seconds).replace(" ", "\N{NO-BREAK SPACE}")


def _changing(value: Any, write: Callable[[float], str]) -> str:
    if isinstance(value, Change):
        return f"{write(value.from_)} to {write(value.to)} over {_duration(value.over)}"
    return write(value)


def _share(share: float) -> str:
    return f"{share * 100:.3g}%"


def _rate(rate: Rate) -> str:
    unit = {1.0: "s", 60.0: "min", 3600.0: "h"}.get(rate.period, _duration(rate.period))
    return f"{plain_number(rate.count, 6)}/{unit}"


def _quiet_window(
    rule: QuietHoursShare, zone: str, used: tuple[NotificationChannel, ...], start: datetime, end_s: float
) -> Window:
    hours = f"{rule.from_:%H:%M}–{rule.to:%H:%M} {zone}"
    text = f"{_channels_text(rule.channels, used)}: {_share(rule.share)} of users quiet {hours}"
    return Window(text, tuple(_quiet_spans(rule, zone, start, end_s)), quiet=True)


def _quiet_spans(rule: QuietHoursShare, zone: str, start: datetime, end_s: float) -> Iterator[Span]:
    """Yield when it is quiet. The hours between quiet ones are, to the policy, quiet hours the other way round."""
    quiet = QuietHours(rule.from_, rule.to, zone)
    between = QuietHours(rule.to, rule.from_, zone)
    end = start + timedelta(seconds=end_s)
    at = start
    while at < end:
        quiet_until = quiet.end_of_quiet(at)
        if quiet_until is not None:
            yield (at - start).total_seconds(), (min(quiet_until, end) - start).total_seconds()
            at = quiet_until
        else:
            at = between.end_of_quiet(at) or end
