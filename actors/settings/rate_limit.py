"""Settings of rate limits: how many notifications may be sent in a window."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import StrictBool, model_validator

from actors.settings.base import NotEmpty, Settings
from actors.settings.quantities import PositiveRate, PositiveWholeNumber, Rate, Text, wanted, write_rate


class RateLimitConfig(Settings):
    """A limit of notifications in each window, per user or for the whole channel."""

    wanted_text: ClassVar[str] = "a mapping such as {rate: 10/s} or {max_per_minute: 100}"

    max_per_minute: PositiveWholeNumber | None = None
    """How many in any minute."""

    rate: PositiveRate | None = None
    """The limit with another window than a minute: ``10/s``, ``500/h``, ``3/10s``. Give one of the three."""

    rates: Annotated[tuple[PositiveRate, ...], NotEmpty()] | None = None
    """Several at once, from the shortest window to the longest: ``[3/s, 100/min]``."""

    kind: Literal["sliding_window", "fixed_window", "token_bucket", "sliding_counter", "leaky_bucket", "gcra"] = (
        "sliding_window"
    )
    """`sliding_window`: an exact log. `sliding_counter`: two counters in its place, nearly exact. `fixed_window`: as
    many as the rate says in each window by the clock. `token_bucket`, also called `gcra`: tokens that flow in evenly.
    `leaky_bucket`: evenly spaced."""

    burst: PositiveWholeNumber | None = None
    """Token bucket only: how many may go at once. None: as many as the count of the rate."""

    aligned: StrictBool = False
    """Leaky bucket only: one in each interval since the start of the run, so that after a pause two may be closer
    than an interval (as failsafe-go)."""

    on_limit: Literal["defer", "drop"] = "defer"
    """A refused notification waits until it fits, or is dead-lettered."""

    @property
    def is_filled(self) -> bool:
        """Whether it says how much it allows."""
        return any(given is not None for given in (self.max_per_minute, self.rate, self.rates))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._check()
        return self

    def _check(self) -> None:
        if sum(given is not None for given in (self.max_per_minute, self.rate, self.rates)) != 1:
            raise wanted("one of max_per_minute, rate and rates")
        buckets = self.kind in ("token_bucket", "gcra")
        if any(rate.count < 1 for rate in self.limits):
            raise wanted("a rate that lets at least 1 through in its window, such as 1/10s")
        if self.burst is not None and not buckets:
            raise wanted("burst only with kind: token_bucket")
        if self.burst is not None and len(self.limits) > 1:
            raise wanted("burst only with one rate")
        if self.aligned and self.kind != "leaky_bucket":
            raise wanted("aligned only with kind: leaky_bucket")
        if self.kind == "leaky_bucket" and len(self.limits) > 1:
            raise wanted("one rate with kind: leaky_bucket, where only the slowest has an effect")
        if not buckets and self.kind != "leaky_bucket":
            self._check_counts()
        for shorter, longer in pairwise(self.limits):
            self._check_order(shorter, longer)

    def _check_counts(self) -> None:
        """A window has no half of a notification to let through, and rounding would be another limit."""
        what = f"a whole number in each window of a {self.kind} (kind: token_bucket takes any)"
        for rate in self.limits:
            if not float(rate.count).is_integer():
                raise wanted(what, write_rate(rate))

    @staticmethod
    def _check_order(shorter: Rate, longer: Rate) -> None:
        """Each rate has to bind somewhere: short bursts by the first, the long run by the last."""
        got = f"{write_rate(shorter)} before {write_rate(longer)}"
        if shorter.period >= longer.period:
            raise wanted("rates from the shortest window to the longest", got)
        if shorter.count >= longer.count:
            raise wanted("rates of which the longer window lets more through than the shorter", got)
        if shorter.per_second <= longer.per_second:
            raise wanted("rates of which the longer window is the slower on average", got)

    @property
    def limits(self) -> tuple[Rate, ...]:
        """The rates that this limit combines; all of them hold."""
        return self.rates or (self.rate or Rate(float(self.max_per_minute or 0), 60.0),)

    @property
    def limit(self) -> Rate:
        """The rate that bounds the long run."""
        return self.limits[-1]


BUCKETS = ("token_bucket", "gcra", "leaky_bucket")
"""The kinds of limits whose allowance flows in evenly."""


class QuotaConfig(RateLimitConfig):
    """A limit of requests in each window for the whole channel, or the limit of an account that channels share."""

    account: Text | None = None
    """The account whose `quota` this is, in place of all other keys: requests of other channels with this account count
    as well, and channels that wait take turns. None: the channel's own."""

    across: Literal["each", "nodes"] = "each"
    """How nodes that share a store share the quota. `each`: each node has the whole quota. `nodes`: all nodes together
    have it, and each living node has an equal part; for buckets only, which can be divided."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_limit(cls, data: Any) -> Any:
        if type(data) is not RateLimitConfig:
            return data
        return {key: getattr(data, key) for key in data.model_fields_set}

    def _check(self) -> None:
        if self.account is None:
            super()._check()
            if self.across == "nodes" and self.kind not in BUCKETS:
                raise wanted("across: nodes only with a bucket (kind: token_bucket or leaky_bucket)", self.kind)
        elif others := sorted(self.model_fields_set - {"account"}):
            raise wanted("account alone, since the account says how much it allows", " and ".join(others))
