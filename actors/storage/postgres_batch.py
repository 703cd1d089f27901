"""The changes of one transaction of a store in PostgreSQL, and the statements that write them.

Each statement takes many rows, as arrays; so a batch of hundreds takes hardly more round trips than one of a single
change. The arrays go in binary form: as text, those of bytes take ten times as long to write.

Within a transaction the node's row comes first: by it a node that has lost its lease is kept from writing, and a
transaction whose answer was lost with the connection is known for made or not. Whoever takes over what a node has must
lock the same row, so of a commit and a take-over one is wholly before the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias

from actors.effects import Promise
from actors.errors import Overtaken
from actors.extras import needs
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
from actors.pipeline.suppressions import Suppression, SuppressionSource, normal_address, told_by
from actors.preferences_config import UserPreferences
from actors.storage.audit import AuditEntry
from actors.storage.codec import decode_command, decode_event, encode_event, encode_suppression
from actors.storage.memory import Entry
from actors.storage.settings_change import SettingsChange

with needs("postgres"):
    import psycopg

Sql = psycopg.Connection[Any]

CHANGES_A_BATCH = 1 << 16
"""How many changes a batch has at the most. The number of a change is that of its batch times this, and its place."""

Setting: TypeAlias = tuple[str, str]
"""What is set: a channel, and the address on it that nothing is sent to; or USER, and whose preferences they are."""

USER = "user"


class Fenced(Exception):
    """Another node has taken over what this one had."""


class Change(Promise):
    """One change, with all that is written of it; and the promise that it is durable."""

    __slots__ = (
        "at_ns",
        "before",
        "command",
        "dead_since_ns",
        "entry",
        "event",
        "has_history",
        "number",
        "past",
        "written",
    )

    def __init__(self, event: NotificationEvent, command: SendNotification) -> None:
        super().__init__()
        self.event = event
        self.command = command
        """With what somebody has edited."""
        self.at_ns = event.epoch_ns + event.at_ns
        """When it happened, since 1970."""
        self.number = 0
        """Its place in its batch."""
        self.written = b""
        """The command as it was accepted, where it is requested, or its past is kept."""
        self.past = b""
        """All that happened to it, where it ends and that is to be kept."""
        self.dead_since_ns = 0
        """When it was given up, as far as is known here, where it is redriven or discarded."""
        self.has_history = True
        """Whether there may be anything in `history` that its end deletes."""
        self.entry: Entry | None = None
        """What the view in memory has of it since, where another node may have been first."""
        self.before: Entry | None = None
        """What that had of it until then, where it has just been taken over, and its handler does not know yet."""


class Shared(NamedTuple):
    """How things stand that all nodes share, as the database has them."""

    letters: dict[str, Entry | None]
    """Of notifications: the dead letter, or None where it is none."""

    settings: dict[Setting, bytes | None]
    """Each of these in writing; None: it is not set."""


class Batch:
    """The changes of one transaction."""

    __slots__ = ("keys", "number", "overtaken", "promises", "shared", "turns", "unsure")

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
        """How things stand that those changes were about, and these settings."""

    @property
    def size(self) -> int:
        """How many changes it has."""
        return len(self.promises)

    def add(self, change: Change) -> None:
        """Take a change in."""
        self.promises.append(change)
        change.number = len(self.promises)
        turn = self.turns[-1]
        if change.event.notification_id in turn.ids:
            turn = _Turn()
            self.turns.append(turn)
        turn.add(change)

    def note(self, entry: AuditEntry) -> Promise:
        """Take in an entry of the audit trail that is about no event; return the promise that it is durable."""
        promise = Promise()
        self.promises.append(promise)
        self.turns[-1].notes.append((len(self.promises), entry))
        return promise

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
                return bool(self.keys)
            self.overtaken, self.unsure, self.shared = {}, set(), None
            base = row[0] * CHANGES_A_BATCH
            for turn in self.turns:
                turn.write(sql, self, token, base, remember_ids_ns)
            if self.overtaken or self.unsure:
                ids = {change.event.notification_id for change in self.overtaken}
                settings = self.unsure | {setting_of(change.command) for change in self.overtaken}
                self.shared = read_shared(sql, ids, settings)
        return bool(self.keys)


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

    __slots__ = ("change", "discarded", "ended", "history", "ids", "moved", "notes", "redriven", "requested")

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

    def add(self, change: Change) -> None:
        """Take a change in."""
        kind = type(change.event)
        self.ids.add(change.event.notification_id)
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
        taken = [*self._conditional(sql, batch, _REDRIVE, self.redriven, token)]
        discarded = self._conditional(sql, batch, _DISCARD, self.discarded, token)
        if self.moved:
            ids, at_ns = _ids(self.moved), [change.at_ns for change in self.moved]
            _all_ours(sql.execute(_MOVE, (ids, at_ns, token)), ids)
        if history := [*self.history, *self.moved, *taken]:
            sql.execute(
                "INSERT INTO history (notification_id, seq, event) SELECT * FROM unnest(%b::text[], %b::bigint[], "
                "%b::bytea[])",
                (_ids(history), _seqs(history, base), [encode_event(change.event) for change in history]),
            )
        if self.ended:
            ids, at_ns = _ids(self.ended), [change.at_ns for change in self.ended]
            _all_ours(sql.execute(_END, (ids, at_ns, token)), ids)
        if gone := [change.event.notification_id for change in (*self.ended, *discarded) if change.has_history]:
            sql.execute("DELETE FROM history WHERE notification_id = ANY(%s)", (gone,))
        if closed := [change for change in (*self.ended, *discarded) if change.past]:
            sql.execute(
                "INSERT INTO closed SELECT * FROM unnest(%b::text[], %b::bigint[], %b::bytea[], %b::bytea[]) "
                "ON CONFLICT (notification_id) DO UPDATE SET ended_ns = excluded.ended_ns, "
                "command = excluded.command, events = excluded.events",
                (
                    _ids(closed),
                    [change.at_ns for change in closed],
                    [change.written for change in closed],
                    [change.past for change in closed],
                ),
            )
        audited: list[tuple[Any, ...]] = [
            (base + change.number, change.event.notification_id, change.at_ns, encode_event(change.event))
            for change in (*taken, *discarded)
        ]
        audited += [
            (base + number, entry.notification_id, entry.at_ns, encode_event(entry)) for number, entry in self.notes
        ]
        if audited:
            sql.execute(
                "INSERT INTO audit SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::bytea[])",
                _columns(audited),
            )
        settings = self._write_told(sql, taken)
        batch.unsure.update(settings)
        if self.change is not None:
            settings += _write_change(sql, self.change)
        shared: list[tuple[Any, ...]] = [
            (token, change.event.notification_id, None, None) for change in (*self.moved, *taken, *discarded)
        ]
        shared += [(token, None, kind, _utf8(name)) for kind, name in settings]
        if shared:
            sql.execute(
                "INSERT INTO changes (token, notification_id, kind, name) "
                "SELECT * FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::bytea[])",
                _columns(shared),
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
            "token": token,
        }
        found = {notification_id for (notification_id,) in sql.execute(update, values).fetchall()}
        for change in changes:
            if change.event.notification_id not in found:
                batch.overtaken[change] = Overtaken(change.event.notification_id)
        return [change for change in changes if change.event.notification_id in found]

    def _write_told(self, sql: Sql, redriven: Iterable[Change]) -> list[Setting]:
        """Write which addresses are gone, and of which that is lifted; return them."""
        gone: dict[Setting, Suppression] = {}
        back: set[Setting] = set()
        for change in sorted((*self.history, *redriven), key=lambda change: change.number):
            told = told_by(change.event, change.command.recipient)
            if told is not None:
                gone.setdefault(setting_of_suppression(told), told)
            elif type(change.event) is NotificationRedriven:
                back.add(setting_of(change.command))
                gone.pop(setting_of(change.command), None)
        if back:
            sql.execute(f"{_UNSET} AND told".encode(), _columns([_key(each) for each in sorted(back)]))
        if gone:  # said since then
            sql.execute(f"{_SET} ON CONFLICT DO NOTHING".encode(), _setting_columns(gone))
        return [*gone, *back]


def _write_change(sql: Sql, change: SettingsChange) -> list[Setting]:
    """Write a change of settings; return what it changes."""
    people = [each for each in change.suppressed if each.source is not SuppressionSource.PROVIDER]
    told = {setting_of_suppression(each): each for each in change.suppressed if each not in people}
    given: dict[Setting, Suppression | UserPreferences] = {setting_of_suppression(each): each for each in people}
    given |= {(USER, user_id): each for user_id, each in change.preferences.items() if each is not None}
    gone = {(channel.value, address) for channel, address in change.lifted}
    gone |= {(USER, user_id) for user_id, each in change.preferences.items() if each is None}
    if told:
        sql.execute(f"{_SET} ON CONFLICT DO NOTHING".encode(), _setting_columns(told))
    if given:
        update = "ON CONFLICT (kind, digest) DO UPDATE SET value = excluded.value, told = excluded.told"
        sql.execute(f"{_SET} {update}".encode(), _setting_columns(given))
    if gone:
        sql.execute(_UNSET.encode(), _columns([_key(each) for each in sorted(gone)]))
    return [*told, *given, *gone]


_SET = "INSERT INTO settings SELECT * FROM unnest(%b::text[], %b::bytea[], %b::bytea[], %b::bytea[], %b::boolean[])"
_UNSET = (
    "DELETE FROM settings USING unnest(%b::text[], %b::bytea[]) AS unset (kind, digest) "
    "WHERE settings.kind = unset.kind AND settings.digest = unset.digest"
)
_ACCEPT = """
    INSERT INTO notifications AS known (notification_id, seq, state, owner, at_ns, command, requested)
    SELECT notification_id, seq, 'open', %(token)s, at_ns, command, requested
    FROM unnest(%(ids)b::text[], %(seqs)b::bigint[], %(at_ns)b::bigint[], %(commands)b::bytea[], %(requested)b::bytea[])
        AS new (notification_id, seq, at_ns, command, requested)
    ON CONFLICT (notification_id) DO UPDATE SET seq = excluded.seq, state = 'open', owner = excluded.owner, via = 0,
        at_ns = excluded.at_ns, command = excluded.command, requested = excluded.requested
    WHERE known.state = 'ended' AND known.at_ns <= excluded.at_ns - %(remember_ids_ns)s
    RETURNING notification_id
