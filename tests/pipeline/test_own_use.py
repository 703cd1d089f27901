"""What an application that embeds a notifier has of its own: subscribers, tasks that send, states by id."""

from __future__ import annotations

import logging

import pytest
from worlds import PLACED, email

from actors import (
    BUILT_IN_SUBSCRIBERS,
    Notifier,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    SendNotification,
    SimulatedProvider,
    UserRegistered,
)
from actors.errors import ConfigurationError, WrongType
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
