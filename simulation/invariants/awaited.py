"""What no stage waits for any more is not sent: when a stage has restarted, the others let go of what is sent anew."""

from __future__ import annotations

from actors.domain.attempts import Admitted
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.hedging_channel import HedgingChannel
from simulation.invariants.base import Finding, Invariant, Objection, observes
from simulation.invariants.observations import MessageSent


class Awaited(Invariant):
    """No breaker lets an attempt through whose outcome the handler does not wait for, as it has sent the notification
    anew, or ended it.

    Until all runs again that has crashed, what lay in a mailbox may be one of those.
    """

    name = "awaited"
    receivers = frozenset({Channel, HedgingChannel})
    watches_actors = True
    needs_order = True

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        admitted, pipeline = sent.message, self.context.pipeline()
        if sent.sender is not CircuitBreakerActor or type(admitted) is not Admitted or pipeline is None:
            return None
        attempt = admitted.attempt
        is_current = pipeline.wiring.stages[attempt.command.channel].is_current
        lifecycles = self.context.lifecycles
        settled_ns = lifecycles.up_at_ns + lifecycles.restarted_within_ns if lifecycles.crashes else -1
        if is_current is None or is_current(attempt) or sent.at_ns <= settled_ns:
            return None
        notification_id = attempt.command.notification_id
        return Finding(f"{notification_id} is let through, and no stage waits for that attempt", notification_id)
