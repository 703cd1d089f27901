"""The way of a notification: each step is one that there is, and retries keep the settings of its channel."""

from __future__ import annotations

from collections.abc import Sequence

from actors.formatting import seconds_text
from actors.instants import wait_ns
from actors.messages import (
    DeadLetterDiscarded,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
)
from actors.outcomes import ChannelFault, DeadDestination, Permanent
from actors.settings.retry import OutcomeRetryConfig, RetryConfig
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import NEXT, STEPS, Lifecycle, State, cut_ns

_FOR_GOOD = frozenset({Permanent.__name__, DeadDestination.__name__})
_ENDED = frozenset({State.SENT, State.SUPPRESSED, State.DISCARDED})


class LegalSteps(Invariant):
    """A notification is accepted, fails or waits any number of times, and ends once: as sent, dead-lettered or
    suppressed. Only what is dead-lettered can be redriven or discarded; and what has ended is accepted anew only when
    its id has been forgotten.

    Until all is settled after a crash, a stage may say of an attempt that it waits which the handler has let go of. And
    where nodes share a store, one may redrive or discard a letter whose death is durable, and not recorded yet, as the
    handler of its own node is down.
    """

    name = "legal-steps"

    @observes(*STEPS)
    def on_step(self, event: NotificationEvent) -> Objection:
        lifecycles, kind = self.context.lifecycles, type(event)
        lifecycle = lifecycles.get(event.notification_id)
        state = State.UNKNOWN if lifecycle is None else lifecycle.state
        if kind not in NEXT[state]:
            if kind is NotificationDeferred and not lifecycles.is_settled(event.at_ns):
                return None
            if lifecycle is None and lifecycles.forgotten and kind in (NotificationRedriven, DeadLetterDiscarded):
                return None
            if lifecycle is not None and self._is_recorded_late(event, lifecycle):
                return None
            return f"{event.notification_id} is {state}, and that is followed by no {kind.__name__}"
        if lifecycle is not None and state in _ENDED:
            ended_ago_ns = event.at_ns - lifecycle.state_since_ns
            known_for_ns = ended_ago_ns + self.context.learnt_after_ns
            if known_for_ns < self.context.remember_ids_ns and not self.context.steps_the_clock:
                return f"{event.notification_id} is accepted again {seconds_text(ended_ago_ns)} after it was {state}"
        return None

    def _is_recorded_late(self, event: NotificationEvent, lifecycle: Lifecycle) -> bool:
        """Tell whether it is the death of a letter that another node has taken by now, or what that has done to it."""
        if type(event) is NotificationMovedToDeadLetter:
            return lifecycle.owes_death
        is_of_letter, is_in_flight = type(event) in NEXT[State.DEAD], lifecycle.state is State.IN_FLIGHT
        is_unsettled = not self.context.lifecycles.is_settled(event.at_ns)
        return self.context.nodes > 1 and is_of_letter and is_in_flight and is_unsettled


