"""Actors that are watched: what one tells another keeps its order, and every question is settled; on both clocks."""

import heapq
from collections import deque
from types import SimpleNamespace

import msgspec
import pytest
import trio
import trio.testing

from actors.errors import InvariantBreach
from actors.kernel.actor import Actor, Mailbox, Supervision, handles
from actors.kernel.effects import Foreseen, Performed
from actors.kernel.live import LiveSystem
from actors.kernel.system import ActorSystem
from simulation.engine.system import SimulatedSystem
from simulation.invariants import Checker, Context

S = 1_000_000_000


class Number(msgspec.Struct, frozen=True):
    value: int


class Go(msgspec.Struct, frozen=True):
    receiver: object
    values: tuple


class Receiver(Actor):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    @handles(Number)
    def on_number(self, number):
        if number.value < 0:
            raise RuntimeError("a negative number")
        self.seen.append(number.value)
        return number.value


class SlowReceiver(Receiver):
    mailbox = Mailbox(capacity=100)

    @handles(Number)
    async def on_number(self, number):
        await self.sleep(0.1)
        self.seen.append(number.value)
        return number.value


class Mute(Actor):
    """Takes an hour over every answer."""

    supervision = Supervision(max_restarts=0, then="escalate")

    @handles(Number)
    async def on_number(self, number):
        await self.sleep(3600)


class Sender(Actor):
    @handles(Go)
    def on_go(self, go):
        for value in go.values:
            go.receiver.tell(Number(value))


def checker_of(*names):
    return Checker(names, Context(channels={}), record=lambda _: None)


def simulate(checker, program, until=60.0):
    system = SimulatedSystem(interceptors=checker.interceptors)
    checker.watch(system)
    with system:
        program(system)
        system.run(until=until)
    checker.end(system.now_ns)


def run_on_trio(checker, program, until=60.0):
    async def main():
        async with LiveSystem(interceptors=checker.interceptors) as system:
            checker.watch(system)
            program(system)
            await system.run(until=until)
        checker.end(system.now_ns)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


both_clocks = pytest.mark.parametrize("run", [simulate, run_on_trio])


@both_clocks
@pytest.mark.parametrize("receiver_class", [Receiver, SlowReceiver])
def test_a_watched_system_does_what_the_other_does(run, receiver_class):
    seen = []

    def program(system):
        receiver = system.spawn(receiver_class, seen)
        system.spawn(Sender).tell(Go(receiver, (1, 2, 3)))
        receiver.ask(Number(4), block=False)

    run(checker_of("order", "asks-settle"), program)
    assert sorted(seen) == [1, 2, 3, 4]


@both_clocks
def test_order_is_kept_over_a_restart(run):
    seen = []

    def program(system):
        system.spawn(Sender).tell(Go(system.spawn(Receiver, seen), (1, -1, 2, 3)))

    run(checker_of("order"), program)
    assert seen == [1, 2, 3]


class TurnedRound(deque):
    """A queue of ready messages in which the number 2 goes to the front."""

    def append(self, entry):
        if getattr(entry[1], "message", None) == Number(2):
            self.appendleft(entry)
        else:
            super().append(entry)


@both_clocks
def test_messages_that_overtake_each_other_are_a_breach(run):
    def program(system):
        system._ready = TurnedRound()
        system.spawn(Sender).tell(Go(system.spawn(Receiver, []), (1, 2)))

    with pytest.raises(InvariantBreach, match=r"the receiver handles a number \(value 1\) after what the sender"):
        run(checker_of("order"), program)


class Planner(Actor):
    """Has numbers come to itself at an instant, by timers and by effects; one planned at once is planned anew."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    @handles(Go)
    def on_go(self, go):
        for value in go.values:
            if value % 2:
                self.after(1.0, Number(value))
            else:
                self.perform(Foreseen(S, None), Number(value))
        again = Number(99)
        self.after(1.0, again).cancel()
        self.after(1.0, again)

    @handles(Number)
    def on_number(self, number):
        self.seen.append(number.value)

    @handles(Performed)
    def on_performed(self, performed):
        self.seen.append(performed.request.value)


def timers_checker():
    context = Context(channels={}, world=SimpleNamespace(schedule=None))
    return Checker(["timers-in-order"], context, record=lambda _: None)


@both_clocks
def test_what_is_due_at_one_instant_comes_in_the_order_in_which_it_was_set(run):
    seen = []
    run(timers_checker(), lambda system: system.spawn(Planner, seen).tell(Go(None, (1, 2, 3, 4))))
    assert seen == [1, 2, 3, 4, 99]


@both_clocks
def test_what_was_due_for_one_that_was_down_may_come_when_it_is_back_at_that_instant(run):
    seen = []

    def program(system):
        down, other = system.spawn(Planner, seen), system.spawn(Planner, seen)
        down.tell(Go(None, (1,)))
        other.tell(Go(None, (5,)))
        system.call_at(S // 2, lambda: system.crash(down, RuntimeError("down"), 0.5))

    run(timers_checker(), program)
    assert seen == [5, 99, 1, 99]


def test_an_answer_that_passes_timers_is_a_breach(monkeypatch):
    monkeypatch.setattr("simulation.engine.system.SimulatedSystem.perform", _first_of_all)
    with pytest.raises(InvariantBreach, match=r"the planner gets a number \(value 1\) after what was set for this"):
        simulate(timers_checker(), lambda system: system.spawn(Planner, []).tell(Go(None, (1, 2))))


def _first_of_all(system, actor, effect, request, timeout_ns=None, on_timeout=None):
    timer = ActorSystem.perform(system, actor, effect, request, timeout_ns, on_timeout)
    entry = next(entry for entry in system._queue if entry[3] is timer)
    system._queue[system._queue.index(entry)] = (entry[0], 0, *entry[2:])
    heapq.heapify(system._queue)
    return timer


@both_clocks
def test_a_question_is_settled_at_the_latest_by_the_end(run):
    def program(system):
        system.spawn(Mute).ask(Number(1), block=False)

    run(checker_of("asks-settle"), program)


@both_clocks
def test_a_question_that_is_never_settled_is_a_breach(run, monkeypatch):
    def program(system):
        mute = system.spawn(Mute)
        mute.ask(Number(7), block=False)
        monkeypatch.setattr("actors.kernel.system._answer", lambda *_: None)

    with pytest.raises(InvariantBreach, match=r"the mute was asked a number \(value 7\) at 0 s and has not answered"):
        run(checker_of("asks-settle"), program)


def test_what_no_one_got_is_reported_as_it_was_told():
    checker = checker_of("order")
    system = SimulatedSystem(interceptors=checker.interceptors)
    checker.watch(system)
    receiver = system.spawn(Receiver, [])
    system.run()
    receiver.tell(Number(1))
    receiver.stop(block=False)
    receiver.tell(Number(2))
    system.run()
    assert [each.message for each in system.undelivered] == [Number(2)]
