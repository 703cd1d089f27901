"""What decides about a run, as a hash: one that has finished need not be done again, and no other is taken for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from actors.settings.csv_column import BYTES_MAX
from actors.settings.whole_file import read_whole
from simulation.scenario import Scenario
from simulation.scenario.writing import as_data

_SAYS_NOTHING = ("description", "seed", "expect", "limits", "sweep")
"""Keys of a scenario that change nothing in a run, and the seed, which is kept apart from it."""


def scenario_hash(scenario: Scenario) -> str:
    """Return a hash of all that decides about the runs of a scenario, but for their seed.

    That is everything that is set in it, what its data files hold, wherever they lie, and the code of retrylab.

    Raises:
        OSError: a data file is not there any more.
    """
    data = {key: value for key, value in as_data(scenario).items() if key not in _SAYS_NOTHING}
    decides = json.dumps([code_hash(), _with_contents(data)], sort_keys=True)
    return hashlib.sha256(decides.encode()).hexdigest()[:32]


@cache
def code_hash() -> str:
    """Return a hash of the code of retrylab, as it is installed here."""
    hashed = hashlib.sha256()
    simulation = Path(__file__).parents[1]
    for package in (simulation.parent / "actors", simulation):
        for path in sorted(package.rglob("*.py")):
            hashed.update(f"{package.name}/{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes())
    return hashed.hexdigest()


def _with_contents(data: Any) -> Any:
    """Return the plain data of a scenario with a hash of each data file in the place of its path."""
    if isinstance(data, Mapping):
        return {
            key: hashlib.sha256(read_whole(Path(value), BYTES_MAX)).hexdigest()
            if key in ("file", "empirical") and isinstance(value, str)
            else _with_contents(value)
            for key, value in data.items()
        }
    return [_with_contents(value) for value in data] if isinstance(data, list) else data
