"""Packages that come with an extra: who imports what needs them, and has them not, is told which one to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Say of a package that is not there, where the block imports it, with which extra it comes.

    Args:
        extra: its name, as in ``pip install 'retrylab[live]'``.

    Raises:
        ModuleNotFoundError: it is not there; `name` is that of the module, as ever.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"wanted the extra {extra}: pip install 'retrylab[{extra}]', got no {error.name}", name=error.name
        ) from None
