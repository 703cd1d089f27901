"""Tables on disk: Parquet files, read with what is wrong with one in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from actors.errors import ConfigurationError


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the table in a Parquet file.

    Args:
        path: of the file.
        columns: those that are wanted; all of them when None.

    Raises:
        ConfigurationError: it cannot be read, is no such file or a damaged one, or has no such columns.
    """
    try:
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
    except FileNotFoundError:
        problem = "no such file"
    except Exception as error:  # of a damaged one pyarrow raises whatever it comes upon
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        problem = f"wanted a table as Parquet ({reason})"
    raise ConfigurationError([f"{path}: {problem}"])
