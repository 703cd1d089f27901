"""A breaker, a limiter and a bulkhead alone as decorators and context managers, under all three hosts."""

import asyncio
import threading
import time

import pytest
import trio

from actors import (
    Bulkhead,
    BulkheadFull,
    CircuitBreaker,
    Notifier,
    PermanentError,
    RateLimited,
    RateLimiter,
    ServiceUnavailable,
)
from actors.messages import BreakerState
from actors.standalone.host import AsyncioHost, ThreadHost, TrioHost, current_host


async def entered(host, guard, within=None):
    """Enter a guard of this host, do something inside, and leave it."""
    if host.is_async:
        async with guard:
            if within is not None:
                await within()
    else:
        with guard:
            if within is not None:
                await within()


async def fail():
    raise OSError


def test_a_breaker_guards_a_block_and_says_when_it_opens(host):
    breaker = CircuitBreaker(failure_threshold=1, timeout=30.0)

    async def program(host):
        with pytest.raises(OSError):  # noqa: PT011
            await entered(host, breaker.guard(), fail)
        await host.sleep(10)
        with pytest.raises(ServiceUnavailable, match=r"^Circuit breaker is open$") as raised:
            await entered(host, breaker.guard(), fail)
        assert raised.value.retry_after == pytest.approx(20.0)
        await host.sleep(20)
        await entered(host, breaker.guard())
        return breaker.state

    assert host.run(program) is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("counts", "error", "state"),
    [
        (["throttled"], OSError(), "closed"),
        (["ambiguous"], OSError(), "open"),
        (["refused_by_bulkhead"], BulkheadFull(1), "open"),
        (["transient"], BulkheadFull(1), "closed"),
        (["permanent"], PermanentError("no"), "open"),
    ],
)
def test_a_breaker_counts_what_it_is_told_to(host, counts, error, state):
    breaker = CircuitBreaker(config={"failure_threshold": 1, "counts": counts})

    async def program(host):
        async def raising():
            raise error

        with pytest.raises(type(error)):
            await entered(host, breaker.guard(), raising)
        return breaker.state

    assert host.run(program) == state


def test_a_limiter_has_a_block_wait_until_it_fits(host):
    limiter = RateLimiter(config={"rate": "2/10s"})

    async def program(host):
        began = host.now()
        entries = []
        for _ in range(5):
            await entered(host, limiter.guard())
            entries.append(round(host.now() - began, 6))
        return entries

    assert host.run(program) == pytest.approx([0, 0, 10, 10, 20], abs=1e-5)


def test_a_limiter_that_drops_says_when_it_fits(host):
    limiter = RateLimiter(config={"rate": "1/10s", "on_limit": "drop"})

    async def program(host):
        async def body(user):
            return user

        ask = limiter.by(lambda user: user)(host.function(body))
        assert [await host.call(ask, user) for user in ("ann", "bob")] == ["ann", "bob"]
        await host.sleep(4)
        with pytest.raises(RateLimited, match=r"over the limit of 'ann': it fits in 6 s") as raised:
            await host.call(ask, "ann")
        assert raised.value.retry_after == pytest.approx(6.0)
        assert not limiter.try_acquire("bob")
        assert not await limiter.check_limit("bob")
        assert limiter.try_acquire()

    host.run(program)


def test_a_bulkhead_that_does_not_wait_refuses_at_once(host):
    bulkhead = Bulkhead(config={"limit": 1, "wait": 0})

    async def program(host):
        async def inside():
            assert bulkhead.in_flight == 1
            with pytest.raises(BulkheadFull, match="the bulkhead is full: 1 are under way"):
                await entered(host, bulkhead.guard())

        await entered(host, bulkhead.guard(), inside)
        with pytest.raises(OSError):  # noqa: PT011
            await entered(host, bulkhead.guard(), fail)
        return bulkhead.in_flight

    assert host.run(program) == 0


async def side_by_side(host, functions):
    """Run async functions side by side, in an asynchronous host."""
    if host.name == "trio":
        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)
                await trio.testing.wait_all_tasks_blocked()
    else:
        async with asyncio.TaskGroup() as group:
            for function in functions:
                group.create_task(function())


