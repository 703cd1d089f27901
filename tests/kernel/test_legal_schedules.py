"""Whatever a schedule chooses, actors are given what they are promised: random programs under random schedules."""

import itertools
from collections import defaultdict, deque
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given, strategies as st
from test_random_programs import TO, Narrow, Player, Strict, scripts

from actors.errors import MailboxFull
from actors.kernel.actor import Actor, handles
from simulation.engine.schedules import PCT, Deviations, ExploringSystem, RandomWalk, search
from simulation.engine.system import SimulatedSystem

schedules = st.one_of(
    st.integers(0, 1000).map(lambda seed: lambda: RandomWalk(Random(seed))),
    st.tuples(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 60)).map(
        lambda drawn: lambda: PCT(Random(drawn[0]), depth=drawn[1], steps=drawn[2])
    ),
)


class Watched:
    """Passes everything on to the queue of an exploring system, and checks that it keeps each actor's own order."""

    def __init__(self, queue):
        self.queue = queue
        self.own = defaultdict(deque)

    def __bool__(self):
        assert bool(self.queue) is any(self.own.values())
        return bool(self.queue)

    def append(self, ready):
        self.own[ready[0]].append(ready[1])
        self.queue.append(ready)

    def appendleft(self, ready):
        self.own[ready[0]].appendleft(ready[1])
        self.queue.appendleft(ready)

    def popleft(self):
        actor, message = self.queue.popleft()
        assert message is self.own[actor].popleft()
        return actor, message


class WatchedSystem(ExploringSystem):
    """Checks besides that timers fire in the order in which they were set."""

    def __init__(self, schedule):
        super().__init__(schedule)
        self._ready = Watched(self._ready)
        self.set = {}
        self.latest = (0, -1)

    def set_timer(self, instant_ns, actor, message):
        return self.noted(max(instant_ns, self.now_ns), super().set_timer(instant_ns, actor, message))

    def perform(self, actor, effect, request, timeout_ns=None, on_timeout=None):
        timer = super().perform(actor, effect, request, timeout_ns, on_timeout)
        return timer if timer in self.set else self.noted(timer.message.ended_ns, timer)

    def noted(self, instant_ns, timer):
        self.set[timer] = (instant_ns, len(self.set))
        return timer

    def fires(self, timer):
        assert self.set[timer] > self.latest
        self.latest = self.set[timer]
        assert self.latest[0] == self.env.now

    def _fire(self, timer):
        self.fires(timer)
        super()._fire(timer)

    def _fire_next(self):
        self.fires(self.env._queue[0][3])
        super()._fire_next()


def play(system, opening):
    """Run a program of tests/kernel/test_random_programs.py, and return what its actors noted."""
    cast, trace = [], []
    with system:
        for name, kind in enumerate((Player, Player, Narrow, Strict)):
            cast.append(system.spawn(kind, name, trace, cast))
        for to, script in opening:
            try:
                cast[to].tell(script)
            except MailboxFull:
                trace.append("full")
        system.run(until=1000.0)
    return trace


openings = st.lists(st.tuples(TO, scripts), min_size=1, max_size=8)


@given(openings, schedules)
def test_each_actor_takes_its_own_messages_in_the_order_in_which_they_were_told(opening, make):
    trace = play(WatchedSystem(make()), opening)
    at = [entry[2] for entry in trace if isinstance(entry, tuple)]
    assert at == sorted(at)


@given(openings)
def test_without_deviations_the_order_is_the_normal_one(opening):
    assert play(ExploringSystem(Deviations()), opening) == play(SimulatedSystem(), opening)


@given(openings, schedules)
def test_a_run_is_done_again_by_its_deviations(opening, make):
    schedule = make()
    trace = play(ExploringSystem(schedule), opening)
    again = Deviations(schedule.deviations)
    assert play(ExploringSystem(again), opening) == trace
    assert (again.deviations, again.widths) == (schedule.deviations, schedule.widths)


# ── timers ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Writer(Actor):
    def __init__(self, written):
        super().__init__()
        self.written = written

    @handles(str)
    def on_text(self, text):
        self.written.append(text)
        if text.endswith("+"):
            self.actor_ref.tell(text[:-1])


def orders_of(program, most_deviations=5):
    """Return all orders in which a program that is given two actors can have them write."""
    orders = set()

    def run(schedule):
        written = []
        system = ExploringSystem(schedule)
        refs = [system.spawn(Writer, written) for _ in range(2)]
        for ref in refs:
            system._lifecycle.start_incarnation(ref.actor)
        system._ready._queues.clear()  # their beginnings: only what is written is to be ordered
        program(system, *refs)
        system.run()
        orders.add(tuple(written))

    for explored in search(run, most_deviations=most_deviations):
        assert explored.breach is None
    return orders


def set_timers(*timers):
    def program(system, *refs):
        for at, which, text in timers:
            system.set_timer(at, refs[which].actor, text)

    return program


