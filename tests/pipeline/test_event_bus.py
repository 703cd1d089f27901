"""The event bus: several subscribers to an event, isolated from each other and from the notifications."""

from __future__ import annotations

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
from worlds import OK, PLACED, Scripted, World, email, on_both_clocks, simulate

from actors import Notifier
from actors.errors import IdempotencyConflict, NotifierClosed, RetrylabError, StoreFailed, WrongType
from actors.instants import ns
from actors.kernel.effects import Effect, Promise
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    OrderPlaced,
    SendNotification,
)
from actors.outcomes import ChannelFault, DeadDestination, Permanent
from actors.pipeline.dead_letter_queue import DiscardDeadLetter, RedriveDeadLetter
from actors.pipeline.orders import Acceptance
from actors.pipeline.preferences import Preferences, SwitchedOff
from actors.service.operations.dead_letters import DeadLetters
from actors.storage.lossy import LossyStore
from actors.storage.memory import MemoryStore


def test_an_order_has_three_subscribers_email_sms_and_a_counter():
    def scenario(world: World) -> None:
        bus = world.open(email={}, sms={}).bus

        @bus.subscribe(OrderPlaced)
        def count(event: OrderPlaced) -> None:
            world.notes.append(("counted", event.order_id))

        world.at(1, lambda: world.note_answer(bus.publish(PLACED)))

    world = on_both_clocks(scenario)
    assert sorted(world.sent_ids()) == ["email-order-placed-7", "sms-order-placed-7"]
    assert world.notes == [("counted", "7"), None]


def test_plain_and_async_subscribers_run_side_by_side_and_a_slow_one_keeps_no_one_waiting():
    def scenario(world: World) -> None:
        bus = world.open().bus
        note = world.notes.append

        def now() -> float:
            return world.system.now_ns / 1e9

        @bus.subscribe(OrderPlaced)
        async def slow(event: OrderPlaced) -> None:
            await world.pipeline.handler.actor.sleep(5)  # any actor's: the time is the system's
            note(("slow", now()))

        @bus.subscribe(OrderPlaced)
        def raises(event: OrderPlaced) -> None:
            raise RuntimeError("a bug")

        @bus.subscribe(OrderPlaced)
        async def raises_later(event: OrderPlaced) -> None:
            raise RuntimeError("another bug")

        @bus.subscribe(OrderPlaced)
        def plain(event: OrderPlaced) -> None:
            note(("plain", now()))

        world.at(1, lambda: world.note_answer(bus.publish(PLACED)))
        world.at(2, lambda: world.note_answer(bus.publish(PLACED)))

    world = on_both_clocks(scenario)
    assert world.notes == [("plain", 1.0), ("plain", 2.0), ("slow", 6.0), None, ("slow", 7.0), None]
    assert len(world.sent_ids()) == 1
    assert world.events(ActorFailed) == []


def test_subscribers_return_commands_or_send_them_and_publishing_waits_for_their_acceptance():
    def scenario(world: World) -> None:
        bus = world.open(push={}).bus
        two = [email("a", channel="push"), email("b", channel="push")]
        bus.subscribe(OrderPlaced)(lambda event: two)

        @bus.subscribe(OrderPlaced)
        async def sends(event: OrderPlaced) -> None:
            world.notes.append(await bus.send(email("c", channel="push")))
            world.notes.append(await bus.send(email("a", channel="push")))

        def published() -> None:
            world.notes.append(len(world.events(NotificationRequested)))

        def publish() -> None:
            bus.publish(PLACED).when_done(published)  # type: ignore[attr-defined]

        world.at(0, publish)

    world = on_both_clocks(scenario)
    assert world.notes == ["accepted", "duplicate", 3]
    assert sorted(world.sent_ids()) == ["a", "b", "c"]


