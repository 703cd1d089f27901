"""Nothing is lost: what is accepted has ended or is in flight, whatever crashes. And what comes again is ignored."""

from __future__ import annotations

from collections.abc import Iterable

from actors.messages import ActorFailed, NodeTookOver, NotificationDeferred, NotificationEvent, NotificationFailed
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.recount import PENDING


class Conservation(Invariant):
    """Accepted = sent + dead-lettered + suppressed + in flight, at every instant.

    What is in flight is counted twice, by the history and by the pipeline.
    """

    name = "conservation"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._in_flight = 0

    @observes(*PENDING)
    def on_change(self, event: NotificationEvent) -> Objection:
        self._in_flight += PENDING[type(event)]
        count_in_flight = self.context.in_flight_now
        if count_in_flight is None or (in_pipeline := count_in_flight()) == self._in_flight:
            return None
        return not_conserved(self._in_flight, in_pipeline)


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

    @observes(*PENDING, NotificationDeferred, NotificationFailed)
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
