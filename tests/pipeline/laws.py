"""Laws of the pipeline, checked from outside: from the recorded history and from the providers' own logs."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from worlds import World, most_in_a_window

from actors.config import CircuitBreakerConfig, RateLimitConfig, RetryConfig
from actors.effects import Effect, Foreseen
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.outcomes import Outcome, Sent
from actors.pipeline.attempts import EXPIRED, RATE_LIMIT_EXCEEDED, Attempt, Provider
from actors.pipeline.handler import BUDGET_SPENT, RETRY_TIME_UP
from actors.pipeline.lane import Lane
from actors.policies.breaker_group import recipient_host
from actors.policies.limiter import make_limiter

S = 1_000_000_000


class Logged(msgspec.Struct, frozen=True):
    """One attempt in a provider's log."""

    at_ns: int
    ends_ns: int
    attempt: Attempt
    outcome: Outcome


class Log(Provider):
    """A provider that notes down every attempt before another one makes it."""

    def __init__(self, provider: Provider, timeout: float) -> None:
        self._provider = provider
        self._timeout_ns = round(timeout * S)
        self.entries: list[Logged] = []

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        effect = self._provider.attempt(attempt, now_ns)
        assert isinstance(effect, Foreseen)
        self.entries.append(Logged(now_ns, now_ns + min(effect.delay_ns, self._timeout_ns), attempt, effect.result))
        return effect


class Life:
    """What the history says about one notification."""

    def __init__(self) -> None:
        self.state = "unknown"
        self.failures: list[NotificationFailed] = []
        self.fresh_since_ns = 0
        self.command: Any = None

    def take(self, event: NotificationEvent, world: World) -> None:
        """Follow one event, which has to fit the state it is in."""
        match event:
            case NotificationRequested():
                assert self.state in ("unknown", "forgotten"), event
                self.state, self.fresh_since_ns, self.failures = "in flight", event.at_ns, []
            case NotificationRedriven():
                assert self.state == "dead", event
                self.state, self.fresh_since_ns, self.failures = "in flight", event.at_ns, []
            case NotificationFailed():
                assert self.state == "in flight", event
                assert event.next_retry_at_ns is None or event.next_retry_at_ns >= event.at_ns
                assert (event.next_retry_at_ns is None) == (event.given_up is not None), event
                self.check_retry(event, world.channel_configs[event.channel].retry)
                self.failures.append(event)
            case NotificationDeferred():
                # A stage that starts again may still meet an attempt that a restarted handler has given up.
                assert self.state == "in flight" or world.events(ActorFailed), event
                assert event.resumes_at_ns is None or event.resumes_at_ns >= event.at_ns
            case NotificationSent():
                assert self.state == "in flight", event
                self.state = "sent"
            case NotificationSuppressed():
                assert self.state == "in flight", event
                self.state = "suppressed"
            case NotificationMovedToDeadLetter():
                assert self.state == "in flight", event
                self.check_reason(event, world)
                self.state = "dead"
            case DeadLetterDiscarded():
                assert self.state == "dead", event
                self.state = "discarded"
            case DuplicateIgnored():
                pass  # also while the acceptance of the first one is being committed

    def check_retry(self, failed: NotificationFailed, retry: RetryConfig) -> None:
        """Check that a retry is one that the limits allow."""
        if failed.next_retry_at_ns is None:
            return
        assert failed.kind not in ("Permanent", "DeadDestination")
        assert not self.is_spent(failed, retry)
        if retry.max_elapsed is not None:
            assert failed.next_retry_at_ns < self.fresh_since_ns + round(retry.max_elapsed * S)

    def is_spent(self, failed: NotificationFailed, retry: RetryConfig) -> bool:
        """Tell whether so many attempts have failed with this one as may under the rule that it counts under."""
        if failed.kind == "ChannelFault":
            return False
        rule = rule_of(failed, retry)
        counted = [each for each in self.failures if each is not failed and each.kind != "ChannelFault"]
        return 1 + sum(rule_of(each, retry) == rule for each in counted) >= limit_of(rule, retry)

    def check_reason(self, moved: NotificationMovedToDeadLetter, world: World) -> None:
        """Check that a dead letter is one for the reason that it gives."""
        config = world.channel_configs[moved.channel]
        command = world.commands[moved.notification_id]
        latest = self.failures[-1] if self.failures else None
        if latest is not None and latest.given_up is not None:
            assert moved.reason == latest.given_up, moved
        if moved.reason == EXPIRED:
            assert command.expires_after is not None, moved
            expires_ns = self.fresh_since_ns + round(command.expires_after * S)
            if moved.at_ns <= expires_ns:
                # Given up early, since what it would have had to wait for comes later: with the failure, or instead of
                # a deferral.
                assert latest is None or latest.next_retry_at_ns is None or latest.next_retry_at_ns <= moved.at_ns
        elif moved.reason == RATE_LIMIT_EXCEEDED:
            limits = (config.rate_limit, *(each.quota for each in config.by_provider().values()))
            assert any(limit is not None and limit.on_limit == "drop" for limit in limits), moved
        elif moved.reason == RETRY_TIME_UP:
            assert config.retry.max_elapsed is not None, moved
        elif moved.reason == BUDGET_SPENT:
            assert config.retry.budget is not None, moved
            assert latest is not None, moved
            assert not self.is_spent(latest, config.retry), moved
        elif moved.reason.startswith("template"):
            assert "template" in command.metadata, moved
        else:
            assert latest is not None, moved
            assert latest.reason == moved.reason
            assert latest.next_retry_at_ns is None
            assert self.is_spent(latest, config.retry) or latest.kind in ("Permanent", "DeadDestination"), moved
        assert moved.attempts == (latest.attempt if latest is not None else 0), moved
        assert moved.attempts <= most_attempts(config.retry)


