"""At the provider: at most one success a notification, nothing after its end, and nothing unwanted or not awaited."""

from __future__ import annotations

from actors.formatting import seconds_text
from actors.instants import utc
from actors.pipeline.channel import Channel
from actors.pipeline.hedging_channel import HedgingChannel
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.feedback import let_through_in
from simulation.verification.laws.lifecycles import State
from simulation.verification.laws.observations import AttemptMade, MessageSent

_ENDED = frozenset({State.SENT, State.SUPPRESSED, State.DEAD, State.DISCARDED})


class OneSuccess(Invariant):
    """A notification is delivered once.

    More often only where that could not be known: once more for each delivery whose answer was lost or came after the
    timeout, for each further copy that a channel sent which hedges, and for each actor that failed since the
    notification was accepted or so shortly before that it may not have been running again: a restart has what was under
    way sent anew. That is the bound.
    """

    name = "one-success"
    needs_order = True

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        if not made.delivered:
            return None
        lifecycles = self.context.lifecycles
        lifecycle = lifecycles.get(made.notification_id)
        if lifecycle is None or not lifecycle.delivered:
            return None
        crashes = lifecycles.crashes - lifecycle.crashes_before
        at_most = 1 + lifecycle.undelivered_answers + lifecycle.copies + made.is_copy + crashes
        if lifecycle.delivered + 1 <= at_most:
            return None
        return (
            f"{made.notification_id} is delivered {lifecycle.delivered + 1} times; at most {at_most} can be explained: "
            f"1, {lifecycle.undelivered_answers} whose answers were lost or late, "
            f"{lifecycle.copies + made.is_copy} further copies of hedged attempts, {crashes} crashes"
        )


class NothingAfterTheEnd(Invariant):
    """Nothing is sent that has ended: not after dead-lettering unless redriven, nor what was sent or suppressed.

    Until all is settled after a crash, what lay in a mailbox may still go out.
    """

    name = "nothing-after-the-end"
    needs_order = True

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        lifecycles = self.context.lifecycles
        lifecycle = lifecycles.get(made.notification_id)
        if lifecycle is None:
            return None if lifecycles.forgotten else f"{made.notification_id} is sent and was never accepted"
        if lifecycle.state not in _ENDED or not lifecycles.is_settled(made.at_ns):
            return None
        return (
            f"{made.notification_id} is sent, though it has been {lifecycle.state} for "
            f"{seconds_text(made.at_ns - lifecycle.state_since_ns)}"
        )


class Wanted(Invariant):
    """Nothing but what is critical goes to a user who has switched the channel off, or in the user's quiet hours."""

    name = "wanted"

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.preferences is not None

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        command, preferences = made.attempt.command, self.context.preferences
        if preferences is None or command.critical or not command.user:
            return None
        if made.is_copy:  # the attempt had set out before
            return None
        if not preferences.is_enabled(command.user, made.channel):
            return f"{made.notification_id} is sent, though {command.user} has switched {made.channel} off"
        if self.context.mixes_messages_up:
            return None  # it had set out before, perhaps, and was late on its way
        quiet_until = None
        for now in map(utc, self.context.calendar_ns(made.at_ns)):
            until = preferences.quiet_until(command.user, made.channel, now, command.zone)
            if until is None or until <= now:
                return None
            quiet_until = quiet_until or until
        return f"{made.notification_id} is sent in the quiet hours of {command.user}, which last until {quiet_until}"


class Awaited(Invariant):
    """No breaker lets an attempt through whose outcome the handler does not wait for, as it has sent the notification
    anew, or ended it.

    Until all is settled after a crash, what lay in a mailbox may be one of those. A further copy of an attempt lies in
    none: there is none of one that nobody waits for.
    """

    name = "awaited"
    of_one_process = True
    receivers = frozenset({Channel, HedgingChannel})
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
