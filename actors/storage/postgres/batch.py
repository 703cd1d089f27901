"""The changes of one transaction of a store in PostgreSQL, and the statements that write them.

Each statement takes many rows, as arrays; so a batch of hundreds takes hardly more round trips than a single change.
The arrays go in binary form: as text, arrays of bytes take ten times as long to write.

Within a transaction the node's row comes first: it keeps a node that has lost its lease from writing, and shows whether
a transaction was made whose answer was lost with the connection. A node that takes over from another must lock the same
row, so a commit is wholly before or wholly after a take-over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

from actors.domain.codec import decode_command, encode_command, encode_event, encode_events
from actors.domain.notification_state import ended_as
from actors.domain.store import SettingsChange
from actors.errors import Overtaken
from actors.kernel.effects import Promise
from actors.messages import (
    DeadLetterDiscarded,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.optional_dependencies import needs
from actors.storage.changes import ENDS, HAPPENS, Batch, Mark, StoredChange, Turn
from actors.storage.memory import Serving
from actors.storage.postgres import marks, votes
from actors.storage.postgres.connection import Sql, columns
from actors.storage.postgres.halves import halves, is_of_others
from actors.storage.postgres.reading import SERVED_BY, Shared, read_shared
from actors.storage.postgres.settings import (
    ENDPOINT,
    Setting,
    is_of_endpoint,
    named,
    part_of,
    setting_of,
    write_change,
    write_endpoints,
    write_suppressions,
)

with needs("postgres"):
    import psycopg

CHANGES_A_BATCH = 1 << 16
"""How many changes a batch has at most. The number of a change is its batch's number times this, plus its place."""


class Fenced(Exception):
    """Another node has taken over what this one had."""


class SharedChange(StoredChange, eq=False, gc=False):
    """An event, with its effects on the state that nodes share."""

    keys: Sequence[str | Setting] = ()
    """The shared notifications and settings that it changes."""
    request_id: str | None = None
    """Its request, if the event may change whether letters of the request are served."""
    dead_since_ns: int = 0
    """When it was dead-lettered, as far as is known here, where it is redriven or discarded."""


