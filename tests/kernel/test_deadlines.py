"""Deadlines inside async handlers: the actors' own, which work on any clock."""

import contextlib
from dataclasses import dataclass

import pytest
import trio
from two_clocks import DoSlowly, Subject

from actors.instants import ns
from actors.kernel.actor import handles


@dataclass(frozen=True)
class Later:
    delay: float


class Worker(Subject):
    @handles(Later)
    async def on_later(self, later):
        await self.sleep(later.delay)
        return later.delay


@pytest.fixture
def does(run_on_both):
    """Run one handler, in the company of a helper; return what it noted down."""

    def run(work):
        def program(system, trace):
            helper = system.spawn(Worker, trace)

            async def with_helper(worker):
                await work(worker, helper)

            system.spawn(Worker, trace).tell(DoSlowly(with_helper))

        return run_on_both(program).trace

    return run


def test_a_deadline_ends_a_sleep_and_the_handler_goes_on(does):
    async def work(worker, _):
        with worker.move_on_after(1.0) as scope:
            await worker.sleep(5.0)
            worker.trace.append("never")
        worker.trace.append((scope.cancelled_caught, worker.now_ns))
        await worker.sleep(10.0)  # over the instant of the cancelled sleep
        worker.trace.append(worker.now_ns)

    assert does(work) == [(True, ns(1.0)), ns(11.0)]


def test_a_deadline_ends_the_wait_for_an_answer_and_not_the_answer(does):
    async def work(worker, helper):
        answer = helper.ask(Later(3.0), block=False)
        with worker.move_on_after(1.0) as scope:
            await answer.map(str)
        worker.trace.append((scope.cancelled_caught, worker.now_ns))
        worker.trace.append((await answer, worker.now_ns))

    assert does(work) == [(True, ns(1.0)), (3.0, ns(3.0))]


def test_a_deadline_that_is_not_reached_leaves_no_trace(does):
    async def work(worker, helper):
        with worker.move_on_after(1.0) as scope:
            worker.trace.append(await helper.ask(Later(0.5), block=False))
        with worker.move_on_after(0.0) as unused:
            pass
        worker.trace.append((scope.cancelled_caught, unused.cancelled_caught))
        await worker.sleep(5.0)
        worker.trace.append(worker.now_ns)

    assert does(work) == [0.5, (False, False), ns(5.5)]


def test_of_what_is_due_together_what_was_set_first_happens(does):
    async def work(worker, helper):
        for delay in (1.0, 0.0):
            with worker.move_on_after(delay) as scope:
                await worker.sleep(delay)
            worker.trace.append((scope.cancelled_caught, worker.now_ns))
        answer = helper.ask(Later(1.0), block=False)
        await worker.sleep(0.0)  # the helper has set its timer
        with worker.move_on_after(1.0) as scope:
            worker.trace.append(await answer)
        worker.trace.append((scope.cancelled_caught, worker.now_ns))

    # The answer is sent at the instant, behind its timer; the deadline's timer is next, and comes after what follows.
    assert does(work) == [(True, ns(1.0)), (True, ns(1.0)), 1.0, (False, ns(2.0))]


def test_of_nested_deadlines_the_one_that_passes_ends_its_own_block(does):
    async def work(worker, _):
        with worker.move_on_after(10.0) as outer:
            with worker.move_on_after(1.0) as inner:
                await worker.sleep(5.0)
            worker.trace.append((outer.cancelled_caught, inner.cancelled_caught, worker.now_ns))
            with worker.move_on_after(100.0) as inner:
                await worker.sleep(50.0)
            worker.trace.append("never")
        worker.trace.append((outer.cancelled_caught, inner.cancelled_caught, worker.now_ns))

    assert does(work) == [(False, True, ns(1.0)), (True, False, ns(10.0))]


@pytest.mark.parametrize("inner_first", [True, False])
def test_of_nested_deadlines_at_one_instant_both_cancel(does, inner_first):
    async def work(worker, _):
        with worker.move_on_after(2.0 if inner_first else 1.0) as outer:
            await worker.sleep(1.0 if inner_first else 0.0)
            with worker.move_on_after(1.0) as inner:
                await worker.sleep(5.0)
            worker.trace.append((outer.cancelled_caught, inner.cancelled_caught))
            await worker.sleep(5.0)
        worker.trace.append((outer.cancelled_caught, worker.now_ns))

    instant_ns = ns(2.0 if inner_first else 1.0)
    # The outer one's timer was set first in both cases, and what it raises is not the inner one's to catch.
    assert does(work) == [(True, instant_ns)]


def test_a_block_that_will_not_end_is_told_at_every_wait(does):
    async def work(worker, helper):
        with worker.move_on_after(1.0) as scope:
            try:
                await worker.sleep(5.0)
            finally:
                try:
                    await helper.ask(Later(1.0), block=False)
                finally:
                    worker.trace.append(worker.now_ns)
        worker.trace.append((scope.cancelled_caught, worker.now_ns))
        await worker.sleep(1.0)
        worker.trace.append(worker.now_ns)

    assert does(work) == [ns(1.0), (True, ns(1.0)), ns(2.0)]


