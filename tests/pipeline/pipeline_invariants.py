"""What a provider was asked, by its own log, and whether that keeps to a quota."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from worlds import most_in_a_window

from actors.domain.attempts import Attempt, Provider
from actors.kernel.effects import Effect, Foreseen
from actors.outcomes import Outcome
from actors.policies.rate_limit.limiter import make_limiter
from actors.settings.channel import RateLimitConfig

S = 1_000_000_000


class Logged(msgspec.Struct, frozen=True):
    """One attempt in a provider's log."""

    at_ns: int
    ends_ns: int
    attempt: Attempt
    outcome: Outcome


class Log(Provider):
    """A provider that notes down every attempt before another one makes it."""

    def __init__(self, provider: Provider, timeout: float) -> None:
        self._provider = provider
        self._timeout_ns = round(timeout * S)
        self.entries: list[Logged] = []

    @property
    def delivered(self) -> int:
        return self._provider.delivered  # type: ignore[attr-defined,no-any-return]

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        effect = self._provider.attempt(attempt, now_ns)
        assert isinstance(effect, Foreseen)
        self.entries.append(Logged(now_ns, now_ns + min(effect.delay_ns, self._timeout_ns), attempt, effect.result))
        return effect


def check_quota(starts_ns: Sequence[int], quota: RateLimitConfig) -> None:
    """Check that a limiter that is asked when attempts start finds nothing wrong with any of them."""
    limiter = make_limiter(quota)
    for at_ns in starts_ns:
        assert limiter.try_acquire("", at_ns) == at_ns
    if quota.kind == "sliding_window":
        for rate in quota.limits:
            assert most_in_a_window(starts_ns, round(rate.period * S)) <= rate.count
