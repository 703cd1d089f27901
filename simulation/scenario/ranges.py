"""A range of values of a setting, from which a sweep or a search takes some: ``{from: 100ms, to: 10s, scale: log}``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

from pydantic import ConfigDict, Field, ValidationInfo, WrapValidator, model_validator

from actors.settings.base import NotEmpty, Settings
from actors.settings.quantities import Wanted, parse_duration, parse_rate, parse_share, wanted, whole_number
from actors.settings.yaml_tree import plain_scalar

DIGITS = 4
"""Values between the ends are rounded to this many significant digits, as a person would write them into a file."""

STEPS_MAX = 1_000


class _RangeKind(NamedTuple):
    name: str
    read: Callable[[Any], float | None]
    write: Callable[[float], str]


def _whole(value: Any) -> float | None:
    return float(value) if type(value) is int else None


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def _rate(value: Any) -> float | None:
    rate = parse_rate(value, unit_required=True)
    return None if rate is None else rate.per_second


def _share(value: Any) -> float | None:
    return parse_share(value) if isinstance(value, str) else None


_KINDS = (
    _RangeKind("whole numbers", _whole, lambda value: str(round(value))),
    _RangeKind("numbers", _number, lambda value: _written(value)),
    _RangeKind(
        "durations", lambda value: parse_duration(value, unit_required=True), lambda value: f"{_written(value)}s"
    ),
    _RangeKind("rates", _rate, lambda value: f"{_written(value)}/s"),
    _RangeKind("shares", _share, lambda value: f"{_written(value * 100)}%"),
)


def _written(value: float) -> str:
    return f"{value:.{DIGITS}g}"


def quantity(value: Any) -> float | None:
    """Return a value of a file as a number: seconds, events a second, a share between 0 and 1; None if it is none."""
    return next((number for kind in _KINDS if (number := kind.read(value)) is not None), None)


_End = Annotated[
    Any,
    Wanted(
        "a number, a duration, a rate or a share",
        lambda value, _unit_required: None if quantity(value) is None else value,
        {"type": ["number", "string"]},
    ),
]


_Steps = Annotated[
    int,
    Wanted(
        f"a whole number from 2 to {STEPS_MAX:,}",
        lambda value, _unit_required: value if type(value) is int and 2 <= value <= STEPS_MAX else None,
        {"type": "integer", "minimum": 2, "maximum": STEPS_MAX},
    ),
]


class Range(Settings):
    """All values between two, both included: whole numbers where both ends are, or numbers, durations, rates or
    shares."""

    wanted_text: ClassVar[str] = "a range such as {from: 1, to: 10} or {from: 100ms, to: 10s, scale: log}"

    from_: _End = Field(alias="from")
    """The lowest."""

    to: _End
    """The highest."""

    scale: Literal["linear", "log"] = "linear"
    """``log``: so that each tenfold of values is as likely as the next one. The lowest has to be more than 0."""

    steps: _Steps | None = None
    """How many values, evenly spaced on the scale, a grid takes. None: it is not for a grid."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        self._kind()
        if self.low >= self.high:
            raise wanted("a lowest value below the highest", f"{self.from_} to {self.to}")
        if self.scale == "log" and self.low <= 0:
            raise wanted("from more than 0 where the scale is log", f"{self.from_}")
        return self

    def _kind(self) -> _RangeKind:
        for kind in _KINDS:
            if kind.read(self.from_) is not None and kind.read(self.to) is not None:
                return kind
        raise wanted("from and to of one kind", f"{self.from_} and {self.to}")

    @property
    def is_whole(self) -> bool:
        return self._kind() is _KINDS[0]

    @property
    def low(self) -> float:
        """The lowest value: as it stands there, or in seconds, events a second, or as a share between 0 and 1."""
        low = self._kind().read(self.from_)
        assert low is not None
        return low

    @property
    def high(self) -> float:
        """The highest value."""
        high = self._kind().read(self.to)
        assert high is not None
        return high

    def text(self, value: float) -> str:
        """Return how a value of the range is written in a file; the ends as they were."""
        kind = self._kind()
        text = kind.write(value)
        rounded = kind.read(plain_scalar(text))
        assert rounded is not None
        if min(value, rounded) <= self.low:
            return str(self.from_)
        return str(self.to) if max(value, rounded) >= self.high else text

    def at(self, share: float) -> str:
        """Return the value at a share of the range, at least 0 and less than 1, on its scale.

        Of whole numbers each has the same part of the shares.
        """
        low, high = self.low, self.high + 1 if self.is_whole else self.high
        value = low * (high / low) ** share if self.scale == "log" else low + share * (high - low)
        return self.text(math.floor(value * (1 + 1e-12)) if self.is_whole else value)

    def levels(self) -> list[str]:
        """Return the values that a grid takes, each once; whole numbers are rounded."""
        assert self.steps is not None
        low, high, last = self.low, self.high, self.steps - 1
        values = [
            low * (high / low) ** (step / last) if self.scale == "log" else low + (high - low) * step / last
            for step in range(self.steps)
        ]
        return list(dict.fromkeys(map(self.text, values)))


