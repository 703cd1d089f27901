"""The vocabulary: what events say word for word; immutable, serialisable, with datetimes beside the nanoseconds."""

import copy
import math
import pickle
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from each_row import over_each
from hypothesis import given, strategies as st
from worlds import EMAIL, SMS, World, email, on_both_clocks

from actors import messages, outcomes
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DeadLetterMessage,
    DeferralCause,
    DuplicateIgnored,
    NodeTookOver,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    OrderPlaced,
    OrderShipped,
    OwnActorMessage,
    PaymentReceived,
    SendNotification,
    UpstreamRequested,
    UserRegistered,
)
from actors.pipeline.subscribers import order_email, order_sms, receipt_email, shipping_email, welcome_email
from actors.pipeline.templates import Templates

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EPOCH_NS = round(NOON.timestamp()) * 1_000_000_000
S = 1_000_000_000

REGISTERED = UserRegistered(user_id="ann", email="ann@example.org", name="Ann", registered_at=NOON)
PLACED = OrderPlaced(
    order_id="7",
    user_id="ann",
    customer_email="ann@example.org",
    customer_phone="+4670",
    total_amount=Decimal("12.50"),
    placed_at=NOON,
)
SHIPPED = OrderShipped(
    order_id="7",
    user_id="ann",
    customer_email="ann@example.org",
    carrier="DHL",
    tracking_number="JD01",
    shipped_at=NOON,
)
PAID = PaymentReceived(
    payment_id="p9",
    order_id="7",
    user_id="ann",
    customer_email="ann@example.org",
    amount=Decimal("12.50"),
    received_at=NOON,
)

# ── what the events give rise to ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("command", "notification_id", "channel", "recipient", "subject", "text"),
    [
        (welcome_email(REGISTERED), "email-user-registered-ann", EMAIL, "ann@example.org", "Welcome!", None),
        (order_email(PLACED), "email-order-placed-7", EMAIL, "ann@example.org", "Order Confirmation: 7", None),
        (order_sms(PLACED), "sms-order-placed-7", SMS, "+4670", None, "Order 7 confirmed!"),
        (shipping_email(SHIPPED), "email-order-shipped-7", EMAIL, "ann@example.org", "Order 7 is on its way", None),
        (receipt_email(PAID), "email-payment-received-p9", EMAIL, "ann@example.org", "Receipt for order 7", None),
    ],
)
def test_events_give_rise_to_these_notifications(command, notification_id, channel, recipient, subject, text):
    assert command.notification_id == notification_id
    assert command.channel is channel
    assert command.recipient == recipient
    assert command.subject == subject
    assert command.user_id == "ann"
    if text is not None:
        assert command.message == text


def test_texts_name_what_the_event_is_about():
    assert "Ann" in welcome_email(REGISTERED).message
    assert "12.50" in order_email(PLACED).message
    assert "DHL" in shipping_email(SHIPPED).message
    assert "JD01" in shipping_email(SHIPPED).message
    assert "12.50" in receipt_email(PAID).message


def test_all_events_of_one_order_are_different_notifications_and_the_welcome_is_the_template():
    def scenario(world: World) -> None:
        bus = world.open(email={}, sms={}, templates=Templates(variables={"platform": "Shop"})).bus
        for event in (REGISTERED, PLACED, SHIPPED, PAID, PLACED):
            world.at(0, bus.publish, event)

    world = on_both_clocks(scenario)
    assert sorted(world.sent_ids()) == [
        "email-order-placed-7",
        "email-order-shipped-7",
        "email-payment-received-p9",
        "email-user-registered-ann",
        "sms-order-placed-7",
    ]
    (welcome,) = [each.command for each in world.provider.tries if "registered" in each.notification_id]
    assert welcome.subject == "Welcome to Shop!"
    assert welcome.message.startswith("Hello Ann, thank you for joining")


# ── immutable, serialisable ─────────────────────────────────────────────────────────────────────────────────────

WHEN: dict[str, Any] = {"at_ns": 90 * S, "epoch_ns": EPOCH_NS}
OF: dict[str, Any] = {**WHEN, "notification_id": "n", "channel": EMAIL}
FAILED = NotificationFailed(
    **OF, reason="busy", kind="Transient", attempt=2, started_ns=89 * S, next_retry_at_ns=95 * S, answer="451 later"
)
COMMAND = email("n", metadata={"template": "welcome", "order": {"items": [1, 2]}}, critical=True, expires_after=60.0)