@pytest.mark.parametrize("junk", [True, "text", ["a", "b"], [email("x"), 7], {"x": 1}], ids=repr)
def test_a_subscriber_that_returns_junk_is_reported_and_nothing_else_happens(junk, caplog):
    def scenario(world: World) -> None:
        bus = world.open(Scripted(latency=1.0)).bus
        world.send(email("before"))
        bus.subscribe(OrderPlaced)(lambda event: junk)
        world.at(0.5, lambda: world.note_answer(bus.publish(PLACED)))

    world = on_both_clocks(scenario)
    assert sorted(world.sent_ids()) == ["before", "email-order-placed-7"]
    assert world.notes == ["accepted", None]
    assert len(world.provider.tries) == 2
    assert world.events(ActorFailed) == []
    assert "raised on OrderPlaced" in caplog.text


def test_a_conflict_is_told_to_the_one_who_awaits_and_publishing_ends_all_the_same():
    def scenario(world: World) -> None:
        bus = world.open().bus
        bus.subscribe(OrderPlaced)(lambda event: email("a", message="another text"))
        world.send(email("a"))
        world.send(email("a", message="yet another"), email("a", channel="push"), at=1)
        world.at(2, lambda: world.note_answer(bus.publish(PLACED)))

    world = on_both_clocks(scenario)
    assert world.notes == ["accepted", "IdempotencyConflict", "IdempotencyConflict", None]
    assert world.events(ActorFailed) == []


def test_what_an_event_leads_to_is_under_way_until_it_is_durable_and_a_refusal_is_logged(caplog):
    """Also where nobody waits for it: so a notifier is not idle before, and room is taken."""

    def scenario(world: World) -> None:
        bus = world.open(store=LossyStore(commit_delay_ns=ns(0.5)), email={}, sms={}).bus
        bus.pending.watch(lambda: world.notes.append(("idle", world.system.now_ns / 1e9)))

        @bus.subscribe(OrderPlaced)
        def again(event: OrderPlaced) -> SendNotification:
            return SendNotification(notification_id="email-order-placed-7", channel="email", recipient="x", message="x")

        world.at(1, lambda: bus.announce(PLACED))
        for at in (1.25, 2):
            world.at(at, lambda: world.notes.append(bus.under_way))

    world = on_both_clocks(scenario)
    assert world.notes == [2, ("idle", 1.5), 0]
    assert sorted(world.sent_ids()) == ["email-order-placed-7", "sms-order-placed-7"]
    assert "a command of a subscriber was not accepted" in caplog.text


def test_no_one_gets_what_they_unsubscribed_from():
    def scenario(world: World) -> None:
        bus = world.open().bus

        def receive(event: object) -> None:
            world.notes.append(type(event).__name__)

        bus.subscribe(OrderPlaced, NotificationSent)(receive)
        world.at(0, lambda: bus.publish(PLACED))
        world.at(1, bus.unsubscribe, receive, OrderPlaced)
        world.at(2, lambda: bus.publish(PLACED))
        world.send(email("a"), at=2)
        world.at(3, bus.unsubscribe, receive)
        world.send(email("b"), at=4)

    world = on_both_clocks(scenario)
    assert world.notes == ["OrderPlaced", "NotificationSent", "accepted", "NotificationSent", "accepted"]


def test_a_method_can_be_unsubscribed_too():
    class Ledger(list[str]):
        def enter(self, event: object) -> None:
            self.append(type(event).__name__)

    def scenario(world: World) -> None:
        bus, one, other, plain = world.open().bus, Ledger(), Ledger(), list[object]()
        for function in (one.enter, other.enter, plain.append):
            bus.subscribe(OrderPlaced)(function)
        for function in (one.enter, plain.append):
            bus.unsubscribe(function)
        world.at(1, lambda: bus.publish(PLACED))
        world.at(2, lambda: world.notes.extend([one, other, plain]))

    assert on_both_clocks(scenario).notes == [[], ["OrderPlaced"], []]


def test_the_actor_of_a_function_that_is_subscribed_to_nothing_stops_behind_what_is_on_its_way():
    def scenario(world: World) -> None:
        bus = world.open().bus
        before = len(world.system._lifecycle.actors)

        @bus.subscribe(OrderPlaced)
        @bus.subscribe(NotificationSent)
        def receive(event: object) -> None:
            world.notes.append(type(event).__name__)

        def last_words() -> None:
            world.note_answer(bus.publish(PLACED))
            bus.unsubscribe(receive)

        world.at(1, last_words)
        world.at(2, lambda: world.notes.append(len(world.system._lifecycle.actors) - before))

    assert on_both_clocks(scenario).notes == ["OrderPlaced", None, 0]


