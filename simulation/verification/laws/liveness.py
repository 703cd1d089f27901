"""Liveness: once faults end, everything in flight ends, within a bound that follows from the settings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from actors.formatting import seconds_text
from actors.instants import NEVER_NS, ns, wait_ns
from actors.kernel.node import names_at_nodes
from actors.messages import (
    ActorFailed,
    BreakerState,
    BreakerTransitioned,
    NotificationChannel,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.policies.quiet_hours import QuietHours
from actors.settings.channel import ChannelConfig
from actors.settings.distribution_moments import share_above
from actors.settings.faults import FaultConfig
from actors.settings.retry import BackoffConfig, OutcomeRetryConfig, RetryConfig
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, breaker_of, observes
from simulation.verification.model.backoff import delay_s, longest_s

_SLACK = 60.0
"""Seconds for whatever else a notification has to wait for, such as a store's commits."""


class Liveness(Invariant):
    """Once faults end, everything in flight ends, within a bound.

    Faults have ended on a channel when its last window has ended, no breaker of it is forced open, and no actor has
    crashed just now; from then on, or from its acceptance if that is later, a notification has as long as it may take
    at worst: for each of its attempts the longest backoff, timeout and open breaker, and the window of each limit; for
    each of those that were ever in flight beside it, the interval at which limits, slots and resuming let one through,
    and the share of an open breaker that its attempt may cause; and the quiet hours of all days that come into that
    time, unless they may follow each other without a pause. Where the process crashes and the wall clock steps it has
    as long as those steps are, too: a store keeps instants of the calendar. That is a generous bound; it finds what is
    stuck, not what is slow.

    Does not apply to a channel with a fault that never ends, nor where failure rules decide.
    """

    name = "liveness"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._waiting: dict[NotificationChannel, dict[str, int]] = {channel: {} for channel in context.channels}
        """The notifications in flight in order of acceptance, each with that instant or its scheduled one."""
        self._most = dict.fromkeys(context.channels, 0)
        self._look_ns = dict.fromkeys(context.channels, _SHORTEST_NS)
        """When it is worth to look again at those in flight."""
        self._calm_ns = {channel: faults_end_ns(channel, context.faults) for channel in context.channels}
        self._bounds = {channel: bound_of(channel, context) for channel in context.channels}
        self._steps_ns = wait_ns(sum(abs(fault.clock_step or 0.0) for fault in context.faults))
        self._off_ns = self._steps_ns if any(fault.crash == "process" for fault in context.faults) else 0
        self._channel_of: dict[str, NotificationChannel] = {}
        """By the name of a breaker."""
        self._forced_open: set[str] = set()
        for (channel, name), config in context.providers.items():
            for breaker in names_at_nodes(breaker_of(channel, name), context.nodes):
                self._channel_of[breaker] = channel
                if config.circuit_breaker.begins is BreakerState.FORCED_OPEN:
                    self._forced_open.add(breaker)

    @classmethod
    def applies(cls, context: Context) -> bool:
        return not context.has_rules and any(
            faults_end_ns(channel, context.faults) < NEVER_NS for channel in context.channels
        )

    @observes(NotificationRequested, NotificationRedriven)
    def on_opening(self, event: NotificationEvent) -> Objection:
        waiting = self._waiting[event.channel]
        scheduled_ns = event.waited_since_ns if isinstance(event, NotificationRequested) else None
        if scheduled_ns is None or scheduled_ns <= event.at_ns:  # that of a fallback has passed
            waiting[event.notification_id] = event.at_ns
        else:
            waiting[event.notification_id] = scheduled_ns + self._steps_ns  # as it goes by the calendar
        if len(waiting) > self._most[event.channel]:
            self._most[event.channel] = len(waiting)
        if event.at_ns < self._look_ns[event.channel]:
            return None
        self._look_ns[event.channel] = event.at_ns + _SHORTEST_NS
        return self._oldest(event.channel, event.at_ns)

    @observes(NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)
    def on_end(self, event: NotificationEvent) -> None:
        self._waiting[event.channel].pop(event.notification_id, None)

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        for channel, calm_ns in self._calm_ns.items():
            self._calm_ns[channel] = max(calm_ns, event.at_ns + self.context.restarted_within_ns)

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> None:
        if event.to_state == BreakerState.FORCED_OPEN:
            self._forced_open.add(event.breaker)
        elif event.breaker in self._forced_open:
            self._forced_open.discard(event.breaker)
            channel = self._channel_of[event.breaker]
            self._calm_ns[channel] = max(self._calm_ns[channel], event.at_ns)

    def at_end(self, now_ns: int) -> Objection:
        return next(filter(None, (self._oldest(channel, now_ns) for channel in self._waiting)), None)

    def _oldest(self, channel: NotificationChannel, now_ns: int) -> Finding | None:
        for notification_id, since_ns in self._waiting[channel].items():
            if since_ns > now_ns:
                continue  # it is scheduled
            calm_ns = max(since_ns, self._calm_ns[channel])
            if now_ns - calm_ns <= _SHORTEST_NS:
                return None  # nothing is as quick as that
            own_ns, for_each_ns = self._bounds[channel]
            awake_ns = own_ns + self._most[channel] * for_each_ns + self._off_ns
            bound_ns = self._with_nights(awake_ns, notification_id, channel)
            if now_ns <= calm_ns + bound_ns or any(self._channel_of[each] == channel for each in self._forced_open):
                return None
            return Finding(
                f"{notification_id} is still in flight {seconds_text(now_ns - calm_ns)} after all faults on {channel} "
                f"had ended, of at most {seconds_text(bound_ns)}",
                notification_id,
            )
        return None

    def _with_nights(self, awake_ns: int, notification_id: str, channel: NotificationChannel) -> int:
        """Return the longest time for a wait of `awake_ns` outside quiet hours, with the quiet hours in it."""
        lifecycle, preferences = self.context.lifecycles.get(notification_id), self.context.preferences
        if lifecycle is None or preferences is None:
            return awake_ns
        hours = preferences.quiet_hours_of(lifecycle.user_id, channel)
        quiet_ns = sum(quiet_ns_a_day(each) for each in hours)
        if not quiet_ns:
            return awake_ns
        if quiet_ns >= _DAY_NS:
            return NEVER_NS  # one of them may begin before another ends
        # Beside those that come into it, the one at its beginning, and what a change of the clocks may add.
        nights = 2 + awake_ns // (_DAY_NS - quiet_ns)
        return awake_ns + nights * quiet_ns + self._steps_ns


