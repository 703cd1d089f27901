"""Timers: exact to the nanosecond, cancellable, and gone without a trace when cancelled."""

from dataclasses import dataclass

import pykka
import pytest
import simpy
from effort import examples
from hypothesis import given, settings, strategies as st
from two_clocks import Do, Subject

from actors.instants import ns
from actors.kernel.actor import handles
from actors.kernel.live import LiveSystem
from simulation.engine.system import SimulatedSystem

DAY = 86_400.0
AWKWARD = [
    0.1 + 0.2,
    4.1,
    4.1 + 60,
    1 / 3,
    1e-9,
    2e-9,
    0.1,
    1e-6 / 3,
    12 * DAY + 0.1,
    90 * DAY + 1 / 3,
    365 * DAY + 4.1,
]


@dataclass(frozen=True)
class Tick:
    due_ns: int


class Clock(Subject):
    @handles(Tick)
    def on_tick(self, tick):
        self.trace.append((tick.due_ns, self.now_ns))


def starting(what):
    return lambda system, trace: system.spawn(Clock, trace).tell(Do(what))


@pytest.mark.parametrize("delay", AWKWARD)
def test_a_timer_sees_exactly_the_instant_it_was_set_for(run, delay):
    def start(clock):
        due_ns = clock.now_ns + ns(delay)
        clock.after(delay, Tick(due_ns))
        clock.at(due_ns, Tick(due_ns))

    assert run(starting(start), until=400 * DAY).trace == [(ns(delay), ns(delay))] * 2


@pytest.mark.parametrize("count", [2, 300, 700])
def test_messages_of_an_instant_see_that_one_though_a_timer_is_due_a_nanosecond_later(run, count):
    """However many they are: between some of them others get to run."""

    def start(clock):
        clock.at(10**9, Do(burst))
        clock.at(10**9 + 1, Tick(10**9 + 1))

    def burst(clock):
        for _ in range(count):
            clock.actor_ref.tell(Tick(10**9))

    trace = run(starting(start)).trace
    assert trace == [(10**9, 10**9)] * count + [(10**9 + 1, 10**9 + 1)]


def test_timers_stay_exact_when_each_sets_the_next(run_on_both):
    def start(clock, left=300):
        if left:
            due_ns = clock.now_ns + ns(4.1) + left
            clock.at(due_ns, Tick(due_ns))
            clock.at(due_ns, Do(lambda clock: start(clock, left - 1)))

    trace = run_on_both(starting(start)).trace
    assert len(trace) == 300
    assert all(due_ns == seen_ns for due_ns, seen_ns in trace)


@given(st.lists(st.floats(min_value=0, max_value=3 * DAY), max_size=20))
@settings(max_examples=examples(25))
def test_any_timers_fire_in_order_of_their_nanosecond_then_of_setting(run_on_both, delays):
    def start(clock):
        for number, delay in enumerate(delays):
            clock.after(delay, Tick((ns(delay), number)))

    expected = sorted((ns(delay), number) for number, delay in enumerate(delays))
    assert run_on_both(starting(start)).trace == [((due_ns, number), due_ns) for due_ns, number in expected]


def test_an_instant_in_the_past_is_now(run_on_both):
    def start(clock):
        clock.after(
            5.0, Do(lambda clock: [clock.at(ns(1.0), Tick(1)), clock.after(-3.0, Tick(2)), clock.at(-1, Tick(3))])
        )

    assert run_on_both(starting(start)).trace == [(number, ns(5.0)) for number in (1, 2, 3)]


def test_a_cancelled_timer_does_not_fire(run_on_both):
    def start(clock):
        gone, kept = clock.after(1.0, Tick(1)), clock.after(2.0, Tick(2))
        clock.after(0.5, Do(lambda _: gone.cancel()))
        clock.after(3.0, Do(lambda _: [kept.cancel(), gone.cancel()]))  # too late, and once too often

    assert run_on_both(starting(start)).trace == [(2, ns(2.0))]


def test_a_timer_due_at_the_same_instant_can_still_be_cancelled(run_on_both):
    def start(clock):
        timers = {}
        clock.after(1.0, Do(lambda _: timers["gone"].cancel()))
        timers["gone"] = clock.after(1.0, Tick(1))

    assert run_on_both(starting(start)).trace == []


def test_a_cancelled_timer_does_not_move_the_clock_at_the_end():
    system, trace = SimulatedSystem(), []

    def start(clock):
        clock.after(DAY, Tick(0)).cancel()
        clock.after(1.0, Tick(1))
        clock.after(2 * DAY, Tick(2)).cancel()

    ref = system.spawn(Clock, trace)
    ref.tell(Do(start))
    system.run()
    assert system.now_ns == ns(1.0)
    ref.tell(Do(lambda clock: clock.trace.append(clock.now_ns)))
    system.run()
    assert trace == [(1, ns(1.0)), ns(1.0)]