class SharedBatch(Batch):
    """The changes of one transaction of a node, and the statements that write them."""

    def __init__(self, ahead_ns: int, has_others: bool = False) -> None:
        super().__init__(count(1), ahead_ns)
        self._has_others = has_others
        """Whether there may be ids of other channels than the four."""
        self.keys: list[str | Setting] = []
        """The shared notifications and settings that the batch changes."""
        self.unsure: set[Setting] = set()
        """Settings that its changes leave as they are where people have set them, perhaps at another node."""
        self.shared: Shared | None = None
        """The current state of overtaken notifications, and of the changed settings."""
        self.served_by: dict[str, Serving | None] = {}
        """How the dead letters of the batch's requests are served; None: not served."""
        self.votes: dict[votes.Named, int] = {}
        self._told: tuple[list[Any], list[Any]] = ([], [])
        """Rows that tell other nodes of the changes, of each half."""

    @property
    def is_full(self) -> bool:
        return self.last >= CHANGES_A_BATCH - 1

    def add(self, change: SharedChange) -> Promise:
        self.keys += change.keys
        return super().add(change)

    def mark(self, notification_id: str, mark: Mark) -> Promise:
        self.last = next(self._numbers)
        return super().mark(notification_id, mark)

    def change(self, change: SettingsChange, keys: Iterable[str | Setting] = ()) -> Promise:
        self.keys += keys
        self.turns += (Turn(change), Turn())
        return super().change(change)

    def say(self, breaker: votes.Named, lapses_ns: int) -> Promise:
        self.votes[breaker] = lapses_ns
        return self

    def write(self, sql: Sql, token: int, number: int, lease_s: float, remember_ids_ns: int) -> bool:
        """Write the changes in one transaction; tell whether other nodes may want to know of them.

        The batches of a node have numbers from 1 on; a batch that is written again keeps its number.

        Raises:
            Fenced: the node has lost its lease; nothing is written.
            psycopg.Error: nothing is written, or the answer was lost. Write it again: it is written only once.
        """
        with sql.transaction():
            row = sql.execute(
                "UPDATE nodes SET batch = %s, lease_until = clock_timestamp() + %s * interval '1 s' "
                "WHERE token = %s AND NOT gone AND batch < %s RETURNING nextval('batches')",
                (number, lease_s, token, number),
            ).fetchone()
            if row is None:
                if not _was_made(sql, token, number, lease_s):
                    raise Fenced
                return bool(self.keys or self.votes)
            for each in (self.overtaken, self.unsure, self.served_by):
                each.clear()
            self._told = [], []
            self.shared = None
            base = row[0] * CHANGES_A_BATCH
            for turn in self.turns:
                for of_others in (False, True)[: 1 + (turn.has_own or turn.change is not None)]:
                    self._write_turn(sql, turn, token, base, remember_ids_ns, of_others)
            entries = self.audited()
            for own, half in zip((False, True), halves(sql), strict=True):
                if audited := [each for each in entries if _is_own(each[3]) == own]:
                    rows = [(base + seq, about, at_ns, encode_event(entry)) for seq, about, at_ns, entry in audited]
                    half.execute(_AUDIT, columns(rows))
                if self._told[own]:
                    half.execute(_TELL, columns(self._told[own]))
                if self.marks:
                    written = {each: mark for each, mark in self.marks.items() if mark is not None}
                    marks.write(half, {each: mark for each, mark in written.items() if mark.is_own == own})
                    marks.take_away(half, [each for each, mark in self.marks.items() if mark is None])
                if said := {each: lapses for each, lapses in self.votes.items() if is_of_others(each[0]) == own}:
                    votes.write(half, token, said)
            if self.kept:
                if gone := [place for place, value in self.kept.items() if value is None]:
                    sql.execute(_FORGET, [*columns(gone), token])
                if new := [(*place, value) for place, value in self.kept.items() if value is not None]:
                    sql.execute(_KEEP, [*columns(new), token])
            if self.overtaken or self.unsure:
                ids = {change.event.notification_id for change in self.overtaken}
                settings = self.unsure | {setting_of(change.command) for change in self.overtaken}
                self.shared = read_shared(sql, ids, settings)
        return bool(self.keys or self.served_by or self.votes)

    def _write_turn(self, both: Sql, turn: Turn, token: int, base: int, remember_ids_ns: int, own: bool) -> None:
        sql = halves(both)[own]
        requested = turn.of(NotificationRequested, own=own)
        if requested and (own or self._has_others):
            requested = self._without_ids_of(halves(both)[not own], requested, remember_ids_ns)
        if requested:
            self._write_requested(sql, requested, token, base, remember_ids_ns)
        redriven = self._conditional(sql, _REDRIVE, turn.of(NotificationRedriven, own=own), token)
        discarded = self._conditional(sql, _DISCARD, turn.of(DeadLetterDiscarded, own=own), token)
        moved = turn.of(NotificationMovedToDeadLetter, own=own)
        ended = turn.of(NotificationSent, NotificationSuppressed, own=own)
        if moved:
            ids, at_ns = _ids(moved), [change.at_ns for change in moved]
            _all_ours(sql.execute(_MOVE, (ids, at_ns, token)), ids)
        happened = [change for change in turn.of(*HAPPENS, own=own) if change not in self.overtaken]
        if happened:
            events = [encode_event(change.event) for change in happened]
            sql.execute(_HAPPENED, (_ids(happened), _seqs(happened, base), events))
            for change in happened:
                if (gone := change.beside.left_out) is not None:
                    sql.execute(_LEAVE_OUT, (change.event.notification_id, gone.stop - gone.start, gone.start))
        if ended:
            ids, at_ns = _ids(ended), [change.steady_ns for change in ended]
            ends = [ended_as(change.event) for change in ended]
            _all_ours(sql.execute(_END, (ids, at_ns, ends, token)), ids)
        if gone := [change.event.notification_id for change in (*ended, *discarded) if change.has_history]:
            sql.execute("DELETE FROM history WHERE notification_id = ANY(%s)", (gone,))
        if closed := [change for change in (*ended, *discarded) if change.beside.closed is not None]:
            sql.execute(_CLOSE, columns([_of_closed(change) for change in closed]))
        settings = self._write_settings(sql, turn, own)
        changes = (*requested, *ended, *moved, *redriven, *discarded)
        served_by = _write_requests(
            both, [each for each in changes if each.request_id is not None and each not in self.overtaken]
        )
        self.served_by |= served_by
        letters = [*_ids((*moved, *redriven, *discarded)), *served_by]
        # `served_by` may name letters of the other half of the channels. The rows that tell other nodes of them go into
        # this half's `changes`, too: nodes of this release read the `changes` of both halves.
        self._told[own].extend((token, notification_id, None, None, None) for notification_id in letters)
        self._told[own].extend((token, None, *_told(setting)) for setting in settings)

    def _without_ids_of(
        self, other: Sql, requested: Sequence[SharedChange], remember_ids_ns: int
    ) -> list[SharedChange]:
        known = dict(
            other.execute(
                "SELECT notification_id, command FROM notifications WHERE notification_id = ANY(%s) "
                "AND NOT (state = 'ended' AND at_ns <= %s)",
                (_ids(requested), min(change.steady_ns for change in requested) - remember_ids_ns),
            ).fetchall()
        )
        for change in requested:
            if (command := known.get(change.event.notification_id)) is not None:
                self.overtaken[change] = Overtaken(change.event.notification_id, decode_command(command))
        return [change for change in requested if change not in self.overtaken]

    def _write_settings(self, sql: Sql, turn: Turn, own: bool) -> list[Setting]:
        if turn.change is not None:
            return write_change(sql, part_of(turn.change, own=own))
        happened = [change for change in turn.of(*HAPPENS, *ENDS, own=own) if change not in self.overtaken]
        settings = write_suppressions(sql, happened)
        self.unsure.update(settings)
        of_endpoints = [change.beside.endpoints for change in happened if change.beside.endpoints is not None]
        return settings + write_endpoints(sql, of_endpoints) if of_endpoints else settings

    def _write_requested(
        self, sql: Sql, requested: Iterable[SharedChange], token: int, base: int, remember_ids_ns: int
    ) -> None:
        # In the order of their ids, so that two nodes with the same ones never wait for each other.
        left = sorted(requested, key=lambda change: change.event.notification_id)
        while left:
            accepted = sql.execute(
                _ACCEPT,
                {
                    "ids": _ids(left),
                    "seqs": _seqs(left, base),
                    "at_ns": [change.steady_ns for change in left],
                    "commands": [change.written for change in left],
                    "requested": [encode_event(change.event) for change in left],
                    "request_ids": [change.request_id for change in left],
                    "token": token,
                    "remember_ids_ns": remember_ids_ns,
                },
            ).fetchall()
            if len(accepted) == len(left):
                return
            new = {notification_id for (notification_id,) in accepted}
            left = [change for change in left if change.event.notification_id not in new]
            select = "SELECT notification_id, command FROM notifications WHERE notification_id = ANY(%s)"
            known = dict(sql.execute(select, (_ids(left),)).fetchall())
            for change in left:
                notification_id = change.event.notification_id
                if (command := known.get(notification_id)) is not None:
                    self.overtaken[change] = Overtaken(notification_id, decode_command(command))
            # An id that was known, and is forgotten meanwhile, is new.
            left = [change for change in left if change.event.notification_id not in known]

    def _conditional(self, sql: Sql, update: str, changes: list[SharedChange], token: int) -> list[SharedChange]:
        if not changes:
            return []
        changes = sorted(changes, key=lambda change: change.event.notification_id)
        values = {
            "ids": _ids(changes),
            "at_ns": [change.steady_ns or change.at_ns for change in changes],
            "dead_since_ns": [change.dead_since_ns for change in changes],
            "served_too": [not _is_unserved_only(change.event) for change in changes],
            "token": token,
        }
        found = {notification_id for (notification_id,) in sql.execute(update, values).fetchall()}
        for change in changes:
            if change.event.notification_id not in found:
                self.overtaken[change] = Overtaken(change.event.notification_id)
        return [change for change in changes if change.event.notification_id in found]


