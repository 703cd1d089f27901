"""Expectations of a scenario's run: ``dlq.peak <= 150``; or of a share of its runs with other seeds.

An entry of `expect` is a text, or a mapping that one of its keys tells from others: with ``in`` a
:class:`RunsExpectation`. All become an :class:`Expectation`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import Field, GetCoreSchemaHandler, ValidationInfo, model_validator
from pydantic_core import CoreSchema, core_schema

from actors.formatting import plain_number
from actors.settings.base import NotEmpty, Settings
from actors.settings.hints import listed, nearest
from actors.settings.meanings import WordPlace
from actors.settings.other_libraries import meaning
from actors.settings.quantities import (
    Duration,
    PositiveDuration,
    Wanted,
    parse_duration,
    parse_rate,
    parse_share,
    wanted,
    write_duration,
)
from simulation.scenario.metrics import (
    DURATIONS,
    MOVED,
    NEVER,
    NOT_METRICS,
    QUANTILES,
    RANGES,
    WINDOWS,
    WITHIN,
    MetricKind,
    Shape,
    Window,
    is_null_never,
    keys_of,
    path_of,
    range_text,
)

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
_FORM = re.compile(r"\s*([A-Za-z0-9_./@-]+(?:\([^()\s]+\))?)\s*(>=|<=|==|!=|>|<)\s*(\S+(?:\s\S+)*)\s*", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_QUANTILE = re.compile(r"p([0-9]{1,2}(?:[._][0-9]+)?)", re.ASCII)
_IS = {
    MetricKind.TEXT: "text",
    MetricKind.LIST: "a list",
    MetricKind.SEED: "the run's seed",
    MetricKind.VERSION: "that of the form it has",
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """A bound on one metric of the summary."""

    wanted_text: ClassVar[str] = "an expectation such as sent_fraction >= 0.99"

    bound: str
    """As it was written: ``dlq.peak <= 150``."""

    path: tuple[str, ...]
    op: str
    """One of ``>= <= > < == !=``."""

    value: float
    """Durations in seconds, shares between 0 and 1, rates a second."""

    share: float | None = None
    """The share of runs in which it must hold, more than 0 and less than 1; None: in every run."""

    window: Window | None = None
    """The part of the run that it is about; None: the whole."""

    at: tuple[str | int, ...] = field(default=(), compare=False)
    """Where it stands in `expect`."""

    @property
    def text(self) -> str:
        """The whole expectation: ``dlq.peak <= 150``, or ``dlq.peak <= 150 from 5m to 10m in 99% of runs``."""
        when = "" if self.window is None else f" {_when(self.window)}"
        return f"{self.bound}{when}" if self.share is None else f"{self.bound}{when} in {_of_runs(self.share)}"

    def during(self, window: Window) -> Expectation:
        return replace(self, window=window, path=(WINDOWS, window.name, *self.path))

    def evaluate(self, summary: Mapping[str, Any]) -> tuple[float | None, bool | None]:
        """Return the metric in `summary` and whether it is as expected; None where no single run decides that.

        A statistic of no values is None, and None never holds, not even for ``!=``: no run has shown it.
        """
        value = self._value_in(summary)
        return value, self.holds_of(value) if self.share is None else None

    def _value_in(self, summary: Mapping[str, Any]) -> float | None:
        value: Any = summary
        for key in self.path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return None if isinstance(value, bool) or not isinstance(value, (int, float)) else value

    def is_never(self, summary: Mapping[str, Any]) -> bool:
        """Tell whether its metric is a duration that is never, as a quantile where too many were never delivered."""
        above: Any = summary
        for key in self.path[:-1]:
            above = above.get(key) if isinstance(above, Mapping) else None
        key = self.path[-1]
        return isinstance(above, Mapping) and above.get(key, 0) is None and is_null_never(key, above.get(NEVER))

    def holds_of(self, measured: float | None) -> bool:
        """Return whether the metric of one run is within the bound; None is not, nor is never, which is infinite."""
        return measured is not None and math.isfinite(measured) and _COMPARE[self.op](measured, self.value)

    @property
    def within_s(self) -> float | None:
        """The time within which it wants deliveries counted; None: it is about something else."""
        return parse_duration(self.path[-1]) if self.path[-2:-1] == (WITHIN,) else None

    @classmethod
    def parse(cls, text: Any) -> Expectation:
        """Return the expectation that `text` states.

        Raises:
            PydanticCustomError: It states none.
        """
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        value = _number(match[3]) if match else None
        if match is None or value is None:
            raise wanted(cls.wanted_text)
        keys = keys_of(match[1])
        if keys[-2:-1] == [WITHIN] and (seconds := parse_duration(keys[-1])):
            keys[-1] = write_duration(seconds)
        return cls(" ".join(text.split()), tuple(keys), match[2], value)

    def problem(self, shape: Shape, window: Window | None = None) -> str | None:
        """Return its problem when the summary, or the part of it for a window, has this `shape`, or None."""
        part: MetricKind | Shape = shape
        for depth, key in enumerate(self.path):
            if isinstance(part, MetricKind) or key not in part:
                return _no_such_metric(self.path, depth, part)
            part = part[key]
        path = path_of(self.path)
        if not isinstance(part, MetricKind):
            return f"wanted a single metric, such as {path_of((*self.path, *_first_metric(part)))}, got {path}"
        if part in NOT_METRICS:
            return f"wanted a metric of the summary, got {path}, which is {_IS[part]}"
        match = _FORM.fullmatch(self.bound)
        written = match[3] if match else ""
        if not _NUMBER.fullmatch(written) and not _unit_fits(written, part):
            duration = ", or a duration such as 30s" if part in DURATIONS else ""
            return f"wanted a number that fits {path} ({part}{duration}), got {written!r}"
        if replace(self, window=window).always(part) is False:
            meant = part is MetricKind.SHARE and 1 < self.value <= 100 and not written.endswith("%")
            hint = f"; did you mean {written}%?" if meant else ""
            return f"wanted a bound that a run can meet, got {self.bound}: {path} is {range_text(part)}{hint}"
        return None

    def always(self, kind: MetricKind) -> bool | None:
        """Return whether it holds, or does not, whatever a run of a metric of this kind shows; None: a run decides."""
        # What leaves in a window, or at a node, may have come before it, or elsewhere.
        may_be_less = kind is MetricKind.COUNT and (self.window is not None or self.path[0] == "nodes")
        low, high = (-math.inf, math.inf) if may_be_less else RANGES[kind]
        if self.op in ("==", "!="):
            is_whole = kind is not MetricKind.COUNT or self.value.is_integer()
            return None if low <= self.value <= high and is_whole else self.op == "!="
        outcomes = {_COMPARE[self.op](value, self.value) for value in (low, high)}
        return outcomes.pop() if len(outcomes) == 1 else None

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any) -> Expectation:
            return value if isinstance(value, cls) else cls.parse(value)

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(_written)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _core: CoreSchema, _handler: Any) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": r"^\s*[A-Za-z0-9_./@-]+(\([^()\s]+\))?\s*(>=|<=|==|!=|>|<)\s*\S+",
            "description": cls.wanted_text,
        }


def _share_of_runs(value: Any, _unit_required: bool) -> float | None:
    words = value.split() if isinstance(value, str) else []
    share = parse_share(" ".join(words[:-2])) if words[-2:] == ["of", "runs"] else None
    return share if share is not None and 0 < share < 1 else None


class RunsExpectation(Settings):
    """An expectation that must hold in a share of runs with different seeds. `retrylab run --replicates` decides it."""

    wanted_text: ClassVar[str] = "{that: sent_fraction >= 0.99, in: 99% of runs}"

    that: Expectation
    """The expectation that must hold in such a run."""

    in_: Annotated[
        float,
        Wanted(
            "a share of runs of more than 0% and less than 100% such as 99% of runs",
            _share_of_runs,
            {"type": "string", "pattern": r"^\s*[0-9]{1,2}(\.[0-9]+)?([eE]-[0-9]+)? ?%\s+of\s+runs\s*$"},
        ),
    ] = Field(alias="in")
    """The share of runs, as ``99% of runs``."""

    @property
    def expectation(self) -> Expectation:
        return replace(self.that, share=self.in_)


class WindowExpectation(Settings):
    """Expectations for a part of the run: of delivery for notifications offered in it, else for events that happen in
    it."""

    wanted_text: ClassVar[str] = "{from: 5m, to: 10m, that: [sent_fraction >= 0.99]}"

    from_: Duration = Field(0.0, alias="from")
    """When it begins, itself included."""

    to: PositiveDuration | None = None
    """When it ends, itself excluded. None: with the run."""

    that: Annotated[tuple[Expectation, ...], NotEmpty()]
    """The expectations that must hold."""

    @model_validator(mode="after")
    def _some_time(self) -> WindowExpectation:
        if self.to is not None and self.to <= self.from_:
            raise wanted("to after from", f"from {write_duration(self.from_)} to {write_duration(self.to)}")
        return self

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """The bounds, each with the window."""
        window = Window(self.from_, self.to)
        return tuple(each.during(window) for each in self.that)


class _Entry:
    """The marker of an entry of `expect`: a text, or a mapping whose keys show its kind, so that only problems of that
    kind are reported."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # The validator sees to the forms itself: of their union only the JSON Schema is made.
        forms = [handler.generate_schema(form) for form in (RunsExpectation, WindowExpectation)]
        union = core_schema.union_schema([handler(source), *forms])
        return core_schema.with_info_wrap_validator_function(
            self._read, union, serialization=core_schema.plain_serializer_function_ser_schema(_written)
        )

    def _read(self, value: Any, _handler: Any, info: ValidationInfo) -> Expectation | tuple[Expectation, ...]:
        if isinstance(value, Expectation):
            return value
        if isinstance(value, Mapping) and not value.keys().isdisjoint({"from", "to"}):
            return WindowExpectation.model_validate(value, context=info.context).expectations
        if isinstance(value, Mapping):
            return RunsExpectation.model_validate(value, context=info.context).expectation
        return Expectation.parse(value)


