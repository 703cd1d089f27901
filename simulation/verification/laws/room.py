"""No more notifications are pending than may be, and none is refused while there is room."""

from __future__ import annotations

from typing import Any

from actors.errors import Overloaded
from actors.kernel.futures import Future
from actors.messages import (
    DuplicateIgnored,
    NodeTookOver,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    Priority,
    SendNotification,
)
from actors.pipeline.handler import Handler
from actors.pipeline.orders import Acceptance, Redrive, Submit
from actors.policies.admission import Admission
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.observations import MessageSent


class Room(Invariant):
    """No notification is accepted, and no dead letter redriven, while as many are pending as may be.

    What an event leads to, and what is sent in place of another, is accepted all the same.
    """

    name = "room"
    of_one_process = True
    settings = ("max_pending",)
    receivers = frozenset({Handler})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._admission = Admission(context.max_pending)
        self._pending = 0
        self._at_the_door: set[str] = set()
        """What has been sent by itself and not accepted yet."""
        self._gained_ns = -1
        """When it has taken over from another node last: what has come by that instant is let in all the same."""

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.max_pending is not None

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> None:
        submit = sent.message
        if type(submit) is SendNotification:
            self._at_the_door.add(submit.notification_id)
        elif type(submit) is Submit and not submit.follows_event:
            self._at_the_door.add(submit.command.notification_id)

    @observes(NodeTookOver)
    def on_takeover(self, takeover: NodeTookOver) -> None:
        self._pending += self.context.gained(takeover)
        if takeover.node == self.context.node:
            self._gained_ns = takeover.at_ns

    @observes(NotificationRequested)
    def on_requested(self, requested: NotificationRequested) -> Objection:
        is_by_itself = requested.notification_id in self._at_the_door
        self._at_the_door.discard(requested.notification_id)
        self._pending += 1
        if requested.at_ns <= self._gained_ns:
            return None
        if not is_by_itself or self._admission.has_room(self._pending - 1, requested.priority):
            return None
        return (
            f"{requested.notification_id} is accepted as number {self._pending:,} of those that are pending, of which "
            f"there may be {self.context.max_pending:,}"
        )

    @observes(NotificationRedriven)
    def on_redriven(self, redriven: NotificationRedriven) -> Objection:
        self._pending += 1
        if redriven.at_ns <= self._gained_ns or self._admission.has_room(self._pending - 1, Priority.CRITICAL):
            return None
        return f"{redriven.notification_id} is redriven while as many are pending as may be"

    @observes(NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)
    def on_end(self, event: NotificationSent | NotificationSuppressed | NotificationMovedToDeadLetter) -> None:
        self._pending -= 1


class Refusals(Invariant):
    """A notification is refused for lack of room only where as many are pending as the bound of its class says."""

    name = "refusals"
    of_one_process = True
    receivers = frozenset({Handler})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pending = 0
        self._at_the_door: dict[int, Submit] = {}
        self._following: set[str] = set()
        """What is on its way since an event has led to it: nobody is told when it is accepted."""
        self._falling_back_ns: dict[str, int] = {}
        """By what may fall back just now: until when what does so is recorded, as its acceptance takes its time."""
        self._now_ns = 0
        self._wrong: str | None = None

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and context.max_pending is not None

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        submit, self._now_ns = sent.message, sent.at_ns
        if type(submit) is Redrive:
            self._following.add(submit.letter.notification_id)
        if type(submit) is not Submit:
            return self._said()
        answer = submit.answer
        if isinstance(answer, Future):
            self._at_the_door[id(submit)] = submit
            answer.when_done(lambda: self._on_answer(submit, answer))
        else:
            self._following.add(submit.command.notification_id)
        return self._said()

    @observes(NodeTookOver)
    def on_takeover(self, takeover: NodeTookOver) -> None:
        self._pending += self.context.gained(takeover)

    def _on_answer(self, submit: Submit, answer: Future[Acceptance]) -> None:
        del self._at_the_door[id(submit)]
        try:
            answer.get(timeout=0)
        except Overloaded:
            most = self.context.max_pending
            assert most is not None
            kept = {Priority.NORMAL: most // 20, Priority.BULK: most // 5}.get(submit.command.priority, 0)
            # A handler that was down goes on with them as it starts again.
            again_ns = self.context.lifecycles.up_at_ns + 2 * self.context.commit_latency_ns
            falling_back = sum(max(until_ns, again_ns) >= self._now_ns for until_ns in self._falling_back_ns.values())
            pending = self._pending + len(self._at_the_door) + len(self._following) + falling_back
            if pending < most - kept:
                self._wrong = (
                    f"{submit.command.notification_id} ({submit.command.priority}) is refused while "
                    f"{pending:,} are pending, of {most - kept:,} that may be"
                )
        except Exception:  # of other refusals
            return

    def _said(self) -> Objection:
        wrong, self._wrong = self._wrong, None
        return wrong

    @observes(NotificationRequested, NotificationRedriven)
    def on_begin(self, event: Any) -> Objection:
        self._pending += 1
        self._following.discard(event.notification_id)
        self._falling_back_ns.pop(getattr(event, "instead_of", None) or "", None)
        return self._said()

    @observes(DuplicateIgnored)
    def on_duplicate(self, event: DuplicateIgnored) -> Objection:
        at_the_door = {submit.command.notification_id for submit in self._at_the_door.values()}
        if event.notification_id not in at_the_door:  # else that is what came again, and a redrive goes on
            self._following.discard(event.notification_id)
        return self._said()

    @observes(NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)
    def on_end(self, event: Any) -> Objection:
        self._pending -= 1
        latency_ns = self.context.commit_latency_ns
        if latency_ns and type(event) is not NotificationSent and self.context.channels[event.channel].fallback:
            self._falling_back_ns[event.notification_id] = event.at_ns + 2 * latency_ns  # it has taken one of these
        return self._said()

    def at_end(self, now_ns: int) -> Objection:
        return self._said()
