"""Async handlers: one at a time for each actor, side by side for all, and in the dispatcher's order."""

import itertools
import math
import time
from dataclasses import dataclass
from typing import Any

import pykka
import pytest
import trio
from effort import sliced
from two_clocks import Do, DoSlowly, Subject, run_on

from actors.errors import ActorSystemError, ForeignAwait
from actors.instants import ns
from actors.kernel.actor import handles
from actors.kernel.live import LiveSystem
from simulation.engine.system import SimulatedSystem


@dataclass(frozen=True)
class Nap:
    name: Any
    delays: tuple[float, ...]


@dataclass(frozen=True)
class Ping:
    pass


class Worker(Subject):
    @handles(Nap)
    async def on_nap(self, nap):
        self.trace.append((nap.name, "begins", self.now_ns))
        for delay in nap.delays:
            await self.sleep(delay)
            self.trace.append((nap.name, "sleeps", self.now_ns))
        return nap.name

    @handles(Ping)
    def on_ping(self, _ping):
        return self.now_ns


def test_an_actor_handles_one_message_at_a_time_in_order_and_others_go_on(run_on_both):
    def program(system, trace):
        sleeper, other = system.spawn(Worker, trace), system.spawn(Worker, trace)
        sleeper.tell(Nap("a", (1.0, 1.0)))
        sleeper.tell(Do(lambda _: trace.append("plain")))
        sleeper.tell(Nap("b", (0.5,)))
        sleeper.tell(Do(lambda _: trace.append("last")))
        for delay in (0.5, 2.25):
            other.tell(Do(lambda other, delay=delay: other.after(delay, Do(lambda _: trace.append(delay)))))

    assert run_on_both(program).trace == [
        ("a", "begins", 0),
        0.5,
        ("a", "sleeps", ns(1.0)),
        ("a", "sleeps", ns(2.0)),
        "plain",
        ("b", "begins", ns(2.0)),
        2.25,
        ("b", "sleeps", ns(2.5)),
        "last",
    ]


def test_thousands_of_messages_wait_in_order_and_none_costs_more_than_another(run_on_both):
    def count(number):
        def program(system, trace):
            worker = system.spawn(Worker, trace)
            worker.tell(Nap("nap", (1.0,)))
            for index in range(number):
                worker.tell(Do(lambda _, index=index: trace.append(index)))
            system.spawn(Worker, trace).tell(
                Do(lambda other: other.after(0.5, Do(lambda _: trace.append(len(worker.actor.actor_inbox.queue)))))
            )

        return program

    assert run_on_both(count(20_000)).trace[1:] == [20_000, ("nap", "sleeps", ns(1.0)), *range(20_000)]

    handled = []

    def messages_taken(number):
        """How often the dispatcher looks at a message: were each put back while others go first, it would grow."""

        def program(system, trace):
            deliver = system._deliver
            system._deliver = lambda actor, message: [handled.append(1), deliver(actor, message)][1]
            count(number)(system, trace)

        handled.clear()
        run_on("simulated", program)
        return len(handled)

    assert messages_taken(2000) < 2.1 * messages_taken(1000)


def test_a_handler_may_sleep_forever(run_on_both):
    def program(system, trace):
        async def sleep(worker):
            with worker.move_on_after(math.inf) as unlimited:
                with worker.move_on_after(5.0) as scope:
                    await worker.sleep(math.inf)
                trace.append((scope.cancelled_caught, worker.now_ns))
            trace.append(unlimited.cancelled_caught)
            await worker.sleep(math.inf)

        system.spawn(Worker, trace).tell(DoSlowly(sleep))

    assert run_on_both(program).trace == [(True, ns(5.0)), False]


def test_only_an_async_handler_can_sleep(run):
    def program(system, trace):
        def sleep(worker):
            with pytest.raises(ActorSystemError, match="works in an async handler"):
                worker.sleep(1.0).send(None)
            with pytest.raises(ActorSystemError, match="works in an async handler"), worker.move_on_after(1.0):
                pass
            trace.append("raised")

        system.spawn(Worker, trace).tell(Do(sleep))

    assert run(program).trace == ["raised"]


