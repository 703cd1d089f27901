"""A provider is asked, and answers: the part of the handler between an attempt that is let through and its outcome."""

from __future__ import annotations

from actors.outcomes import Outcome
from simulation.reference.channel import Way
from simulation.reference.comparing import Difference
from simulation.reference.hedging import Hedging
from simulation.reference.lane import Lane
from simulation.reference.loop import Key
from simulation.reference.notifications import TIMED_OUT, Admitted, Send
from simulation.reference.process import Process
from simulation.reference.unrecorded import Asked


class Asking(Process):
    """What is at the providers of a process."""

    ways: dict[str, Way]
    """By channel, that of its attempts to its providers."""
    hedging: Hedging

    def lane_of(self, admitted: Admitted) -> Lane:
        """Return what it has been let through by."""
        return self.ways[admitted.attempt.command.channel].lanes[admitted.lane]

    def make(self, admitted: Admitted) -> None:
        """Ask the provider."""
        lane = self.lane_of(admitted)
        if lane.config.hedging is None:
            self.ask(Send(admitted, self.now_ns))
        else:
            self.hedging.begin(lane, admitted)

    def ask(self, send: Send) -> int:
        """Ask it once; return the number of this send."""
        number = self.number_of(send)
        lane, attempt = self.lane_of(send.admitted), send.admitted.attempt
        provider, key, until_ns = lane.provider_name, attempt.idempotency_key, attempt.wanted_until_ns
        asked = Asked(self.now_ns, self.node, provider, attempt.number, key, attempt.command, until_ns)
        self.expect(asked, "{} has passed all that stands before {}", attempt.name, lane.name)
        return number

    def number_of(self, send: Send) -> int:
        """Return the number of a new send."""
        self.timeline.number_of_asked += 1
        self.asked[self.timeline.number_of_asked] = send
        return self.timeline.number_of_asked

    def on_asked(self, outcome: Outcome | None, delay_ns: int | None) -> int:
        """Return the number of the attempt that has just been made; it ends with an outcome after so long.

        None for either: that is not known yet.
        """
        number = self.timeline.number_of_asked
        send = self.asked[number]
        timeout_ns = self.lane_of(send.admitted).timeout_ns
        left_ns = timeout_ns - (self.now_ns - send.started_ns)  # copies share the time-out of the first
        if delay_ns is None or delay_ns > left_ns:  # an answer at the instant of the time-out counts
            delay_ns, outcome = left_ns, TIMED_OUT
        self.ends(number, outcome, self.now_ns + delay_ns)
        return number

    def answers_now(self, number: int, outcome: Outcome, now_ns: int) -> None:
        """Take the answer of a provider that could not be foreseen; one at the instant of the time-out counts."""
        if self.has_timed_out_at(now_ns, number):
            raise Difference(f"the answer to send {number} comes at the instant of its time-out, and it has timed out")
        send = self.asked.get(number)
        if send is not None and send.outcome is TIMED_OUT and self.key_of(number) in self.due:  # else nobody waits
            self.ends(number, outcome, now_ns)

    def ends(self, number: int, outcome: Outcome | None, instant_ns: int) -> None:
        """Have the answer to a send fall due: at the breaker, or where there may be copies at the channel."""
        self.asked[number].outcome, self.asked[number].ended_ns = outcome, instant_ns
        self.at(instant_ns, *self.key_of(number))

    def key_of(self, number: int) -> Key:
        """Return how the answer to a send falls due: at the breaker, or where there may be copies at the channel."""
        lane = self.lane_of(self.asked[number].admitted)
        return ("answer", number) if lane.config.hedging is None else ("copy", (lane.where, number))

    def take_answer(self, number: int) -> None:
        """Have the way of its channel settle an attempt that is answered."""
        send = self.end_send(number)
        way = self.ways[send.admitted.attempt.command.channel]
        if self.timeline.goes_astray is not None:
            way.follow(way.settle, send)
        else:
            way.settle(send)

    def decided(self, send: Send) -> None:
        """Let the breaker know what has come of an attempt and its copies."""
        way = self.ways[send.admitted.attempt.command.channel]
        way.follow(way.settle, send)
