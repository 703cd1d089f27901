"""What a scenario expects of its run: ``dlq.peak <= 150``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from actors.settings.base import nearest
from actors.settings.quantities import parse_duration, parse_rate, parse_share, wanted
from simulation.scenario.metrics import (
    DURATIONS,
    MOVED,
    NOT_METRICS,
    WITHIN,
    MetricKind,
    Shape,
    keys_of,
    path_of,
    within_name,
)

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
_FORM = re.compile(r"\s*([A-Za-z0-9_./-]+(?:\([^()\s]+\))?)\s*(>=|<=|==|!=|>|<)\s*(\S+(?:\s\S+)*)\s*", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_IS = {MetricKind.TEXT: "text", MetricKind.LIST: "a list", MetricKind.SEED: "the run's seed"}
_WANTED = "an expectation such as sent_fraction >= 0.99"


@dataclass(frozen=True, slots=True)
class Expectation:
    """A bound on one metric of the summary."""

    text: str
    """As it was written."""

    path: tuple[str, ...]
    op: str
    """One of ``>= <= > < == !=``."""

    value: float
    """Durations in seconds, shares between 0 and 1, rates a second."""

    def evaluate(self, summary: Mapping[str, Any]) -> tuple[float | None, bool]:
        """Return the metric in `summary` and whether it is as expected.

        A statistic of no values is None, and None never holds, not even for ``!=``: no run has shown it.
        """
        value: Any = summary
        for key in self.path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None, False
        return value, self.holds_of(value)

    def holds_of(self, measured: float | None) -> bool:
        """Return whether the metric is as expected; None is not, nor is never, which is infinite."""
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
            raise wanted(_WANTED)
        keys = keys_of(match[1])
        if keys[-2:-1] == [WITHIN] and (seconds := parse_duration(keys[-1])):
            keys[-1] = within_name(seconds)
        return cls(" ".join(text.split()), tuple(keys), match[2], value)

    def problem(self, shape: Shape) -> str | None:
        """Return what is wrong with the path or the unit when the summary has this `shape`, or None."""
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
        match = _FORM.fullmatch(self.text)
        written = match[3] if match else ""
        if not _NUMBER.fullmatch(written) and not _unit_fits(written, part):
            return f"wanted a number that fits {path} ({part}), got {written!r}"
        return None

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any) -> Expectation:
            return value if isinstance(value, cls) else cls.parse(value)

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.text)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _core: CoreSchema, _handler: Any) -> dict[str, Any]:
        pattern = r"^\s*[A-Za-z0-9_./-]+(\([^()\s]+\))?\s*(>=|<=|==|!=|>|<)\s*\S+"
        return {"type": "string", "pattern": pattern, "description": _WANTED}


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
    near = nearest(path[depth], known)
    if near is not None:
        return f"wanted a metric of the summary, got {wrong}; did you mean {path_of((*path[:depth], near))}?"
    where = f"{path_of(path[:depth])} has" if depth else "known are"
    return f"wanted a metric of the summary, got {wrong}; {where} {', '.join(known)}"


def _first_metric(shape: Shape) -> tuple[str, ...]:
    key, part = next(iter(shape.items()), ("", MetricKind.COUNT))
    return (key,) if isinstance(part, MetricKind) else (key, *_first_metric(part))
