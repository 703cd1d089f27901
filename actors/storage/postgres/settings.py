"""Settings of a store in PostgreSQL, which all nodes share: addresses that nothing is sent to, and preferences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, TypeAlias

from actors.domain.codec import encode_suppression
from actors.domain.store import SettingsChange
from actors.domain.suppressions import Suppression, SuppressionSource, normal_address, suppression_from
from actors.domain.user_preferences import UserPreferences
from actors.messages import NotificationEvent, NotificationRedriven, SendNotification
from actors.storage.postgres.connection import Sql, columns

Setting: TypeAlias = tuple[str, str]
"""What is set: a channel, and the address on it that nothing is sent to; or USER, and whose preferences they are."""

USER = "user"


def setting_of(command: SendNotification) -> Setting:
    """Return by what a suppression of a command's address is known."""
    return command.channel.value, normal_address(command.channel, command.recipient)


def setting_of_suppression(suppression: Suppression) -> Setting:
    """Return by what a suppression is known."""
    return suppression.channel.value, suppression.address


def named(setting: Setting) -> tuple[str, bytes]:
    """Return a setting as a row has it; its name may be anything, half characters included."""
    kind, name = setting
    return kind, name.encode("utf-8", "surrogatepass")


def setting_named(kind: str, name: bytes) -> Setting:
    """Return the setting that a row names."""
    return kind, name.decode("utf-8", "surrogatepass")


def read_settings(sql: Sql, settings: Iterable[Setting]) -> dict[Setting, bytes | None]:
    """Return each of these in writing; None: it is not set."""
    keys = {_key(each): each for each in settings}
    found: dict[Any, bytes] = {}
    if keys:
        rows = sql.execute(
            "SELECT kind, digest, value FROM settings JOIN unnest(%b::text[], %b::bytea[]) AS asked "
            "(kind, digest) USING (kind, digest)",
            columns(list(keys)),
        )
        found = {(kind, digest): value for kind, digest, value in rows}
    return {setting: found.get(key) for key, setting in keys.items()}


def write_suppressions(sql: Sql, happened: Iterable[tuple[NotificationEvent, SendNotification]]) -> list[Setting]:
    """Write which addresses are gone by what has happened, and of which that is lifted; return them."""
    gone: dict[Setting, Suppression] = {}
    back: set[Setting] = set()
    for event, command in happened:
        suppression = suppression_from(event, command.recipient)
        if suppression is not None:
            gone.setdefault(setting_of_suppression(suppression), suppression)
        elif type(event) is NotificationRedriven:
            back.add(setting_of(command))
            gone.pop(setting_of(command), None)
    if back:
        sql.execute(f"{_UNSET} AND told".encode(), columns([_key(each) for each in sorted(back)]))
    if gone:  # said since then
        sql.execute(f"{_SET} ON CONFLICT DO NOTHING".encode(), _setting_columns(gone))
    return [*gone, *back]


def write_change(sql: Sql, change: SettingsChange) -> list[Setting]:
    """Write a change of settings; return what it changes."""
    people = [each for each in change.suppressed if each.source is not SuppressionSource.PROVIDER]
    reported = {setting_of_suppression(each): each for each in change.suppressed if each not in people}
    given: dict[Setting, Suppression | UserPreferences] = {setting_of_suppression(each): each for each in people}
    given |= {(USER, user_id): each for user_id, each in change.preferences.items() if each is not None}
    gone = {(channel.value, address) for channel, address in change.lifted}
    gone |= {(USER, user_id) for user_id, each in change.preferences.items() if each is None}
    if reported:
        sql.execute(f"{_SET} ON CONFLICT DO NOTHING".encode(), _setting_columns(reported))
    if given:
        update = "ON CONFLICT (kind, digest) DO UPDATE SET value = excluded.value, told = excluded.told"
        sql.execute(f"{_SET} {update}".encode(), _setting_columns(given))
    if gone:
        sql.execute(_UNSET.encode(), columns([_key(each) for each in sorted(gone)]))
    return [*reported, *given, *gone]


_SET = "INSERT INTO settings SELECT * FROM unnest(%b::text[], %b::bytea[], %b::bytea[], %b::bytea[], %b::boolean[])"
_UNSET = (
    "DELETE FROM settings USING unnest(%b::text[], %b::bytea[]) AS unset (kind, digest) "
    "WHERE settings.kind = unset.kind AND settings.digest = unset.digest"
)


def _key(setting: Setting) -> tuple[str, bytes]:
    kind, name = named(setting)
    return kind, sha256(name).digest()


def _setting_columns(settings: Mapping[Setting, Suppression | UserPreferences]) -> list[list[Any]]:
    # In order, so that two nodes with the same ones never wait for each other.
    return columns(
        [
            (
                *_key(setting),
                named(setting)[1],
                encode_suppression(each) if isinstance(each, Suppression) else each.written().encode(),
                isinstance(each, Suppression) and each.source is SuppressionSource.PROVIDER,
            )
            for setting, each in sorted(settings.items(), key=lambda item: _key(item[0]))
        ]
    )
