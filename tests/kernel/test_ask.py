"""Questions and answers: what may wait, where, and that every question is settled."""

import functools
import threading
from dataclasses import dataclass
from typing import Any

import pykka
import pytest
import trio
from two_clocks import Do, DoSlowly, Subject

from actors.errors import ForeignAwait, InvariantBreach, WouldDeadlock
from actors.instants import ns
from actors.kernel.actor import handles
from actors.kernel.live import LiveSystem
from simulation.engine.system import SimulatedSystem


@dataclass(frozen=True)
class Double:
    number: Any


@dataclass(frozen=True)
class Slowly:
    number: Any
    delay: float = 1.0


@dataclass(frozen=True)
class Fail:
    error: BaseException


@dataclass(frozen=True)
class FailSlowly:
    error: BaseException
    delay: float = 1.0


class Doubler(Subject):
    def __init__(self, trace=None):
        super().__init__(trace)

    @handles(Double)
    def on_double(self, double):
        return double.number * 2

    @handles(Slowly)
    async def on_slowly(self, slowly):
        await self.sleep(slowly.delay)
        return slowly.number * 2

    @handles(Fail)
    def on_fail(self, fail):
        raise fail.error

    @handles(FailSlowly)
    async def on_fail_slowly(self, fail):
        await self.sleep(fail.delay)
        raise fail.error


class TestFromAnAsyncHandler:
    def test_the_answer_is_awaited_and_the_exception_raised(self, run_on_both):
        def program(system, trace):
            doubler = system.spawn(Doubler)

            async def ask(asker):
                trace.append(await doubler.ask(Double(4), block=False))
                trace.append((await doubler.ask(Slowly(5), block=False), asker.now_ns))
                for failing in (Fail(ValueError("quick")), FailSlowly(ValueError("slow"))):
                    with pytest.raises(ValueError, match=r"quick|slow") as caught:
                        await doubler.ask(failing, block=False)
                    trace.append((str(caught.value), asker.now_ns))
                trace.append(await doubler.ask(Double(6), block=False))  # an exception in an answer is no failure

            system.spawn(Doubler).tell(DoSlowly(ask))

        expected = [8, (10, ns(1.0)), ("quick", ns(1.0)), ("slow", ns(2.0)), 12]
        assert run_on_both(program).trace == expected

    def test_futures_are_mapped_filtered_reduced_and_joined(self, run_on_both):
        def program(system, trace):
            doubler = system.spawn(Doubler)

            async def ask(_):
                soon, late = (doubler.ask(Slowly(number), block=False) for number in (1, 2))
                trace.append(await soon.map(lambda number: number + 0.5))
                trace.append(await late.join(soon, doubler.ask(Double(3), block=False)))
                many = doubler.ask(Slowly([1, 2, 3]), block=False)
                trace.append(await many.filter(lambda number: number > 1).map(list))
                trace.append(await many.reduce(lambda a, b: a + b, 100))
                with pytest.raises(TypeError):
                    await soon.filter(bool)

            system.spawn(Doubler).tell(DoSlowly(ask))

        assert run_on_both(program).trace == [2.5, [4, 2, 6], [2, 3, 2, 3], 112]

    def test_many_may_await_one_future(self, run_on_both):
        def program(system, trace):
            answer = system.spawn(Doubler).ask(Slowly(1), block=False)

            async def ask(asker):
                trace.append((asker.actor_urn, await answer, asker.now_ns))

            for _ in range(5):
                system.spawn(Doubler).tell(DoSlowly(ask))

        trace = run_on_both(program).trace
        assert len({urn for urn, _, _ in trace}) == 5
        assert {rest for _, *rest in map(tuple, trace) for rest in [tuple(rest)]} == {(2, ns(1.0))}

    def test_a_dead_actor_answers_that_it_is_dead(self, run_on_both):
        def program(system, trace):
            doubler = system.spawn(Doubler)

            async def ask(_):
                first = doubler.ask(Slowly(1), block=False)
                stopped = doubler.stop(block=False)
                behind = doubler.ask(Double(1), block=False)
                trace.append((await first, await stopped))
                for question in (behind, doubler.ask(Double(1), block=False)):
                    with pytest.raises(pykka.ActorDeadError):
                        await question
                trace.append(await doubler.stop(block=False))

            system.spawn(Doubler).tell(DoSlowly(ask))

        assert run_on_both(program).trace == [(2, True), False]


def test_an_actor_may_not_wait_for_itself_but_a_plain_handler_may_ask_on(run_on_both):
    """A handler returns a future, which is an answer like any other; the asker awaits it in turn."""

    def program(system, trace):
        doubler = system.spawn(Doubler)
        forwarder = system.spawn(Doubler)

        async def ask(_):
            forwarded = await forwarder.ask(Do(lambda _: doubler.ask(Double(21), block=False)), block=False)
            trace.append(await forwarded)

        system.spawn(Doubler).tell(DoSlowly(ask))

    assert run_on_both(program).trace == [42]


