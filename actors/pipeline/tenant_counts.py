"""Which attempts count towards the bounds of their tenants."""

from __future__ import annotations

from enum import Enum, auto

from actors.domain.attempts import Attempt
from actors.policies.order import tenant_of
from actors.policies.rate_limit.limiter import make_limiter
from actors.settings.order import TenantConfig
from actors.settings.rate_limit import RateLimitConfig


class TenantState(Enum):
    """Where an attempt is that has passed the bound of its tenant."""

    BEFORE_PROVIDER = auto()
    """The attempt waits for a slot or the quota."""

    BEHIND_BREAKER = auto()
    """The attempt waits for a breaker that is not closed, and then for its pace."""

    BACK_AT_BOUND = auto()
    """The provider had room for the attempt; now it waits until its tenant has room."""

    AT_PROVIDER = auto()


_COUNTED = frozenset({TenantState.BEFORE_PROVIDER, TenantState.AT_PROVIDER})


class TenantCounts:
    """Which attempts count towards the bounds of their tenants. Outlives the actor of the circuit breaker."""

    def __init__(self, config: TenantConfig) -> None:
        self._max = config.max_in_flight
        self._limiter = None if config.rate is None else make_limiter(RateLimitConfig(rate=config.rate))
        self._counts: dict[str, int] = {}
        """By tenant; none is 0."""
        self._states: dict[int, tuple[Attempt, TenantState]] = {}
        """By identity of an attempt that has passed and has not ended; it is kept, so that no other one gets that."""

    def __bool__(self) -> bool:
        return bool(self._states)

    def is_full(self, tenant: str) -> bool:
        return self._max is not None and self._counts.get(tenant, 0) >= self._max

    def fits_at_ns(self, attempt: Attempt, tenant: str, now_ns: int) -> int | None:
        """Count an attempt under the rate of its tenant, if it fits now and was not counted there before.

        Returns:
            now, or else the earliest instant; None: as soon as another attempt of the tenant has left.
        """
        if self.is_full(tenant):
            return None
        has_counted = self._limiter is None or id(attempt) in self._states
        return now_ns if has_counted or self._limiter is None else self._limiter.try_acquire(tenant, now_ns)

    def counts(self, attempt: Attempt) -> bool | None:
        """Tell whether an attempt counts that has passed; None: it has not, or has ended."""
        found = self._states.get(id(attempt))
        return None if found is None else found[1] in _COUNTED

    def move(self, attempt: Attempt, state: TenantState | None) -> bool:
        """Record where an attempt is now, None: it has ended; return whether that makes room for its tenant."""
        has_counted = bool(self.counts(attempt))
        if state is None:
            self._states.pop(id(attempt), None)
        else:
            self._states[id(attempt)] = attempt, state
        change = (state in _COUNTED) - has_counted
        if change:
            tenant = tenant_of(attempt.command)
            self._counts[tenant] = count = self._counts.get(tenant, 0) + change
            if not count:
                del self._counts[tenant]
        return change < 0

    def flush(self) -> None:
        """Forget the attempts that are at no provider: they are sent again."""
        for attempt, state in list(self._states.values()):
            if state is not TenantState.AT_PROVIDER:
                self.move(attempt, None)
