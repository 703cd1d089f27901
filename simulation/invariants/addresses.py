"""Addresses that are gone: nothing is suppressed for one that was not reported gone."""

from __future__ import annotations

from actors.messages import NotificationChannel, NotificationFailed, NotificationRedriven, NotificationSuppressed
from actors.outcomes import DeadDestination
from actors.pipeline.readiness import ADDRESS_GONE
from simulation.invariants.base import Context, Invariant, Objection, observes
from simulation.invariants.observations import AttemptMade


class GoneAddresses(Invariant):
    """What is suppressed since its address is gone is for one that a provider has called so; and what an operator
    redrives is tried, whatever was said before.

    Where nodes do not reach the store for a time, one knows what its providers say before it is recorded, or without
    that, and not at once what operators redrive elsewhere: there it counts what was ever said.
    """

    name = "gone-addresses"
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._gone: set[tuple[NotificationChannel, str]] = set()

    @observes(NotificationFailed)
    def on_failed(self, failed: NotificationFailed) -> Objection:
        recipient = self._recipient(failed.notification_id)
        if failed.kind == DeadDestination.__name__ and recipient is not None:
            self._gone.add((failed.channel, recipient))
        return None

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        if self.context.has_partitions and (made.outcome is None or type(made.outcome) is DeadDestination):
            self._gone.add((made.channel, made.attempt.command.recipient))
        return None

    @observes(NotificationRedriven)
    def on_redriven(self, redriven: NotificationRedriven) -> Objection:
        recipient = redriven.edit.get("recipient") or self._recipient(redriven.notification_id)
        if recipient is not None and not self.context.has_partitions:
            self._gone.discard((redriven.channel, recipient))
        return None

    @observes(NotificationSuppressed)
    def on_suppressed(self, suppressed: NotificationSuppressed) -> Objection:
        if suppressed.reason != ADDRESS_GONE:
            return None
        if not self._gone:
            return f"{suppressed.notification_id} is suppressed, and no address is gone"
        recipient = self._recipient(suppressed.notification_id)
        if recipient is None or (suppressed.channel, recipient) in self._gone:
            return None
        return f"{suppressed.notification_id} is suppressed, and it was not reported since that {recipient} is gone"

    def _recipient(self, notification_id: str) -> str | None:
        """Return to whom it went; None when it has not been tried."""
        lifecycle = self.context.lifecycles.get(notification_id)
        return None if lifecycle is None or lifecycle.attempt is None else lifecycle.attempt.command.recipient
