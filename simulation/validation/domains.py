"""What the parameters of a case may be: where its formulas are true, and a run ends in a sensible time.

::

    with checking("mm_c") as check:
        parameters = check.rows(parameters, {"λ": POSITIVE, "μ": POSITIVE, "c": COUNT}, STABLE)

checks each row, and raises with all problems at the end: ``mm_c: wanted λ < c·μ, or no queue is stable, got λ=3 μ=1
c=2``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, TypeAlias

from actors.errors import ConfigurationError

RARE = 1e-3
"""What has a smaller probability hardly happens in a run: it is not measured."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The values that one parameter may have."""

    wanted: str
    """What they are, in words."""

    holds: Callable[[Any], bool]


Relation: TypeAlias = tuple[str, Callable[..., bool]]
"""What the parameters of a row have to do with each other, in words and as a function of them. One that cannot even be
computed, as it divides by 0 or overflows, does not hold."""


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and value == value  # no nan


def _is_inner(value: Any) -> bool:
    return _is_number(value) and 0 < value < 1


def real(wanted: str, low: float = 0, high: float = math.inf, *, above_low: bool = False) -> Domain:
    """Return the finite numbers from `low`, or above it, to `high`."""
    return Domain(
        wanted,
        lambda value: (
            _is_number(value)
            and abs(value) < math.inf
            and (low < value if above_low else low <= value)
            and value <= high
        ),
    )


def whole(low: int, high: int | None = None) -> Domain:
    """Return the whole numbers from `low`, to `high` if there is such a one."""
    return Domain(
        f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high:,}",
        lambda value: (
            isinstance(value, Integral)
            and not isinstance(value, bool)
            and low <= int(value)
            and (high is None or int(value) <= high)
        ),
    )


def one_of(known: Collection[str]) -> Domain:
    """Return these names."""
    return Domain(f"one of {', '.join(map(repr, known))}", lambda value: isinstance(value, str) and value in known)


POSITIVE = real("a number of more than 0", above_low=True)
NOT_NEGATIVE = real("a number of at least 0")
PROBABILITY = real("a probability from 0 to 1", high=1)
POSITIVE_PROBABILITY = real("a probability of more than 0, at most 1", high=1, above_low=True)
UTILISATION = Domain("a utilisation between 0 and 1", _is_inner)
COUNT = whole(1)
SERVERS = whole(1, 100_000)
ATTEMPTS = whole(1, 1000)
ANY_NUMBER = real("a number", low=-math.inf)
NAME = Domain("a text", lambda value: isinstance(value, str))

RATE = real("a rate from 0.001 to 1,000,000 a second", low=1e-3, high=1e6)
"""What a scenario can say: clocks tick in nanoseconds, which blur what is shorter than a microsecond, and a run takes
less than a hundred years."""

MICROSECONDS = real("a number of at least 0.000001", low=1e-6)
"""Seconds that a clock which ticks in nanoseconds does not blur."""

SEEN_PROBABILITY = Domain(
    "a probability from 0.001 to 0.999, or 0 or 1",
    lambda value: _is_number(value) and (value in (0, 1) or RARE <= value <= 1 - RARE),
)
"""What hardly ever happens, or hardly ever does not, may not happen in a validation: then nothing is compared."""

STABLE: Relation = ("λ < c·μ, or no queue is stable", lambda rate, mu, servers: rate < servers * mu)
"""Of arrivals, services of one server, and servers."""


@dataclass(slots=True)
class Check:
    """Finds what is wrong with the arguments of one call."""

    factory: str
    """The name of the function that is called."""

    problems: list[str] = field(default_factory=list)

    def rows(
        self, given: Iterable[Any], parameters: Mapping[str, Domain], *relations: Relation, at_least: int = 0
    ) -> list[tuple[Any, ...]]:
        """Return those of the rows that are in the domain, with numbers as Python's own.

        Args:
            given: lists or tuples with a value of each parameter; or the values themselves if there is only one.
            parameters: their domains by name.
            relations: of them; each is looked at in rows of which every value is in its own domain.
            at_least: how many rows there have to be.
        """
        one = f"({', '.join(parameters)})" if len(parameters) > 1 else next(iter(parameters))
        if isinstance(given, str) or not isinstance(given, Iterable):
            self.problems.append(f"{self.factory}: wanted a list of {one}, got {given!r}")
            return []
        given = list(given)
        if len(parameters) > 1 and given and not any(_is_row(row) for row in given):
            alone = _plain_all(given)
            example = f", such as [{alone!r}]" if len(alone) == len(parameters) else ""
            self.problems.append(f"{self.factory}: wanted a list of {one}{example}, got {alone!r}")
            return []
        if len(given) < at_least:
            self.problems.append(f"{self.factory}: wanted a list of {one}, got an empty one")
        checked = []
        for row in given:
            if len(parameters) > 1 and not (_is_row(row) and len(row) == len(parameters)):
                self.problems.append(f"{self.factory}: wanted {one}, got {row!r}")
            elif (values := self.row(row if len(parameters) > 1 else (row,), parameters, *relations)) is not None:
                checked.append(values)
        return checked

    def values(self, given: Iterable[Any], name: str, domain: Domain, *relations: Relation) -> list[Any]:
        """Return those of the values of one parameter that are in its domain."""
        return [value for (value,) in self.rows(given, {name: domain}, *relations)]

    def row(
        self, given: Iterable[Any], parameters: Mapping[str, Domain], *relations: Relation
    ) -> tuple[Any, ...] | None:
        """Return a value of each parameter, with numbers as Python's own; None if they are not in the domain."""
        values = _plain_all(given)
        got = " ".join(f"{name}={value!r}" for name, value in zip(parameters, values, strict=True))
        wrong = [
            f"{name} to be {domain.wanted}"
            for (name, domain), value in zip(parameters.items(), values, strict=True)
            if not domain.holds(value)
        ]
        wrong = wrong or [wanted for wanted, holds in relations if not _holds(holds, values)]
        self.problems += [f"{self.factory}: wanted {each}, got {got}" for each in wrong]
        return None if wrong else values


@contextmanager
def checking(factory: str) -> Iterator[Check]:
    """Check the arguments of one call of a function of this name.

    Raises:
        ConfigurationError: arguments are not in their domain; all problems.
    """
    check = Check(factory)
    yield check
    if check.problems:
        raise ConfigurationError(list(dict.fromkeys(check.problems)))


def _is_row(row: Any) -> bool:
    return isinstance(row, Collection) and not isinstance(row, str)


def _plain_all(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(_plain(value) for value in values)


def _plain(value: Any) -> Any:
    """Return a number, of numpy's or others, as one of Python's own, which is written as a scenario writes it."""
    if _is_row(value):
        return _plain_all(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _holds(holds: Callable[..., bool], values: tuple[Any, ...]) -> bool:
    try:
        return holds(*values)
    except ArithmeticError:
        return False