def rule_of(failed: NotificationFailed, retry: RetryConfig) -> tuple[str, str] | None:
    """Return the rule that a failed attempt counts under; None for the settings of the channel."""
    if failed.reason in retry.per_reason:
        return "reason", failed.reason
    kind = "throttled" if failed.throttled else failed.kind.lower()
    return ("outcome", kind) if getattr(retry.per_outcome, kind, None) is not None else None


def limit_of(rule: tuple[str, str] | None, retry: RetryConfig) -> int:
    """Return how many attempts may count under a rule."""
    if rule is None:
        return retry.max_attempts
    group, key = rule
    own = retry.per_reason[key] if group == "reason" else getattr(retry.per_outcome, key)
    return retry.with_rule(own).max_attempts


def most_attempts(retry: RetryConfig) -> int:
    """Return the most attempts that a notification may have: one, and the retries under each of the rules."""
    rules = [rule for _, rule in retry.per_outcome if rule is not None] + list(retry.per_reason.values())
    return 1 + sum(own.max_attempts - 1 for own in [retry, *(retry.with_rule(rule) for rule in rules)])


def follow(world: World) -> dict[str, Life]:
    """Follow every notification through the history, and return where each of them is."""
    lives: dict[str, Life] = defaultdict(Life)
    for event in world.events(NotificationEvent):
        lives[event.notification_id].take(event, world)
    return lives


def check_states(world: World) -> Counter[str]:
    """Check that history, handler, dead letter queue and store agree about every notification; return how many."""
    lives = follow(world)
    states = {notification_id: life.state for notification_id, life in lives.items()}

    def those(state: str) -> set[str]:
        return {notification_id for notification_id, each in states.items() if each == state}

    assert world.pipeline.in_flight == len(those("in flight"))
    assert {letter.notification_id for letter in world.letters} == those("dead")
    for letter in world.letters:
        assert tuple(letter.history)[-len(lives[letter.notification_id].failures) or len(letter.history) :] == tuple(
            lives[letter.notification_id].failures
        )
    counts = Counter(states.values())
    assert sum(counts.values()) == len(world.events(NotificationRequested))
    return counts


def check_times(world: World) -> None:
    """Check that the history is in the order of time."""
    at_ns = [event.at_ns for event in world.history if not isinstance(event, NotificationEvent)]
    assert at_ns == sorted(at_ns)


def each_lane(world: World) -> Iterator[tuple[Lane, Log]]:
    """Iterate over the providers of all channels, each with its log."""
    for channel, logs in world.logs.items():
        yield from zip(world.pipeline.wiring.stages[channel].lanes, logs.values(), strict=True)


def check_breakers(world: World) -> None:
    """Check from the logs that nothing passed a breaker while it was open, and one probe at a time while half-open."""
    for lane, log in each_lane(world):
        changes: dict[str | None, list[BreakerTransitioned]] = defaultdict(list)
        for event in world.events(BreakerTransitioned):
            if event.breaker == lane.name:
                changes[event.host].append(event)
        is_per_host = lane.config.circuit_breaker.per == "host"
        for host, of_host in changes.items():
            entries = [
                entry
                for entry in log.entries
                if not is_per_host or recipient_host(entry.attempt.command.recipient) == host
            ]
            _check_breaker(of_host, entries, lane.config.circuit_breaker)