# ── the sweep of a file ───────────────────────────────────────────────────────────────────────────────────────────────


Design: TypeAlias = Literal["grid", "random", "latin-hypercube"]
"""How the combinations of values are chosen.

`grid`: every combination. `random`: each value by itself, as often as it is asked for. `latin-hypercube`: each setting
is divided into as many equally likely parts as there are samples, and each part is met exactly once (McKay, Beckman and
Conover, *Technometrics* 21, 1979), so that few samples reach everywhere.
"""

CELLS_MAX = 10_000
"""Combinations of settings."""

RUNS_MAX = 1_000_000
"""Of all combinations together."""

VALUES = "a list of values, or a range such as {from: 1, to: 10}"


def _values(value: Any, _handler: Any, info: ValidationInfo) -> Any:
    """Validate values as the one kind that they look like, so that problems are those of that kind alone."""
    if isinstance(value, (dict, Range)):
        return Range.model_validate(value, context=info.context)
    if not isinstance(value, (list, tuple)):
        raise wanted(VALUES)
    if not value:
        raise wanted(NotEmpty.text)
    return tuple(value)


class Sweep(Settings):
    """Which settings to vary: each path into the scenario, such as `channels.email.retry.max_attempts`, with the values
    to try, or a range of them."""

    model_config = ConfigDict(extra="allow")
    wanted_text: ClassVar[str] = "a mapping such as {channels.email.retry.max_attempts: [1, 3, 5], replicates: 20}"

    __pydantic_extra__: dict[str, Annotated[Range | Annotated[tuple[Any, ...], NotEmpty()], WrapValidator(_values)]] = (
        Field(init=False)
    )

    replicates: Annotated[int, whole_number(1, RUNS_MAX)] = 10
    """How many runs, each with its own seed, for every combination of values; at most 1,000,000 in
    all."""

    design: Design = "grid"
    """How the combinations are chosen. `grid`: every combination; a range says into how many `steps`. `random`: each
    value by itself. `latin-hypercube`: each setting is divided into as many equal parts as there are samples, and each
    part is used once."""

    samples: Annotated[int, whole_number(1, CELLS_MAX)] | None = None
    """How many combinations, at most 10,000; for the designs `random` and `latin-hypercube`."""

    @model_validator(mode="after")
    def _fits_the_design(self) -> Self:
        if self.design == "grid" and self.samples is not None:
            raise wanted("samples only beside design: random or latin-hypercube, a grid has every combination", "grid")
        if self.design != "grid" and self.samples is None:
            raise wanted(f"samples beside design: {self.design}", "none")
        if self.design == "grid":
            for path, values in self.vary.items():
                if isinstance(values, Range) and values.steps is None:
                    raise wanted(f"steps in the range of {path}, or design: latin-hypercube", "neither")
        return self

    @property
    def vary(self) -> dict[str, Range | tuple[Any, ...]]:
        """The values to try, by path; lists as they are written in the file."""
        return dict(self.__pydantic_extra__)
