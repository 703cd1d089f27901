"""The rate limiter of one channel: how many notifications each user gets."""

from __future__ import annotations

import heapq

from actors.domain.attempts import EXPIRED, RATE_LIMIT_EXCEEDED, Attempt, FlushQueue, Requeued
from actors.kernel.actor import handles
from actors.messages import DeferralCause, NotificationChannel
from actors.pipeline.stage import Stage
from actors.pipeline.waiting_line import WaitingLine
from actors.pipeline.wiring import Stages
from actors.policies.order import Order
from actors.policies.rate_limit.limiter import make_limiter
from actors.settings.channel import RateLimitConfig


class _UserLine(WaitingLine):
    """The waiting attempts of one user, and the instant at which the first of them may fit."""

    reports = False
    fits_at_ns = 0


class RateLimiterActor(Stage):
    """Passes attempts on to the circuit breaker, at no more than each user's limit allows.

    A notification is counted once, when its first attempt passes here; so its retries pass at once, and what then waits
    for an open breaker or the channel's quota has been counted already. The attempts of one user go in the order of the
    channel, by class and then as they came.
    """

    def __init__(self, channel: NotificationChannel, config: RateLimitConfig, stages: Stages) -> None:
        super().__init__(channel, stages)
        self._drops = config.on_limit == "drop"
        if stages.limiter is None:
            stages.limiter = make_limiter(config)
        self._try_acquire = stages.limiter.try_acquire
        self._lines: dict[str, _UserLine] = {}
        """By user; none is empty."""
        self._wakes: list[tuple[int, str]] = []
        settings = stages.lanes[0].config
        self._order = Order(settings.order, settings.fair_by)
        stages.waiting.users.reset()

    def on_start(self) -> None:
        super().on_start()
        following = self._stages.tenant_bounds or self._stages.circuit_breaker
        assert following is not None
        self._to_breaker = self.route(following)

    @handles(Attempt)
    def on_attempt(self, attempt: Attempt) -> None:
        if attempt.charged:
            self._to_breaker(attempt)
            return
        command = attempt.command
        user = command.recipient if command.user_id is None else command.user_id
        now_ns = self.system.now_ns
        line = self._lines.get(user)
        fits_at_ns = self._try_acquire(user, now_ns) if line is None else max(line.fits_at_ns, now_ns + 1)
        if fits_at_ns == now_ns:
            self._to_breaker(attempt)
        elif self._drops:
            self._reject(attempt, RATE_LIMIT_EXCEEDED)
        elif attempt.expires_at_ns is not None and fits_at_ns > attempt.expires_at_ns:
            self._reject(attempt, EXPIRED)
        else:
            self._wait(attempt, user, fits_at_ns)

    @handles(FlushQueue)
    def on_flush_queue(self, flush: FlushQueue) -> None:
        self._lines.clear()
        self._stages.waiting.users.reset()
        self._wakes.clear()
        self._set_timer()
        self._to_breaker(flush)

    def _advance(self) -> None:
        now_ns = self.now_ns
        while self._wakes and self._wakes[0][0] <= now_ns:
            user = heapq.heappop(self._wakes)[1]
            line = self._lines.get(user)
            if line is None:
                continue
            for attempt in line.expired(now_ns):
                self._reject(attempt, EXPIRED)
            is_wanted = self._stages.is_wanted
            while line.size and line.fits_at_ns <= now_ns:
                if is_wanted is not None and not is_wanted(line.first().command):
                    self._to_handler(Requeued(attempt=line.pop(), charged=False))
                    continue
                line.fits_at_ns = self._try_acquire(user, now_ns)
                if line.fits_at_ns == now_ns:
                    self._to_breaker(line.pop())
                else:
                    heapq.heappush(self._wakes, (line.fits_at_ns, user))
            if not line.size:
                del self._lines[user]
        self._set_timer()

    def _wait(self, attempt: Attempt, user: str, fits_at_ns: int) -> None:
        line = self._lines.get(user)
        if line is None:
            line = self._lines[user] = _UserLine(self._stages.waiting.users, self._order)
            line.fits_at_ns = fits_at_ns
            heapq.heappush(self._wakes, (fits_at_ns, user))
        line.append(attempt, self.system.now_ns)
        if attempt.expires_at_ns is not None:
            heapq.heappush(self._wakes, (attempt.expires_at_ns + 1, user))
        self._set_timer()
        self._publish_deferred(attempt, DeferralCause.RATE_LIMIT, fits_at_ns)

    def _set_timer(self) -> None:
        self._wake_at(self._wakes[0][0] if self._wakes else None)
