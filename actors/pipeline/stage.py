"""The base of the stages in which attempts wait: one timer for all of them, and the events that they publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actors.domain.attempts import EXPIRED, Attempt, Rejected, Requeued
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.effects import Cancellable
from actors.messages import DeferralCause, Message, NotificationChannel, NotificationDeferred, RecordedEvent
from actors.pipeline.orders import Withdraw
from actors.pipeline.waiting_line import WaitingLine
from actors.pipeline.wiring import Stages


class _Advance(Message, frozen=True, gc=False):
    """Time to look at the waiting attempts."""


_ADVANCE = _Advance()


class Stage(Actor):
    """A stage on the way of a channel's attempts."""

    supervision = Supervision(then="escalate")

    is_charged_here = True
    """Whether what is sent back from here has been charged to the limit of its user."""

    def __init__(self, channel: NotificationChannel, stages: Stages) -> None:
        super().__init__()
        self._channel = channel
        self._stages = stages
        self._timer: Cancellable | None = None
        self._timer_ns = 0

    def on_start(self) -> None:
        assert self._stages.handler is not None
        self._to_handler = self.route(self._stages.handler)

    def _takes_up(self, message: Any) -> bool:
        """Send an attempt back that has expired while this stage was down, or is not wanted now, as from a line."""
        if type(message) is not Attempt or may_still_go(message, self._stages, self.system.now_ns):
            return True
        if is_too_late(message, self.system.now_ns):
            self._reject(message, EXPIRED)
        else:
            self._to_handler(Requeued(attempt=message, charged=self.is_charged_here or message.charged))
        return False

    @handles(_Advance)
    def on_advance(self, _: _Advance) -> None:
        self._timer = None
        self._advance()

    def _advance(self) -> None:
        """Release the attempts that may go now, and set the timer again."""
        raise NotImplementedError

    def _wake_at(self, wake_ns: int | None) -> None:
        """Have `_advance` called at this instant, and not at the one set before; None: at none."""
        if self._timer is not None:
            if self._timer_ns == wake_ns:
                return
            self._timer.cancel()
            self._timer = None
        if wake_ns is not None:
            self._timer, self._timer_ns = self.system.set_timer(wake_ns, self, _ADVANCE), wake_ns

    def _publish(self, event: RecordedEvent) -> None:
        self._incarnation.process.record(event)
        self._stages.announce(event)

    def _publish_deferred(self, attempt: Attempt, cause: DeferralCause, resumes_at_ns: int | None) -> None:
        system = self.system
        self._publish(
            NotificationDeferred(
                at_ns=system.now_ns,
                epoch_ns=system.epoch_ns,
                notification_id=attempt.command.notification_id,
                channel=self._channel,
                cause=cause,
                resumes_at_ns=resumes_at_ns,
            )
        )

    def _take_out(
        self, withdraw: Withdraw, lines: Mapping[str, WaitingLine], key_of: Callable[[Attempt], str]
    ) -> Withdraw | None:
        """Take attempts out of the lines where they wait; return those that wait in none, if any.

        Args:
            withdraw: the attempts.
            lines: by key.
            key_of: returns the key of the line in which an attempt would wait.
        """
        by_key: dict[str, set[int]] = {}
        for each in withdraw.wanted:
            by_key.setdefault(key_of(each.attempt), set()).add(id(each.attempt))
        found: set[int] = set()
        for key, attempts in by_key.items():
            line = lines.get(key)
            if line is not None and (taken_out := line.take_out(attempts)):
                found |= taken_out
                self._has_fewer(line, key)
        for each in withdraw.wanted:
            if id(each.attempt) in found:
                self._left(each.attempt)
                self._to_handler(each)
        rest = tuple(each for each in withdraw.wanted if id(each.attempt) not in found)
        return Withdraw(rest) if rest else None

    def _left(self, attempt: Attempt) -> None:
        """Take note that an attempt waits no more."""

    def _has_fewer(self, line: Any, key: str) -> None:
        """Take note that some of a line have been taken out."""
        raise NotImplementedError

    def _reject(self, attempt: Attempt, reason: str) -> None:
        self._to_handler(Rejected(attempt=attempt, reason=reason))


def may_still_go(attempt: Attempt, stages: Stages, now_ns: int) -> bool:
    """Tell whether an attempt that has waited has not expired, and is wanted."""
    return not is_too_late(attempt, now_ns) and (stages.is_wanted is None or stages.is_wanted(attempt.command))


def is_too_late(attempt: Attempt, instant_ns: int | None) -> bool:
    """Tell whether an attempt that may go at this instant has expired by then; None: nobody knows when it may."""
    return instant_ns is not None and attempt.expires_at_ns is not None and instant_ns > attempt.expires_at_ns
