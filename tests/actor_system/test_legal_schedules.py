"""Whatever a schedule chooses, actors are given what they are promised: random programs under random schedules."""

from collections import defaultdict, deque
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_random_programs import TO, Narrow, Player, Strict, scripts

from actors.actor import Actor, handles
from actors.errors import MailboxFull
from simulation.schedules import PCT, Deviations, ExploringSystem, RandomWalk
from simulation.system import SimulatedSystem

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
    def __init__(self, schedule):
        super().__init__(schedule)
        self._ready = Watched(self._ready)

    def _fire(self, timer):
        assert not self._ready  # what follows from one timer is over before the next
        super()._fire(timer)


def play(system, opening):
    """Run a program of tests/actor_system/test_random_programs.py, and return what its actors noted."""
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
    """Tells everybody its numbers, at once and by timers, and checks that those of each of the others rise."""

    def __init__(self, name, everybody, random, checked):
        super().__init__()
        self.name, self.everybody, self.random, self.checked = name, everybody, random, checked
        self.told = 0
        self.heard: dict[str, int] = {}
        self.ticks = 0

    def check(self, message):
        assert message.number > self.heard.get(message.sender, 0)
        self.heard[message.sender] = message.number
        self.checked.append(message)

    def tell_on(self, hops):
        for _ in range(2):
            self.told += 1
            self.random.choice(self.everybody).tell(Numbered(self.name, self.told, hops - 1))

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
    everybody, checked = [], []
    with ExploringSystem(make()) as system:
        for name, kind in enumerate(kinds):
            everybody.append(system.spawn(kind, str(name), everybody, Random(name), checked))
        for ref in everybody:
            ref.tell(Numbered("outside", 1, 4))
        failures = []
        system.record = failures.append
        system.run()
    assert failures == []
    assert len(checked) > 50
