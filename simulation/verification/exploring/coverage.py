"""Events that an exploration must see at least once: assertions that something happens sometimes.

Thousands of runs without a breach say little if none of them opened a breaker. So each run records which of these it
has reached, and an exploration that never reached one which its settings make possible fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeAlias

from actors.domain.attempts import EXPIRED, RATE_LIMIT_EXCEEDED
from actors.messages import (
    ActorFailed,
    BreakerState,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DeferralCause,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
)
from actors.pipeline.blocked import BREAKER_OPEN, BULKHEAD_FULL, THROTTLED_HERE
from actors.pipeline.lane import breaker_name
from actors.pipeline.readiness import ADDRESS_GONE, SWITCHED_OFF
from actors.pipeline.retries import BUDGET_SPENT, DEADLINE, RETRY_TIME_UP
from actors.settings.channel import PRIMARY, ChannelConfig, RateLimitConfig
from simulation.results.counters import by_type
from simulation.scenario import ChannelWorkload, Scenario
from simulation.verification.drawing.fault_kinds import KINDS
from simulation.verification.drawing.swarm import NOTIFICATIONS

Events: TypeAlias = Mapping[type, Sequence[Any]]
"""A history by the types of its events, each type's in order."""


@dataclass(frozen=True)
class Sometimes:
    text: str
    """The event, as a clause: ``a breaker opens``."""

    is_possible: Callable[[Scenario], bool]
    """Whether the settings of a scenario and the draws of a swarm make it possible."""

    happened: Callable[[Events], bool]

    where: Callable[[ChannelConfig], bool] | None = None
    """Only what happened at providers with such settings is looked at. None: all."""


def demanded(scenario: Scenario) -> list[Sometimes]:
    """Return what should happen sometimes in the swarm of a scenario."""
    return [each for each in SOMETIMES if each.is_possible(scenario)]


def reached(history: Iterable[RecordedEvent], scenario: Scenario) -> frozenset[str]:
    """Return the texts of all that happened in a history, which is that of a run of this scenario."""
    events = by_type(list(history))
    return frozenset(
        each.text
        for each in SOMETIMES
        if each.happened(events if each.where is None else _only_at(events, scenario, each.where))
    )


def _only_at(events: Events, scenario: Scenario, where: Callable[[ChannelConfig], bool]) -> Events:
    meant: set[tuple[str, str] | str] = set()
    for channel in scenario.channels_used:
        for number, (name, config) in enumerate(scenario.channel_config(channel).by_provider().items()):
            if where(config):
                meant |= {(channel, name), breaker_name(channel, number, name)}
    return {
        NotificationFailed: [
            event
            for event in events.get(NotificationFailed, ())
            if not event.refused and (event.channel, event.provider or PRIMARY) in meant
        ],
        BreakerTransitioned: [event for event in events.get(BreakerTransitioned, ()) if event.breaker in meant],
    }


# ── what the settings make possible ─────────────────────────────────────────────────────────────────────────────


def _lanes(scenario: Scenario) -> Iterator[ChannelConfig]:
    for channel in scenario.channels_used:
        yield from scenario.channel_config(channel).by_provider().values()


def _any_lane(test: Callable[[ChannelConfig], bool]) -> Callable[[Scenario], bool]:
    return lambda scenario: any(map(test, _lanes(scenario)))


def _breaks(config: ChannelConfig) -> bool:
    return config.circuit_breaker.begins is BreakerState.CLOSED


def _limits(on_limit: str) -> Callable[[Scenario], bool]:
    def limits(scenario: Scenario) -> bool:
        for channel in scenario.channels_used:
            entries = [entry for entry in scenario.workload if channel in entry.channels]
            for config in scenario.channel_config(channel).by_provider().values():
                of_user = config.rate_limit if any(entry.users is not None for entry in entries) else None
                for limit in (of_user, config.quota):
                    if limit is not None and limit.on_limit == on_limit and _is_met(limit):
                        return True
        return False

    return limits


