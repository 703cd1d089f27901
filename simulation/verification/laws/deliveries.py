"""The lifecycle of a notification: none is lost, whatever crashes; each step is a valid one; and no user gets it twice,
or after its end."""

from __future__ import annotations

from collections.abc import Iterable

from actors.formatting import seconds_text
from actors.messages import (
    ActorFailed,
    DeadLetterDiscarded,
    NodeTookOver,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
)
from actors.outcomes import DeadDestination, Permanent
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import NEXT, STEPS, Lifecycle, State
from simulation.verification.laws.liveness import most_attempts
from simulation.verification.laws.observations import AttemptMade
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


_OVER = frozenset({State.SENT, State.SUPPRESSED, State.DISCARDED})
_ENDED = _OVER | {State.DEAD}
_FOR_GOOD = frozenset({Permanent.__name__, DeadDestination.__name__})


class LegalSteps(Invariant):
    """A notification is accepted, fails or waits any number of times, and ends once: as sent, dead-lettered or
    suppressed. Only what is dead-lettered can be redriven or discarded; and what has ended is accepted anew only when
    its id has been forgotten.

    Until all is settled after a crash, a stage may say of an attempt that it waits which the handler has let go of. And
    where nodes share a store, one may redrive or discard a letter whose death is durable, and not recorded yet, as the
    handler of its own node is down.
    """

    name = "legal-steps"

    @observes(*STEPS)
    def on_step(self, event: NotificationEvent) -> Objection:
        lifecycles, kind = self.context.lifecycles, type(event)
        lifecycle = lifecycles.get(event.notification_id)
        state = State.UNKNOWN if lifecycle is None else lifecycle.state
        if kind not in NEXT[state]:
            if kind is NotificationDeferred and not lifecycles.is_settled(event.at_ns):
                return None
            if lifecycle is None and lifecycles.forgotten and kind in (NotificationRedriven, DeadLetterDiscarded):
                return None
            if lifecycle is not None and self._is_recorded_late(event, lifecycle):
                return None
            return f"{event.notification_id} is {state}, and that is followed by no {kind.__name__}"
        if lifecycle is not None and state in _OVER:
            ended_ago_ns = event.at_ns - lifecycle.state_since_ns
            known_for_ns = ended_ago_ns + self.context.learnt_after_ns
            if known_for_ns < self.context.remember_ids_ns and not self.context.steps_the_clock:
                return f"{event.notification_id} is accepted again {seconds_text(ended_ago_ns)} after it was {state}"
        return None

    def _is_recorded_late(self, event: NotificationEvent, lifecycle: Lifecycle) -> bool:
        """Tell whether the event is the death of a letter that another node has taken, or that node's action on it."""
        if type(event) is NotificationMovedToDeadLetter:
            return lifecycle.owes_death
        is_of_letter, is_in_flight = type(event) in NEXT[State.DEAD], lifecycle.state is State.IN_FLIGHT
        is_unsettled = not self.context.lifecycles.is_settled(event.at_ns)
        return self.context.nodes > 1 and is_of_letter and is_in_flight and is_unsettled


class RetryLimits(Invariant):
    """No notification is tried more often than the retry settings of its channel allow, and none that has failed for
    good is tried again."""

    name = "retry-limits"
    settings = ("retry.max_attempts",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._most = {channel: most_attempts(config.retry) for channel, config in context.channels.items()}

    @observes(NotificationFailed)
    def on_failure(self, failed: NotificationFailed) -> Objection:
        most = self._most.get(failed.channel, failed.attempt)
        if failed.attempt > most:
            return f"attempt {failed.attempt} of {failed.notification_id} is made, of at most {most:g}"
        if failed.next_retry_at_ns is not None and failed.kind in _FOR_GOOD:
            return f"{failed.notification_id} failed for good ({failed.kind}) and is to be tried again"
        return None


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


class ReachedOnce(Invariant):
    """No one is reached twice through a redrive, by a notification and by its fallback.

    What is redriven has no fallback that was sent or is under way, nor is it one of what was or is; and of a request
    one notification is sent. Unless an operator has asked for it: then it may be two, of those that are under way at
    once. Nothing falls back of which one was sent.
    """

    name = "reached-once"
    settings = ("fallback",)
    needs = ("fallback",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._requests: dict[str, list[str]] = {}
        """The notifications of each request in which something has fallen back, by each of them."""
        self._wanted_twice: set[str] = set()

    @observes(NotificationRequested)
    def on_requested(self, requested: NotificationRequested) -> Objection:
        if requested.instead_of is not None:
            for other, state in self._others(requested.instead_of):
                if state is State.SENT:
                    return f"{requested.instead_of} falls back, and {other} of the same request is sent"
        # Its id may have come before, and have been forgotten: then it leaves the request of the earlier one.
        earlier = self._requests.pop(requested.notification_id, [])
        if requested.notification_id in earlier:
            earlier.remove(requested.notification_id)
        if requested.instead_of is not None:
            request = self._requests.setdefault(requested.instead_of, [requested.instead_of])
            request.append(requested.notification_id)
            self._requests[requested.notification_id] = request
            if requested.instead_of in self._wanted_twice:
                self._wanted_twice.add(requested.notification_id)
        return None

    @observes(NotificationRedriven)
    def on_redriven(self, redriven: NotificationRedriven) -> Objection:
        if redriven.include_served:
            self._wanted_twice.update(self._requests.get(redriven.notification_id, ()))
            return None
        for other, state in self._others(redriven.notification_id):
            if state in (State.IN_FLIGHT, State.SENT):
                return f"{redriven.notification_id} is redriven, and {other} of the same request is {state}"
        return None

    @observes(NotificationSent)
    def on_sent(self, sent: NotificationSent) -> Objection:
        if sent.notification_id in self._wanted_twice:
            return None
        for other, state in self._others(sent.notification_id):
            if state is State.SENT:
                return f"{sent.notification_id} is sent, and so was {other} of the same request"
        return None

    def _others(self, notification_id: str) -> list[tuple[str, State]]:
        others = [each for each in self._requests.get(notification_id, ()) if each != notification_id]
        known = [(each, self.context.lifecycles.get(each)) for each in others]
        return [(each, lifecycle.state) for each, lifecycle in known if lifecycle is not None]
