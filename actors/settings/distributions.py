"""Distributions of durations, such as latency and think time.

A file gives one as a single key with its parameters, ``{lognormal: {median: 80ms, p99: 900ms}}``; a duration alone,
``80ms``, is a constant.

Median, mean and tail follow from formulas, not from draws. Under a time limit, the mean is the mean time really spent:
E[min(X, limit)], the *limited expected value* of actuaries (Klugman, Panjer and Willmot, *Loss Models*, appendix A). It
is finite for every distribution, also for a Pareto without a mean.
"""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import Annotated, Any, ClassVar, Self

from pydantic import GetJsonSchemaHandler, PrivateAttr, TypeAdapter, ValidationInfo, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from actors.optional_dependencies import needs
from actors.settings.base import NotEmpty, Settings, at_key, check_one_given, one_key_of
from actors.settings.csv_column import DataFile, read_numbers
from actors.settings.quantities import (
    LONGEST_S,
    Duration,
    PositiveDuration,
    PositiveNumber,
    number,
    parse_duration,
    wanted,
)

Draw = Callable[[], float]
"""Returns one duration in seconds."""

_OTHER_UNIT = re.compile(
    r"(^|[^a-z])(ms|msec|milli(s|seconds?)|[uµ]s|micro(s|seconds?)|ns|nano(s|seconds?)|min|minutes?|h|hours?)[^a-z]*$",
    re.IGNORECASE,
)
"""The name of a column that says that its durations are not in seconds, as ``latency_ms``."""

_P99_OF_STANDARD_NORMAL = 2.3263478740408408

_SMALLEST_DRAW = 2.0**-54
"""In place of a uniform draw of 0, which has no quantile."""

_LOG_LONGEST = math.log(LONGEST_S)
"""A heavy tail ends at a hundred years: each draw stays a finite number, and each instant after it a valid date."""


class Uniform(Settings):
    """Equally likely anywhere from `low` to `high`."""

    low: Duration = 0.0
    """The shortest."""

    high: Duration
    """The longest."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise wanted("high at least as large as low")
        return self

    def sampler(self, random: Random) -> Draw:
        low, width, uniform = self.low, self.high - self.low, random.random
        return lambda: low + width * uniform()

    def share_above(self, seconds: float) -> float:
        if self.low == self.high:
            return float(self.high > seconds)
        return min(1.0, max(0.0, (self.high - seconds) / (self.high - self.low)))

    def limited_mean(self, limit: float) -> float:
        above = self.share_above(limit)
        return above * limit + (1.0 - above) * (self.low + min(limit, self.high)) / 2.0


class Exponential(Settings):
    """Memoryless, with this mean."""

    mean: PositiveDuration
    """The mean."""

    def sampler(self, random: Random) -> Draw:
        return partial(random.expovariate, 1.0 / self.mean)

    def share_above(self, seconds: float) -> float:
        return math.exp(-max(0.0, seconds) / self.mean)

    def limited_mean(self, limit: float) -> float:
        return -self.mean * math.expm1(-limit / self.mean)


class Normal(Settings):
    """Normal, cut at 0: what would be negative is 0."""

    mean: Duration
    """The mean before the cut."""

    sd: Duration
    """The standard deviation before the cut."""

    def sampler(self, random: Random) -> Draw:
        mean, sd, normal = self.mean, self.sd, random.normalvariate
        return lambda: max(0.0, normal(mean, sd))

    def share_above(self, seconds: float) -> float:
        if seconds < 0.0:
            return 1.0  # cut at 0
        if self.sd == 0.0:
            return float(self.mean > seconds)
        return _standard_normal_above((seconds - self.mean) / self.sd)

    def limited_mean(self, limit: float) -> float:
        return self._excess(0.0) - self._excess(limit)

    def _excess(self, over: float) -> float:
        """Return E[max(0, X - over)]."""
        if self.sd == 0.0:
            return max(0.0, self.mean - over)
        z = (over - self.mean) / self.sd
        density = math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)
        return self.sd * density + (self.mean - over) * _standard_normal_above(z)


class Lognormal(Settings):
    """Lognormal by its median and 99th percentile, as latency is usually reported."""

    median: PositiveDuration
    """Half of all are shorter."""

    p99: PositiveDuration
    """99 of 100 are shorter."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.p99 < self.median:
            raise wanted("p99 at least as large as median")
        return self

    def sampler(self, random: Random) -> Draw:
        mu = math.log(self.median)
        sigma = (math.log(self.p99) - mu) / _P99_OF_STANDARD_NORMAL
        if sigma == 0.0:
            return lambda: self.median
        # By inversion, one uniform draw each, so that two medians compared on the same seeds draw the same
        # quantiles.
        uniform, quantile, exp = random.random, NormalDist(mu, sigma).inv_cdf, math.exp

        def draw() -> float:
            log = quantile(uniform() or _SMALLEST_DRAW)
            return exp(log if log < _LOG_LONGEST else _LOG_LONGEST)

        return draw

    @property
    def _sigma(self) -> float:
        return math.log(self.p99 / self.median) / _P99_OF_STANDARD_NORMAL

    def share_above(self, seconds: float) -> float:
        if seconds <= 0.0:
            return 1.0
        if self._sigma == 0.0:
            return float(self.median > seconds)
        return _standard_normal_above(math.log(seconds / self.median) / self._sigma)

    def limited_mean(self, limit: float) -> float:
        sigma = self._sigma
        if sigma == 0.0:
            return min(self.median, limit)
        z = math.log(limit / self.median) / sigma
        below = _standard_normal_above(sigma - z)
        part = self.median * math.exp(sigma * sigma / 2.0) * below if below else 0.0
        return part + limit * _standard_normal_above(z)


