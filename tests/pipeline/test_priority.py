"""The class of traffic of a command: what is given, what is implied, and what keeps it."""

import msgspec
import pytest
from hypothesis import given, strategies as st
from worlds import EMAIL, PLACED, email, simulate

from actors.domain.codec import decode_command, encode_command
from actors.domain.delivery import Delivery, RedriveRecord
from actors.errors import EditRefused, Overloaded, WrongType
from actors.messages import OrderPlaced, Priority, SendNotification
from actors.pipeline.editing import checked_edit
from actors.pipeline.fallback import Fallbacks
from actors.pipeline.orders import Redrive, Redrives
from actors.settings.channel import ChannelConfig

GIVEN = st.sampled_from([None, *Priority, *map(str, Priority)])


def command(**fields):
    return SendNotification(notification_id="a", channel=EMAIL, recipient="ann", message="Hi", **fields)


@given(GIVEN, st.booleans())
def test_the_flag_means_critical_only_where_no_class_is_given(priority, critical):
    made = command(priority=priority, critical=critical)
    assert made.priority is Priority(priority or ("critical" if critical else "normal"))
    assert made.critical is critical  # the class passes no quiet hours
    assert decode_command(encode_command(made)) == made


def test_what_an_earlier_release_wrote_is_normal_or_by_its_flag():
    for critical in (False, True):
        written = msgspec.msgpack.decode(encode_command(command(critical=critical)))
        del written["priority"]
        assert decode_command(msgspec.msgpack.encode(written)) == command(critical=critical)


@pytest.mark.parametrize(("given", "error"), [("urgent", ValueError), ("", ValueError), (1, TypeError)])
def test_what_is_no_class_is_refused_where_it_is_made(given, error):
    with pytest.raises(error, match="priority: wanted"):
        command(priority=given)


def test_a_fallback_keeps_it_and_a_redrive_may_change_it():
    config = ChannelConfig.model_validate({"fallback": {"channel": "sms"}})
    fallbacks = Fallbacks({EMAIL: config})
    sent = command(priority="bulk", critical=True, addresses={"sms": "+1"})
    instead = fallbacks.instead_of(sent, 0, None)
    assert instead is not None
    assert (instead.priority, instead.critical) == (Priority.BULK, True)
    delivery = Delivery(sent, 0, 0, redrives=RedriveRecord(0))
    delivery.note_redrive(checked_edit(sent, {"priority": "critical"}), without_operator=False)
    assert delivery.command.priority is Priority.CRITICAL
    assert delivery.redrives == RedriveRecord(0, accepted=sent, edits=0)  # the provider sees the same, so the key stays
    with pytest.raises(EditRefused, match="priority"):
        checked_edit(sent, {"priority": "urgent"})


def test_redrives_that_wait_go_by_class():
    class Letter:
        def __init__(self, name, priority):
            self.notification_id = name
            self.command = command(priority=priority, subject=name)

    line = Redrives()
    for name, priority, edit in [("a", "bulk", {}), ("b", "normal", {}), ("c", "bulk", {"priority": "critical"})]:
        line.wait(Redrive(letter=Letter(name, priority), edit=edit))
    assert [line.take().letter.command.subject for _ in range(len(line))] == ["c", "b", "a"]


def test_a_subscriber_gives_the_class_of_what_has_none_of_its_own():
    def scenario(world):
        world.open()

        @world.pipeline.bus.subscribe(OrderPlaced, priority="bulk")
        def promote(_):
            own = {"a": None, "b": "critical", "c": "normal"}
            return [email(name, priority=priority) for name, priority in own.items()] + [email("d", critical=True)]

        world.at(0, world.pipeline.bus.publish, PLACED)

    world = simulate(scenario)
    classes = {each.notification_id: each.command.priority for each in world.provider.tries}
    assert [classes[name] for name in "abcd"] == ["bulk", "critical", "bulk", "bulk"]


@pytest.mark.parametrize(("given", "asked"), [((), "normal"), (("bulk",), "bulk"), (("bulk", "critical"), "critical")])
def test_an_event_has_room_if_the_most_urgent_of_its_subscribers_has(given, asked):
    asks = []

    def scenario(world):
        bus = world.open().bus
        bus.has_room = lambda priority: bool(asks.append(priority))
        functions = [bus.subscribe(str, priority=name)(lambda _, name=name: name) for name in given or (None,)]

        def ask():
            with pytest.raises(Overloaded):
                bus.publish("")
            for function in functions[1:]:
                bus.unsubscribe(function)
            assert not bus.has_room_for("")

        world.at(0, ask)
        with pytest.raises(WrongType, match="priority"):
            bus.subscribe(int, priority="urgent")

    simulate(scenario)
    assert asks == [asked, given[0] if given else "normal"]
