"""The lines of users, or of tenants: each has a bound of its own, and who may not pass yet waits behind no one else."""

from __future__ import annotations

from collections.abc import Callable

from actors.domain.attempts import EXPIRED, RATE_LIMIT_EXCEEDED, Attempt, is_too_late
from actors.messages import DeferralCause
from actors.pipeline.stage import Stage
from actors.policies.order import Order
from actors.policies.waiting_room import Line, Waiting, WaitingRoom
from actors.settings.channel import ChannelConfig


class KeyedLines:
    """Lets attempts pass, of each key as many as its bound allows; attempts of one key go in the channel's order.

    Args:
        fits: takes an attempt, its key and the instant. Counts the attempt if it fits now, and returns now, or else
            the instant from which it may fit; None: as soon as another attempt of the key has left.
        pass_on: takes an attempt that has waited and been counted, and its key.
        drops: whether an attempt that does not fit is dead-lettered.
    """

    def __init__(
        self,
        stage: Stage,
        config: ChannelConfig,
        waiting: Waiting,
        fits: Callable[[Attempt, str, int], int | None],
        pass_on: Callable[[Attempt, str], None],
        *,
        drops: bool = False,
    ) -> None:
        self._stage = stage
        self.room: WaitingRoom[Attempt] = WaitingRoom(Order(config.order, config.fair_by), counted_as=waiting)
        self._waiting = waiting
        self._fits = fits
        self._pass_on = pass_on
        self._drops = drops
        waiting.reset()

    def enter(self, attempt: Attempt, key: str, now_ns: int) -> bool:
        """Let an attempt pass, wait or end; return whether it passes."""
        line = self.room.lines.get(key)
        if line is not None:
            fits_at_ns = None if line.asks_at_ns is None else max(line.asks_at_ns, now_ns + 1)
        elif (fits_at_ns := self._fits(attempt, key, now_ns)) == now_ns:
            return True
        if self._drops:
            self._stage.reject(attempt, RATE_LIMIT_EXCEEDED)
        elif is_too_late(attempt, fits_at_ns):
            self._stage.reject(attempt, EXPIRED)
        else:
            self.wait(attempt, key, fits_at_ns)
        return False

    def wait(self, attempt: Attempt, key: str, fits_at_ns: int | None) -> None:
        """Let an attempt wait behind the others of its key; `fits_at_ns` as `fits` returns it."""
        is_first = key not in self.room.lines
        flow = self.room.order.flow_of(attempt.command)
        line = self.room.join(key, flow, attempt, attempt.expires_at_ns, self._stage.now_ns)
        if is_first:
            self.room.ask_at(line, fits_at_ns)
        self._stage.set_timer()
        if fits_at_ns is not None:
            self._stage.publish_deferred(attempt, DeferralCause.RATE_LIMIT, fits_at_ns)

    def has_room(self, key: str) -> None:
        """Let the attempts of a key go that fit now that another attempt of the key has left."""
        line = self.room.lines.get(key)
        if line is not None and line.asks_at_ns is None:
            self._release(line)

    def advance(self) -> None:
        """End the expired attempts, and let others go that fit by now."""
        now_ns = self._stage.now_ns
        for _, _, attempt in self.room.expired(now_ns):
            self._stage.reject(attempt, EXPIRED)
        for _, key in self.room.due(now_ns):
            if (line := self.room.lines.get(key)) is not None:
                self._release(line)

    def clear(self) -> None:
        self.room.clear()
        self._waiting.reset()

    def _release(self, line: Line[Attempt]) -> None:
        now_ns = self._stage.now_ns
        while line.size:
            flow = line.turns.next()
            assert flow is not None
            first = line.queue(flow).first
            if self._stage.sends_back(first):
                self.room.take(line, flow, goes=False)
            elif (fits_at_ns := self._fits(first, line.host, now_ns)) == now_ns:
                self.room.take(line, flow, goes=True)
                self._pass_on(first, line.host)
            else:
                self.room.ask_at(line, fits_at_ns)
                return
