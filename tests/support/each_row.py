"""One test over a table, where a test for each of some hundred rows would cost more than what it looks at."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any


def check_each(rows: Iterable[tuple[str, Any]], check: Callable[[Any], None]) -> None:
    """Check each row, and fail with all those that do not hold, by name.

    Args:
        rows: the name and the content of each.
        check: raises where a row does not hold.
    """
    failing, count = [], 0
    for name, row in rows:
        count += 1
        try:
            check(row)
        except Exception as error:
            failing.append(f"{name}: {type(error).__name__}: {error}")
    assert count
    assert not failing, f"{len(failing)} of {count} rows:\n" + "\n".join(failing)


def over_each(rows: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator like `parametrize`, which makes one test of all rows.

    A row is a tuple of the first arguments of the check, or the first one. Further arguments are fixtures, which are
    the same for all rows.
    """
    listed = [row if isinstance(row, tuple) else (row,) for row in rows]

    def test_of(check: Callable[..., None]) -> Callable[..., None]:
        def test(**fixtures: Any) -> None:
            check_each(((_name_of(row), row) for row in listed), lambda row: check(*row, **fixtures))

        signature = inspect.signature(check)
        fixtures = list(signature.parameters.values())[len(listed[0]) :]
        kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in fixtures]
        test.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test

    return test_of


def _name_of(row: tuple[Any, ...]) -> str:
    return " | ".join(
        str(each.get("name", each) if isinstance(each, dict) else getattr(each, "name", each))[:60] for each in row
    )
