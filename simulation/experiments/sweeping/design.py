"""Which combinations of settings a sweep tries: its cells."""

from __future__ import annotations

import math
from itertools import product
from typing import get_args

from actors.errors import ConfigurationError
from actors.kernel.randomness import RandomStreams
from simulation.scenario.arguments import check_word
from simulation.scenario.ranges import Range
from simulation.scenario.space import Setting, Space, settings_of
from simulation.scenario.sweep import CELLS_MAX, Design


def cells(space: Space, design: Design = "grid", samples: int | None = None, seed: int = 0) -> list[Setting]:
    """Return the combinations of values of a space, each once.

    Args:
        space: the values of each path.
        design: how they are chosen; see :data:`simulation.scenario.sweep.Design`.
        samples: how many, at least 1; None for a grid. Combinations that come twice, as they do where there are few
            different values, are left out, so there may be fewer.
        seed: of the random draws; each path has its own, so one more path leaves the values of the others as they are.

    Raises:
        ConfigurationError: no such design, it does not go with the samples or the ranges, or there are too many cells.
    """
    check_word("--design", design, get_args(Design))
    if design == "grid":
        if samples is not None:
            raise ConfigurationError(["--samples: wanted it only with --design random or latin-hypercube, got a grid"])
        return grid(space, "values, steps in the range, or --design latin-hypercube")
    if samples is None:
        raise ConfigurationError([f"--design {design}: wanted --samples beside it, got none"])
    _check_count(samples, CELLS_MAX)
    shares = [_shares(path, design, samples, seed) for path in space]
    rows = [
        tuple(dimension.at(share) for dimension, share in zip(space.values(), row, strict=True))
        for row in zip(*shares, strict=True)
    ]
    return settings_of(list(space), dict.fromkeys(rows))


def grid(space: Space, wanted: str = "values, or steps in the range", most: int = CELLS_MAX) -> list[Setting]:
    """Return every combination of values of a space, each once, the first values of all first.

    Args:
        space: the values of each path.
        wanted: what to give instead of a range without steps, for the error.
        most: how many combinations there may be.

    Raises:
        ConfigurationError: a range does not say its steps, or there are too many combinations.
    """
    problems = [
        f"--vary {path}: wanted {wanted}, got a range without steps"
        for path, dimension in space.items()
        if isinstance(dimension, Range) and dimension.steps is None
    ]
    if problems:
        raise ConfigurationError(problems)
    levels = [dimension.levels() for dimension in space.values()]
    _check_count(math.prod(map(len, levels)), most)
    return settings_of(list(space), product(*levels))


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise ConfigurationError([f"--vary: wanted at most {most:,} combinations, got {count:,}"])


def _shares(path: str, design: Design, samples: int, seed: int) -> list[float]:
    """Return where in the values of a path each sample lies, from 0 to 1."""
    random = RandomStreams(seed).stream(f"sweep.{path}")
    if design == "random":
        return [random.random() for _ in range(samples)]
    parts = list(range(samples))
    random.shuffle(parts)
    return [min((part + random.random()) / samples, math.nextafter(1.0, 0.0)) for part in parts]
