"""A notifier in an asyncio program: nothing accepted is lost, however tasks, blocks and loops end."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from contextlib import asynccontextmanager

import pytest
import trio
from asyncio_loops import LOOPS, run_in
from hosted import EMAIL_ONLY, Post, SlowStore, opened
from worlds import PLACED, email

from actors import NotificationService, Notifier, SqliteStore
from actors.errors import ActorSystemError, ConfigurationError, NotifierClosed, StoreFailed
from actors.hosts.guest import on_asyncio
from actors.messages import OrderPlaced
from actors.pipeline.orders import Acceptance


@pytest.fixture(params=LOOPS)
def run(request):
    """Run a coroutine as a program does, in a loop of either kind."""
    return lambda main: run_in(request.param, main)


def open_email(post, path, **settings):
    """Open a notifier of this post, over a file."""
    return Notifier.open_asyncio(EMAIL_ONLY | settings, providers=lambda: post, store=lambda: SqliteStore.open(path))


def test_an_event_goes_all_the_way_and_what_is_async_runs_in_asyncio(run, tmp_path):
    seen = []

    async def letters_of(notifier):
        await trio.sleep(0)
        return len(notifier.dead_letter_queue)

    async def divide(dividend):
        return dividend / 0

    async def main():
        alerts = asyncio.Queue()
        async with Notifier.open_asyncio(
            {"channels": {"email": {}, "sms": {"retry": {"max_attempts": 1}}}},
            providers={"email": NotificationService, "sms": {"primary": lambda: NotificationService(failure_rate=1.0)}},
            store=lambda: SqliteStore.open(tmp_path / "store.db"),
            notify=alerts.put,
        ) as notifier:

            @notifier.subscribe(OrderPlaced)
            async def confirm(event):
                await asyncio.sleep(0)
                seen.append(asyncio.current_task() is not None)
                return email("of-a-subscriber")

            notifier.subscribe(OrderPlaced)(lambda event: seen.append(event.order_id))
            await notifier.publish(PLACED)
            assert await notifier.wait_until_quiet(20)
            assert await notifier.send(email("of-a-subscriber")) == Acceptance.DUPLICATE
            assert {sent.notification_id for sent in notifier.sent_notifications} == {
                "email-order-placed-7",
                "of-a-subscriber",
            }
            assert "sms-order-placed-7 moved to DLQ" in await asyncio.wait_for(alerts.get(), 20)
            assert [letter.notification_id for letter in notifier.dead_letter_queue] == ["sms-order-placed-7"]
            assert await notifier.operate_breaker("email", "force-open")
            assert not await notifier.operate_breaker("email", "force-open")
            assert await notifier.run(letters_of, notifier.inside) == 1
            with pytest.raises(ZeroDivisionError):
                await notifier.run(divide, 1)
            with pytest.raises(ConfigurationError):
                await notifier.operate_breaker("email", "burn")
        for late in (notifier.send(email()), notifier.publish(PLACED), notifier.wait_until_quiet()):
            with pytest.raises(NotifierClosed):
                await late
        assert not trio.lowlevel.in_trio_run()

    run(main())
    assert sorted(seen, key=str) == ["7", True]


def test_to_cancel_a_waiting_send_loses_nothing(run):
    post, store = Post(), SlowStore()

    async def main():
        async with Notifier.open_asyncio(EMAIL_ONLY, providers=lambda: post, store=lambda: opened(store)) as notifier:
            sending = [asyncio.create_task(notifier.send(email(str(i)))) for i in range(20)]
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in sending)
            for task in sending:
                task.cancel()
            await asyncio.wait(sending)
            assert all(task.cancelled() for task in sending)
            store.gate.set()

    run(main())
    assert sorted(post.delivered, key=int) == [str(i) for i in range(20)]


def test_to_cancel_a_function_of_trios_waits_for_its_end(run):
    ended = []

    async def work():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            ended.append(True)

    async def main():
        async with Notifier.open_asyncio(EMAIL_ONLY) as notifier:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(notifier.run(work), 0.05)
            assert ended == [True]

    run(main())


@pytest.mark.parametrize("how", ["cancelled", "raised"])
def test_a_block_that_breaks_off_leaves_in_its_store_what_is_accepted(run, tmp_path, how):
    post = Post(is_open=False)

    async def break_off():
        async with open_email(post, tmp_path / "store.db", drain=3600) as notifier:
            for i in range(5):
                await notifier.send(email(str(i)))
            if how == "raised":
                raise LookupError("in the lifespan of the host")
            asyncio.current_task().cancel()
            await asyncio.sleep(3600)

    async def resume():
        post.is_open = True
        async with open_email(post, tmp_path / "store.db") as notifier:
            assert await notifier.wait_until_quiet(20)

    with pytest.raises(LookupError if how == "raised" else asyncio.CancelledError):
        run(break_off())
    assert not trio.lowlevel.in_trio_run()
    assert post.delivered == []
    run(resume())
    assert sorted(post.delivered) == list("01234")


def test_to_cancel_a_drain_ends_it(run, tmp_path):
    post = Post(is_open=False)

    async def main():
        async with open_email(post, tmp_path / "store.db", drain=3600) as notifier:
            await notifier.send(email())
            asyncio.get_running_loop().call_later(0.05, asyncio.current_task().cancel)

    with pytest.raises(asyncio.CancelledError):
        run(main())
    assert not trio.lowlevel.in_trio_run()


def test_to_cancel_its_opening_closes_what_was_opened(run):
    closed = []

    @asynccontextmanager
    async def slow_to_open():
        try:
            await trio.sleep_forever()
            yield None
        finally:
            closed.append(True)

    async def main():
        async with Notifier.open_asyncio(EMAIL_ONLY, store=slow_to_open):
            pytest.fail("it was opened")

    with pytest.raises(TimeoutError):
        run(asyncio.wait_for(main(), 0.05))
    assert closed == [True]
    assert not trio.lowlevel.in_trio_run()


@pytest.mark.parametrize("swallows", [False, True])
def test_what_ends_the_notifier_cancels_its_block_and_is_raised_from_it(run, swallows):
    store = SlowStore(StoreFailed("the disk is full"))

    async def use():
        async with Notifier.open_asyncio(EMAIL_ONLY, store=lambda: opened(store)) as notifier:
            store.gate.set()
            with pytest.raises(StoreFailed):
                await notifier.send(email())
            with contextlib.suppress(asyncio.CancelledError if swallows else ()):
                await asyncio.sleep(3600)

    async def main():
        with pytest.raises(StoreFailed, match="the disk is full"):
            await use()
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    run(main())


def test_several_share_one_loop(run, tmp_path):
    posts = [Post() for _ in range(3)]

    async def use(i, others):
        async with open_email(posts[i], tmp_path / f"{i}.db") as notifier:
            await others.wait()
            for number in range(10):
                await notifier.send(email(f"{i}-{number}"))

    async def main():
        others = asyncio.Barrier(3)
        await asyncio.gather(*(use(i, others) for i in range(3)))
        assert not trio.lowlevel.in_trio_run()
        await use(0, asyncio.Barrier(1))  # and one after them

    run(main())
    assert [len(post.delivered) for post in posts] == [10, 10, 10]


def test_one_opens_while_the_last_one_closes(run):
    async def use(before):
        await asyncio.sleep(before)
        async with Notifier.open_asyncio(EMAIL_ONLY) as notifier:
            await notifier.send(email())

    async def main():
        await asyncio.gather(*(use(0.001 * i) for i in range(40)))

    run(main())
    assert not trio.lowlevel.in_trio_run()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_is_closed_over_it_loses_nothing(tmp_path, loop, caplog):
    post = Post(is_open=False)
    abandoned, waiting = LOOPS[loop](), []

    async def enter(context):
        notifier = await context.__aenter__()
        notifier.subscribe(OrderPlaced)(forever)
        await notifier.send(email("before"))
        publishing = asyncio.create_task(notifier.publish(PLACED))
        await asyncio.sleep(0.01)
        return context, notifier, publishing

    async def forever(event):
        waiting.append(asyncio.current_task())
        await asyncio.sleep(3600)

    async def resume(notifier):
        with pytest.raises(ActorSystemError, match="another event loop"):
            await notifier.send(email("late"))
        async with open_email(post, tmp_path / "store.db") as notifier:
            await notifier.send(email("after"))
            post.is_open = True

    context, notifier, publishing = abandoned.run_until_complete(enter(open_email(post, tmp_path / "store.db")))
    abandoned.close()
    run_in(loop, resume(notifier))
    assert sorted(post.delivered) == ["after", "before", "email-order-placed-7"]
    assert "an asyncio loop was closed before a notifier in it" in caplog.text
    for task in (publishing, *waiting):
        task._log_destroy_pending = False  # asyncio says so of tasks that no one has waited for
    del context


def test_it_installs_no_handler_of_signals():
    loop = asyncio.new_event_loop()
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert before[0] is signal.default_int_handler

    async def main():
        async with Notifier.open_asyncio(EMAIL_ONLY):
            wakeup = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(wakeup)
            return wakeup, (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))

    try:
        wakeup, during = loop.run_until_complete(main())
    finally:
        loop.close()
    assert wakeup == -1
    assert during == before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_another_loop_is_told_that_it_is_not_its_own(run):
    async def main():
        async with Notifier.open_asyncio(EMAIL_ONLY) as notifier:
            for late in (notifier.send, notifier.publish, notifier.run):
                with pytest.raises(ActorSystemError, match="another event loop"):
                    await asyncio.to_thread(asyncio.run, late(email()))
            other = asyncio.new_event_loop()
            try:
                asyncio._set_running_loop(None)
                with pytest.raises(ActorSystemError, match="another event loop of this thread"):
                    other.run_until_complete(Notifier.open_asyncio(EMAIL_ONLY).__aenter__())
            finally:
                other.close()
                asyncio._set_running_loop(notifier._loop)

    run(main())


def test_a_thread_without_a_loop_is_told_that_it_has_none(run):
    async def main():
        async with Notifier.open_asyncio(EMAIL_ONLY) as notifier:
            with pytest.raises(ActorSystemError, match="wanted an event loop of asyncio's, got none"):
                await asyncio.to_thread(notifier.subscribe, OrderPlaced)
            with pytest.raises(ActorSystemError, match="wanted an event loop of asyncio's, got trio's"):
                await asyncio.to_thread(trio.run, notifier.send, email())

    run(main())


def test_a_function_of_trios_is_told_to_use_the_notifier_inside(run):
    async def main():
        post = Post()
        async with Notifier.open_asyncio(EMAIL_ONLY, providers=lambda: post) as notifier:
            for there in (notifier.send, notifier.publish, notifier.cancel, notifier.state):
                with pytest.raises(ActorSystemError, match="a task of trio's: await the notifier `inside` there"):
                    await notifier.run(there, email())
            await notifier.run(notifier.inside.send, email("inside"))
        assert post.delivered == ["inside"]

    run(main())


def test_a_function_of_trios_that_outlives_the_notifier_is_closed_and_not_cancelled(run):
    async def main():
        async with Notifier.open_asyncio(EMAIL_ONLY) as notifier:
            running = asyncio.create_task(notifier.run(trio.sleep_forever))
            await asyncio.sleep(0)
        with pytest.raises(NotifierClosed):
            await running

    run(main())


async def test_in_trio_it_says_what_opens_one():
    with pytest.raises(ActorSystemError, match=r"got trio's, where Notifier\.open opens one"):
        async with Notifier.open_asyncio(EMAIL_ONLY):
            pass


async def test_in_trio_it_refuses_to_be_a_guest():
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(ActorSystemError, match=r"trio runs in this thread already: use Notifier\.open"):
            loop.run_until_complete(Notifier.open_asyncio(EMAIL_ONLY).__aenter__())
    finally:
        loop.close()


@pytest.mark.integration
def test_a_forked_child_is_refused(run):
    async def main():
        async with Notifier.open_asyncio(EMAIL_ONLY) as notifier:
            child = os.fork()
            if child == 0:
                os._exit(in_child(notifier))
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def in_child(notifier):
        try:
            for use in (notifier.send(email()), Notifier.open_asyncio(EMAIL_ONLY).__aenter__()):
                with pytest.raises(ActorSystemError, match="forked"):
                    asyncio.run(use)
        except BaseException as error:
            print(repr(error), flush=True)
            return 1
        return 0

    assert run(main()) == 0


def test_what_is_no_opener_is_reported_at_once(run):
    async def main():
        with pytest.raises(ConfigurationError) as raised:
            async with Notifier.open_asyncio(store=SqliteStore.open("x.db"), providers={"sms": {"primary": 3}}):
                pass
        return raised.value.problems

    store, provider = run(main())
    assert store.startswith("store: wanted a function that opens it: lambda: SqliteStore.open(path), got <")
    assert provider == "providers.sms.primary: wanted a function that opens it: lambda: EmailProvider(settings), got 3"


def test_a_task_that_is_cancelled_from_elsewhere_does_not_end_trio(run, caplog):
    async def main():
        async with Notifier.open_asyncio(EMAIL_ONLY | {"subscriber_timeout": 3600}) as notifier:
            tasks = []

            @notifier.subscribe(OrderPlaced)
            async def wait(event):
                tasks.append(asyncio.current_task())
                await asyncio.sleep(3600)

            publishing = asyncio.create_task(notifier.publish(PLACED))
            while not tasks:
                await asyncio.sleep(0.001)
            tasks[0].cancel()
            with pytest.raises(NotifierClosed, match=r"wait.* was cancelled"):
                await publishing
            assert await notifier.send(email()) == Acceptance.ACCEPTED

    run(main())


def test_trio_waits_for_what_it_cancels_in_asyncio(run):
    ended = []

    async def work():
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            ended.append(threading.get_ident())

    async def cancel(loop):
        with trio.move_on_after(0.05) as scope:
            await on_asyncio(loop, work)
        return scope.cancelled_caught

    async def main():
        async with Notifier.open_asyncio(EMAIL_ONLY) as notifier:
            assert await notifier.run(cancel, asyncio.get_running_loop())

    run(main())
    assert ended == [threading.get_ident()]


def test_it_costs_an_idle_program_nothing(run):
    async def main():
        async with Notifier.open_asyncio(EMAIL_ONLY) as notifier:
            await notifier.send(email())
            assert await notifier.wait_until_quiet(20)
            await asyncio.sleep(0.05)
            steps = 0
            step = notifier._guest._step

            def counted():
                nonlocal steps
                steps += 1
                step()

            notifier._guest._step = counted
            began = time.monotonic()
            await asyncio.sleep(0.2)
            return steps, time.monotonic() - began

    steps, seconds = run(main())
    assert steps <= 5 + 10 * seconds, "trio sleeps when there is nothing to do"
