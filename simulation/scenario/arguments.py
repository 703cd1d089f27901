"""Arguments of the functions for Python that are one of a few words, a list, a mapping or a whole number, where a type
checker may not have looked; and seeds, no larger than a file can have them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from actors.errors import ConfigurationError
from actors.settings.hints import nearest
from actors.settings.quantities import WHOLE_NUMBER_MAX

COUNT_MAX = 1_000_000
"""Runs, seeds or trials: what is known of each is kept."""

WORKERS_MAX = 256
"""Each is a process, with 20 MB of its own before it runs anything."""


def check_word(name: str, value: object, words: Iterable[str]) -> None:
    """Check that an argument is one of the words that it may be.

    Raises:
        ConfigurationError: it is something else.
    """
    known = tuple(words)
    if value not in known:
        raise ConfigurationError([f"{name}: wanted one of {', '.join(known)}, got {shown(value)}"])


def check_metric(value: object, known: Iterable[str]) -> None:
    """Check that a metric is one that a sweep has.

    Raises:
        ConfigurationError: it is something else.
    """
    known = tuple(known)
    if value not in known:
        near = nearest(str(value), known)
        hint = f", such as {near}" if near else f" ({', '.join(map(str, known[:6]))}, …)" if known else ""
        raise ConfigurationError([f"figure: wanted one that the sweep has{hint}, got {shown(value)}"])


def check_texts(name: str, value: Any, example: str) -> None:
    """Check that an argument is a list of texts, and no single text, whose characters would be taken for them.

    Raises:
        ConfigurationError: it is something else.
    """
    is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))
    if not is_list or not all(isinstance(text, str) for text in value):
        raise ConfigurationError([f"{name}: wanted a list of texts such as [{example!r}], got {shown(value)}"])


def check_mapping(name: str, value: object, what: str) -> None:
    """Check that an argument is a mapping.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(value, Mapping):
        raise ConfigurationError([f"{name}: wanted a mapping {what}, got {shown(value)}"])


def check_counts(**counts: Any) -> None:
    """Check that arguments are whole numbers of at least 1, or None; numpy's count too.

    Args:
        counts: what was given, by the name of the argument.

    Raises:
        ConfigurationError: one is more than a machine can do; see COUNT_MAX and WORKERS_MAX.
        ValueError: one is something else.
    """
    for name, count in counts.items():
        at_most = WORKERS_MAX if name == "workers" else COUNT_MAX
        try:
            if count is None or 1 <= operator.index(count) <= at_most:
                continue
            if count > at_most:
                raise ConfigurationError([f"--{name}: wanted at most {at_most:,}, got {count}"])
        except TypeError:
            raise ValueError(f"wanted {name} of at least 1, a whole number, got {shown(count)}") from None
        raise ValueError(f"wanted {name} of at least 1, got {count}")


def shown(value: object) -> str:
    """Return as much of a value that is wrong as fits an error."""
    return repr(value)[:100]


# ── seeds ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    """Return consecutive seeds for `replicates` runs.

    Raises:
        ConfigurationError: a file could not have one of them.
    """
    first = one_seed(first, name)
    if first + replicates - 1 > WHOLE_NUMBER_MAX:
        raise ConfigurationError([f"{name}: wanted one below 2^63 in every replicate, got {first}"])
    return range(first, first + replicates)