Entry: TypeAlias = Annotated[Expectation, _Entry()]
"""An entry of `expect`."""


def flattened(entries: tuple[Expectation | tuple[Expectation, ...], ...]) -> tuple[Expectation, ...]:
    """Return the expectations of all entries, each with its place."""
    found: list[Expectation] = []
    for number, entry in enumerate(entries):
        if isinstance(entry, Expectation):
            found.append(entry if entry.at else replace(entry, at=(number,)))
        else:
            found += [replace(each, at=(number, "that", place)) for place, each in enumerate(entry)]
    return tuple(found)


def _when(window: Window) -> str:
    return (
        f"from {write_duration(window.from_s)} to {'the end' if window.to_s is None else write_duration(window.to_s)}"
    )


def _written(expectation: Expectation) -> str | dict[str, Any]:
    if (window := expectation.window) is not None:
        to = {} if window.to_s is None else {"to": write_duration(window.to_s)}
        return {"from": write_duration(window.from_s), **to, "that": [expectation.bound]}
    if expectation.share is None:
        return expectation.bound
    return {"that": expectation.bound, "in": _of_runs(expectation.share)}


def _of_runs(share: float) -> str:
    return f"{plain_number(share * 100, 12)}% of runs"


def _number(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        value = float(text)
        return value if abs(value) != float("inf") else None
    if (rate := parse_rate(text)) is not None:
        return rate.per_second
    duration = parse_duration(text)
    return duration if duration is not None else parse_share(text)


def _unit_fits(text: str, kind: MetricKind) -> bool:
    if parse_duration(text) is not None:
        return kind in DURATIONS
    if parse_share(text) is not None:
        return kind is MetricKind.SHARE
    return kind is MetricKind.PER_SECOND


def _no_such_metric(path: tuple[str, ...], depth: int, part: MetricKind | Shape) -> str:
    wrong = path_of(path)
    if (now := MOVED.get(path_of(path[-2:]))) is not None or (now := MOVED.get(path[-1])) is not None:
        return f"wanted a metric of the summary, got {wrong}; it is {now}"
    if isinstance(part, MetricKind):
        return f"wanted a metric of the summary, got {wrong}; {path_of(path[:depth])} is a single metric"
    if path[depth - 1 : depth] == (WITHIN,):
        return f"wanted a duration as in delivered_within(30s), got {wrong}"
    known = [key for key, below in part.items() if below not in NOT_METRICS]
    if (meant := meaning(path[depth], None, WordPlace("expect"))) is not None and path[depth] not in known:
        return f"wanted a metric of the summary, got {wrong}; {meant.text}"
    if path[:depth] == ("faults",):
        ending = f"here {listed(known)}" if known else "here none does"
        return f"wanted a metric of the summary, got {wrong}; only faults that end have one: {ending}"
    near = nearest(path[depth], known)
    if near is not None:
        return f"wanted a metric of the summary, got {wrong}; did you mean {path_of((*path[:depth], near))}?"
    if depth == 0 and path[1:2] and path[1] in known:
        return f"wanted a metric of the summary, got {wrong}; did you mean channels.{wrong}?"
    if (quantile := _QUANTILE.fullmatch(path[depth])) is not None and path[:depth] in ((), ("delivery_time_s",)):
        same = f"a {quantile[0]} of at most 10s is delivered_within(10s) >= {quantile[1].replace('_', '.')}%"
        there = f"delivery_time_s has {', '.join(QUANTILES)}"
        return f"wanted a metric of the summary, got {wrong}; {there}, and {same}"
    where = f"{path_of(path[:depth])} has" if depth else "known are"
    return f"wanted a metric of the summary, got {wrong}; {where} {listed(known, '' if depth else 'summary')}"


def _first_metric(shape: Shape) -> tuple[str, ...]:
    key, part = next(iter(shape.items()), ("", MetricKind.COUNT))
    return (key,) if isinstance(part, MetricKind) else (key, *_first_metric(part))