def _was_made(sql: Sql, token: int, number: int, lease_s: float) -> bool:
    """Tell whether a node that has not lost its lease, and keeps it, has made its transaction of this number."""
    row = sql.execute(
        "UPDATE nodes SET lease_until = clock_timestamp() + %s * interval '1 s' "
        "WHERE token = %s AND NOT gone RETURNING batch",
        (lease_s, token),
    ).fetchone()
    return row is not None and row[0] >= number


def _write_requests(sql: Sql, changes: Sequence[SharedChange]) -> dict[str, Serving | None]:
    requests = sorted({each.request_id or "" for each in changes})
    delivered = sorted({each.request_id or "" for each in changes if type(each.event) is NotificationSent})
    served_by: dict[str, Serving | None] = {}
    for half in halves(sql) if requests else ():
        if delivered:
            half.execute(_DELIVERED, {"requests": delivered})
        served_by |= dict(half.execute(_LETTERS_OF, {"requests": requests}).fetchall())
    return served_by


def _is_own(entry: Any) -> bool:
    return isinstance(entry, NotificationEvent) and entry.channel.is_own


def _of_closed(change: StoredChange) -> tuple[Any, ...]:
    closed = change.beside.closed
    assert closed is not None
    at_ns = change.at_ns
    return change.event.notification_id, at_ns, encode_command(closed.command), encode_events(closed.events)


