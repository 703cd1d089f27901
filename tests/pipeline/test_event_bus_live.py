"""The event bus of a notifier that is live: what waits for an answer, and what its end does to it."""

import contextlib
import gc
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from worlds import PLACED, Recommended, Scripted, email, simulate

from actors import Notifier
from actors.errors import IdempotencyConflict, NotifierClosed, StoreFailed
from actors.kernel.effects import Effect, Promise
from actors.messages import (
    NotificationEvent,
    SendNotification,
)
from actors.outcomes import Permanent
from actors.pipeline.orders import Acceptance
from actors.service.operations.dead_letters import DeadLetters
from actors.storage.memory import MemoryStore


async def test_after_the_block_a_notifier_says_that_it_is_closed(autojump_clock, caplog):
    async with Notifier.open() as notifier:
        notifier.bus.subscribe(Recommended)(lambda event: None)
        await notifier.publish(PLACED)
    for publish, message in (
        (notifier.publish, PLACED),
        (notifier.publish, Recommended(user_id="ann")),
        (notifier.send, email("late")),
        (notifier.bus.send, email("late")),
    ):
        with pytest.raises(NotifierClosed, match=r"^the notifier is closed$"):
            await publish(message)
    with pytest.raises(NotifierClosed):
        await notifier.operate_breaker("email", "force-open")
    with pytest.raises(NotifierClosed):
        notifier.bus.subscribe(Recommended)(print)
    assert await notifier.wait_until_quiet()
    assert caplog.text == ""


class NeverDone(MemoryStore):
    """A store where nothing becomes durable any more: each change waits for `change`."""

    def __init__(self) -> None:
        super().__init__()
        self.change = Promise()
        self.is_stuck = False

    def commit(self, event: NotificationEvent, command: SendNotification) -> Effect | None:
        """Hand over a change."""
        effect = super().commit(event, command)
        return self.change if self.is_stuck else effect


class Mishap(Exception):
    """What went wrong in a service."""


async def test_what_is_published_while_all_actors_stop_is_not_taken(autojump_clock):
    store, said = NeverDone(), []
    async with Notifier.open({"drain": "1s"}, providers=Scripted([]), store=store) as notifier:

        @notifier.bus.subscribe(Recommended)
        async def waits(event: Recommended) -> None:
            try:
                await notifier.send(email("a"))
            finally:  # its turn to unwind, when the subscribers to PLACED are gone
                try:
                    notifier.publish(PLACED)
                except NotifierClosed as error:
                    said.append(str(error))

        store.is_stuck = True
        notifier.publish(Recommended(user_id="ann"))
    assert said == ["the notifier is closed"]


@pytest.mark.parametrize("how", ["left", "cancelled", "raised in"])
async def test_who_waits_for_an_answer_when_the_block_is_over_is_told_that_there_is_none(how, autojump_clock, caplog):
    store, refused = NeverDone(), []

    async def wait(call: Callable[[], Awaitable[Any]]) -> None:
        with pytest.raises(NotifierClosed, match=r"^the notifier was closed before the outcome of this was known$"):
            await call()
        refused.append(call)

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope, contextlib.suppress(Mishap):
            async with Notifier.open({"drain": "1s"}, providers=Scripted([Permanent()]), store=store) as notifier:
                await notifier.send(email("dead"))
                await notifier.wait_until_quiet()
                letters = DeadLetters(notifier, nursery)
                store.is_stuck = True

                @notifier.bus.subscribe(Recommended)
                async def never_returns(event: Recommended) -> None:
                    await trio.sleep_forever()

                waiting = [
                    partial(notifier.publish, Recommended(user_id="ann")),
                    partial(notifier.publish, PLACED),
                    partial(notifier.bus.submit, PLACED),
                    partial(notifier.send, email("a")),
                    partial(notifier.send, email("a")),
                    partial(letters.retry, "dead", by="ann"),
                ]
                for call in waiting:
                    nursery.start_soon(wait, call)
                await trio.testing.wait_all_tasks_blocked()
                if how == "cancelled":
                    scope.cancel()
                elif how == "raised in":
                    raise Mishap
        await trio.testing.wait_all_tasks_blocked()
        assert len(refused) == len(waiting)
        nursery.cancel_scope.cancel()
    assert notifier.bus.under_way == 0
    assert [
        record.message
        for record in caplog.records
        if record.name in ("actors.kernel.futures", "actors.pipeline.event_bus")
    ] == []
    assert ("still in flight, and only in memory: 0, and not answered yet: " in caplog.text) == (how == "left")


