"""The votes of nodes on a store in PostgreSQL on the circuit breakers that they share.

A vote lapses by itself, by the clock of the database: only its duration counts, and the clocks of the nodes do not
matter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeAlias

from actors.domain.store import BreakerVote
from actors.storage.postgres.connection import Sql

Named: TypeAlias = tuple[str, str]
"""A breaker, and the host where each has one."""


def deadline_ns(open_ns: int) -> int:
    """Return when a vote lapses that holds for `open_ns` from now on, by the clock of :func:`left_ns`."""
    return time.monotonic_ns() + open_ns


def left_ns(lapses_ns: int) -> int:
    """Return for how long something goes on that lapses then; 0: no longer."""
    return max(0, lapses_ns - time.monotonic_ns())


def write(sql: Sql, token: int, votes: Mapping[Named, int]) -> None:
    """Write what a node says, within a transaction; of each breaker when that lapses, see :func:`deadline_ns`."""
    for (breaker, host), lapses_ns in votes.items():
        name = f"{breaker}\n{host}".encode("utf-8", "surrogatepass")
        sql.execute(
            "INSERT INTO breaker_votes VALUES (%s, %s, %s, clock_timestamp() + %s * interval '1 s') "
            "ON CONFLICT (token, digest) DO UPDATE SET until = excluded.until, xid = excluded.xid",
            (token, sha256(name).digest(), name, left_ns(lapses_ns) / 1e9),
        )


def standing(sql: Sql, token: int) -> list[BreakerVote]:
    return _read(sql, "token <> %s AND until > clock_timestamp()", (token,))


def since(sql: Sql, token: int, seen: str) -> list[BreakerVote]:
    """Return the votes of the other living nodes from transactions that a snapshot does not show."""
    return _read(
        sql,
        "token <> %(token)s AND (xid >= pg_snapshot_xmax(%(seen)s::pg_snapshot) OR "
        "xid = ANY(ARRAY(SELECT pg_snapshot_xip(%(seen)s::pg_snapshot))))",
        {"token": token, "seen": seen},
    )


def forget(sql: Sql) -> None:
    """Delete votes that lapsed so long ago that no node needs them any more."""
    sql.execute("DELETE FROM breaker_votes WHERE until < clock_timestamp() - interval '1 h'")


def _read(sql: Sql, where: str, values: Mapping[str, Any] | Sequence[Any]) -> list[BreakerVote]:
    rows = sql.execute(
        "SELECT token, said.name, greatest(0, (extract(epoch FROM until - clock_timestamp()) * 1000000000)::bigint) "
        f"FROM breaker_votes AS said JOIN nodes USING (token) WHERE NOT gone AND {where} ORDER BY xid".encode(),
        values,
    )
    votes = []
    for node, name, open_ns in rows:
        breaker, _, host = name.decode("utf-8", "surrogatepass").partition("\n")
        votes.append(BreakerVote(node, breaker, host, open_ns))
    return votes
