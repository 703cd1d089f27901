"""The bounds of each tenant on one channel: how many of its attempts are under way at once, and how many in a period.

An attempt counts from when it passes its tenant's bound until it has ended, but not while it waits for a breaker: there
it holds back no other attempt of its tenant. So an attempt that has waited for a breaker may find its tenant full when
it could go; then it waits in its tenant's line once more.

The circuit breaker's actor has the lines of tenants. If a tenant gets room while that actor handles a message, the room
is noted and given away at the end of the message (:meth:`Tenants.letting_in`): letting an attempt in at once could
change the line that is being looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from actors.domain.attempts import Admitted, Attempt
from actors.kernel.effects import Performed
from actors.pipeline.held_slots import HeldSlots
from actors.pipeline.keyed_lines import KeyedLines
from actors.pipeline.stage import Stage
from actors.pipeline.tenant_counts import TenantCounts, TenantState
from actors.policies.order import NO_KEY, tenant_of
from actors.policies.waiting_room import Waiting
from actors.settings.channel import ChannelConfig


class Tenants:
    """The lines of tenants, before the lines of the providers.

    Args:
        pass_on: takes an attempt that its tenant's bound has let pass.
        held: who holds a slot: an attempt that has ended may still count; None: no notification does.
    """

    def __init__(
        self,
        stage: Stage,
        config: ChannelConfig,
        counts: TenantCounts,
        waiting: Waiting,
        pass_on: Callable[[Attempt], None],
        held: HeldSlots | None = None,
    ) -> None:
        self._held = held
        self._counts = counts
        self._pass_on = pass_on
        self._stage = stage
        self.lines = KeyedLines(
            stage,
            config,
            waiting,
            fits=counts.fits_at_ns,
            pass_on=lambda attempt, _: self._let_pass(attempt),
        )
        self._noted: deque[str] = deque()
        """Tenants that have room, in the order in which that came about."""

    def enter(self, attempt: Attempt) -> None:
        tenant = tenant_of(attempt.command)
        if tenant == NO_KEY:
            self._pass_on(attempt)
        elif self.lines.enter(attempt, tenant, self._stage.now_ns):
            self._let_pass(attempt)

    def _let_pass(self, attempt: Attempt) -> None:
        self._counts.move(attempt, TenantState.BEFORE_PROVIDER)
        self._pass_on(attempt)

    def is_kept_back(self, attempt: Attempt) -> bool:
        """Tell whether an attempt that has waited for a breaker may not go now, as its tenant has as many as it may."""
        return self._counts.counts(attempt) is False and self._counts.is_full(tenant_of(attempt.command))

    def wait_for_breaker(self, attempts: Iterable[Attempt]) -> None:
        """Stop counting attempts that now wait for a breaker, so that others of their tenants may go."""
        found = [attempt for attempt in attempts if self._counts.counts(attempt) is not None]
        freed = {
            tenant_of(attempt.command) for attempt in found if self._counts.move(attempt, TenantState.BEHIND_BREAKER)
        }
        self._noted.extend(sorted(freed))

    def hand_back(self, attempt: Attempt) -> None:
        """Have an attempt that could go wait until its tenant has room."""
        self._counts.move(attempt, TenantState.BACK_AT_BOUND)
        self.lines.wait(attempt, tenant_of(attempt.command), None)  # its deferral has been published

    def flush(self) -> None:
        self._noted.clear()
        self._counts.flush()
        self.lines.clear()

    def letting_in(self, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a handler that lets those in at its end for whom it has made room."""

        def handle(message: Any) -> Any:
            answer = handler(message)
            if self._noted:
                self._let_in()
                self._stage.set_timer()
            return answer

        return handle

    def seeing_off(self, to_channel: Callable[[Admitted], None]) -> Callable[[Admitted], None]:
        """Return a way to a provider that takes note of the attempts that go it."""

        def let_go(admitted: Admitted) -> None:
            if tenant_of(admitted.attempt.command) != NO_KEY:
                self._counts.move(admitted.attempt, TenantState.AT_PROVIDER)
            to_channel(admitted)

        return let_go

    def seeing_out(self, tell_handler: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a way to the handler that takes note of the attempts that have ended."""
        keeps = None if self._held is None else self._held.keeps

        def tell(message: Any) -> None:
            tell_handler(message)
            attempt = message.request.attempt if type(message) is Performed else message.attempt
            if keeps is None or not keeps(attempt):
                self.see_out(attempt)

        return tell

    def see_out(self, attempt: Attempt) -> None:
        """Count an attempt no more, and take note if that makes room."""
        if self._counts.move(attempt, None):
            self._noted.append(tenant_of(attempt.command))

    def _let_in(self) -> None:
        while self._noted:
            self.lines.has_room(self._noted.popleft())