def _is_met(limit: RateLimitConfig) -> bool:
    return any(rate.count <= NOTIFICATIONS[0] for rate in limit.limits)


def _expires(scenario: Scenario) -> bool:
    return any(getattr(entry, "expires_after", None) is not None for entry in scenario.workload) or any(
        config.fallback is not None and config.fallback.after is not None for config in _lanes(scenario)
    )


def _has_quiet_hours(scenario: Scenario) -> bool:
    return any(channel in rule.channels for rule in scenario.quiet_hours for channel in scenario.channels_used)


def _repeats(scenario: Scenario) -> bool:
    return any(isinstance(entry, ChannelWorkload) and entry.repeats for entry in scenario.workload)


def _repeats_users(scenario: Scenario) -> bool:
    return any(entry.users is not None for entry in scenario.workload)


def _draws(kind: str) -> Callable[[Scenario], bool]:
    return lambda _: kind in KINDS


def _has(path: str) -> Callable[[ChannelConfig], bool]:
    setting = attrgetter(path)
    return lambda config: setting(config) is not None


def _averages(config: ChannelConfig) -> bool:
    window = config.circuit_breaker.window
    return _breaks(config) and window is not None and window.ema is not None


def _always(_: Scenario) -> bool:
    return True


# ── what happened ───────────────────────────────────────────────────────────────────────────────────────────────


def _any(kind: type, test: Callable[[Any], bool] = lambda _: True) -> Callable[[Events], bool]:
    return lambda events: any(map(test, events.get(kind, ())))


def _moves(from_state: BreakerState, to_state: BreakerState) -> Callable[[Events], bool]:
    return _any(BreakerTransitioned, lambda event: event.from_state == from_state and event.to_state == to_state)


def _fails_by(reason: str) -> Callable[[Events], bool]:
    return _any(NotificationFailed, lambda event: event.reason == reason)


def _dies_by(reason: str) -> Callable[[Events], bool]:
    return _any(NotificationMovedToDeadLetter, lambda event: event.reason == reason)


def _waits_for(cause: DeferralCause) -> Callable[[Events], bool]:
    return _any(NotificationDeferred, lambda event: event.cause is cause)


def _is_suppressed(reason: str) -> Callable[[Events], bool]:
    return _any(NotificationSuppressed, lambda event: event.reason == reason)


def _sent_after_a_redrive(events: Events) -> bool:
    redriven = {event.notification_id: event.at_ns for event in events.get(NotificationRedriven, ())}
    return any(
        event.at_ns >= redriven.get(event.notification_id, event.at_ns + 1)
        for event in events.get(NotificationSent, ())
    )


_is_throttled = _any(NotificationFailed, lambda event: event.throttled)
_CLOSED, _OPEN, _HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN

