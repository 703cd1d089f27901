"""The bounds of each tenant on one channel: how many of its attempts are on their way at once, and in how long."""

from __future__ import annotations

import heapq

from actors.domain.attempts import EXPIRED, Attempt, FlushQueue, Requeued
from actors.kernel.actor import handles
from actors.messages import DeferralCause, Message, NotificationChannel
from actors.pipeline.on_their_way import OnTheirWay
from actors.pipeline.stage import Stage
from actors.pipeline.waiting_line import Waiting, WaitingLine
from actors.pipeline.wiring import Stages
from actors.policies.order import NO_KEY, Order, tenant_of
from actors.settings.channel import TenantConfig


class TenantHasRoom(Message, frozen=True, gc=False):
    """An attempt of a tenant is no longer on its way."""

    tenant: str


class _TenantLine(WaitingLine):
    """The waiting attempts of one tenant, and the instant at which the first of them may fit."""

    reports = False

    def __init__(self, waiting: Waiting, order: Order) -> None:
        super().__init__(waiting, order)
        self.fits_at_ns: int | None = None
        """None: when one that is on its way has left."""


class TenantBounds(Stage):
    """Passes attempts on to the circuit breaker, no more of each tenant than it may have on their way.

    Each attempt counts, a retry too. Those of one tenant go in the order of the channel; what waits here is behind no
    one but its own tenant.
    """

    def __init__(self, channel: NotificationChannel, config: TenantConfig, stages: Stages) -> None:
        super().__init__(channel, stages)
        if stages.on_their_way is None:
            stages.on_their_way = OnTheirWay(config)
        self._on_their_way = stages.on_their_way
        settings = stages.lanes[0].config
        self._order = Order(settings.order, settings.fair_by)
        self._lines: dict[str, _TenantLine] = {}
        """By tenant; none is empty."""
        self._known: dict[int, Attempt] = {}
        """Those that wait, by identity."""
        self._wakes: list[tuple[int, str]] = []
        stages.waiting.tenants.reset()

    def on_start(self) -> None:
        super().on_start()
        assert self._stages.circuit_breaker is not None
        self._to_breaker = self.route(self._stages.circuit_breaker)

    @handles(Attempt)
    def on_attempt(self, attempt: Attempt) -> None:
        tenant = tenant_of(attempt.command)
        if tenant == NO_KEY:
            self._to_breaker(attempt)
            return
        if id(attempt) in self._known or attempt in self._on_their_way:
            return  # a copy, where messages may be repeated
        line = self._lines.get(tenant)
        if line is None:
            fits_at_ns = self._try_enter(tenant)
            if fits_at_ns == self.now_ns:
                self._pass_on(attempt, tenant)
                return
            line = self._lines[tenant] = _TenantLine(self._stages.waiting.tenants, self._order)
            self._let_wait(line, tenant, fits_at_ns)
        if _is_too_late(attempt, line.fits_at_ns):
            if not line.size:
                del self._lines[tenant]
            self._reject(attempt, EXPIRED)
            return
        line.append(attempt, self.now_ns)
        self._known[id(attempt)] = attempt
        if attempt.expires_at_ns is not None:
            heapq.heappush(self._wakes, (attempt.expires_at_ns + 1, tenant))
        self._set_timer()
        if line.fits_at_ns is not None:
            self._publish_deferred(attempt, DeferralCause.RATE_LIMIT, line.fits_at_ns)

    @handles(TenantHasRoom)
    def on_tenant_has_room(self, message: TenantHasRoom) -> None:
        line = self._lines.get(message.tenant)
        if line is not None and line.fits_at_ns is None:
            self._release(line, message.tenant)
            self._set_timer()

    @handles(FlushQueue)
    def on_flush_queue(self, flush: FlushQueue) -> None:
        self._lines.clear()
        self._known.clear()
        self._stages.waiting.tenants.reset()
        self._on_their_way.flush()
        self._wakes.clear()
        self._set_timer()
        self._to_breaker(flush)

    def _advance(self) -> None:
        now_ns = self.now_ns
        while self._wakes and self._wakes[0][0] <= now_ns:
            tenant = heapq.heappop(self._wakes)[1]
            line = self._lines.get(tenant)
            if line is not None:
                self._release(line, tenant)
        self._set_timer()

    def _release(self, line: _TenantLine, tenant: str) -> None:
        """Let those of a tenant go that may go now."""
        now_ns = self.now_ns
        for attempt in line.expired(now_ns):
            del self._known[id(attempt)]
            self._reject(attempt, EXPIRED)
        is_wanted = self._stages.is_wanted
        while line.size and (line.fits_at_ns is None or line.fits_at_ns <= now_ns):
            if is_wanted is not None and not is_wanted(line.first().command):
                self._to_handler(Requeued(attempt=self._pop(line), charged=True))
                continue
            fits_at_ns = self._try_enter(tenant)
            if fits_at_ns != now_ns:
                self._let_wait(line, tenant, fits_at_ns)
                break
            self._pass_on(self._pop(line), tenant)
        if not line.size:
            del self._lines[tenant]

    def _pop(self, line: _TenantLine) -> Attempt:
        attempt = line.pop()
        del self._known[id(attempt)]
        return attempt

    def _try_enter(self, tenant: str) -> int | None:
        """Count one of a tenant under its rate, if it may go now; return now, or from when on it may, None: unknown."""
        if self._on_their_way.is_full(tenant):
            return None
        return self._on_their_way.fits_at_ns(tenant, self.now_ns)

    def _let_wait(self, line: _TenantLine, tenant: str, fits_at_ns: int | None) -> None:
        line.fits_at_ns = fits_at_ns
        if fits_at_ns is not None:
            heapq.heappush(self._wakes, (fits_at_ns, tenant))

    def _pass_on(self, attempt: Attempt, tenant: str) -> None:
        self._on_their_way.enter(attempt, tenant)
        self._to_breaker(attempt)

    def _set_timer(self) -> None:
        self._wake_at(self._wakes[0][0] if self._wakes else None)


def _is_too_late(attempt: Attempt, fits_at_ns: int | None) -> bool:
    return fits_at_ns is not None and attempt.expires_at_ns is not None and fits_at_ns > attempt.expires_at_ns
