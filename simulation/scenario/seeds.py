"""Seeds: no larger than a file can have them, so that what was run can be run again from what was saved of it."""

from __future__ import annotations

import operator
from typing import Any

from actors.errors import ConfigurationError
from actors.settings.quantities import WHOLE_NUMBER_MAX


def plain(seed: Any) -> Any:
    """Return a whole number of numpy's, as it comes out of ``np.arange``, as Python's; anything else as it is."""
    return operator.index(seed) if hasattr(seed, "__index__") and not isinstance(seed, bool) else seed


def one_seed(seed: int, name: str = "seed") -> int:
    """Return a seed that is given in place of a scenario's own.

    Raises:
        ConfigurationError: a file could not have it.
    """
    seed = plain(seed)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigurationError([f"{name}: wanted a whole number of at least 0, got {seed!r}"])
    if seed > WHOLE_NUMBER_MAX:
        raise ConfigurationError([f"{name}: wanted a number below 2^63, got {seed}"])
    return seed


def seeds_of(first: int, replicates: int, name: str = "seed") -> range:
    """Return the seeds of so many runs, one after the other.

    Raises:
        ConfigurationError: a file could not have one of them.
    """
    first = one_seed(first, name)
    if first + replicates - 1 > WHOLE_NUMBER_MAX:
        raise ConfigurationError([f"{name}: wanted one below 2^63 in every replicate, got {first}"])
    return range(first, first + replicates)
