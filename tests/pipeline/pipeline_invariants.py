"""Invariants of the pipeline, checked independently: from the recorded history and from the providers' own logs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import msgspec
from worlds import World, most_in_a_window

from actors.domain.attempts import EXPIRED, RATE_LIMIT_EXCEEDED, Attempt, Provider
from actors.kernel.effects import Effect, Foreseen
from actors.messages import (
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
)
from actors.outcomes import Outcome
from actors.pipeline.lane import Lane
from actors.pipeline.retries import BUDGET_SPENT, RETRY_TIME_UP
from actors.policies.rate_limit.limiter import make_limiter
from actors.settings.channel import RateLimitConfig
from simulation.verification.laws.lifecycles import NEXT, State
from simulation.verification.laws.liveness import most_attempts

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

    @property
    def delivered(self) -> int:
        return self._provider.delivered  # type: ignore[attr-defined,no-any-return]

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        effect = self._provider.attempt(attempt, now_ns)
        assert isinstance(effect, Foreseen)
        self.entries.append(Logged(now_ns, now_ns + min(effect.delay_ns, self._timeout_ns), attempt, effect.result))
        return effect


class Course:
    """What the history says about one notification; that its steps are legal is for the invariants to say."""

    def __init__(self) -> None:
        self.state = State.UNKNOWN
        self.failures: list[NotificationFailed] = []
        self.fresh_since_ns = 0

    def take(self, event: NotificationEvent, world: World) -> None:
        match event:
            case NotificationRequested() | NotificationRedriven():
                self.fresh_since_ns, self.failures = event.at_ns, []
            case NotificationFailed():
                self.failures.append(event)
            case NotificationDeferred():
                assert event.resumes_at_ns is None or event.resumes_at_ns >= event.at_ns
            case NotificationMovedToDeadLetter():
                self.check_reason(event, world)
        self.state = NEXT[self.state].get(type(event), self.state)

    def is_spent(self, max_attempts: int) -> bool:
        """Tell whether the latest failure was that of the last attempt; a channel fault uses up none."""
        counted = [failed for failed in self.failures if failed.kind != "ChannelFault"]
        return len(counted) >= max_attempts and counted[-1] is self.failures[-1]

    def check_reason(self, moved: NotificationMovedToDeadLetter, world: World) -> None:
        config = world.channel_configs[moved.channel]
        command = world.commands[moved.notification_id]
        latest = self.failures[-1] if self.failures else None
        if latest is not None and latest.given_up is not None:
            assert moved.reason == latest.given_up, moved
        if moved.reason == EXPIRED:
            assert command.expires_after is not None, moved
            expires_ns = self.fresh_since_ns + round(command.expires_after * S)
            if moved.at_ns <= expires_ns:
                # Dead-lettered early, since what it would have had to wait for comes later: with the failure, or in
                # place of a deferral.
                assert latest is None or latest.next_retry_at_ns is None or latest.next_retry_at_ns <= moved.at_ns
        elif moved.reason == RATE_LIMIT_EXCEEDED:
            limits = (config.rate_limit, *(each.quota for each in config.by_provider().values()))
            assert any(limit is not None and limit.on_limit == "drop" for limit in limits), moved
        elif moved.reason == RETRY_TIME_UP:
            assert config.retry.max_elapsed is not None, moved
        elif moved.reason == BUDGET_SPENT:
            assert config.retry.budget is not None, moved
            assert latest is not None, moved
            assert not self.is_spent(config.retry.max_attempts), moved
        elif moved.reason.startswith("template"):
            assert "template" in command.metadata, moved
        else:
            assert latest is not None, moved
            assert latest.reason == moved.reason
            assert latest.next_retry_at_ns is None
            assert self.is_spent(config.retry.max_attempts) or latest.kind in ("Permanent", "DeadDestination"), moved
        assert moved.attempts == (latest.attempt if latest is not None else 0), moved
        assert moved.attempts <= most_attempts(config.retry)


def follow(world: World) -> dict[str, Course]:
    """Follow every notification through the history, and return where each of them is."""
    courses: dict[str, Course] = defaultdict(Course)
    for event in world.events(NotificationEvent):
        courses[event.notification_id].take(event, world)
    return courses


def check_states(world: World) -> Counter[str]:
    """Check that history, handler, dead letter queue and store agree about every notification; return how many."""
    courses = follow(world)
    states = {notification_id: course.state for notification_id, course in courses.items()}

    def those(state: State) -> set[str]:
        return {notification_id for notification_id, each in states.items() if each == state}

    assert world.pipeline.in_flight == len(those(State.IN_FLIGHT))
    assert {letter.notification_id for letter in world.letters} == those(State.DEAD)
    for letter in world.letters:
        assert tuple(letter.history)[-len(courses[letter.notification_id].failures) or len(letter.history) :] == tuple(
            courses[letter.notification_id].failures
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


def check_no_one_waits_in_vain(world: World) -> None:
    """Check that none waits for what could be taken now, once all messages of this instant are handled."""
    now_ns = world.system.now_ns
    for stages in world.pipeline.wiring.stages.values():
        assert stages.circuit_breaker is not None
        stage = stages.circuit_breaker.actor
        if stage._timer is not None and stage._timer_ns == now_ns:
            continue  # it is just about to look
        for host in stage._lines:
            for lane in stages.lanes:
                pace = lane.paces.running.get(host)
                assert (
                    lane.room_at_ns(now_ns) != now_ns
                    or (pace is not None and pace.next_ns > now_ns)
                    or not lane.breakers.of(host, now_ns).would_admit(now_ns)
                ), (host, lane.name)
