"""Endpoints that are disabled, and addresses that are gone: nothing is sent there, and nothing else given up so."""

from __future__ import annotations

from actors.domain.suppressions import Key, normal_address
from actors.endpoints import EndpointMark, EndpointState
from actors.formatting import seconds_text
from actors.instants import NEVER_NS, ns
from actors.messages import (
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationSent,
    NotificationSuppressed,
)
from actors.outcomes import DeadDestination
from actors.pipeline.readiness import ADDRESS_GONE, ENDPOINT_DISABLED
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.observations import AttemptMade


class GoneAddresses(Invariant):
    """What is suppressed since its address is gone is for one that a provider has called so; and what an operator
    redrives is tried, whatever was said before.

    Where nodes do not reach the store for a time, one knows what its providers say before it is recorded, or without
    that, and not at once what operators redrive elsewhere: there it counts what was ever said.
    """

    name = "gone-addresses"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._gone_until_ns: dict[Key, int] = {}
        """Until when each address that was reported gone is taken for gone: a redrive lifts it when it is durable."""

    @observes(NotificationFailed)
    def on_failed(self, failed: NotificationFailed) -> None:
        address = self.context.address_of(failed.notification_id)
        if failed.kind == DeadDestination.__name__ and address is not None:
            self._gone_until_ns[address] = NEVER_NS

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> None:
        if self.context.has_partitions and (made.outcome is None or type(made.outcome) is DeadDestination):
            self._gone_until_ns[made.channel, normal_address(made.channel, made.attempt.command.recipient)] = NEVER_NS

    @observes(NotificationRedriven)
    def on_redriven(self, redriven: NotificationRedriven) -> None:
        address = self.context.address_after(redriven)
        if address is not None and address in self._gone_until_ns and not self.context.has_partitions:
            self._gone_until_ns[address] = redriven.at_ns + self.context.learnt_after_ns

    @observes(NotificationSuppressed)
    def on_suppressed(self, suppressed: NotificationSuppressed) -> Objection:
        if suppressed.reason != ADDRESS_GONE:
            return None
        address, gone_ns = self.context.address_of(suppressed.notification_id), self._gone_until_ns
        any_until_ns = max(gone_ns.values(), default=0)
        if suppressed.at_ns < (any_until_ns if address is None else gone_ns.get(address, 0)):
            return None
        if address is None or suppressed.at_ns >= any_until_ns:
            return f"{suppressed.notification_id} is suppressed, and no address is gone"
        return f"{suppressed.notification_id} is suppressed, and it was not reported since that {address[1]} is gone"


class DisabledEndpoints(Invariant):
    """An endpoint is disabled once every attempt at it has failed for `disable_after`, and no earlier; no attempt at it
    starts then until one has succeeded or a dead letter of it is redriven; and only what is for such a one is
    dead-lettered for that reason.

    The instant at which an attempt starts is not looked at where the store takes its time, or is not reached: what
    enables an endpoint holds before it is recorded. Nor is it where messages are held up: an attempt may be on its way
    to its provider for as long.
    """

    name = "disabled-endpoints"
    settings = ("endpoints",)
    needs = ("endpoints",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._marks: dict[Key, EndpointMark] = {}
        """What failures have made of the endpoints of which none has succeeded since."""
        self._disabled_ns: dict[Key, int] = {}

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        address = made.channel, normal_address(made.channel, made.attempt.command.recipient)
        disabled_ns = self._disabled_ns.get(address, made.at_ns)
        # One that had passed all that stands before its provider starts still, as does the copy of one under way.
        is_on_its_way = disabled_ns == made.at_ns or made.is_copy or not self.context.lifecycles.is_settled(made.at_ns)
        if is_on_its_way or self.context.commit_latency_ns or self.context.mixes_messages_up:
            return None
        return (
            f"an attempt of {made.notification_id} starts at {address[1]}, which was disabled at "
            f"{seconds_text(disabled_ns)}"
        )

    @observes(NotificationFailed)
    def on_failed(self, failed: NotificationFailed) -> Objection:
        address = self.context.address_of(failed.notification_id)
        config = self.context.channels[failed.channel].endpoints
        if address is None or config is None:
            return None
        recipient, present_ns, mark = address[1], failed.epoch_ns + failed.at_ns, failed.endpoint
        known, disable_after_ns = self._marks.get(address), ns(config.disable_after)
        if mark is None:
            is_due = known is not None and known.state is EndpointState.FAILING and not failed.refused
            if not is_due or failed.throttled or failed.kind not in ("Transient", "Ambiguous", "Permanent"):
                return None
            assert known is not None
            if known.since_ns + disable_after_ns <= present_ns < known.until_ns:
                return f"{recipient} is not disabled, and all attempts at it have failed for {config.disable_after:g} s"
            return None
        self._marks[address] = mark
        if mark.state is not EndpointState.DISABLED:
            return None
        self._disabled_ns[address] = failed.at_ns
        if known is None or known.since_ns != mark.since_ns:
            return f"{recipient} is disabled, and no attempt at it failed since which none has succeeded"
        if present_ns - mark.since_ns < disable_after_ns:
            return f"{recipient} is disabled, and its attempts have not failed for {config.disable_after:g} s yet"
        return None

    @observes(NotificationSent)
    def on_sent(self, sent: NotificationSent) -> None:
        self._know_nothing_of(self.context.address_of(sent.notification_id))

    @observes(NotificationRedriven)
    def on_redriven(self, redriven: NotificationRedriven) -> None:
        if redriven.without_operator:
            return
        address = self.context.address_after(redriven)
        if address is None:
            self._disabled_ns.clear()  # it has not been tried, so it may be for any of them
        elif address in self._disabled_ns:
            self._know_nothing_of(address)

    @observes(NotificationMovedToDeadLetter)
    def on_dead_letter(self, moved: NotificationMovedToDeadLetter) -> Objection:
        if moved.reason != ENDPOINT_DISABLED:
            return None
        address = self.context.address_of(moved.notification_id)
        marks = [self._marks.get(address)] if address is not None else self._marks.values()
        if any(mark is not None and mark.state is EndpointState.DISABLED for mark in marks):
            return None
        return f"{moved.notification_id} is dead-lettered since its endpoint is disabled, which it is not"

    def _know_nothing_of(self, address: Key | None) -> None:
        if address is not None:
            self._marks.pop(address, None)
            self._disabled_ns.pop(address, None)
