"""Which attempts count towards the bounds of their tenants."""

from __future__ import annotations

from actors.domain.attempts import Attempt
from actors.policies.rate_limit.limiter import make_limiter
from actors.settings.order import TenantConfig
from actors.settings.rate_limit import RateLimitConfig


class OnTheirWay:
    """The attempts that have passed the bounds of their tenants and have not left the breaker; outlives its actors."""

    def __init__(self, config: TenantConfig) -> None:
        self._max = config.max_in_flight
        self._limiter = None if config.rate is None else make_limiter(RateLimitConfig(rate=config.rate))
        self._counts: dict[str, int] = {}
        """By tenant; none is 0."""
        self._attempts: dict[int, tuple[Attempt, str, bool]] = {}
        """By identity; with each its tenant, and whether it is at a provider."""

    def __contains__(self, attempt: Attempt) -> bool:
        return id(attempt) in self._attempts

    def count(self, tenant: str) -> int:
        """Return how many of a tenant there are."""
        return self._counts.get(tenant, 0)

    def is_full(self, tenant: str) -> bool:
        """Tell whether a tenant has as many as it may."""
        return self._max is not None and self.count(tenant) >= self._max

    def fits_at_ns(self, tenant: str, now_ns: int) -> int:
        """Count one under the rate of its tenant, if it fits now; return now, or else the earliest instant."""
        return now_ns if self._limiter is None else self._limiter.try_acquire(tenant, now_ns)

    def enter(self, attempt: Attempt, tenant: str) -> None:
        """Record that an attempt passes."""
        self._attempts[id(attempt)] = attempt, tenant, False
        self._counts[tenant] = self.count(tenant) + 1

    def begin(self, attempt: Attempt) -> None:
        """Record that an attempt is at a provider."""
        if attempt in self:
            self._attempts[id(attempt)] = attempt, self._attempts[id(attempt)][1], True

    def leave(self, attempt: Attempt) -> str | None:
        """Record that an attempt is no longer on its way; return its tenant, None if it was not."""
        _, tenant, _ = self._attempts.pop(id(attempt), (None, None, None))
        if tenant is not None:
            if self._counts[tenant] > 1:
                self._counts[tenant] -= 1
            else:
                del self._counts[tenant]
        return tenant

    def flush(self) -> None:
        """Forget those that are at no provider: they are sent again."""
        for attempt, _, is_at_provider in list(self._attempts.values()):
            if not is_at_provider:
                self.leave(attempt)
