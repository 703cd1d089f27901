"""The points of a space of settings: all of them where they are few, and otherwise those that a sampler proposes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

from actors.kernel.randomness import RandomStreams
from actors.settings.yaml_tree import Place, Unreadable, data, read
from simulation.scenario.ranges import Range, quantity
from simulation.scenario.space import Choices, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Point: TypeAlias = "tuple[str, ...]"
"""A value for each path of the space, as it is written in a file."""

ASKED_MAX = 20
"""So many proposals there are at most, on average, for each new point; most are known already where points are few."""

DRAWN_MAX = 10_000
"""After so many points drawn at random that are all known there are hardly any others."""

LEVELS_MAX = 10_000
"""So many whole numbers of a range are listed, at most."""

STARTUP = 8
"""So many points have to be known before the sampler learns from them."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is known of a point."""

    costs: tuple[float, ...]
    """Of each objective, less is better; finite."""

    shortfall: float
    """More than 0 when it does not meet the expectations, or an objective is never: the more, the further off. 0 when
    it seems to be neither."""


class Points:
    """The points of a space."""

    def __init__(self, space: Space) -> None:
        self._dimensions = [_Dimension(path, choices) for path, choices in space.items()]

    @cached_property
    def count(self) -> float:
        """How many there are; infinitely many where there is a range of all numbers between two."""
        return math.prod(dimension.count for dimension in self._dimensions)

    def all(self) -> list[Point]:
        """Return every point, where they are few."""
        return list(product(*(dimension.levels for dimension in self._dimensions)))

    def point(self, values: Sequence[Any]) -> Point | None:
        """Return the point with these values, or None when it is not one of this space.

        Args:
            values: of each path, as it stands in a file: text, or what YAML makes of it.
        """
        parameters = self._parameters(values)
        if parameters is None:
            return None
        return tuple(dimension.text(parameters[dimension.path]) for dimension in self._dimensions)

    def propose(
        self, count: int, learnt: Mapping[Point, Learnt], taken: Iterable[Point], objectives: int, seed: int
    ) -> list[Point]:
        """Return new points that are worth trying; fewer where no more are found.

        The sampler is Optuna's tree-structured Parzen estimator (Bergstra and others, *Algorithms for Hyper-Parameter
        Optimization*, NIPS 24, 2011), which is given all points as they are known by now, with the shortfall as a
        constraint. A point that is proposed and not known yet counts as bad, so that those proposed together lie apart.

        Args:
            count: how many.
            learnt: of points that have been tried.
            taken: all points that are not to be proposed.
            objectives: how many costs each point has.
            seed: of the sampler's random draws, and of no others.
        """
        import optuna

        distributions = {dimension.path: dimension.distribution() for dimension in self._dimensions}
        seen, found = set(taken), []
        with _quiet(optuna):
            sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed)
            study = optuna.create_study(sampler=sampler, directions=["minimize"] * objectives)
            for point, of_point in learnt.items():
                study.enqueue_trial(self._parameters(point) or {})
                trial = study.ask(distributions)
                trial.set_constraint("shortfall", of_point.shortfall)
                study.tell(trial, list(of_point.costs))
            for _ in range(count * ASKED_MAX):
                trial = study.ask(distributions)
                point = tuple(dimension.text(trial.params[dimension.path]) for dimension in self._dimensions)
                if point in seen:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    continue
                seen.add(point)
                found.append(point)
                if len(found) == count:
                    break
        return found or self._drawn(seen, seed)

    def _parameters(self, values: Sequence[Any]) -> dict[str, float | str] | None:
        """Return how the sampler sees some values, or None when they are no point of this space."""
        found = {}
        for dimension, value in zip(self._dimensions, values, strict=True):
            parameter = dimension.parameter(value)
            if parameter is None:
                return None
            found[dimension.path] = parameter
        return found

    def _drawn(self, seen: Collection[Point], seed: int) -> list[Point]:
        """Return a point drawn at random that is not known, or nothing after many that are."""
        random = RandomStreams(seed).stream("tune.points")
        for _ in range(DRAWN_MAX):
            point = tuple(dimension.choices.at(random.random()) for dimension in self._dimensions)
            if point not in seen:
                return [point]
        return []


class _Dimension:
    """What one path may be set to, and how the sampler sees that: as a number, or as one of some names."""

    def __init__(self, path: str, choices: Choices | Range) -> None:
        self.path = path
        self.choices = choices
        self.levels: tuple[str, ...] = ()
        """The values, in their order if they have one; none where it is a range of all numbers between two."""
        self._range: Range | None = None
        """Where the sampler sees the values themselves."""
        if isinstance(choices, Range) and choices.steps is None:
            self._range = choices
            if choices.is_whole:
                self.levels = _whole_numbers(choices)
            self._is_ordered = True
        else:
            texts = choices.levels()
            numbers = {text: number for text in texts if (number := _number(text)) is not None}
            self._is_ordered = len(numbers) == len(texts)
            self.levels = tuple(sorted(texts, key=lambda text: numbers[text]) if self._is_ordered else texts)

    @property
    def count(self) -> float:
        """How many values there are."""
        if self._range is not None:
            return self._range.high - self._range.low + 1 if self._range.is_whole else math.inf
        return len(self.levels)

    def distribution(self) -> BaseDistribution:
        """Return what the sampler draws from."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self._range is None:
            if self._is_ordered:
                return IntDistribution(0, len(self.levels) - 1)
            return CategoricalDistribution(self.levels)
        is_log = self._range.scale == "log"
        if self._range.is_whole:
            return IntDistribution(round(self._range.low), round(self._range.high), log=is_log)
        return FloatDistribution(self._range.low, self._range.high, log=is_log)

    def parameter(self, value: Any) -> float | str | None:
        """Return how the sampler sees a value, or None when it is not among those it may be."""
        number = _number(value)
        if self._range is not None:
            if number is None or not self._range.low <= number <= self._range.high:
                return None
            if self._range.is_whole:
                return round(number) if number == round(number) else None
            return number
        for place, text in enumerate(self.levels):
            if value == text or (number is not None and number == _number(text)):
                return place if self._is_ordered else text
        return None

    def text(self, parameter: Any) -> str:
        """Return the value as it is written in a file."""
        if self._range is None:
            return self.levels[parameter] if self._is_ordered else str(parameter)
        text = self._range.text(parameter)
        rounded = _number(text)
        if rounded is not None and not self._range.low <= rounded <= self._range.high:
            return self._range.text(min(max(rounded, self._range.low), self._range.high))
        return text


def _whole_numbers(choices: Range) -> tuple[str, ...]:
    low, high = round(choices.low), round(choices.high)
    return tuple(map(str, range(low, high + 1))) if high - low < LEVELS_MAX else ()


def _number(value: Any) -> float | None:
    """Return a value of a file, or the text of one, as a number of seconds, events a second or the like."""
    try:
        return quantity(data(read(value, Place("value", 1, 1))) if isinstance(value, str) else value)
    except Unreadable:
        return None


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Have Optuna log only its warnings, for the length of a block."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
