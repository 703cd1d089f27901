"""Schedules: what they find, how they are done again, and what they cannot be used for."""

import itertools
import math
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from effort import sliced

from actors.errors import ActorSystemError
from actors.kernel.actor import Actor, handles
from simulation.engine.schedules import (
    PCT,
    Deviations,
    ExploringSystem,
    RandomWalk,
    Schedule,
    search,
    search_result,
    shrink,
)

# ── programs: a lost update, the same fixed; a bug that takes two constraints; one that only starvation brings out ─


@dataclass(frozen=True)
class Deposit:
    pass


@dataclass(frozen=True)
class Read:
    reply_to: Any = None


@dataclass(frozen=True)
class Balance:
    value: int


@dataclass(frozen=True)
class Write:
    value: int


@dataclass(frozen=True)
class Add:
    pass


class Account(Actor):
    balance = 0

    @handles(Read)
    def on_read(self, read):
        if read.reply_to is not None:
            read.reply_to.tell(Balance(self.balance))
        return self.balance

    @handles(Write)
    def on_write(self, write):
        self.balance = write.value

    @handles(Add)
    def on_add(self, _):
        self.balance += 1


class Clerk(Actor):
    """Reads, then writes: what another writes in between is lost."""

    def __init__(self, account):
        super().__init__()
        self.account = account

    @handles(Deposit)
    def on_deposit(self, _):
        self.account.tell(Read(self.actor_ref))

    @handles(Balance)
    def on_balance(self, balance):
        self.account.tell(Write(balance.value + 1))


class AsyncClerk(Clerk):
    @handles(Deposit)
    async def on_deposit(self, _):
        balance = await self.account.ask(Read(), block=False)
        self.account.tell(Write(balance + 1))


class CheckingClerk(Clerk):
    """Leaves reading and writing to the account."""

    @handles(Deposit)
    def on_deposit(self, _):
        self.account.tell(Add())


class Relay(Actor):
    def __init__(self, to):
        super().__init__()
        self.to = to

    @handles(Deposit)
    def on_deposit(self, deposit):
        self.to.tell(deposit)


def deposits(clerk, relays=2):
    """Two deposits, the second of which takes so long that in the normal order the first has ended by then."""

    def run(schedule):
        system = ExploringSystem(schedule)
        account = system.spawn(Account)
        first, second = (system.spawn(clerk, account) for _ in range(2))
        for _ in range(relays):
            second = system.spawn(Relay, second)
        system.run()
        first.tell(Deposit())
        second.tell(Deposit())
        system.run()
        assert account.actor.balance == 2

    return run


ASYNC_TAKES = 3  # an answer that is awaited is a turn of its own, so the first deposit takes longer
BUGGY = pytest.mark.parametrize("run", [deposits(Clerk), deposits(AsyncClerk, ASYNC_TAKES)], ids=["plain", "async"])


class Gate(Actor):
    """Opens, and shuts in its next turn."""

    is_open = False

    @handles(int)
    def on_number(self, number):
        self.is_open = number > 0
        if number:
            self.actor_ref.tell(number - 1)


class Thief(Actor):
    def __init__(self, gate):
        super().__init__()
        self.gate, self.got_in = gate, False

    @handles(Deposit)
    def on_deposit(self, _):
        self.got_in = self.gate.is_open


def theft(schedule):
    """A bug of depth 2: opening, then the thief, then shutting, the two of which are of one actor."""
    system = ExploringSystem(schedule)
    gate = system.spawn(Gate)
    thief = system.spawn(Thief, gate.actor)
    last = thief
    for _ in range(3):
        last = system.spawn(Relay, last)
    system.run()
    gate.tell(1)
    last.tell(Deposit())
    system.run()
    assert not thief.actor.got_in


class Patient(Actor):
    """Counts to many, by telling itself so."""

    def __init__(self, done):
        super().__init__()
        self.done = done

    @handles(int)
    def on_number(self, number):
        if number:
            self.actor_ref.tell(number - 1)
        else:
            self.done.append("patient")


class Quick(Actor):
    def __init__(self, done):
        super().__init__()
        self.done = done

    @handles(int)
    def on_number(self, _):
        self.done.append("quick")


