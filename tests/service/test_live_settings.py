"""Preferences, templates and suppressions that change while a notifier runs: from real files, and from the store."""

import logging
import os
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from actors import Foreseen, MemoryStore, Notifier, SendNotification, SqliteStore
from actors.domain.attempts import Attempt, Provider
from actors.domain.user_preferences import UserPreferences
from actors.errors import ConfigurationError, TemplateError
from actors.messages import (
    NotificationChannel,
    NotificationDeferred,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationSent,
    NotificationSuppressed,
)
from actors.outcomes import Sent
from actors.service.reloading import watched_file
from actors.service.reloading.live_settings import LiveSettings
from actors.service.reloading.watched_file import WatchedFile

EMAIL, SMS = NotificationChannel.EMAIL, NotificationChannel.SMS


@pytest.fixture
def autojump_clock(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    async def run_here(function: Callable[..., object], *args: object) -> object:
        """Read a file in the loop: while a thread reads it, the clock would jump."""
        await trio.lowlevel.checkpoint()
        return function(*args)

    monkeypatch.setattr(watched_file.trio.to_thread, "run_sync", run_here)
    return MockClock(autojump_threshold=0.01)  # SQLite's thread is waited for that long


# Dead letters are kept forever, since the clock may jump while a thread is waited for.
SETTINGS = {"drain": 0, "dead_letters": {}}


class Receiver(Provider):
    """Takes everything."""

    def __init__(self) -> None:
        self.taken: list[SendNotification] = []

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        self.taken.append(attempt.command)
        return Foreseen(0, Sent())

    @property
    def ids(self) -> list[str]:
        return [command.notification_id for command in self.taken]


class World:
    """A notifier with live settings, and what happened in it."""

    def __init__(self, live: LiveSettings, notifier: Notifier, receiver: Receiver) -> None:
        self.live, self.notifier, self.receiver = live, notifier, receiver
        self.events: list[NotificationEvent] = []
        for kind in (NotificationSent, NotificationSuppressed, NotificationDeferred, NotificationMovedToDeadLetter):
            notifier.bus.subscribe(kind)(self.events.append)

    async def send(self, notification_id: str, recipient: str = "ann@example.org", **fields: object) -> None:
        given = {"channel": EMAIL, "message": "Hello", **fields}
        await self.notifier.send(
            SendNotification(notification_id=notification_id, recipient=recipient, **given)  # type: ignore[arg-type]
        )

    def happened(self, kind: type[NotificationEvent]) -> list[NotificationEvent]:
        return [event for event in self.events if type(event) is kind]

    @property
    def suppressed(self) -> list[tuple[str, str]]:
        return [(event.notification_id, event.reason) for event in self.happened(NotificationSuppressed)]


@asynccontextmanager
async def running(store: MemoryStore | SqliteStore | None = None, **files: Path):
    store = store if store is not None else MemoryStore()
    receiver = Receiver()
    async with (
        LiveSettings.open(store, **files, variables={"platform": "Shop"}) as live,
        Notifier.open(
            SETTINGS, providers=receiver, store=store, preferences=live.preferences, templates=live.templates
        ) as notifier,
    ):
        yield World(live, notifier, receiver)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(500):
        if holds():
            return
        await trio.sleep(0.25)
    raise AssertionError("it never was so")


def write(path: Path, text: str) -> None:
    """Write a file as an editor does that puts a new one in its place."""
    path.with_suffix(".new").write_text(text, encoding="utf-8")
    path.with_suffix(".new").replace(path)


def in_utc(away: timedelta) -> str:
    return f"{datetime.now(UTC) + away:%H:%M:%S}"


async def test_a_file_of_preferences_that_changes_holds_for_what_is_sent_from_then_on(autojump_clock, tmp_path):
    path = tmp_path / "preferences.yaml"
    write(path, "users: {ann: {channels: {email: off}}}")
    async with running(preferences=path) as world:
        await world.send("first", user_id="ann")
        write(path, "users: {bob: {channels: {email: off}}}")
        await until(lambda: world.live.preferences.is_enabled("ann", EMAIL))
        await world.send("second", user_id="ann")
        await world.send("third", user_id="bob")
        assert [each[0] for each in world.suppressed] == ["first", "third"]
        assert world.receiver.ids == ["second"]


async def test_quiet_hours_that_change_are_looked_at_again_at_their_end(autojump_clock, tmp_path):
    path = tmp_path / "preferences.yaml"
    begun, soon, later = in_utc(timedelta(hours=-1)), in_utc(timedelta(minutes=1)), in_utc(timedelta(minutes=3))
    write(path, f"users: {{ann: {{quiet_hours: {{from: '{begun}', to: '{soon}', zone: UTC}}}}}}")
    async with running(preferences=path) as world:
        for user in ("ann", "bob"):
            await world.live.set_preferences(user, UserPreferences.model_validate({"channels": {"sms": "off"}}))
        for name in ("longer", "critical"):
            await world.send(name, user_id="ann", critical=name == "critical")
        assert world.receiver.ids == ["critical"]
        write(path, f"users: {{ann: {{quiet_hours: {{from: '{begun}', to: '{later}', zone: UTC}}}}}}")
        await trio.sleep(150)
        assert world.receiver.ids == ["critical"]
        assert len(world.happened(NotificationDeferred)) == 2
        await trio.sleep(60)
        assert world.receiver.ids == ["critical", "longer"]


async def test_what_waits_for_the_end_of_quiet_hours_is_suppressed_if_that_is_wanted_then(autojump_clock, tmp_path):
    night = {"from": in_utc(timedelta(hours=-1)), "to": in_utc(timedelta(minutes=1)), "zone": "UTC"}
    async with running() as world:
        await world.live.set_preferences("ann", UserPreferences.model_validate({"quiet_hours": night}))
        await world.send("a", user_id="ann")
        off = {"quiet_hours": night, "channels": {"email": "off"}}
        await world.live.set_preferences("ann", UserPreferences.model_validate(off))
        await trio.sleep(61)
        assert world.suppressed == [("a", "switched off by the user")]


async def test_what_the_store_has_of_a_user_comes_before_the_file_and_outlives_the_process(autojump_clock, tmp_path):
    path = tmp_path / "preferences.json"
    write(path, '{"users": {"ann": {"channels": {"email": false, "sms": false}}}}')
    async with SqliteStore.open(tmp_path / "store.db") as store, running(store, preferences=path) as world:
        wants_email = UserPreferences.model_validate({"channels": {"email": True}})
        await world.live.set_preferences("ann", wants_email, by="otto", why="called us")
    async with SqliteStore.open(tmp_path / "store.db") as store, running(store, preferences=path) as world:
        await world.send("a", user_id="ann")
        await world.send("b", user_id="ann", channel=SMS)
        await until(lambda: len(world.events) == 2)
        assert (world.receiver.ids, [each[0] for each in world.suppressed]) == (["a"], ["b"])
        assert await world.live.forget_preferences("ann", by="oda")
        assert not await world.live.forget_preferences("ann", by="oda")
        await world.send("c", user_id="ann")
        await until(lambda: len(world.events) == 3)
        assert [each[0] for each in world.suppressed] == ["b", "c"]
        trail = [(entry.by, entry.action, entry.about, entry.why) for entry in await store.audit_trail()]
        assert trail == [
            ("oda", "forget preferences", "user ann", None),
            ("otto", "set preferences", "user ann", "called us"),
        ]


async def test_an_invalid_file_changes_nothing_and_the_log_says_all_that_is_wrong_but_not_of_whom(
    autojump_clock, tmp_path, caplog
):
    path = tmp_path / "preferences.yaml"
    write(path, "users:\n  ann@example.org: {channels: {email: off}}\n")
    async with running(preferences=path) as world:
        watched = world.live.files["preferences"]
        loaded = watched.loaded_at
        write(path, "users:\n  ann@example.org: {channels: {email: maybe}}\n  bob:\n    quiet_hours: {from: 25:00}\n")
        await until(lambda: bool(watched.problems))
        places = [problem.removeprefix(f"{path}:").split(":")[:2] for problem in watched.problems]
        assert places == [["2", "39"], ["4", "18"], ["4", "18"], ["4", "25"]]
        assert watched.problems[0] == f"{path}:2:39: users.*.channels.email: wanted on or off, got 'maybe'"
        logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert logged[: len(watched.problems)] == list(watched.problems)
        assert "ann@example.org" not in caplog.text
        assert watched.loaded_at == loaded
        assert not world.live.preferences.is_enabled("ann@example.org", EMAIL)
        said = len(caplog.records)
        await trio.sleep(60)
        assert len(caplog.records) == said  # once, and not every few seconds
        path.unlink()
        await until(lambda: watched.problems == (f"{path}: no such file",))
        assert not world.live.preferences.is_enabled("ann@example.org", EMAIL)
        write(path, "users: {}")
        await until(lambda: not watched.problems)
        assert world.live.preferences.is_enabled("ann@example.org", EMAIL)


async def test_who_starts_with_files_that_cannot_be_used_is_told_all_that_is_wrong(autojump_clock, tmp_path):
    (tmp_path / "templates").mkdir()
    write(tmp_path / "templates" / "a.txt", "{% if %}")
    write(tmp_path / "templates" / "b.txt", "Hi {{ name.upper() }}\n\n{% include 'x' %}")
    write(tmp_path / "preferences.yaml", "users: {ann: {channels: {fax: off}}}")
    write(tmp_path / "suppressions.csv", "channel,address\n")
    with pytest.raises(ConfigurationError) as raised:
        async with LiveSettings.open(
            MemoryStore(),
            preferences=tmp_path / "preferences.yaml",
            templates=tmp_path / "templates",
            suppressions=tmp_path / "suppressions.csv",
        ):
            pass
    assert [Path(problem.split(":")[0]).name for problem in raised.value.problems] == ["preferences.yaml", "a.txt",
        "b.txt", "b.txt", "suppressions.csv"]  # fmt: skip


async def test_a_file_is_read_when_it_has_stayed_the_same_for_a_moment(autojump_clock, tmp_path):
    path, read = tmp_path / "list.txt", []
    path.write_text("whole")
    watched = WatchedFile(path, read=lambda: (path.read_text(), ()), use=read.append)
    await watched.read()
    assert not await watched.reload_when_changed()
    async with trio.open_nursery() as nursery:
        path.write_text("")
        nursery.start_soon(watched.reload_when_changed)
        for length in range(1, 6):  # for a second another process writes into it
            await trio.sleep(0.1)
            path.write_text("new"[:length] + "er" * length)
    assert read == ["whole", "newerererererer"[: len(read[-1])]]
    assert read[-1] == path.read_text()


async def test_a_change_that_keeps_length_and_time_is_seen_by_the_file_that_took_its_place(autojump_clock, tmp_path):
    path, read = tmp_path / "list.txt", []
    path.write_text("one")
    watched = WatchedFile(path, read=lambda: (path.read_text(), ()), use=read.append)
    await watched.read()
    new = tmp_path / "new.txt"
    new.write_text("two")
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.replace(path)
    assert await watched.reload_when_changed()
    assert read == ["one", "two"]


async def test_reloading_reads_at_once(autojump_clock, tmp_path):
    path = tmp_path / "preferences.yaml"
    write(path, "users: {}")
    async with running(preferences=path) as world:
        write(path, "users: {ann: {channels: {email: off}}}")
        assert await world.live.reload() == []
        assert not world.live.preferences.is_enabled("ann", EMAIL)
        write(path, "users: [")
        assert len(await world.live.reload()) == 1
        assert not world.live.preferences.is_enabled("ann", EMAIL)


async def test_templates_that_a_team_edits_are_used_from_then_on_and_a_broken_one_stays_as_it_was(
    autojump_clock, tmp_path, caplog
):
    directory = tmp_path / "templates"
    directory.mkdir()
    write(directory / "hello.txt", "Subject: Hi from {platform}\n\nHello {name}")
    write(directory / "bye.txt", "Bye {name}")
    async with running(templates=directory) as world:

        async def text(name: str, template: str = "hello", **metadata: str) -> str:
            await world.send(name, metadata={"template": template, "name": "Ann", **metadata})
            await until(lambda: not world.notifier.in_flight)
            return world.receiver.taken[-1].message

        assert await text("a") == "Hello Ann"
        assert world.receiver.taken[-1].subject == "Hi from Shop"
        write(directory / "hello.txt", "Hi {name}, {nickname}")
        write(directory / "hello.de.txt", "Hallo {name}")
        write(directory / "bye.txt", "Bye\n{name")
        await until(lambda: bool(world.live.files["templates"].problems))
        assert await text("b", lang="de") == "Hallo Ann"
        assert await text("c", "bye") == "Bye Ann"
        (problem,) = world.live.files["templates"].problems
        assert problem.startswith(f"{directory}/bye.txt:2: ")
        assert problem in caplog.text
        await world.send("d", metadata={"template": "hello", "name": "Ann"})
        (letter,) = world.notifier.dead_letter_queue
        assert letter.failure_reason == "template 'hello': 'nickname' is undefined"
        assert world.live.preview("hello", {"name": "Ann", "nickname": "A"}).message == "Hi Ann, A"
        with pytest.raises(TemplateError, match="'nickname' is undefined"):
            world.live.preview("hello", {"name": "Ann"})


async def test_a_new_template_that_cannot_be_used_is_waited_for(autojump_clock, tmp_path, caplog):
    directory = tmp_path / "templates"
    directory.mkdir()
    write(directory / "hello.txt", "Hello {name}")
    async with running(templates=directory) as world:
        write(directory / "hello.de.txt", "{% macro m() %}{% endmacro %}")
        write(directory / "bye.txt", "{% macro m() %}{% endmacro %}")
        await until(lambda: bool(world.live.files["templates"].problems))
        for name, template in (("a", "hello"), ("b", "bye")):
            await world.send(name, metadata={"template": template, "lang": "de", "name": "Ann"})
        await trio.sleep(60)
        assert world.receiver.ids == ["a"]  # in the language that there was before
        assert (world.notifier.in_flight, world.notifier.dead_letter_queue) == (1, [])
        assert f"wait for a template that cannot be used: {directory}/bye.txt:1: 'macro'" in caplog.text
        write(directory / "bye.txt", "Bye {name}")
        await until(lambda: not world.notifier.in_flight)
        assert world.receiver.taken[-1].message == "Bye Ann"


async def test_nothing_is_sent_to_an_address_that_an_operator_suppresses_until_they_lift_that(autojump_clock):
    async with running() as world:
        await world.live.suppress("email", "Ann@Example.org", reason="complaint", by="otto")
        await world.send("a", critical=True)
        await world.send("b", "bob@example.org")
        await world.send("c", channel=SMS)
        assert world.suppressed == [("a", "suppressed: complaint")]
        assert world.receiver.ids == ["b", "c"]
        assert await world.live.lift("email", "ann@example.org", by="oda", why="asked for it")
        assert not await world.live.lift("email", "ann@example.org", by="oda")
        await world.send("d")
        assert world.receiver.ids == ["b", "c", "d"]


async def test_what_waits_at_an_open_breaker_is_not_sent_to_an_address_that_is_suppressed_meanwhile(autojump_clock):
    async with running() as world:
        await world.notifier.operate_breaker("email", "force-open")
        await world.send("a")
        await world.send("b", "bob@example.org")
        await world.live.suppress("email", "ann@example.org", reason="unsubscribed")
        await world.notifier.operate_breaker("email", "close")
        await until(lambda: not world.notifier.in_flight)
        assert world.suppressed == [("a", "suppressed: unsubscribed")]
        assert world.receiver.ids == ["b"]


async def test_a_file_of_suppressions_is_behind_what_the_store_has(autojump_clock, tmp_path):
    path = tmp_path / "suppressions.csv"
    write(path, "channel,address,reason\nemail,ann@example.org,bounced\nemail,bob@example.org,bounced\n")
    async with running(suppressions=path) as world:
        await world.live.suppress("email", "ann@example.org", reason="complaint", by="otto")
        await world.send("a")
        await world.send("b", "bob@example.org")
        assert world.suppressed == [("a", "suppressed: complaint"), ("b", "suppressed: bounced")]
        assert await world.live.lift("email", "ann@example.org")
        assert not await world.live.lift("email", "bob@example.org")  # it is the file's
        await world.send("c")
        assert world.suppressed[2] == ("c", "suppressed: bounced")
        write(path, "channel,address,reason\n")
        await until(lambda: not len(world.live.suppressions))
        await world.send("d")
        assert world.receiver.ids == ["d"]


async def test_who_comes_after_over_the_same_store_without_a_file_has_none_of_it(autojump_clock, tmp_path):
    path, store = tmp_path / "suppressions.csv", MemoryStore()
    write(path, "channel,address,reason\nemail,ann@example.org,bounced\n")
    async with running(store, suppressions=path) as world:
        await world.live.suppress("email", "bob@example.org", reason="complaint")
        assert len(store.suppressions) == 2
    async with running(store):
        assert [each.address for each in store.suppressions] == ["bob@example.org"]


async def test_a_table_is_imported_as_a_whole_or_not_at_all_and_what_is_exported_can_be_imported(autojump_clock):
    async with running() as world:
        table = (
            "Address, reason ,channel,since\r\n"
            'Ann@Example.org,"stop, ""please""",email,2026-03-01T10:30:00+01:00\r\n'
            "\r\n"
            "+49 30 1234,stop,sms,\r\n"
        )
        assert await world.live.import_suppressions("\ufeff" + table, by="otto") == 2
        ann = world.live.suppressions.find(EMAIL, "ann@example.org")
        assert ann is not None
        assert (ann.reason, ann.source, ann.by) == ('stop, "please"', "file", "otto")
        assert ann.since == datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
        before = list(world.live.suppressions)
        with pytest.raises(ConfigurationError) as raised:
            await world.live.import_suppressions("channel,address,reason\nemail,bob@example.org,x\nfax,,y\n", name="l")
        assert raised.value.problems == [
            "l:3: channel: wanted one of email, sms, push, webhook, got 'fax'",
            "l:3: address: wanted text that is not empty, got nothing",
        ]
        assert list(world.live.suppressions) == before
    exported = await world.live.export_suppressions()
    async with running() as other:
        assert await other.live.import_suppressions(exported, by="oda") == 2
        assert await other.live.export_suppressions() == exported


@pytest.mark.parametrize("text", ["", " ", "a\x00b", "\ud800", "x" * 1001])
async def test_texts_that_some_store_could_not_keep_are_refused(autojump_clock, text):
    async with running() as world:
        with pytest.raises(ConfigurationError, match=r"^reason: wanted "):
            await world.live.suppress("email", "ann@example.org", reason=text)
        with pytest.raises(ConfigurationError, match=r"^address: wanted "):
            await world.live.suppress("email", text, reason="stop")
        with pytest.raises(ConfigurationError, match=r"^user_id: wanted "):
            await world.live.set_preferences(text, UserPreferences())
        assert len(world.live.suppressions) == 0
