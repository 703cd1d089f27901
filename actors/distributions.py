"""Distributions of durations: latency, think time, anything that takes a while.

A file gives one as a single key with its parameters, ``{lognormal: {median: 80ms, p99: 900ms}}``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, model_validator

from actors.quantities import Duration, PositiveDuration, number, wanted

Draw = Callable[[], float]
"""Returns one duration in seconds."""


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Uniform(_Parameters):
    """Equally likely anywhere from `low` to `high`."""

    low: Duration = 0.0
    high: Duration

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise wanted("high at least as large as low")
        return self


class Exponential(_Parameters):
    """Memoryless, with this mean."""

    mean: PositiveDuration


class Normal(_Parameters):
    """Normal, cut at 0: what would be negative is 0."""

    mean: Duration
    sd: Duration


class Lognormal(_Parameters):
    """Lognormal by its median and 99th percentile, as latency is usually reported."""

    median: PositiveDuration
    p99: PositiveDuration

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.p99 < self.median:
            raise wanted("p99 at least as large as median")
        return self


class Pareto(_Parameters):
    """Pareto: P(X > x) = (minimum / x)^alpha. With alpha at most 1 it has no mean."""

    minimum: PositiveDuration
    alpha: Annotated[float, number(0.01)]


_P99_OF_STANDARD_NORMAL = 2.3263478740408408


class Distribution(_Parameters):
    """One distribution of durations; give exactly one of the keys."""

    constant: Duration | None = None
    uniform: Uniform | None = None
    exponential: Exponential | None = None
    normal: Normal | None = None
    lognormal: Lognormal | None = None
    pareto: Pareto | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise wanted("exactly one of " + ", ".join(type(self).model_fields))
        return self

    def sampler(self, random: Random) -> Draw:
        """Return a function that draws a duration in seconds from `random`; a constant one draws nothing."""
        match self.model_dump(exclude_unset=True):
            case {"constant": value}:
                return lambda: value
            case {"uniform": _}:
                assert self.uniform is not None
                low, width = self.uniform.low, self.uniform.high - self.uniform.low
                return lambda: low + width * random.random()
            case {"exponential": _}:
                assert self.exponential is not None
                rate = 1.0 / self.exponential.mean
                return lambda: random.expovariate(rate)
            case {"normal": _}:
                assert self.normal is not None
                mean, sd = self.normal.mean, self.normal.sd
                return lambda: max(0.0, random.normalvariate(mean, sd))
            case {"lognormal": _}:
                assert self.lognormal is not None
                mu = math.log(self.lognormal.median)
                sigma = (math.log(self.lognormal.p99) - mu) / _P99_OF_STANDARD_NORMAL
                return lambda: random.lognormvariate(mu, sigma)
            case _:
                assert self.pareto is not None
                minimum, exponent = self.pareto.minimum, -1.0 / self.pareto.alpha
                return lambda: minimum * (1.0 - random.random()) ** exponent