def test_two_hundred_handlers_with_very_many_ties_have_one_history():
    """Five runs, since trio shuffles what is ready: what held once by chance does not hold five times."""

    def program(system, trace):
        workers = [system.spawn(Worker, trace) for _ in range(200)]

        def busy(number):
            async def work(worker):
                for step in range(6):
                    await worker.sleep((number * step) % 3 * 0.5)
                    trace.append((number, step, worker.now_ns))
                    if step % 2:
                        with worker.move_on_after(0.5):
                            trace.append(await workers[(number * 7 + step) % 200].ask(Ping(), block=False))
                    else:
                        workers[(number + step) % 200].tell(Do(lambda other: trace.append((number, other.now_ns))))

            return work

        for number, worker in enumerate(workers):
            worker.tell(DoSlowly(busy(number)))

    histories = [run_on("simulated", program).trace] + [run_on("live", program).trace for _ in range(5)]
    assert len(histories[0]) > 200 * 6
    assert all(history == histories[0] for history in histories)


class TestAForeignAwait:
    """Real I/O, from inside a handler."""

    def test_comes_back_in_line_and_the_clock_catches_up(self, run_live):
        def program(system, trace):
            worker, other = system.spawn(Worker, trace), system.spawn(Worker, trace)

            async def work(worker):
                await trio.sleep(2.5)
                trace.append(("back", worker.now_ns))
                await worker.sleep(0.5)
                trace.append(("slept", worker.now_ns))

            worker.tell(DoSlowly(work))
            worker.tell(Do(lambda worker: trace.append(("later", worker.now_ns))))
            other.tell(Do(lambda other: other.after(1.0, Do(lambda _: trace.append(("other", other.now_ns))))))

        trace = run_live(program, until=10.0)
        assert trace == [("other", ns(1.0)), ("back", ns(2.5)), ("slept", ns(3.0)), ("later", ns(3.0))]

    def test_at_the_instant_of_a_timer_leaves_the_timer_exact(self, run_live):
        """4.1 is no whole number of nanoseconds for a float clock; the timer was set for exactly 4,100,000,000."""

        def program(system, trace):
            for delay in (4.1, 0.1 + 0.2, 1e5 + 0.3, 2e7 + 0.1):

                async def work(worker, delay=delay):
                    due_ns = worker.now_ns + ns(delay)
                    worker.after(delay, Do(lambda worker: trace.append(worker.now_ns - due_ns)))
                    await trio.sleep(delay)

                system.spawn(Worker, trace).tell(DoSlowly(work))

        trace = run_live(program, until=1e8)
        assert trace == [0, 0, 0, 0]

    async def test_may_go_to_a_thread_and_raise(self):
        trace = []
        async with LiveSystem() as system:

            async def work(worker):
                trace.append(await trio.to_thread.run_sync(lambda: "from a thread"))
                with pytest.raises(ZeroDivisionError):
                    await trio.to_thread.run_sync(lambda: 1 / 0)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.lowlevel.checkpoint)
                await trio.lowlevel.checkpoint()
                trace.append(await system.spawn(Worker, trace).ask(Nap("nap", ()), block=False))
                done.set()

            done = trio.Event()
            system.spawn(Worker, trace).tell(DoSlowly(work))
            with trio.fail_after(10):
                await done.wait()
        assert trace == ["from a thread", ("nap", "begins", trace[1][2]), "nap"]

    def test_of_a_hundred_handlers_leaves_the_dispatcher_alone(self, run_live):
        async def program(system, trace):
            workers = [system.spawn(Worker, []) for _ in range(100)]

            async def work(worker):
                for _ in range(10):
                    await trio.sleep(0.1)
                    await worker.sleep(0.1)

            for worker in workers:
                worker.tell(DoSlowly(work))
            for worker in workers:
                await worker.ask(Ping(), block=False)
            assert trio.current_time() == pytest.approx(2.0)

        run_live(program)

    @pytest.mark.parametrize(
        "foreign", [lambda: trio.sleep(1.0), trio.lowlevel.checkpoint, lambda: trio.to_thread.run_sync(time.time)]
    )
    def test_in_a_simulation_is_a_clear_error(self, foreign):
        said = []

        def program(system, trace):
            async def work(worker):
                await worker.sleep(1.0)
                await foreign()

            async def ask(_):
                with pytest.raises(ForeignAwait, match=r"in simulated time; await self\.sleep\(\)"):
                    await worker.ask(DoSlowly(work), block=False)
                said.append("raised")
                worker.tell(DoSlowly(work))

            worker = system.spawn(Worker, trace)
            system.spawn(Worker, trace).tell(DoSlowly(ask))

        with pytest.raises(ForeignAwait, match=r"in simulated time; await self\.sleep\(\)"):
            run_on("simulated", program)
        assert said == ["raised"]

    async def test_in_a_simulation_is_raised_where_it_happens_when_a_loop_runs(self):
        def program(system, trace):
            async def work(_):
                with pytest.raises(ForeignAwait, match="only a real event loop"):
                    await trio.sleep(1.0)
                trace.append("went on")

            system.spawn(Worker, trace).tell(DoSlowly(work))

        assert run_on("simulated", program).trace == ["went on"]


