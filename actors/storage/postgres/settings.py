"""Settings of a store in PostgreSQL, which all nodes share: addresses that nothing is sent to, endpoints that fail, and
preferences.

Endpoints have a table of their own, as the release before would take them for addresses; and so their changes have a
column of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, TypeAlias

import msgspec

from actors.domain.codec import decode_endpoint, decode_suppression, encode_endpoint, encode_suppression
from actors.domain.endpoints import Endpoint, EndpointChange
from actors.domain.store import SettingsChange
from actors.domain.suppressions import Key, Suppression, SuppressionSource, normal_address
from actors.domain.user_preferences import UserPreferences
from actors.messages import NotificationChannel, NotificationRedriven, SendNotification
from actors.storage.changes import StoredChange
from actors.storage.postgres.connection import Sql, columns
from actors.storage.postgres.halves import halves

Setting: TypeAlias = tuple[str, str]
"""The key of a setting: for a suppression the channel and the address; for an endpoint the same with ENDPOINT before
the channel; for preferences USER and the user's id."""

USER = "user"
ENDPOINT = "endpoint/"
OWN = "own/"
"""Before the name of a channel that is none of the four, which may be called `user`."""


def setting_of(command: SendNotification) -> Setting:
    return setting_at((command.channel, normal_address(command.channel, command.recipient)))


def setting_at(key: Key) -> Setting:
    channel, address = key
    return f"{OWN}{channel}" if channel.is_own else channel.value, address


def setting_of_suppression(suppression: Suppression) -> Setting:
    return setting_at(suppression.key)


def setting_of_endpoint(key: Key) -> Setting:
    kind, address = setting_at(key)
    return f"{ENDPOINT}{kind}", address


def channel_of(setting: Setting) -> NotificationChannel:
    return NotificationChannel(setting[0].removeprefix(ENDPOINT).removeprefix(OWN))


def is_of_others(setting: Setting) -> bool:
    return setting[0].removeprefix(ENDPOINT).startswith(OWN)


def part_of(change: SettingsChange, *, own: bool) -> SettingsChange:
    """Return the part of a change for the four channels, or with `own` for all others; preferences may be in both."""
    preferences = {user: None if each is None else each.part(own=own) for user, each in change.preferences.items()}
    return msgspec.structs.replace(
        change,
        suppressed=tuple(each for each in change.suppressed if each.channel.is_own is own),
        imported={key: each for key, each in change.imported.items() if key[0].is_own is own},
        lifted=tuple(key for key in change.lifted if key[0].is_own is own),
        enabled=tuple(key for key in change.enabled if key[0].is_own is own),
        preferences=preferences,
    )


def merged(one: Mapping[Setting, bytes | None], other: Mapping[Setting, bytes | None]) -> dict[Setting, bytes | None]:
    found = {**one}
    for setting, written in other.items():
        known = found.get(setting)
        if written is not None and known is not None:
            read = UserPreferences.model_validate_json
            written = read(known).with_part(read(written)).written().encode()
        found[setting] = known if written is None else written
    return found


def is_of_endpoint(setting: Setting) -> bool:
    return setting[0].startswith(ENDPOINT)


def named(setting: Setting) -> tuple[str, bytes]:
    """Return a setting as a row has it; its name may be anything, half characters included."""
    kind, name = setting
    return kind, name.encode("utf-8", "surrogatepass")


def setting_named(kind: str, name: bytes) -> Setting:
    return kind, name.decode("utf-8", "surrogatepass")


def normal_setting(setting: Setting) -> Setting:
    """Return a setting with its address in the normal form, which may be another one than a release before has."""
    kind, name = setting
    if kind == USER:
        return setting
    return kind, normal_address(channel_of(setting), name)


def rewrite_addresses(sql: Sql, written: Mapping[Setting, bytes]) -> dict[Setting, bytes | None]:
    """Give the addresses in these, which are all that there are, their normal form; return them so.

    Of two that are the same now, one stays.
    """
    kept: dict[Setting, bytes | None] = {each: value for each, value in written.items() if normal_setting(each) == each}
    former = {each: value for each, value in written.items() if each not in kept}
    endpoints = {each for each in former if is_of_endpoint(each)}
    for table, settings in (("endpoints", endpoints), ("settings", former.keys() - endpoints)):
        read = decode_endpoint if table == "endpoints" else decode_suppression
        renamed = {normal_setting(each): read(former[each]) for each in sorted(settings)}
        _unset(sql, table, settings)
        _set(sql, table, renamed)
        for each, value in renamed.items():
            kept.setdefault(each, _written(value))
    return kept