def starvation(schedule):
    done = []
    system = ExploringSystem(schedule)
    patient, quick = system.spawn(Patient, done), system.spawn(Quick, done)
    system.run()
    patient.tell(15)
    quick.tell(0)
    system.run()
    assert done == ["quick", "patient"]


def breaks(run, schedule):
    try:
        run(schedule)
    except AssertionError:
        return True
    return False


# ── schedules ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("run", [theft, deposits(Clerk), deposits(AsyncClerk, ASYNC_TAKES), starvation])
def test_the_normal_order_has_no_deviations_and_does_not_break(run):
    schedule = Deviations()
    run(schedule)
    assert schedule.deviations == []
    assert schedule.decisions > 0
    assert min(schedule.widths) >= 2


@BUGGY
def test_a_random_walk_is_done_again_by_its_deviations(run):
    found = 0
    for seed in range(100):
        walk = RandomWalk(Random(seed))
        broke = breaks(run, walk)
        again = Deviations(walk.deviations)
        assert breaks(run, again) is broke
        assert (again.deviations, again.widths, again.missed) == (walk.deviations, walk.widths, [])
        found += broke
    assert 0 < found < 100


def chance_of_so_few(found, runs, probability):
    """Return the probability of at most so many successes in independent trials."""
    return sum(math.comb(runs, n) * probability**n * (1 - probability) ** (runs - n) for n in range(found + 1))


@pytest.mark.parametrize("run", sliced([theft, deposits(Clerk), deposits(AsyncClerk, ASYNC_TAKES)], 6))
def test_pct_finds_a_bug_of_depth_2_as_often_as_it_promises(run):
    normal = Deviations()
    run(normal)
    runs, found, bounds = 800, 0, []
    for seed in range(runs):
        schedule = PCT(Random(seed), depth=2, steps=normal.decisions)
        found += breaks(run, schedule)
        bounds.append(schedule.bound)
    assert max(bounds) <= 1 / (5 * normal.decisions)
    assert chance_of_so_few(found, runs, max(bounds)) > 1e-6


def test_pct_needs_the_depth_of_a_bug():
    assert not any(breaks(theft, PCT(Random(seed), depth=1, steps=20)) for seed in range(200))


def test_pct_starves_whom_a_random_walk_does_not():
    normal = Deviations()
    starvation(normal)
    runs = 300
    found = sum(breaks(starvation, PCT(Random(seed), depth=1, steps=normal.decisions)) for seed in range(runs))
    assert chance_of_so_few(found, runs, 1 / 2) > 1e-6
    assert not any(breaks(starvation, RandomWalk(Random(seed))) for seed in range(runs))


def test_pct_promises_by_the_actors_it_has_seen():
    schedule = PCT(Random(1), depth=3, steps=10)
    deposits(Clerk)(schedule)
    assert schedule.bound == 1 / (5 * 10**2)


def test_a_priority_changes_for_the_one_that_would_be_next():
    """Two actors, two changes at the one decision there may be: the first comes to the one, the second to the other."""
    for seed in range(20):
        schedule = PCT(Random(seed), depth=3, steps=1)
        schedule.decide(["one", "other"])
        assert sorted(schedule._priorities.values()) == [1 / 3, 2 / 3]


# ── searches ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_search_finds_the_bug_with_one_deviation():
    found = search_result(search(deposits(Clerk), most_deviations=2), most_deviations=2)
    assert len(found.deviations) == 1
    assert breaks(deposits(Clerk), Deviations(found.deviations))
    (step, choice) = found.deviations[0]
    assert str(found).startswith(
        f"breach with 1 deviation [({step}, {choice})], in schedule {found.runs}: AssertionError"
    )


def test_a_search_finds_a_bug_of_depth_2():
    found = search_result(search(theft, most_deviations=3), most_deviations=3)
    assert found.breach is not None
    assert all(each.breach is None for each in search(theft, most_deviations=len(found.deviations) - 1))


def test_a_search_finds_what_an_async_handler_does_between_its_waits():
    run = deposits(AsyncClerk, ASYNC_TAKES)
    found = search_result(search(run, most_deviations=2), most_deviations=2)
    assert found.breach is not None
    assert breaks(run, Deviations(found.deviations))


