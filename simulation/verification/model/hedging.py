"""Hedging: where the answer is late an attempt is sent once more, and the first answer that decides is its outcome.

After "The Tail at Scale" (Dean and Barroso, 2013) and gRPC's proposal A6. All copies are one attempt: they have one
number, one key, one time-out from the first send on, one slot, and one outcome that the breaker learns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from actors.outcomes import Ambiguous, Outcome, Transient
from actors.settings.adaptive import HedgingConfig
from simulation.verification.model.budgets import Budget
from simulation.verification.model.comparing import Difference
from simulation.verification.model.instants import wait_ns
from simulation.verification.model.lane import Lane
from simulation.verification.model.notifications import TIMED_OUT, Admitted, Send
from simulation.verification.model.process import Process

SENDS_AT_MOST = 5
"""More are taken as this many, as in gRPC."""


@dataclass(eq=False)
class Flight:
    """An attempt with its copies, from the first send to the answer that decides."""

    lane: Lane
    config: HedgingConfig
    admitted: Admitted
    number: int
    """The number of the first send."""
    started_ns: int
    cut_ns: int | None
    sent: int = 0
    out: dict[int, tuple[Budget | None, int]] = field(default_factory=dict)
    """By number, those whose answers are awaited: the budget that each was charged to, and how much. The first is
    charged by the handler."""
    planned_ns: int | None = None
    not_before_ns: int = 0
    """The provider wants no copy before."""
    gets_more: bool = True
    """Whether nothing has spoken against another copy yet."""
    failures: list[Transient | Ambiguous] = field(default_factory=list)

    @property
    def is_sent_out(self) -> bool:
        """Whether there is to be no further copy."""
        return self.sent >= min(self.config.max_attempts, SENDS_AT_MOST)

    def may_get_more(self, at_ns: int) -> bool:
        """Tell whether a copy may go then, as far as is known now."""
        is_cut = self.cut_ns is not None and at_ns >= self.cut_ns
        return self.gets_more and not is_cut and at_ns < self.started_ns + self.lane.timeout_ns


class Hedging:
    """The copies of hedged attempts at one process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.flights: dict[int, Flight] = {}
        self._of: dict[int, Flight] = {}
        """By the number of each send whose answer is awaited."""

    def begin(self, lane: Lane, config: HedgingConfig, admitted: Admitted, cut_ns: int | None) -> None:
        number = self.process.timeline.number_of_asked + 1
        flight = Flight(lane, config, admitted, number, self.process.now_ns, cut_ns)
        self.flights[number] = flight
        self._send(flight, None, 0)

    def stop_copies(self, where: str) -> None:
        """A channel that starts again leaves it at what is out: the handler sends all of it again."""
        for flight in self.flights.values():
            flight.gets_more &= flight.lane.where != where

    def _send(self, flight: Flight, budget: Budget | None, charge: int) -> None:
        """Send once: a `delay` after one another, at most `max_attempts` times, and within one time-out."""
        number = self.process.ask(Send(flight.admitted, flight.started_ns, cut_ns=flight.cut_ns))
        flight.sent += 1
        flight.out[number] = budget, charge
        self._of[number] = flight
        self._plan(flight, None if flight.is_sent_out else self.process.now_ns + wait_ns(flight.config.delay))

    # ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────

    def answered(self, number: int) -> None:
        """Take the first answer that decides (sent, or failed for good) as the outcome, and cancel the others.

        One that comes behind it was in the mailbox of a channel that was down.
        """
        flight = self._of.pop(number, None)
        if flight is None:
            return
        if ("copy", (flight.lane.where, number)) in self.process.due:
            raise Difference(f"the answer to send {number} comes before its time")
        outcome = self.process.end_send(number).outcome
        budget, charge = flight.out.pop(number)
        if outcome is None:  # it was not made, and so no other
            self._end(flight, None)
            return
        if budget is not None:
            budget.end_copy(charge, outcome, self.process.now_ns)
        elif isinstance(outcome, (Transient, Ambiguous)) and self._is_awaited(flight):
            self.process.budgets[flight.admitted.attempt.command.channel].first_send_failed(self.process.now_ns)
        if isinstance(outcome, (Transient, Ambiguous)):
            self._failed(flight, outcome)
        else:
            self._end(flight, outcome)

    def _failed(self, flight: Flight, outcome: Transient | Ambiguous) -> None:
        """Have the next copy go at once after a failure that does not decide, or after the `retry_after` with it: none
        where that is nonsense, and none before what any of them has asked for."""
        flight.failures.append(outcome)
        flight.lane.heed(flight.admitted.attempt, outcome)
        hint = outcome.retry_after if isinstance(outcome, Transient) else None
        now_ns = self.process.now_ns
        if flight.is_sent_out or (hint is not None and not 0 <= hint < math.inf):
            flight.gets_more = False
            self._plan(flight, None)
        else:
            next_ns = flight.not_before_ns = max(now_ns + wait_ns(hint or 0), flight.not_before_ns)
            if next_ns == now_ns:
                self._hedge(flight, outcome)
            else:
                self._plan(flight, next_ns)
        self._end_if_nothing_follows(flight)

    def _is_awaited(self, flight: Flight) -> bool:
        return self.process.notification_of(flight.admitted.attempt) is not None

    def _end_if_nothing_follows(self, flight: Flight) -> None:
        """Once all have failed, the outcome is the latest failure, or the latest ambiguous one: it may be sent."""
        if not flight.out and flight.planned_ns is None:
            ambiguous = [each for each in flight.failures if isinstance(each, Ambiguous)]
            self._end(flight, (ambiguous or flight.failures)[-1])

    def _end(self, flight: Flight, outcome: Outcome | None) -> None:
        now_ns = self.process.now_ns
        self._plan(flight, None)
        for number, (budget, charge) in flight.out.items():
            self.process.due.pop(("copy", (flight.lane.where, number)), None)
            self.process.asked.pop(number)
            self._of.pop(number)
            if budget is not None:
                budget.end_copy(charge, None, now_ns)
        del self.flights[flight.number]
        self.process.decided(Send(flight.admitted, flight.started_ns, now_ns, outcome, flight.sent - 1))

    # ── more copies ─────────────────────────────────────────────────────────────────────────────────────────────

    def _plan(self, flight: Flight, next_ns: int | None) -> None:
        flight.planned_ns = next_ns if next_ns is not None and flight.may_get_more(next_ns) else None
        self.process.wake("hedge", (flight.lane.where, flight.number), flight.planned_ns)

    def look(self, number: int) -> None:
        """Send the copy that is planned for now, if it still is."""
        flight = self.flights.get(number)
        if flight is None or flight.planned_ns is None or flight.planned_ns > self.process.now_ns:
            return
        flight.planned_ns = None
        self._hedge(flight, TIMED_OUT if flight.out else flight.failures[-1])
        self._end_if_nothing_follows(flight)

    def _hedge(self, flight: Flight, after: Transient | Ambiguous) -> None:
        """Send one more copy now, or never.

        It goes only if the handler waits for it and has sent none in its place, the breaker is not open or half-open by
        then, the quota and the adaptive rate have room, and the retry budget allows a retry after such a failure (a
        late answer is an ambiguous one), and the node has a lease. It takes up what a retry would, but for a slot.
        """
        now_ns, lane, attempt = self.process.now_ns, flight.lane, flight.admitted.attempt
        budget = self.process.budgets[attempt.command.channel]
        charge = None
        is_meant = flight.may_get_more(now_ns) and self._is_awaited(flight) and self.process.has_lease()
        if is_meant and lane.lets_copy_go(attempt):
            charge = budget.ask(after, now_ns)
        if charge is None:
            flight.gets_more = False
            self._plan(flight, None)
            return
        budget.begin(charge, now_ns)
        lane.charge_rates()
        self._send(flight, budget, charge)
