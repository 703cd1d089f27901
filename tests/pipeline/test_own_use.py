"""What an application that embeds a notifier has of its own: subscribers, tasks that send, states by id."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import trio
from worlds import EMAIL, OK, PLACED, Scripted, email

from actors import (
    BUILT_IN_SUBSCRIBERS,
    DeadLetters,
    LossyStore,
    MemoryStore,
    Notifier,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    Permanent,
    Preferences,
    SendNotification,
    SimulatedProvider,
    SqliteStore,
    Transient,
    UserRegistered,
)
from actors.errors import ConfigurationError, UnknownChannel, WrongType
from actors.pipeline.subscribers import _LEADS_TO, order_sms


def ids(notifier: Notifier) -> list[str]:
    return sorted(event.notification_id for event in notifier.sent_notifications)


def own_email(event: OrderPlaced) -> SendNotification:
    return email(f"own-{event.order_id}")


class Refunded:
    """An event of one's own."""


# ── subscribers ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_built_in_subscribers_can_be_switched_off(autojump_clock):
    async with Notifier.open(providers=SimulatedProvider(), subscribers={}) as notifier:
        await notifier.publish(PLACED)
        await notifier.wait_until_quiet()
    assert ids(notifier) == []


@pytest.mark.parametrize(
    ("subscribers", "sent"),
    [
        ({OrderPlaced: own_email}, ["own-7"]),
        ({OrderPlaced: [own_email, order_sms]}, ["own-7", "sms-order-placed-7"]),
        ({**BUILT_IN_SUBSCRIBERS, OrderPlaced: own_email}, ["own-7"]),
        (BUILT_IN_SUBSCRIBERS, ["email-order-placed-7", "sms-order-placed-7"]),
        (None, ["email-order-placed-7", "sms-order-placed-7"]),
    ],
)
async def test_built_in_subscribers_can_be_replaced(autojump_clock, subscribers, sent):
    async with Notifier.open(providers=SimulatedProvider(), subscribers=subscribers) as notifier:
        await notifier.publish(PLACED)
        await notifier.wait_until_quiet()
    assert ids(notifier) == sent


async def test_a_built_in_one_is_subscribed_only_where_its_channel_is(autojump_clock, caplog):
    caplog.set_level(logging.INFO, "actors")
    given = {OrderPlaced: (own_email, order_sms)}
    async with Notifier.open({"channels": {"email": {}}}, providers=SimulatedProvider(), subscribers=given) as notifier:
        await notifier.publish(PLACED)
        await notifier.wait_until_quiet()
    assert ids(notifier) == ["own-7"]
    assert [record.getMessage() for record in caplog.records if "leads to nothing" in record.getMessage()] == [
        "no channel sms is configured: OrderPlaced leads to nothing there"
    ]


async def test_events_of_own_types_may_be_published_from_the_start(autojump_clock):
    async def refund(event: Refunded) -> list[SendNotification]:
        return [email("refund")]

    async with Notifier.open(providers=SimulatedProvider(), subscribers={Refunded: refund}) as notifier:
        await notifier.publish(Refunded())
        await notifier.wait_until_quiet()
        with pytest.raises(WrongType):
            await notifier.publish("no event")
    assert ids(notifier) == ["refund"]


async def test_a_callable_without_a_hash_may_subscribe(autojump_clock):
    class Calls:
        __hash__ = None  # type: ignore[assignment]

        def __init__(self) -> None:
            self.got: list[OrderPlaced] = []

        def __call__(self, event: OrderPlaced) -> None:
            self.got.append(event)

    calls = Calls()
    async with Notifier.open(providers=SimulatedProvider(), subscribers={OrderPlaced: calls}) as notifier:
        await notifier.publish(PLACED)
    assert calls.got == [PLACED]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([own_email], "subscribers: wanted a mapping such as {OrderPlaced: function}, got ["),
        ({"OrderPlaced": own_email}, "subscribers: wanted a type of events as each key, got 'OrderPlaced'"),
        ({OrderPlaced: None}, "subscribers: OrderPlaced: wanted a function of an event, or several, got None"),
        ({OrderPlaced: [own_email, 3]}, "subscribers: OrderPlaced: wanted a function of an event, or several, got ["),
    ],
)
async def test_wrong_subscribers_are_reported_when_it_is_opened(wrong, said):
    with pytest.raises(ConfigurationError) as raised:
        async with Notifier.open(subscribers=wrong):
            raise AssertionError
    assert [problem.startswith(said) for problem in raised.value.problems] == [True]