def test_an_async_subscriber_finishes_what_it_was_at_when_it_was_unsubscribed():
    def scenario(world: World) -> None:
        bus = world.open().bus

        @bus.subscribe(OrderPlaced)
        async def slow(event: OrderPlaced) -> object:
            await world.pipeline.handler.actor.sleep(5)
            return email("late")

        world.at(1, lambda: world.note_answer(bus.publish(PLACED)))
        world.at(2, bus.unsubscribe, slow)

    world = on_both_clocks(scenario)
    assert world.sent_ids() == ["email-order-placed-7", "late"]
    assert world.notes == [None]


def test_an_event_without_subscribers_is_published_at_once():
    def scenario(world: World) -> None:
        world.open(push={})
        world.at(0, lambda: world.note_answer(world.pipeline.bus.publish(PLACED)))

    assert on_both_clocks(scenario).notes == [None]


class Recommended(msgspec.Struct, frozen=True):
    """An event that the system knows nothing of."""

    user_id: str


@pytest.mark.parametrize(
    ("junk", "said"),
    [
        ("OrderPlaced", "got 'OrderPlaced'"),
        (None, "got None"),
        (OrderPlaced, "got <class 'actors.messages.OrderPlaced'>"),
        (Recommended(user_id="ann"), r"got Recommended\(user_id='ann'\)"),
        (email("a"), r"got SendNotification\(.*\); commands go to send\(\)"),
    ],
    ids=repr,
)
def test_what_no_one_could_have_subscribed_to_is_refused_and_not_swallowed(junk, said):
    def scenario(world: World) -> None:
        bus = world.open().bus

        def publish() -> None:
            with pytest.raises(WrongType, match=f"^wanted an event: .*{said}$"):
                bus.publish(junk)
            world.notes.append(bus.under_way)

        world.at(1, publish)

    assert on_both_clocks(scenario).notes == [0]


def test_an_event_of_ones_own_type_is_published_once_it_has_had_a_subscriber():
    def scenario(world: World) -> None:
        bus = world.open().bus

        @bus.subscribe(Recommended)
        def recommend(event: Recommended) -> object:
            return email(f"for-{event.user_id}")

        world.at(1, lambda: world.note_answer(bus.publish(Recommended(user_id="ann"))))
        world.at(2, bus.unsubscribe, recommend)
        world.at(3, lambda: world.note_answer(bus.publish(Recommended(user_id="bob"))))

    world = on_both_clocks(scenario)
    assert world.sent_ids() == ["for-ann"]
    assert world.notes == [None, None]


def test_every_event_of_the_system_can_be_published_whether_anyone_receives_it_or_not():
    def scenario(world: World) -> None:
        bus = world.open().bus
        event = NotificationRequested(at_ns=0, epoch_ns=0, notification_id="a", channel="email", user_id="ann")
        world.at(1, lambda: world.note_answer(bus.publish(event)))

    assert on_both_clocks(scenario).notes == [None]


def test_a_command_that_is_none_is_refused():
    def scenario(world: World) -> None:
        bus = world.open().bus
        for junk, hint in (("a", ""), (PLACED, "; events go to publish()")):
            with pytest.raises(WrongType) as caught:
                bus.send(junk)
            world.notes.append(str(caught.value) == f"wanted a SendNotification, got {junk!r}{hint}")

    assert on_both_clocks(scenario).notes == [True, True]


@pytest.mark.parametrize("junk", [(), ("OrderPlaced",), (OrderPlaced, print), (PLACED,)], ids=repr)
def test_only_types_of_events_can_be_subscribed_to(junk):
    with pytest.raises(WrongType, match=r"^wanted types of events, as in @bus.subscribe"):
        simulate(lambda world: world.open().bus.subscribe(*junk))


