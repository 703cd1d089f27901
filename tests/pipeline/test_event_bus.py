"""The event bus: several subscribers to an event, isolated from each other and from the notifications."""

import pytest
from worlds import OK, PLACED, Recommended, Scripted, World, email, on_both_clocks, simulate

from actors.errors import NotifierClosed, RetrylabError, WrongType
from actors.instants import ns
from actors.messages import (
    ActorFailed,
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
    OrderPlaced,
    SendNotification,
)
from actors.outcomes import ChannelFault, DeadDestination, Permanent
from actors.pipeline.dead_letter_queue import DiscardDeadLetter, RedriveDeadLetter
from actors.pipeline.preferences import Preferences, SwitchedOff
from actors.storage.lossy import LossyStore


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

        refs = [ref for function, ref, _ in bus._subscribers[OrderPlaced] if function is receive]
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

        refs = [ref for function, ref, _ in bus._subscribers[OrderPlaced] if function is receive]
        for _ in range(20):
            world.at(0, world.system.crash, refs[0], RuntimeError("injected"))
        world.at(1, lambda: world.note_answer(bus.publish(PLACED)))

    world = on_both_clocks(scenario)
    assert world.notes == ["received", None]
