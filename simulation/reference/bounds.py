"""The bounds of each user and of each tenant of a channel, which come before its providers (5, 14).

What may not go yet waits in the line of its user or tenant, and a wait is one `NotificationDeferred`, however long.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple, Protocol

from actors.messages import DeferralCause, NotificationDeferred, SendNotification
from actors.outcomes import Outcome
from actors.settings.channel import ChannelConfig, RateLimitConfig
from simulation.reference.instants import sooner
from simulation.reference.lane import Lane
from simulation.reference.limits import limit_of
from simulation.reference.loop import Loop
from simulation.reference.notifications import Attempt
from simulation.reference.order import Line, Order, tenant_of

EXPIRED = "expired"
RETRY_TIME_UP = "retry time is up"
OVER_THE_LIMIT = "rate limit exceeded"


class Ended(NamedTuple):
    """What becomes of an attempt that is neither made nor to wait."""

    outcome: Outcome | None = None
    """As if a provider had said so."""
    reason: str = ""
    """Or why its notification is dead-lettered."""


class WaysOut(Protocol):
    """Where an attempt gets to from its way: to a provider, or back to the handler."""

    def answered(self, attempt: Attempt, outcome: Outcome) -> None:
        """Take the answer of a provider."""

    def turned_away(self, attempt: Attempt, end: Ended) -> None:
        """Take back what was not made, for good."""

    def requeued(self, attempt: Attempt, charged: bool) -> None:
        """Take back what is not wanted now."""

    def withdrawn(self, attempt: Attempt) -> None:
        """Take back what was to be taken out of its line."""

    def waits_in_no_line(self, attempts: Collection[Attempt]) -> None:
        """Take note of those that were to be taken out, and are in no line."""

    def is_wanted(self, command: SendNotification) -> bool:
        """Tell whether its user wants it now."""

    def breaker_closed(self, channel: str, host: str) -> None:
        """Take note that a breaker has closed."""

    def make(self, lane: Lane, attempt: Attempt) -> None:
        """Ask the provider."""


ENDED_AS_EXPIRED = Ended(reason=EXPIRED)


class Gate:
    """A place where those of each key, a user or a tenant, wait in a line of their own: behind no one else."""

    def __init__(
        self,
        way: BoundsByKey,
        actor: str,
        fits: Callable[[Attempt, str], int | None],
        pass_on: Callable[[Attempt, str], None],
        *,
        is_charged: bool,
    ) -> None:
        """Begin without any.

        Args:
            way: that it is on.
            actor: which does this.
            fits: returns when an attempt of a key fits, and counts it if that is now; None: when another one has left.
            pass_on: takes one that fits.
            is_charged: whether those that wait here have been counted against the limits of their users.
        """
        self._way = way
        self._actor = actor
        self._fits = fits
        self._pass_on = pass_on
        self._is_charged = is_charged
        self._order = Order(way.config)
        self.lines: dict[str, Line] = {}

    def wait(self, attempt: Attempt, key: str, fits_ns: int | None) -> None:
        """Let one wait behind those of its key."""
        if key not in self.lines:
            self.lines[key] = Line(key, self._order)
            self.lines[key].fits_at_ns = fits_ns
        self.lines[key].join(attempt, self._way.loop.now_ns)
        self.set_wake()

    def look(self) -> None:
        """Let those go that fit now, by when their lines are due and by their keys."""
        wakes = ((_wake(line), line.key) for line in self.lines.values())
        now_ns = self._way.loop.now_ns
        for _, key in sorted((at_ns, key) for at_ns, key in wakes if at_ns is not None and at_ns <= now_ns):
            self._release(self.lines[key])
        self.set_wake()

    def has_room(self, key: str) -> None:
        """Look at the next one of a key, of which another one has left."""
        line = self.lines.get(key)
        if line is not None and line.fits_at_ns is None:
            line.fits_at_ns = self._way.loop.now_ns
            self._release(line)
            self.set_wake()

    def _release(self, line: Line) -> None:
        way, now_ns = self._way, self._way.loop.now_ns
        for attempt in line.take_expired(now_ns):
            way.turn_away(attempt, ENDED_AS_EXPIRED)
        while line.waiting and line.fits_at_ns is not None and line.fits_at_ns <= now_ns:
            if not way.handler.is_wanted(line.first().command):
                way.hand_back(way.handler.requeued, line.pop(goes=False), self._is_charged)
                continue
            line.fits_at_ns = self._fits(line.first(), line.key)
            if line.fits_at_ns == now_ns:
                self._pass_on(line.pop(), line.key)
        if not line.waiting:
            del self.lines[line.key]

    def withdraw(self, attempts: list[Attempt]) -> list[Attempt]:
        """Take out those of some attempts that wait here; return the others."""
        found = self._way.take_out(self.lines, attempts)
        self.set_wake()
        return [each for each in attempts if each not in found]

    def clear(self) -> None:
        """Begin as an actor that starts: what it had counted is kept, and no one waits."""
        self.lines.clear()
        self.set_wake()

    def set_wake(self) -> None:
        """Set when time will bring something."""
        wake_ns = None
        for line in self.lines.values():
            wake_ns = sooner(wake_ns, _wake(line))
        self._way.loop.wake(self._actor, self._way.channel, wake_ns)


class BoundsByKey:
    """The first part of the way of a channel."""

    def __init__(self, loop: Loop, handler: WaysOut, channel: str, config: ChannelConfig) -> None:
        self.loop = loop
        self.handler = handler
        self.channel = channel
        self.config = config
        self.limit = None if config.rate_limit is None else limit_of(config.rate_limit)
        self.users = Gate(self, "limiter", self._fits_limit, self._pass_limit, is_charged=False)
        self.bounds = config.tenant
        rate = None if config.tenant is None else config.tenant.rate
        self.rates_of_tenants = None if rate is None else limit_of(RateLimitConfig(rate=rate))
        self.tenants = Gate(self, "tenants", self._fits_bounds, self._pass_bounds, is_charged=True)
        self.counted: dict[Attempt, None] = {}
        """The attempts that count towards the bounds of their tenants: from there until they leave the breaker, but not
        while they wait for one that is not closed."""
        self.parked: set[Attempt] = set()
        """Those that have passed there and do not count."""

    def _behind_limit(self, rule: Callable[..., None], with_bounds: Callable[..., None], *args: Any) -> None:
        """Go on to the bounds of tenants, or where there are none to what is before the providers."""
        if self.bounds is None:
            self.loop.follow("breaker", self.channel, rule, *args)
        else:
            self.loop.follow("tenants", self.channel, with_bounds, *args)

    # ── the limit of each user ──────────────────────────────────────────────────────────────────────────────────

    def set_out(self, attempt: Attempt) -> None:
        """Have an attempt take the first step of the way."""
        if self.limit is None:
            self._behind_limit(self._ask, self._enter_bounds, attempt)
        else:
            self.loop.follow("limiter", self.channel, self._enter, attempt)

    def _enter(self, attempt: Attempt) -> None:
        """ "A refused notification is deferred to the earliest time it fits, or dead-lettered; charged once" (5)."""
        now_ns, settings, user = self.loop.now_ns, self.config.rate_limit, attempt.command.user
        assert settings is not None
        line = self.users.lines.get(user)
        fits_ns = now_ns
        if not attempt.charged:
            # Where others of the user wait it stands behind them, though it would fit by now.
            fits_ns = self._fits_limit(attempt, user) if line is None else max(line.fits_at_ns or 0, now_ns + 1)
        if fits_ns == now_ns:
            self._pass_limit(attempt, user)
        elif settings.on_limit == "drop":
            self.turn_away(attempt, Ended(reason=OVER_THE_LIMIT))
        elif is_too_late(attempt, fits_ns):
            self.turn_away(attempt, ENDED_AS_EXPIRED)
        else:
            self.users.wait(attempt, user, fits_ns)
            why = "{} is over the user's limit (rate_limit: {})"
            self._defer(attempt, DeferralCause.RATE_LIMIT, fits_ns, why, settings)

    def _fits_limit(self, attempt: Attempt, user: str) -> int:
        assert self.limit is not None
        return self.limit.take(user, self.loop.now_ns)

    def _pass_limit(self, attempt: Attempt, user: str) -> None:
        self._behind_limit(self._ask, self._enter_bounds, attempt)

    # ── the bounds of each tenant ───────────────────────────────────────────────────────────────────────────────

    def _enter_bounds(self, attempt: Attempt) -> None:
        """ "`tenant: {max_in_flight, rate}` on a channel caps each tenant, beside `rate_limit` for users" (14)."""
        tenant = tenant_of(attempt.command)
        if not tenant:
            self.loop.follow("breaker", self.channel, self._ask, attempt)
            return
        line = self.tenants.lines.get(tenant)
        fits_ns = self._fits_bounds(attempt, tenant) if line is None else line.fits_at_ns
        if line is None and fits_ns == self.loop.now_ns:
            self._pass_bounds(attempt, tenant)
        elif is_too_late(attempt, fits_ns):
            self.turn_away(attempt, ENDED_AS_EXPIRED)
        else:
            self.tenants.wait(attempt, tenant, fits_ns)
            if fits_ns is not None:
                why = "{} is over what its tenant may take (tenant: {})"
                self._defer(attempt, DeferralCause.RATE_LIMIT, fits_ns, why, self.bounds)

    def _fits_bounds(self, attempt: Attempt, tenant: str) -> int | None:
        """Return when an attempt fits, and count it under the rate of its tenant if that is now, and it is not counted;
        None: when another one leaves."""
        if self.is_full(tenant):
            return None
        now_ns, rates = self.loop.now_ns, self.rates_of_tenants
        return now_ns if rates is None or attempt in self.parked else rates.take(tenant, now_ns)

    def is_full(self, tenant: str) -> bool:
        """Tell whether a tenant has as many under way as it may."""
        most = None if self.bounds is None else self.bounds.max_in_flight
        return most is not None and sum(attempt.tenant == tenant for attempt in self.counted) >= most

    def _pass_bounds(self, attempt: Attempt, tenant: str) -> None:
        attempt.tenant = tenant
        self._count(attempt)
        self.loop.follow("breaker", self.channel, self._ask, attempt)

    def _count(self, attempt: Attempt) -> None:
        self.parked.discard(attempt)
        self.counted[attempt] = None

    def _park(self, attempts: Iterable[Attempt]) -> None:
        """What waits for a breaker keeps no other one of its tenant back."""
        parked = [attempt for attempt in attempts if attempt in self.counted]
        self.parked.update(parked)
        for attempt in parked:
            del self.counted[attempt]
        for tenant in sorted({attempt.tenant for attempt in parked}):
            self.loop.follow("tenants", self.channel, self.tenants.has_room, tenant)

    def _take_back(self, attempt: Attempt) -> None:
        """Have one wait for its tenant that has waited for a breaker, could go, and has found its tenant full."""
        if attempt not in self.parked:
            return  # it is sent again
        if attempt.tenant not in self.tenants.lines and not self.is_full(attempt.tenant):
            self._pass_bounds(attempt, attempt.tenant)
        else:
            self.tenants.wait(attempt, attempt.tenant, None)

    def _has_left(self, attempt: Attempt) -> None:
        """Count one no more that was on its way, and have its tenant's next one looked at."""
        self.parked.discard(attempt)
        if attempt in self.counted:
            del self.counted[attempt]
            self.loop.follow("tenants", self.channel, self.tenants.has_room, attempt.tenant)

    # ── all that wait ───────────────────────────────────────────────────────────────────────────────────────────

    def follow_flush(self) -> None:
        """Have all that waits dropped, along the way of the attempts, so that it overtakes none of them."""
        if self.limit is None:
            self._behind_limit(self._flush, self._flush_bounds)
        else:
            self.loop.follow("limiter", self.channel, self._flush_limiter)

    def _flush_limiter(self) -> None:
        self.users.clear()
        self._behind_limit(self._flush, self._flush_bounds)

    def _flush_bounds(self) -> None:
        """Drop those that wait; those that are at no provider are sent again, and count then."""
        self.parked.clear()
        self.counted = {attempt: None for attempt in self.counted if attempt.is_asked}
        self.tenants.clear()
        self.loop.follow("breaker", self.channel, self._flush)

    def withdraw(self, attempts: list[Attempt]) -> None:
        """Have attempts looked for in the lines, along the way, so that none is overtaken."""
        if self.limit is None:
            self._behind_limit(self._withdraw_from_lines, self._withdraw_from_tenants, attempts)
        else:
            self.loop.follow("limiter", self.channel, self._withdraw_from_users, attempts)

    def _withdraw_from_users(self, attempts: list[Attempt]) -> None:
        if rest := self.users.withdraw(attempts):
            self._behind_limit(self._withdraw_from_lines, self._withdraw_from_tenants, rest)

    def _withdraw_from_tenants(self, attempts: list[Attempt]) -> None:
        if rest := self.tenants.withdraw(attempts):
            self.loop.follow("breaker", self.channel, self._withdraw_from_lines, rest)

    def take_out(self, lines: dict[str, Line], attempts: list[Attempt]) -> list[Attempt]:
        """Take those of some attempts out that wait in lines, and return them."""
        taken_out = {attempt for line in lines.values() for attempt in line.take_out(attempts)}
        for key in [key for key, line in lines.items() if not line.waiting]:
            del lines[key]
        found = [each for each in attempts if each in taken_out]
        for attempt in found:
            self.hand_back(self.handler.withdrawn, attempt)
        return found

    # ── back to the handler ─────────────────────────────────────────────────────────────────────────────────────

    def hand_back(self, rule: Callable[..., None], attempt: Attempt, *more: Any) -> None:
        """Let the handler know by one of its rules what has come of an attempt, which has left the way."""
        self.loop.follow("handler", "", rule, attempt, *more)
        self._has_left(attempt)

    def turn_away(self, attempt: Attempt, end: Ended) -> None:
        """Let the handler know that an attempt is not made."""
        self.hand_back(self.handler.turned_away, attempt, end)

    def _defer(self, attempt: Attempt, cause: DeferralCause, resumes_ns: int | None, why: str, settings: Any) -> None:
        """ "A wait is one NotificationDeferred, however long" (4)."""
        event = self.loop.event(NotificationDeferred, attempt.command, cause=cause, resumes_at_ns=resumes_ns)
        self.loop.expect(event, why, attempt.name, settings)

    def _ask(self, attempt: Attempt) -> None:
        """Go on to what is before the providers."""
        raise NotImplementedError

    def _flush(self) -> None:
        """Drop what waits before the providers."""
        raise NotImplementedError

    def _withdraw_from_lines(self, attempts: list[Attempt]) -> None:
        """Take attempts out of the lines before the providers."""
        raise NotImplementedError


def _wake(line: Line) -> int | None:
    return sooner(line.fits_at_ns, line.next_expiry_ns())


def is_too_late(attempt: Attempt, instant_ns: int | None) -> bool:
    return instant_ns is not None and attempt.until_ns is not None and instant_ns > attempt.until_ns
