"""What own actors may use of pykka and of their system, row for row as the guide's table has it; and how they hear."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

import msgspec
import pytest
import trio
from worlds import email

import simulation
from actors import (
    Actor,
    ConfigurationError,
    Foreseen,
    MemoryStore,
    NotificationService,
    Notifier,
    OrderShipped,
    OwnActor,
    Performed,
    Pipeline,
    handles,
)
from actors.errors import ActorSystemError, ForeignAwait, NotifierClosed, WouldDeadlock
from actors.kernel.effects import Promise
from actors.messages import OwnActorMessage
from actors.settings.channel import ChannelConfig

SHIPPED = OrderShipped(
    order_id="17",
    user_id="ann",
    customer_email="ann@example.com",
    carrier="carrier",
    tracking_number="1",
    shipped_at=datetime(2026, 1, 1, tzinfo=UTC),
)


class Double(msgspec.Struct, frozen=True):
    number: int


class Later(msgspec.Struct, frozen=True):
    text: str


class Doubler(Actor):
    @handles(Double)
    async def on_double(self, double: Double) -> int:
        await self.sleep(0.5)
        return self.twice(double.number)

    def twice(self, number: int) -> int:
        return 2 * number


class Caller(OwnActor):
    """Does what a row says when a parcel is shipped, and notes what comes of it, and when."""

    row: ClassVar[Callable[[Caller], Any]]
    notes: ClassVar[list[tuple[float, Any]]]

    def on_start(self) -> None:
        self.other = self.spawn(Doubler)

    def note(self, what: Any) -> None:
        self.notes.append((self.now_ns / 1e9, what))

    @handles(OrderShipped)
    async def on_shipped(self, _: OrderShipped) -> None:
        self.note(await type(self).row(self))

    @handles(Later)
    def on_later(self, later: Later) -> None:
        self.note(later.text)

    @handles(Performed)
    def on_performed(self, performed: Performed) -> None:
        self.note(performed.result)

    @handles(Double)
    async def on_double(self, double: Double) -> int:
        return await self.other.ask(double, block=False)

    def half(self, number: int) -> int:
        return number // 2


async def tells(caller):
    caller.actor_ref.tell(Later("told"))


async def asks(caller):
    return await caller.other.ask(Double(4), block=False)


async def asks_and_blocks(caller):
    with pytest.raises(WouldDeadlock):
        caller.other.ask(Double(4))


async def asks_by_a_proxy(caller):
    return await caller.other.proxy().twice(4)


async def stops_another(caller):
    caller.other.stop(block=False)
    await caller.sleep(1)
    return caller.other.is_alive()


async def sets_timers(caller):
    caller.after(2, Later("after"))
    caller.at(caller.now_ns + 3_000_000_000, Later("at"))
    await caller.sleep(1)


async def begins_what_is_foreseen(caller):
    caller.perform(Foreseen(1_500_000_000, "done"), "request")


async def waits_for_a_promise(caller):
    promise = Promise()
    caller.perform(promise, "request")
    caller.system.call_at(caller.now_ns + 1_000_000_000, partial(promise.keep, "kept"))


async def draws(caller):
    return round(caller.stream("dice").random(), 6)


async def stops_itself(caller):
    caller.stop()
    return "the last"


@pytest.mark.parametrize(
    ("row", "notes"),
    [
        (tells, [(1, None), (1, "told")]),
        (asks, [(1.5, 8)]),
        (asks_and_blocks, [(1, None)]),
        (asks_by_a_proxy, [(1, 8)]),
        (stops_another, [(2, False)]),
        (sets_timers, [(2, None), (3, "after"), (4, "at")]),
        (begins_what_is_foreseen, [(1, None), (2.5, "done")]),
        (waits_for_a_promise, [(1, None), (2, "kept")]),
        (draws, [(1, 0.922534)]),
        (stops_itself, [(1, "the last")]),
    ],
)
def test_what_a_handler_may_ask_for_is_the_same_on_both_clocks(row, notes):
    for runtime in ("simpy", "trio"):
        assert noted(row, runtime) == notes


def noted(row, runtime):
    Caller.row, Caller.notes = row, []
    scenario = simulation.parse(
        'duration: 5s\ndrain: 5s\nworkload: [{event: OrderShipped, arrivals: {times: [1s, 4.5s]}, at: 0s, for: 3s}, '
        '{channel: sms, arrivals: {times: [4.9s]}}]\n'
        f'actors: {{caller: {{actor: "{__name__}:Caller"}}}}'
    )  # fmt: skip
    simulation.run(scenario, code=True, runtime=runtime)
    return Caller.notes


async def sleeps_in_trio(_):
    await trio.sleep(1)
    return "slept"


async def performs_io(caller):
    caller.perform(partial(trio.sleep, 1), "request")


@pytest.mark.parametrize(("row", "notes"), [(sleeps_in_trio, [(2, "slept")]), (performs_io, [(1, None), (2, None)])])
def test_what_waits_for_the_world_works_live_and_ends_a_simulation(row, notes):
    assert noted(row, "trio") == notes
    with pytest.raises(ForeignAwait):
        noted(row, "simpy")


async def test_from_outside_live(autojump_clock):
    Caller.row, Caller.notes = tells, []
    async with Notifier.open({"channels": {"email": {}}}, actors={"caller": Caller}) as notifier:
        ref = notifier.actors["caller"]
        ref.tell(Later("told"))
        assert await ref.ask(Double(4), block=False) == 8
        assert await ref.proxy().half(4) == 2
        with pytest.raises(WouldDeadlock):
            ref.ask(Double(4))
        answers = []
        await trio.to_thread.run_sync(lambda: answers.append(ref.proxy().half(8).get()))
        thread = threading.Thread(target=ref.tell, args=[Later("from a thread")])
        thread.start()
        await trio.to_thread.run_sync(thread.join)
        await notifier.publish(SHIPPED)
        ref.stop(block=False)
        await trio.sleep(1)
        assert not ref.is_alive()
    assert answers == [4]
    assert [what for _, what in Caller.notes] == ["told", "from a thread", None, "told"]


def test_from_outside_simulated():
    Caller.row, Caller.notes = tells, []
    with simulation.SimulatedSystem() as system:
        pipeline = Pipeline(
            system,
            {email("a").channel: ChannelConfig()},
            NotificationService(),
            store=MemoryStore(),
            actors={"caller": Caller},
        )
        ref = pipeline.own_actors["caller"]
        ref.tell(Later("told"))
        assert ref.ask(Double(4)) == 8
        assert ref.ask(Double(4), block=False).get() == 8
        assert system.now_ns == 1_000_000_000
        assert ref.proxy().half(4).get() == 2
        pipeline.bus.publish(SHIPPED)
        ref.stop()
        assert not ref.is_alive()
    assert [what for _, what in Caller.notes] == ["told", None]


# ── how it is heard ─────────────────────────────────────────────────────────────────────────────────────────────


class Keeps(OwnActor):
    """Keeps each parcel; one whose id is `bad` it cannot take."""

    replaces = (OrderShipped,)

    @handles(OrderShipped)
    async def on_shipped(self, event: OrderShipped) -> None:
        if event.order_id == "bad":
            raise ValueError("bad")
        await self.keep(event.order_id, [event.user_id])

    @handles(Later)
    async def on_later(self, later: Later) -> str:
        return (await self.send(email(later.text))).value


class SlowStore(MemoryStore):
    """Makes what own actors keep durable when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.promises: list[Promise] = []

    def keep(self, actor, key, value, now_ns):
        super().keep(actor, key, value, now_ns)
        self.promises.append(Promise())
        return self.promises[-1]