class RetryLimits(Invariant):
    """No notification is tried more often, or for longer, than the retry settings of its channel allow; and none that
    has failed for good is tried again."""

    name = "retry-limits"
    settings = ("retry",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._most = {channel: most_attempts(config.retry) for channel, config in context.channels.items()}

    @observes(NotificationFailed)
    def on_failure(self, failed: NotificationFailed) -> Objection:
        lifecycle = self.context.lifecycles.get(failed.notification_id)
        config = self.context.channels.get(failed.channel)
        if lifecycle is None or config is None:
            return None
        retry, retry_at_ns = config.retry, failed.next_retry_at_ns
        most = self._most[failed.channel]
        if failed.attempt > most:
            text = f"attempt {failed.attempt} of {failed.notification_id} is made, of at most {most}"
            return Finding(text, failed.notification_id, ("retry.max_attempts",))
        if (retry_at_ns is None) == (failed.given_up is None):
            both = "both" if retry_at_ns is not None else "neither"
            return f"{failed.notification_id} is either to be tried again or exhausted, and is {both}"
        if retry_at_ns is None:
            return None
        if retry_at_ns < failed.at_ns:
            return f"{failed.notification_id} is to be tried again at {seconds_text(retry_at_ns)}, which has passed"
        if failed.kind in _FOR_GOOD:
            return f"{failed.notification_id} failed for good ({failed.kind}) and is to be tried again"
        if are_tried_again(failed, retry) == {False}:
            text = f"{failed.notification_id} failed in a way that is final here ({failed.reason}) and is tried again"
            return Finding(text, failed.notification_id, ("retry.on",))
        if is_spent(failed, lifecycle.failures, retry):
            text = f"{failed.notification_id} has used up its attempts and is to be tried again"
            return Finding(text, failed.notification_id, ("retry.max_attempts",))
        if config.deadline is not None and not self.context.is_by_the_calendar(lifecycle):
            until_ns = cut_ns(lifecycle, config.deadline, retry_at_ns if failed.refused else failed.started_ns)
            if retry_at_ns >= until_ns:
                text = f"{failed.notification_id} is to be tried again after its deadline, {seconds_text(until_ns)}"
                return Finding(text, failed.notification_id, ("deadline",))
        if retry.max_elapsed is None or self.context.is_by_the_calendar(lifecycle):
            return None
        looked_at_ns = retry_at_ns if retry.max_elapsed_checked == "before_wait" else failed.at_ns
        if looked_at_ns >= lifecycle.fresh_since_ns + wait_ns(retry.max_elapsed):
            text = f"{failed.notification_id} is to be tried again after its time, at {seconds_text(retry_at_ns)}"
            return Finding(text, failed.notification_id, ("retry.max_elapsed",))
        return None


def is_spent(failed: NotificationFailed, earlier: Sequence[NotificationFailed], retry: RetryConfig) -> bool:
    """Tell whether so many attempts have failed with this one as may under the rule that it counts under.

    Args:
        failed: the attempt.
        earlier: the failed attempts before it, since the notification was accepted or redriven.
        retry: the settings of its channel.
    """
    if failed.kind == ChannelFault.__name__:
        return False
    rule = rule_of(failed, retry)
    count = count_of(rule, retry)
    counted = [each for each in earlier if each is not failed and each.kind != ChannelFault.__name__]
    most = retry.max_attempts if count is None else config_of(rule, retry).max_attempts
    return 1 + sum(count_of(rule_of(each, retry), retry) == count for each in counted) >= most


_WORDS = {"ambiguous": {"timeout", "lost_reply"}, "throttled": {"throttled"}, "transient": {"transient", "connection"}}
"""By the kind of a failure, which of the words of `on` may be its own."""


def are_tried_again(failed: NotificationFailed, retry: RetryConfig) -> set[bool]:
    """Return whether failures such as this one are tried again, both where that depends on more than it says."""
    words = _WORDS.get("throttled" if failed.throttled else failed.kind.lower(), set[str]())
    return {True} if failed.refused or not words else {word in retry.on for word in words}


def rule_of(failed: NotificationFailed, retry: RetryConfig) -> tuple[str, str] | None:
    """Return the rule that a failed attempt counts under; None for the settings of the channel."""
    if failed.reason in retry.per_reason:
        return "reason", failed.reason
    kind = "throttled" if failed.throttled else failed.kind.lower()
    return ("outcome", kind) if getattr(retry.per_outcome, kind, None) is not None else None


def count_of(rule: tuple[str, str] | None, retry: RetryConfig) -> tuple[str, str] | None:
    """Return the rule in whose count an attempt under a rule is; None for that of the channel."""
    is_shared = rule is not None and rule[0] == "outcome" and retry.per_outcome.shares_attempts
    return None if is_shared else rule


def all_rules(retry: RetryConfig) -> list[OutcomeRetryConfig]:
    """Return the rules of kinds of failure, and those of reasons."""
    kinds = (retry.per_outcome.transient, retry.per_outcome.throttled, retry.per_outcome.ambiguous)
    return [rule for rule in kinds if rule is not None] + list(retry.per_reason.values())


def config_of(rule: tuple[str, str] | None, retry: RetryConfig) -> RetryConfig:
    if rule is None:
        return retry
    group, key = rule
    return retry.with_rule(retry.per_reason[key] if group == "reason" else getattr(retry.per_outcome, key))


def most_attempts(retry: RetryConfig) -> int:
    """Return the most attempts that a notification may have: one, and the retries under each of the rules."""
    rules = list(retry.per_reason.values()) if retry.per_outcome.shares_attempts else all_rules(retry)
    return 1 + sum(own.max_attempts - 1 for own in [retry, *(retry.with_rule(rule) for rule in rules)])
