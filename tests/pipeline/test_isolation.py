"""What may have ended its process is sent alone, and is dead-lettered when it has done so three times."""

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from timetables import send_at
from worlds import EMAIL, SMS, Scripted, email, on_both_clocks, simulate

from actors.domain import caution
from actors.domain.caution import Caution
from actors.kernel.effects import Foreseen
from actors.messages import NotificationMovedToDeadLetter, NotificationRequested
from actors.outcomes import Transient
from actors.storage.memory import MemoryStore

UNKNOWN, SUSPECT = Caution(), Caution(suspicions=1)


class Left(MemoryStore):
    """What a process has left that died; a mark takes some time to be durable."""

    outlives_process = True

    def __init__(self, commands, cautions, write_s=0.001):
        super().__init__()
        for command in commands:
            event = NotificationRequested(
                at_ns=0,
                epoch_ns=0,
                notification_id=command.notification_id,
                channel=command.channel,
                user_id=command.recipient,
            )
            self.commit(event, command)
        self.cautions = dict(cautions)
        self.marks = []
        self._write_ns = round(write_s * 1e9)

    def mark(self, notification_id, *, alone):
        self.marks.append((notification_id, alone))
        return Foreseen(self._write_ns, None)

    def mark_as_not_alone(self, notification_id):
        self.marks.append((notification_id, "no more"))
        return Foreseen(self._write_ns, None)


class Watched(Scripted):
    """Notes when each attempt begins and ends."""

    def __init__(self, outcomes=(), latency=1.0):
        super().__init__(outcomes, latency)
        self.spans = []

    def attempt(self, attempt, now_ns):
        effect = super().attempt(attempt, now_ns)
        self.spans.append((attempt.command.notification_id, now_ns / 1e9, (now_ns + effect.delay_ns) / 1e9))
        return effect


def commands(*names):
    return [email(name) for name in names]


def test_a_suspect_is_sent_while_nothing_else_is_under_way_on_any_channel():
    runs = []

    def scenario(world):
        known = [*commands("a", "b"), email("c", channel=SMS)]
        store, provider = Left(known, {"a": UNKNOWN, "b": SUSPECT, "c": UNKNOWN}), Watched()
        runs.append((store, provider))
        world.open(dict.fromkeys((EMAIL, SMS), provider), store=store, email={}, sms={})
        world.send(email("new"), at=0.5)

    world = on_both_clocks(scenario)
    store, provider = runs[0]
    begun = [(name, round(begin, 2)) for name, begin, _ in provider.spans]
    assert sorted(begun) == [("a", 0.0), ("b", 1.0), ("c", 0.0), ("new", 2.0)]
    assert sorted(store.marks) == [("a", False), ("b", True), ("c", False)]
    assert sorted(world.sent_ids()) == ["a", "b", "c", "new"]


def test_nothing_is_marked_and_nothing_waits_where_no_process_has_died():
    store = Left(commands("a", "b"), {})
    provider = Watched()

    world = send_at({}, run=simulate, opens=lambda world: world.open(provider, store=store, email={}))
    assert store.marks == []
    assert [round(begin, 1) for _, begin, _ in provider.spans] == [0.0, 0.1]  # at the pace of resuming
    assert sorted(world.sent_ids()) == ["a", "b"]


@pytest.mark.parametrize(("suspicions", "others_at"), [(1, 2.0), (2, 8.0), (3, 32.0)])
def test_the_others_wait_for_some_time_only_and_longer_each_time_in_a_row(suspicions, others_at):
    store = Left(commands("a"), {"a": Caution(suspicions=suspicions)}, write_s=0.0)
    provider = Watched(latency=lambda attempt: 100.0 if attempt.notification_id == "a" else 1.0)

    sends = {1: email("new")}
    world = send_at(sends, run=simulate, opens=lambda world: world.open(provider, store=store, email={"timeout": "5m"}))
    assert {name: begin for name, begin, _ in provider.spans} == {"a": 0.0, "new": others_at}
    assert store.marks == [("a", True), ("a", "no more")]
    assert sorted(world.sent_ids()) == ["a", "new"]


def test_what_has_waited_too_long_for_its_turn_is_not_sent():
    store = Left(commands("a"), {"a": Caution(suspicions=2)}, write_s=0.0)
    provider = Watched(latency=lambda attempt: 100.0 if attempt.notification_id == "a" else 1.0)

    sends = {1: [email("in time", expires_after=8.0), email("too late", expires_after=6.0)]}
    world = send_at(sends, run=simulate, opens=lambda world: world.open(provider, store=store, email={"timeout": "5m"}))
    assert {name: begin for name, begin, _ in provider.spans} == {"a": 0.0, "in time": 8.0}
    assert [letter.notification_id for letter in world.letters] == ["too late"]
    assert world.reasons == ["expired"]


