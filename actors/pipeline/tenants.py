"""The bounds of each tenant on one channel: how many of its attempts are on their way at once, and in how long."""

from __future__ import annotations

from actors.domain.attempts import EXPIRED, Attempt, FlushQueue
from actors.kernel.actor import handles
from actors.messages import Message, NotificationChannel
from actors.pipeline.keyed_lines import KeyedStage
from actors.pipeline.on_their_way import OnTheirWay
from actors.pipeline.stage import is_too_late
from actors.pipeline.wiring import Stages
from actors.policies.order import NO_KEY, tenant_of
from actors.settings.channel import TenantConfig


class TenantHasRoom(Message, frozen=True, gc=False):
    """An attempt of a tenant is no longer on its way."""

    tenant: str


class TenantBounds(KeyedStage):
    """Passes attempts on to the circuit breaker, no more of each tenant than it may have on their way.

    Each attempt counts, a retry too.
    """

    is_charged_here = True

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
        fits_at_ns = self._try_pass(tenant) if line is None else line.fits_at_ns
        if line is None and fits_at_ns == self.now_ns:
            self._pass_on(attempt, tenant)
        elif is_too_late(attempt, fits_at_ns):
            self._reject(attempt, EXPIRED)
        else:
            self._known[id(attempt)] = attempt
            self._join(self._new_line(tenant, fits_at_ns) if line is None else line, attempt, tenant, fits_at_ns)

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

    def _try_pass(self, key: str) -> int | None:
        if self._on_their_way.is_full(key):
            return None
        return self._on_their_way.fits_at_ns(key, self.now_ns)

    def _key_of(self, attempt: Attempt) -> str:
        return tenant_of(attempt.command)

    def _pass_on(self, attempt: Attempt, key: str) -> None:
        self._on_their_way.enter(attempt, key)
        super()._pass_on(attempt, key)

    def _left(self, attempt: Attempt) -> None:
        del self._known[id(attempt)]
