"""Preferences, templates and suppressions that change while a notifier runs: from files, and from its store.

A file that changes is read again within seconds, in a thread, and used as a whole when there is nothing wrong with it.
Otherwise what was there before stays in use, and the log says all that is wrong, with line and column. Of templates
each is a file of its own, so one that is broken keeps no other from being used. What operators set is in the store, at
once and for good, and comes before what a file says. A change holds for everything that is not sent yet, be it that it
waits for a retry, the end of quiet hours, a limiter or an open breaker; the handler looks at all of it in memory.

::

    async with (
        SqliteStore.open("notifications.db") as store,
        LiveSettings.open(store, preferences="preferences.yaml", templates="templates") as live,
        Notifier.open(settings, store=store, preferences=live.preferences, templates=live.templates) as notifier,
    ):
        await live.suppress("email", "ann@example.com", reason="complaint", by="otto")
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import trio

from actors.channel_names import in_order
from actors.domain.audit import AuditEntry
from actors.domain.store import SettingsChange, Store
from actors.domain.suppressions import Key, Suppression, SuppressionSource, normal_address
from actors.domain.user_preferences import PreferencesFile, UserPreferences
from actors.errors import ConfigurationError
from actors.messages import ChannelName, NotificationChannel, SendNotification
from actors.pipeline.preferences import LivePreferences
from actors.pipeline.templates import Templates, template_files
from actors.service.reloading.suppression_list import read_suppressions, write_suppressions, wrong_text
from actors.service.reloading.watched_file import WatchedFile
from actors.settings.file import load_settings, text_of

POLL_S = 2.0
"""How often files are looked at, in seconds."""

IMPORTED_MAX = 200_000
"""How many suppressions are imported at once: all of them, or none, in one piece of work."""

_OWN = ("subject", "message", "recipient", "user_id")

SUPPRESS, LIFT, IMPORT = "suppress", "lift suppression", "import suppressions"
SET_PREFERENCES, FORGET_PREFERENCES = "set preferences", "forget preferences"


class LiveSettings:
    """The settings, and how operators change them. Make one with :meth:`open`.

    `by` is who asks, and `why` the reason, for the audit trail. A change raises ConfigurationError where there is no
    such channel, or a text cannot be kept, and StoreError where it cannot be made durable.
    """

    def __init__(
        self,
        store: Store,
        *,
        preferences: Path | None = None,
        templates: Path | None = None,
        suppressions: Path | None = None,
        variables: Mapping[str, Any] | None = None,
        channels: Iterable[ChannelName] = (),
    ) -> None:
        self.channels = in_order([*NotificationChannel, *map(NotificationChannel, channels)])
        """Those that settings may name."""
        self.preferences = LivePreferences(store.preferences)
        """Of the users, for :meth:`Notifier.open`."""
        self.templates = Templates(variables=variables)
        """For :meth:`Notifier.open`."""
        self.suppressions = store.suppressions
        self.files: dict[str, WatchedFile[Any]] = {}
        """The watched files: `preferences`, `templates`, `suppressions`, as far as they are given."""
        self._store = store
        if preferences is not None:
            self.files["preferences"] = WatchedFile(
                preferences,
                read=lambda: (self._users_in(preferences), ()),
                use=self.preferences.replace_file,
            )
        if templates is not None:
            self.files["templates"] = WatchedFile(
                templates,
                read=lambda: Templates.read(templates, variables=variables, earlier=self.templates),
                use=self.templates.take_over,
                files=template_files,
            )
        if suppressions is not None:
            self.files["suppressions"] = WatchedFile(
                suppressions,
                read=lambda: (self._suppressions_in(suppressions), ()),
                use=store.suppressions.replace_file,
            )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        store: Store,
        *,
        preferences: str | PathLike[str] | None = None,
        templates: str | PathLike[str] | None = None,
        suppressions: str | PathLike[str] | None = None,
        variables: Mapping[str, Any] | None = None,
        channels: Iterable[ChannelName] = (),
        poll: float = POLL_S,
    ) -> AsyncGenerator[LiveSettings, None]:
        """Read the files, and watch them for as long as the block lasts.

        Args:
            store: the notifier's: it keeps what operators set.
            preferences: a file in YAML or JSON; see :mod:`actors.domain.user_preferences`.
            templates: a directory; see :mod:`actors.pipeline.templates`.
            suppressions: a table; see :mod:`actors.service.reloading.suppression_list`.
            variables: that all templates have, such as `platform`.
            channels: those beside email, sms, push and webhook that preferences and suppressions may name.
            poll: seconds between two looks at the files.

        Raises:
            ConfigurationError: a file cannot be used; all problems of all files.
        """
        given = {"preferences": preferences, "templates": templates, "suppressions": suppressions}
        paths = {name: Path(path) for name, path in given.items() if path is not None}
        live = cls(store, **paths, variables=variables, channels=channels)
        if problems := [problem for watched in live.files.values() for problem in await watched.read()]:
            raise ConfigurationError(problems)
        if suppressions is None:
            store.suppressions.replace_file({})  # where others had one over this store before
        raised: BaseException | None = None
        async with trio.open_nursery() as nursery:
            for watched in live.files.values():
                nursery.start_soon(_watch, watched, poll)
            try:
                yield live
            except BaseException as error:
                raised = error  # raised below: not in the group of a nursery that is internal
            finally:
                nursery.cancel_scope.cancel()
        if raised is not None:
            raise raised

    async def reload(self) -> list[str]:
        """Read all files now, as after a SIGHUP; return their problems, a line each, which are logged too.

        What can be used is used; of a file that cannot, what was there before holds.
        """
        return [problem for watched in self.files.values() for problem in await watched.reload()]

    async def set_preferences(
        self, user_id: str, preferences: UserPreferences, *, by: str | None = None, why: str | None = None
    ) -> None:
        """Have the store keep what a user has set, in place of all that it has of theirs."""
        _check_texts(user_id=user_id, why=why)
        if problems := self._unknown_in(preferences, ""):
            raise ConfigurationError(problems)
        await self._change(SET_PREFERENCES, f"user {user_id}", by, why, preferences={user_id: preferences})

    async def forget_preferences(self, user_id: str, *, by: str | None = None, why: str | None = None) -> bool:
        """Have the store forget what a user has set; tell whether it had anything. What a file says holds then."""
        if user_id not in self._store.preferences:
            return False
        _check_texts(why=why)
        await self._change(FORGET_PREFERENCES, f"user {user_id}", by, why, preferences={user_id: None})
        return True

    async def suppress(self, channel: ChannelName, address: str, *, reason: str, by: str | None = None) -> Suppression:
        """Send nothing to an address from now on, whatever was said of it before; return its suppression."""
        _check_texts(address=address, reason=reason)
        suppression = Suppression(
            channel=self._channel(channel),
            address=address,
            reason=reason,
            source=SuppressionSource.OPERATOR,
            since_ns=time.time_ns(),
            by=by,
        )
        await self._change(SUPPRESS, _about(suppression), by, reason, suppressed=(suppression,))
        return suppression

    async def lift(self, channel: ChannelName, address: str, *, by: str | None = None, why: str | None = None) -> bool:
        """Send to an address again, whatever suppressed it; tell whether the store had it suppressed.

        One in a file stays: edit the file to remove it.
        """
        _check_texts(why=why)
        key = self._channel(channel), normal_address(self._channel(channel), address)
        stored = self.suppressions.stored_at(key)
        if stored is None:
            return False
        await self._change(LIFT, _about(stored), by, why, lifted=(key,))
        return True

    async def import_suppressions(self, table: str, *, name: str = "table", by: str | None = None) -> int:
        """Have the store keep the suppressions in a table, all of them or none; return how many there are.

        Those that a provider has said (by the table) take the place of none that people have said.

        Raises:
            ConfigurationError: what is wrong with the table, a line each; or there are more than :data:`IMPORTED_MAX`.
        """
        _check_texts(by=by)
        now_ns, channels = time.time_ns(), self.channels
        found = await trio.to_thread.run_sync(lambda: read_suppressions(table, name, channels, now_ns=now_ns, by=by))
        if len(found) > IMPORTED_MAX:
            raise ConfigurationError([f"{name}: wanted at most {IMPORTED_MAX:,} suppressions, got {len(found):,}"])
        if found:
            await self._change(IMPORT, f"{len(found):,} addresses", by, None, imported=found)
        return len(found)

    async def export_suppressions(self) -> str:
        return await trio.to_thread.run_sync(write_suppressions, self.suppressions.copy())

    def preview(self, name: str, variables: Mapping[str, Any], *, language: str | None = None) -> SendNotification:
        """Return what a notification with this template and these variables would be.

        Those called `subject`, `message`, `recipient` and `user_id` are the notification's own.

        Raises:
            TemplateError: there is no such template, or a variable is missing.
        """
        named = {"template": name} if language is None else {"template": name, "lang": language}
        own = {key: variables[key] for key in _OWN if isinstance(variables.get(key), str)}
        command = SendNotification(
            notification_id="preview",
            channel=NotificationChannel.EMAIL,
            metadata={**variables, **named},
            **{"recipient": "ann@example.com", "message": "", **own},
        )
        return self.templates.fill_in(command)

    def _channel(self, channel: ChannelName) -> NotificationChannel:
        if channel not in self.channels:
            raise ConfigurationError([f"channel: wanted one of {', '.join(self.channels)}, got {str(channel)!r}"])
        return NotificationChannel(channel)

    def _unknown_in(self, preferences: UserPreferences, place: str) -> list[str]:
        known = ", ".join(self.channels)
        names = [channel for channel in preferences.channels if channel not in self.channels]
        return [f"{place}channels.{name}: wanted one of {known}, got {name.value!r}" for name in names]

    def _users_in(self, path: Path) -> Mapping[str, UserPreferences]:
        users = load_settings(PreferencesFile, path, private="users").users
        found = (self._unknown_in(own, f"{path}: users.{user}.") for user, own in users.items())
        if problems := [problem for problems in found for problem in problems]:
            raise ConfigurationError(problems)
        return users

    def _suppressions_in(self, path: Path) -> Mapping[Key, Suppression]:
        now_ns = time.time_ns()
        return read_suppressions(
            text_of(path, _LIST_BYTES_MAX), str(path), self.channels, now_ns=now_ns, source=SuppressionSource.FILE
        )

    async def _change(self, action: str, about: str, by: str | None, why: str | None, **change: Any) -> None:
        entry = AuditEntry(at_ns=time.time_ns(), action=action, by=by, about=about, why=why)
        await self._store.wait_for(self._store.change(SettingsChange(audit=entry, **change)))


async def _watch(watched: WatchedFile[Any], poll: float) -> None:
    while True:
        await trio.sleep(poll)
        await watched.reload_when_changed()


_LIST_BYTES_MAX = 256 * 2**20
"""Of a list of suppressions: some three million of them."""


def _about(suppression: Suppression) -> str:
    return f"{suppression.channel} {suppression.address}"


def _check_texts(**texts: str | None) -> None:
    problems = [
        f"{name}: {problem}" for name, text in texts.items() if text is not None and (problem := wrong_text(text))
    ]
    if problems:
        raise ConfigurationError(problems)