SOMETIMES = (
    Sometimes("a breaker opens", _any_lane(_breaks), _moves(_CLOSED, _OPEN)),
    Sometimes("a breaker opens again from half-open", _any_lane(_breaks), _moves(_HALF_OPEN, _OPEN)),
    Sometimes("a breaker closes after it was half-open", _any_lane(_breaks), _moves(_HALF_OPEN, _CLOSED)),
    Sometimes(
        "the breaker of one host opens",
        _any_lane(lambda config: _breaks(config) and config.circuit_breaker.per == "host"),
        _any(BreakerTransitioned, lambda event: event.host is not None and event.to_state == _OPEN),
    ),
    Sometimes(
        "an operator forces a breaker open",
        _any_lane(_breaks),
        _any(BreakerTransitioned, lambda event: event.to_state == BreakerState.FORCED_OPEN),
    ),
    Sometimes(
        "an open breaker makes a notification wait",
        _any_lane(lambda config: _breaks(config) and config.circuit_breaker.when_open == "wait"),
        _waits_for(DeferralCause.CIRCUIT_BREAKER),
    ),
    Sometimes(
        "an open breaker refuses",
        _any_lane(lambda config: _breaks(config) and config.circuit_breaker.when_open == "fail"),
        _fails_by(BREAKER_OPEN),
    ),
    Sometimes(
        "a limit makes a notification wait",
        lambda each: _limits("defer")(each) or _any_lane(_has("adaptive_rate"))(each),
        _waits_for(DeferralCause.RATE_LIMIT),
    ),
    Sometimes("a limit drops a notification", _limits("drop"), _dies_by(RATE_LIMIT_EXCEEDED)),
    Sometimes("quiet hours make a notification wait", _has_quiet_hours, _waits_for(DeferralCause.QUIET_HOURS)),
    Sometimes(
        "a channel that is switched off suppresses", lambda each: bool(each.preferences), _is_suppressed(SWITCHED_OFF)
    ),
    Sometimes("an address that is gone suppresses", _repeats_users, _is_suppressed(ADDRESS_GONE)),
    Sometimes("a known id is ignored", _repeats, _any(DuplicateIgnored)),
    Sometimes("a retry succeeds", _always, _any(NotificationSent, lambda event: event.attempt > 1)),
    Sometimes("an attempt is ambiguous", _always, _any(NotificationFailed, lambda event: event.kind == "Ambiguous")),
    Sometimes("an attempt fails for good", _always, _any(NotificationFailed, lambda event: event.kind == "Permanent")),
    Sometimes("a provider throttles", _always, _is_throttled),
    Sometimes(
        "a channel is broken",
        _draws("channel_fault_rate"),
        _any(NotificationFailed, lambda event: event.kind == "ChannelFault"),
    ),
    Sometimes(
        "throttling meets a rate that follows it",
        _any_lane(_has("adaptive_rate")),
        _is_throttled,
        _has("adaptive_rate"),
    ),
    Sometimes(
        "an answer is missing where slots follow latency",
        _any_lane(_has("concurrency_limit")),
        _any(NotificationFailed, lambda event: event.kind == "Ambiguous"),
        _has("concurrency_limit"),
    ),
    Sometimes("a moving average opens a breaker", _any_lane(_averages), _moves(_CLOSED, _OPEN), _averages),
    Sometimes(
        "another provider takes over",
        lambda each: any(each.channel_config(channel).failover for channel in each.channels_used),
        _any(NotificationSent, lambda event: event.provider not in (None, PRIMARY)),
    ),
    Sometimes(
        "a hedge is sent",
        _any_lane(_has("hedging")),
        lambda events: any(
            event.hedges for kind in (NotificationSent, NotificationFailed) for event in events.get(kind, ())
        ),
    ),
    Sometimes("the adaptive throttle refuses", _any_lane(_has("adaptive_throttle")), _fails_by(THROTTLED_HERE)),
    Sometimes(
        "a full bulkhead refuses", _any_lane(lambda config: config.slot_wait is not None), _fails_by(BULKHEAD_FULL)
    ),
    Sometimes("a retry budget is spent", _any_lane(_has("retry.budget")), _dies_by(BUDGET_SPENT)),
    Sometimes("retry time is up", _any_lane(_has("retry.max_elapsed")), _dies_by(RETRY_TIME_UP)),
    Sometimes("a deadline passes", _any_lane(_has("deadline")), _dies_by(DEADLINE)),
    Sometimes("a notification expires", _expires, _dies_by(EXPIRED)),
    Sometimes("a notification is dead-lettered", _always, _any(NotificationMovedToDeadLetter)),
    Sometimes("a dead letter is redriven", _always, _any(NotificationRedriven)),
    Sometimes("what was redriven is sent", _always, _sent_after_a_redrive),
    Sometimes("a dead letter is discarded", _always, _any(DeadLetterDiscarded)),
    Sometimes(
        "a notification falls back to another channel",
        _any_lane(_has("fallback")),
        _any(NotificationSent, lambda event: event.notification_id.endswith(f"/{event.channel}")),
    ),
    Sometimes("an actor restarts", _draws("crash"), _any(ActorFailed, lambda event: event.actor != "process")),
    Sometimes(
        "the whole process restarts", _draws("crash_process"), _any(ActorFailed, lambda event: event.actor == "process")
    ),
)
"""In the order of the report."""
