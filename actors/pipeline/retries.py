"""Decides after a failed attempt: a retry and its instant, if the channel's budget allows; or none, and the reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random

import msgspec

from actors.domain.attempts import CUT, EXPIRED, TIMED_OUT, Admitted
from actors.domain.delivery import Delivery
from actors.instants import sooner, wait_ns
from actors.kernel.runtime import Runtime
from actors.messages import NotificationChannel, NotificationFailed
from actors.outcomes import Ambiguous, ChannelFault, Outcome, Sent, Transient
from actors.pipeline.fallback import Fallbacks
from actors.policies.retry.budgets import Budget, make_budget
from actors.policies.retry.policy import RetryPolicy, failure_kind
from actors.settings.channel import ChannelConfig

RETRY_TIME_UP = "retry time is up"
DEADLINE = CUT.reason
BUDGET_SPENT = "retry budget spent"


class RetryBudgets:
    """The retry budgets of the channels, full at the start; a channel may have none."""

    def __init__(self, channels: Mapping[NotificationChannel, ChannelConfig]) -> None:
        self._budgets: dict[NotificationChannel, Budget] = {
            channel: make_budget(config.retry.budget)
            for channel, config in channels.items()
            if config.retry.budget is not None
        }

    def of(self, channel: NotificationChannel) -> Budget | None:
        return self._budgets.get(channel)

    def set_out(self, delivery: Delivery, now_ns: int) -> None:
        budget = self._budgets.get(delivery.command.channel)
        if budget is not None:
            budget.start(delivery.charge, now_ns)

    def attempt_has_ended(self, delivery: Delivery, succeeded: bool | None, now_ns: int) -> None:
        """Record that an attempt has ended; None where another one could not have done better."""
        budget = self._budgets.get(delivery.command.channel)
        if budget is not None:
            budget.end(delivery.charge, succeeded, now_ns)
            delivery.charge_retry(0)

    def allows(self, delivery: Delivery, outcome: Transient | Ambiguous | ChannelFault, now_ns: int) -> bool:
        """Charge a retry to the budget, and return whether it may be made."""
        budget = self._budgets.get(delivery.command.channel)
        if budget is None or isinstance(outcome, ChannelFault):  # which uses no attempt up, and no budget either
            return True
        charge = budget.try_retry(failure_kind(outcome), now_ns)
        if charge is None:
            return False
        delivery.charge_retry(charge)
        return True

    def settle(self, delivery: Delivery, now_ns: int) -> None:
        """Clear what a notification that ends without a provider's answer still has."""
        if delivery.current is not None:
            self.attempt_has_ended(delivery, None, now_ns)
        elif delivery.charge:
            self._budgets[delivery.command.channel].give_back(delivery.charge, now_ns)
            delivery.charge_retry(0)


