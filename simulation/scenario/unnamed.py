"""Defaults that decide in a run although its file does not name them, and the sentences about them."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from actors.instants import seconds
from actors.lint.findings import Finding, Rules, Said, said
from actors.messages import NotificationChannel
from actors.pipeline.lane import breaker_name
from actors.settings.channel import PRIMARY, ChannelConfig
from actors.settings.distribution_moments import mean, share_above
from actors.settings.faults import Change, FaultConfig
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.model import Scenario

DECIDES = "default-decides"
"""The rule of the linter's notes on them."""

_RULES = Rules("""
default-decides/timeout  channels.{channel}.timeout
    is not in the file: by default an attempt ends after {timeout:duration}
default-decides/breaker  channels.{channel}.circuit_breaker
    is not in the file: by default {does}, and what comes meanwhile waits
default-decides/attempts  channels.{channel}.retry.max_attempts
    is not in the file: by default {attempts} attempts, the first included, then the dead letter queue
default-decides/slots  channels.{channel}.max_in_flight
    is not in the file: by default {slots} attempts at once, the provider's connections
default-decides/drain  drain
    is not in the file: by default the run ends {drain:duration} after the last arrivals, with what is in flight then
""")

NOT_NAMED = "which the file does not name"

_CERTAIN = {"fail_first", "outage", "hang", "channel_fault_rate", "burst", "flap"}
_SLOW = {"hang", "speed", "lost_reply_rate"}
_NEARLY_FULL = 0.9
"""The share of its capacity from which on a provider's queue decides how long an attempt takes."""
_EXPECTED_MIN = 0.05
"""The least expected number of such events in a run that is worth a note before the run."""


class Unnamed(NamedTuple):
    """The defaults of a channel that the file does not name and that may decide how its notifications end."""

    config: ChannelConfig

    breakers: tuple[str, ...]
    """The names of its circuit breakers."""

    timeouts: frozenset[str]
    """The providers with the default timeout."""

    attempts: bool
    """Whether it has the default number of attempts."""

    slots: bool
    """Whether it has as many slots as its provider has connections."""

    @property
    def breaker_text(self) -> Said:
        breaker = self.config.circuit_breaker
        return said(
            "{threshold:failure(s)} in a row open it{of_each_host}, for {open:duration}",
            threshold=breaker.failure_threshold,
            of_each_host=" for each host" * (breaker.per == "host"),
            open=breaker.timeout,
        )


def unnamed(scenario: Scenario, channel: NotificationChannel) -> Unnamed:
    given, config = scenario.channel_as_given(channel), scenario.channel_config(channel)
    lanes = config.by_provider()

    def has_default(key: str, name: str) -> bool:
        own = None if name == PRIMARY else getattr(given.failover[name], key)
        return own is None and key not in given.model_fields_set

    return Unnamed(
        config,
        tuple(
            breaker_name(channel, number, name)
            for number, name in enumerate(lanes)
            if has_default("circuit_breaker", name)
        ),
        frozenset(name for name in lanes if has_default("timeout", name)),
        given.retry.model_fields_set.isdisjoint({"max_attempts", "schedule"}),
        "max_in_flight" not in given.model_fields_set and config.max_in_flight is not None,
    )


def default_notes(scenario: Scenario) -> list[Finding]:
    """Return notes on the defaults that may decide in a run of a scenario, as its providers fail or are slow."""
    return list(_notes(scenario))


def _notes(scenario: Scenario) -> Iterator[Finding]:
    end_s = seconds(scenario.arrivals_end_ns)
    for channel in scenario.channels_used:
        found = unnamed(scenario, channel)
        hit = [fault for fault in scenario.faults if channel in fault.channel]
        come = sum(expected_notifications(scenario, each) for each in scenario.workload if channel in each.channels)
        timeout_s, attempts = found.config.timeout, found.config.retry.attempts_bound
        fails, late = _share_failing(found.config, hit), _share_late(found.config, hit, timeout_s, come / end_s)
        if found.timeouts and come * late >= _EXPECTED_MIN:
            yield _RULES.found("default-decides/timeout", channel=channel, timeout=timeout_s)
        fails = min(1.0, fails + late)
        in_a_row = found.config.circuit_breaker.failure_threshold
        if found.breakers and come * fails**in_a_row >= _EXPECTED_MIN:
            yield _RULES.found("default-decides/breaker", channel=channel, does=found.breaker_text)
        if found.attempts and come * fails**attempts >= _EXPECTED_MIN:
            yield _RULES.found("default-decides/attempts", channel=channel, attempts=attempts)
        if found.slots:
            yield _RULES.found("default-decides/slots", channel=channel, slots=found.config.slots)
        if "drain" not in scenario.model_fields_set and any(
            fault.injects & _CERTAIN and (fault.ends_at is None or fault.ends_at > end_s) for fault in hit
        ):
            yield _RULES.found("default-decides/drain", drain=scenario.drain)


def _share_failing(config: ChannelConfig, faults: list[FaultConfig]) -> float:
    """Return the share of attempts that fail in the worst window, as far as the settings say it."""
    if any(fault.injects & _CERTAIN for fault in faults):
        return 1.0
    own = max(
        lane.provider.failure_rate + (lane.provider.upstream.failure_rate if lane.provider.upstream else 0.0)
        for lane in config.by_provider().values()
    )
    shares = [(fault.failure_rate, fault.lost_reply_rate, fault.refused_rate) for fault in faults]
    rates = [rate for of_fault in shares for rate in of_fault if rate is not None]
    return own + sum(max(rate.from_, rate.to) if isinstance(rate, Change) else rate for rate in rates)


def _share_late(config: ChannelConfig, faults: list[FaultConfig], timeout_s: float, per_s: float) -> float:
    """Return the share of attempts that may take longer than the timeout; 1 where a load or a fault decides that."""
    factors = [factor for fault in faults if (factor := fault.latency_factor) is not None]
    slower = prod(max(each.from_, each.to) if isinstance(each, Change) else max(each, 1.0) for each in factors)
    late = 0.0
    for lane in config.by_provider().values():
        latencies = [lane.provider.latency, *(fault.latency for fault in faults if fault.latency is not None)]
        bounds = [
            bound for bound in (lane.provider.capacity, *(fault.capacity for fault in faults)) if bound is not None
        ]
        is_full = bool(bounds) and any(per_s * slower * mean(each) >= _NEARLY_FULL * min(bounds) for each in latencies)
        if is_full or lane.provider.latency_by_load or any(fault.injects & _SLOW for fault in faults):
            return 1.0
        late = max(late, *(share_above(each, timeout_s / slower) for each in latencies))
    return late