async def test_who_publishes_waits_until_what_the_actor_keeps_is_durable(autojump_clock):
    store = SlowStore()
    async with Notifier.open({"channels": {"email": {}}}, store=store, actors={"keeps": Keeps}) as notifier:
        with trio.move_on_after(60) as waits:
            await notifier.publish(SHIPPED)
        assert waits.cancelled_caught
        published = notifier.publish(msgspec.structs.replace(SHIPPED, order_id="18"))
        for _ in range(2):
            await trio.sleep(1)
            store.promises.pop(0).keep()
        await published
        assert notifier.sent_notifications == []  # by the built-in subscriber, which it replaces
    assert store.kept == {("keeps", "17"): b'["ann"]', ("keeps", "18"): b'["ann"]'}


async def test_each_finds_what_it_has_kept_itself_in_the_order_of_the_keys():
    found = {}

    class Finds(OwnActor):
        def on_start(self) -> None:
            found[self.name] = [*self.kept().items()]

    store = MemoryStore()
    for actor, key, value in (("one", "b", b"1"), ("two", "a", b"[2]"), ("one", "a", b"3")):
        store.keep(actor, key, value, 0)
    actors = dict.fromkeys(("one", "two", "new"), Finds)
    async with Notifier.open({"channels": {"email": {}}}, store=store, actors=actors):
        pass
    assert found == {"one": [("a", 3), ("b", 1)], "two": [("a", [2])], "new": []}