class TestTriosOwnCancelScopesInAHandler:
    def test_end_neither_the_handler_nor_the_dispatcher(self, run_live):
        def program(system, trace):
            worker = system.spawn(Worker, trace)
            never = system.future_class()

            async def work(worker):
                for waits in (lambda: worker.sleep(100.0), lambda: trio.sleep(100.0), lambda: wait_for(never)):
                    with trio.move_on_after(1.0) as scope:
                        await waits()
                    trace.append((scope.cancelled_caught, worker.now_ns))
                await worker.sleep(1.0)
                trace.append(("slept", worker.now_ns))

            worker.tell(DoSlowly(work))
            worker.tell(Do(lambda worker: trace.append(("later", worker.now_ns))))

        async def wait_for(future):
            await future

        trace = run_live(program)
        instants = [(True, ns(1.0)), (True, ns(2.0)), (True, ns(3.0)), ("slept", ns(4.0)), ("later", ns(4.0))]
        assert trace == instants

    def test_a_timer_of_the_cancelled_sleep_resumes_nothing(self, run_live):
        def program(system, trace):
            async def work(worker):
                with trio.move_on_after(1.0):
                    await worker.sleep(2.0)
                await worker.sleep(50.0)  # the timer for 2.0 comes and goes meanwhile
                trace.append(worker.now_ns)

            system.spawn(Worker, trace).tell(DoSlowly(work))

        trace = run_live(program)
        assert trace == [ns(51.0)]

    def test_a_scope_cancelled_already_cancels_at_once(self, run_live):
        def program(system, trace):
            async def work(worker):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    try:
                        await worker.sleep(2.0)
                    finally:
                        with trio.CancelScope(shield=True):
                            await worker.sleep(3.0)
                trace.append(worker.now_ns)

            system.spawn(Worker, trace).tell(DoSlowly(work))

        trace = run_live(program)
        assert trace == [ns(3.0)]


