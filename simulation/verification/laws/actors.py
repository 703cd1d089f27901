"""Between actors: what one tells another is handled in order, questions are settled, and what crashes is restarted."""

from __future__ import annotations

from actors.event_words import class_in_words
from actors.formatting import seconds_text
from actors.messages import ActorFailed, NotificationEvent
from actors.pipeline.subscriber_calls import AsyncSubscriber, PlainSubscriber, SubscriberCall
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import PROCESS, STEPS
from simulation.verification.laws.observations import MessageSent, OutOfTurn, Overtaken, Unanswered
from simulation.verification.laws.text import message_text


class Order(Invariant):
    """Messages from one actor to another are handled in the order in which they were sent, across a restart too.

    Does not apply where a fault has messages overtake each other, or come twice.
    """

    name = "order"
    needs_order = True

    @observes(Overtaken)
    def on_overtaken(self, overtaken: Overtaken) -> Objection:
        receiver, sender = class_in_words(overtaken.receiver), class_in_words(overtaken.sender)
        return f"the {receiver} handles {message_text(overtaken.message)} after what the {sender} sent it later"


class TimersInOrder(Invariant):
    """Timers and ends of effects, such as a provider's answers, that are due at one instant come in the order in which
    they were set.

    Does not apply where messages overtake each other, nor where a schedule has actors take turns as they usually do
    not. A timer that is due for an actor that is down comes when the actor is back.
    """

    name = "timers-in-order"
    needs_order = True

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.is_in_usual_order and super().applies(context)

    @observes(OutOfTurn)
    def on_out_of_turn(self, late: OutOfTurn) -> Objection:
        text = f"the {class_in_words(late.receiver)} gets {message_text(late.message)}"
        return f"{text} after what was set for this instant later"


class AsksSettle(Invariant):
    """Every question to an actor is settled, with an answer or an error, when the run has finished at the latest.

    But for those that a crash of the whole process takes with it.
    """

    name = "asks-settle"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._crashed_ns = -1

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._crashed_ns = event.at_ns

    @observes(Unanswered)
    def on_unanswered(self, question: Unanswered) -> Objection:
        if question.asked_at_ns <= self._crashed_ns:
            return None
        asked = seconds_text(question.asked_at_ns)
        receiver = class_in_words(question.receiver)
        return f"the {receiver} was asked {message_text(question.message)} at {asked} and has not answered"


INJECTED = ("InjectedCrash", "Stopped", "LostLease")
"""The name of the error of a crash that a scenario asks for."""

_KEPT = 10_000


class RecordedFirst(Invariant):
    """An event of a notification is recorded first, and announced to subscribers afterwards."""

    name = "recorded-first"
    receivers = frozenset({PlainSubscriber, AsyncSubscriber})
    messages = frozenset({SubscriberCall})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._recorded: dict[int, NotificationEvent] = {}
        """The latest, by identity; kept, so that no other event has the identity of one of them."""

    @observes(*STEPS)
    def on_recorded(self, event: NotificationEvent) -> None:
        self._recorded[id(event)] = event
        if len(self._recorded) > 2 * _KEPT:
            for oldest in list(self._recorded)[:_KEPT]:
                del self._recorded[oldest]

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        event = sent.message.event
        if type(event) not in STEPS or id(event) in self._recorded:
            return None
        return f"{type(event).__name__} of {event.notification_id} is announced, and not recorded before"


class NoErrors(Invariant):
    """No actor fails but by a crash that the scenario asks for."""

    name = "no-errors"

    @observes(ActorFailed)
    def on_failure(self, failure: ActorFailed) -> Objection:
        if failure.error.startswith(INJECTED):
            return None
        return f"{failure.actor} raised {failure.error}"
