"""One test over a table, where a test for each of some hundred rows would cost more than what it looks at."""

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
