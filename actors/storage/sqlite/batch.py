"""The changes of one transaction of a store in SQLite, and the statements that write them."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

import msgspec

from actors.domain.codec import (
    Damaged,
    check_seal,
    decode_command,
    encode_command,
    encode_endpoint,
    encode_event,
    encode_events,
    seal,
)
from actors.domain.endpoints import Endpoint
from actors.domain.notification_state import ended_as
from actors.domain.requests import Request
from actors.domain.store import SettingsChange
from actors.domain.suppressions import Key, Suppression
from actors.domain.user_preferences import UserPreferences
from actors.errors import Overtaken
from actors.kernel.effects import Promise
from actors.messages import NotificationEvent, NotificationRequested, NotificationSent
from actors.storage.changes import ENDS, HAPPENS, Batch, StoredChange, Turn
from actors.storage.sqlite import marks
from actors.storage.sqlite.file import HALVES
from actors.storage.sqlite.reading import ENDED_NS, RememberedRows

A = TypeVar("A")

logger = logging.getLogger(__name__)

ROWS_A_STATEMENT = (128, 64, 32, 16, 8, 4, 2, 1)
"""How many rows one statement may write. Older builds of SQLite have room for 128. Each number is half of the one
before, so a batch takes few statements, and few different statements are prepared."""


class Retention(NamedTuple):
    """How long rows are kept that are not needed to resume."""

    remembered: RememberedRows
    keep_audit_ns: int
    """How long the audit trail is kept, and the history of notifications on which operators acted, in nanoseconds."""
    closed_in: frozenset[str]
    """The halves, of :data:`HALVES`, in which there may be any such history."""


class SqliteChange(StoredChange, eq=False, gc=False):
    """An event, with its changes in the tables that have the present state."""

    requests: dict[str, tuple[str, bool] | None] | None = None
    """The new request of notifications, by id, and whether the request was delivered; None: it is forgotten."""
    suppressions: dict[Key, Suppression | None] | None = None

    def joins(self, request: Request) -> None:
        """Write the request of the notification, if it begins or changes with the event."""
        if type(self.event) in (NotificationRequested, NotificationSent):
            self.requests = {self.event.notification_id: (request.request_id, request.delivered)}


class SqliteBatch(Batch):
    """The changes of one transaction, and the statements that write them."""

    def __init__(self, numbers: Iterator[int], ahead_ns: int) -> None:
        super().__init__(numbers, ahead_ns)
        # The state after the batch; None: deleted.
        self.suppressions: dict[Key, Suppression | None] = {}
        self.endpoints: dict[Key, Endpoint | None] = {}
        self.preferences: dict[str, UserPreferences | None] = {}
        self.requests: dict[str, tuple[str, bool] | None] = {}
        self._own_members: set[str] = set()
        """The members on other channels than the four."""

    def add(self, change: SqliteChange) -> Promise:
        if change.requests:
            self.requests |= change.requests
            if change.event.channel.is_own:
                self._own_members.update(change.requests)
        if change.suppressions:
            self.suppressions |= change.suppressions
        if change.beside.endpoints is not None:
            self.endpoints |= change.beside.endpoints.endpoints
        return super().add(change)

    def change(self, change: SettingsChange, stored: Mapping[Key, Suppression | None] | None = None) -> Promise:
        """Take in a change of settings, with the `stored` suppressions of its addresses."""
        self.suppressions |= stored or {}
        self.endpoints |= dict.fromkeys(change.enabled)
        self.preferences |= change.preferences
        return super().change(change)

    def write(self, sql: sqlite3.Connection, retention: Retention) -> None:
        self.overtaken.clear()
        for turn in self.turns:
            for half in HALVES[: 1 + turn.has_own]:
                self._write_turn(sql, turn, retention, half)
        entries = self.audited()
        for half in HALVES:
            if audited := [each for each in entries if _is_own(each[3]) == bool(half)]:
                rows = [
                    (seq, about, at_ns, seal(encode_event(entry), about, seq)) for seq, about, at_ns, entry in audited
                ]
                _insert(sql, f"INSERT INTO {half}audit VALUES", rows)
                _forget(sql, f"{half}audit", "at_ns", len(audited), audited[-1][2] - retention.keep_audit_ns)
        for notification_id, mark in self.marks.items():
            if mark is None:
                marks.take_away(sql, notification_id)
            else:
                half = HALVES[mark.is_own]
                marks.write(sql, notification_id, mark.caution, half, under_way=True, alone=mark.alone)
        kept: dict[tuple[str, ...], bytes | None] = dict(self.kept.items())
        _write_states(sql, "kept", kept, lambda each: (each, crc32(each)))
        for half in HALVES:
            own = bool(half)
            suppressions, endpoints = _named(self.suppressions, own), _named(self.endpoints, own)
            preferences: dict[tuple[str, ...], Any] = {
                (user,): None if each is None else each.part(own=own) for user, each in self.preferences.items()
            }
            _write_states(
                sql,
                f"{half}suppressions",
                suppressions,
                lambda each: (each.reason, each.source.value, each.since_ns, each.by),
            )
            _write_states(sql, f"{half}endpoints", endpoints, lambda each: (encode_endpoint(each),))
            _write_states(sql, f"{half}preferences", preferences, lambda each: (each.written(),))
            requests: dict[tuple[str, ...], tuple[str, bool] | None] = {
                (each,): row
                for each, row in self.requests.items()
                if not own or row is None or each in self._own_members  # which the release before may forget
            }
            _write_states(sql, f"{half}requests", requests, tuple)

    def _write_turn(self, sql: sqlite3.Connection, turn: Turn, retention: Retention, half: str) -> None:
        own = bool(half)
        if requested := turn.of(NotificationRequested, own=own):
            self._leave_out_what_is_known(sql, requested, retention.remembered)
            accepted = [change for change in requested if change not in self.overtaken]
            _insert(sql, f"INSERT INTO {half}notifications VALUES", [_of_acceptance(change) for change in accepted])
            for each in retention.closed_in:  # of earlier notifications, whose ids are forgotten
                _delete(sql, f"{each}closed", [change.event.notification_id for change in accepted])
        if happened := turn.of(*HAPPENS, own=own):
            _insert(sql, f"INSERT INTO {half}history VALUES", [_of_event(change) for change in happened])
            for change in happened:
                if (gone := change.beside.left_out) is not None:
                    place = (change.event.notification_id, gone.stop - gone.start, gone.start)
                    sql.execute(_LEAVE_OUT.format(half), place)
        if not (ended := turn.of(*ENDS, own=own)):
            return
        ids = [change.event.notification_id for change in ended]
        rows = [
            (change.number, notification_id, ended_as(change.event), change.steady_ns)
            for change, notification_id in zip(ended, ids, strict=True)
        ]
        _insert(sql, "WITH ended (seq, id, ended_as, ended_ns) AS (VALUES", rows, _REMEMBER.format(half))
        _delete(sql, f"{half}notifications", ids)
        _delete(sql, f"{half}history", [change.event.notification_id for change in ended if change.has_history])
        remembered = retention.remembered
        until_ns = ended[-1].steady_ns - remembered.ttl_ns
        kept = remembered.kept if remembered.kept_at_ns > until_ns else (0, -1)
        _forget(sql, f"{half}remembered", "ended_ns", len(ended), until_ns, kept)
        if closed := [change for change in ended if change.beside.closed is not None]:
            _insert(sql, f"INSERT OR REPLACE INTO {half}closed VALUES", [_of_closed(change) for change in closed])
            _forget(sql, f"{half}closed", "ended_ns", len(closed), closed[-1].at_ns - retention.keep_audit_ns)

    def _leave_out_what_is_known(
        self, sql: sqlite3.Connection, requested: Sequence[StoredChange], remembered: RememberedRows
    ) -> None:
        changes = {change.event.notification_id: change for change in requested}
        ids = list(changes)
        for start, rows in _slices(len(ids)):
            found = sql.execute(_statement(_KNOWN, "?", rows, ")"), ids[start : start + rows])
            for notification_id, seq, ended_ns, command in found:
                change = changes[notification_id]
                if remembered.ended_ns(seq, ended_ns) <= change.steady_ns - remembered.ttl_ns:
                    continue
                try:
                    check_seal(command, notification_id)
                    known = decode_command(command)
                except (Damaged, msgspec.MsgspecError) as error:
                    logger.error("what id %r came with is not known: %s", notification_id, error)
                    known = None
                self.overtaken[change] = Overtaken(notification_id, known)


def _of_acceptance(change: StoredChange) -> tuple[Any, ...]:
    event = change.event
    requested = seal(encode_event(event), event.notification_id, change.number)
    return change.number, event.notification_id, seal(change.written, event.notification_id), requested


def _of_event(change: StoredChange) -> tuple[Any, ...]:
    notification_id = change.event.notification_id
    return change.number, notification_id, seal(encode_event(change.event), notification_id, change.number)


def _of_closed(change: StoredChange) -> tuple[Any, ...]:
    notification_id, closed = change.event.notification_id, change.beside.closed
    assert closed is not None
    history = encode_events(closed.events)
    command = seal(encode_command(closed.command), notification_id, crc32(history))
    return change.number, notification_id, change.at_ns, command, history


def _is_own(entry: Any) -> bool:
    return isinstance(entry, NotificationEvent) and entry.channel.is_own


def _named(states: Mapping[Key, A | None], own: bool) -> dict[tuple[str, ...], A | None]:
    return {(channel.value, address): each for (channel, address), each in states.items() if channel.is_own is own}


_KNOWN = f"SELECT notification_id, seq, {ENDED_NS}, command FROM every_remembered WHERE notification_id IN ("
_REMEMBER = (
    ") INSERT OR REPLACE INTO {0}remembered (seq, notification_id, ended_ns, command, ended_as) "
    "SELECT ended.seq, id, ended_ns, command, ended_as FROM ended CROSS JOIN {0}notifications ON notification_id = id"
)
"""The command stays as it was written when it was accepted."""

_LEAVE_OUT = (
    "DELETE FROM {0}history WHERE seq IN "
    "(SELECT seq FROM {0}history WHERE notification_id = ? ORDER BY seq LIMIT ? OFFSET ?)"
)

_KEYS = {
    "suppressions": "channel = ? AND address = ?",
    "endpoints": "channel = ? AND address = ?",
    "preferences": "user_id = ?",
    "requests": "notification_id = ?",
    "kept": "actor = ? AND key = ?",
}


def _write_states(
    sql: sqlite3.Connection,
    table: str,
    states: Mapping[tuple[str, ...], A | None],
    row_of: Callable[[A], tuple[Any, ...]],
) -> None:
    if states:
        gone = [key for key, each in states.items() if each is None]
        sql.executemany(f"DELETE FROM {table} WHERE {_KEYS[table.removeprefix(HALVES[1])]}", gone)
        rows = [(*key, *row_of(each)) for key, each in states.items() if each is not None]
        _insert(sql, f"INSERT OR REPLACE INTO {table} VALUES", rows)


def _insert(sql: sqlite3.Connection, insert: str, rows: Sequence[tuple[Any, ...]], then: str = "") -> None:
    for start, count in _slices(len(rows)):
        row = f"({','.join('?' * len(rows[0]))})"
        sql.execute(_statement(insert, row, count, then), [*chain.from_iterable(rows[start : start + count])])


def _delete(sql: sqlite3.Connection, table: str, ids: Sequence[str]) -> None:
    for start, rows in _slices(len(ids)):
        delete = _statement(f"DELETE FROM {table} WHERE notification_id IN (", "?", rows, ")")
        sql.execute(delete, ids[start : start + rows])


def _forget(
    sql: sqlite3.Connection, table: str, column: str, arrived: int, until_ns: int, kept: tuple[int, int] = (0, -1)
) -> None:
    """Delete the oldest rows whose time has passed, at most two for each of `arrived` rows; none numbered in `kept`.

    With two for each new row the outdated rows become fewer, and no transaction gets much longer.
    """
    sql.execute(
        f"DELETE FROM {table} WHERE seq IN (SELECT seq FROM (SELECT seq, {column} FROM {table} ORDER BY seq LIMIT ?) "
        f"WHERE {column} <= ? AND NOT seq BETWEEN ? AND ?)",
        (2 * arrived, until_ns, *kept),
    )


@cache
def _statement(begin: str, row: str, rows: int, end: str) -> str:
    """Return a statement for `rows` rows: the same text each time, by which SQLite's prepared statement is found."""
    return f"{begin}{','.join([row] * rows)}{end}"


def _slices(rows: int) -> list[tuple[int, int]]:
    """Return the start and the size of each statement for `rows` rows; there are few sizes, so each is prepared
    once."""
    slices, start = [], 0
    for size in ROWS_A_STATEMENT:
        while rows - start >= size:
            slices.append((start, size))
            start += size
    return slices
