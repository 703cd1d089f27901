"""Packages that need not be there: importing what needs a missing one says what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


def needs(extra: str) -> AbstractContextManager[None]:
    """Say of a package that is not there, where the block imports it, with which extra it comes.

    Args:
        extra: its name, as in ``pip install 'retrylab[live]'``.
    """
    return needs_package(f"'retrylab[{extra}]'", f"the extra {extra}")


@contextmanager
def needs_package(installed: str, what: str) -> Iterator[None]:
    """Name the package to install, if the block imports a module that is missing.

    Args:
        installed: the argument of ``pip install``.
        what: the package or feature that is wanted, in words.

    Raises:
        ModuleNotFoundError: the module is missing; `name` is its name, as usual.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        problem = f"wanted {what}: pip install {installed}, got no {error.name}"
        raise ModuleNotFoundError(problem, name=error.name) from None