class Retries:
    """The retry policies of all channels, put to each delivery's own state."""

    def __init__(
        self,
        channels: Mapping[NotificationChannel, ChannelConfig],
        system: Runtime,
        fallbacks: Fallbacks | None,
        stream: Callable[[str], Random],
    ) -> None:
        self._system = system
        self._channels = channels
        self._stream = stream
        self._policies: dict[NotificationChannel, RetryPolicy] = {}
        """Each made when the first of its attempts fails: of many nodes most have few failures, or none."""
        self._deadlines_ns = {
            channel: wait_ns(config.deadline) for channel, config in channels.items() if config.deadline is not None
        }
        has_budgets = any(config.retry.budget is not None for config in channels.values())
        self.budgets = RetryBudgets(channels) if has_budgets else None
        """Charged with retries; None where no channel has a budget."""
        self._fallbacks = fallbacks
        self._may_be_unlimited = any(config.retry.attempts_most == math.inf for config in channels.values())
        limits = [config for config in channels.values() if config.retry.max_elapsed is not None]
        self.bound_starts = bool(limits or self._deadlines_ns) or fallbacks is not None
        """Whether anything but the expiry of a command says until when an attempt may start."""

    def failure(
        self, outcome: Outcome, delivery: Delivery, started_ns: int, admitted: Admitted | None
    ) -> NotificationFailed:
        """Return the event of a failed attempt: when it is retried, or why not. `admitted`: None if no provider was
        asked."""
        command, now_ns = delivery.command, self._system.now_ns
        retry_at_ns: int | None = None
        given_up: str | None = outcome.reason
        if isinstance(outcome, (Transient, Ambiguous, ChannelFault)):
            began_ns = delivery.first_start_ns
            if began_ns is None and admitted is not None:
                began_ns = started_ns
            was_asked = admitted is not None
            retry_at_ns, given_up = self._retry(outcome, delivery, now_ns, began_ns, was_asked=was_asked)
        # Fifteen keywords: with one more, Python makes a dict of them first, which takes 2% of a run's instructions.
        failed = NotificationFailed(
            at_ns=now_ns,
            epoch_ns=self._system.epoch_ns,
            notification_id=command.notification_id,
            channel=command.channel,
            reason=outcome.reason,
            kind=type(outcome).__name__,
            attempt=delivery.attempts + (type(outcome) is not ChannelFault),
            started_ns=started_ns,
            next_retry_at_ns=retry_at_ns,
            answer=outcome.answer,
            throttled=isinstance(outcome, Transient) and outcome.throttled,
            given_up=given_up,
            provider=None if admitted is None else admitted.provider,
            hedges=0 if admitted is None else admitted.hedges,
            refused=admitted is None,
        )
        if not self._may_be_unlimited or not isinstance(outcome, (Transient, Ambiguous, ChannelFault)):
            return failed
        unlimited = self._policy_of(command.channel).is_unlimited(outcome)
        return msgspec.structs.replace(failed, unlimited=True) if unlimited else failed

    def _retry(
        self,
        outcome: Transient | Ambiguous | ChannelFault,
        delivery: Delivery,
        now_ns: int,
        began_ns: int | None,
        *,
        was_asked: bool,
    ) -> tuple[int | None, str | None]:
        policy = self._policy_of(delivery.command.channel)
        if outcome is CUT:
            return None, DEADLINE
        if was_asked and policy.gives_up(outcome, timed_out=outcome is TIMED_OUT):
            return None, outcome.reason
        wait_ns = policy.next_wait_ns(outcome, delivery.progress_under(policy))
        if wait_ns is None:
            return None, outcome.reason
        retry_at_ns = now_ns + wait_ns
        if self.bound_starts or delivery.command.expires_after is not None:
            until_ns, deadline_ns = delivery.sent_until_ns, self._deadlines_ns.get(delivery.command.channel)
            if until_ns is not None and retry_at_ns > until_ns:
                return None, EXPIRED
            if policy.is_out_of_time(delivery.fresh_since_ns, now_ns, retry_at_ns):
                return None, RETRY_TIME_UP
            if deadline_ns is not None and began_ns is not None and retry_at_ns >= began_ns + deadline_ns:
                return None, DEADLINE
        # Asked last, so that nothing is charged in vain.
        if self.budgets is not None and not self.budgets.allows(delivery, outcome, now_ns):
            return None, BUDGET_SPENT
        return retry_at_ns, None

    def take_back(self, delivery: Delivery) -> None:
        """End the attempt under way, if any, without an answer of a provider."""
        if delivery.current is not None:
            if self.budgets is not None:
                self.budgets.attempt_has_ended(delivery, None, self._system.now_ns)
            delivery.take_back()

    def last_start_ns(self, delivery: Delivery, now_ns: int) -> int | None:
        """Return the last instant at which the next attempt may start, None where that is any time.

        The time on this channel, where it falls back to another one then, runs from its first attempt.
        """
        if self._fallbacks is not None and delivery.falls_back_ns is None:
            delivery.limit_channel(self._fallbacks.time_limit_ns(delivery.command, now_ns))
        until_ns = delivery.sent_until_ns
        return sooner(until_ns, self._last_retry_ns(delivery))

    def _last_retry_ns(self, delivery: Delivery) -> int | None:
        deadline_ns = self._deadlines_ns.get(delivery.command.channel)
        if deadline_ns is not None:
            return None if delivery.first_start_ns is None else delivery.first_start_ns + deadline_ns - 1
        if not delivery.attempts:
            return None
        return self._policy_of(delivery.command.channel).last_start_ns(delivery.fresh_since_ns)

    def reason_of_expiry(self, delivery: Delivery) -> str:
        """Return the reason for dead-lettering a notification whose attempt comes too late: the first bound to pass.

        The time for retries does not bound a first attempt.
        """
        until_ns, last_ns = delivery.sent_until_ns, self._last_retry_ns(delivery)
        if last_ns is None or (until_ns is not None and last_ns >= until_ns):
            return EXPIRED
        return DEADLINE if delivery.command.channel in self._deadlines_ns else RETRY_TIME_UP

    def _policy_of(self, channel: NotificationChannel) -> RetryPolicy:
        policy = self._policies.get(channel)
        if policy is None:
            random = self._stream(f"{channel}.backoff")
            policy = self._policies[channel] = RetryPolicy(self._channels[channel].retry, random)
        return policy


def succeeded(outcome: Outcome, counted: bool = False) -> bool | None:
    """Return what a retry budget is to know of an outcome: None where another attempt could not have done better, and
    where it knows of the failure already."""
    if isinstance(outcome, Sent):
        return True
    return False if isinstance(outcome, (Transient, Ambiguous)) and not counted else None
