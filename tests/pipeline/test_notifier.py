"""The notifier live: opening, settings, draining, closing."""

import logging
import time
from datetime import UTC, datetime, timedelta

import pytest
import trio
from worlds import EMAIL, PLACED, SMS, Transport, email

from actors import NotificationService, Notifier, SqliteStore
from actors.domain.attempts import Attempt
from actors.errors import (
    ConfigurationError,
    IdempotencyConflict,
    StoreInUse,
    UnknownChannel,
    WrongType,
)
from actors.instants import NS_PER_S
from actors.messages import NotificationSent, OrderPlaced
from actors.outcomes import ChannelFault, Outcome, Permanent, Sent
from actors.pipeline.preferences import Preferences
from actors.policies.quiet_hours import QuietHours
from actors.settings.channel import NotifierConfig
from actors.settings.faults import FaultConfig
from actors.storage.memory import MemoryStore

# ── opening and closing ─────────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_goes_all_the_way(autojump_clock):
    async with Notifier.open(providers=NotificationService(latency=0.2)) as notifier:
        await notifier.publish(PLACED)
        assert notifier.in_flight == 2
    assert sorted(event.notification_id for event in notifier.sent_notifications) == [
        "email-order-placed-7",
        "sms-order-placed-7",
    ]
    assert notifier.in_flight == 0


async def test_waiting_goes_on_where_more_has_come_before_the_waiter_was_woken(autojump_clock):
    async with Notifier.open(providers=NotificationService(latency=1)) as notifier:
        quiet: list[bool] = []

        async def wait_and_send(notification_id: str) -> None:
            quiet.append(await notifier.wait_until_quiet())
            assert notifier.in_flight == 0
            await notifier.send(email(notification_id))

        await notifier.send(email("a"))
        async with trio.open_nursery() as nursery:
            for notification_id in ("b", "c", "d"):
                nursery.start_soon(wait_and_send, notification_id)
        assert quiet == [True, True, True]


async def test_an_operator_stops_a_channel_and_lets_it_go_on(autojump_clock):
    async with Notifier.open(providers=NotificationService()) as notifier:
        assert await notifier.operate_breaker("email", "force-open")
        assert not await notifier.operate_breaker(EMAIL, "force-open", "primary")
        await notifier.publish(PLACED)
        assert not await notifier.wait_until_quiet(3600)
        assert [event.channel for event in notifier.sent_notifications] == [SMS]
        assert await notifier.operate_breaker("email", "close")
        assert await notifier.wait_until_quiet(60)
    assert [event.channel for event in notifier.sent_notifications] == [SMS, EMAIL]


async def test_an_order_may_be_for_the_breaker_of_one_provider(autojump_clock):
    asked: list[str] = []

    def transport(name: str) -> Transport:
        async def deliver(attempt: Attempt) -> Outcome:
            asked.append(name)
            return Sent()

        return Transport(deliver)

    config = {"channels": {"email": {"failover": {"backup": {}}}}}
    providers = {EMAIL: {"primary": transport("primary"), "backup": transport("backup")}}
    async with Notifier.open(config, providers=providers) as notifier:
        for order in ("force-open", "close"):
            assert await notifier.operate_breaker("email", order, "primary")
            await notifier.send(email(order))
            await notifier.wait_until_quiet()
    assert asked == ["backup", "primary"]


async def test_an_override_that_cannot_be_done_is_refused_at_once(autojump_clock):
    async with Notifier.open({"channels": {"email": {}}}, providers=NotificationService()) as notifier:
        with pytest.raises(UnknownChannel, match="got 'sms'"):
            notifier.operate_breaker("sms", "close")
        with pytest.raises(ConfigurationError) as caught:
            notifier.operate_breaker("email", "shut", "backup")  # type: ignore[arg-type]
        assert caught.value.problems == [
            "override: wanted one of force-open, disable, close, metrics-only, got 'shut'",
            "provider: wanted one of primary, got 'backup'",
        ]
        await notifier.send(email("a"))
    assert [event.notification_id for event in notifier.sent_notifications] == ["a"]


async def test_leaving_the_block_lets_retries_end(autojump_clock):
    async with Notifier.open(providers=NotificationService(fail_count=2, latency=1.0)) as notifier:
        await notifier.send(email("a"))
    assert [event.attempt for event in notifier.sent_notifications] == [3]
    assert trio.current_time() > 5


