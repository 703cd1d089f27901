"""The columns of tables that hold what was varied: values as they were written, and whole numbers whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from simulation.scenario.space import value_of

if TYPE_CHECKING:
    import pandas as pd

INT64_MAX = 2**63 - 1


def setting_column(texts: Iterable[str | None]) -> pd.Series[Any]:
    """Return the values of a setting as a column, from how they are written in a file; None: there is none.

    They are whole numbers where all are, numbers where all are without a unit, and otherwise text as it was written:
    ``60s`` stays ``60s``, so that tables of one's own with the same values join.
    """
    import pandas as pd

    written = list(texts)
    values = [None if text is None else value_of(text) for text in written]
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, int) and abs(value) <= INT64_MAX for value in known):
        return pd.Series(values, dtype="int64" if len(known) == len(values) else "Int64")
    if known and all(isinstance(value, (int, float)) for value in known):
        return pd.Series(values, dtype="float64")
    return pd.Series(written, dtype="str")
