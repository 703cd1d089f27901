"""The base of the stages in which attempts wait: one timer for all of them, and the events that they publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.domain.attempts import EXPIRED, Attempt, Rejected, Requeued, is_too_late
from actors.instants import sooner
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.effects import Cancellable
from actors.kernel.turns import takes_turn
from actors.messages import DeferralCause, Message, NotificationChannel, NotificationDeferred, RecordedEvent
from actors.pipeline.orders import Withdraw
from actors.pipeline.wiring import Stages
from actors.policies.waiting_room import WaitingRoom


class _Advance(Message, frozen=True, gc=False):
    """Time to look at the waiting attempts."""


_ADVANCE = _Advance()


class Stage(Actor):
    """A stage on the way of a channel's attempts."""

    supervision = Supervision(then="escalate")

    _rooms: tuple[tuple[WaitingRoom[Attempt], Callable[[Attempt], str]], ...] = ()
    """Where attempts wait here, with what returns the host of an attempt in each room."""

    tell_handler: Callable[[Any], None]
    """Tells the handler how an attempt has left this stage."""

    is_charged_here = True
    """Whether an attempt that is sent back from here has been charged to the limit of its user."""

    def __init__(self, channel: NotificationChannel, stages: Stages) -> None:
        super().__init__()
        self._channel = channel
        self._stages = stages
        self._timer: Cancellable | None = None
        self._timer_ns = 0

    def on_start(self) -> None:
        assert self._stages.handler is not None
        self.tell_handler = self.route(self._stages.handler)

    @classmethod
    def _place_of(cls, *args: Any) -> tuple[str, str]:
        return cls._stands_at, args[0]

    @handles(_Advance)
    @takes_turn("look", lambda stage, _: stage._place)
    def on_advance(self, _: _Advance) -> None:
        self._timer = None
        self._advance()
        self.set_timer()

    @handles(Withdraw)
    def on_withdraw(self, withdraw: Withdraw) -> None:
        rest = []
        for each in withdraw.wanted:
            attempt = each.attempt
            if any(
                room.take_out(host_of(attempt), room.order.flow_of(attempt.command), attempt)
                for room, host_of in self._rooms
            ):
                self.tell_handler(each)
            else:
                rest.append(each)
        if rest:
            self._hand_on(Withdraw(tuple(rest)))
        self.set_timer()

    def _hand_on(self, rest: Withdraw) -> None:
        raise NotImplementedError

    def _advance(self) -> None:
        raise NotImplementedError

    def _next_ns(self) -> int | None:
        """Return when time brings something; None: never."""
        wake_ns = None
        for room, _ in self._rooms:
            wake_ns = sooner(wake_ns, room.wake_ns)
        return wake_ns

    def set_timer(self) -> None:
        """Set the one timer for all that waits here, to when time brings something."""
        wake_ns = self._next_ns()
        if self._timer is not None:
            if self._timer_ns == wake_ns:
                return
            self._timer.cancel()
            self._timer = None
        if wake_ns is not None:
            self._timer, self._timer_ns = self.system.set_timer(wake_ns, self, _ADVANCE), wake_ns

    def reject(self, attempt: Attempt, reason: str) -> None:
        self.tell_handler(Rejected(attempt=attempt, reason=reason))

    def sends_back(self, attempt: Attempt) -> bool:
        """Send back an attempt whose turn has come, if it has expired or is not wanted now; tell whether it was."""
        if is_too_late(attempt, self.system.now_ns):
            self.reject(attempt, EXPIRED)
        elif not self._stages.wants(attempt.command):
            self.tell_handler(Requeued(attempt=attempt, charged=self.is_charged_here or attempt.charged))
        else:
            return False
        return True

    def publish_deferred(self, attempt: Attempt, cause: DeferralCause, resumes_at_ns: int | None) -> None:
        """Record and announce that an attempt waits; `resumes_at_ns` is None where no one knows until when."""
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

    def _takes_up(self, message: Any) -> bool:
        """Treat an attempt that came while this stage was down like an attempt whose turn has come."""
        return type(message) is not Attempt or not self.sends_back(message)

    def _publish(self, event: RecordedEvent) -> None:
        self._incarnation.process.record(event)
        self._stages.announce(event)


def may_still_go(attempt: Attempt, stages: Stages, now_ns: int) -> bool:
    """Tell whether an attempt that has waited has not expired, and is wanted."""
    return not is_too_late(attempt, now_ns) and stages.wants(attempt.command)