async def test_leaving_the_block_also_waits_for_what_no_one_awaited(autojump_clock):
    async with Notifier.open(providers=NotificationService(latency=1.0)) as notifier:

        @notifier.bus.subscribe(OrderPlaced)
        async def slow(event: OrderPlaced) -> object:
            await trio.sleep(5)
            return email("later")

        notifier.publish(PLACED)
        notifier.send(email("a"))
    assert sorted(event.notification_id for event in notifier.sent_notifications) == [
        "a",
        "email-order-placed-7",
        "later",
        "sms-order-placed-7",
    ]


async def hang(attempt):
    await trio.sleep_forever()


async def test_draining_takes_no_longer_than_its_deadline(autojump_clock, caplog):
    began = trio.current_time()
    async with Notifier.open({"drain": "5s"}, providers=Transport(hang)) as notifier:
        await notifier.send(email("a"))
    assert trio.current_time() - began == pytest.approx(5.0)
    assert "still in flight, and only in memory: 1" in caplog.text


@pytest.mark.parametrize(
    ("email_channel", "sent", "ends_after"),
    [
        ({"retry": {"initial_delay": "4s", "max_attempts": 9, "jitter": "none"}}, ["a"], 4),
        ({"retry": {"initial_delay": "20s", "jitter": "none"}}, [], 0),
        ({"circuit_breaker": {"failure_threshold": 1, "timeout": "3s"}, "retry": {"initial_delay": "1s"}}, ["a"], 3),
        ({"circuit_breaker": {"failure_threshold": 1, "timeout": "9s"}, "retry": {"initial_delay": "1s"}}, [], 1),
    ],
    ids=["a retry within", "a retry later", "a breaker within", "a breaker later"],
)
async def test_draining_waits_for_what_is_due_until_its_deadline_and_not_for_what_is_due_later(
    email_channel, sent, ends_after, autojump_clock
):
    config = {"drain": "5s", "channels": {"email": email_channel}}
    began = trio.current_time()
    async with Notifier.open(config, providers=NotificationService(fail_count=1)) as notifier:
        await notifier.send(email("a"))
    assert [event.notification_id for event in notifier.sent_notifications] == sent
    assert ends_after <= trio.current_time() - began <= ends_after + 0.5


async def test_draining_waits_for_a_commit_and_what_comes_of_it(autojump_clock):
    class Slow(MemoryStore):
        def commit(self, event, command):
            super().commit(event, command)

            async def durable():
                await trio.sleep(1)

            return durable

    async with Notifier.open({"drain": "9s"}, providers=NotificationService(), store=Slow()) as notifier:
        notifier.bus.send(email("a"))
    assert [event.notification_id for event in notifier.sent_notifications] == ["a"]


async def test_several_may_wait_for_the_same_drain(autojump_clock):
    async def wait(timeout):
        assert not await notifier.drain(timeout)
        ended[timeout] = trio.current_time()

    ended = {}
    config = {"channels": {"email": {"retry": {"initial_delay": "20s", "max_attempts": 9, "jitter": "none"}}}}
    async with Notifier.open(config, providers=NotificationService(fail_count=9)) as notifier:
        notifier.bus.send(email("a"))
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for timeout in (30, 10):
                nursery.start_soon(wait, timeout)
        assert {timeout: at - began for timeout, at in ended.items()} == {10: 0, 30: pytest.approx(20, abs=1)}
        with pytest.raises(WrongType):
            await notifier.drain("10s")
        notifier.pipeline.kill()


async def test_what_is_left_after_draining_is_said_and_kept(autojump_clock, caplog):
    store = MemoryStore()
    config = {"drain": "5s", "channels": {"email": {"retry": {"initial_delay": "20s"}}}}
    async with Notifier.open(config, providers=NotificationService(fail_count=1), store=store) as notifier:
        await notifier.send(email("a"))
    assert notifier.sent_notifications == []
    assert "still in flight, and only in memory: 1" in caplog.text
    async with Notifier.open(config, providers=NotificationService(), store=store) as notifier:
        await notifier.wait_until_quiet()
        assert [event.notification_id for event in notifier.sent_notifications] == ["a"]