"""
_REDRIVE = """
    UPDATE notifications AS known SET state = 'open', owner = %(token)s, via = 0, at_ns = done.at_ns
    FROM unnest(%(ids)b::text[], %(at_ns)b::bigint[], %(dead_since_ns)b::bigint[]) AS done (id, at_ns, dead_since_ns)
    WHERE known.notification_id = done.id AND known.state = 'dead' AND known.at_ns = done.dead_since_ns
    RETURNING known.notification_id
"""
_DISCARD = """
    UPDATE notifications AS known SET state = 'ended', at_ns = done.at_ns
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
    UPDATE notifications AS known SET state = 'ended', owner = NULL, at_ns = done.at_ns
    FROM unnest(%b::text[], %b::bigint[]) AS done (id, at_ns)
    WHERE known.notification_id = done.id AND known.state = 'open' AND known.owner = %s
"""


def _all_ours(done: psycopg.Cursor[Any], ids: Sequence[str]) -> None:
    """Raise Fenced unless every one of them was this node's."""
    if done.rowcount != len(ids):
        raise Fenced


# ── what all nodes share ────────────────────────────────────────────────────────────────────────────────────────────


def read_shared(sql: Sql, ids: Iterable[str], settings: Iterable[Setting]) -> Shared:
    """Return how these letters and settings stand."""
    wanted, keys = sorted(ids), {_key(each): each for each in settings}
    dead = entries(sql, "state = 'dead' AND notification_id = ANY(%s)", (wanted,)) if wanted else {}
    found: dict[Any, bytes] = {}
    if keys:
        rows = sql.execute(
            "SELECT kind, digest, value FROM settings JOIN unnest(%b::text[], %b::bytea[]) AS asked "
            "(kind, digest) USING (kind, digest)",
            _columns(list(keys)),
        )
        found = {(kind, digest): value for kind, digest, value in rows}
    return Shared({each: dead.get(each) for each in wanted}, {keys[key]: found.get(key) for key in keys})


