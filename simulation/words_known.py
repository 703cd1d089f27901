"""Arguments of the functions for Python that are one of a few words, where a type checker may not have looked."""

from __future__ import annotations

from collections.abc import Iterable

from actors.errors import ConfigurationError


def check_word(name: str, value: object, words: Iterable[str]) -> None:
    """See to it that an argument is one of the words that it may be.

    Args:
        name: of the argument, for the error.
        value: what was given.
        words: what it may be.

    Raises:
        ConfigurationError: it is something else.
    """
    known = tuple(words)
    if value not in known:
        raise ConfigurationError([f"{name}: wanted one of {', '.join(known)}, got {repr(value)[:100]}"])
