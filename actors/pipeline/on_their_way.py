"""Which attempts count towards the bounds of their tenants."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from actors.domain.attempts import Attempt
from actors.policies.rate_limit.limiter import make_limiter
from actors.settings.order import TenantConfig
from actors.settings.rate_limit import RateLimitConfig


class _Place(Enum):
    """Where an attempt is that has passed the bounds of its tenant."""

    BEFORE_PROVIDER = auto()
    """It goes to the breaker, or waits there for a slot or the quota."""

    BEHIND_BREAKER = auto()
    """It waits for a breaker that is not closed, and for its pace."""

    BACK_AT_BOUNDS = auto()
    """It could have gone, and waits until its tenant has room."""

    AT_PROVIDER = auto()


_COUNTED = frozenset({_Place.BEFORE_PROVIDER, _Place.AT_PROVIDER})


@dataclass(slots=True)
class _OnItsWay:
    attempt: Attempt
    tenant: str
    place: _Place = _Place.BEFORE_PROVIDER


class OnTheirWay:
    """The attempts that have passed the bounds of their tenants and have not left the breaker; outlives its actors.

    One that waits for a breaker keeps no other one of its tenant back: it does not count until it goes.
    """

    def __init__(self, config: TenantConfig) -> None:
        self._max = config.max_in_flight
        self._limiter = None if config.rate is None else make_limiter(RateLimitConfig(rate=config.rate))
        self._counts: dict[str, int] = {}
        """By tenant; none is 0."""
        self._attempts: dict[int, _OnItsWay] = {}
        """By identity."""

    def __contains__(self, attempt: Attempt) -> bool:
        return id(attempt) in self._attempts

    def count(self, tenant: str) -> int:
        """Return how many of a tenant count."""
        return self._counts.get(tenant, 0)

    def fits_at_ns(self, attempt: Attempt, tenant: str, now_ns: int) -> int | None:
        """Count an attempt under the rate of its tenant, if it fits now and was not counted there before.

        Returns:
            now, or else the earliest instant; None: when another one of the tenant has left.
        """
        if self._max is not None and self.count(tenant) >= self._max:
            return None
        return now_ns if self._limiter is None or attempt in self else self._limiter.try_acquire(tenant, now_ns)

    def enter(self, attempt: Attempt, tenant: str) -> None:
        """Record that an attempt passes."""
        self._attempts[id(attempt)] = _OnItsWay(attempt, tenant)
        self._add(tenant, 1)

    def wait_for_breaker(self, attempt: Attempt) -> str | None:
        """Record that an attempt waits for a breaker; return its tenant if that has room now."""
        return self._move(attempt, _Place.BEHIND_BREAKER)

    def is_before_provider(self, attempt: Attempt) -> bool:
        """Tell whether an attempt has passed, and neither waits for a breaker or at its bounds again nor has gone."""
        found = self._attempts.get(id(attempt))
        return found is not None and found.place is _Place.BEFORE_PROVIDER

    def is_kept_back(self, attempt: Attempt) -> bool:
        """Tell whether an attempt that has waited for a breaker may not go now, as its tenant has as many as it may."""
        found = self._attempts.get(id(attempt))
        if found is None or found.place in _COUNTED or self._max is None:
            return False
        return self.count(found.tenant) >= self._max

    def hand_back(self, attempt: Attempt) -> None:
        """Record that an attempt goes back to the bounds of its tenant."""
        self._move(attempt, _Place.BACK_AT_BOUNDS)

    def take_back(self, attempt: Attempt) -> str | None:
        """Return the tenant of an attempt that comes back to its bounds; None: it is sent again meanwhile."""
        found = self._attempts.get(id(attempt))
        return None if found is None or found.place is not _Place.BACK_AT_BOUNDS else found.tenant

    def begin(self, attempt: Attempt) -> None:
        """Record that an attempt is at a provider."""
        self._move(attempt, _Place.AT_PROVIDER)

    def leave(self, attempt: Attempt) -> str | None:
        """Record that an attempt is no longer on its way; return its tenant if that has room now."""
        left = self._attempts.pop(id(attempt), None)
        if left is None or left.place not in _COUNTED:
            return None
        self._add(left.tenant, -1)
        return left.tenant

    def flush(self) -> None:
        """Forget those that are at no provider: they are sent again."""
        for each in list(self._attempts.values()):
            if each.place is not _Place.AT_PROVIDER:
                self.leave(each.attempt)

    def _move(self, attempt: Attempt, place: _Place) -> str | None:
        """Record where an attempt is now; return its tenant if it counts no more."""
        found = self._attempts.get(id(attempt))
        if found is None:
            return None
        change = (place in _COUNTED) - (found.place in _COUNTED)
        found.place = place
        if change:
            self._add(found.tenant, change)
        return found.tenant if change < 0 else None

    def _add(self, tenant: str, change: int) -> None:
        count = self.count(tenant) + change
        if count:
            self._counts[tenant] = count
        else:
            del self._counts[tenant]
