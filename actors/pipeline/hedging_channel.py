"""The channel that hedges: where the answer is late, it sends another copy and takes the first answer that decides."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from actors.domain.attempts import UNSENT, Admitted, Provider, Unsent
from actors.kernel.actor import handles
from actors.kernel.async_handlers import failure
from actors.kernel.effects import Cancellable, Effect, Foreseen, Performed
from actors.kernel.turns import takes_turn
from actors.outcomes import Ambiguous, Outcome, Sent, Transient
from actors.pipeline.channel import Channel, ending_in_an_outcome
from actors.pipeline.lane import Lane
from actors.pipeline.wiring import Stages
from actors.policies.breaker.states import NOT_CLOSED
from actors.policies.hedging import HedgingSchedule
from actors.policies.retry.budgets import Budget
from actors.policies.retry.policy import FailureKind, failure_kind


@dataclass(slots=True, eq=False)
class _Flight:
    """One attempt and its copies, from the first send to the answer that decides.

    The flight travels in the messages about it and the actor keeps none, so a restart strands nothing: sends under way
    still end, and settle the permit, the slot and the charge that they took from breaker, bulkhead and budget.
    """

    admitted: Admitted
    started_ns: int
    deadline_ns: int
    on_timeout: Ambiguous
    """The outcome of a copy that is not answered by then."""
    incarnation: object
    """The actor's incarnation: after a restart the notification is sent again, and this flight gets no copies."""
    not_before_ns: int
    """The first instant at which the provider wants another copy."""
    failure: Transient | Ambiguous
    """The latest failure of a copy."""
    sent: int = 0
    copies: list[_Copy] = field(default_factory=list)
    """The copies whose answers are awaited."""
    timer: Cancellable | None = None
    """Sends the next copy."""
    planned: _Hedge | None = None
    """The message of the timer."""
    gets_more: bool = True
    """Whether nothing has spoken against another copy yet."""
    ambiguous: Ambiguous | None = None
    """The latest failure after which the notification may have been sent all the same."""
    is_over: bool = False


@dataclass(slots=True, eq=False)
class _Copy:
    flight: _Flight
    budget: Budget | None = None
    """The budget charged for this copy (a restarted handler makes a new one); None for the first send, which the
    handler charges."""
    charge: int = 0
    effect: Cancellable | None = None


class _Hedge(msgspec.Struct, frozen=True):
    """Time for the next copy. The garbage collector looks at it: its flight refers to the timer that brings it."""

    flight: _Flight


