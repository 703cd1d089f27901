"""The two halves of a store in PostgreSQL: for email, sms, push and webhook, and for all other channels.

The release before reads only the first half, and could not read rows of another channel. So each table with rows of
channels has a second table, with ``own_`` before its name, and the same statements serve both.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, cast

from actors.channel_names import channel_named
from actors.storage.postgres.connection import Sql

TABLES = (
    "notifications", "history", "settings", "endpoints", "audit", "closed", "marks", "changes", "breaker_votes",
)  # fmt: skip
"""The tables that there are twice."""

_NAMES = re.compile(rf"\b({'|'.join(TABLES)})\b")


@cache
def _of_others(query: str | bytes) -> bytes:
    return _NAMES.sub(r"own_\1", query.decode() if isinstance(query, bytes) else query).encode()


class _OfOthers:
    """A connection whose statements are about the second half."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def execute(self, query: str | bytes, *values: Any, **how: Any) -> Any:
        return self._sql.execute(_of_others(query), *values, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sql, name)


def halves(sql: Sql) -> tuple[Sql, Sql]:
    """Return a connection to the half of the four channels, and one to the half of all other channels."""
    return sql, cast(Sql, _OfOthers(sql))


def is_of_others(breaker: str) -> bool:
    channel = channel_named(breaker.partition("/")[0])
    return channel is not None and channel.is_own
