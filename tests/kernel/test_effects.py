"""Effects: what an actor has done in its environment, and the message that says it is done."""

import gc
import weakref

import pytest
import trio
from effort import thorough
from two_clocks import Do, Subject, run_on

from actors.errors import ForeignAwait
from actors.instants import ns
from actors.kernel.actor import handles
from actors.kernel.effects import Foreseen, Performed, Promise
from actors.kernel.live import LiveSystem
from simulation.engine.system import SimulatedSystem


class Doer(Subject):
    @handles(Performed)
    def on_performed(self, done):
        result = type(done.result).__name__ if isinstance(done.result, BaseException) else done.result
        self.trace.append((done.request, result, done.started_ns, done.ended_ns, self.now_ns))


def doing(what):
    return lambda system, trace: system.spawn(Doer, trace).tell(Do(what))


class TestForeseen:
    @pytest.mark.parametrize(
        ("takes", "timeout", "result", "at"),
        [
            (2.0, None, "answer", 2.0),
            (2.0, 3.0, "answer", 2.0),
            (2.0, 2.0, "answer", 2.0),  # just in time
            (2.000000001, 2.0, "too late", 2.0),
            (0.1 + 0.2, 0.3, "answer", 0.3),
            (0.0, 0.0, "answer", 0.0),
        ],
    )
    def test_its_result_comes_at_its_instant_or_the_time_outs(self, run_on_both, takes, timeout, result, at):
        timeout_ns = None if timeout is None else ns(timeout)

        def begin(doer):
            doer.perform(Foreseen(ns(takes), "answer"), "request", timeout_ns=timeout_ns, on_timeout="too late")

        def later(doer):
            doer.after(1.0, Do(begin))

        began, ended = ns(1.0), ns(1.0) + ns(at)
        assert run_on_both(doing(later)).trace == [("request", result, began, ended, ended)]

    def test_cancelled_it_brings_nothing(self, run_on_both):
        def begin(doer):
            effect = doer.perform(Foreseen(ns(2.0), "answer"), 1, timeout_ns=ns(3.0))
            doer.after(1.0, Do(lambda _: [effect.cancel(), effect.cancel()]))
            doer.perform(Foreseen(ns(5.0), "answer"), 2)

        assert [request for request, *_ in run_on_both(doing(begin)).trace] == [2]

    def test_results_of_one_instant_come_in_the_order_begun(self, run_on_both):
        def begin(doer):
            for number, (delay, timeout) in enumerate([(2, None), (9, 2), (2, 2), (9, 2), (2, 9)]):
                doer.perform(Foreseen(delay, number), number, timeout_ns=timeout, on_timeout="late")

        assert [request for request, *_ in run_on_both(doing(begin)).trace] == [0, 1, 2, 3, 4]


