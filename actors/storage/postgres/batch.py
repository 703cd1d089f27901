"""The changes of one transaction of a store in PostgreSQL, and the statements that write them.

Each statement takes many rows, as arrays; so a batch of hundreds takes hardly more round trips than one of a single
change. The arrays go in binary form: as text, those of bytes take ten times as long to write.

Within a transaction the node's row comes first: by it a node that has lost its lease is kept from writing, and a
transaction whose answer was lost with the connection is known for made or not. A node that takes over what another has
must lock the same row, so of a commit and a take-over one is wholly before the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from actors.domain.audit import AuditEntry
from actors.domain.codec import decode_command, encode_event
from actors.domain.endpoints import EndpointChange
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
    SendNotification,
)
from actors.optional_dependencies import needs
from actors.storage.memory import Entry, Serving
from actors.storage.postgres import marks, votes
from actors.storage.postgres.connection import Sql, columns
from actors.storage.postgres.marks import Mark
from actors.storage.postgres.reading import SERVED_BY, Shared, read_shared
from actors.storage.postgres.settings import (
    ENDPOINT,
    Setting,
    is_of_endpoint,
    named,
    setting_of,
    write_change,
    write_endpoints,
    write_suppressions,
)

with needs("postgres"):
    import psycopg

CHANGES_A_BATCH = 1 << 16
"""How many changes a batch has at the most. The number of a change is that of its batch times this, and its place."""


class Fenced(Exception):
    """Another node has taken over what this one had."""


class Change(Promise):
    """One change, with all that is written of it; and the promise that it is durable."""

    __slots__ = (
        "at_ns",
        "before",
        "command",
        "dead_since_ns",
        "endpoint_change",
        "entry",
        "event",
        "has_history",
        "kept_history",
        "number",
        "request_id",
        "was_marked",
        "written",
    )

    def __init__(self, event: NotificationEvent, command: SendNotification) -> None:
        super().__init__()
        self.event = event
        self.command = command
        """With its edits."""
        self.at_ns = event.epoch_ns + event.at_ns
        """When it happened, since 1970."""
        self.number = 0
        """Its place in its batch."""
        self.written = b""
        """The command as it was accepted, where it is requested, or its history is kept."""
        self.kept_history = b""
        """All that happened to it, where it ends and that is to be kept."""
        self.request_id: str | None = None
        """Of which request it is, where others of that may be served by it, or no longer are."""
        self.dead_since_ns = 0
        """When it was dead-lettered, as far as is known here, where it is redriven or discarded."""
        self.endpoint_change: EndpointChange | None = None
        """What it changes of endpoints; None: nothing."""
        self.was_marked = False
        """Whether its notification has a mark until then."""
        self.has_history = True
        """Whether there may be anything in `history` that its end deletes."""
        self.entry: Entry | None = None
        """What the view in memory has of it since, where another node may have been first."""
        self.before: Entry | None = None
        """What that had of it until then, where it has just been taken over, and its handler does not know yet."""


class Batch:
    """The changes of one transaction."""

    __slots__ = ("keys", "number", "overtaken", "promises", "served_by", "shared", "turns", "unsure", "votes")

    def __init__(self) -> None:
        self.number = 0
        """Counts the batches of a node, from 1 on; set when it is its turn."""
        self.turns = [_Turn()]
        self.promises: list[Promise] = []
        """Kept when they are durable, or cannot be; those of the changes themselves among them."""
        self.keys: list[str | Setting] = []
        """Which notifications and settings it changes of those that all nodes share."""
        self.overtaken: dict[Change, Overtaken] = {}
        """The changes that another node was faster with."""
        self.unsure: set[Setting] = set()
        """Settings that its changes leave as they are where people have set them, perhaps at another node."""
        self.shared: Shared | None = None
        """The current state of what those changes were about, and of these settings."""
        self.served_by: dict[str, Serving | None] = {}
        """What the dead letters of the requests that it is about are served by; None: by nothing."""
        self.votes: dict[votes.Named, int] = {}
        """By breaker and host, until when it is open."""

    def add(self, change: Change) -> None:
        """Take a change in."""
        self.promises.append(change)
        change.number = len(self.promises)
        notification_id = change.event.notification_id
        turn = self.turns[-1]
        if notification_id in turn.ids:
            turn = _Turn()
            self.turns.append(turn)
        turn.ids.add(notification_id)
        turn.add(change)
        if change.was_marked:
            turn.marks[notification_id] = None

    def note(self, entry: AuditEntry) -> Promise:
        """Take in an entry of the audit trail that is about no event; return the promise that it is durable."""
        promise = Promise()
        self.promises.append(promise)
        self.turns[-1].notes.append((len(self.promises), entry))
        return promise

    def mark(self, mark: Mark) -> None:
        """Take in what is to be written before an attempt."""
        self.promises.append(mark)
        self.turns[-1].marks[mark.notification_id] = mark

    def say(self, vote: tuple[votes.Named, int]) -> None:
        """Take in what is said of a breaker. It is in no promise's way: nothing waits for it."""
        breaker, lapses_ns = vote
        self.votes[breaker] = lapses_ns

    def change(self, change: SettingsChange) -> Promise:
        """Take in a change of settings; return the promise that it is durable."""
        self.turns.append(_Turn())  # in a turn of its own, between what is before and after it
        promise = self.note(change.audit)
        self.turns[-1].change = change
        self.turns.append(_Turn())
        return promise

    def write(self, sql: Sql, token: int, lease_s: float, remember_ids_ns: int) -> bool:
        """Write them in one transaction; tell whether other nodes may want to know.

        Raises:
            Fenced: the node has lost its lease; nothing is written.
            psycopg.Error: nothing is written, or the answer was lost: it may be written again, and is written once.
        """
        with sql.transaction():
            row = sql.execute(
                "UPDATE nodes SET batch = %s, lease_until = clock_timestamp() + %s * interval '1 s' "
                "WHERE token = %s AND NOT gone AND batch < %s RETURNING nextval('batches')",
                (self.number, lease_s, token, self.number),
            ).fetchone()
            if row is None:
                if not _was_made(sql, token, self.number, lease_s):
                    raise Fenced
                return bool(self.keys or self.votes)
            self.overtaken, self.unsure, self.shared, self.served_by = {}, set(), None, {}
            base = row[0] * CHANGES_A_BATCH
            for turn in self.turns:
                turn.write(sql, self, token, base, remember_ids_ns)
            if self.votes:
                votes.write(sql, token, self.votes)
            if self.overtaken or self.unsure:
                ids = {change.event.notification_id for change in self.overtaken}
                settings = self.unsure | {setting_of(change.command) for change in self.overtaken}
                self.shared = read_shared(sql, ids, settings)
        return bool(self.keys or self.served_by or self.votes)