@pytest.mark.parametrize("kind", [Do, DoSlowly])
def test_blocking_inside_a_handler_raises_and_sends_nothing(run_on_both, kind):
    def program(system, trace):
        doubler = system.spawn(Doubler)

        def ask(_):
            with pytest.raises(WouldDeadlock, match="make the function async"):
                doubler.ask(Do(lambda _: trace.append("was sent")))
            with pytest.raises(WouldDeadlock, match="make the function async"):
                doubler.ask(Double(1), block=False).get()
            with pytest.raises(WouldDeadlock):
                doubler.proxy().trace.get()
            trace.append("went on")

        async def ask_slowly(asker):
            ask(asker)

        system.spawn(Doubler).tell(kind(ask if kind is Do else ask_slowly))

    assert run_on_both(program).trace == ["went on"]


@pytest.mark.parametrize("failing", [Fail, FailSlowly])
def test_messages_behind_a_question_that_raises_keep_their_place(run_on_both, failing):
    def program(system, trace):
        doubler = system.spawn(Doubler)
        doubler.tell(Slowly(0))
        doubler.ask(failing(ValueError()), block=False)
        for number in range(5):
            doubler.tell(Do(lambda _, number=number: trace.append(number)))

        def overtake(_):
            doubler.tell(Do(lambda _: trace.append("later")))

        system.spawn(Doubler).tell(Do(lambda asker: asker.after(1.0, Do(overtake))))
        system.spawn(Doubler).tell(Do(lambda asker: asker.after(1.5, Do(overtake))))

    assert run_on_both(program).trace[:6] == [0, 1, 2, 3, 4, "later"]


@pytest.mark.parametrize("failing", [Fail, FailSlowly])
def test_a_breach_of_an_invariant_ends_the_run_also_when_someone_asked(run, failing):
    def program(system, trace):
        system.spawn(Doubler).ask(failing(InvariantBreach("one too many")), block=False)

    with pytest.raises(InvariantBreach, match="one too many"):
        run(program)


class TestOutsideALiveSystemsActors:
    def test_plain_tasks_of_trio_await_answers(self, run_live):
        async def program(system, trace):
            doubler = system.spawn(Doubler)
            answers = []

            async def ask(number):
                answers.append(await doubler.ask(Slowly(number), block=False))

            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(ask, number)
            assert sorted(answers) == [0, 2, 4]
            assert trio.current_time() == 3.0  # one after another
            assert await doubler.ask(Double(1), block=False).map(str) == "2"
            with pytest.raises(ValueError, match="no"):
                await doubler.ask(Fail(ValueError("no")), block=False)
            assert await doubler.proxy().trace is None

        run_live(program)

    def test_a_caller_that_waits_may_cancel(self, run_live):
        async def program(system, trace):
            doubler = system.spawn(Doubler)
            answer = doubler.ask(Slowly(1, delay=10.0), block=False)
            with trio.move_on_after(1.0) as scope:
                await answer
            assert scope.cancelled_caught
            assert trio.current_time() == 1.0
            assert await answer == 2
            assert trio.current_time() == 10.0

        run_live(program)

    def test_a_blocking_wait_in_the_systems_own_thread_would_never_end(self, run_live):
        def program(system, trace):
            doubler = system.spawn(Doubler)
            with pytest.raises(WouldDeadlock):
                doubler.ask(Double(1))
            with pytest.raises(pykka.Timeout):
                doubler.ask(Double(1), block=False).get(timeout=0)

        run_live(program)

    async def test_another_thread_blocks_until_the_answer_is_there(self):
        async with LiveSystem() as system:
            doubler = system.spawn(Doubler)

            def in_a_thread():
                assert doubler.ask(Double(4)) == 8
                assert doubler.ask(Slowly(5, delay=0.001)) == 10
                with pytest.raises(ValueError, match="no"):
                    doubler.ask(Fail(ValueError("no")))
                assert doubler.ask(Double(1), block=False).map(str).get(timeout=10.0) == "2"
                with pytest.raises(pykka.Timeout, match=r"0\.001 seconds"):
                    doubler.ask(Slowly(1, delay=3600.0), timeout=0.001)
                dead = system.spawn(Doubler)
                assert dead.stop() is True
                with pytest.raises(pykka.ActorDeadError):
                    dead.ask(Double(1))

            await trio.to_thread.run_sync(in_a_thread)

    async def test_another_event_loop_awaits_and_any_thread_may_answer(self):
        async with LiveSystem() as system:
            doubler = system.spawn(Doubler)
            own = system.future_class()

            async def elsewhere():
                return await doubler.ask(Slowly(3, delay=0.001), block=False)

            assert await trio.to_thread.run_sync(trio.run, elsewhere) == 6
            await trio.to_thread.run_sync(own.set, "from a thread")
            assert await own == "from a thread"
            async with trio.open_nursery() as nursery:
                other = system.future_class()
                nursery.start_soon(trio.to_thread.run_sync, other.set, "later")
                assert await other == "later"

    def test_after_the_end_all_are_told_that_the_actor_is_dead(self, on_mock_clock):
        async def main():
            async with LiveSystem() as system:
                doubler = system.spawn(Doubler)
                under_way = doubler.ask(Slowly(1, delay=10.0), block=False)
                waiting = doubler.ask(Double(1), block=False)
            behind = doubler.ask(Double(1), block=False)
            for question in (under_way, waiting, behind):
                with pytest.raises(pykka.ActorDeadError):
                    await question
            with pytest.raises(pykka.ActorDeadError):
                doubler.tell(Double(1))
            assert await doubler.stop(block=False) is False
            return doubler

        doubler = on_mock_clock(main)
        with pytest.raises(pykka.ActorDeadError):  # trio itself has gone
            doubler.ask(Double(1))

    async def test_a_thread_that_waits_is_told_so_too(self):
        errors = []
        async with LiveSystem() as system, trio.open_nursery() as nursery:
            doubler = system.spawn(Doubler)
            asked = trio.Event()

            def in_a_thread():
                question = doubler.ask(Slowly(1, delay=3600.0), block=False)
                trio.from_thread.run_sync(asked.set)
                try:
                    question.get()
                except pykka.ActorDeadError as error:
                    errors.append(error)

            nursery.start_soon(trio.to_thread.run_sync, in_a_thread)
            await asked.wait()
            system.stop()
        assert len(errors) == 1


