"""Shapes of what may be drawn, as data: :func:`drawn` reads them with a stream of random numbers, and the strategies of
:mod:`simulation.testing.strategies` with Hypothesis."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from actors.settings.quantities import Rate
from simulation.verification.drawing.numbers import log_uniform

Shape: TypeAlias = Any
"""One of the classes below; a mapping of keys to shapes; or a value, which is always the same."""


@dataclass(frozen=True, slots=True)
class Between:
    """A number between two others, about as often in one order of magnitude as in another."""

    low: float
    high: float
    is_whole: bool = False
    zero_below: float = 0.0
    """A smaller draw becomes 0."""
    is_signed: bool = False
    """Whether half of them are below 0."""

    def of(self, drawn: float, sign: float = 1.0) -> float:
        """Return the number that one between the two ends stands for."""
        if self.is_whole:
            return round(drawn)
        return sign * drawn if drawn >= self.zero_below else 0.0


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several shapes, each as likely as the others."""

    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One shape in a share of the cases, and another one in all others."""

    share: float
    first: Shape
    second: Shape


@dataclass(frozen=True, slots=True)
class Maybe:
    """The value of a key that is there in a share of the cases."""

    share: float
    shape: Shape


@dataclass(frozen=True, slots=True)
class Rates:
    count: Shape
    period: Shape


@dataclass(frozen=True, slots=True)
class Joined:
    """The keys of several shapes, all of them mappings."""

    parts: tuple[Shape, ...]


def drawn(shape: Shape, random: Random) -> Any:
    match shape:
        case Between():
            sign = random.choice((-1.0, 1.0)) if shape.is_signed else 1.0
            return shape.of(log_uniform(random, shape.low, shape.high), sign)
        case OneOf():
            return drawn(random.choice(shape.shapes), random)
        case Either():
            return drawn(shape.first if random.random() < shape.share else shape.second, random)
        case Rates():
            return Rate(drawn(shape.count, random), drawn(shape.period, random))
        case Joined():
            return dict(ChainMap(*[drawn(part, random) for part in shape.parts]))
        case Mapping():
            found = {}
            for key, of_key in shape.items():
                if isinstance(of_key, Maybe):
                    if random.random() >= of_key.share:
                        continue
                    of_key = of_key.shape
                found[key] = drawn(of_key, random)
            return found
        case _:
            return shape
