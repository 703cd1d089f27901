"""Where a search begins: the scenario as its file has it, and the space of settings that is searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.errors import ConfigurationError
from simulation.scenario import Scenario, load, load_each
from simulation.scenario.ranges import Range
from simulation.scenario.space import Choices, Space, space

CHECKED_MAX = 100
"""Of more values of a path than these, only the first and the last are looked at before the search."""


def source(
    path: str | Path, vary: Mapping[str, Any] | None, sets: Sequence[str], seed: int | None
) -> tuple[Scenario, Space, list[Scenario]]:
    """Return the scenario of a file, the space of settings in it, and the scenarios that were looked at in the space.

    Args:
        path: the file.
        vary: the values of each path, as :func:`simulation.scenario.space.space` has them; the file's `sweep` when
            None.
        sets: ``path=value`` changes to the file.
        seed: in place of the file's, when not None.

    Raises:
        ConfigurationError: the file or a value cannot be used, or there is nothing to vary; all problems.
    """
    if vary is None:
        swept = load(path, sets=sets, seed=seed).sweep
        if swept is None or not swept.vary:
            raise ConfigurationError(
                [
                    f"{path}: wanted settings to search, as in --vary channels.email.retry.max_attempts=1..10 or in "
                    "the file's sweep, got none"
                ]
            )
        vary = swept.vary
    found = space(vary)
    (scenario,) = load_each(path, [sets], seed)
    if isinstance(scenario, ConfigurationError):
        raise scenario
    tests, rows = _rows(found)
    loaded = list(load_each(path, [[*sets, *(f"{key}={text}" for key, text in row.items())] for row in rows], seed))
    problems = list(_problems(tests, loaded))
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return scenario, found, [each for each in loaded if not isinstance(each, ConfigurationError)]


def own_value(scenario: Scenario, path: str) -> Any:
    """Return what a scenario has at a path, with the defaults, in the form of a file; None where there is nothing."""
    value: Any = scenario.model_dump(mode="json", by_alias=True, exclude_none=True)
    for key in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _rows(space: Space) -> tuple[list[str], list[dict[str, str]]]:
    """Return the path of each value that is looked at, and three settings for each: alone, and beside the ends of the
    others."""
    ends = {varied: _ends(choices) for varied, choices in space.items()}
    first, last = ({varied: values[place] for varied, values in ends.items()} for place in (0, -1))
    tests = [(varied, text) for varied, texts in ends.items() for text in texts]
    rows = [row for varied, text in tests for row in ({varied: text}, {**first, varied: text}, {**last, varied: text})]
    return [varied for varied, _ in tests], rows


def _problems(tests: Sequence[str], loaded: Sequence[Scenario | ConfigurationError]) -> Iterator[str]:
    """Yield what is wrong with values that a scenario can have neither alone nor beside the ends of the others.

    Those that it can have beside some values only are left out of the search when they come up.
    """
    found = iter(loaded)
    for varied in tests:
        alone, *beside = next(found), next(found), next(found)
        if isinstance(alone, ConfigurationError) and all(isinstance(each, ConfigurationError) for each in beside):
            for problem in alone.problems:
                yield "--vary" + problem.removeprefix("--set") if problem.startswith(f"--set {varied}") else problem


def _ends(choices: Choices | Range) -> list[str]:
    """Return the values that are looked at before the search."""
    if isinstance(choices, Range):
        return [choices.text(choices.low), choices.text(choices.high)]
    texts = choices.levels()
    return texts if len(texts) <= CHECKED_MAX else [texts[0], texts[-1]]
