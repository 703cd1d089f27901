"""Retries alone: what is retried and when, what the budget allows, and what is left when a call is cancelled."""

import asyncio
import threading
from itertools import pairwise

import pytest
import trio

from actors import (
    Bulkhead,
    BulkheadFull,
    CircuitBreaker,
    ConfigurationError,
    Overloaded,
    Permanent,
    PermanentError,
    RateLimited,
    Retry,
    ServiceUnavailable,
    Transient,
    TransientError,
    WrongType,
)


def failing_with(host, *errors, starts=None):
    """Return a function of the host that raises these one after the other, and then returns how many there were."""
    left = list(errors)

    async def body():
        if starts is not None:
            starts.append(host.now())
        if left:
            raise left.pop(0)
        return len(errors)

    return host.function(body)


def call_with(host, retry, *errors):
    """Return the waits between the attempts of one call, and how it ended."""
    starts = []

    async def program(host):
        try:
            ended = await host.call(retry(failing_with(host, *errors, starts=starts)))
        except Exception as error:
            ended = error
        waits = [round(later - sooner, 6) for sooner, later in pairwise(starts)]
        return waits, ended

    return host.run(program)


def test_by_default_it_waits_as_a_channel_does(host):
    errors = [TransientError("down") for _ in range(3)]
    waits, ended = call_with(host, Retry(), *errors)
    assert waits == [1.0, 2.0]
    assert ended is errors[2]
    assert ended.__notes__ == ["no attempt is left, after attempt 3"]
    assert call_with(host, Retry(), errors[0], ValueError()) == ([1.0, 2.0], 2)


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (TransientError("busy", retry_after=7.5), [7.5]),
        (ServiceUnavailable(retry_after=3.0), [3.0]),
        (RateLimited("ann", 9.0), [9.0]),
        (Overloaded(4.0), [4.0]),
        (BulkheadFull(3), [1.0]),
        (TransientError("busy", retry_after=0.1), [1.0]),
        (ExceptionGroup("of a nursery", [TransientError("busy", retry_after=2.0)]), [2.0]),
        (PermanentError("no such user"), []),
        (WrongType("no function"), []),
    ],
)
def test_an_error_says_how_long_to_wait(host, error, waits):
    assert call_with(host, Retry(), error)[0] == waits


def test_what_an_error_means_may_be_said(host):
    def outcome_of(error):
        return Permanent() if error.args[0] == 404 else Transient(retry_after=float(error.args[0]), reason="busy")

    retry = Retry(config={"per_reason": {"busy": {"max_attempts": 2}}}, outcome_of=outcome_of)
    waits, ended = call_with(host, retry, OSError(30), OSError(5), OSError(5))
    assert waits == [30.0]
    assert ended.args == (5,)
    assert call_with(host, retry, OSError(404))[0] == []


def test_only_what_is_named_is_retried(host):
    retry = Retry(on=(OSError, TransientError))
    assert call_with(host, retry, ConnectionError())[0] == [1.0]
    waits, ended = call_with(host, retry, KeyError("x"))
    assert waits == []
    assert isinstance(ended, KeyError)


def test_only_what_is_named_is_tried_again(host):
    retry = Retry(config={"on": ["timeout", "throttled"]})
    assert call_with(host, retry, TimeoutError(), OSError())[0] == [1.0]
    assert call_with(host, retry, OSError())[0] == []


def test_no_retry_starts_after_its_time(host):
    retry = Retry(config={"max_attempts": 10, "max_elapsed": 4})
    waits, ended = call_with(host, retry, *[OSError()] * 10)
    assert waits == [1.0, 2.0]
    assert ended.__notes__ == ["retry time is up, after attempt 3"]


def test_a_budget_is_shared_by_all_calls(host):
    retry = Retry(config={"budget": {"kind": "token_bucket", "share": 0.0, "capacity": 3}})
    assert call_with(host, retry, OSError(), OSError())[0] == [1.0, 2.0]
    waits, ended = call_with(host, retry, OSError(), OSError())
    assert waits == [1.0]
    assert ended.__notes__ == ["retry budget spent, after attempt 2"]
    assert call_with(host, retry)[1] == 0, "a first attempt is always made"


def test_each_wait_is_told(host):
    told = []
    retry = Retry(max_attempts=3, on_retry=lambda *args: told.append(args))
    first, second = OSError(), TransientError("busy", 5)
    call_with(host, retry, first, second)
    assert told == [(1, first, 1.0), (2, second, 5.0)]


def test_a_seed_fixes_its_jitter(host):
    one, same, other = (Retry(config={"jitter": "full"}, seed=seed) for seed in (1, 1, 2))
    errors = [OSError(), OSError()]
    waits = call_with(host, one, *errors)[0]
    assert waits == call_with(host, same, *errors)[0]
    assert waits != call_with(host, other, *errors)[0]


