"""Between actors: what one tells another is handled in order, questions are settled, and what crashes is restarted."""

from __future__ import annotations

from collections import deque

from actors.event_words import class_in_words
from actors.formatting import seconds_text
from actors.instants import NEVER_NS, ns
from actors.kernel.actor import Supervision
from actors.messages import ActorFailed, NotificationEvent
from actors.pipeline.handler import Handler
from actors.pipeline.subscriber_calls import AsyncSubscriber, PlainSubscriber, SubscriberCall
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import PROCESS, STEPS
from simulation.verification.laws.observations import (
    ActorCrashed,
    ActorStarted,
    MessageSent,
    OutOfTurn,
    Overtaken,
    Unanswered,
)
from simulation.verification.laws.text import message_text


class Order(Invariant):
    """What one actor sends another is handled in the order in which it was sent, across a restart too.

    Does not apply where a fault has messages overtake each other, or come twice.
    """

    name = "order"
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
    """What happens to a notification is recorded first, and announced to subscribers afterwards."""

    name = "recorded-first"
    receivers = frozenset({PlainSubscriber, AsyncSubscriber})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._recorded: set[int] = set()
        self._latest: deque[NotificationEvent] = deque()
        """Kept, so that no other event has the identity of one of them."""

    @observes(*STEPS)
    def on_recorded(self, event: NotificationEvent) -> None:
        self._latest.append(event)
        self._recorded.add(id(event))
        if len(self._latest) > _KEPT:
            self._recorded.discard(id(self._latest.popleft()))

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        if type(sent.message) is not SubscriberCall or type(sent.message.event) not in STEPS:
            return None
        event = sent.message.event
        if id(event) in self._recorded:
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


class Restarts(Invariant):
    """An actor that has crashed starts again at the instant at which its supervision, or the fault, has it do so: after
    0.1 s, twice as long for each restart of the last minute, and at most 10 s; not before, not later, and once. So does
    the process: its handler is started when it is back.
    """

    name = "restarts"
    of_one_process = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._seen: set[str] = set()
        """Actors that have started."""
        self._restarts_ns: dict[str, list[int]] = {}
        self._due: dict[str, tuple[str, int]] = {}
        """By actor that is down: what it is, and when it starts again."""
        self._back_ns: frozenset[int] = frozenset()
        """When the process is back that is down: one of these."""

    @observes(ActorCrashed)
    def on_crashed(self, crashed: ActorCrashed) -> Objection:
        if (wrong := self._overdue(crashed.at_ns)) is not None:
            return wrong
        delay_ns = crashed.restart_after_ns
        recent = self._restarts_ns.setdefault(crashed.actor, [])
        if delay_ns is None:
            delay_ns = _delay_ns(crashed.supervision, recent, crashed.at_ns)
        if delay_ns is not None:
            recent.append(crashed.at_ns)
            self._due[crashed.actor] = class_in_words(crashed.kind.__name__), crashed.at_ns + delay_ns
        return None

    @observes(ActorStarted)
    def on_started(self, started: ActorStarted) -> Objection:
        kind = class_in_words(started.kind.__name__)
        if started.actor not in self._seen:
            self._seen.add(started.actor)
            return self._process_is_back(started) if started.kind is Handler and self._back_ns else None
        due = self._due.pop(started.actor, None)
        if due is None:
            return f"the {kind} is started again, and runs already"
        if due[1] == started.at_ns:
            return None
        return f"the {kind} is restarted at {seconds_text(started.at_ns)}, and was to be at {seconds_text(due[1])}"

    def _process_is_back(self, started: ActorStarted) -> Objection:
        back_ns, self._back_ns = self._back_ns, frozenset()
        if started.at_ns in back_ns:
            return None
        due = " or ".join(map(seconds_text, sorted(back_ns)))
        return f"the process is back at {seconds_text(started.at_ns)}, and was to be at {due}"

    @observes(ActorFailed)
    def on_failure(self, event: ActorFailed) -> None:
        if event.actor != PROCESS:
            return
        self._due.clear()  # with all that was to be restarted in it
        faults = self.context.faults
        crashes = [fault for fault in faults if fault.crash == PROCESS and ns(fault.at) == event.at_ns]
        down_s = [fault.restart_after or 0.0 for fault in crashes]
        # One that a deployment stops at that instant is down for as long as that says.
        down_s += [fault.deploy.each_down for fault in faults if crashes and fault.deploy is not None]
        self._back_ns = frozenset(event.at_ns + ns(each) for each in down_s)
        if self.context.has_partitions or any(fault.scale is not None for fault in faults):
            self._back_ns = frozenset()  # by then the store may be out of reach, or the fleet too small for it

    @observes(*STEPS)
    def on_event(self, event: NotificationEvent) -> Objection:
        return self._overdue(event.at_ns)

    def at_end(self, now_ns: int) -> Objection:
        return self._overdue(now_ns)

    def _overdue(self, now_ns: int) -> Objection:
        for kind, due_ns in self._due.values():
            if due_ns < now_ns:
                return f"the {kind} was to be restarted at {seconds_text(due_ns)}, and is not"
        if max(self._back_ns, default=NEVER_NS) < now_ns:
            return f"the process was to be back at {seconds_text(max(self._back_ns))}, and is not"
        return None


def _delay_ns(rule: Supervision, restarts_ns: list[int], now_ns: int) -> int | None:
    """Return how long an actor is down that has been restarted at these instants; None: it is up to its parent."""
    recent = sum(at_ns > now_ns - ns(rule.window) for at_ns in restarts_ns) if rule.window < 1e9 else len(restarts_ns)
    is_left_to_others = recent >= rule.max_restarts and rule.then != "restart"
    return None if is_left_to_others else ns(min(rule.max_delay, rule.initial_delay * 2**recent))
