"""What all SQL of a store in PostgreSQL has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.optional_dependencies import needs

with needs("postgres"):
    import psycopg

Sql = psycopg.Connection[Any]


def columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Return rows as the arrays that a statement with `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)]