def test_a_cancelled_timer_keeps_nothing_alive_and_costs_no_real_time():
    system = SimulatedSystem(real_time_factor=1.0)
    ref = system.spawn(Clock, [])
    ref.tell(Do(lambda clock: clock.after(3600.0, Tick(1)).cancel()))
    system.run()
    assert system.env.peek() == float("inf")


def test_a_blocking_question_does_not_wait_for_a_cancelled_timer():
    system = SimulatedSystem()
    ref = system.spawn(Clock, [])
    ref.tell(Do(lambda clock: clock.after(DAY, Tick(1)).cancel()))
    ref.ask(Do(lambda clock: None))
    with pytest.raises(pykka.Timeout):
        system.future_class().get()
    assert system.env.now == 0


def test_a_live_system_forgets_cancelled_timers_long_before_they_are_due(on_mock_clock):
    async def main():
        trace = []
        async with LiveSystem() as system:
            clock = system.spawn(Clock, trace).actor
            for number in range(20_000):
                timer = clock.after(3600.0 + number % 7, Tick(number))
                if number % 100:
                    timer.cancel()
            assert len(system._timers) < 1500
            await system.run(until=DAY)
        numbers = [number for number, _ in trace]
        assert numbers == sorted(range(0, 20_000, 100), key=lambda number: (number % 7, number))

    on_mock_clock(main)


def test_the_end_of_an_earlier_run_does_not_move_the_clock():
    system, trace = SimulatedSystem(), []
    ref = system.spawn(Clock, trace)
    ref.tell(Do(lambda clock: clock.after(1.0, Do(lambda clock: clock.system.stop()))))
    system.run(until=DAY)
    ref.tell(Do(lambda clock: clock.after(1.0, Tick(0))))
    system.run()
    assert trace == [(0, ns(2.0))]


class TestInAnEnvironmentOfTheUsersOwn:
    def test_a_process_tells_actors_and_gets_their_answers(self):
        env = simpy.Environment()
        system, trace = SimulatedSystem(env=env), []
        ref = system.spawn(Clock, trace)

        def process():
            for _ in range(3):
                yield env.timeout(ns(1.5))
                answered = env.event()
                ref.tell(Do(lambda clock, answered=answered: clock.after(0.25, Do(lambda _: answered.succeed("yes")))))
                trace.append(((yield answered), env.now))

        env.process(process())
        system.run(until=100.0)
        assert trace == [("yes", ns(1.75)), ("yes", ns(3.5)), ("yes", ns(5.25))]

    def test_a_process_asks_without_blocking(self):
        env = simpy.Environment()
        system, trace = SimulatedSystem(env=env), []

        class Adder(Clock):
            def on_receive(self, message):
                return message + 1

        ref = system.spawn(Adder, trace)

        def process():
            yield env.timeout(ns(1.0))
            answer, answered = ref.ask(1, block=False), env.event()
            answer.when_done(answered.succeed)
            yield answered
            trace.append((answer.get(), env.now))

        env.process(process())
        env.run()
        assert trace == [(2, ns(1.0))]

    def test_fractions_of_a_nanosecond_stay_outside(self):
        """SimPy users draw their delays as floats; an actor's instants stay whole, and never go back."""
        env = simpy.Environment()
        system, trace = SimulatedSystem(env=env), []
        ref = system.spawn(Clock, trace)

        def process():
            for _ in range(5):
                yield env.timeout(1234.56789)
                ref.tell(Do(lambda clock: clock.after(1e-6, Tick(clock.now_ns + 1000))))

        env.process(process())
        system.run()
        assert len(trace) == 5
        assert all(type(seen_ns) is int and seen_ns == due_ns for due_ns, seen_ns in trace)

    def test_the_clock_may_have_run_before(self):
        env = simpy.Environment(initial_time=ns(10.0))
        system, trace = SimulatedSystem(env=env), []
        assert system.now_ns == ns(10.0)
        system.spawn(Clock, trace).tell(Do(lambda clock: clock.after(1.0, Tick(0))))
        system.run(until=20.0)
        assert trace == [(0, ns(11.0))]
        assert system.now_ns == ns(20.0)


def test_the_simulated_clock_can_follow_the_walls():
    system, trace = SimulatedSystem(real_time_factor=0.001), []
    system.spawn(Clock, trace).tell(Do(lambda clock: clock.after(50.0, Tick(0))))
    system.run()
    assert trace == [(0, ns(50.0))]
