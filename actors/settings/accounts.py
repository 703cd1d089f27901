"""Accounts that several channels share at one provider: a message of one channel uses up the quota of all."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from actors.settings.base import Settings
from actors.settings.faults import QuotaFault
from actors.settings.quantities import wanted
from actors.settings.rate_limit import QuotaConfig, RateLimitConfig


class AccountConfig(Settings):
    """An account at a provider that several channels share."""

    wanted_text: ClassVar[str] = "an account such as {throttle: {rate: 30/s}}"

    throttle: QuotaFault | None = None
    """The quota that the provider enforces, in a simulation: it answers requests above it, of all channels whose
    `provider` has this account, with `throttled`. None: none."""

    quota: RateLimitConfig | None = None
    """The sender's own limit, over all channels whose `quota` has this account. None: the rate of the `throttle`, by a
    token bucket with `burst: 1`, which stays below that rate however the provider counts."""

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if self.throttle is None and self.quota is None:
            raise wanted("a throttle or a quota", "neither")
        return self

    def quota_of(self, name: str) -> QuotaConfig:
        """Return what the sender keeps to, as a channel's `quota` that names this account."""
        if self.quota is not None:
            return QuotaConfig.model_validate(self.quota).model_copy(update={"account": name})
        assert self.throttle is not None
        counts = QuotaConfig(rate=self.throttle.whole, kind="token_bucket", burst=1)
        return counts.model_copy(update={"account": name})