def read_settings(sql: Sql, settings: Iterable[Setting]) -> dict[Setting, bytes | None]:
    settings = list(settings)
    of_four, of_others = halves(sql)
    return merged(
        _read(of_four, [each for each in settings if not is_of_others(each)]),
        _read(of_others, [each for each in settings if is_of_others(each) or each[0] == USER]),
    )


def _read(sql: Sql, settings: Iterable[Setting]) -> dict[Setting, bytes | None]:
    keys = {_key(each): each for each in settings}
    found: dict[Any, bytes] = {}
    if keys:
        rows = sql.execute(
            "SELECT kind, digest, value FROM (SELECT * FROM settings UNION ALL SELECT * FROM endpoints) AS kept "
            "JOIN unnest(%b::text[], %b::bytea[]) AS asked (kind, digest) USING (kind, digest)",
            columns(list(keys)),
        )
        found = {(kind, digest): value for kind, digest, value in rows}
    return {setting: found.get(key) for key, setting in keys.items()}


def write_suppressions(sql: Sql, happened: Iterable[StoredChange]) -> list[Setting]:
    """Write the suppressions that the events cause and lift; return their settings."""
    gone: dict[Setting, Suppression] = {}
    back: set[Setting] = set()
    for change in happened:
        if (suppression := change.beside.suppression) is not None:
            gone.setdefault(setting_of_suppression(suppression), suppression)
        elif type(change.event) is NotificationRedriven:
            setting = setting_of(change.command)
            back.add(setting)
            gone.pop(setting, None)
    _unset(sql, "settings", back, " AND told")
    _set(sql, "settings", gone)  # said since then
    return [*gone, *back]


def write_endpoints(sql: Sql, changes: Iterable[EndpointChange]) -> list[Setting]:
    known: dict[Setting, Endpoint | None] = {}
    for change in changes:
        known |= {setting_of_endpoint(key): endpoint for key, endpoint in change.endpoints.items()}
    _unset(sql, "endpoints", [setting for setting, each in known.items() if each is None])
    _set(sql, "endpoints", {setting: each for setting, each in known.items() if each is not None}, _UPDATE)
    return list(known)


def write_change(sql: Sql, change: SettingsChange) -> list[Setting]:
    reported: dict[Setting, Suppression] = {}
    given: dict[Setting, Suppression | UserPreferences] = {}
    for each in (*change.suppressed, *change.imported.values()):
        (reported if each.source is SuppressionSource.PROVIDER else given)[setting_of_suppression(each)] = each
    given |= {(USER, user_id): each for user_id, each in change.preferences.items() if each is not None}
    gone = {setting_at(key) for key in change.lifted}
    gone |= {(USER, user_id) for user_id, each in change.preferences.items() if each is None}
    enabled = [setting_of_endpoint(key) for key in change.enabled]
    _set(sql, "settings", reported)
    _set(sql, "settings", given, _UPDATE)
    _unset(sql, "settings", gone)
    _unset(sql, "endpoints", enabled)
    return [*reported, *given, *gone, *enabled]


_SET = "INSERT INTO {} SELECT * FROM unnest(%b::text[], %b::bytea[], %b::bytea[], %b::bytea[], %b::boolean[])"
_UPDATE = "ON CONFLICT (kind, digest) DO UPDATE SET value = excluded.value, told = excluded.told"
_UNSET = (
    "DELETE FROM {} AS kept USING unnest(%b::text[], %b::bytea[]) AS unset (kind, digest) "
    "WHERE kept.kind = unset.kind AND kept.digest = unset.digest"
)


def _set(
    sql: Sql,
    table: str,
    settings: Mapping[Setting, Suppression | Endpoint | UserPreferences],
    otherwise: str = "ON CONFLICT DO NOTHING",
) -> None:
    # In order, so that two nodes with the same ones never wait for each other.
    rows = [
        (*_key(each), named(each)[1], _written(value), getattr(value, "source", None) is SuppressionSource.PROVIDER)
        for each, value in sorted(settings.items(), key=lambda item: _key(item[0]))
    ]
    if rows:
        sql.execute(f"{_SET.format(table)} {otherwise}".encode(), columns(rows))


def _unset(sql: Sql, table: str, settings: Iterable[Setting], where: str = "") -> None:
    if keys := [_key(each) for each in sorted(settings)]:
        sql.execute(f"{_UNSET.format(table)}{where}".encode(), columns(keys))


def _key(setting: Setting) -> tuple[str, bytes]:
    kind, name = named(setting)
    return kind, sha256(name).digest()


def _written(each: Suppression | Endpoint | UserPreferences) -> bytes:
    if isinstance(each, Endpoint):
        return encode_endpoint(each)
    return encode_suppression(each) if isinstance(each, Suppression) else each.written().encode()