class TestRealIo:
    @pytest.fixture
    def live(self, run_live):
        return lambda what, until=1000.0: run_live(doing(what), until)

    def test_brings_the_result_or_the_exception(self, live):
        async def works():
            await trio.sleep(2.0)
            return "answer"

        async def fails():
            raise ConnectionError("no route")

        def begin(doer):
            doer.after(1.0, Do(lambda doer: [doer.perform(works, 1), doer.perform(fails, 2)]))

        assert live(begin) == [
            (2, "ConnectionError", ns(1.0), ns(1.0), ns(1.0)),
            (1, "answer", ns(1.0), ns(3.0), ns(3.0)),
        ]

    def test_what_it_raises_is_never_the_systems_failure(self, live):
        """However it is wrapped: also what comes of a nursery of its own that is cancelled."""

        async def raises_at_the_end():
            try:
                await trio.sleep(100.0)
            finally:
                raise ConnectionError("while closing")

        async def in_a_nursery():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(raises_at_the_end)
                await trio.sleep(100.0)

        def begin(doer):
            for effect in (raises_at_the_end, in_a_nursery):
                doer.perform(effect, effect.__name__, timeout_ns=ns(2.0), on_timeout="too late")

        results = {request: result for request, result, *_ in live(begin)}
        assert results == {"raises_at_the_end": "ConnectionError", "in_a_nursery": "ExceptionGroup"}

    def test_a_call_that_raises_before_it_awaits_is_the_same(self, live):
        def not_even_a_coroutine():
            raise ValueError("bad address")

        def begin(doer):
            doer.perform(not_even_a_coroutine, 1)

        assert [result for _, result, *_ in live(begin)] == ["ValueError"]

    def test_is_cancelled_at_its_time_out(self, live):
        undone = []

        async def hangs():
            try:
                await trio.sleep(3600.0)
            except trio.Cancelled:
                undone.append(trio.current_time())
                raise

        def begin(doer):
            doer.perform(hangs, 1, timeout_ns=ns(2.0), on_timeout="too late")

        assert live(begin) == [(1, "too late", 0, ns(2.0), ns(2.0))]
        assert undone == [2.0]

    def test_an_answer_that_cannot_be_stopped_counts_even_late(self, live):
        async def commits():
            with trio.CancelScope(shield=True):
                await trio.sleep(5.0)
            return "committed"

        def begin(doer):
            doer.perform(commits, 1, timeout_ns=ns(2.0), on_timeout="too late")

        assert live(begin) == [(1, "committed", 0, ns(5.0), ns(5.0))]

    def test_cancelled_it_brings_nothing(self, live):
        async def works():
            await trio.sleep(2.0)

        def begin(doer):
            effect = doer.perform(works, 1)
            doer.after(1.0, Do(lambda _: [effect.cancel(), effect.cancel()]))
            doer.perform(works, 2)

        assert [request for request, *_ in live(begin)] == [2]

    def test_what_is_under_way_at_the_end_is_cancelled(self, live):
        ended = []

        async def hangs():
            try:
                await trio.sleep(3600.0)
            finally:
                ended.append(trio.current_time())

        assert live(lambda doer: doer.perform(hangs, 1), until=10.0) == []
        assert ended == [10.0]

    def test_an_interrupt_in_it_ends_the_system(self, live):
        async def interrupted():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            live(lambda doer: doer.perform(interrupted, 1))

    def test_an_actor_never_sees_an_end_that_is_still_to_come(self, live):
        """A hundred results while the dispatcher is busy with a thousand messages."""

        async def works():
            await trio.sleep(0.5)

        def begin(doer):
            for number in range(100):
                doer.perform(works, number)
            doer.after(0.5, Do(lambda doer: [doer.actor_ref.tell(Do(lambda _: None)) for _ in range(1000)]))

        trace = live(begin)
        assert len(trace) == 100
        assert all(ended_ns <= now_ns for *_, ended_ns, now_ns in trace)

    def test_in_a_simulation_ends_the_run_with_an_error_that_names_it(self):
        async def works():
            pass

        with pytest.raises(
            ForeignAwait, match=r"^Doer \(urn:uuid:.*works at .* in simulated time: give it a simulated"
        ):
            run_on("simulated", doing(lambda doer: doer.after(1.0, Do(lambda _: doer.perform(works, 1)))))
        with pytest.raises(ForeignAwait):
            SimulatedSystem().spawn(Doer, []).ask(Do(lambda doer: doer.perform(works, 1)))