async def test_publishing_what_could_not_be_made_durable_raises(autojump_clock):
    store, refused = NeverDone(), []
    store.is_stuck = True

    async def wait(call: Callable[[], Awaitable[Any]]) -> None:
        with pytest.raises(StoreFailed, match=r"^the disk is full$"):
            await call()
        refused.append(call)

    async def serve(nursery: trio.Nursery) -> None:
        async with Notifier.open(store=store) as notifier:
            for call in (partial(notifier.publish, PLACED), partial(notifier.bus.submit, PLACED)):
                nursery.start_soon(wait, call)
            await trio.testing.wait_all_tasks_blocked()
            store.change.keep(StoreFailed("the disk is full"))
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        with pytest.raises(StoreFailed, match="the disk is full"):
            await serve(nursery)
    assert len(refused) == 2


async def test_publishing_raises_where_a_subscriber_could_not_send_what_it_is_for(autojump_clock):
    async with Notifier.open() as notifier:

        @notifier.bus.subscribe(Recommended)
        async def sends(event: Recommended) -> None:
            raise StoreFailed("the disk is full")  # as `await notifier.send(…)` does

        with pytest.raises(StoreFailed, match=r"^the disk is full$"):
            await notifier.publish(Recommended(user_id="ann"))


@pytest.mark.thorough
async def test_answers_that_were_given_are_not_kept(autojump_clock):
    async with Notifier.open() as notifier:
        given = [weakref.ref(notifier.send(email(str(number)))) for number in range(2000)]
        await notifier.wait_until_quiet()
        for number in range(1000):
            await notifier.send(email(f"later {number}"))
        gc.collect()
        assert [answer for answer in given if answer() is not None] == []


async def test_an_object_that_is_called_like_an_async_function_is_a_subscriber_too(autojump_clock):
    class Recommends:
        async def __call__(self, event: Recommended) -> SendNotification:
            await trio.sleep(1)
            return email("recommended")

    async with Notifier.open({"channels": {"email": {}}}) as notifier:
        notifier.bus.subscribe(Recommended)(Recommends())
        await notifier.publish(Recommended(user_id="ann"))
    assert [sent.notification_id for sent in notifier.sent_notifications] == ["recommended"]


async def test_a_plain_subscriber_that_returns_a_coroutine_is_told_what_was_wanted(autojump_clock, caplog):
    async def recommend() -> SendNotification:
        return email("never")

    async with Notifier.open({"channels": {"email": {}}}) as notifier:
        notifier.bus.subscribe(Recommended)(lambda event: recommend())
        await notifier.publish(Recommended(user_id="ann"))
    assert "got a coroutine: only an async def is awaited" in caplog.text
    assert notifier.sent_notifications == []


async def test_a_notifier_takes_events_and_commands_while_it_drains(autojump_clock):
    async with Notifier.open() as notifier:

        @notifier.bus.subscribe(Recommended)
        async def later(event: Recommended) -> None:
            await trio.sleep(5)
            await notifier.send(email("late"))
            await notifier.publish(PLACED)

        notifier.publish(Recommended(user_id="ann"))
    assert [sent.notification_id for sent in notifier.sent_notifications] == [
        "late",
        "email-order-placed-7",
        "sms-order-placed-7",
    ]


def test_a_bus_whose_system_is_closed_says_so_in_simulated_time_too():
    world = simulate(lambda world: world.open())
    world.system.close()
    for publish, message in ((world.pipeline.bus.publish, PLACED), (world.pipeline.bus.send, email("late"))):
        with pytest.raises(NotifierClosed):
            publish(message)
    assert world.pipeline.bus.under_way == 0


async def test_who_submits_an_event_is_told_what_happened_to_each_command(autojump_clock):
    async with Notifier.open({"drain": 0}) as notifier:
        first = await notifier.bus.submit(PLACED)
        again = await notifier.bus.submit(PLACED)
        other = await notifier.bus.submit(
            msgspec.structs.replace(PLACED, customer_email="bob@example.org", customer_phone="+4671")
        )
    assert {(made.command.notification_id, made.answer) for made in first} == {
        ("email-order-placed-7", Acceptance.ACCEPTED),
        ("sms-order-placed-7", Acceptance.ACCEPTED),
    }
    assert [made.answer for made in again] == [Acceptance.DUPLICATE] * 2
    assert [type(made.answer) for made in other] == [IdempotencyConflict] * 2