def test_an_argument_of_the_wrong_kind_is_a_type_error_of_the_family():
    assert issubclass(WrongType, TypeError)
    assert issubclass(WrongType, RetrylabError)
    assert issubclass(NotifierClosed, RetrylabError)


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


EVENTS = (
    BreakerTransitioned,
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)


def all_kinds_of_events(world: World) -> None:
    """A scenario in which every event of the system happens, those of each stage included."""
    outcomes = [Permanent(), OK, DeadDestination(), ChannelFault(), OK]
    pipeline = world.open(
        Scripted(outcomes),
        email={"rate_limit": {"rate": "1/s"}},
        push={},
        preferences=Preferences(switched_off=[SwitchedOff(share=1.0, channels=frozenset({"push"}))]),
    )
    queue = pipeline.dead_letter_queue
    world.send(email("a"), email("b"), email("b"), email("p", channel="push"))
    world.ask(queue, RedriveDeadLetter(notification_id="a"), at=3)
    world.ask(queue, DiscardDeadLetter(notification_id="a", reason="done"), at=4)
    world.send(email("c", recipient="bob@example.org"), at=5)
    world.send(email("d", recipient="cid@example.org"), at=6)


def test_every_event_of_the_system_is_on_the_bus_in_the_order_of_the_history():
    def scenario(world: World) -> None:
        all_kinds_of_events(world)
        received = []
        for kind in EVENTS:
            world.pipeline.bus.subscribe(kind)(received.append)
        world.received = received

    world = on_both_clocks(scenario)
    assert {type(event) for event in world.history} == set(EVENTS)
    assert world.received == world.history


def test_what_subscribers_and_alerts_do_changes_nothing_that_happens_to_notifications(caplog):
    def raising(world: World) -> None:
        all_kinds_of_events(world)

        def raises(event: object) -> None:
            raise RuntimeError("a bug")

        async def raises_later(event: object) -> None:
            raise RuntimeError("another bug")

        world.pipeline.bus.subscribe(*EVENTS)(raises)
        world.pipeline.bus.subscribe(*EVENTS)(raises_later)
        world.pipeline.alert.actor._notify = raises

    assert on_both_clocks(raising).history == simulate(all_kinds_of_events).history


def test_a_subscriber_whose_actor_is_gone_harms_no_one():
    def scenario(world: World) -> None:
        bus = world.open(email={}, sms={}).bus

        @bus.subscribe(OrderPlaced, NotificationSent)
        def receive(event: object) -> None:
            world.notes.append("received")

        refs = [ref for function, ref in bus._subscribers[OrderPlaced] if function is receive]
        world.at(0, lambda: refs[0].stop(block=False))
        world.at(1, lambda: world.note_answer(bus.publish(PLACED)))

    world = on_both_clocks(scenario)
    assert len(world.sent_ids()) == 2
    assert world.notes == [None]
    assert world.events(ActorFailed) == []


def test_a_subscriber_whose_actor_crashes_over_and_over_still_gets_events():
    def scenario(world: World) -> None:
        bus = world.open().bus

        @bus.subscribe(OrderPlaced)
        def receive(event: object) -> None:
            world.notes.append("received")

        refs = [ref for function, ref in bus._subscribers[OrderPlaced] if function is receive]
        for _ in range(20):
            world.at(0, world.system.crash, refs[0], RuntimeError("injected"))
        world.at(1, lambda: world.note_answer(bus.publish(PLACED)))

    world = on_both_clocks(scenario)
    assert world.notes == ["received", None]


def test_many_failures_of_one_bug_do_not_end_the_run():
    """More than any supervision allows, and within its window."""

    def scenario(world: World) -> None:
        world.open(Scripted(lambda this: Permanent(reason=this.notification_id)), notify=_raise, email={})
        world.send(*(email(f"n{number}") for number in range(50)))

    world = on_both_clocks(scenario)
    assert len(world.letters) == 50
    assert world.events(ActorFailed) == []


def _raise(_text: str) -> None:
    raise RuntimeError("the pager is down")


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
