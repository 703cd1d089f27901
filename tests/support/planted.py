"""Invariants that are broken, for explorations to find. In a module, so that other processes can import them."""

from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    NotificationChannel,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from simulation.invariants import Context, Invariant, observes


@observes(NotificationRedriven)
def nothing_is_redriven(event):
    return f"{event.notification_id} is redriven"


class OpensOnce(Invariant):
    """The breaker of sms opens twice at most."""

    name = "opens-once"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.opened = 0

    @observes(BreakerTransitioned)
    def on_transition(self, event):
        self.opened += event.breaker == "sms" and event.to_state == "open"
        return "the breaker of sms opens for the second time" if self.opened == 2 else None


class AfterTwoCrashes(Invariant):
    """The process crashes while what an earlier crash left is under way."""

    name = "after-two-crashes"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.left = None

    @observes(ActorFailed)
    def on_failed(self, event):
        if event.actor != "process":
            return None
        if self.left:
            return "the second crash in a row"
        self.left = set(self.context.lifecycles.in_flight())
        return None

    @observes(NotificationSent, NotificationMovedToDeadLetter)
    def on_end(self, event):
        if self.left is not None:
            self.left.discard(event.notification_id)


class InTheOrderOfTheFile(Invariant):
    """At one instant emails are accepted before text messages, as the normal order has it."""

    name = "emails-first"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.text_message_at_ns = -1

    @observes(NotificationRequested)
    def on_requested(self, event):
        if event.channel is NotificationChannel.SMS:
            self.text_message_at_ns = event.at_ns
        elif event.channel is NotificationChannel.EMAIL and event.at_ns == self.text_message_at_ns:
            return f"{event.notification_id} is accepted after a text message of the same instant"
        return None
