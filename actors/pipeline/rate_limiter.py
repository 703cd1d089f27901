"""The rate limiter of one channel: how many notifications each user gets."""

from __future__ import annotations

from typing import Any

from actors.domain.attempts import EXPIRED, RATE_LIMIT_EXCEEDED, Attempt
from actors.kernel.actor import ActorRef, handles
from actors.messages import NotificationChannel
from actors.pipeline.keyed_lines import KeyedStage
from actors.pipeline.stage import is_too_late
from actors.pipeline.wiring import Stages
from actors.policies.rate_limit.limiter import make_limiter
from actors.settings.channel import RateLimitConfig


class RateLimiterActor(KeyedStage):
    """Passes attempts on, at no more than each user's limit allows.

    A notification is counted once, when its first attempt passes here; so its retries pass at once, and what then waits
    for an open breaker or the channel's quota has been counted already. The attempts of one user go in the order of the
    channel, by class and then as they came.
    """

    is_charged_here = False

    def __init__(self, channel: NotificationChannel, config: RateLimitConfig, stages: Stages) -> None:
        super().__init__(channel, stages, stages.waiting.users)
        self._drops = config.on_limit == "drop"
        if stages.limiter is None:
            stages.limiter = make_limiter(config)
        self._try_acquire = stages.limiter.try_acquire

    def _following(self) -> ActorRef[Any] | None:
        return self._stages.tenant_bounds or self._stages.circuit_breaker

    @handles(Attempt)
    def on_attempt(self, attempt: Attempt) -> None:
        if attempt.charged:
            self._to_next(attempt)
            return
        command = attempt.command
        user = command.recipient if command.user_id is None else command.user_id
        now_ns = self.system.now_ns
        line = self._lines.get(user)
        fits_at_ns = self._try_acquire(user, now_ns) if line is None else max(line.fits_at_ns or 0, now_ns + 1)
        if fits_at_ns == now_ns:
            self._to_next(attempt)
        elif self._drops:
            self._reject(attempt, RATE_LIMIT_EXCEEDED)
        elif is_too_late(attempt, fits_at_ns):
            self._reject(attempt, EXPIRED)
        else:
            self._join(self._new_line(user, fits_at_ns) if line is None else line, attempt, user, fits_at_ns)

    def _key_of(self, attempt: Attempt) -> str:
        return attempt.command.user

    def _try_pass(self, attempt: Attempt, key: str) -> int:
        return self._try_acquire(key, self.now_ns)
