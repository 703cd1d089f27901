"""Nothing is lost: what is accepted has ended or is in flight, whatever crashes. And what comes again is ignored."""

from __future__ import annotations

from collections.abc import Iterable

from actors.formatting import seconds_text
from actors.messages import (
    ActorFailed,
    DuplicateIgnored,
    NodeTookOver,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import State

CHANGE_OF_IN_FLIGHT: dict[type[NotificationEvent], int] = {
    NotificationRequested: 1,
    NotificationRedriven: 1,
    NotificationSent: -1,
    NotificationSuppressed: -1,
    NotificationMovedToDeadLetter: -1,
}


class Conservation(Invariant):
    """Accepted = sent + dead-lettered + suppressed + in flight, at every instant.

    What is in flight is counted twice, by the history and by the pipeline.
    """

    name = "conservation"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._in_flight = 0

    @observes(*CHANGE_OF_IN_FLIGHT)
    def on_change(self, event: NotificationEvent) -> Objection:
        self._in_flight += CHANGE_OF_IN_FLIGHT[type(event)]
        in_flight_now = self.context.in_flight_now
        if in_flight_now is None or in_flight_now() == self._in_flight:
            return None
        return not_conserved(self._in_flight, in_flight_now())


class NothingLost(Invariant):
    """Across the crash of an actor no notification is lost: what was in flight before is in flight after.

    Where `conservation` counts, this goes by the id of each, after each crash and at the end.
    """

    name = "nothing-lost"
    of_one_process = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._looks_at_ns: int | None = None
        """When all that has crashed runs again; None while nothing has."""

    @observes(ActorFailed)
    def on_crash(self, crash: ActorFailed) -> None:
        self._looks_at_ns = crash.at_ns + self.context.restarted_within_ns

    @observes(NodeTookOver)
    def on_takeover(self, takeover: NodeTookOver) -> None:
        if self._looks_at_ns is not None:  # what is taken over lies in the mailbox of the handler at this instant
            self._looks_at_ns = max(self._looks_at_ns, takeover.at_ns + 1)

    @observes(*CHANGE_OF_IN_FLIGHT, NotificationDeferred, NotificationFailed)
    def on_event(self, event: NotificationEvent) -> Objection:
        if self._looks_at_ns is None or event.at_ns < self._looks_at_ns:
            return None
        self._looks_at_ns = None
        return self._look(event.notification_id, "after a crash")

    def at_end(self, now_ns: int) -> Objection:
        return self._look(None, "at the end of the run")

    def _look(self, but: str | None, when: str) -> Objection:
        """Look for one that is gone; `but` is one to which something is just happening."""
        pipeline = self.context.pipeline()
        if pipeline is None:
            return None
        deliveries = pipeline.handler.actor.deliveries
        lost = [each for each in self.context.lifecycles.in_flight() if each != but and not deliveries.has(each)]
        if not lost:
            return None
        return Finding(f"{when}, the pipeline knows nothing of {_some(lost)}, accepted and not ended", lost[0])


def not_conserved(by_history: int, in_flight: int) -> str:
    return (
        f"accepted - sent - dead-lettered - suppressed is {by_history} by the history, but {in_flight} are in flight "
        "in the pipeline"
    )


def _some(ids: Iterable[str]) -> str:
    named = list(ids)
    return ", ".join(named[:3]) + (f" and {len(named) - 3} others" if len(named) > 3 else "")


_ENDED = frozenset({State.SENT, State.SUPPRESSED, State.DISCARDED})


class Ids(Invariant):
    """What is ignored as a duplicate is in flight, is a dead letter, or has ended no longer ago than ids are
    remembered."""

    name = "ids"
    settings = ("remember_ids",)

    @classmethod
    def applies(cls, context: Context) -> bool:
        return not context.steps_the_clock  # ids are remembered by the calendar

    @observes(DuplicateIgnored)
    def on_duplicate(self, duplicate: DuplicateIgnored) -> Objection:
        lifecycles = self.context.lifecycles
        lifecycle = lifecycles.get(duplicate.notification_id)
        if lifecycle is None:
            if lifecycles.forgotten or self.context.mixes_messages_up or self._is_being_accepted(duplicate):
                return None
            return f"{duplicate.notification_id} is ignored, and was never accepted"
        ended_ago_ns = duplicate.at_ns - lifecycle.state_since_ns
        forgotten_after_ns = self.context.remember_ids_ns + self.context.learnt_after_ns
        if lifecycle.state not in _ENDED or ended_ago_ns < forgotten_after_ns:
            return None
        if self._is_being_accepted(duplicate):
            return None  # a second time: its id had been forgotten
        return (
            f"{duplicate.notification_id} is still ignored {seconds_text(ended_ago_ns)} after it was {lifecycle.state}"
        )

    def _is_being_accepted(self, duplicate: DuplicateIgnored) -> bool:
        """Tell whether the acceptance of an earlier one is on its way into the store, at whichever node."""
        context, name = self.context, duplicate.notification_id
        if context.nodes == 1:
            pipelines = [context.pipeline()]
        else:
            pipelines = [context.pipeline_of(number) for number in range(1, context.nodes + 1)]
        return any(each is not None and each.handler.actor.deliveries.has(name) for each in pipelines)