ALL = [
    COMMAND,
    email("plain"),
    REGISTERED,
    PLACED,
    SHIPPED,
    PAID,
    NotificationRequested(**OF, user_id="ann", instead_of="m", waited_since_ns=1 * S),
    NotificationSent(**OF, attempt=1, started_ns=89 * S, requested_at_ns=0),
    FAILED,
    NotificationMovedToDeadLetter(**OF, reason="busy", attempts=3, requested_at_ns=0),
    NotificationSuppressed(**OF, reason="off"),
    NotificationDeferred(**OF, cause=DeferralCause.QUIET_HOURS, resumes_at_ns=95 * S),
    DuplicateIgnored(**OF, conflict=True),
    NotificationRedriven(**OF, by="ann", why="fixed", edit={"recipient": "bob@example.org", "metadata": {"a": [1]}}),
    DeadLetterDiscarded(**OF, reason="done"),
    BreakerTransitioned(**WHEN, breaker="email", from_state="closed", to_state="open", cause="trip"),
    ActorFailed(**WHEN, actor="Handler", error="bug", decision="restart"),
    OwnActorMessage(**WHEN, actor="digests", message="Due"),
    UpstreamRequested(**OF, attempt=1, number=2, provider="backup"),
    NodeTookOver(**WHEN, node=1, from_node=2, notification_ids=("n",)),
    DeadLetterMessage(
        notification_id="n",
        command=COMMAND,
        failure_reason="busy",
        attempts=2,
        requested_at_ns=0,
        first_failure_ns=S,
        last_failure_ns=90 * S,
        moved_at_ns=91 * S,
        epoch_ns=EPOCH_NS,
        history=(FAILED,),
    ),
]


def test_no_message_is_forgotten_here():
    concrete = {
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type) and issubclass(kind, messages.Message) and not kind.__subclasses__()
    }
    assert {type(message) for message in ALL} == concrete


@over_each(ALL)
def test_messages_survive_json_msgpack_and_pickling(message):
    kind = type(message)
    assert msgspec.json.decode(msgspec.json.encode(message), type=kind, strict=False) == message
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=kind, strict=False) == message
    assert pickle.loads(pickle.dumps(message)) == message
    assert copy.deepcopy(message) == message


@over_each(ALL)
def test_messages_are_immutable_and_built_from_keywords(message):
    field = message.__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(message, field, "other")
    with pytest.raises(TypeError):
        type(message)("positional")


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.update(a=1),
        lambda metadata: metadata.pop("template"),
        lambda metadata: metadata.clear(),
        lambda metadata: metadata.setdefault("x", 1),
        lambda metadata: metadata.popitem(),
        lambda metadata: metadata.__setitem__("x", 1),
        lambda metadata: metadata.__delitem__("template"),
        lambda metadata: metadata.__ior__({"x": 1}),
        lambda metadata: metadata["order"].__setitem__("items", ()),
        lambda metadata: metadata["order"]["items"].append(3),
    ],
)
def test_metadata_cannot_be_changed_at_any_depth(change):
    with pytest.raises((TypeError, AttributeError)):
        change(COMMAND.metadata)
    with pytest.raises((TypeError, AttributeError)):
        change(msgspec.json.decode(msgspec.json.encode(COMMAND), type=SendNotification).metadata)


def test_the_default_metadata_is_no_one_elses():
    first, second = email("a"), email("b")
    with pytest.raises(TypeError):
        first.metadata["x"] = 1  # type: ignore[index]
    assert second.metadata == {}


def test_metadata_is_a_copy_down_to_the_bottom():
    mine: dict[str, Any] = {"items": [1, {"name": "a"}]}
    command = email("a", metadata=mine)
    mine["items"][1]["name"] = "b"
    mine["items"].append(2)
    mine["x"] = 1
    assert command.metadata == {"items": (1, {"name": "a"})}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_a_command_read_back_from_json_is_the_same_notification(metadata):
    command = email("a", metadata=metadata)
    again = msgspec.json.decode(msgspec.json.encode(command), type=SendNotification)
    assert again == command
    assert isinstance(command.metadata, Mapping)


def test_the_payload_is_the_same_whatever_the_order_of_its_metadata():
    assert email("a", metadata={"x": 1, "y": 2}) == email("a", metadata={"y": 2, "x": 1})


@pytest.mark.parametrize(
    "field", ["recipient", "message", "subject", "user_id", "critical", "expires_after", "metadata"]
)
def test_every_field_is_part_of_the_payload(field):
    other = {"critical": True, "expires_after": 5.0, "metadata": {"x": 1}}.get(field, "other")
    assert email("a", **{field: other}) != email("a")
    assert email("a", channel=SMS) != email("a")


@pytest.mark.parametrize("channel", list(messages.NotificationChannel))
def test_a_channel_that_is_given_by_its_name_is_that_channel(channel):
    by_name = email("a", channel=channel.value)
    assert type(by_name.channel) is messages.NotificationChannel
    assert by_name == email("a", channel=channel)
    assert type(msgspec.structs.replace(by_name, channel="sms").channel) is messages.NotificationChannel


@pytest.mark.parametrize("channel", ["Email", "a pigeon", "all", "", None, ["email"]])
def test_a_channel_that_there_is_not_is_left_to_the_receiver(channel):
    assert email("a", channel=channel).channel is channel


def test_limits_and_preferences_are_those_of_the_recipient_when_no_user_is_named():
    assert email("a").user == "ann@example.org"
    assert email("a", user_id="ann").user == "ann"
    assert email("a", user_id="").user == ""


@pytest.mark.parametrize("nonsense", [-1.0, math.nan, -math.inf])
def test_a_notification_cannot_expire_before_it_is_made(nonsense):
    with pytest.raises(ValueError, match="expires_after"):
        email("a", expires_after=nonsense)