_ACCEPT = """
    WITH accepted AS (
    INSERT INTO notifications AS known (notification_id, seq, state, owner, at_ns, command, requested, request_id)
    SELECT notification_id, seq, 'open', %(token)s, at_ns, command, requested, request_id
    FROM unnest(%(ids)b::text[], %(seqs)b::bigint[], %(at_ns)b::bigint[], %(commands)b::bytea[], %(requested)b::bytea[],
        %(request_ids)b::text[]) AS new (notification_id, seq, at_ns, command, requested, request_id)
    ON CONFLICT (notification_id) DO UPDATE SET seq = excluded.seq, state = 'open', owner = excluded.owner, via = 0,
        at_ns = excluded.at_ns, command = excluded.command, requested = excluded.requested,
        request_id = excluded.request_id, served = false, ended_as = NULL
    WHERE known.state = 'ended' AND known.at_ns <= excluded.at_ns - %(remember_ids_ns)s
    RETURNING notification_id
    ),
    others AS (DELETE FROM closed WHERE notification_id IN (SELECT notification_id FROM accepted))
    SELECT notification_id FROM accepted
"""
"""The history of an earlier notification whose id is forgotten is deleted when another one gets the id."""
_REDRIVE = f"""
    UPDATE notifications AS known SET state = 'open', owner = %(token)s, via = 0, at_ns = done.at_ns
    FROM unnest(%(ids)b::text[], %(at_ns)b::bigint[], %(dead_since_ns)b::bigint[], %(served_too)b::boolean[])
        AS done (id, at_ns, dead_since_ns, served_too)
    WHERE known.notification_id = done.id AND known.state = 'dead' AND known.at_ns = done.dead_since_ns
        AND (done.served_too OR ({SERVED_BY}) IS NULL)
    RETURNING known.notification_id
"""
_DISCARD = """
    UPDATE notifications AS known SET state = 'ended', at_ns = done.at_ns, ended_as = 'discarded'
    FROM unnest(%(ids)b::text[], %(at_ns)b::bigint[], %(dead_since_ns)b::bigint[]) AS done (id, at_ns, dead_since_ns)
    WHERE known.notification_id = done.id AND known.state = 'dead' AND known.at_ns = done.dead_since_ns
    RETURNING known.notification_id
"""
_MOVE = """
    UPDATE notifications AS known SET state = 'dead', owner = NULL, at_ns = done.at_ns
    FROM unnest(%b::text[], %b::bigint[]) AS done (id, at_ns)
    WHERE known.notification_id = done.id AND known.state = 'open' AND known.owner = %s
"""
_END = """
    UPDATE notifications AS known SET state = 'ended', owner = NULL, at_ns = done.at_ns, ended_as = done.ended_as
    FROM unnest(%b::text[], %b::bigint[], %b::text[]) AS done (id, at_ns, ended_as)
    WHERE known.notification_id = done.id AND known.state = 'open' AND known.owner = %s
"""
_HAPPENED = """
    INSERT INTO history (notification_id, seq, event)
    SELECT * FROM unnest(%b::text[], %b::bigint[], %b::bytea[])
"""
_LEAVE_OUT = """
    DELETE FROM history WHERE (notification_id, seq) IN
        (SELECT notification_id, seq FROM history WHERE notification_id = %s ORDER BY seq LIMIT %s OFFSET %s)
"""
_CLOSE = """
    INSERT INTO closed SELECT * FROM unnest(%b::text[], %b::bigint[], %b::bytea[], %b::bytea[])
    ON CONFLICT (notification_id) DO UPDATE SET
        ended_ns = excluded.ended_ns, command = excluded.command, events = excluded.events
"""
_AUDIT = "INSERT INTO audit SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::bytea[])"
_KEEP = """
    INSERT INTO kept SELECT name, new.*
    FROM unnest(%b::text[], %b::text[], %b::bytea[]) AS new (actor, key, value), nodes WHERE token = %s
    ON CONFLICT (node, actor, key) DO UPDATE SET value = excluded.value
"""
_FORGET = """
    DELETE FROM kept USING unnest(%b::text[], %b::text[]) AS gone (actor, key), nodes
    WHERE kept.actor = gone.actor AND kept.key = gone.key AND node = name AND token = %s
"""
_DELIVERED = """
    UPDATE notifications SET served = true
    WHERE notification_id IN (
        SELECT notification_id FROM notifications
        WHERE NOT served AND (notification_id = ANY(%(requests)s) OR request_id = ANY(%(requests)s))
        ORDER BY notification_id FOR UPDATE
    )
"""
_LETTERS_OF = f"""
    SELECT notification_id, {SERVED_BY} FROM notifications AS known
    WHERE state = 'dead' AND (notification_id = ANY(%(requests)s) OR request_id = ANY(%(requests)s))
"""
_TELL = """
    INSERT INTO changes (token, notification_id, kind, name, endpoint)
    SELECT * FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::bytea[], %b::text[])
"""


def _told(setting: Setting) -> tuple[str | None, bytes, str | None]:
    """Return `kind`, `name` and `endpoint` of the row that tells others of a changed setting."""
    kind, name = named(setting)
    return (None, name, kind.removeprefix(ENDPOINT)) if is_of_endpoint(setting) else (kind, name, None)


def _is_unserved_only(event: NotificationEvent) -> bool:
    return isinstance(event, NotificationRedriven) and not event.include_served


def _all_ours(done: psycopg.Cursor[Any], ids: Sequence[str]) -> None:
    if done.rowcount != len(ids):
        raise Fenced


def _ids(changes: Iterable[StoredChange]) -> list[str]:
    return [change.event.notification_id for change in changes]


def _seqs(changes: Iterable[StoredChange], base: int) -> list[int]:
    return [base + change.number for change in changes]