def quiet_ns_a_day(hours: QuietHours) -> int:
    start, end = (3600 * each.hour + 60 * each.minute + each.second for each in (hours.start, hours.end))
    return ns((end - start) % 86_400)


_FOLLOWED_MAX = 1_000_000
"""The wait after no later attempt is looked at."""

_SHORTEST_NS = ns(_SLACK)
_DAY_NS = ns(86_400)


def faults_end_ns(channel: NotificationChannel, faults: Sequence[FaultConfig]) -> int:
    """Return when all faults on a channel have ended; NEVER_NS when one goes on to the end of the run."""
    ends_ns = [0]
    for fault in faults:
        if fault.crash is not None or fault.clock_step is not None:
            ends_ns.append(ns(fault.at) + ns(fault.restart_after or 0.0))
        elif channel in fault.channel:
            ends_ns.append(NEVER_NS if fault.for_ is None else ns(fault.at) + ns(fault.for_))
    return max(ends_ns)


def bound_of(channel: NotificationChannel, context: Context) -> tuple[int, int]:
    """Return how long one notification takes at most when nothing is wrong, and what each other in flight adds."""
    retry, limit_s = context.channels[channel].retry, 0.0
    attempts = most_attempts(retry) + _free_attempts(channel, context)
    if attempts == math.inf:  # the first one, what there is time for, and the one that begins as that ends
        attempts, limit_s = 2, context.channels[channel].deadline or retry.max_elapsed or math.inf
    own, for_each = longest_backoff(retry, longest_hint(channel, context)), 0.0
    for (of, _), config in context.providers.items():
        if of == channel:
            own_here, for_each_here = _at_provider(config)
            own, for_each = own + own_here, max(for_each, for_each_here)
    if any(fault.crash is not None for fault in context.faults):
        for_each += (
            1.0 / context.channels[channel].circuit_breaker.resume_rate.per_second
        )  # once more, before it sets out
    limit = context.channels[channel].rate_limit
    if limit is not None:
        own += max(rate.period for rate in limit.limits)
        for_each += 1.0 / min(rate.per_second for rate in limit.limits)
    return wait_ns(_SLACK + limit_s + attempts * own), wait_ns(attempts * for_each)


