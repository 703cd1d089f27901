"""The bounds of each user and of each tenant of a channel, which come before its providers (5, 14).

What may not go yet waits in the line of its user or tenant, and a wait is one `NotificationDeferred`, however long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, Protocol

from actors.instants import sooner
from actors.messages import DeferralCause, NotificationDeferred, SendNotification
from actors.outcomes import Outcome
from actors.settings.channel import ChannelConfig, RateLimitConfig
from simulation.reference.lane import Lane
from simulation.reference.limits import limit_of
from simulation.reference.loop import Loop
from simulation.reference.notifications import Attempt
from simulation.reference.order import Line, Order, tenant_of

EXPIRED = "expired"
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


class BoundsByKey:
    """The first part of the way of a channel."""

    def __init__(self, loop: Loop, handler: WaysOut, channel: str, config: ChannelConfig) -> None:
        self.loop = loop
        self.handler = handler
        self.channel = channel
        self.config = config
        self.limit = None if config.rate_limit is None else limit_of(config.rate_limit)
        self.users: dict[str, Line] = {}
        self.order_of_users = Order(config)
        self.bounds = config.tenant
        rate = None if config.tenant is None else config.tenant.rate
        self.rates_of_tenants = None if rate is None else limit_of(RateLimitConfig(rate=rate))
        self.tenants: dict[str, Line] = {}
        self.order_of_tenants = Order(config)
        self.counted: dict[Attempt, None] = {}
        """The attempts that count towards the bounds of their tenants: from there until they leave the breaker, but not
        while they wait for one that is not closed."""
        self.parked: set[Attempt] = set()
        """Those that have passed there and do not count."""

    # ── the limit of each user ──────────────────────────────────────────────────────────────────────────────────

    def set_out(self, attempt: Attempt) -> None:
        """Have an attempt take the first step of the way."""
        if self.limit is None:
            self._pass_limit(attempt)
        else:
            self.loop.follow("limiter", self.channel, self._enter, attempt)

    def _pass_limit(self, attempt: Attempt) -> None:
        if self.bounds is None:
            self.loop.follow("breaker", self.channel, self._ask, attempt)
        else:
            self.loop.follow("tenants", self.channel, self._enter_bounds, attempt)

    def _enter(self, attempt: Attempt) -> None:
        """ "A refused notification is deferred to the earliest time it fits, or dead-lettered; charged once" (5)."""
        now_ns, settings = self.loop.now_ns, self.config.rate_limit
        assert self.limit is not None
        assert settings is not None
        user = attempt.command.user
        line = self.users.get(user)
        fits_ns = now_ns
        if not attempt.charged:
            # Where others of the user wait it stands behind them, though it would fit by now.
            fits_ns = self.limit.take(user, now_ns) if line is None else max(line.fits_at_ns or 0, now_ns + 1)
        if fits_ns == now_ns:
            self._pass_limit(attempt)
        elif settings.on_limit == "drop":
            self._turn_away(attempt, Ended(reason=OVER_THE_LIMIT))
        elif attempt.until_ns is not None and fits_ns > attempt.until_ns:
            self._turn_away(attempt, ENDED_AS_EXPIRED)
        else:
            if line is None:
                line = self.users[user] = Line(user, self.order_of_users)
                line.fits_at_ns = fits_ns
            line.join(attempt, now_ns)
            self._wake_limiter()
            why = "{} is over the user's limit (rate_limit: {})"
            self._defer(attempt, DeferralCause.RATE_LIMIT, fits_ns, why, settings)

    def look_at_users(self) -> None:
        """Let those go who fit now, each user's in the order in which they came."""
        loop, now_ns, limit = self.loop, self.loop.now_ns, self.limit
        assert limit is not None
        for line in _due(self.users, now_ns):
            for attempt in line.take_expired(now_ns):
                self._turn_away(attempt, ENDED_AS_EXPIRED)
            while line.waiting and _fits(line, now_ns):
                if not self.handler.is_wanted(line.first().command):
                    loop.follow("handler", "", self.handler.requeued, line.pop(goes=False), False)
                    continue
                line.fits_at_ns = limit.take(line.key, now_ns)
                if line.fits_at_ns == now_ns:
                    self._pass_limit(line.pop())
            if not line.waiting:
                del self.users[line.key]
        self._wake_limiter()

    def restart_limiter(self) -> None:
        """Begin as its actor that starts: what it had counted is kept, and nobody waits."""
        self.users.clear()
        self._wake_limiter()

    def follow_flush(self) -> None:
        """Have all that waits dropped, along the way of the attempts, so that it overtakes none of them."""
        if self.limit is None:
            self._flush_behind_limit()
        else:
            self.loop.follow("limiter", self.channel, self._flush_limiter)

    def _flush_limiter(self) -> None:
        self.restart_limiter()
        self._flush_behind_limit()

    def _flush_behind_limit(self) -> None:
        if self.bounds is None:
            self.loop.follow("breaker", self.channel, self._flush)
        else:
            self.loop.follow("tenants", self.channel, self._flush_bounds)

    def _wake_limiter(self) -> None:
        self.loop.wake("limiter", self.channel, _first_wake(self.users))

    # ── the bounds of each tenant ───────────────────────────────────────────────────────────────────────────────

    def _enter_bounds(self, attempt: Attempt) -> None:
        """ "`tenant: {max_in_flight, rate}` on a channel caps each tenant, beside `rate_limit` for users" (14)."""
        loop, now_ns, tenant = self.loop, self.loop.now_ns, tenant_of(attempt.command)
        if not tenant:
            loop.follow("breaker", self.channel, self._ask, attempt)
            return
        line = self.tenants.get(tenant)
        fits_ns = self._fits_bounds(attempt, tenant) if line is None else line.fits_at_ns
        if line is None and fits_ns == now_ns:
            self._pass_bounds(attempt, tenant)
        elif is_too_late(attempt, fits_ns):
            self._turn_away(attempt, ENDED_AS_EXPIRED)
        else:
            self._wait_at_bounds(attempt, tenant, fits_ns)
            if fits_ns is not None:
                why = "{} is over what its tenant may take (tenant: {})"
                self._defer(attempt, DeferralCause.RATE_LIMIT, fits_ns, why, self.bounds)

    def _wait_at_bounds(self, attempt: Attempt, tenant: str, fits_ns: int | None) -> None:
        if tenant not in self.tenants:
            self.tenants[tenant] = Line(tenant, self.order_of_tenants)
            self.tenants[tenant].fits_at_ns = fits_ns
        self.tenants[tenant].join(attempt, self.loop.now_ns)
        self._wake_tenants()

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
            self.loop.follow("tenants", self.channel, self._tenant_has_room, tenant)

    def _take_back(self, attempt: Attempt) -> None:
        """Have one wait for its tenant that has waited for a breaker, could go, and has found its tenant full."""
        if attempt not in self.parked:
            return  # it is sent again
        if attempt.tenant not in self.tenants and not self.is_full(attempt.tenant):
            self._pass_bounds(attempt, attempt.tenant)
        else:
            self._wait_at_bounds(attempt, attempt.tenant, None)

    def _release_tenant(self, line: Line) -> None:
        now_ns = self.loop.now_ns
        for attempt in line.take_expired(now_ns):
            self._turn_away(attempt, ENDED_AS_EXPIRED)
        while line.waiting and _fits(line, now_ns):
            if not self.handler.is_wanted(line.first().command):
                attempt = line.pop(goes=False)
                self.loop.follow("handler", "", self.handler.requeued, attempt, True)
                self._has_left(attempt)
                continue
            line.fits_at_ns = self._fits_bounds(line.first(), line.key)
            if line.fits_at_ns == now_ns:
                self._pass_bounds(line.pop(), line.key)
        if not line.waiting:
            del self.tenants[line.key]

    def look_at_tenants(self) -> None:
        """Let those go that fit under the rates of their tenants now."""
        for line in _due(self.tenants, self.loop.now_ns):
            self._release_tenant(line)
        self._wake_tenants()

    def _has_left(self, attempt: Attempt) -> None:
        """Count one no more that was on its way, and have its tenant's next one looked at."""
        self.parked.discard(attempt)
        if attempt in self.counted:
            del self.counted[attempt]
            self.loop.follow("tenants", self.channel, self._tenant_has_room, attempt.tenant)

    def _tenant_has_room(self, tenant: str) -> None:
        line = self.tenants.get(tenant)
        if line is not None and line.fits_at_ns is None:
            line.fits_at_ns = self.loop.now_ns
            self._release_tenant(line)
            self._wake_tenants()

    def _flush_bounds(self) -> None:
        """Drop those that wait; those that are at no provider are sent again, and count then."""
        self.tenants.clear()
        self.parked.clear()
        self.counted = {attempt: None for attempt in self.counted if attempt.is_asked}
        self._wake_tenants()
        self.loop.follow("breaker", self.channel, self._flush)

    def _wake_tenants(self) -> None:
        self.loop.wake("tenants", self.channel, _first_wake(self.tenants))

    # ── taken out of the lines ──────────────────────────────────────────────────────────────────────────────────

    def withdraw(self, attempts: list[Attempt]) -> None:
        """Have attempts looked for in the lines, along the way, so that none is overtaken."""
        if self.limit is None:
            self._withdraw_behind_limit(attempts)
        else:
            self.loop.follow("limiter", self.channel, self._withdraw_from_users, attempts)

    def _withdraw_from_users(self, attempts: list[Attempt]) -> None:
        found = self._take_out(self.users, attempts)
        self._wake_limiter()
        self._withdraw_behind_limit([each for each in attempts if each not in found])

    def _withdraw_behind_limit(self, attempts: list[Attempt]) -> None:
        if not attempts:
            return
        if self.bounds is None:
            self.loop.follow("breaker", self.channel, self._withdraw_from_lines, attempts)
        else:
            self.loop.follow("tenants", self.channel, self._withdraw_from_tenants, attempts)

    def _withdraw_from_tenants(self, attempts: list[Attempt]) -> None:
        found = self._take_out(self.tenants, attempts)
        self._wake_tenants()
        rest = [each for each in attempts if each not in found]
        if rest:
            self.loop.follow("breaker", self.channel, self._withdraw_from_lines, rest)

    def _take_out(self, lines: dict[str, Line], attempts: list[Attempt]) -> list[Attempt]:
        taken_out = {attempt for line in lines.values() for attempt in line.take_out(attempts)}
        for key in [key for key, line in lines.items() if not line.waiting]:
            del lines[key]
        found = [each for each in attempts if each in taken_out]
        for attempt in found:
            self.loop.follow("handler", "", self.handler.withdrawn, attempt)
            self._has_left(attempt)
        return found

    def _defer(self, attempt: Attempt, cause: DeferralCause, resumes_ns: int | None, why: str, settings: Any) -> None:
        """ "A wait is one NotificationDeferred, however long" (4)."""
        event = self.loop.event(NotificationDeferred, attempt.command, cause=cause, resumes_at_ns=resumes_ns)
        self.loop.expect(event, why, attempt.name, settings)

    def _turn_away(self, attempt: Attempt, end: Ended) -> None:
        self.loop.follow("handler", "", self.handler.turned_away, attempt, end)
        self._has_left(attempt)

    def _ask(self, attempt: Attempt) -> None:
        """Go on to what is before the providers."""
        raise NotImplementedError

    def _flush(self) -> None:
        """Drop what waits before the providers."""
        raise NotImplementedError

    def _withdraw_from_lines(self, attempts: list[Attempt]) -> None:
        """Take attempts out of the lines before the providers."""
        raise NotImplementedError


def _fits(line: Line, now_ns: int) -> bool:
    """Tell whether the first of a line may fit now, as far as time decides."""
    return line.fits_at_ns is not None and line.fits_at_ns <= now_ns


def _wake(line: Line) -> int | None:
    return sooner(line.fits_at_ns, line.next_expiry_ns())


def _first_wake(lines: dict[str, Line]) -> int | None:
    return min((wake_ns for line in lines.values() if (wake_ns := _wake(line)) is not None), default=None)


def _due(lines: dict[str, Line], now_ns: int) -> list[Line]:
    """Return the lines that are worth a look now, by when they are and by their keys."""
    wakes = ((_wake(line), line) for line in lines.values())
    due = sorted((wake_ns, line.key) for wake_ns, line in wakes if wake_ns is not None and wake_ns <= now_ns)
    return [lines[key] for _, key in due]


def is_too_late(attempt: Attempt, instant_ns: int | None) -> bool:
    return instant_ns is not None and attempt.until_ns is not None and instant_ns > attempt.until_ns
