"""The bounds of each tenant of a channel (14), which come behind the limits of users and before the providers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from actors.settings.channel import RateLimitConfig
from simulation.verification.model.gates import Gate
from simulation.verification.model.limits import limit_of
from simulation.verification.model.notifications import Attempt
from simulation.verification.model.order import tenant_of

BEFORE_PROVIDER, AT_PROVIDER, BEHIND_BREAKER, BACK = "before a provider", "at it", "behind a breaker", "back"
"""Where attempts are that have passed the bounds of their tenants: *back* is one that could have gone, and found its
tenant full."""
NOT_COUNTED = {BEHIND_BREAKER, BACK}


class TenantBounds(Gate):
    """`tenant: {max_in_flight, rate}`, which "on a channel caps each tenant, beside `rate_limit` for users" (14)."""

    why = "{} is over what its tenant may take (tenant: {})"

    def __init__(self, following: Any) -> None:
        super().__init__("breaker", following)
        self._stage = following
        """The way, of which this is a part."""
        self.settings = self.config.tenant
        rate = None if self.settings is None else self.settings.rate
        self._rates = None if rate is None else limit_of(RateLimitConfig(rate=rate))
        self._noted: list[str] = []
        """The tenants to look at when a rule of the stage has been applied."""
        self.states: dict[Attempt, str] = {}
        """Where the attempts are that have passed here and have not left the breaker. They count towards the bounds of
        their tenants, but not while they wait for a breaker that is not closed."""

    def enter(self, attempt: Attempt) -> None:
        attempt.tenant = tenant_of(attempt.command)
        if attempt.tenant:
            self.join(attempt, attempt.tenant)
        else:
            self._stage.arrive(attempt)

    def fits(self, key: str, attempt: Attempt) -> int | None:
        """One that was counted under the rate of its tenant before is not counted again."""
        if self.is_full(key):
            return None
        now_ns = self.process.now_ns
        return now_ns if self._rates is None or attempt in self.states else self._rates.take(key, now_ns)

    def is_full(self, tenant: str) -> bool:
        most = None if self.settings is None else self.settings.max_in_flight
        states = (state for attempt, state in self.states.items() if attempt.tenant == tenant)
        return most is not None and sum(state not in NOT_COUNTED for state in states) >= most

    def pass_on(self, attempt: Attempt) -> None:
        self.states[attempt] = BEFORE_PROVIDER
        self._stage.arrive(attempt)

    def set_wake(self) -> None:
        self._stage.set_wake()

    def let_in(self) -> None:
        """At the end of each rule of the stage, let those in for whom it has made room, until none is."""
        has_room = bool(self._noted)
        while self._noted:
            self.has_room(self._noted.pop(0))
        if has_room:
            self.set_wake()

    # ── at the providers ────────────────────────────────────────────────────────────────────────────────────────

    def keep_back(self, attempt: Attempt) -> bool:
        """Tell whether one that has waited for a breaker finds its tenant full."""
        return self.states.get(attempt) in NOT_COUNTED and self.is_full(attempt.tenant)

    def let_through(self, attempt: Attempt) -> None:
        if attempt in self.states:
            self.states[attempt] = AT_PROVIDER

    def send_back(self, attempt: Attempt) -> None:
        """Have one come back here that was kept back."""
        self.states[attempt] = BACK
        self.wait(attempt, attempt.tenant, None)

    def park(self, attempts: Iterable[Attempt]) -> None:
        """Let attempts that wait for a breaker keep no other one of their tenant back."""
        parked = [attempt for attempt in attempts if attempt in self.states]
        have_counted = {attempt.tenant for attempt in parked if self.states[attempt] not in NOT_COUNTED}
        self.states.update(dict.fromkeys(parked, BEHIND_BREAKER))
        for tenant in sorted(have_counted):
            self._noted.append(tenant)

    def hand_back(self, rule: Callable[..., None], attempt: Attempt, *more: Any) -> None:
        self._stage.hand_back(rule, attempt, *more)

    def has_left(self, attempt: Attempt) -> None:
        """Count one no more that was on its way, and have its tenant's next one looked at."""
        if self.states.pop(attempt, BACK) not in NOT_COUNTED:
            self._noted.append(attempt.tenant)

    def flush(self) -> None:
        """Drop attempts that are at no provider: they are sent again, and count then."""
        self.states = {attempt: state for attempt, state in self.states.items() if state == AT_PROVIDER}
        self.forget_those_that_wait()

    def forget_those_that_wait(self) -> None:
        self.lines.clear()
        self._noted.clear()