class Gamma(Settings):
    """Gamma by its mean and shape: the time of `shape` exponential stages one after the other (Erlang's, where the
    shape is a whole number). The standard deviation is ``mean / sqrt(shape)``; with a shape of 1 it is exponential."""

    mean: PositiveDuration
    """The mean."""

    shape: Annotated[float, number(0.01)]
    """The larger, the closer all are to the mean."""

    def sampler(self, random: Random) -> Draw:
        with needs("lab"):
            from scipy.special import gammaincinv

        # By inversion, as for all kinds: one uniform draw each, and two means or shapes draw the same quantiles.
        mean, shape, uniform, quantile = self.mean, self.shape, random.random, gammaincinv
        return lambda: min(mean * (float(quantile(shape, uniform())) / shape), LONGEST_S)

    def share_above(self, seconds: float, more: int = 0) -> float:
        """Return P(X > `seconds`), with `more` added to the shape at the same scale."""
        with needs("lab"):
            from scipy.special import gammaincc

        return float(gammaincc(self.shape + more, max(0.0, seconds) * self.shape / self.mean))

    def limited_mean(self, limit: float) -> float:
        return self.mean * (1.0 - self.share_above(limit, 1)) + limit * self.share_above(limit)


class Pareto(Settings):
    """Pareto: P(X > x) = (minimum / x)^alpha. With alpha at most 1 it has no mean."""

    minimum: PositiveDuration
    """The shortest."""

    alpha: Annotated[float, number(0.01)]
    """The smaller, the heavier the tail."""

    def sampler(self, random: Random) -> Draw:
        log_minimum, alpha, exponential, exp = math.log(self.minimum), self.alpha, random.expovariate, math.exp
        return lambda: exp(min(log_minimum + exponential(alpha), _LOG_LONGEST))

    def share_above(self, seconds: float) -> float:
        return 1.0 if seconds < self.minimum else math.pow(self.minimum / seconds, self.alpha)

    def limited_mean(self, limit: float) -> float:
        if limit <= self.minimum:
            return limit
        ratio, exponent = limit / self.minimum, 1.0 - self.alpha
        # (ratio^exponent - 1) / exponent, which is the logarithm where the exponent is 0 and keeps its digits near it.
        grown = math.log(ratio) if exponent == 0.0 else math.expm1(exponent * math.log(ratio)) / exponent
        return self.minimum * (1.0 + grown)


def _standard_normal_above(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2.0))


