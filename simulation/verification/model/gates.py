"""The first stage of the way of a channel's attempts: the limit of each user (5), who has a line of those that wait."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

from actors.messages import DeferralCause
from simulation.verification.model.instants import sooner
from simulation.verification.model.limits import limit_of
from simulation.verification.model.notifications import ENDED_AS_EXPIRED, Attempt, Ended
from simulation.verification.model.order import Line, Order
from simulation.verification.model.stage import Stage, is_too_late

OVER_THE_LIMIT = "rate limit exceeded"
REMEMBERED_MAX = 10_000
"""The latest attempts by which users' limits recognise one that comes twice."""


class Gate(Stage):
    """A stage where those of each key, a user or a tenant, wait in a line of their own."""

    why: ClassVar[str]
    """Why they wait, in words."""
    settings: Any
    fits: Callable[[str, Attempt], int | None]
    """Returns when an attempt of a key fits, and counts it if that is now; None: when another one has left."""
    drops = False
    """Whether those are dead-lettered that do not fit."""

    def __init__(self, actor: str, following: Stage) -> None:
        super().__init__(actor, following.process, following.channel, following.config)
        self._following = following
        self._order = Order(self.config)
        self.lines: dict[str, Line] = {}

    def join(self, attempt: Attempt, key: str) -> None:
        """ "A refused notification is deferred to the earliest time it fits, or dead-lettered" (5)."""
        line = self.lines.get(key)
        fits_ns = self.fits(key, attempt) if line is None else self.fits_behind(line)
        if line is None and fits_ns == self.process.now_ns:
            self.pass_on(attempt)
        elif self.drops:
            self.turn_away(attempt, Ended(reason=OVER_THE_LIMIT))
        elif is_too_late(attempt, fits_ns):
            self.turn_away(attempt, ENDED_AS_EXPIRED)
        else:
            self.wait(attempt, key, fits_ns)
            if fits_ns is not None:
                self.defer(attempt, DeferralCause.RATE_LIMIT, fits_ns, self.why, self.settings)

    def fits_behind(self, line: Line) -> int | None:
        """Return when the first of a line fits, as the event says, or just after now: of later ones none knows."""
        return None if line.fits_at_ns is None else max(line.fits_at_ns, self.process.now_ns + 1)

    def pass_on(self, attempt: Attempt) -> None:
        self._following.follow(self._following.enter, attempt)

    def wait(self, attempt: Attempt, key: str, fits_ns: int | None) -> None:
        if key not in self.lines:
            self.lines[key] = Line(key, self._order)
            self.lines[key].fits_at_ns = fits_ns
        self.lines[key].join(attempt, self.process.now_ns)
        self.set_wake()

    def look(self) -> None:
        """End those whose time is up; let those go that fit now, by when their lines are due and by their keys."""
        now_ns = self.process.now_ns
        self.end_expired(self.lines)
        wakes = ((line.fits_at_ns, line.key) for line in self.lines.values())
        for _, key in sorted((at_ns, key) for at_ns, key in wakes if at_ns is not None and at_ns <= now_ns):
            self._release(self.lines[key])
        self.set_wake()

    def has_room(self, key: str) -> None:
        """Look at the next one of a key, of which another one has left."""
        line = self.lines.get(key)
        if line is not None and line.fits_at_ns is None:
            line.fits_at_ns = self.process.now_ns
            self._release(line)

    def _release(self, line: Line) -> None:
        now_ns = self.process.now_ns
        while line.waiting and line.fits_at_ns is not None and line.fits_at_ns <= now_ns:
            if is_too_late(line.first(), now_ns):
                self.turn_away(line.pop(goes=False), ENDED_AS_EXPIRED)
                continue
            if not self.process.is_wanted(line.first().command):
                self.hand_back(self.process.requeued, line.pop(goes=False), self.counted_for_user)
                continue
            line.fits_at_ns = self.fits(line.key, line.first())
            if line.fits_at_ns == now_ns:
                self.pass_on(line.pop())
        if not line.waiting:
            del self.lines[line.key]

    def clear(self) -> None:
        self.lines.clear()
        self.set_wake()

    def flush(self) -> None:
        self.clear()
        self._following.follow(self._following.flush)

    def withdraw(self, attempts: list[Attempt]) -> None:
        rest = self.take_out(attempts, self.lines)
        self.set_wake()
        if rest:
            self._following.follow(self._following.withdraw, rest)

    def set_wake(self) -> None:
        self.process.wake(self._actor, self.channel, sooner(*map(wake_of, self.lines.values())))


class UserLimits(Gate):
    """The limit of each user (5)."""

    counted_for_user = False
    why = "{} is over the user's limit (rate_limit: {})"

    def __init__(self, following: Stage) -> None:
        super().__init__("limiter", following)
        self.settings = self.config.rate_limit
        self.limit = None if self.settings is None else limit_of(self.settings)
        self.drops = self.settings is not None and self.settings.on_limit == "drop"
        self._come: OrderedDict[Attempt, None] = OrderedDict()
        """The latest attempts that have come here."""

    def enter(self, attempt: Attempt) -> None:
        """Let each pass that was counted before, whoever else of its user waits."""
        if attempt in self._come:
            return
        self._come[attempt] = None
        if len(self._come) > REMEMBERED_MAX:
            self._come.popitem(last=False)
        if attempt.counted_for_user or not attempt.command.user:
            self.pass_on(attempt)
        else:
            self.join(attempt, attempt.command.user)

    def fits(self, key: str, attempt: Attempt) -> int:
        assert self.limit is not None
        return self.limit.take(key, self.process.now_ns)

    def start(self) -> None:
        """Begin as an actor that starts: what it had counted is kept, and no one waits."""
        self._come.clear()
        self.clear()


def wake_of(line: Line) -> int | None:
    return sooner(line.fits_at_ns, line.next_expiry_ns())