def test_what_follows_from_timers_of_one_instant_may_mix():
    found = orders_of(set_timers((5, 0, "a+"), (5, 1, "b+")))
    letters = ["a+", "a", "b+", "b"]
    legal = {
        order
        for order in itertools.permutations(letters)
        if order.index("a+") < order.index("a") and order.index("b+") < order.index("b")
    }
    assert found == legal


def test_timers_of_one_actor_fire_in_the_order_in_which_they_were_set():
    assert orders_of(set_timers((5, 0, "one"), (5, 0, "two"), (5, 0, "three"))) == {("one", "two", "three")}


def test_a_timer_set_first_fires_first_but_may_be_handled_last():
    found = orders_of(set_timers((5, 0, "a1"), (5, 1, "b1"), (5, 0, "a2"), (5, 1, "b2")))
    assert len(found) == 6  # all that keep each actor's own
    assert ("b1", "b2", "a1", "a2") in found


def test_what_follows_from_one_instant_is_over_before_the_next():
    found = orders_of(set_timers((5, 0, "a+"), (6, 1, "b+")))
    assert found == {("a+", "a", "b+", "b")}


def test_a_timer_that_was_cancelled_is_no_choice():
    def program(system, one, other):
        system.set_timer(5, one.actor, "one")
        system.set_timer(5, other.actor, "cancelled").cancel()
        system.set_timer(5, other.actor, "other")

    assert orders_of(program) == {("one", "other"), ("other", "one")}


def test_no_timer_fires_behind_the_end_of_a_run():
    class Last(Writer):
        @handles(int)
        def on_number(self, _):
            self.system.stop()
            self.actor_ref.tell("last")

    for seed in range(20):
        written = []
        system = ExploringSystem(RandomWalk(Random(seed)))
        last = system.spawn(Last, written)
        system.run()
        system.set_timer(5, last.actor, 1)
        system.set_timer(5, last.actor, "too late")
        system.run()
        assert written in (["last"], ["too late", "last"])


def test_a_process_of_the_users_has_its_turn_among_timers():
    for seed in range(10):
        written = []
        system = ExploringSystem(RandomWalk(Random(seed)))
        ref = system.spawn(Writer, written)

        def process(system, ref):
            yield system.env.timeout(5)
            ref.tell("process")

        system.set_timer(5, ref.actor, "before+")
        system.env.process(process(system, ref))
        system.run(until_ns=1)
        system.set_timer(5, ref.actor, "after")
        system.run()
        assert sorted(written) == ["after", "before", "before+", "process"]
        assert written[0] == "before+"


# ── what an actor can see of it: senders that number what they tell ─────────────────────────────────────────────


@dataclass(frozen=True)
class Numbered:
    sender: str
    number: int
    hops: int


@dataclass(frozen=True)
class Tick:
    number: int


class Gossip(Actor):
    """Tells all its numbers, at once and by timers, and checks that those of each of the others rise."""

    def __init__(self, name, all_actors, random, checked):
        super().__init__()
        self.name, self.all_actors, self.random, self.checked = name, all_actors, random, checked
        self.sent_count = 0
        self.received: dict[str, int] = {}
        self.ticks = 0

    def check(self, message):
        assert message.number > self.received.get(message.sender, 0)
        self.received[message.sender] = message.number
        self.checked.append(message)

    def tell_on(self, hops):
        for _ in range(2):
            self.sent_count += 1
            self.random.choice(self.all_actors).tell(Numbered(self.name, self.sent_count, hops - 1))

    @handles(Numbered)
    def on_numbered(self, message):
        self.check(message)
        if message.hops:
            self.tell_on(message.hops)
            for _ in range(2):
                self.ticks += 1
                self.after(1.0, Tick(self.ticks))

    @handles(Tick)
    def on_tick(self, tick):
        self.check(Numbered("clock", tick.number, 0))


class SlowGossip(Gossip):
    @handles(Numbered)
    async def on_numbered(self, message):
        self.check(message)
        if message.hops:
            self.tell_on(message.hops)
            await self.sleep(self.random.choice([0.0, 1.0]))


@pytest.mark.parametrize("kinds", [(Gossip, Gossip, Gossip), (Gossip, SlowGossip, SlowGossip)], ids=["plain", "async"])
@given(make=schedules)
def test_messages_from_one_to_another_arrive_in_order_and_so_do_timers(kinds: Any, make: Any):
    """A failed check would fail the run: an actor that raises is stopped here, and what is sent to it is counted."""
    all_actors, checked = [], []
    with ExploringSystem(make()) as system:
        for name, kind in enumerate(kinds):
            all_actors.append(system.spawn(kind, str(name), all_actors, Random(name), checked))
        for ref in all_actors:
            ref.tell(Numbered("outside", 1, 4))
        failures = []
        system.record = failures.append
        system.run()
    assert failures == []
    assert len(checked) > 50