class TestClosing:
    """Whatever the handlers are at, the block ends, at once."""

    @pytest.mark.parametrize(
        ("how", "at", "in_finally"),
        sliced(
            itertools.product(
                ["leave", "stop", "raise", "cancel"],
                ["own", "foreign", "ask", "shielded own", "shielded ask"],
                [None, "own", "foreign", "ask", "shielded", "shielded own", "shielded ask"],
            ),
            3,
        ),
    )
    def test_ends_handlers_wherever_they_wait(self, on_mock_clock, at, in_finally, how):
        trace = []

        async def main():
            with trio.CancelScope() as outer:
                async with LiveSystem() as system:
                    never = system.future_class()

                    async def wait(worker, where):
                        match where:
                            case "own":
                                await worker.sleep(3600.0)
                            case "foreign":
                                await trio.sleep(3600.0)
                            case "ask":
                                await never
                            case "shielded":
                                with trio.CancelScope(shield=True):
                                    await trio.sleep(0.5)
                            case "shielded own":
                                with trio.CancelScope(shield=True):
                                    await worker.sleep(3600.0)
                            case "shielded ask":
                                with trio.CancelScope(shield=True):
                                    await never

                    async def work(worker):
                        trace.append("begins")
                        try:
                            await wait(worker, at)
                            trace.append("went on as if nothing had happened")
                        finally:
                            trace.append("unwinds")
                            if in_finally:
                                await wait(worker, in_finally)
                                assert in_finally == "shielded"

                    for _ in range(3):
                        system.spawn(Worker, trace).tell(DoSlowly(work))
                    await trio.sleep(1.0)
                    match how:
                        case "stop":
                            system.stop()
                            await system.run()
                        case "raise":
                            raise ZeroDivisionError
                        case "cancel":
                            outer.cancel()
                            await trio.sleep(1.0)

        if how == "raise":
            with pytest.raises(ZeroDivisionError):
                on_mock_clock(main)
        else:
            on_mock_clock(main)
        assert trace == ["begins"] * 3 + ["unwinds"] * 3

    def test_leaves_no_handler_behind_that_had_not_begun(self, on_mock_clock):
        async def main():
            with trio.CancelScope() as outer:
                async with LiveSystem() as system:

                    async def work(worker):
                        outer.cancel()
                        system.spawn(Worker, []).tell(DoSlowly(sleep_behind_a_shield))
                        await worker.sleep(3600.0)

                    async def sleep_behind_a_shield(worker):
                        with trio.CancelScope(shield=True):
                            await worker.sleep(3600.0)

                    system.spawn(Worker, []).tell(DoSlowly(work))
                    await trio.sleep_forever()
            assert trio.current_time() == 0.0

        for _ in range(10):  # trio shuffles which is cancelled first
            on_mock_clock(main)

    def test_lets_a_result_of_real_io_be_used_but_nothing_more_be_waited_for(self, on_mock_clock):
        trace = []

        async def main():
            async with LiveSystem() as system:

                async def work(worker):
                    with trio.CancelScope(shield=True):
                        await trio.sleep(2.0)
                    trace.append("written")
                    await worker.sleep(1.0)
                    trace.append("never")

                system.spawn(Worker, trace).tell(DoSlowly(work))
                await trio.sleep(1.0)
            assert trio.current_time() == 2.0

        on_mock_clock(main)
        assert trace == ["written"]

    def test_a_handler_that_raises_while_it_unwinds_is_only_logged(self, run_live, caplog):
        async def program(system, trace):
            async def raise_at_the_end(sleep):
                try:
                    await sleep(3600.0)
                finally:
                    raise ZeroDivisionError("in finally")

            async def in_a_nursery(worker):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(raise_at_the_end, trio.sleep)
                    await worker.sleep(3600.0)

            system.spawn(Worker, []).tell(DoSlowly(lambda worker: raise_at_the_end(worker.sleep)))
            system.spawn(Worker, []).tell(DoSlowly(in_a_nursery))
            await trio.sleep(1.0)

        run_live(program)
        assert caplog.text.count("raised when it was cancelled") == 2

    def test_unwinds_in_one_order_on_both_clocks(self, run_on_both):
        def program(system, trace):
            class Ending(Worker):
                def on_stop(self):
                    trace.append(("on_stop", self.actor_urn))

            async def work(worker):
                try:
                    await worker.sleep(3600.0)
                finally:
                    trace.append(("unwinds", worker.actor_urn, worker.now_ns))
                    try:
                        await worker.sleep(1.0)
                    finally:
                        trace.append(("gives up", worker.actor_urn, worker.now_ns))

            for _ in range(20):
                system.spawn(Ending, trace).tell(DoSlowly(work))

        trace = run_on_both(program, until=10.0).trace
        assert [what for what, *_ in trace] == ["on_stop"] * 20 + ["unwinds", "gives up"] * 20
        assert {instant_ns for _, _, *rest in trace for instant_ns in rest} == {ns(10.0)}

    def test_a_simulation_is_closed_by_its_block_or_by_hand(self):
        trace = []

        async def work(worker):
            try:
                await worker.sleep(3600.0)
            finally:
                trace.append("unwinds")

        with SimulatedSystem() as system:
            worker = system.spawn(Worker, trace)
            question = worker.ask(DoSlowly(work), block=False)
            system.run(until=1.0)
            with pytest.raises(ActorSystemError, match="cannot close"):
                system.spawn(Worker, trace).ask(Do(lambda _: system.close()))
            assert trace == []
        assert trace == ["unwinds"]
        with pytest.raises(pykka.ActorDeadError):
            question.get()
        with pytest.raises(pykka.ActorDeadError):
            worker.tell(Do(print))
        with pytest.raises(ActorSystemError, match="its system has ended"):
            system.spawn(Worker, trace)
        system.close()  # once more is nothing
        assert system.undelivered_count == 1