def _at_provider(config: ChannelConfig) -> tuple[float, float]:
    """Return the longest time in seconds of one attempt at a provider, and the time that each waiting one adds."""
    breaker, provider, timeout = config.circuit_breaker, config.provider, config.timeout
    open_s = breaker.timeout if breaker.open_growth is None else breaker.open_growth.max
    open_s += (breaker.half_open_max or 0.0) + timeout
    own = timeout + open_s + (0.0 if breaker.ramp is None else breaker.ramp.over)
    late = share_above(provider.latency, timeout)
    is_unforeseen = bool(provider.script) or provider.capacity is not None or provider.latency_by_load is not None
    fails = 1.0 if is_unforeseen else min(1.0, provider.failure_rate + late)
    for_each = fails * open_s + 1.0 / breaker.resume_rate.per_second
    if config.quota is not None:
        own += max(rate.period for rate in config.quota.limits)
        for_each += 1.0 / min(rate.per_second for rate in config.quota.limits)
    if config.adaptive_rate is not None:
        own += 1.0 / config.adaptive_rate.minimum_rate.per_second
        for_each += 1.0 / config.adaptive_rate.minimum_rate.per_second
    slots = [config.slots, None if config.concurrency_limit is None else config.concurrency_limit.minimum]
    if (least := min((bound for bound in slots if bound is not None), default=None)) is not None:
        for_each += timeout / least
    return own, for_each


def _free_attempts(channel: NotificationChannel, context: Context) -> int:
    scripts = [config.provider.script for (of, _), config in context.providers.items() if of == channel]
    return sum(answer.outcome == "channel_fault" for script in scripts for answer in script)


def longest_hint(channel: NotificationChannel, context: Context) -> float:
    """Return in seconds the longest wait that the simulated providers of a channel ask for."""
    faults = [fault.throttle.retry_after for fault in context.faults if fault.throttle is not None]
    scripts = [config.provider.script for (of, _), config in context.providers.items() if of == channel]
    return max(
        (hint or 0.0 for hint in [*faults, *(each.retry_after for script in scripts for each in script)]), default=0.0
    )


def longest_backoff(retry: RetryConfig, hint: float = 0.0) -> float:
    """Return in seconds the longest wait before a retry, where providers ask for at most `hint` seconds."""
    rules = all_rules(retry)
    longest = max(hint, 0.0)
    for config in [retry, *(retry.with_rule(rule) for rule in rules)]:
        wait, most = max(config.schedule or (config.max_delay,)), int(min(config.attempts_bound, _FOLLOWED_MAX))
        if config.schedule is None and isinstance(config.backoff, BackoffConfig) and config.backoff.polynomial:
            # There is no bound but that of the last wait, or that of a jitter that does not go by the count.
            waits = (delay_s(config, most), longest_s(config))
            wait = max(each for each in (config.min_delay, *waits) if each < math.inf)
        if config.jitter == "proportional":
            wait *= 1.0 + config.jitter_share
        elif config.jitter == "additive":
            wait += config.jitter_max
        elif config.jitter == "by_count":
            wait += config.jitter_max * most
        longest = max(longest, wait)
    return longest * (1.0 + retry.retry_after_jitter)


def all_rules(retry: RetryConfig) -> list[OutcomeRetryConfig]:
    """Return the rules of kinds of failure, and those of reasons."""
    kinds = (retry.per_outcome.transient, retry.per_outcome.throttled, retry.per_outcome.ambiguous)
    return [rule for rule in kinds if rule is not None] + list(retry.per_reason.values())


def most_attempts(retry: RetryConfig) -> float:
    """Return the most attempts that a notification may have: one, and the retries under each of the rules."""
    rules = list(retry.per_reason.values()) if retry.per_outcome.shares_attempts else all_rules(retry)
    return 1 + sum(own.attempts_bound - 1 for own in [retry, *(retry.with_rule(rule) for rule in rules)])