class HedgingChannel(Channel):
    """A channel that sends an attempt to its provider up to `max_attempts` times, a `delay` after one another.

    All copies are one attempt: they have its id, which is the provider's idempotency key, share its timeout, which runs
    from the first send, and bring one outcome. The first answer that decides (sent, or failed for good) is that
    outcome, and the other copies are cancelled; requests that the provider works on by then are still its load. After a
    failure that does not decide the next copy is sent at once, or after the ``retry_after`` that came with it. Once all
    copies have failed, the outcome is the latest failure, or the latest ambiguous one, since that may have been sent.

    An extra copy is sent only if at that instant the handler has not sent the notification again (as it does when
    another stage has crashed), the node's lease holds, the breaker is closed, the provider has not asked for a pause,
    the quota and the adaptive rate allow it, which are charged for it, and the retry budget allows it as a retry, the
    late answer counting as an ambiguous failure. Else the attempt gets no more copies. Extra copies are no attempts:
    they do not count in the lane's `in_flight`, and take no slot of its bulkhead.
    """

    def __init__(self, provider: Provider, lane: Lane, stages: Stages) -> None:
        super().__init__(provider, lane, stages)
        assert lane.config.hedging is not None
        self._lane = lane
        self._schedule = HedgingSchedule(lane.config.hedging)
        self._incarnation_mark = object()

    def on_start(self) -> None:
        super().on_start()
        assert self._stages.circuit_breaker is not None
        self._to_breaker = self.route(self._stages.circuit_breaker)

    @handles(Admitted)
    def on_admitted(self, admitted: Admitted, has_turn: bool = False) -> None:
        if self._isolation is not None and not has_turn and self._waits_for_turn(admitted):
            return
        now_ns = self.system.now_ns
        timeout_ns, on_timeout = self._time_limit(admitted.attempt)
        until_ns, mark = now_ns + timeout_ns, self._incarnation_mark
        self._send(_Copy(_Flight(admitted, now_ns, until_ns, on_timeout, mark, now_ns, on_timeout)))

    def _send(self, copy: _Copy) -> None:
        flight, now_ns = copy.flight, self.system.now_ns
        flight.sent += 1
        flight.copies.append(copy)
        left_ns = flight.deadline_ns - now_ns
        copy.effect = self.perform(self._effect(flight), copy, timeout_ns=left_ns, on_timeout=flight.on_timeout)
        self._plan(flight, self._schedule.after_send(flight.sent, now_ns))

    def _effect(self, flight: _Flight) -> Effect:
        if self._lease_holds is not None and not self._lease_holds():
            return Foreseen(0, UNSENT)
        effect: Effect
        try:
            effect = self._provider.attempt(flight.admitted.attempt, self.system.now_ns)
        except BaseException as error:
            effect = Foreseen(0, failure(error))
        return ending_in_an_outcome(effect, self._lease_holds)

    # ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────

    @handles(Performed)
    @takes_turn("copy", lambda channel, performed: (channel._place, performed))
    def on_performed(self, performed: Performed) -> None:
        copy: _Copy = performed.request
        flight, outcome = copy.flight, performed.result
        if flight.is_over:
            return  # another answer came in first while this one was on its way here
        flight.copies.remove(copy)
        copy.effect = None  # which refers to this message and so to the copy: the two would wait for the collector
        if outcome is UNSENT:
            self._settle(copy, None)
            self._not_sent(flight)
        elif isinstance(outcome, (Transient, Ambiguous)):
            self._settle(copy, False)
            self._failed(flight, outcome)
        else:
            self._settle(copy, True if type(outcome) is Sent else None)
            self._end(flight, outcome)

    def _failed(self, flight: _Flight, outcome: Transient | Ambiguous) -> None:
        self._lane.heed(outcome, self._lane.host_of(flight.admitted.attempt), self.system.now_ns)
        flight.failure, pushback = outcome, None
        if isinstance(outcome, Ambiguous):
            flight.ambiguous = outcome
        else:
            pushback = outcome.retry_after
        now_ns = self.system.now_ns
        next_ns = self._schedule.after_failure(flight.sent, now_ns, pushback)
        if next_ns is None:
            flight.gets_more = False
        else:
            flight.not_before_ns = next_ns = max(next_ns, flight.not_before_ns)
        if next_ns == now_ns:
            self._hedge(flight, failure_kind(outcome))
        else:
            self._plan(flight, next_ns)
        self._end_if_nothing_follows(flight)

    def _not_sent(self, flight: _Flight) -> None:
        """Send no more copies: the lease was over when this one was to go, or no connection became free for it."""
        flight.sent -= 1
        flight.gets_more = False
        self._plan(flight, None)
        if flight.sent == 0:
            self._end(flight, UNSENT)
        else:
            self._end_if_nothing_follows(flight)

    def _end_if_nothing_follows(self, flight: _Flight) -> None:
        if not flight.copies and flight.timer is None:
            self._end(flight, flight.failure if flight.ambiguous is None else flight.ambiguous)

    def _end(self, flight: _Flight, outcome: Outcome | Unsent) -> None:
        flight.is_over = True
        self._plan(flight, None)
        for copy in flight.copies:
            assert copy.effect is not None
            copy.effect.cancel()
            self._settle(copy, None)
        flight.copies.clear()
        admitted = flight.admitted
        has_failed = isinstance(outcome, (Transient, Ambiguous))
        if flight.sent > 1 or has_failed:
            admitted = msgspec.structs.replace(admitted, hedges=flight.sent - 1, counted=has_failed)
        self._to_breaker(
            Performed(request=admitted, result=outcome, started_ns=flight.started_ns, ended_ns=self.system.now_ns)
        )

    def _settle(self, copy: _Copy, succeeded: bool | None) -> None:
        """Tell the budget how a send has ended. Of the first send only a failure is told, and only while the handler
        waits for its attempt; the handler tells the budget the rest."""
        budget = self._stages.budget
        if copy.budget is not None:
            copy.budget.end_copy(copy.charge, succeeded, self.system.now_ns)
        elif succeeded is False and budget is not None and self._stages.is_awaited(copy.flight.admitted.attempt):
            budget.first_send_failed(self.system.now_ns)

    # ── more copies ─────────────────────────────────────────────────────────────────────────────────────────────

    def _plan(self, flight: _Flight, next_ns: int | None) -> None:
        if flight.timer is not None:
            flight.timer.cancel()
            flight.timer = flight.planned = None
        if next_ns is not None and self._may_get_more(flight, next_ns):
            flight.planned = _Hedge(flight)
            flight.timer = self.at(next_ns, flight.planned)

    def _may_get_more(self, flight: _Flight, at_ns: int) -> bool:
        return flight.gets_more and flight.incarnation is self._incarnation_mark and at_ns < flight.deadline_ns

    @handles(_Hedge)
    @takes_turn("hedge", lambda channel, hedge: (channel._place, hedge.flight))
    def on_hedge(self, message: _Hedge) -> None:
        flight = message.flight
        if flight.planned is not message:
            return  # while it was on its way here an answer came in, which has decided, or had a copy sent in its place
        flight.timer = flight.planned = None
        self._hedge(flight, "ambiguous" if flight.copies else failure_kind(flight.failure))
        self._end_if_nothing_follows(flight)

    def _hedge(self, flight: _Flight, kind: FailureKind) -> None:
        """Send one more copy now, unless something speaks against it: then none ever follows."""
        now_ns = self.system.now_ns
        copy = self._charged(flight, kind, now_ns) if self._may_get_more(flight, now_ns) else None
        if copy is None:
            flight.gets_more = False
            self._plan(flight, None)
        else:
            self._send(copy)

    def _charged(self, flight: _Flight, kind: FailureKind, now_ns: int) -> _Copy | None:
        """Return a copy, with all charged that a copy takes up; None, and nothing charged, if it may not go.

        The budget is asked last, and so not charged for a copy that something else blocks.
        """
        lane, attempt = self._lane, flight.admitted.attempt
        if not self._stages.is_awaited(attempt):
            return None
        if self._lease_holds is not None and not self._lease_holds():
            return None
        if lane.breakers.of(lane.host_of(attempt), now_ns).state in NOT_CLOSED:
            return None
        if lane.is_paused(lane.host_of(attempt), now_ns):
            return None
        if lane.rates_allow_at_ns(now_ns) != now_ns:
            return None
        budget, charge = self._stages.budget, 0
        if budget is not None:
            granted = budget.try_retry(kind, now_ns)
            if granted is None:
                return None
            charge = granted
            budget.start(charge, now_ns)
        lane.charge(now_ns)
        return _Copy(flight, budget, charge)
