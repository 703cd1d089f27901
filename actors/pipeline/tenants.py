"""The bounds of each tenant on one channel: how many of its attempts are on their way at once, and in how long."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from actors.domain.attempts import EXPIRED, Admitted, Attempt, FlushQueue
from actors.kernel.actor import handles
from actors.kernel.effects import Performed
from actors.messages import Message, NotificationChannel
from actors.pipeline.keyed_lines import KeyedStage
from actors.pipeline.on_their_way import OnTheirWay
from actors.pipeline.stage import is_too_late
from actors.pipeline.wiring import Stages
from actors.policies.order import NO_KEY, tenant_of
from actors.settings.channel import TenantConfig


class TenantHasRoom(Message, frozen=True, gc=False):
    """An attempt of a tenant counts no more."""

    tenant: str


class TenantIsFull(Message, frozen=True, gc=False):
    """An attempt has waited for a breaker, and now that it could go its tenant has as many under way as it may."""

    attempt: Attempt


class TenantsAtBreaker:
    """Tells the bounds of tenants what becomes of attempts at the circuit breaker, as it may make room for others."""

    def __init__(self, on_their_way: OnTheirWay, to_bounds: Callable[[TenantHasRoom | TenantIsFull], None]) -> None:
        self._on_their_way = on_their_way
        self._to_bounds = to_bounds
        self.is_kept_back = on_their_way.is_kept_back

    def is_expected(self, attempt: Attempt) -> bool:
        """Tell whether an attempt that comes is one that the bounds have let pass.

        It is not if they have dropped it since: it is sent again, and counts then. Nor is a copy of one that has gone
        back to them: that comes again when its tenant has room.
        """
        return self._on_their_way.is_before_provider(attempt) or tenant_of(attempt.command) == NO_KEY

    def is_admitted(self, admitted: Admitted) -> Admitted:
        """Take note that an attempt goes to a provider, and return it."""
        self._on_their_way.begin(admitted.attempt)
        return admitted

    def is_told(self, message: Any) -> None:
        """Take note that the handler is told that an attempt has ended."""
        attempt = message.request.attempt if type(message) is Performed else message.attempt
        if (tenant := self._on_their_way.leave(attempt)) is not None:
            self._to_bounds(TenantHasRoom(tenant))

    def wait_for_breaker(self, attempts: Iterable[Attempt]) -> None:
        """Have attempts that wait for a breaker keep no others of their tenants back."""
        for tenant in sorted(set(filter(None, map(self._on_their_way.wait_for_breaker, attempts)))):
            self._to_bounds(TenantHasRoom(tenant))

    def hand_back(self, attempt: Attempt) -> None:
        """Have an attempt that could go wait until its tenant has room."""
        self._on_their_way.hand_back(attempt)
        self._to_bounds(TenantIsFull(attempt))


class TenantBounds(KeyedStage):
    """Passes attempts on to the circuit breaker, no more of each tenant than it may have on their way.

    Each attempt counts, a retry too, but not while it waits for a breaker. So one that has waited may find its tenant
    full when it could go: it comes back, and waits here among its tenant's own.
    """

    def __init__(self, channel: NotificationChannel, config: TenantConfig, stages: Stages) -> None:
        super().__init__(channel, stages, stages.waiting.tenants)
        if stages.on_their_way is None:
            stages.on_their_way = OnTheirWay(config)
        self._on_their_way = stages.on_their_way
        self._known: dict[int, Attempt] = {}
        """Those that wait, by identity."""

    @handles(Attempt)
    def on_attempt(self, attempt: Attempt) -> None:
        tenant = tenant_of(attempt.command)
        if tenant == NO_KEY:
            self._to_next(attempt)
            return
        if id(attempt) in self._known or attempt in self._on_their_way:
            return  # a copy, where messages may be repeated
        line = self._lines.get(tenant)
        fits_at_ns = self._try_pass(attempt, tenant) if line is None else line.fits_at_ns
        if line is None and fits_at_ns == self.now_ns:
            self._pass_on(attempt, tenant)
        elif is_too_late(attempt, fits_at_ns):
            self._reject(attempt, EXPIRED)
        else:
            self._wait(attempt, tenant, fits_at_ns)

    @handles(TenantIsFull)
    def on_tenant_is_full(self, message: TenantIsFull) -> None:
        attempt = message.attempt
        tenant = self._on_their_way.take_back(attempt)
        if tenant is None or id(attempt) in self._known:
            return
        if tenant not in self._lines and self._try_pass(attempt, tenant) is not None:
            self._pass_on(attempt, tenant)  # one has left since
        else:
            self._wait(attempt, tenant, None)  # that it waits has been told

    @handles(TenantHasRoom)
    def on_tenant_has_room(self, message: TenantHasRoom) -> None:
        line = self._lines.get(message.tenant)
        if line is not None and line.fits_at_ns is None:
            line.fits_at_ns = self.now_ns
            self._release(line, message.tenant)
            self._set_timer()

    @handles(FlushQueue)
    def on_flush_queue(self, flush: FlushQueue) -> None:
        self._known.clear()
        self._on_their_way.flush()
        super().on_flush_queue(flush)

    def _wait(self, attempt: Attempt, tenant: str, fits_at_ns: int | None) -> None:
        self._known[id(attempt)] = attempt
        line = self._lines.get(tenant)
        self._join(self._new_line(tenant, fits_at_ns) if line is None else line, attempt, tenant, fits_at_ns)

    def _try_pass(self, attempt: Attempt, key: str) -> int | None:
        return self._on_their_way.fits_at_ns(attempt, key, self.now_ns)

    def _key_of(self, attempt: Attempt) -> str:
        return tenant_of(attempt.command)

    def _pass_on(self, attempt: Attempt, key: str) -> None:
        self._on_their_way.enter(attempt, key)
        super()._pass_on(attempt, key)

    def _left(self, attempt: Attempt) -> None:
        del self._known[id(attempt)]
        self._on_their_way.leave(attempt)
