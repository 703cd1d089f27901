"""Settings of limits on what is sent: fixed ones, and those that adapt to the provider."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from actors.quantities import PositiveRate, PositiveWholeNumber, Rate, wanted
from actors.settings import Settings


class RateLimitConfig(Settings):
    """At most so many in each window, per user or for the whole channel."""

    max_per_minute: PositiveWholeNumber | None = None
    """How many in any minute."""

    rate: PositiveRate | None = None
    """The same with another window: ``10/s``, ``500/h``, ``3/10s``. Give one of the two."""

    kind: Literal["sliding_window", "fixed_window", "token_bucket"] = "sliding_window"
    burst: PositiveWholeNumber | None = None
    """Token bucket only: how many may go at once; the count of the rate when None."""

    on_limit: Literal["defer", "drop"] = "defer"
    """A refused notification waits until it fits, or is dead-lettered."""

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if (self.max_per_minute is None) == (self.rate is None):
            raise wanted("one of max_per_minute and rate")
        if self.rate is not None and self.rate.count < 1:
            raise wanted("a rate that lets at least 1 through in its window, such as 1/10s")
        if self.burst is not None and self.kind != "token_bucket":
            raise wanted("burst only with kind: token_bucket")
        return self

    @property
    def limit(self) -> Rate:
        """How many, in how long."""
        return self.rate or Rate(float(self.max_per_minute or 0), 60.0)