def _check_breaker(changes: list[BreakerTransitioned], entries: list[Logged], config: CircuitBreakerConfig) -> None:
    for earlier, later in itertools.pairwise(changes):
        assert earlier.to_state == later.from_state
    ends = [*(event.at_ns for event in changes[1:]), 2**63]
    for change, end_ns in zip(changes, ends, strict=False):
        # At the very instants of the two transitions others may have been admitted before and after them.
        within = [entry for entry in entries if change.at_ns < entry.at_ns < end_ns]
        if change.to_state in ("open", "forced-open"):
            assert within == []
        if change.to_state == "half-open" and config.half_open_then != "probe":
            assert len(within) <= config.half_open_permits + _neutral(within)


def _neutral(entries: list[Logged]) -> int:
    return sum(getattr(entry.outcome, "throttled", False) for entry in entries)


def check_bulkheads(world: World) -> None:
    """Check from the logs that never more were under way than there are slots."""
    for lane, log in each_lane(world):
        limit = lane.config.concurrency_limit
        bounds = [lane.config.max_in_flight, None if limit is None else limit.maximum]
        slots = min((bound for bound in bounds if bound is not None), default=None)
        if slots is not None:
            for entry in log.entries:
                others = [other for other in log.entries if other.at_ns <= entry.at_ns < other.ends_ns]
                assert len(others) <= slots


def check_quotas(world: World) -> None:
    """Check from the logs that no provider met more than its quota, whatever had to wait and for what."""
    for lane, log in each_lane(world):
        if lane.config.quota is not None:
            check_quota([entry.at_ns for entry in log.entries], lane.config.quota)


def check_quota(starts_ns: Sequence[int], quota: RateLimitConfig) -> None:
    """Check that a limiter that is asked when attempts start finds nothing wrong with any of them."""
    limiter = make_limiter(quota)
    for at_ns in starts_ns:
        assert limiter.try_acquire("", at_ns) == at_ns
    if quota.kind == "sliding_window":
        for rate in quota.limits:
            assert most_in_a_window(starts_ns, round(rate.period * S)) <= rate.count


def check_nobody_waits_in_vain(world: World) -> None:
    """Check that there is none who waits for what could be had now, once all messages of this instant are handled."""
    now_ns = world.system.now_ns
    for stages in world.pipeline.wiring.stages.values():
        assert stages.circuit_breaker is not None
        stage = stages.circuit_breaker.actor
        if stage._timer is not None and stage._timer_ns == now_ns:
            continue  # it is just about to look
        for host in stage._lines:
            for lane in stages.lanes:
                pace = lane.paces.get(host)
                assert (
                    lane.room_at_ns(now_ns) != now_ns
                    or (pace is not None and pace.next_ns > now_ns)
                    or not lane.breaker_of(host, now_ns).would_admit(now_ns)
                ), (host, lane.name)


def check_limits(world: World) -> None:
    """Check from the logs that nobody got more than the limit in any window, where nothing waits behind it."""
    for channel, config in world.channel_configs.items():
        if config.rate_limit is None or any(not lane.is_plain for lane in world.pipeline.wiring.stages[channel].lanes):
            continue
        names = {lane.name for lane in world.pipeline.wiring.stages[channel].lanes}
        if any(event.breaker in names for event in world.events(BreakerTransitioned)):
            continue  # those who waited for it went by the limiter long before
        by_user: dict[str, list[int]] = defaultdict(list)
        for entry in sorted(
            itertools.chain.from_iterable(log.entries for log in world.logs[channel].values()), key=_start
        ):
            if not entry.attempt.charged:
                by_user[entry.attempt.command.user].append(entry.at_ns)
        rate = config.rate_limit.limits[0]
        for at_ns in by_user.values():
            assert most_in_a_window(at_ns, round(rate.period * S)) <= rate.count


def _start(entry: Logged) -> int:
    return entry.at_ns


def check_single_success(world: World) -> None:
    """Check from the logs that no notification was delivered twice."""
    successes = Counter(
        entry.attempt.command.notification_id
        for _, log in each_lane(world)
        for entry in log.entries
        if type(entry.outcome) is Sent and entry.ends_ns < entry.at_ns + log._timeout_ns
    )
    assert [each for each, times in successes.items() if times > 1] == []
    sent = Counter(world.sent_ids())
    assert [each for each, times in sent.items() if times > 1] == []