async def test_what_is_left_in_a_store_on_disk_is_said_to_be_kept(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = {"channels": {"email": {"retry": {"initial_delay": "9h", "max_delay": "9h"}}}}
    async with (
        SqliteStore.open(tmp_path / "store.db") as store,
        Notifier.open(config, providers=NotificationService(fail_count=1), store=store) as notifier,
    ):
        await notifier.send(email("a"))
    [said] = [record for record in caplog.records if "still in flight" in record.message]
    assert (said.levelname, said.message) == ("INFO", "still in flight, and kept in the store: 1")


class Awaited:
    async def __call__(self, event: NotificationSent) -> None:
        raise NotImplementedError


class AsyncPreferences(Preferences):
    is_enabled = quiet_until = trio.sleep


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ({"store": "shop.db"}, ["store: wanted an open store, as in: async with SqliteStore.open(path) as store, got"]),
        ({"store": SqliteStore.open("shop.db")}, ["store: wanted an open store"]),
        ({"preferences": {}, "templates": {"a": "b"}}, ["preferences: wanted Preferences", "templates: wanted Templ"]),
        ({"notify": "pager", "on_event": []}, ["notify: wanted a function of the t", "on_event: wanted a function of"]),
        ({"on_event": trio.sleep}, ["on_event: wanted a plain function, as nothing awaits it, got an async one"]),
        (
            {"preferences": AsyncPreferences()},
            [
                f"preferences: wanted a plain function {name}, as nothing awaits it, got an async one"
                for name in ("is_enabled", "quiet_until")
            ],
        ),
        ({"on_event": Awaited()}, ["on_event: wanted a plain function, as nothing awaits it, got an async one"]),
    ],
)
async def test_what_a_notifier_is_opened_with_is_looked_at_before_anything_comes(arguments, problems):
    with pytest.raises(ConfigurationError) as caught:
        await Notifier.open(**arguments).__aenter__()
    assert [problem[: len(said)] for problem, said in zip(caught.value.problems, problems, strict=True)] == problems


async def test_a_store_on_disk_that_is_not_open_is_said_so(tmp_path):
    """A notifier over one hung in its first commit; over one that is closed it failed as its block was left."""
    never = SqliteStore(tmp_path / "never.db")
    async with SqliteStore.open(tmp_path / "closed.db") as closed:
        pass
    for store in (never, closed):
        with pytest.raises(ConfigurationError) as caught:
            await Notifier.open(store=store).__aenter__()
        (problem,) = caught.value.problems
        assert problem.startswith("store: wanted an open store, as in: async with SqliteStore.open(path) as store, got")
        assert problem.endswith("got SqliteStore that is not open")


@pytest.mark.parametrize("step_h", [3, -21])
async def test_quiet_hours_go_by_the_wall_clock_also_after_it_was_set(autojump_clock, monkeypatch, caplog, step_h):
    """Or after the machine has slept, while its monotonic clock stood still."""
    set_by, time_ns = [0], time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: time_ns() + set_by[0])
    now, preferences = datetime.now(UTC), Preferences()
    start, end = ((now + timedelta(hours=hours)).time() for hours in (2, 4))
    preferences.set_quiet_hours("ann", QuietHours(start, end, "UTC"))
    async with Notifier.open({"drain": 0, "channels": {"email": {}}}, preferences=preferences) as notifier:
        before = notifier.system.present
        for number, hours in enumerate((0, step_h, 0)):
            set_by[0] = hours * 3600 * NS_PER_S
            await notifier.send(email(str(number), user_id="ann"))
            await trio.sleep(1)
            assert abs(notifier.system.present - before - timedelta(hours=hours)) < timedelta(minutes=1)
        assert [sent.notification_id for sent in notifier.sent_notifications] == ["0", "2"]
    assert caplog.text.count("the wall clock was set by") == 2


async def test_a_store_is_that_of_one_notifier_at_a_time(autojump_clock):
    store = MemoryStore()
    for _ in range(2):
        async with Notifier.open(store=store):
            with pytest.raises(StoreInUse, match=r"^another notifier uses this store"):
                await Notifier.open(store=store).__aenter__()