async def test_who_publishes_is_told_that_the_actor_has_crashed_first(autojump_clock):
    async with Notifier.open({"channels": {"email": {}}}, store=SlowStore(), actors={"keeps": Keeps}) as notifier:
        published = notifier.publish(SHIPPED)
        await trio.sleep(1)
        notifier.system.crash(notifier.actors["keeps"], RuntimeError("a crash"))
        with pytest.raises(NotifierClosed, match="the actor keeps ended before it had handled this"):
            await published


async def test_who_publishes_gets_what_the_actor_raises_and_it_goes_on_with_the_next_event(autojump_clock, caplog):
    store = MemoryStore()
    async with Notifier.open({"channels": {"email": {}}}, store=store, actors={"keeps": Keeps}) as notifier:
        with pytest.raises(ValueError, match="bad"):
            await notifier.publish(msgspec.structs.replace(SHIPPED, order_id="bad"))
        await notifier.publish(SHIPPED)
        assert await notifier.actors["keeps"].ask(Later("a"), block=False) == "accepted"
        assert await notifier.actors["keeps"].ask(Later("a"), block=False) == "duplicate"
    assert list(store.kept) == [("keeps", "17")]
    assert "keeps" in caplog.text
    assert "ValueError: bad" in caplog.text


@pytest.mark.parametrize(
    ("actors", "problem"),
    [
        (Keeps, "actors: wanted a mapping from names to classes, got <class"),
        ({"a": Doubler}, "actors.a: wanted a subclass of OwnActor, or a functools.partial of one, got <class"),
        ({"a": partial(Keeps, at_most=3)}, "actors.a: Keeps raised TypeError: .*unexpected keyword argument 'at_most'"),
    ],
)  # fmt: skip
async def test_what_is_no_own_actor_is_refused_when_a_notifier_opens(actors, problem):
    with pytest.raises(ConfigurationError, match=problem):
        async with Notifier.open({"channels": {"email": {}}}, actors=actors):
            pass


def test_one_without_a_notifier_says_where_it_belongs():
    with (
        simulation.SimulatedSystem() as system,
        pytest.raises(ActorSystemError, match="Keeps has no notifier: name it"),
    ):
        system.spawn(Keeps)


@pytest.mark.parametrize("host", ["thread", "asyncio"])
def test_in_another_host_it_is_the_same(host):
    events = []
    options = {"actors": {"keeps": Keeps}, "on_event": events.append}

    async def publish():
        async with Notifier.open_asyncio({"channels": {"email": {}}}, **options) as notifier:
            await notifier.publish(SHIPPED)
            with pytest.raises(ValueError, match="bad"):
                await notifier.publish(msgspec.structs.replace(SHIPPED, order_id="bad"))

    if host == "asyncio":
        asyncio.run(publish())
    else:
        with Notifier.open_in_thread({"channels": {"email": {}}}, **options) as notifier:
            notifier.publish(SHIPPED)
            with pytest.raises(ValueError, match="bad"):
                notifier.publish(msgspec.structs.replace(SHIPPED, order_id="bad"))
    assert [each.message for each in events if type(each) is OwnActorMessage] == ["OrderShipped"] * 2