def test_a_command_needs_its_fields():
    with pytest.raises(TypeError):
        SendNotification(notification_id="a", channel=EMAIL)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("notification_id", 5, "notification_id: wanted text, got int"),
        ("recipient", None, "recipient: wanted text, got NoneType"),
        ("message", b"Hello", "message: wanted text, got bytes"),
        ("subject", 5, "subject: wanted text or None, got int"),
        ("user_id", 42, "user_id: wanted text or None, got int"),
        ("critical", 1, "critical: wanted true or false, got int"),
        ("expires_after", "60", "expires_after: wanted a number or None, got str"),
        ("expires_after", True, "expires_after: wanted a number or None, got bool"),
        ("metadata", ["x"], "metadata: wanted a mapping, got list"),
        ("addresses", ["x"], "addresses: wanted a mapping, got list"),
        ("addresses", {"sms": 49}, "addresses: an item in it has the wrong type: Expected `str`, got `int`"),
        ("addresses", {"a pigeon": "x"}, "addresses: an item in it has the wrong type: Invalid enum value"),
    ],
)
def test_a_field_of_another_type_is_refused_where_the_command_is_made(field, value, problem):
    with pytest.raises(TypeError, match=f"^SendNotification: {re.escape(problem)}"):
        email(**{"notification_id": "a", field: value})


def test_all_that_is_wrong_with_a_command_is_said_and_none_of_it_shown():
    with pytest.raises(TypeError) as caught:
        email(491701234567, user_id=42)  # type: ignore[arg-type]
    assert (
        str(caught.value)
        == "SendNotification: notification_id: wanted text, got int; user_id: wanted text or None, got int"
    )


@pytest.mark.parametrize(
    ("field", "value"), [("subject", "S"), ("user_id", "ann"), ("expires_after", 60), ("expires_after", 0.5),
                         ("metadata", {"a": [1]}), ("addresses", {SMS: "+49"}), ("addresses", {"sms": "+49"})],
)  # fmt: skip
def test_what_is_of_its_type_is_taken_as_it_is(field, value):
    assert getattr(email("a", **{field: value}), field) == (({"a": (1,)}) if field == "metadata" else value)


@pytest.mark.parametrize(
    ("event", "field", "value", "wanted"),
    [
        (PLACED, "order_id", 17, "text, got int"),
        (PLACED, "customer_phone", 491, "text, got int"),
        (PLACED, "total_amount", "12.50", "a number, got str"),
        (SHIPPED, "shipped_at", "2026-01-31T12:00:00Z", "a time, got str"),
        (REGISTERED, "user_id", None, "text, got NoneType"),
        (PAID, "payment_id", 3, "text, got int"),
    ],
)
def test_a_domain_event_with_a_field_of_another_type_is_refused_where_it_is_made(event, field, value, wanted):
    with pytest.raises(TypeError, match=f"^{type(event).__name__}: {field}: wanted {wanted}$"):
        type(event)(**{**msgspec.structs.asdict(event), field: value})


@pytest.mark.parametrize(
    "nonsense", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")]
)
@pytest.mark.parametrize(("event", "field"), [(PLACED, "total_amount"), (PAID, "amount")])
def test_a_domain_event_over_an_amount_that_is_no_number_is_refused_where_it_is_made(event, field, nonsense):
    with pytest.raises(ValueError, match=f"^{field}: wanted a finite number, got {nonsense}$"):
        type(event)(**{**msgspec.structs.asdict(event), field: nonsense})


@pytest.mark.parametrize("amount", [0, 10**18, 9.5, Decimal("1e999999"), Decimal("-0.01")])
def test_any_other_amount_is_taken(amount):
    assert msgspec.structs.replace(PLACED, total_amount=amount).total_amount == amount


# ── instants ────────────────────────────────────────────────────────────────────────────────────────────────────


@over_each(ALL)
def test_every_instant_has_its_datetime_in_utc(message):
    instants = [name for name in message.__struct_fields__ if name.endswith("_ns") and name != "epoch_ns"]
    for name in instants:
        shown = getattr(message, name.removesuffix("_ns"))
        assert shown.tzinfo is UTC
        assert shown == NOON + timedelta(seconds=getattr(message, name) / S)


def test_a_retry_that_is_not_made_has_no_instant():
    event = msgspec.structs.replace(FAILED, next_retry_at_ns=None)
    assert event.next_retry_at is None
    assert NotificationDeferred(**OF, cause=DeferralCause.CIRCUIT_BREAKER).resumes_at is None


def test_the_six_outcomes_are_serialisable_and_closed():
    six = [kind for kind in vars(outcomes).values() if isinstance(kind, type) and kind.__module__ == outcomes.__name__]
    six = [kind for kind in six if not kind.__name__.startswith("_")]
    assert {kind.__name__ for kind in six} == {
        "Sent",
        "Transient",
        "Permanent",
        "DeadDestination",
        "ChannelFault",
        "Ambiguous",
    }
    for kind in six:
        outcome = kind(reason="why", answer="250 OK")
        assert msgspec.json.decode(msgspec.json.encode(outcome), type=outcomes.Outcome) == outcome