async def test_a_breaker_that_stays_open_does_not_keep_the_service_from_ending(autojump_clock):
    service = NotificationService(faults=[FaultConfig.model_validate({"channel": "all", "outage": True})])
    async with Notifier.open({"drain": "1s"}, providers=service) as notifier:
        for number in range(10):
            await notifier.send(email(f"n{number}"))
    assert notifier.in_flight == 10


async def test_an_exception_in_the_block_comes_out_as_it_is_and_nothing_is_waited_for(autojump_clock):
    store = MemoryStore()
    began = trio.current_time()

    async def block_that_raises() -> None:
        async with Notifier.open(providers=NotificationService(latency=10.0), store=store) as notifier:
            await notifier.send(email("a"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block_that_raises()
    assert trio.current_time() == began
    assert [delivery.command.notification_id for delivery in store.open_deliveries(0)] == ["a"]


async def test_a_block_that_is_cancelled_ends_at_once(autojump_clock):
    began = trio.current_time()
    with trio.move_on_after(3) as scope:
        async with Notifier.open(providers=NotificationService(latency=10.0)) as notifier:
            await notifier.send(email("a"))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() - began == pytest.approx(3.0)


async def test_waiting_until_quiet_tells_whether_it_is(autojump_clock, caplog):
    async with Notifier.open(providers=NotificationService(latency=10.0)) as notifier:
        assert await notifier.wait_until_quiet()
        await notifier.send(email("a"))
        assert not await notifier.wait_until_quiet(timeout=3)
        assert not await notifier.wait_until_quiet(timeout=0)
        assert await notifier.wait_until_quiet()
        assert len(notifier.sent_notifications) == 1
    assert "still in flight" not in caplog.text  # its caller knows


async def test_no_one_waits_for_quiet_longer_than_the_notifier_is_open(autojump_clock, caplog):
    answers = []
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            answers.append((await notifier.wait_until_quiet(), trio.current_time() - began))

        began = trio.current_time()
        async with Notifier.open({"drain": "5s"}, providers=Transport(hang)) as notifier:
            await notifier.send(email("a"))
            nursery.start_soon(wait)
            await trio.sleep(1)
    await wait()
    assert answers == [(False, pytest.approx(6.0)), (False, pytest.approx(6.0))]


async def test_two_notifiers_side_by_side(autojump_clock):
    async with Notifier.open(seed=1) as one, Notifier.open(seed=2) as other:
        await one.send(email("a"))
        await other.send(email("a"))
        await other.send(email("b"))
    assert [len(one.sent_notifications), len(other.sent_notifications)] == [1, 2]


async def test_on_the_real_clock():
    async with Notifier.open(
        {"channels": {"email": {"retry": {"initial_delay": "10ms"}}}}, providers=NotificationService(fail_count=2)
    ) as notifier:
        before = datetime.now(UTC)
        await notifier.send(email("a"))
        await notifier.wait_until_quiet(timeout=10)
    (sent,) = notifier.sent_notifications
    assert sent.attempt == 3
    assert 0 <= (sent.at - before).total_seconds() < 10


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_channel_that_is_not_configured_is_told_to_the_sender(autojump_clock):
    async with Notifier.open({"channels": {"email": {}}}) as notifier:
        with pytest.raises(UnknownChannel, match=r"wanted a channel that is configured \(email\), got sms"):
            await notifier.send(email("a", channel="sms"))
        await notifier.send(email("a"))
        with pytest.raises(IdempotencyConflict):
            await notifier.send(email("a", message="other"))
        await notifier.publish(PLACED)  # its SMS has no owner
    assert len(notifier.sent_notifications) == 2


async def test_all_four_channels_without_settings_and_one_provider_for_each(autojump_clock):
    async with Notifier.open() as notifier:
        for channel in ("email", "sms", "push", "webhook"):
            await notifier.send(email(channel, channel=channel))
    assert len(notifier.sent_notifications) == 4
    services = {EMAIL: NotificationService(failure_rate=1.0), SMS: NotificationService()}
    config = NotifierConfig.model_validate({"channels": {"email": {}, "sms": {}}})
    async with Notifier.open(config, providers=services) as notifier:
        await notifier.send(email("e"))
        await notifier.send(email("s", channel="sms"))
    assert [event.notification_id for event in notifier.sent_notifications] == ["s"]
    assert [letter.notification_id for letter in notifier.dead_letter_queue] == ["e"]


async def test_settings_that_cannot_be_used_are_refused_before_anything_starts():
    with pytest.raises(ConfigurationError, match="max_attempts"):
        async with Notifier.open({"channels": {"email": {"retry": {"max_attempts": 0}}}}):
            raise AssertionError("not reached")
    with pytest.raises(ConfigurationError, match="providers: none for sms"):
        async with Notifier.open({"channels": {"email": {}, "sms": {}}}, providers={EMAIL: NotificationService()}):
            raise AssertionError("not reached")


@pytest.mark.parametrize("config", [[], (), "", 0, False, 5, "email"])
async def test_settings_that_are_no_mapping_are_refused_also_where_they_are_empty(config):
    with pytest.raises(ConfigurationError) as refused:
        async with Notifier.open(config):
            raise AssertionError("not reached")
    assert refused.value.problems == [f"wanted a mapping, got {config!r}"]


async def test_remembered_ids_follow_the_settings(autojump_clock):
    async with Notifier.open({"remember_ids": "1m"}) as notifier:
        answers = []
        for _ in range(3):
            answers.append(await notifier.send(email("a")))
            await trio.sleep(40)
    assert answers == ["accepted", "duplicate", "accepted"]


@pytest.mark.parametrize("is_object", [False, True])
async def test_alerts_may_be_async_and_slow(autojump_clock, is_object):
    raised = []

    async def page(text: str) -> None:
        await trio.sleep(2)
        raised.append(text)

    class Pager:
        async def __call__(self, text: str) -> None:
            await page(text)

    notify = Pager() if is_object else page
    async with Notifier.open(providers=NotificationService(failure_rate=1.0), notify=notify) as notifier:
        await notifier.send(email("a"))
        await notifier.wait_until_quiet()
        await trio.sleep(5)
    assert raised == ["Notification a moved to DLQ: injected failure"]


async def test_without_a_pager_a_dead_letter_is_a_line_of_the_log_and_a_broken_channel_another(autojump_clock, caplog):
    outcomes = iter([Permanent(reason="no such mailbox"), ChannelFault(reason="login refused"), Sent()])

    async def deliver(attempt: Attempt) -> Outcome:
        return next(outcomes)

    async with Notifier.open(providers=Transport(deliver)) as notifier:
        await notifier.send(email("a"))
        await notifier.wait_until_quiet()
        await notifier.send(email("b"))
        await notifier.wait_until_quiet()
    said = [(record.levelname, record.getMessage()) for record in caplog.records if record.levelno > logging.INFO]
    assert said == [
        ("ERROR", "DLQ: a failed after 1 attempts: no such mailbox"),
        ("WARNING", "Channel email is broken: login refused"),
    ]


async def test_leaving_the_block_waits_for_a_transport_and_cancels_it_at_the_deadline(autojump_clock):
    ends = []

    async def deliver(attempt: Attempt) -> Outcome:
        try:
            await trio.sleep(3 if attempt.command.notification_id == "short" else 1000)
            ends.append("done")
        except trio.Cancelled:
            ends.append("cancelled")
            raise
        return Sent()

    config = {"drain": "6s", "channels": {"email": {"timeout": "2000s"}}}
    async with Notifier.open(config, providers=Transport(deliver)) as notifier:
        await notifier.send(email("short"))
        await notifier.send(email("long"))
    assert ends == ["done", "cancelled"]
    assert [event.notification_id for event in notifier.sent_notifications] == ["short"]


def test_the_log_of_a_library_is_silent_until_it_is_set_up():
    handlers = logging.getLogger("actors").handlers
    assert [type(handler) for handler in handlers] == [logging.NullHandler]


async def test_every_event_is_told_at_once_and_what_receives_it_changes_nothing(autojump_clock, caplog):
    received = []

    def on_event(event):
        received.append(type(event).__name__)
        raise ValueError("cannot count")

    async with Notifier.open(on_event=on_event) as notifier:
        await notifier.send(email("1"))
        await notifier.wait_until_quiet()
    assert received == ["NotificationRequested", "NotificationSent"]
    assert caplog.messages == ["on_event raised on NotificationRequested", "on_event raised on NotificationSent"]
