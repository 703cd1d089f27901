"""The lines before the providers of a channel: which attempt waits for what, and which one goes when there is room.

A plain object with the time passed in. The actor that lets attempts go is the circuit breaker's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from actors.domain.attempts import Attempt
from actors.instants import sooner
from actors.messages import RANKS, DeferralCause
from actors.pipeline.blocked import (
    NO_ROOM,
    WAITS_FOR_BREAKER,
    Blocked,
    BlockReason,
    Reasons,
    cause_of,
    counted_as,
    is_up_to_time,
)
from actors.pipeline.lane import Lane
from actors.policies.breaker.per_host import WHOLE_LANE
from actors.policies.order import Flow, Order
from actors.policies.waiting_room import Line, WaitingCounts, WaitingRoom
from actors.settings.channel import ChannelConfig


class BeforeProviders:
    """The lines, and the lanes whose room they share.

    Args:
        report: called once for each waiting attempt, with the cause and the instant until which it waits, if known.
        takes_turns: whether lines take turns where a provider has room; else each event has every line looked at.
    """

    def __init__(
        self,
        config: ChannelConfig,
        lanes: Sequence[Lane],
        waiting: WaitingCounts,
        report: Callable[[Attempt, DeferralCause, int | None], None],
        *,
        takes_turns: bool = True,
    ) -> None:
        self._lanes = lanes
        self._waiting = waiting
        self._report = report
        self._takes_turns = takes_turns
        self.beside: Collection[str] = ()
        """The hosts at which attempts in other lines wait, and go at the same pace."""
        self._switch_after = config.switch_after
        self.is_per_host = config.circuit_breaker.per == "host"
        """Whether each host of recipients has a line, as it has a breaker."""
        self.order = Order(config.order, config.fair_by)
        self.keys_are_hosts = self.is_per_host and config.fair_by == "host"
        """Whether all of a line are of one key."""
        self.bounds_waits = any(lane.slot_wait_ns for lane in lanes)
        """Whether any provider bounds how long an attempt waits for a slot."""
        self.room: WaitingRoom[Attempt] = WaitingRoom(
            self.order,
            len(lanes),
            by_host=self.is_per_host,
            reports=True,
            keeps_instants=self.bounds_waits,
            on_empty=self._on_empty,
        )
        self.lines = self.room.lines
        """By host; none is empty."""
        self._reset_counts()

    def _reset_counts(self) -> None:
        for each in (self._waiting.quota, self._waiting.slots, self._waiting.breaker):
            each.reset()

    def stand_beside(self, hosts: Collection[str]) -> None:
        """Share the pace with attempts in other lines at these hosts; the collection is read anew each time."""
        self.beside = hosts

    def _on_empty(self, host: str) -> None:
        if host in self.beside:
            return
        for lane in self._lanes:
            lane.paces.none_waits(host)

    def clear(self, now_ns: int) -> None:
        """Forget all waiting attempts: they are sent again, at once."""
        self.room.clear()
        self._reset_counts()
        for lane in self._lanes:
            lane.paces.restart(now_ns)

    # ── whose turn it is ────────────────────────────────────────────────────────────────────────────────────────

    def key_of(self, attempt: Attempt, host: str) -> str:
        """Return the key (user, host or tenant) under which an attempt takes turns; ``""`` where there are no turns."""
        if not self.order.has_keys:
            return WHOLE_LANE
        return host if self.keys_are_hosts else self.order.key_of(attempt.command)

    def in_order(self, attempt: Attempt) -> Sequence[Lane]:
        if self._switch_after is None:
            return self._lanes
        first = (attempt.number - 1) // self._switch_after % len(self._lanes)
        return [*self._lanes[first:], *self._lanes[:first]]

    def is_before_all(self, attempt: Attempt, host: str) -> bool:
        rank, key = RANKS[attempt.command.priority], self.key_of(attempt, host)
        return not any(lane.slots.has_its_share(key) or self.room.are_before(lane.number, rank) for lane in self._lanes)

    def turn_at(self, lane: Lane, now_ns: int) -> tuple[Line[Attempt], Flow] | None:
        """Return the line and the flow whose turn it is at a lane; None: the lane has no room for any flow."""
        if not self.room.any_for_room(lane.number) or lane.room_at_ns(now_ns) != now_ns:
            return None
        flow = lane.next_turn(self.room.turns_at(lane.number))
        return None if flow is None else (self.room.line_at(lane.number, flow), flow)

    def turn_in(self, line: Line[Attempt], now_ns: int) -> Flow:
        """Return the flow of a line whose turn it is, where no lane has said so."""
        for lane in self._lanes if self.order.has_keys else ():
            if lane.room_at_ns(now_ns) == now_ns and (flow := lane.next_turn(line.turns)) is not None:
                return flow
        flow = line.turns.next()  # there is no room, or it is kept for others: the lane will say so
        assert flow is not None
        return flow

    # ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, attempt: Attempt, host: str, now_ns: int) -> Line[Attempt]:
        flow = self.order.flow_of(attempt.command)
        return self.room.join(host, flow, attempt, attempt.expires_at_ns, now_ns)

    def wait_for(self, line: Line[Attempt], blocked: Mapping[int, Blocked], reasons: Reasons, now_ns: int) -> None:
        """Record why the first attempt of a line waits, by lane, and report the attempts that have not been."""
        asks_at_ns = slot_wait_ns = None
        for lane in self._lanes:
            reason, until_ns, _ = blocked[lane.number]
            if reason in NO_ROOM and self._takes_turns:
                self.room.wait_for_room(line, lane.number)
                if reason is BlockReason.SLOT:
                    slot_wait_ns = sooner(slot_wait_ns, lane.slot_wait_ns)
                continue
            self.room.wait_for_no_room(line, lane.number)
            if reason is BlockReason.RAMP:
                until_ns = lane.paces.wait_through_ramp(line.host, now_ns)
            asks_at_ns = sooner(asks_at_ns, until_ns)
        line.count_as(counted_as(reasons, self._waiting))
        line.wait_for(
            reasons,
            asks_at_ns,
            is_up_to_time=not reasons <= WAITS_FOR_BREAKER and is_up_to_time(blocked.values()),
        )
        line.wait_for_slots(slot_wait_ns, now_ns)
        self.report(line, now_ns)
        self.room.set_wake(line)

    def is_held_by_pace(self, line: Line[Attempt], now_ns: int) -> bool:
        """Tell whether the paces of all lanes still hold a line that waits for nothing else; if so, have it wait on."""
        until_ns = None
        for lane in self._lanes:
            pace = lane.paces.running.get(line.host)
            if pace is None or pace.next_ns <= now_ns:
                return False
            until_ns = sooner(until_ns, pace.next_ns)
        self.room.ask_at(line, until_ns)
        return True

    def resumes_at_ns(self, line: Line[Attempt], now_ns: int) -> int | None:
        """Return when the first of a line may go, as far as time decides."""
        resumes_at_ns = line.asks_at_ns
        for lane in self._lanes:
            if lane.number in line.room_at:
                resumes_at_ns = sooner(resumes_at_ns, lane.room_at_ns(now_ns))
        return resumes_at_ns

    def report(self, line: Line[Attempt], now_ns: int) -> None:
        """Report the attempts of a line not reported yet, unless they wait for a slot alone."""
        if line.unreported and (cause := cause_of(line.reasons)) is not None:
            resumes_at_ns = self.resumes_at_ns(line, now_ns)
            for attempt in line.take_unreported():
                self._report(attempt, cause, resumes_at_ns)

    def next_ns(self, now_ns: int) -> int | None:
        """Return when a waiting attempt may go by time alone; None: never."""
        wake_ns = self.room.wake_ns
        for lane in self._lanes:
            if self.room.any_for_room(lane.number):
                room_at_ns = lane.room_at_ns(now_ns)
                if room_at_ns != now_ns or lane.next_turn(self.room.turns_at(lane.number)) is not None:
                    wake_ns = sooner(wake_ns, room_at_ns)
                # Else the free slots are kept for keys that have fewer; the end of an attempt brings more.
        return wake_ns
