"""Slots that notifications hold between their attempts, as retries in the worker's own process do."""

from collections import Counter
from datetime import timedelta
from typing import Any
from zlib import crc32

from hypothesis import given, settings, strategies as st
from timetables import send_at
from worlds import EMAIL, OK, START, Scripted, Try, World, email, on_both_clocks, run_on_trio, simulate

from actors.messages import BreakerTransitioned, NotificationFailed, NotificationSent, Priority
from actors.outcomes import Permanent, Transient
from actors.pipeline.cancelling import CancelNotification
from actors.storage.memory import MemoryStore

S = 1_000_000_000
DOWN = Transient(reason="down")
HOLDS = {"holds_slot": True, "max_attempts": 3, "initial_delay": 4.0, "backoff": "constant"}


def failing(*names: str) -> Any:
    """Return a provider's answers, by which the first two attempts of these fail."""
    return lambda this: DOWN if this.notification_id in names and this.number < 3 else OK


def of(fate: Any, *sends: tuple[str, float], until: float = 300, latency: float = 1.0, **given: Any) -> World:
    def scenario(world: World) -> None:
        world.open(
            Scripted(fate, latency=latency),
            email={"retry": HOLDS, "max_in_flight": 1, "circuit_breaker": {"enabled": False}, **given},
        )
        for name, at in sends:
            world.send(email(name), at=at)

    return on_both_clocks(scenario, until=until)


def tries(world: World) -> list[tuple[str, float]]:
    return [(each.notification_id, each.at) for each in world.provider.tries]


def test_a_slot_is_held_through_the_waits_and_free_at_the_end():
    world = of(failing("a"), ("a", 0), ("b", 2))
    assert tries(world) == [("a", 0), ("a", 5), ("a", 10), ("b", 11)]


def test_without_it_the_wait_leaves_the_slot_to_others():
    world = of(failing("a"), ("a", 0), ("b", 2), retry={**HOLDS, "holds_slot": False})
    assert tries(world) == [("a", 0), ("b", 2), ("a", 5), ("a", 10)]


def test_a_dead_letter_gives_it_back_and_so_does_what_is_final():
    world = of(lambda this: DOWN if this.notification_id == "a" else OK, ("a", 0), ("b", 2))
    assert tries(world)[-1] == ("b", 11)
    world = of([DOWN, Permanent(reason="no")], ("a", 0), ("b", 2))
    assert tries(world) == [("a", 0), ("a", 5), ("b", 6)]


def test_an_expiry_and_a_cancellation_give_it_back():
    world = send_at(
        {0: email("a"), 1: email("b"), 2.5: lambda world: world.ask(world.pipeline.handler, CancelNotification("a"))},
        failing("a"),
        latency=1.0,
        until=60,
        email={
            "retry": HOLDS,
            "max_in_flight": 1,
            "quota": {"rate": "1/3s"},
            "circuit_breaker": {"enabled": False},
        },
    )
    assert tries(world) == [("a", 0), ("b", 3)]
    world = of(failing("a"), ("a", 0), ("b", 1), retry={**HOLDS, "max_elapsed": 6.0}, quota={"rate": "1/7s"})
    assert tries(world) == [("a", 0), ("b", 7)]


def test_limits_before_the_first_attempt_hold_nothing():
    """With one slot and a quota, the second waits for the quota with no slot: the third one is critical, and passes."""

    settings = {"retry": HOLDS, "max_in_flight": 1, "quota": {"rate": "1/5s"}}
    world = send_at({0: email("a"), 1: email("b"), 2: email("c", critical=True)}, latency=0.5, until=60, email=settings)
    assert tries(world) == [("a", 0), ("c", 5), ("b", 10)]


