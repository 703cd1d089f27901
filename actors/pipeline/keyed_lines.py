"""The base of the stages that bound each user or tenant by itself: a line for each, and who may go when."""

from __future__ import annotations

import heapq
from typing import Any

from actors.domain.attempts import EXPIRED, Attempt, FlushQueue, Requeued
from actors.kernel.actor import ActorRef, handles
from actors.messages import DeferralCause, NotificationChannel
from actors.pipeline.orders import Withdraw
from actors.pipeline.stage import Stage
from actors.pipeline.waiting_line import Waiting, WaitingLine
from actors.pipeline.wiring import Stages
from actors.policies.order import Order


class KeyedLine(WaitingLine):
    """The waiting attempts of one key, and the instant at which the first of them may fit."""

    reports = False

    def __init__(self, waiting: Waiting, order: Order) -> None:
        super().__init__(waiting, order)
        self.fits_at_ns: int | None = None
        """None: when one that is on its way has left."""


class KeyedStage(Stage):
    """Passes attempts on, of each key no more than its bounds allow; those of one key go in the order of the channel.

    What waits here is behind no one but its own key.
    """

    def __init__(self, channel: NotificationChannel, stages: Stages, waiting: Waiting) -> None:
        """Begin without any that wait.

        Args:
            channel: of the stage.
            stages: its channel's.
            waiting: counts those that wait here.
        """
        super().__init__(channel, stages)
        config = stages.lanes[0].config
        self._order = Order(config.order, config.fair_by)
        self._waiting = waiting
        self._lines: dict[str, KeyedLine] = {}
        """By key; none is empty."""
        self._wakes: list[tuple[int, str]] = []
        waiting.reset()

    def on_start(self) -> None:
        super().on_start()
        following = self._following()
        assert following is not None
        self._to_next = self.route(following)

    def _following(self) -> ActorRef[Any] | None:
        """Return the next stage."""
        return self._stages.circuit_breaker

    def _try_pass(self, attempt: Attempt, key: str) -> int | None:
        """Count one of a key under its bounds if it may go now; return now, or from when on it may, None: unknown."""
        raise NotImplementedError

    def _key_of(self, attempt: Attempt) -> str:
        """Return whose line an attempt would wait in."""
        raise NotImplementedError

    def _pass_on(self, attempt: Attempt, key: str) -> None:
        """Hand an attempt on that has been counted."""
        self._to_next(attempt)

    @handles(FlushQueue)
    def on_flush_queue(self, flush: FlushQueue) -> None:
        self._lines.clear()
        self._waiting.reset()
        self._wakes.clear()
        self._set_timer()
        self._to_next(flush)

    @handles(Withdraw)
    def on_withdraw(self, withdraw: Withdraw) -> None:
        rest = self._take_out(withdraw, self._lines, self._key_of)
        if rest is not None:
            self._to_next(rest)

    def _has_fewer(self, line: KeyedLine, key: str) -> None:
        if not line.size:
            del self._lines[key]

    def _advance(self) -> None:
        now_ns = self.now_ns
        while self._wakes and self._wakes[0][0] <= now_ns:
            key = heapq.heappop(self._wakes)[1]
            line = self._lines.get(key)
            if line is not None:
                self._release(line, key)
        self._set_timer()

    def _release(self, line: KeyedLine, key: str) -> None:
        """Let those of a key go that may go now."""
        now_ns = self.now_ns
        for attempt in line.expired(now_ns):
            self._left(attempt)
            self._reject(attempt, EXPIRED)
        is_wanted = self._stages.is_wanted
        while line.size and line.fits_at_ns is not None and line.fits_at_ns <= now_ns:
            if is_wanted is not None and not is_wanted(line.first().command):
                self._to_handler(Requeued(attempt=self._pop(line, uses_turn=False), charged=self.is_charged_here))
                continue
            fits_at_ns = self._try_pass(line.first(), key)
            if fits_at_ns != now_ns:
                self._let_wait(line, key, fits_at_ns)
                break
            self._pass_on(self._pop(line), key)
        if not line.size:
            del self._lines[key]

    def _pop(self, line: KeyedLine, *, uses_turn: bool = True) -> Attempt:
        attempt = line.pop(uses_turn=uses_turn)
        self._left(attempt)
        return attempt

    def _new_line(self, key: str, fits_at_ns: int | None) -> KeyedLine:
        """Return a new line of a key that has none, in which the first has to wait until then."""
        line = self._lines[key] = KeyedLine(self._waiting, self._order)
        self._let_wait(line, key, fits_at_ns)
        return line

    def _let_wait(self, line: KeyedLine, key: str, fits_at_ns: int | None) -> None:
        line.fits_at_ns = fits_at_ns
        if fits_at_ns is not None:
            heapq.heappush(self._wakes, (fits_at_ns, key))

    def _join(self, line: KeyedLine, attempt: Attempt, key: str, fits_at_ns: int | None) -> None:
        """Let an attempt wait behind those of its line."""
        line.append(attempt, self.now_ns)
        if attempt.expires_at_ns is not None:
            heapq.heappush(self._wakes, (attempt.expires_at_ns + 1, key))
        self._set_timer()
        if fits_at_ns is not None:
            self._publish_deferred(attempt, DeferralCause.RATE_LIMIT, fits_at_ns)

    def _set_timer(self) -> None:
        self._wake_at(self._wakes[0][0] if self._wakes else None)
