"""The scenarios that ship, each run as it is at most once, for all tests that only look at the result."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import simulation
from simulation import Result

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))


@cache
def result_of(path: Path) -> Result:
    """Return the result of a scenario as it ships. It is shared: nothing may be changed in it."""
    return simulation.run(path)


def broken(summary: dict[str, Any]) -> dict[str, Any]:
    """Return the expectations that do not hold, with the values that they got."""
    return {one["text"]: one["value"] for one in summary["expectations"] if not one["holds"]}


WITHOUT = yaml.safe_load((Path(__file__).parents[1] / "shipped" / "without.yaml").read_text(encoding="utf-8"))


def without(names: Iterable[str], every: int = 1) -> list[Any]:
    """Return a case for each change of the table: the name, the changes, and the expectations that fail then.

    All are slow but the first change of every second, third… scenario.
    """
    return [
        pytest.param(
            name,
            row["set"],
            set(row["fails"]),
            id=f"{name} {' '.join(row['set'])}",
            marks=[pytest.mark.slow] if number or position % every else [],
        )
        for position, name in enumerate(names)
        for number, row in enumerate(WITHOUT[name])
    ]