def _was_made(sql: Sql, token: int, number: int, lease_s: float) -> bool:
    """Tell whether a node that has not lost its lease, and keeps it, has made its transaction of this number."""
    row = sql.execute(
        "UPDATE nodes SET lease_until = clock_timestamp() + %s * interval '1 s' "
        "WHERE token = %s AND NOT gone RETURNING batch",
        (lease_s, token),
    ).fetchone()
    return row is not None and row[0] >= number


_ENDS = frozenset({NotificationSent, NotificationSuppressed})


class _Turn:
    """Changes of which each is of another notification, so that those of a kind may be written together."""

    __slots__ = ("change", "discarded", "ended", "history", "ids", "marks", "moved", "notes", "redriven", "requested")

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.requested: list[Change] = []
        self.ended: list[Change] = []
        self.moved: list[Change] = []
        self.redriven: list[Change] = []
        self.discarded: list[Change] = []
        self.history: list[Change] = []
        self.notes: list[tuple[int, AuditEntry]] = []
        """Entries of the audit trail that are about no event, with their places in the batch."""
        self.change: SettingsChange | None = None
        self.marks: dict[str, Mark | None] = {}
        """Those that are so in the end; None: it has none."""

    def add(self, change: Change) -> None:
        """Take a change in."""
        kind = type(change.event)
        if kind is NotificationRequested:
            self.requested.append(change)
        elif kind in _ENDS:
            self.ended.append(change)
        elif kind is NotificationMovedToDeadLetter:
            self.moved.append(change)
        elif kind is NotificationRedriven:
            self.redriven.append(change)
        elif kind is DeadLetterDiscarded:
            self.discarded.append(change)
        else:
            self.history.append(change)

    def write(self, sql: Sql, batch: Batch, token: int, base: int, remember_ids_ns: int) -> None:
        """Write them, within a transaction."""
        if self.requested:
            self._write_requested(sql, batch, token, base, remember_ids_ns)
        taken = self._conditional(sql, batch, _REDRIVE, self.redriven, token)
        discarded = self._conditional(sql, batch, _DISCARD, self.discarded, token)
        if self.moved:
            ids, at_ns = _ids(self.moved), [change.at_ns for change in self.moved]
            _all_ours(sql.execute(_MOVE, (ids, at_ns, token)), ids)
        if history := [*self.history, *self.moved, *taken]:
            events = [encode_event(change.event) for change in history]
            sql.execute(_HAPPENED, (_ids(history), _seqs(history, base), events))
        if self.ended:
            ids, at_ns = _ids(self.ended), [change.at_ns for change in self.ended]
            ends = [ended_as(change.event) for change in self.ended]
            _all_ours(sql.execute(_END, (ids, at_ns, ends, token)), ids)
        if gone := [change.event.notification_id for change in (*self.ended, *discarded) if change.has_history]:
            sql.execute("DELETE FROM history WHERE notification_id = ANY(%s)", (gone,))
        if closed := [change for change in (*self.ended, *discarded) if change.kept_history]:
            rows = [
                (change.event.notification_id, change.at_ns, change.written, change.kept_history) for change in closed
            ]
            sql.execute(_CLOSE, columns(rows))
        audited: list[tuple[Any, ...]] = [
            (base + change.number, change.event.notification_id, change.at_ns, encode_event(change.event))
            for change in (*taken, *discarded)
        ]
        changes = sorted((*self.history, *taken, *self.ended), key=lambda change: change.number)
        of_endpoints = [(change, change.endpoint_change) for change in changes if change.endpoint_change is not None]
        audited += [
            (base + change.number, change.event.notification_id, change.at_ns, encode_event(of_endpoint.audit))
            for change, of_endpoint in of_endpoints
            if of_endpoint.audit is not None
        ]
        audited += [
            (base + number, entry.notification_id, entry.at_ns, encode_event(entry)) for number, entry in self.notes
        ]
        if audited:
            sql.execute(_AUDIT, columns(audited))
        known = sorted((*self.history, *taken), key=lambda change: change.number)
        settings = write_suppressions(sql, ((change.event, change.command) for change in known))
        batch.unsure.update(settings)
        if of_endpoints:
            settings += write_endpoints(sql, [of_endpoint for _, of_endpoint in of_endpoints])
        if self.change is not None:
            settings += write_change(sql, self.change)
        shared: list[tuple[Any, ...]] = [
            (token, change.event.notification_id, None, None, None) for change in (*self.moved, *taken, *discarded)
        ]
        shared += [(token, None, *_told(setting)) for setting in settings]
        served_by = self._write_requests(sql, [each for each in self._of_requests() if each not in batch.overtaken])
        batch.served_by.update(served_by)
        shared += [(token, notification_id, None, None, None) for notification_id in served_by]
        if shared:
            sql.execute(_SHARE, columns(shared))
        if self.marks:
            marks.write(sql, [mark for mark in self.marks.values() if mark is not None])
            marks.take_away(sql, [each for each, mark in self.marks.items() if mark is None])

    def _of_requests(self) -> Iterator[Change]:
        kinds = (self.requested, self.ended, self.moved, self.redriven, self.discarded)
        return (change for changes in kinds for change in changes if change.request_id is not None)

    def _write_requests(self, sql: Sql, changes: Sequence[Change]) -> dict[str, Serving | None]:
        """Note what was delivered for its request; return what the dead letters of these requests are served by."""
        if not changes:
            return {}
        delivered = sorted({each.request_id or "" for each in changes if type(each.event) is NotificationSent})
        if delivered:
            sql.execute(_DELIVERED, {"requests": delivered})
        return dict(
            sql.execute(_LETTERS_OF, {"requests": sorted({each.request_id or "" for each in changes})}).fetchall()
        )

    def _write_requested(self, sql: Sql, batch: Batch, token: int, base: int, remember_ids_ns: int) -> None:
        # In the order of their ids, so that two nodes with the same ones never wait for each other.
        left = sorted(self.requested, key=lambda change: change.event.notification_id)
        while left:
            accepted = sql.execute(
                _ACCEPT,
                {
                    "ids": _ids(left),
                    "seqs": _seqs(left, base),
                    "at_ns": [change.at_ns for change in left],
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
            known = dict(
                sql.execute(
                    "SELECT notification_id, command FROM notifications WHERE notification_id = ANY(%s)", (_ids(left),)
                ).fetchall()
            )
            for change in left:
                notification_id = change.event.notification_id
                if (command := known.get(notification_id)) is not None:
                    batch.overtaken[change] = Overtaken(notification_id, decode_command(command))
            # An id that was known, and is forgotten meanwhile, is new.
            left = [change for change in left if change.event.notification_id not in known]

    def _conditional(self, sql: Sql, batch: Batch, update: str, changes: list[Change], token: int) -> list[Change]:
        """Change dead letters that are still as they are known here; return the changes that are made."""
        if not changes:
            return []
        changes = sorted(changes, key=lambda change: change.event.notification_id)
        values = {
            "ids": _ids(changes),
            "at_ns": [change.at_ns for change in changes],
            "dead_since_ns": [change.dead_since_ns for change in changes],
            "served_too": [not _is_unserved_only(change.event) for change in changes],
            "token": token,
        }
        found = {notification_id for (notification_id,) in sql.execute(update, values).fetchall()}
        for change in changes:
            if change.event.notification_id not in found:
                batch.overtaken[change] = Overtaken(change.event.notification_id)
        return [change for change in changes if change.event.notification_id in found]


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
"""What is kept of an earlier notification, whose id is forgotten, is deleted when another one has the id."""
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
_CLOSE = """
    INSERT INTO closed SELECT * FROM unnest(%b::text[], %b::bigint[], %b::bytea[], %b::bytea[])
    ON CONFLICT (notification_id) DO UPDATE SET
        ended_ns = excluded.ended_ns, command = excluded.command, events = excluded.events
"""
_AUDIT = "INSERT INTO audit SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::bytea[])"
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
_SHARE = """
    INSERT INTO changes (token, notification_id, kind, name, endpoint)
    SELECT * FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::bytea[], %b::text[])
"""


def _told(setting: Setting) -> tuple[str | None, bytes, str | None]:
    """Return `kind`, `name` and `endpoint` of a row by which others are told that a setting has changed."""
    kind, name = named(setting)
    return (None, name, kind.removeprefix(ENDPOINT)) if is_of_endpoint(setting) else (kind, name, None)


def _is_unserved_only(event: NotificationEvent) -> bool:
    """Tell whether this is a redrive that nobody has asked for if the letter is served."""
    return isinstance(event, NotificationRedriven) and not event.include_served


def _all_ours(done: psycopg.Cursor[Any], ids: Sequence[str]) -> None:
    """Raise Fenced unless every one of them was this node's."""
    if done.rowcount != len(ids):
        raise Fenced


# ── columns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _ids(changes: Iterable[Change]) -> list[str]:
    return [change.event.notification_id for change in changes]


def _seqs(changes: Iterable[Change], base: int) -> list[int]:
    return [base + change.number for change in changes]