class Distribution(Settings):
    """One distribution of durations; give exactly one of the keys. A duration alone is a constant."""

    wanted_text: ClassVar[str] = "a duration such as 80ms, or a distribution such as {exponential: {mean: 80ms}}"
    other_names: ClassVar[Mapping[str, str]] = {
        "erlang": "Erlang's is gamma with a whole number for its shape, such as {gamma: {mean: 80ms, shape: 4}}",
        "gaussian": "did you mean normal?",
        "mean": "a mean alone is {exponential: {mean: 80ms}}",
        **dict.fromkeys(
            ("median", "p50", "p90", "p95", "p99"), "a median and a tail are {lognormal: {median: 80ms, p99: 300ms}}"
        ),
    }

    constant: Duration | None = None
    """Always the same."""

    uniform: Uniform | None = None
    """Equally likely between two values."""

    exponential: Exponential | None = None
    """Memoryless."""

    normal: Normal | None = None
    """Normal, cut at 0."""

    lognormal: Lognormal | None = None
    """As latency mostly is: by its median and 99th percentile."""

    gamma: Gamma | None = None
    """By its mean and shape."""

    pareto: Pareto | None = None
    """With a heavy tail."""

    mixture: Annotated[tuple[Component, ...], NotEmpty()] | None = None
    """One of several distributions, each chosen as often as its weight says."""

    empirical: DataFile | None = None
    """A CSV file with measured durations in seconds, in the column `seconds` or the only one; drawn with
    replacement. A path is relative to the file it stands in."""

    _measured: tuple[float, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _duration_alone(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if isinstance(data, (str, int, float)):
            unit_required = (info.context or {}).get("units") == "required"
            seconds = parse_duration(data, unit_required=unit_required)
            if seconds is None or seconds < 0:
                raise wanted(cls.wanted_text)
            data = {"constant": data}
        return handler(data)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        check_one_given(self, Distribution.model_fields)
        if self.empirical is not None:
            try:
                self._measured = _read_durations(self.empirical)
            except PydanticCustomError as problem:
                raise at_key("empirical", problem, self.empirical) from None
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core)
        one_key_of(handler.resolve_ref_schema(reference), Distribution)
        if cls is not Distribution:
            return reference
        alone = TypeAdapter(Duration).json_schema()
        return {"anyOf": [alone, reference]}

    def sampler(self, random: Random) -> Draw:
        """Return a function that draws a duration in seconds from `random`; a constant one draws nothing."""
        if self.constant is not None:
            value = self.constant
            return lambda: value
        if self.mixture is not None:
            draws = [component.sampler(random) for component in self.mixture]
            bounds = list(itertools.accumulate(component.weight for component in self.mixture))
            total, last, uniform = bounds[-1], len(draws) - 1, random.random
            return lambda: draws[min(bisect(bounds, total * uniform()), last)]()
        if self.empirical is not None:
            return partial(random.choice, self._measured)
        return self._parametric.sampler(random)

    @property
    def _parametric(self) -> Uniform | Exponential | Normal | Lognormal | Gamma | Pareto:
        given = self.uniform or self.exponential or self.normal or self.lognormal or self.gamma or self.pareto
        assert given is not None  # exactly one key is given, and the other kinds have been asked for before
        return given

    @property
    def measured(self) -> tuple[float, ...]:
        """The durations in the file of an `empirical` distribution, in seconds; empty for other distributions."""
        return self._measured


class Component(Distribution):
    """A distribution in a mixture."""

    weight: PositiveNumber
    """How often this component is chosen, relative to the weights of the others."""


def _read_durations(file: str) -> tuple[float, ...]:
    path = Path(file)

    def column(header: list[str]) -> int | None:
        if "seconds" in header:
            return header.index("seconds")
        if len(header) > 1:
            return None
        if _OTHER_UNIT.search(header[0]):  # would be wrong by a factor of a thousand, or of sixty
            raise wanted(f"seconds in {path.name}", "a column named after another unit")
        return 0

    numbers = read_numbers(path, column, "a column named seconds, or a single one,")
    for line, seconds in numbers:
        if seconds < 0:
            raise wanted(f"seconds of at least 0 in line {line} of {path.name}", "a negative number")
    return tuple(seconds for _, seconds in numbers)


Distribution.model_rebuild()
