"""The common base of the stages on the way of a channel's attempts: user limits, tenants, and before the providers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from actors.messages import DeferralCause, NotificationDeferred
from actors.settings.channel import ChannelConfig
from simulation.verification.model.notifications import ENDED_AS_EXPIRED, Attempt, Ended
from simulation.verification.model.order import Line
from simulation.verification.model.process import Process

L = TypeVar("L", bound=Line)


class Stage:
    """A part of the way of a channel's attempts that is an actor of its own."""

    counted_for_user: ClassVar[bool] = True
    """Whether what is handed back from here has been counted for its user."""
    enter: Callable[[Attempt], None]
    """Lets an attempt pass, wait or end; one that comes twice only once."""
    flush: Callable[[], None]
    """Drops all that wait, here and behind: the handler sends again what is under way."""
    withdraw: Callable[[list[Attempt]], None]
    """Takes attempts out of the lines in which they wait, here or behind."""

    def __init__(self, actor: str, process: Process, channel: str, config: ChannelConfig) -> None:
        self._actor = actor
        self.process = process
        self.channel = channel
        self.config = config

    def follow(self, rule: Callable[..., None], *args: Any) -> None:
        self.process.follow(self._actor, self.channel, rule, *args)

    def enter_after_waiting(self, attempt: Attempt) -> None:
        """Let in an attempt from the mailbox of a stage that was down: it may have expired, or be unwanted."""
        if is_too_late(attempt, self.process.now_ns):
            self.turn_away(attempt, ENDED_AS_EXPIRED)
        elif not self.process.is_wanted(attempt.command):
            self.hand_back(self.process.requeued, attempt, self.counted_for_user or attempt.counted_for_user)
        else:
            self.enter(attempt)

    # ── back to the handler ─────────────────────────────────────────────────────────────────────────────────────

    def hand_back(self, rule: Callable[..., None], attempt: Attempt, *more: Any) -> None:
        """Let the handler know by one of its rules what has come of an attempt, which has left the way."""
        self.process.follow("handler", "", rule, attempt, *more)

    def turn_away(self, attempt: Attempt, end: Ended) -> None:
        self.hand_back(self.process.turned_away, attempt, end)

    def take_out(self, attempts: list[Attempt], *places: dict[str, Any]) -> list[Attempt]:
        """Hand back those of some attempts that wait in lines, of all places; return the others."""
        taken_out: set[Attempt] = set()
        for lines in places:
            taken_out.update(attempt for line in lines.values() for attempt in line.take_out(attempts))
            for key in [key for key, line in lines.items() if not line.waiting]:
                del lines[key]
        for attempt in attempts:
            if attempt in taken_out:
                self.hand_back(self.process.withdrawn, attempt)
        return [each for each in attempts if each not in taken_out]

    def end_expired(self, lines: dict[str, L]) -> list[tuple[int, str]]:
        """Turn those away whose time is up, of all lines in the order of their expiries and then as they came; return
        since when the time of each was up, with its line."""
        taken = [
            (until_ns, place, key, attempt)
            for key, line in lines.items()
            for until_ns, place, attempt in line.take_expired(self.process.now_ns)
        ]
        for _, _, _, attempt in sorted(taken, key=lambda each: each[:2]):
            self.turn_away(attempt, ENDED_AS_EXPIRED)
        for key in [key for key, line in lines.items() if not line.waiting]:
            del lines[key]
        return [(until_ns + 1, key) for until_ns, _, key, _ in taken]

    def defer(self, attempt: Attempt, cause: DeferralCause, resumes_ns: int | None, why: str, settings: Any) -> None:
        """ "A wait is one `NotificationDeferred`, however long" (4); a late copy of an attempt that has ended has none.

        The store keeps nothing of this, nor of breakers: a start sends the attempt again. So it is recorded at once.
        """
        if self.process.timeline.goes_astray is not None and self.process.notification_of(attempt) is None:
            return
        event = self.process.event(NotificationDeferred, attempt.command, cause=cause, resumes_at_ns=resumes_ns)
        self.process.expect(event, why, attempt, settings)


def is_too_late(attempt: Attempt, instant_ns: int | None) -> bool:
    """Tell whether an attempt may not start any more at an instant."""
    return instant_ns is not None and attempt.until_ns is not None and instant_ns > attempt.until_ns