class TestPromises:
    """What is in flight already, and another task brings to its end."""

    @pytest.fixture
    def kept(self, on_mock_clock):
        """Return what came of doing something with a promise that is kept after 3 seconds."""

        def run(what, result):
            trace, promise = [], Promise()

            async def main():
                async with LiveSystem() as system:
                    system.spawn(Doer, trace).tell(Do(lambda doer: what(doer, promise)))
                    with trio.move_on_after(3.0):
                        await system.run(until=10.0)
                    promise.keep(result)
                    await system.run(until=10.0)

            on_mock_clock(main)
            return trace

        return run

    def test_it_tells_all_who_wait_in_their_order(self, kept):
        def begin(doer, promise):
            doer.perform(promise, 1)
            doer.after(1.0, Do(lambda doer: doer.perform(promise, 2)))
            doer.after(5.0, Do(lambda doer: doer.perform(promise, 3)))

        assert kept(begin, "answer") == [
            (1, "answer", 0, ns(3.0), ns(3.0)),
            (2, "answer", ns(1.0), ns(3.0), ns(3.0)),
            (3, "answer", ns(5.0), ns(5.0), ns(5.0)),
        ]

    def test_it_may_fail(self, kept):
        assert kept(lambda doer, promise: doer.perform(promise, 1), ConnectionError("gone")) == [
            (1, "ConnectionError", 0, ns(3.0), ns(3.0))
        ]

    def test_who_has_no_patience_or_cancels_does_not_wait(self, kept):
        def begin(doer, promise):
            doer.perform(promise, 1, timeout_ns=ns(2.0), on_timeout="too late")
            waits = doer.perform(promise, 2)
            doer.perform(promise, 3, timeout_ns=ns(4.0), on_timeout="too late")
            doer.after(1.0, Do(lambda _: [waits.cancel(), waits.cancel()]))

        assert kept(begin, "answer") == [
            (1, "too late", 0, ns(2.0), ns(2.0)),
            (3, "answer", 0, ns(3.0), ns(3.0)),
        ]

    @pytest.mark.parametrize(
        ("kept_after", "timeout", "result", "at"),
        [
            (3.0, None, "answer", 3.0),
            (3.0, 4.0, "answer", 3.0),
            (3.0, 3.0, "answer", 3.0),  # just in time, as with what is foreseen
            (3.000000001, 3.0, "too late", 3.0),
            (0.0, 3.0, "answer", 0.0),
        ],
    )
    @pytest.mark.parametrize("planned", ["before it is waited for", "while it is waited for"])
    def test_its_result_comes_at_its_instant_or_the_time_outs(
        self, run_on_both, kept_after, timeout, result, at, planned
    ):
        timeout_ns = None if timeout is None else ns(timeout)

        def begin(doer):
            promise = Promise()

            def keep_later():
                doer.system.call_at(ns(1.0) + ns(kept_after), lambda: promise.keep("answer"))

            def wait():
                doer.perform(promise, "request", timeout_ns=timeout_ns, on_timeout="too late")

            for step in (keep_later, wait) if planned.startswith("before") else (wait, keep_later):
                step()

        began, ended = ns(1.0), ns(1.0) + ns(at)
        trace = run_on_both(doing(lambda doer: doer.after(1.0, Do(begin)))).trace
        assert trace == [("request", result, began, ended, ended)]

    def test_one_that_several_calls_at_the_instant_of_the_time_out_lead_to_is_in_time(self, run_on_both):
        def begin(doer):
            promise, system = Promise(), doer.system

            def lead_to_it(calls):
                if calls:
                    system.call_at(ns(3.0), lambda: lead_to_it(calls - 1))
                else:
                    promise.keep("answer")

            doer.perform(promise, "request", timeout_ns=ns(3.0), on_timeout="too late")
            doer.perform(Promise(), "other", timeout_ns=ns(3.0), on_timeout="too late")
            lead_to_it(5)

        trace = run_on_both(doing(begin)).trace
        assert trace == [("request", "answer", 0, ns(3.0), ns(3.0)), ("other", "too late", 0, ns(3.0), ns(3.0))]

    def test_who_waits_for_one_gets_it_once_and_in_order_on_both_clocks(self, run_on_both):
        def begin(doer):
            promise, other = Promise(), Promise()
            doer.perform(promise, 1)
            doer.perform(other, 2, timeout_ns=ns(9.0))
            cancelled = doer.perform(promise, 3, timeout_ns=ns(9.0))
            doer.perform(promise, 4, timeout_ns=ns(1.0), on_timeout="too late")
            doer.system.call_at(ns(2.0), lambda: [other.keep("b"), promise.keep("a")])
            doer.after(1.0, Do(lambda _: [cancelled.cancel(), cancelled.cancel()]))
            doer.after(2.0, Do(lambda doer: doer.perform(promise.then(str.upper), 5, timeout_ns=0)))

        assert run_on_both(doing(begin)).trace == [
            (4, "too late", 0, ns(1.0), ns(1.0)),
            (2, "b", 0, ns(2.0), ns(2.0)),
            (1, "a", 0, ns(2.0), ns(2.0)),
            (5, "A", ns(2.0), ns(2.0), ns(2.0)),
        ]

    def test_a_process_of_simpys_may_keep_it(self):
        """Also at a fraction of a nanosecond: the waiter gets it at the next whole one."""

        def begin(doer):
            promise, env = Promise(), doer.system.env

            def process():
                yield env.timeout(2.25)
                promise.keep("answer")

            env.process(process())
            doer.perform(promise, 1, timeout_ns=3)
            doer.perform(promise, 2, timeout_ns=2, on_timeout="too late")

        assert run_on("simulated", doing(begin)).trace == [(2, "too late", 0, 2, 2), (1, "answer", 0, 3, 3)]

    def test_an_error_of_the_world_outside_ends_the_run(self):
        def begin(doer):
            doer.system.call_at(ns(1.0), lambda: 1 / 0)

        with pytest.raises(ZeroDivisionError):
            run_on("simulated", doing(begin))

    async def test_it_can_be_called(self):
        promise = Promise()
        with trio.move_on_after(0):
            await promise()
            pytest.fail("nobody has kept it")
        promise.keep("answer")
        assert await promise() == "answer"
        broken = Promise()
        broken.keep(ConnectionError("gone"))
        with pytest.raises(ConnectionError, match="gone"):
            await broken()

    async def test_one_that_is_kept_after_the_end_reaches_no_one(self):
        trace, promise = [], Promise()
        async with LiveSystem() as system:
            system.spawn(Doer, trace).tell(Do(lambda doer: doer.perform(promise, 1)))
        promise.keep("answer")
        assert trace == []


