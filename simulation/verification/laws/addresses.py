"""Addresses that are gone: nothing is suppressed for one that was not reported gone."""

from __future__ import annotations

from actors.domain.suppressions import Key, normal_address
from actors.instants import NEVER_NS
from actors.messages import NotificationFailed, NotificationRedriven, NotificationSuppressed
from actors.outcomes import DeadDestination
from actors.pipeline.readiness import ADDRESS_GONE
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
