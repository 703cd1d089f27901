"""How much the default run tries: a slice of what a thorough one does."""

import os
from collections.abc import Iterable
from typing import Any

import pytest

EXPLORES = "RETRYLAB_EXPLORE" in os.environ
"""Whether new examples are looked for, and not the same ones in every run."""

THOROUGH = EXPLORES or "RETRYLAB_THOROUGH" in os.environ
"""Whether all examples are tried, as the continuous integration does with ``-m hypothesis``."""


def examples(thorough: int) -> int:
    """Return how many examples Hypothesis tries: in the default run 8 of 60, and 20 of 400."""
    return thorough if THOROUGH else min(thorough, round(thorough**0.5))


def sliced(cases: Iterable[Any], every: int, first: int = 0) -> list[Any]:
    """Return cases for `parametrize`, of which the default run tries one in `every`; the others are thorough.

    Args:
        cases: values, tuples of values, or `pytest.param`.
        every: how many cases stand for one another.
        first: the number of the first that is tried.
    """
    return [case if number % every == first else thorough(case) for number, case in enumerate(cases)]


def thorough(case: Any) -> Any:
    """Return a case of `parametrize` with the mark `thorough`."""
    if hasattr(case, "marks"):
        return pytest.param(*case.values, id=case.id, marks=[*case.marks, pytest.mark.thorough])
    values = case if isinstance(case, tuple) and len(case) > 1 else (case,)
    return pytest.param(*values, marks=pytest.mark.thorough)
