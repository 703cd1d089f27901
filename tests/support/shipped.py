"""The scenarios that ship, each run as it is at most once, for all tests that only look at the result."""

from functools import cache
from pathlib import Path

import simulation
from simulation import Result

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))


@cache
def result_of(path: Path) -> Result:
    """Return the result of a scenario as it ships. It is shared: nothing may be changed in it."""
    return simulation.run(path)
