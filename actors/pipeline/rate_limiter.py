"""The rate limiter of one channel: how many notifications each user gets."""

from __future__ import annotations

from actors.domain.attempts import Attempt, FlushQueue
from actors.kernel.actor import handles
from actors.messages import NotificationChannel
from actors.pipeline.keyed_lines import KeyedLines
from actors.pipeline.orders import Withdraw
from actors.pipeline.stage import Stage
from actors.pipeline.wiring import Stages
from actors.settings.channel import RateLimitConfig


class RateLimiterActor(Stage):
    """Passes attempts on, at no more than each user's limit allows.

    A notification is counted once, when its first attempt passes here; so its retries pass at once, and an attempt that
    then waits for an open breaker or the channel's quota has been counted already. If a stage or the handler crashes
    while the first attempt is under way, the notification is counted once more, as nothing tells whether the attempt
    had passed. The attempts of one user go in the order of the channel, by class and then as they came.
    """

    is_charged_here = False

    _stands_at = "limiter"

    def __init__(self, channel: NotificationChannel, config: RateLimitConfig, stages: Stages) -> None:
        super().__init__(channel, stages)
        assert stages.limiter is not None
        try_acquire = stages.limiter.try_acquire
        self._lines = KeyedLines(
            self,
            stages.lanes[0].config,
            stages.waiting.users,
            fits=lambda _, user, now_ns: try_acquire(user, now_ns),
            pass_on=lambda attempt, _: self._to_next(attempt),
            drops=config.on_limit == "drop",
        )
        self._rooms = ((self._lines.room, lambda attempt: attempt.command.user),)

    def on_start(self) -> None:
        super().on_start()
        assert self._stages.circuit_breaker is not None
        self._to_next = self.route(self._stages.circuit_breaker)

    @handles(Attempt)
    def on_attempt(self, attempt: Attempt) -> None:
        command = attempt.command
        # As `command.user`, which is a property and takes half a per cent of a run.
        user = command.recipient if command.user_id is None else command.user_id
        if attempt.charged or not user or self._lines.enter(attempt, user, self.system.now_ns):
            self._to_next(attempt)

    @handles(FlushQueue)
    def on_flush_queue(self, flush: FlushQueue) -> None:
        self._lines.clear()
        self.set_timer()
        self._to_next(flush)

    def _hand_on(self, rest: Withdraw) -> None:
        self._to_next(rest)

    def _advance(self) -> None:
        self._lines.advance()