def test_a_search_shows_that_the_mended_program_has_no_bug():
    found = search_result(search(deposits(CheckingClerk), most_deviations=2), most_deviations=2)
    assert found.breach is None
    assert str(found) == f"no breach with 2 deviations, in any of {found.runs:,} schedules"


def test_a_search_runs_each_schedule_once_the_fewest_deviations_first():
    explored = list(search(deposits(CheckingClerk), most_deviations=2))
    orders = [each.deviations for each in explored]
    assert len(set(orders)) == len(orders)
    counts = [len(order) for order in orders]
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2}


class Starter(Actor):
    def __init__(self, done, name):
        super().__init__()
        self.done, self.name = done, name

    @handles(int)
    def on_number(self, number):
        self.done.append((self.name, number))


def test_a_search_with_enough_deviations_meets_every_legal_order():
    """Three actors with two messages each: all orders that keep each one's own, 6! / (2! 2! 2!) of them."""
    orders = []

    def run(schedule):
        done = []
        system = ExploringSystem(schedule)
        names = "abc"
        refs = [system.spawn(Starter, done, name) for name in names]
        for actor in [ref.actor for ref in refs]:
            system._lifecycle.start_incarnation(actor)
        system._ready._queues.clear()  # their beginnings: only the numbers are to be ordered
        for number, ref in itertools.product(range(2), refs):
            ref.tell(number)
        system.run()
        orders.append(tuple(done))

    found = search_result(search(run, most_deviations=5), most_deviations=5)
    assert found.runs == len(orders) == len(set(orders)) == 90
    assert all(
        [number for name, number in order if name == which] == [0, 1] for order in orders for which in "abc"
    )  # fmt: skip


def test_a_run_that_is_another_each_time_cannot_be_searched():
    runs = itertools.count()

    def run(schedule):
        system = ExploringSystem(schedule)
        for _ in range(4 - min(next(runs), 2)):
            system.spawn(Account)
        system.run()

    with pytest.raises(ActorSystemError, match="the same when it is done again"):
        list(search(run, most_deviations=1))


@BUGGY
def test_what_a_random_walk_finds_shrinks_to_what_matters(run):
    walk = next(walk for walk in map(RandomWalk, map(Random, range(100))) if breaks(run, walk))
    shrunk = shrink(run, walk.deviations)
    assert isinstance(shrunk.breach, AssertionError)
    assert len(shrunk.deviations) < len(walk.deviations)
    for left_out in range(len(shrunk.deviations)):
        assert not breaks(run, Deviations(shrunk.deviations[:left_out] + shrunk.deviations[left_out + 1 :]))


def test_what_does_not_break_does_not_shrink():
    with pytest.raises(ValueError, match="wanted deviations with which the run breaks"):
        shrink(deposits(CheckingClerk), [(0, 1)])


# ── misuse ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_is_good_for_one_run():
    walk = RandomWalk(Random(1))
    deposits(CheckingClerk)(walk)
    with pytest.raises(ValueError, match="a new one for each run"):
        ExploringSystem(walk)


@pytest.mark.parametrize("deviations", [[(-1, 1)], [(0, 0)], [(3, 1), (3, 2)], [(3, 1), (2, 1)]])
def test_deviations_have_to_be_in_order(deviations):
    with pytest.raises(ValueError, match="wanted decisions from 0 on, rising"):
        Deviations(deviations)


def test_what_cannot_be_done_any_more_is_reported():
    schedule = Deviations([(0, 1), (1, 500), (10_000, 1)])
    deposits(CheckingClerk)(schedule)
    assert (schedule.deviations, schedule.missed) == ([(0, 1)], [(1, 500), (10_000, 1)])


@pytest.mark.parametrize("choice", [-1, 100])
def test_a_choice_that_is_not_there_is_an_error(choice):
    class Wrong(Schedule):
        def choose(self, ready):
            return choice

    with pytest.raises(ActorSystemError, match=f"got {choice}"):
        deposits(CheckingClerk)(Wrong())


@pytest.mark.parametrize(("depth", "steps"), [(0, 5), (1, 0)])
def test_pct_wants_a_depth_and_steps(depth, steps):
    with pytest.raises(ValueError, match="wanted at least 1, got 0"):
        PCT(Random(0), depth, steps)