def test_an_outcome_ends_the_suspicion():
    store = Left(commands("a"), {"a": SUSPECT})
    provider = Watched([Transient(reason="busy")])

    world = send_at({}, run=simulate, opens=lambda world: world.open(provider, store=store, email={}))
    assert [name for name, _, _ in provider.spans] == ["a", "a"]
    assert store.marks == [("a", True)]
    assert world.sent_ids() == ["a"]


@pytest.mark.parametrize("deaths", [1, 2])
def test_what_has_been_counted_waits_before_it_is_tried_again_and_holds_up_no_one_meanwhile(deaths):
    store = Left(commands("a", "b"), {"a": Caution(3, deaths), "b": UNKNOWN}, write_s=0.0)
    provider = Watched()

    send_at({}, run=simulate, opens=lambda world: world.open(provider, store=store, email={}))
    assert [(name, begin) for name, begin, _ in provider.spans] == [("b", 0.0), ("a", deaths * caution.PAUSE_S)]


def test_what_has_been_counted_three_times_is_dead_lettered_unsent():
    store = Left(commands("a", "b"), {"a": Caution(5, 3), "b": SUSPECT})
    provider = Watched()

    world = send_at({}, run=simulate, opens=lambda world: world.open(provider, store=store, email={}))
    assert [name for name, _, _ in provider.spans] == ["b"]
    assert world.times(NotificationMovedToDeadLetter) == [0.0]
    assert world.reasons == ["its process has ended three times while nothing else was being sent"]


def test_a_restart_of_the_handler_is_no_death_of_the_process():
    store = Left(commands("a"), {"a": SUSPECT})

    sends = {5: email("b"), 5.5: lambda world: world.pipeline.handler.tell("nonsense")}
    world = send_at(sends, run=simulate, opens=lambda world: world.open(Watched(), store=store, email={}))
    assert store.marks == [("a", True)]
    assert set(world.sent_ids()) == {"a", "b"}


def test_a_copy_of_a_suspect_is_no_other_attempt():
    store = Left(commands("a"), {"a": SUSPECT}, write_s=0.0)
    provider = Watched(latency=1.5)

    settings = {"hedging": {"delay": "500ms", "max_attempts": 2}}
    sends = {1: email("new")}
    world = send_at(sends, run=simulate, opens=lambda world: world.open(provider, store=store, email=settings))
    starts = [(name, begin) for name, begin, _ in provider.spans]
    assert starts[:2] == [("a", 0.0), ("a", 0.5)]
    assert starts[2] == ("new", 1.5)
    assert set(world.sent_ids()) == {"a", "new"}


@settings(max_examples=examples(60), deadline=None)
@given(
    left=st.lists(st.tuples(st.sampled_from([None, UNKNOWN, SUSPECT]), st.sampled_from([EMAIL, SMS])), max_size=8),
    new=st.lists(st.tuples(st.floats(0, 5), st.sampled_from([EMAIL, SMS])), max_size=5),
    latencies=st.lists(st.floats(0.001, 1.5), min_size=1, max_size=5),
    slots=st.integers(1, 3),
)
def test_the_law_of_isolation(left, new, latencies, slots):
    known = [email(f"old-{number}", channel=channel) for number, (_, channel) in enumerate(left)]
    cautions = {f"old-{number}": caution for number, (caution, _) in enumerate(left) if caution is not None}
    store = Left(known, cautions)
    provider = Watched(latency=lambda attempt: latencies[sum(attempt.notification_id.encode()) % len(latencies)])

    def scenario(world):
        world.open(
            dict.fromkeys((EMAIL, SMS), provider),
            store=store,
            email={"max_in_flight": slots},
            sms={},
        )
        for number, (at, channel) in enumerate(new):
            world.send(email(f"new-{number}", channel=channel), at=at)

    world = simulate(scenario)
    assert len(world.sent_ids()) == len(known) + len(new)
    suspects = {name for name, caution in cautions.items() if caution is SUSPECT}
    for name, begin, end in provider.spans:
        if name in suspects:
            beside = [other for other, start, stop in provider.spans if other != name and start < end and stop > begin]
            assert not beside, f"{beside} beside {name}"
    assert [name for name, _ in store.marks] == [name for name, _, _ in provider.spans if name in cautions]


@pytest.mark.parametrize("hedging", [None, {"delay": "500ms", "max_attempts": 2}])
def test_what_has_waited_for_its_turn_for_too_long_is_not_sent(hedging):
    store = Left(commands("a"), {"a": SUSPECT})
    provider = Watched(latency=lambda attempt: 1.8 if attempt.notification_id == "a" else 0.1)

    def scenario(world):
        world.open(provider, store=store, email={"max_in_flight": 2, **({"hedging": hedging} if hedging else {})})
        world.send(email("late", expires_after=0.5), at=1)
        world.send(email("in time", expires_after=2), at=1.1)
        world.send(email("later"), at=1.2)

    world = simulate(scenario)
    assert "late" not in {name for name, _, _ in provider.spans}
    assert set(world.sent_ids()) == {"a", "in time", "later"}
    assert world.reasons == ["expired"]
    assert "late" not in {name for name, *_ in store.marks}
