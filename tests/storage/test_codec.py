"""What is written down comes back as it was, or is refused."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, strategies as st
from shelves import command

from actors.domain.audit import AuditEntry
from actors.domain.codec import (
    StoredEvent,
    check_seal,
    decode_audit_entry,
    decode_command,
    decode_event,
    decode_events,
    encode_command,
    encode_event,
    encode_events,
    seal,
)
from actors.endpoints import EndpointMark
from actors.errors import Unstorable
from actors.messages import (
    DeadLetterDiscarded,
    NotificationChannel,
    NotificationEvent,
    NotificationFailed,
    NotificationRedriven,
    SendNotification,
    UpstreamRequested,
)

# Of every field's type that events have; msgpack holds whole numbers of 64 bits.
_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_METADATA = st.dictionaries(
    _TEXT,
    st.recursive(
        st.none() | st.booleans() | _INTEGERS | st.floats(allow_nan=False) | _TEXT | st.decimals(allow_nan=False),
        lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
        max_leaves=10,
    ),
)


_MARKS = st.builds(EndpointMark, since_ns=_INTEGERS, until_ns=_INTEGERS)


def events(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Draw events of a type, with all their fields."""
    by_type = {int: _INTEGERS, str: _TEXT, EndpointMark: _MARKS}
    fields = {}
    for field in msgspec.structs.fields(kind):
        if field.name == "edit":
            fields[field.encode_name] = st.fixed_dictionaries({}, optional={"message": _TEXT, "metadata": _METADATA})
            continue
        options = list(get_args(field.type) or (field.type,))
        drawn = [st.none() if each is type(None) else by_type.get(each, st.from_type(each)) for each in options]
        fields[field.encode_name] = st.one_of(drawn)
    return st.builds(kind, **fields)


def _all_kinds(base: type[NotificationEvent] = NotificationEvent) -> list[type[NotificationEvent]]:
    return [kind for sub in base.__subclasses__() for kind in (sub, *_all_kinds(sub))]


def test_every_type_of_event_of_a_notification_can_be_stored():
    of_a_notification = {kind for kind in _all_kinds() if kind.__module__ == "actors.messages"}
    assert set(get_args(StoredEvent)) == of_a_notification - {UpstreamRequested}  # of a simulated provider


@pytest.mark.parametrize("kind", get_args(StoredEvent), ids=lambda kind: kind.__name__)
def test_an_event_comes_back_as_it_was(kind):
    @given(events(kind))
    def comes_back(event: NotificationEvent) -> None:
        back = decode_event(encode_event(event))
        assert type(back) is kind
        assert back == event

    comes_back()


@given(events(AuditEntry))
def test_an_entry_of_the_audit_trail_comes_back_as_it_was(entry):
    assert decode_audit_entry(encode_event(entry)) == entry


@given(events(NotificationRedriven), events(DeadLetterDiscarded))
def test_what_people_did_to_dead_letters_is_read_as_an_entry_of_the_audit_trail(redriven, discarded):
    for event, action, why in ((redriven, "retry", redriven.why), (discarded, "discard", discarded.reason)):
        entry = decode_audit_entry(encode_event(event))
        assert (entry.action, entry.by, entry.notification_id, entry.why) == (
            action, event.by, event.notification_id, why,
        )  # fmt: skip
        assert entry.at_ns == event.epoch_ns + event.at_ns
    assert decode_audit_entry(encode_event(redriven)).edit == redriven.edit


@given(st.lists(events(NotificationFailed) | events(NotificationRedriven), max_size=3))
def test_several_events_come_back_as_they_were(several):
    assert decode_events(encode_events(several)) == tuple(several)


@given(st.sampled_from(NotificationChannel), _METADATA, st.none() | _TEXT, st.none() | st.floats(0, 1e9), _TEXT)
def test_a_command_comes_back_as_it_was(channel, metadata, subject, expires_after, text):
    given = command(
        text,
        channel=channel,
        metadata=metadata,
        subject=subject,
        expires_after=expires_after,
        addresses={channel: text},
        message=text,
        critical=True,
        user_id=text,
    )
    back = decode_command(encode_command(given))
    assert back == given
    assert type(back.metadata) is type(given.metadata)


def test_a_decimal_and_an_instant_keep_their_types():
    given = command(metadata={"total": Decimal("12.50"), "at": datetime(2026, 1, 1, tzinfo=UTC), "tags": ["a", ["b"]]})
    back = decode_command(encode_command(given)).metadata
    assert str(back["total"]) == "12.50"
    assert back["at"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert back["tags"] == ("a", ("b",))


@pytest.mark.parametrize(
    "value",
    [object(), date(2026, 1, 1), datetime(2026, 1, 1), 2**70, float("nan"), {1, 2}, uuid.UUID(int=1), "\ud800"],
    ids=lambda value: type(value).__name__,
)
def test_what_would_come_back_changed_is_refused(value):
    with pytest.raises(Unstorable, match=r"notification 'n' cannot be stored; wanted text, .* got "):
        encode_command(command(metadata={"value": value}))


def test_text_that_is_no_unicode_is_refused_in_a_command_and_escaped_in_an_event():
    with pytest.raises(Unstorable):
        encode_command(command(message="\ud800"))
    failed = NotificationFailed(
        at_ns=0,
        epoch_ns=0,
        notification_id="n",
        channel=NotificationChannel.EMAIL,
        reason="bad",
        kind="Permanent",
        attempt=1,
        started_ns=0,
        answer="550 caf\udce9",
    )
    back = decode_event(encode_event(failed))
    assert back == msgspec.structs.replace(failed, answer="550 caf\\udce9")


_ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | _TEXT
    | st.text()
    | st.binary()
    | st.decimals()
    | st.datetimes()
    | st.lists(_TEXT, max_size=2)
    | st.dictionaries(st.sampled_from(["email", "sms", "pigeon", 5]), _TEXT | st.integers(), max_size=2)
)
_FIELDS = [field.name for field in msgspec.structs.fields(SendNotification) if field.name != "channel"]


@given(st.dictionaries(st.sampled_from(_FIELDS), _ANYTHING, min_size=1))
def test_a_command_that_can_be_made_and_written_can_be_read(fields):
    """What could not be would shut the store for good: it is read when the store is opened again."""
    try:
        made = command(**fields)
        written = encode_command(made)
    except (TypeError, ValueError, Unstorable):
        return
    assert decode_command(written) == made


@given(st.sampled_from([None, "Asia/Tokyo", "UTC"]), _METADATA)
def test_a_zone_is_written_only_where_a_command_has_one(zone, metadata):
    made = command(zone=zone, metadata=metadata)
    written = encode_command(made)
    assert decode_command(written) == made
    fields = msgspec.msgpack.decode(written)
    assert (list(fields)[-1], fields.get("zone")) == ("not_before" if zone is None else "zone", zone)
    check_seal(seal(written, "a"), "a")


def test_a_zone_that_only_another_node_knows_loses_nothing_but_itself(caplog):
    written = encode_command(command(zone="Asia/Tokyo", metadata={"price": Decimal("1.5")}))
    read = decode_command(written.replace(b"Asia/Tokyo", b"Asia/Utopi"))
    assert read == msgspec.structs.replace(decode_command(written), zone=None)
    assert caplog.messages == ["n: its time zone is unknown here, and left out"]