def test_each_built_in_subscriber_leads_to_the_channel_that_it_is_subscribed_for():
    at = PLACED.placed_at
    person = {"user_id": "ann", "customer_email": "ann@example.org"}
    events = [
        PLACED,
        UserRegistered(user_id="ann", email="ann@example.org", name="Ann", registered_at=at),
        OrderShipped(order_id="7", carrier="DHL", tracking_number="1", shipped_at=at, **person),
        PaymentReceived(payment_id="1", order_id="7", amount=9.5, received_at=at, **person),
    ]
    known = dict(_LEADS_TO)
    assert {type(event) for event in events} == set(BUILT_IN_SUBSCRIBERS)
    for event in events:
        for function in BUILT_IN_SUBSCRIBERS[type(event)]:
            assert function(event).channel is known.pop(function)
    assert not known


# ── tasks ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_nursery_takes_what_a_notifier_does_for_an_async_function(autojump_clock):
    async with Notifier.open(providers=SimulatedProvider(latency=5.0)) as notifier:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.send, email("a"))
            nursery.start_soon(notifier.publish, PLACED)
            nursery.start_soon(notifier.operate_breaker, "email", "disable")
        assert notifier.in_flight == 3  # each task has ended when what it did is durable
        await notifier.wait_until_quiet()
    assert ids(notifier) == ["a", "email-order-placed-7", "sms-order-placed-7"]


async def test_a_task_that_sends_raises_what_awaiting_it_would(autojump_clock):
    async with Notifier.open({"channels": {"email": {}}}, providers=SimulatedProvider()) as notifier:
        with pytest.RaisesGroup(UnknownChannel):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(notifier.send, email("a", channel="push"))


async def test_a_task_that_sends_may_be_cancelled_and_what_it_sent_goes_on(autojump_clock):
    async with Notifier.open(providers=SimulatedProvider(), store=LossyStore(commit_delay_ns=10**9)) as notifier:
        with trio.move_on_after(0.5) as waited:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(notifier.send, email("a"))
        assert waited.cancelled_caught
        await notifier.wait_until_quiet()
    assert ids(notifier) == ["a"]


async def test_an_answer_may_be_awaited_and_driven_as_a_coroutine(autojump_clock):
    async with Notifier.open(providers=SimulatedProvider()) as notifier:
        answer = notifier.send(email("a"))
        assert isinstance(answer, Coroutine)
        assert await answer is await answer
        with pytest.raises(StopIteration) as stopped:
            answer.send(None)
        answer.close()
    assert stopped.value.value == "accepted"


# ── states ──────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def opened(kind, tmp_path):
    if kind == "memory":
        yield MemoryStore()
    else:
        async with SqliteStore.open(tmp_path / "n.db") as store:
            yield store


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_the_state_of_a_notification_is_known_by_its_id(kind, tmp_path):
    ends = {"dead": Permanent(reason="no such mailbox"), "waits": Transient(reason="busy")}
    off = Preferences()
    off.set_channel("off", EMAIL, False)
    async with (
        opened(kind, tmp_path) as store,
        Notifier.open(
            {
                "drain": 0,
                "channels": {"email": {"retry": {"initial_delay": "1h", "max_delay": "1h", "jitter": "none"}}},
            },
            providers=Scripted(lambda each: ends.get(each.notification_id, OK)),
            store=store,
            preferences=off,
        ) as notifier,
    ):
        for each in ("sent", "dead", "waits", "off"):
            await notifier.send(email(each, recipient=f"{each}@example.org", user_id=each, priority="bulk"))
        while notifier.in_flight > 1 or (await notifier.state("waits")).attempts == 0:
            await trio.sleep(0.01)
        states = {each: await notifier.state(each) for each in ("sent", "dead", "waits", "off", "unknown")}
        await DeadLetters(notifier, None).discard("dead", by="ann", why="test")
        discarded = await notifier.state("dead")
    assert states.pop("unknown") is None
    assert {each: state.state for each, state in states.items()} == {
        "sent": "sent",
        "dead": "dead letter",
        "waits": "in flight",
        "off": "suppressed",
    }
    assert {(state.channel, state.priority) for state in states.values()} == {("email", "bulk")}
    waits = states["waits"]
    assert (waits.attempts, waits.reason) == (1, "busy")
    assert waits.resumes_at - waits.requested_at >= timedelta(hours=1)
    assert (states["dead"].reason, states["dead"].attempts) == ("no such mailbox", 1)
    assert discarded.state == "discarded"
