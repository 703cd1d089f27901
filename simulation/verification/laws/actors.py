"""Between actors: what one tells another is handled in order, and every question is settled."""

from __future__ import annotations

from actors.event_words import class_in_words
from actors.formatting import seconds_text
from actors.messages import ActorFailed
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import OutOfTurn, Overtaken, Unanswered
from simulation.verification.laws.text import message_text


class Order(Invariant):
    """What one actor sends another is handled in the order in which it was sent, across a restart too.

    Does not apply where a fault has messages overtake each other, or come twice.
    """

    name = "order"
    watches_actors = True
    needs_order = True

    @observes(Overtaken)
    def on_overtaken(self, overtaken: Overtaken) -> Objection:
        receiver, sender = class_in_words(overtaken.receiver), class_in_words(overtaken.sender)
        return f"the {receiver} handles {message_text(overtaken.message)} after what the {sender} sent it later"


class TimersInOrder(Invariant):
    """What is due at one instant comes in the order in which it was set: timers, and the ends of effects such as a
    provider's answers.

    Does not apply where messages overtake each other, nor where a schedule has actors take turns as they usually do
    not. What falls due for an actor that is down comes when that is back.
    """

    name = "timers-in-order"
    watches_timers = True
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
    watches_actors = True

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