def entries(sql: Sql, where: str, values: Sequence[Any]) -> dict[str, Entry]:
    """Return the notifications that fit, in the order of acceptance, with all that happened to them."""
    rows = sql.execute(
        f"SELECT notification_id, command, requested FROM notifications WHERE {where} ORDER BY seq".encode(),
        values,
        binary=True,
    ).fetchall()
    found = {
        notification_id: Entry(decode_command(command), [decode_event(requested)])
        for notification_id, command, requested in rows
    }
    if found:
        history = sql.execute(
            "SELECT notification_id, event FROM history WHERE notification_id = ANY(%s) ORDER BY notification_id, seq",
            (list(found),),
            binary=True,
        )
        for notification_id, event in history:
            entry = found[notification_id]
            entry.events.append(decode_event(event))
            entry.was_redriven |= isinstance(entry.events[-1], NotificationRedriven)
    return found


def setting_of(command: SendNotification) -> Setting:
    """Return by what a suppression of a command's address is known."""
    return command.channel.value, normal_address(command.channel, command.recipient)


def setting_of_suppression(suppression: Suppression) -> Setting:
    """Return by what a suppression is known."""
    return suppression.channel.value, suppression.address


def _key(setting: Setting) -> tuple[str, bytes]:
    kind, name = setting
    return kind, sha256(_utf8(name)).digest()


def _setting_columns(settings: Mapping[Setting, Suppression | UserPreferences]) -> list[list[Any]]:
    # In order, so that two nodes with the same ones never wait for each other.
    return _columns(
        [
            (
                *_key(setting),
                _utf8(setting[1]),
                encode_suppression(each) if isinstance(each, Suppression) else each.written().encode(),
                isinstance(each, Suppression) and each.source is SuppressionSource.PROVIDER,
            )
            for setting, each in sorted(settings.items(), key=lambda item: _key(item[0]))
        ]
    )


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# ── columns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _ids(changes: Iterable[Change]) -> list[str]:
    return [change.event.notification_id for change in changes]


def _seqs(changes: Iterable[Change], base: int) -> list[int]:
    return [base + change.number for change in changes]


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
