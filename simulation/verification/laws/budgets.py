"""Retry budgets: no retry is made that is not in the budget of its channel, and none refused that is; counted anew."""

from __future__ import annotations

from collections.abc import Iterator

from actors.domain.attempts import Admitted, Attempt, Refused, Rejected, Requeued
from actors.instants import wait_ns
from actors.kernel.effects import Performed
from actors.messages import (
    ActorFailed,
    DeferralCause,
    NodeTookOver,
    NotificationChannel,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.outcomes import Ambiguous, ChannelFault, Transient
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.rate_limiter import RateLimiterActor
from actors.pipeline.retries import BUDGET_SPENT
from actors.settings.retry import AwsBudgetConfig
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.budget_accounts import ACCOUNTS, Account
from simulation.verification.laws.lifecycles import ON_THE_WAY, PROCESS
from simulation.verification.laws.observations import AttemptMade, MessageSent

_DECISIONS = (NotificationFailed, NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)


def _key(event: NotificationEvent) -> tuple[type, int]:
    """Tell one change of a notification from another."""
    return type(event), event.at_ns


class RetryBudgets(Invariant):
    """A retry is made only where the retry budget of its channel has something left, and a notification is exhausted
    for the budget only where it has not.

    A decision counts when it is made, and not when it is durable. Copies of a channel that hedges are charged too.
    Where what they cost depends on their outcomes, what is refused is not looked at. A handler that has crashed has new
    budgets, to which all that it sends again is a first attempt, and copies of what it had sent are nothing; what it
    sends again since a stage has crashed is under way already, and the copies of what that replaces are charged until
    they have ended: then what is refused is not looked at on a channel that hedges. Where messages come twice, nothing
    at all is looked at there: what reaches a provider again may be a copy of the attempt, which is charged, or of the
    message about it, which is not.
    """

    name = "retry-budget"
    of_one_process = True
    settings = ("retry.budget",)
    receivers = frozenset({CircuitBreakerActor, Handler, RateLimiterActor})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._under_way: set[str] = set()
        """The notifications whose attempt is counted and has no outcome."""
        self._orphaned: set[str] = set()
        """Those of the handler that has crashed, whose budgets are gone, until they are sent again."""
        self._counted: dict[str, tuple[type, int]] = {}
        """By notification, the kind and instant of what is decided and counted, and not durable yet."""
        self._hedging = {channel for (channel, _), config in context.providers.items() if config.hedging is not None}
        self._accounts = self._new_accounts()
        self._always_unknown = {
            channel
            for (channel, _), config in context.providers.items()
            if config.hedging is not None and isinstance(config.retry.budget, AwsBudgetConfig)
        }
        """Those in whose budgets is less, or more, than is known here."""
        self._unknown = set(self._always_unknown)
        self._in_flight: dict[NotificationChannel, set[str]] = {channel: set() for channel in context.channels}

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and any(config.retry.budget is not None for config in context.channels.values())

    def _new_accounts(self) -> dict[NotificationChannel, Account]:
        left_out = self._hedging if self.context.mixes_messages_up else frozenset()
        return {
            channel: ACCOUNTS[type(config.retry.budget)](config.retry.budget)
            for channel, config in self.context.channels.items()
            if config.retry.budget is not None and channel not in left_out
        }

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor not in (PROCESS, Handler.__name__):
            if event.actor in ON_THE_WAY:
                self._unknown |= self._hedging  # copies of what is sent anew are charged until they have ended
                for channel in self._hedging & self._accounts.keys():
                    self._accounts[channel].stage_has_crashed()
            return
        self._unknown = set(self._always_unknown)
        self._counted = {}
        for _ in self._newly_decided():
            pass  # by the handler that has crashed: not of the new budgets
        self._accounts = self._new_accounts()
        self._orphaned |= self._under_way
        self._under_way.clear()

    def _newly_decided(self) -> Iterator[NotificationEvent]:
        """Yield what has been decided since the last look and is not durable yet, in the order of the decisions."""
        pipeline = self.context.pipeline() if self.context.commit_latency_ns else None
        if pipeline is None:
            return
        events = []
        for commit in reversed(pipeline.wiring.commits.under_way.values()):
            if self._counted.get(commit.event.notification_id) == _key(commit.event):
                break
            events.append(commit.event)
        for event in reversed(events):
            self._counted[event.notification_id] = _key(event)
            yield event

    def _catch_up(self) -> Objection:
        """Count what has been decided and is not durable yet: the budget is charged, and filled, when it is decided."""
        objection = None
        for event in self._newly_decided():
            if type(event) in _DECISIONS and (broken := self._count(event)) is not None:
                objection = objection or Finding(broken, event.notification_id)
        return objection

    @observes(NotificationRequested, NotificationRedriven)
    def on_opening(self, event: NotificationEvent) -> None:
        self._in_flight[event.channel].add(event.notification_id)

    @observes(NodeTookOver)
    def on_takeover(self, takeover: NodeTookOver) -> None:
        if takeover.node != self.context.node:
            for ids in self._in_flight.values():
                ids.difference_update(takeover.notification_ids)
            return
        for notification_id in takeover.notification_ids:
            lifecycle = self.context.lifecycles.get(notification_id)
            if lifecycle is not None and lifecycle.history:
                self._in_flight[lifecycle.history[0].channel].add(notification_id)

    @observes(*_DECISIONS)
    def on_decided(self, event: NotificationEvent) -> Objection:
        if self._counted.pop(event.notification_id, None) == _key(event):
            return None
        return self._count(event)

    def _count(self, event: NotificationEvent) -> str | None:
        if type(event) is NotificationFailed:
            return self._failed(event)
        self._in_flight[event.channel].discard(event.notification_id)
        self._under_way.discard(event.notification_id)
        account = self._accounts.get(event.channel)
        if account is not None:
            account.ended(event)
        return None

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        message = sent.message
        if type(message) in (Refused, Rejected) or (type(message) is Performed and type(message.request) is Admitted):
            attempt = message.request.attempt if type(message) is Performed else message.attempt
            if (account := self._accounts.get(attempt.command.channel)) is not None:
                account.taken_back(attempt.command.notification_id)  # which is recorded when it is durable
        elif type(message) is Requeued:
            if self.context.is_awaited(message.attempt):
                self._take_back(message.attempt.command.notification_id, message.attempt.command.channel)
        elif type(message) is Attempt and sent.sender is Handler:
            notification_id = message.command.notification_id
            account = self._accounts.get(message.command.channel)
            objection = self._catch_up()
            if account is not None and notification_id not in self._under_way:
                self._under_way.add(notification_id)
                self._orphaned.discard(notification_id)
                account.set_out(notification_id, sent.at_ns)
            return objection
        return None

    @observes(NotificationDeferred)
    def on_deferred(self, deferred: NotificationDeferred) -> None:
        if deferred.cause is DeferralCause.QUIET_HOURS:
            self._take_back(deferred.notification_id, deferred.channel)

    def _take_back(self, notification_id: str, channel: NotificationChannel) -> None:
        self._under_way.discard(notification_id)
        if (account := self._accounts.get(channel)) is not None:
            account.kept_back(notification_id)

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        account = self._accounts.get(made.channel)
        if account is None:
            return None
        if not made.is_copy:
            if made.channel in self._hedging:
                account.asked(made)
            return None
        if (objection := self._catch_up()) is not None:
            return objection
        if made.notification_id in self._orphaned:
            return None
        others = self._others(made)
        if (failed := self._failed_just_now(made, others)) is not None:
            account.failed_before_copy(failed)
        if account.copied(made, self._is_late(made, others)):
            return None
        spent = f"the retry budget of {made.channel} is spent"
        return Finding(f"a copy of {made.notification_id} is sent, and {spent}", made.notification_id)

    def _others(self, copy: AttemptMade) -> list[AttemptMade]:
        """Return the other sends of the same attempt."""
        lifecycle = self.context.lifecycles.get(copy.notification_id)
        made = () if lifecycle is None else (each for each in lifecycle.history if type(each) is AttemptMade)
        return [each for each in made if each.attempt is copy.attempt and each is not copy]

    @staticmethod
    def _is_late(copy: AttemptMade, others: list[AttemptMade]) -> bool:
        """Tell whether a copy goes as another send of its attempt has no answer, and not as one has failed just now."""
        ends_ns = [each.ends_at_ns for each in others]
        return copy.at_ns not in ends_ns and any(end_ns > copy.at_ns for end_ns in ends_ns)

    def _failed_just_now(self, copy: AttemptMade, others: list[AttemptMade]) -> AttemptMade | None:
        """Return the send whose failure has brought a copy; None where it is perhaps its time that has."""
        config = self.context.providers[copy.channel, copy.provider].hedging
        if config is None or not others or others[-1].at_ns + wait_ns(config.delay) == copy.at_ns:
            return None
        if any(isinstance(each.outcome, Transient) and each.outcome.retry_after for each in others):
            return None
        failed = [each for each in others if each.ends_at_ns == copy.at_ns and each.answered]
        is_one = len(failed) == 1 and isinstance(failed[0].outcome, (Transient, Ambiguous))
        return failed[0] if is_one else None

    def _failed(self, failed: NotificationFailed) -> str | None:
        account = self._accounts.get(failed.channel)
        self._under_way.discard(failed.notification_id)
        if account is None:
            return None
        account.failed(failed)
        if failed.kind == ChannelFault.__name__:
            return None
        if failed.next_retry_at_ns is not None:
            if not account.may_grant(failed, len(self._in_flight[failed.channel])):
                spent = f"the retry budget of {failed.channel} is spent"
                return f"{failed.notification_id} is to be tried again, and {spent}"
            account.grant(failed)
        elif failed.given_up == BUDGET_SPENT and failed.channel not in self._unknown and not account.may_refuse(failed):
            return f"{failed.notification_id} is exhausted for the retry budget of {failed.channel}, which is not spent"
        return None