def test_a_block_is_retried_too(host):
    async def program(host):
        numbers = []
        retry = Retry(max_attempts=3)
        began = host.now()
        if host.is_async:
            async for attempt in retry.attempts():
                with attempt:
                    numbers.append(attempt.number)
                    if attempt.number < 3:
                        raise OSError
        else:
            for attempt in retry.attempts():
                with attempt:
                    numbers.append(attempt.number)
                    if attempt.number < 3:
                        raise OSError
        return numbers, host.now() - began

    assert host.run(program) == ([1, 2, 3], pytest.approx(3.0))


def test_a_block_that_fails_to_the_end_raises_its_error():
    def use():
        for attempt in Retry(max_attempts=2, initial_delay=0).attempts():
            with attempt:
                raise OSError(attempt.number)

    with pytest.raises(OSError, match="2"):
        use()


def test_a_block_that_is_not_in_its_attempt_says_so():
    with pytest.raises(WrongType, match="with attempt"):
        for _ in Retry().attempts():
            pass


async def test_to_cancel_a_wait_gives_back_what_it_took_of_the_budget(autojump_clock):
    retry = Retry(initial_delay=None, config={"budget": {"kind": "envoy", "share": 0.0, "min_concurrency": 1}})
    starts = []

    @retry
    async def fail():
        starts.append(trio.current_time())
        raise OSError

    for _ in range(3):
        with trio.move_on_after(0.5):
            await fail()
    with pytest.raises(OSError):  # noqa: PT011
        await fail()
    assert len(starts) == 3 + 3


async def test_a_call_that_is_cancelled_is_not_retried(autojump_clock):
    calls = []

    @Retry()
    async def wait():
        calls.append(1)
        await trio.sleep_forever()

    with trio.move_on_after(1):
        await wait()
    assert calls == [1]


def test_asyncio_cancels_a_call_between_its_attempts():
    calls = []

    @Retry(initial_delay=3600)
    async def fail():
        calls.append(1)
        raise OSError

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fail(), 0.05)

    asyncio.run(main())
    assert calls == [1]


def test_threads_share_a_budget():
    """Of 8 threads, each fails once; the budget lets 5 of them retry."""
    retry = Retry(config={"initial_delay": 0, "budget": {"kind": "token_bucket", "share": 0.0, "capacity": 5}})
    outcomes, together = [], threading.Barrier(8)

    def work():
        first = True

        @retry
        def fail_once():
            nonlocal first
            if first:
                first = False
                together.wait(60)
                raise OSError

        try:
            fail_once()
        except OSError:
            outcomes.append("spent")
        else:
            outcomes.append("fine")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["fine"] * 5 + ["spent"] * 3


def test_a_breaker_inside_tells_when_to_come_back(host):
    """Three failures open it; the retry waits until it lets a probe through."""
    breaker = CircuitBreaker(failure_threshold=2, timeout=20.0)

    async def program(host):
        starts = []
        function = failing_with(host, OSError(), OSError(), starts=starts)
        await host.call(Retry(max_attempts=5)(breaker(function)))
        return [round(start - starts[0], 6) for start in starts]

    assert host.run(program) == [0.0, 1.0, 21.0]


def test_decorators_stack_and_keep_the_name(host):
    async def body(one, *, two):
        return one + two

    async def program(host):
        function = body if host.is_async else lambda one, *, two: one + two
        decorated = Retry()(CircuitBreaker()(Bulkhead(1)(function)))
        assert decorated.__name__ == function.__name__
        return await host.call(decorated, 1, two=2)

    assert host.run(program) == 3


@pytest.mark.parametrize("decorate", [Retry(), CircuitBreaker(), Bulkhead(1)])
def test_a_plain_function_that_returns_what_is_to_be_awaited_is_refused(decorate):
    async def body():
        return None

    with pytest.raises(WrongType, match="wanted an async def or a plain function"):
        decorate(lambda: body())()


@pytest.mark.parametrize("decorate", [Retry(), CircuitBreaker(), Bulkhead(1)])
def test_a_generator_of_which_nothing_runs_in_the_call_is_refused(decorate):
    def plain():
        yield

    async def asynchronous():
        yield

    for function in (plain, asynchronous):
        with pytest.raises(WrongType, match="got a generator"):
            decorate(function)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigurationError, match="max_attempts"):
        Retry(0)
    with pytest.raises(ConfigurationError, match="wanted max_attempts or config, got both"):
        Retry(3, config={})
    with pytest.raises(ConfigurationError, match="wanted a RetryConfig or a mapping"):
        Retry(config=3)
    with pytest.raises(ConfigurationError, match="limit"):
        Bulkhead()
    with pytest.raises(ConfigurationError, match="wait"):
        Bulkhead(3, wait=-1)