@pytest.mark.parametrize("host", ["trio", "asyncio"], indirect=True)
def test_tasks_wait_in_line_for_their_time(host):
    """One slot for 10 s each; who waits for 25 s at most gets it third, and the fourth is refused."""
    bulkhead = Bulkhead(1, wait=25.0)
    log = []

    def client(number):
        async def run():
            try:
                async with bulkhead.guard():
                    log.append((number, "began", host.now() - began))
                    await host.sleep(10)
            except BulkheadFull:
                log.append((number, "refused", host.now() - began))

        return run

    async def program(host):
        nonlocal began
        began = host.now()
        await side_by_side(host, [client(number) for number in range(4)])

    began = 0.0
    host.run(program)
    assert log == [
        (0, "began", pytest.approx(0)),
        (1, "began", pytest.approx(10)),
        (2, "began", pytest.approx(20)),
        (3, "refused", pytest.approx(25)),
    ]
    assert (bulkhead.in_flight, bulkhead.waiting) == (0, 0)


@pytest.mark.parametrize("host", ["trio", "asyncio"], indirect=True)
def test_a_waiter_that_is_cancelled_takes_no_slot(host):
    bulkhead = Bulkhead(1)
    log = []

    async def hold():
        async with bulkhead.guard():
            await host.sleep(10)

    async def give_up():
        if host.name == "trio":
            with trio.move_on_after(5):
                await wait()
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(wait(), 5)

    async def wait():
        async with bulkhead.guard():
            log.append("the one that gave up")

    async def last():
        async with bulkhead.guard():
            log.append("the last")

    host.run(lambda host: side_by_side(host, [hold, give_up, last]))
    assert log == ["the last"]
    assert (bulkhead.in_flight, bulkhead.waiting) == (0, 0)


def test_threads_and_loops_share_a_bulkhead():
    """Never more than two at once, whoever they are; and every one gets its turn."""
    bulkhead, breaker, limiter = Bulkhead(2), CircuitBreaker(), RateLimiter(1_000_000)
    lock, now, most, done = threading.Lock(), 0, 0, 0

    def begin():
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)

    def end():
        nonlocal now, done
        with lock:
            now -= 1
            done += 1

    @limiter
    @breaker
    @bulkhead
    def in_thread():
        begin()
        time.sleep(0.0005)
        end()

    def async_in(sleep):
        @limiter
        @breaker
        @bulkhead
        async def work():
            begin()
            await sleep(0.0005)
            end()

        return work

    async def in_trio():
        work = async_in(trio.sleep)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(work)

    async def in_asyncio():
        work = async_in(asyncio.sleep)
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(work())

    threads = [threading.Thread(target=in_thread) for _ in range(20)]
    threads += [threading.Thread(target=trio.run, args=(in_trio,))]
    threads += [threading.Thread(target=lambda: asyncio.run(in_asyncio()))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert (done, most) == (60, 2)
    assert (bulkhead.in_flight, bulkhead.waiting) == (0, 0)


def test_a_waiter_whose_loop_is_gone_holds_up_no_one():
    bulkhead = Bulkhead(1)
    loop = asyncio.new_event_loop()

    async def wait():
        async with bulkhead.guard():
            pass

    with bulkhead.guard():
        task = loop.create_task(wait())
        loop.run_until_complete(asyncio.sleep(0))
        task._log_destroy_pending = False
        loop.close()
        assert bulkhead.waiting == 1
    with bulkhead.guard():
        assert bulkhead.in_flight == 1
    assert (bulkhead.in_flight, bulkhead.waiting) == (0, 0)


def test_each_caller_has_its_own_host_where_trio_is_a_guest_of_asyncio():
    async def in_trio():
        return current_host(), await trio.to_thread.run_sync(current_host), current_host()

    async def main():
        async with Notifier.open_asyncio({"channels": {"email": {}}}) as notifier:
            return current_host(), await notifier.run(in_trio), await asyncio.to_thread(current_host), current_host()

    seen = asyncio.run(main())
    assert seen == (AsyncioHost, (TrioHost, ThreadHost, TrioHost), ThreadHost, AsyncioHost)
    assert current_host() is ThreadHost
