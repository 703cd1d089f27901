"""The changes of one transaction of a store in SQLite, and the statements that write them."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec

from actors.domain.audit import AuditEntry
from actors.domain.codec import (
    Damaged,
    check_seal,
    checksum,
    decode_command,
    encode_endpoint,
    encode_event,
    seal,
)
from actors.domain.endpoints import Endpoint
from actors.domain.notification_state import ended_as
from actors.domain.requests import Request
from actors.domain.suppressions import Key, Suppression
from actors.domain.user_preferences import UserPreferences
from actors.errors import Overtaken
from actors.kernel.effects import Promise
from actors.messages import DeadLetterDiscarded, NotificationEvent, NotificationRedriven
from actors.storage.memory import Entry
from actors.storage.sqlite import marks
from actors.storage.sqlite.marks import Mark
from actors.storage.sqlite.reading import ENDED_NS, RememberedRows

logger = logging.getLogger(__name__)

ROWS_A_STATEMENT = (128, 64, 32, 16, 8, 4, 2, 1)
"""How many rows are written by one statement. The most is what older builds of SQLite have room for. Each is half of
the one before it: so a batch takes few statements, and there are few of them to be prepared."""


class Retention(NamedTuple):
    """How long rows are kept that are not needed to resume."""

    remembered: RememberedRows
    keep_audit_ns: int
    """Of the audit trail, and of the history of what operators acted on, in nanoseconds."""
    has_closed: bool
    """Whether there may be any such history."""


_BY_PEOPLE = frozenset({NotificationRedriven, DeadLetterDiscarded})


class Acceptance(Promise):
    """The promise that an acceptance is durable, or Overtaken."""

    __slots__ = ("entry", "overtaken", "steady_ns")

    def __init__(self, entry: Entry, steady_ns: int) -> None:
        super().__init__()
        self.entry = entry
        """What memory has of it."""
        self.steady_ns = steady_ns
        """When: an id that ended long enough before is new."""
        self.overtaken: Overtaken | None = None
        """Set when its id is known."""


class Batch(Promise):
    """The changes of one transaction, and the promise that they are durable; each acceptance has its own."""

    __slots__ = ("acceptances", "ahead_ns", "turns")

    def __init__(self, ahead_ns: int) -> None:
        super().__init__()
        self.ahead_ns = ahead_ns
        """By how much the wall clock was ahead of the one that nobody sets when it began."""
        self.acceptances: list[Acceptance] = []
        self.turns = [_Turn()]

    def request(self, seq: int, event: NotificationEvent, acceptance: Acceptance, written: bytes) -> None:
        """Take an acceptance in."""
        self.acceptances.append(acceptance)
        notification_id = event.notification_id
        turn = self._turn_of(notification_id)
        turn.acceptances[notification_id] = acceptance
        requested = seal(encode_event(event), notification_id, seq)
        turn.requested += (seq, notification_id, seal(written, notification_id), requested)

    def end(
        self, seq: int, event: NotificationEvent, written: bytes, history: bytes, ended_ns: int, has_history: bool
    ) -> None:
        """Take in that a notification has ended.

        Args:
            seq: the number of the change.
            event: what happened.
            written: its command as it was accepted, where what happened to it is to be kept.
            history: all that happened to it, there.
            ended_ns: from when on its id is remembered.
            has_history: whether there may be rows of what happened to it.
        """
        notification_id = event.notification_id
        turn = self._turn_of(notification_id)
        turn.ended.append(notification_id)
        turn.remembered += (seq, notification_id, ended_as(event), ended_ns)
        if has_history:
            turn.ended_with_history.append(notification_id)
        if history:
            sealed = seal(written, notification_id, checksum(history))
            turn.closed += (seq, notification_id, event.epoch_ns + event.at_ns, sealed, history)
        if type(event) in _BY_PEOPLE:
            turn.note_event(seq, event)

    def add(self, seq: int, event: NotificationEvent) -> None:
        """Take in any other change of a notification, with its number."""
        notification_id = event.notification_id
        turn = self._turn_of(notification_id)
        turn.history += (seq, notification_id, seal(encode_event(event), notification_id, seq))
        if type(event) in _BY_PEOPLE:
            turn.note_event(seq, event)

    def _turn_of(self, notification_id: str) -> _Turn:
        turn = self.turns[-1]
        if notification_id in turn.ids:
            turn = _Turn()
            self.turns.append(turn)
        turn.ids.add(notification_id)
        return turn

    def note(self, seq: int, entry: AuditEntry) -> None:
        """Take an entry of the audit trail in."""
        self.turns[-1].note(seq, entry.notification_id, entry.at_ns, encode_event(entry))

    def mark(self, notification_id: str, mark: Mark | None) -> None:
        """Take in the mark of a notification from now on; None: it has none."""
        self.turns[-1].marks[notification_id] = mark

    def suppress(self, suppressions: Mapping[Key, Suppression | None]) -> None:
        """Take in how addresses are suppressed from now on; None: one is not."""
        self.turns[-1].suppressions.update(suppressions)

    def keep_endpoint(self, key: Key, endpoint: Endpoint | None) -> None:
        """Take in what is known of an endpoint from now on; None: nothing."""
        self.turns[-1].endpoints[key] = endpoint

    def prefer(self, user_id: str, preferences: UserPreferences | None) -> None:
        """Take in what a user has set from now on; None: nothing."""
        self.turns[-1].preferences[user_id] = preferences

    def belong(self, notification_id: str, request: Request | None) -> None:
        """Take in of which request a notification is, and whether that was delivered; None: it is forgotten."""
        row = None if request is None else (notification_id, request.request_id, request.delivered)
        self.turns[-1].requests[notification_id] = row


class _Turn:
    """Changes of which each is of another notification, so that those of a kind may be written together."""

    __slots__ = (
        "acceptances",
        "audit",
        "closed",
        "ended",
        "ended_with_history",
        "endpoints",
        "history",
        "ids",
        "marks",
        "preferences",
        "remembered",
        "requested",
        "requests",
        "suppressions",
    )

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.acceptances: dict[str, Acceptance] = {}
        # The values of rows, one after the other, without a tuple for each.
        self.requested: list[Any] = []
        self.history: list[Any] = []
        self.ended: list[str] = []
        self.ended_with_history: list[str] = []
        self.remembered: list[Any] = []
        self.audit: list[Any] = []
        self.closed: list[Any] = []
        # What is so in the end, None where nothing is.
        self.marks: dict[str, Mark | None] = {}
        self.suppressions: dict[Key, Suppression | None] = {}
        self.endpoints: dict[Key, Endpoint | None] = {}
        self.preferences: dict[str, UserPreferences | None] = {}
        self.requests: dict[str, tuple[str, str, bool] | None] = {}

    def note_event(self, seq: int, event: NotificationEvent) -> None:
        """Take in what an operator has done."""
        self.note(seq, event.notification_id, event.epoch_ns + event.at_ns, encode_event(event))

    def note(self, seq: int, notification_id: str | None, at_ns: int, written: bytes) -> None:
        """Take an entry of the audit trail in."""
        self.audit += (seq, notification_id, at_ns, seal(written, notification_id, seq))

    def write(self, sql: sqlite3.Connection, retention: Retention) -> None:
        """Write them, within a transaction."""
        if self.acceptances:
            self._leave_out_what_is_known(sql, retention.remembered)
        _insert(sql, "INSERT INTO notifications VALUES", 4, self.requested)
        if retention.has_closed:
            _delete(sql, "closed", self.requested[1::4])  # those were others, whose ids are forgotten
        _insert(sql, "INSERT INTO history VALUES", 3, self.history)
        if self.audit:
            _insert(sql, "INSERT INTO audit VALUES", 4, self.audit)
            _forget(sql, "audit", "at_ns", len(self.audit) // 4, self.audit[-2] - retention.keep_audit_ns)
        if self.ended:
            _insert(sql, "WITH ended (seq, id, ended_as, ended_ns) AS (VALUES", 4, self.remembered, _REMEMBER)
            _delete(sql, "notifications", self.ended)
            _delete(sql, "history", self.ended_with_history)
            remembered, now_ns = retention.remembered, self.remembered[-1]
            until_ns = now_ns - remembered.ttl_ns
            kept = remembered.kept if remembered.kept_at_ns > until_ns else (0, -1)
            _forget(sql, "remembered", "ended_ns", len(self.ended), until_ns, kept)
        if self.closed:
            _insert(sql, "INSERT OR REPLACE INTO closed VALUES", 5, self.closed)
            _forget(sql, "closed", "ended_ns", len(self.closed) // 5, self.closed[-3] - retention.keep_audit_ns)
        for notification_id, mark in self.marks.items():
            if mark is None:
                marks.take_away(sql, notification_id)
            else:
                marks.write(sql, notification_id, mark.caution, under_way=True, alone=mark.alone)
        if self.suppressions:
            self._write_suppressions(sql)
        if self.endpoints:
            self._write_endpoints(sql)
        if self.preferences:
            self._write_preferences(sql)
        if self.requests:
            _write_requests(sql, self.requests)

    def _leave_out_what_is_known(self, sql: sqlite3.Connection, remembered: RememberedRows) -> None:
        """Do not accept what has an id that is remembered."""
        ids, acceptances, are_overtaken = list(self.acceptances), self.acceptances, False
        for start, rows in _slices(len(ids)):
            found = sql.execute(_statement(_KNOWN, "?", rows, ")"), ids[start : start + rows])
            for notification_id, seq, ended_ns, command in found:
                acceptance = acceptances[notification_id]
                if remembered.ended_ns(seq, ended_ns) <= acceptance.steady_ns - remembered.ttl_ns:
                    continue
                try:
                    check_seal(command, notification_id)
                    known = decode_command(command)
                except (Damaged, msgspec.MsgspecError) as error:
                    logger.error("what id %r came with is not known: %s", notification_id, error)
                    known = None
                acceptance.overtaken = Overtaken(notification_id, known)
                are_overtaken = True
        if are_overtaken:
            rows_of_four = zip(*[iter(self.requested)] * 4, strict=True)
            self.requested = [value for row in rows_of_four if acceptances[row[1]].overtaken is None for value in row]

    def _write_suppressions(self, sql: sqlite3.Connection) -> None:
        rows: list[Any] = []
        for (channel, address), each in self.suppressions.items():
            if each is None:
                sql.execute("DELETE FROM suppressions WHERE channel = ? AND address = ?", (channel.value, address))
            else:
                rows += (channel.value, address, each.reason, each.source.value, each.since_ns, each.by)
        _insert(sql, "INSERT OR REPLACE INTO suppressions VALUES", 6, rows)

    def _write_endpoints(self, sql: sqlite3.Connection) -> None:
        rows: list[Any] = []
        for (channel, address), each in self.endpoints.items():
            if each is None:
                sql.execute("DELETE FROM endpoints WHERE channel = ? AND address = ?", (channel.value, address))
            else:
                rows += (channel.value, address, encode_endpoint(each))
        _insert(sql, "INSERT OR REPLACE INTO endpoints VALUES", 3, rows)

    def _write_preferences(self, sql: sqlite3.Connection) -> None:
        rows: list[Any] = []
        for user_id, preferences in self.preferences.items():
            if preferences is None:
                sql.execute("DELETE FROM preferences WHERE user_id = ?", (user_id,))
            else:
                rows += (user_id, preferences.written())
        _insert(sql, "INSERT OR REPLACE INTO preferences VALUES", 2, rows)


def _write_requests(sql: sqlite3.Connection, requests: Mapping[str, tuple[str, str, bool] | None]) -> None:
    _delete(sql, "requests", [notification_id for notification_id, row in requests.items() if row is None])
    rows = [value for row in requests.values() if row is not None for value in row]
    _insert(sql, "INSERT OR REPLACE INTO requests VALUES", 3, rows)


_KNOWN = f"SELECT notification_id, seq, {ENDED_NS}, command FROM remembered WHERE notification_id IN ("
_REMEMBER = (
    ") INSERT OR REPLACE INTO remembered (seq, notification_id, ended_ns, command, ended_as) "
    "SELECT ended.seq, id, ended_ns, command, ended_as FROM ended CROSS JOIN notifications ON notification_id = id"
)
"""The command stays as it was written when it was accepted."""


def _insert(sql: sqlite3.Connection, insert: str, width: int, values: Sequence[Any], then: str = "") -> None:
    """Insert rows of so many values each, by few statements."""
    row = f"({','.join('?' * width)})"
    for start, rows in _slices(len(values) // width):
        sql.execute(_statement(insert, row, rows, then), values[start * width : (start + rows) * width])


def _delete(sql: sqlite3.Connection, table: str, ids: Sequence[str]) -> None:
    """Delete the rows of some notifications, by few statements."""
    for start, rows in _slices(len(ids)):
        delete = _statement(f"DELETE FROM {table} WHERE notification_id IN (", "?", rows, ")")
        sql.execute(delete, ids[start : start + rows])


def _forget(
    sql: sqlite3.Connection, table: str, column: str, arrived: int, until_ns: int, kept: tuple[int, int] = (0, -1)
) -> None:
    """Delete the oldest rows whose time has passed, after so many have arrived; none between two numbers.

    Two for each that comes: so those whose time has passed become fewer, and no transaction is much longer.
    """
    sql.execute(
        f"DELETE FROM {table} WHERE seq IN (SELECT seq FROM (SELECT seq, {column} FROM {table} ORDER BY seq LIMIT ?) "
        f"WHERE {column} <= ? AND NOT seq BETWEEN ? AND ?)",
        (2 * arrived, until_ns, *kept),
    )


@cache
def _statement(begin: str, row: str, rows: int, end: str) -> str:
    """Return a statement for so many rows: the same text each time, by which the prepared one is found."""
    return f"{begin}{','.join([row] * rows)}{end}"


def _slices(rows: int) -> list[tuple[int, int]]:
    """Return where each statement for so many rows starts, and how many it takes: of few sizes, to be prepared once."""
    slices, start = [], 0
    for size in ROWS_A_STATEMENT:
        while rows - start >= size:
            slices.append((start, size))
            start += size
    return slices
