"""What an application that embeds a notifier has of its own: subscribers, tasks that send, states by id."""

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


# ── scheduled, and cancelled ────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_scheduled_waits_and_may_be_cancelled_until_it_goes(autojump_clock):
    provider = Scripted(latency=5.0)
    async with Notifier.open(providers=provider) as notifier:
        later = notifier.system.present + timedelta(hours=1)
        for each in ("a", "b"):
            await notifier.send(email(each, not_before=later))
        waits = await notifier.state("a")
        assert (waits.state, waits.resumes_at) == ("in flight", later)
        assert await notifier.cancel("b")
        assert not await notifier.cancel("b")
        assert not await notifier.cancel("unknown")
        assert (await notifier.state("b")).state == "cancelled"
        assert await notifier.send(email("b", not_before=later)) == "duplicate"
        await trio.sleep(3602)
        assert provider.ids == ["a"]
        assert not await notifier.cancel("a")  # it is at its provider
        await notifier.wait_until_quiet()
        assert not await notifier.cancel("a")
    [sent] = notifier.sent_notifications
    assert abs((sent.started - later).total_seconds()) < 1e-3
    assert sent.requested_at == later


async def test_what_is_cancelled_before_its_acceptance_is_durable_is_cancelled_then(autojump_clock):
    async with Notifier.open(providers=Scripted(), store=LossyStore(commit_delay_ns=10**9)) as notifier:
        accepted = notifier.send(email("a", not_before=notifier.system.present + timedelta(hours=1)))
        at_once = notifier.send(email("b"))
        cancelled = [notifier.cancel(each) for each in ("a", "b")]
        assert [await accepted, await at_once] == ["accepted", "accepted"]
        assert [await each for each in cancelled] == [True, False]
        await notifier.wait_until_quiet()
    assert ids(notifier) == ["b"]


async def test_cancelling_a_retry_gives_its_charge_back_to_the_budget(autojump_clock):
    config = {
        "channels": {
            "email": {"retry": {"initial_delay": 60.0, "budget": {"kind": "envoy", "share": 0, "min_concurrency": 1}}}
        }
    }
    config["channels"]["email"]["circuit_breaker"] = {"enabled": False}
    provider = Scripted(lambda _: Transient(reason="busy"))
    async with Notifier.open({"drain": 0, **config}, providers=provider) as notifier:
        await notifier.send(email("a"))
        await trio.sleep(1)
        assert (await notifier.state("a")).state == "in flight"
        assert await notifier.cancel("a")
        await notifier.send(email("b"))
        await trio.sleep(1)
        assert (await notifier.state("b")).state == "in flight"  # else it had no retry left


@pytest.mark.parametrize("wrong", ["2026-01-31", 5])
def test_not_before_is_a_time(wrong):
    with pytest.raises(TypeError, match="not_before: wanted a time or None"):
        email(not_before=wrong)


def test_not_before_has_a_time_zone():
    with pytest.raises(ValueError, match="not_before: wanted a time with its offset from UTC"):
        email(not_before=PLACED.placed_at.replace(tzinfo=None))


# ── traces ──────────────────────────────────────────────────────────────────────────────────────────────────────

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01"


def traces(provider):
    return {each.command.notification_id: each.traceparent for each in provider.attempts}


async def test_each_attempt_knows_the_trace_that_its_sender_named(autojump_clock):
    provider = Scripted()
    async with Notifier.open(providers=provider) as notifier:
        await notifier.send(email("a"), traceparent=TRACE)
        assert await notifier.send(email("a"), traceparent=OTHER) == "duplicate"
        await notifier.send(email("b"))
        await notifier.publish(PLACED, traceparent=TRACE)
        await notifier.wait_until_quiet()
    assert traces(provider) == {"a": TRACE, "b": None, "email-order-placed-7": TRACE, "sms-order-placed-7": TRACE}


@pytest.mark.parametrize("trace", [123, b"00-", ["00"], object()])
async def test_what_is_no_trace_or_no_id_is_refused_at_once(autojump_clock, tmp_path, trace):
    async with SqliteStore.open(tmp_path / "a.db") as store, Notifier.open(store=store) as notifier:
        for ask in (notifier.send, notifier.publish):
            with pytest.raises(WrongType, match="traceparent: wanted a str"):
                ask(email("a") if ask == notifier.send else PLACED, traceparent=trace)
        with pytest.raises(WrongType, match="wanted the id of a notification"):
            notifier.cancel(trace)
        with pytest.raises(WrongType, match="wanted the id of a notification"):
            await notifier.state(trace)
        assert await notifier.wait_until_quiet()
        assert notifier.sent_notifications == []


@pytest.mark.parametrize("trace", ["", "00", TRACE.upper(), TRACE + "-more", "00-" + "0" * 32 + TRACE[35:]])
async def test_a_trace_that_cannot_be_read_is_none(autojump_clock, trace):
    provider = Scripted()
    async with Notifier.open(providers=provider) as notifier:
        await notifier.send(email("a"), traceparent=trace)
        await notifier.wait_until_quiet()
    assert traces(provider) == {"a": None}


async def test_a_trace_outlives_its_process_and_a_fallback_belongs_to_it(autojump_clock):
    store, down, up = (
        MemoryStore(),
        Scripted(lambda _: Transient(reason="busy")),
        Scripted(lambda _: Permanent(reason="no")),
    )
    config = {"channels": {"email": {"fallback": {"channel": "sms"}}, "sms": {}}, "drain": 0}
    async with Notifier.open(config, providers=down, store=store) as notifier:
        await notifier.send(email("a", addresses={"sms": "+4670"}), traceparent=TRACE)
        await trio.sleep(1.5)
    async with Notifier.open(config, providers=up, store=store) as notifier:
        await notifier.wait_until_quiet(60)
    assert (traces(down), traces(up)) == ({"a": TRACE}, {"a": TRACE, "a/sms": TRACE})