class TestAtTheTopLevelOfASimulation:
    def test_asking_runs_the_clock(self):
        system = SimulatedSystem()
        doubler = system.spawn(Doubler)
        assert doubler.ask(Double(4)) == 8
        assert system.now_ns == 0
        assert doubler.ask(Slowly(5)) == 10
        assert system.now_ns == ns(1.0)
        with pytest.raises(ValueError, match="no"):
            doubler.ask(FailSlowly(ValueError("no")))
        assert doubler.ask(Slowly(1), block=False).map(str).get() == "2"
        assert system.now_ns == ns(3.0)

    def test_a_timeout_is_in_the_systems_time_and_an_answer_at_its_end_counts(self):
        system = SimulatedSystem()
        doubler = system.spawn(Doubler)
        with pytest.raises(pykka.Timeout):
            doubler.ask(Slowly(1, delay=3600.0), timeout=10.0)
        assert system.now_ns <= ns(10.0)
        other = system.spawn(Doubler)
        assert other.ask(Slowly(2, delay=10.0), timeout=10.0) == 4

    def test_a_question_no_one_will_answer_is_not_waited_for(self):
        system = SimulatedSystem()
        with pytest.raises(pykka.Timeout):
            system.future_class().get()
        with pytest.raises(pykka.Timeout):
            system.future_class().get(timeout=10.0)

    def test_stop_waits_for_what_was_told_before(self):
        system, trace = SimulatedSystem(), []
        doubler = system.spawn(Doubler, trace)
        doubler.tell(Slowly(1))
        assert doubler.stop() is True
        assert system.now_ns == ns(1.0)
        assert doubler.stop() is False

    def test_a_coroutine_that_is_no_handler_cannot_await(self):
        answer = SimulatedSystem().spawn(Doubler).ask(Double(1), block=False)
        with pytest.raises(ForeignAwait, match="in a handler"):
            answer.__await__().send(None)


def test_a_callback_that_raises_is_no_concern_of_who_answers(run_on_both, caplog):
    def program(system, trace):
        def fail():
            raise RuntimeError("in a callback")

        answer = system.spawn(Doubler).ask(Double(1), block=False)
        for callback in (lambda: trace.append("first"), fail, lambda: trace.append("last")):
            answer.when_done(callback)

    assert run_on_both(program).trace == ["first", "last"]
    assert "in a callback" in caplog.text


def test_an_answer_someone_else_has_given_is_no_failure_of_the_actors(run_on_both):
    def program(system, trace):
        doubler = system.spawn(Doubler)
        doubler.ask(Double(1), block=False).set("meddling")
        doubler.ask(Fail(ValueError()), block=False).set("meddling")
        doubler.tell(Do(lambda doubler: trace.append(doubler.now_ns)))

    run = run_on_both(program)
    assert run.trace == [0]
    assert run.history == []


def test_callbacks_and_answers_from_many_threads_meet():
    system = SimulatedSystem()
    for _ in range(200):
        future = system.future_class()
        called: list[int] = []
        callback = functools.partial(called.append, 1)
        threads = [threading.Thread(target=future.when_done, args=(callback,)) for _ in range(3)]
        threads.insert(1, threading.Thread(target=future.set))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(called) == 3