def test_a_probe_is_taken_from_those_that_hold_a_slot():
    """Two are out as the breaker opens, and one is new: the probe is the one of the two that waits first."""
    down = {"a", "b"}

    def fate(this: Try) -> Any:
        return DOWN if this.notification_id in down and this.at < 10 else OK

    world = of(
        fate,
        ("a", 0),
        ("b", 0),
        ("c", 3),
        ("d", 3.5),
        max_in_flight=3,
        circuit_breaker={"failure_threshold": 2, "timeout": 20.0},
    )
    assert tries(world)[:4] == [("a", 0), ("b", 0), ("a", 21), ("b", 22)]
    assert {event.at_ns // S for event in world.events(BreakerTransitioned)} == {1, 21, 22}


def test_with_failover_the_slot_goes_along():
    """The retry goes to the other provider, and the slot of the first one is not free meanwhile."""
    providers = {"primary": Scripted([DOWN], latency=1.0), "backup": Scripted(latency=1.0)}

    def scenario(world: World) -> None:
        world.open(
            {EMAIL: providers},
            email={
                "retry": HOLDS,
                "max_in_flight": 1,
                "switch_after": 1,
                "circuit_breaker": {"enabled": False},
                "failover": {"backup": {"max_in_flight": 1}},
            },
        )
        world.send(email("a"))
        world.send(email("b"), at=2)
        world.send(email("c"), at=5.5)

    simulate(scenario, until=60)
    assert [(each.notification_id, each.at) for each in providers["primary"].tries] == [("a", 0), ("c", 6)]
    assert [(each.notification_id, each.at) for each in providers["backup"].tries] == [("b", 2), ("a", 5)]


def test_the_slot_of_its_tenant_is_held_too():
    sends = [
        (at, email(name, metadata={"tenant": tenant}))
        for name, tenant, at in (("a", "x", 0), ("b", "x", 2), ("c", "y", 3))
    ]
    settings = {"retry": HOLDS, "max_in_flight": 5, "tenant": {"max_in_flight": 1}}
    world = send_at(sends, failing("a"), latency=1.0, until=60, email=settings)
    assert tries(world) == [("a", 0), ("c", 3), ("a", 5), ("a", 10), ("b", 11)]


def test_after_a_restart_those_that_were_out_have_slots_before_newcomers():
    store = MemoryStore()

    def before(world: World) -> None:
        world.open(Scripted(lambda _: DOWN, latency=0.5), store=store, email={"retry": HOLDS, "max_in_flight": 2})
        for number in range(4):
            world.send(email(f"n{number}"))

    first = run_on_trio(before, until=2)
    assert [each.notification_id for each in first.failures] == ["n0", "n1"]

    def after(world: World) -> None:
        world.open(Scripted(latency=0.5), store=store, email={"retry": HOLDS, "max_in_flight": 2})
        world.send(email("new"))

    assert first.provider.ids == ["n0", "n1"]
    assert run_on_trio(after, until=60).provider.ids[:2] == ["n0", "n1"]


def test_after_a_restart_those_that_hold_slots_resume_before_a_backlog_that_waits_for_them():
    store = MemoryStore()
    email_channel = {"retry": HOLDS, "max_in_flight": 2}

    def before(world: World) -> None:
        world.open(Scripted(lambda _: DOWN, latency=0.5), store=store, email=email_channel)
        for number in range(60):
            world.send(email(f"n{number}", priority=Priority.BULK if number < 2 else Priority.CRITICAL))

    first = run_on_trio(before, until=2)
    assert {each.notification_id for each in first.failures} == {"n0", "n1"}

    def after(world: World) -> None:
        world.open(Scripted(latency=0.5), store=store, email=email_channel)

    # Ten a second resume. Whoever resumed in the order of arrival or of classes would find no slot until all had.
    assert run_on_trio(after, until=1.5, start=START + timedelta(seconds=10)).provider.ids[:2] == ["n0", "n1"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["a", "b", ""])), min_size=1, max_size=25),
    st.integers(1, 4),
    st.integers(0, 2**32),
)
def test_no_more_are_out_than_there_are_slots(sends, slots, seed):
    """From its first attempt to its end each holds a slot; all end, and none is free while any waits that may go."""

    def fate(this: Try) -> Any:
        return DOWN if crc32(f"{this.notification_id} {this.number} {seed}".encode()) % 3 else OK

    def scenario(world: World) -> None:
        retry = {**HOLDS, "jitter": "full"}
        world.open(
            Scripted(fate, latency=0.3),
            email={"retry": retry, "max_in_flight": slots, "circuit_breaker": {"failure_threshold": 3, "timeout": 5.0}},
        )
        for number, (at, tenant) in enumerate(sends):
            world.send(email(f"n{number}", metadata={"tenant": tenant} if tenant else {}), at=at / 10)

    world = simulate(scenario, until=3600)
    assert world.pipeline.in_flight == 0
    lane = world.pipeline.wiring.stages[EMAIL].lanes[0]
    assert (lane.in_flight, lane.reserved) == (0, 0)
    ended = {event.notification_id: event.at_ns for event in world.events(NotificationSent)}
    ended |= {letter.notification_id: letter.moved_at_ns for letter in world.letters}
    steps: Counter[int] = Counter()
    began: dict[str, int] = {}
    for each in world.provider.tries:
        began.setdefault(each.notification_id, each.at_ns)
    for name, at_ns in began.items():
        steps[at_ns] += 1
        steps[ended[name]] -= 1
    out = 0
    for at_ns in sorted(steps):
        out += steps[at_ns]
        assert out <= slots
    assert {event.notification_id for event in world.events(NotificationFailed)} <= set(ended)
