"""How narrow a confidence interval has to be: runs are added until it is.

The half-width of the 95% interval is looked at after ten runs, and then each time after half as many again. That looks
at the width and not at the mean, so that the interval keeps its confidence as the width wanted becomes small (Chow and
Robbins, *On the Asymptotic Theory of Fixed-Width Sequential Confidence Intervals for the Mean*, Annals of Mathematical
Statistics 36, 1965); ten runs and few looks keep it near 95% where it is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic_core import PydanticCustomError

from actors.errors import ConfigurationError
from simulation.results.formatting import metric_text
from simulation.scenario import Scenario
from simulation.scenario.expectations import Expectation
from simulation.scenario.metrics import metric_kind, path_of, summary_shape

FIRST_LOOK = 10
"""Runs before the first look."""


class Interval(Protocol):
    """A confidence interval; an end that is not known of so few runs is None or NaN."""

    @property
    def low(self) -> float | None:
        """Where it begins."""

    @property
    def high(self) -> float | None:
        """Where it ends."""


@dataclass(frozen=True)
class Precision:
    """By the path of a metric, half the width that its confidence intervals may have at most; of none: any."""

    half_widths: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, within: Mapping[str, float | str] | None, scenarios: Sequence[Scenario], name: str) -> Precision:
        """Return what is wanted.

        Args:
            within: by the path of a metric, half the width: 0.001, ``0.1%``, ``2s``.
            scenarios: whose summaries are to have the metrics.
            name: of the option or the argument, for the error.

        Raises:
            ConfigurationError: one is no metric of them all, or no width above 0; all problems.
        """
        half_widths, problems = {}, []
        for path, width in (within or {}).items():
            try:
                bound = Expectation.parse(f"{path} <= {width}")
            except PydanticCustomError:
                problems.append(
                    f"{name}: wanted a metric and half a width such as sent_fraction=0.1%, got {path}={width}"
                )
                continue
            if 0 < bound.value < math.inf:
                shapes = [summary_shape(scenario.outline) for scenario in scenarios]
                found = [problem for shape in shapes if (problem := bound.problem(shape)) is not None]
            else:
                found = [f"wanted half a width above 0, got {width}"]
            problems += [f"{name} {path}: {problem}" for problem in found]
            half_widths[path_of(bound.path)] = bound.value
        if problems:
            raise ConfigurationError(list(dict.fromkeys(problems)))
        return cls(half_widths)

    def looks(self, most: int) -> Iterator[int]:
        """Yield after how many runs to look: at last after the most there may be; only then where any width will do."""
        count = FIRST_LOOK if self.half_widths else most
        while count < most:
            yield count
            count += math.ceil(count / 2)
        yield most

    def too_wide(self, intervals: Mapping[str, Iterable[Interval | None]]) -> dict[str, float]:
        """Return the metrics with an interval that is too wide, and half of its width; infinite: it is not known."""
        widest = {metric: max(map(half_width, intervals[metric]), default=0.0) for metric in self.half_widths}
        return {metric: width for metric, width in widest.items() if not width <= self.half_widths[metric]}

    def words(self, too_wide: Mapping[str, float], scenario: Scenario, runs: int) -> list[str]:
        """Return a line for each metric whose intervals are still too wide."""
        lines = []
        for metric, width in too_wide.items():
            kind = metric_kind(scenario.outline, metric)
            is_known = math.isfinite(width)
            got = f"it is ± {metric_text(width, kind)}" if is_known else "it has no end"
            wanted = metric_text(self.half_widths[metric], kind)
            lines.append(f"{metric}: wanted an interval of ± {wanted} at most; after {runs} runs {got}")
        return lines


def half_width(interval: Interval | None) -> float:
    """Return half the width of an interval; infinite: there is none, or it has no end."""
    if interval is None or interval.low is None or interval.high is None:
        return math.inf
    half = (interval.high - interval.low) / 2
    return half if math.isfinite(half) else math.inf