def test_what_the_block_raises_instead_is_raised(does):
    async def work(worker, _):
        scope = worker.move_on_after(1.0)
        with contextlib.suppress(ZeroDivisionError), scope:
            try:
                await worker.sleep(5.0)
            finally:
                raise ZeroDivisionError
        worker.trace.append((scope.cancelled_caught, worker.now_ns))
        await worker.sleep(1.0)

    assert does(work) == [(False, ns(1.0))]


def test_except_exception_does_not_swallow_it(does):
    async def work(worker, _):
        with worker.move_on_after(1.0) as scope:
            while True:
                try:
                    await worker.sleep(5.0)
                except Exception:
                    worker.trace.append("swallowed")
        worker.trace.append(scope.cancelled_caught)

    assert does(work) == [True]


class TestRoundRealIo:
    @pytest.fixture
    def does_live(self, run_live):
        return lambda work: run_live(lambda system, trace: system.spawn(Worker, trace).tell(DoSlowly(work)))

    def test_it_is_cancelled(self, does_live):
        async def work(worker):
            with worker.move_on_after(1.0) as scope:
                await trio.sleep(5.0)
            worker.trace.append((scope.cancelled_caught, worker.now_ns))
            await trio.sleep(1.0)
            await worker.sleep(1.0)
            worker.trace.append(worker.now_ns)

        assert does_live(work) == [(True, ns(1.0)), ns(3.0)]

    def test_so_is_a_nursery_with_all_its_tasks(self, does_live):
        async def work(worker):
            for own in (True, False):
                with worker.move_on_after(1.0) as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(trio.sleep, 5.0)
                        if own:
                            await worker.sleep(5.0)
                worker.trace.append((scope.cancelled_caught, worker.now_ns))

        assert does_live(work) == [(True, ns(1.0)), (True, ns(2.0))]

    def test_what_cannot_be_cancelled_is_waited_for_and_then_the_deadline_holds(self, does_live):
        async def work(worker):
            with worker.move_on_after(1.0) as scope:
                with trio.CancelScope(shield=True):
                    await trio.sleep(3.0)
                worker.trace.append(worker.now_ns)
                await worker.sleep(5.0)
                worker.trace.append("never")
            worker.trace.append((scope.cancelled_caught, worker.now_ns))
            await worker.sleep(5.0)
            worker.trace.append(worker.now_ns)

        assert does_live(work) == [ns(3.0), (True, ns(3.0)), ns(8.0)]

    def test_a_deadline_that_passed_where_nothing_waits_any_more_is_forgotten(self, does_live):
        async def work(worker):
            with worker.move_on_after(1.0) as scope, trio.CancelScope(shield=True):
                await trio.sleep(3.0)
            worker.trace.append((scope.cancelled_caught, worker.now_ns))
            await worker.sleep(5.0)
            await trio.sleep(5.0)
            worker.trace.append(worker.now_ns)

        assert does_live(work) == [(False, ns(3.0)), ns(13.0)]

    def test_a_shield_keeps_it_out_of_our_own_waits_too(self, does_live):
        async def work(worker):
            with worker.move_on_after(1.0) as scope:
                try:
                    await worker.sleep(5.0)
                finally:
                    with trio.CancelScope(shield=True):
                        await worker.sleep(2.0)
            worker.trace.append((scope.cancelled_caught, worker.now_ns))
            with worker.move_on_after(1.0) as scope, trio.CancelScope(shield=True):
                await worker.sleep(2.0)
            worker.trace.append((scope.cancelled_caught, worker.now_ns))

        assert does_live(work) == [(True, ns(3.0)), (False, ns(5.0))]

    def test_nested_with_trios_own_the_earlier_wins(self, does_live):
        async def work(worker):
            for ours, trios in ((1.0, 2.0), (2.0, 1.0)):
                for waits in (worker.sleep, trio.sleep):
                    began_ns = worker.now_ns
                    with worker.move_on_after(ours) as our_scope, trio.move_on_after(trios) as trio_scope:
                        await waits(5.0)
                    caught = our_scope.cancelled_caught, trio_scope.cancelled_caught
                    worker.trace.append((*caught, worker.now_ns - began_ns))

        ours_won, trios_won = (True, False, ns(1.0)), (False, True, ns(1.0))
        assert does_live(work) == [ours_won, ours_won, trios_won, trios_won]

    def test_at_the_instant_of_the_result_either_is_fine_but_exactly_one(self, does_live):
        async def work(worker):
            for _ in range(50):
                with worker.move_on_after(1.0) as scope:
                    await trio.sleep(1.0)
                    worker.trace.append("result")
                if scope.cancelled_caught:
                    worker.trace.append("deadline")
                await worker.sleep(1.0)

        assert len(does_live(work)) == 50
