"""What no stage waits for any more is not sent: when a stage has restarted, the others let go of what is sent anew."""

from __future__ import annotations

from actors.pipeline.channel import Channel
from actors.pipeline.hedging_channel import HedgingChannel
from simulation.verification.laws.base import Finding, Invariant, Objection, observes
from simulation.verification.laws.feedback import let_through_in
from simulation.verification.laws.observations import AttemptMade, MessageSent


class Awaited(Invariant):
    """No breaker lets an attempt through whose outcome the handler does not wait for, as it has sent the notification
    anew, or ended it.

    Until all is settled after a crash, what lay in a mailbox may be one of those. A further copy of an attempt lies in
    none: there is none of one that nobody waits for.
    """

    name = "awaited"
    of_one_process = True
    receivers = frozenset({Channel, HedgingChannel})
    watches_actors = True
    needs_order = True

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        if (admitted := let_through_in(sent)) is None:
            return None
        attempt = admitted.attempt
        if self.context.is_awaited(attempt) or not self.context.lifecycles.is_settled(sent.at_ns):
            return None
        notification_id = attempt.command.notification_id
        return Finding(f"{notification_id} is let through, and no stage waits for that attempt", notification_id)

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        if not made.is_copy or self.context.is_awaited(made.attempt):
            return None
        return f"a further copy of {made.notification_id} is sent, and no stage waits for that attempt"