class TestTheDispatcherLeavesOthersTheirTurn:
    """However much the actors have to do, the user's own tasks get to run."""

    @pytest.mark.parametrize("kind", ["messages", "timers", "handlers"])
    async def test_while_it_is_never_idle(self, kind):
        class Busy(Doer):
            def on_start(self):
                self.go_on()

            def go_on(self):
                if kind == "timers":
                    self.after(0.0, "again")
                else:
                    self.actor_ref.tell("again")

            @handles(str)
            def on_text(self, _text):
                self.go_on()

        class BusyAsync(Busy):
            @handles(str)
            async def on_text(self, _text):
                self.go_on()

        with trio.fail_after(30), trio.CancelScope() as scope:
            async with LiveSystem() as system:
                system.spawn(BusyAsync if kind == "handlers" else Busy, [])
                for _ in range(20):
                    await trio.lowlevel.checkpoint()
                await trio.to_thread.run_sync(lambda: None)
                scope.cancel()

    async def test_and_the_clock_goes_on_too(self):
        instants = set()

        class Busy(Doer):
            @handles(str)
            def on_text(self, _text):
                instants.add(self.now_ns)
                if len(instants) < 3:
                    self.actor_ref.tell("again")

        with trio.fail_after(30):
            async with LiveSystem() as system:
                busy = system.spawn(Busy, [])
                busy.tell("go")
                while len(instants) < 3:
                    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("until", [thorough(None), 1.0])
def test_a_simulation_is_freed_when_no_one_holds_it(until):
    """Also one that ends with an effect in flight whose request refers to its actor."""
    system = SimulatedSystem()
    system.spawn(Doer, []).tell(Do(lambda doer: doer.perform(Foreseen(ns(2.0), "answer"), doer.on_do)))
    system.run(until=until)
    gone = weakref.ref(system)
    del system
    gc.collect()
    assert gone() is None
