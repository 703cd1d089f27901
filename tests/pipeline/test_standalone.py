"""One policy alone in a trio service: the circuit breaker round a call, the limiter for a user."""

import functools
from collections.abc import AsyncGenerator, Awaitable

import pytest
import trio
from each_row import over_each

from actors import CircuitBreaker, RateLimiter
from actors.errors import (
    ConfigurationError,
    PermanentError,
    RetrylabError,
    ServiceUnavailable,
    TransientError,
    WrongType,
)
from actors.messages import BreakerState
from actors.settings.channel import CircuitBreakerConfig, RateLimitConfig


async def works(value: object = "fine") -> object:
    return value


async def fails(error: Exception | None = None) -> None:
    raise error if error is not None else TransientError("down")


async def fail_often(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(TransientError):
            await breaker.call(fails)


async def test_it_opens_refuses_and_lets_a_probe_through_at_the_exact_instant(autojump_clock):
    seen: list[str] = []
    breaker = CircuitBreaker(failure_threshold=3, timeout=60.0, on_transition=lambda each: seen.append(each.to_state))
    assert await breaker.call(works, 7) == 7
    await fail_often(breaker, 3)
    assert breaker.state is BreakerState.OPEN
    calls = []

    async def call() -> None:
        calls.append(trio.current_time())

    with pytest.raises(ServiceUnavailable, match=r"^Circuit breaker is open$"):
        await breaker.call(call)
    await trio.sleep(59.999)
    with pytest.raises(ServiceUnavailable):
        await breaker.call(call)
    assert calls == []
    await trio.sleep(0.001)
    await breaker.call(call)
    assert len(calls) == 1
    assert seen == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


async def test_permanent_errors_do_not_count_and_as_a_probes_answer_close_it(autojump_clock):
    breaker = CircuitBreaker(failure_threshold=2, timeout=10)
    for _ in range(10):
        with pytest.raises(PermanentError):
            await breaker.call(fails, PermanentError("bad address"))
    await fail_often(breaker, 2)
    await trio.sleep(10)
    with pytest.raises(PermanentError):
        await breaker.call(fails, PermanentError("bad address"))
    assert breaker.state is BreakerState.CLOSED


async def test_what_a_nursery_in_a_call_has_wrapped_counts_as_what_it_is(autojump_clock):
    breaker = CircuitBreaker(failure_threshold=1)

    async def in_a_nursery(error: Exception) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, error)

    with pytest.raises(ExceptionGroup):
        await breaker.call(in_a_nursery, PermanentError("bad address"))
    assert breaker.state is BreakerState.CLOSED
    with pytest.raises(ExceptionGroup):
        await breaker.call(in_a_nursery, OSError("no route"))
    assert breaker.state is BreakerState.OPEN


async def test_one_probe_at_a_time_and_one_that_is_cancelled_gives_its_permit_back(autojump_clock):
    breaker = CircuitBreaker(failure_threshold=1, timeout=10)
    await fail_often(breaker, 1)
    await trio.sleep(10)
    async with trio.open_nursery() as nursery:

        async def slow_probe() -> None:
            with trio.move_on_after(5):
                await breaker.call(trio.sleep_forever)

        nursery.start_soon(slow_probe)
        await trio.sleep(1)
        with pytest.raises(ServiceUnavailable):
            await breaker.call(works)
    assert breaker.state is BreakerState.HALF_OPEN
    assert await breaker.call(works) == "fine"
    assert breaker.state is BreakerState.CLOSED


async def test_a_late_success_from_before_the_trip_changes_nothing(autojump_clock):
    breaker = CircuitBreaker(failure_threshold=1, timeout=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(breaker.call, trio.sleep, 12)
        await trio.sleep(1)
        await fail_often(breaker, 1)
        await trio.sleep(10)

        async def probe() -> None:
            await breaker.call(trio.sleep, 5)

        nursery.start_soon(probe)
        await trio.sleep(2)
        assert breaker.state is BreakerState.HALF_OPEN


async def test_a_timed_out_call_is_a_failure_when_it_says_so(autojump_clock):
    breaker = CircuitBreaker(failure_threshold=1)

    async def with_a_deadline() -> None:
        with trio.fail_after(1):
            await trio.sleep_forever()

    with pytest.raises(trio.TooSlowError):
        await breaker.call(with_a_deadline)
    assert breaker.state is BreakerState.OPEN


def plain() -> str:
    return "plain"


async def generator() -> AsyncGenerator[int, None]:
    yield 1


@pytest.mark.parametrize(
    "function", [plain, generator, lambda: None, dict], ids=["plain", "generator", "lambda", "class"]
)
async def test_a_function_that_is_not_async_is_a_bug_of_the_caller_and_no_failure(autojump_clock, function):
    breaker = CircuitBreaker(failure_threshold=1, timeout=10)
    with pytest.raises(WrongType, match=r"^wanted an async function, got .*, which returned "):
        await breaker.call(function)
    assert breaker.state is BreakerState.CLOSED
    await fail_often(breaker, 1)
    with pytest.raises(ServiceUnavailable):
        await breaker.call(function)
    await trio.sleep(10)
    with pytest.raises(WrongType):
        await breaker.call(function)  # as a probe it gives its permit back
    assert await breaker.call(works) == "fine"
    assert breaker.state is BreakerState.CLOSED


async def test_a_function_that_was_called_already_is_none(autojump_clock):
    breaker = CircuitBreaker(failure_threshold=1)
    for called in (works(), None):
        with pytest.raises(WrongType, match=r"^wanted an async function and its arguments, got (<coroutine|None)"):
            await breaker.call(called)
    assert breaker.state is BreakerState.CLOSED


async def test_whatever_can_be_awaited_will_do(autojump_clock):
    breaker = CircuitBreaker(failure_threshold=1)
    assert await breaker.call(lambda: works(1)) == 1
    assert await breaker.call(functools.partial(works, 2)) == 2

    def raises_at_once() -> Awaitable[None]:
        raise TransientError("no connection")

    with pytest.raises(TransientError):
        await breaker.call(raises_at_once)
    assert breaker.state is BreakerState.OPEN


@over_each(
    [
        (lambda: CircuitBreaker(failure_threshold=0), "failure_threshold: wanted a whole number of at least 1, got 0"),
        (lambda: CircuitBreaker(2.5), "failure_threshold: wanted a whole number of at least 1, got 2.5"),
        (lambda: CircuitBreaker(timeout=-1), "timeout: wanted a duration of more than 0 such as"),
        (lambda: CircuitBreaker(3, config=CircuitBreakerConfig()), "wanted failure_threshold or config, got both"),
        (lambda: CircuitBreaker(5, 60.0, config={}), "wanted failure_threshold and timeout or config, got both"),
        (lambda: CircuitBreaker(config={"timout": 3}), "timout: unknown key; did you mean timeout?"),
        (lambda: CircuitBreaker(config=3), "config: wanted a CircuitBreakerConfig or a mapping, got 3"),
        (lambda: CircuitBreaker(config={"per": "host"}),
         "per: wanted channel, as a circuit breaker alone knows no recipients (a pipeline's does), got 'host'"),
        (lambda: CircuitBreaker(config={"when_open": "wait"}),
         "when_open: wanted none for a circuit breaker alone, where a caller that meets it open is refused at once "
         "(in a pipeline they wait), got 'wait'"),
        (lambda: CircuitBreaker(config=CircuitBreakerConfig(resume_doubling=5)),
         "resume_doubling: wanted none for a circuit breaker alone, where no caller waits"),
        (lambda: CircuitBreaker(config={"resume_rate": "5/s"}),
         "resume_rate: wanted none for a circuit breaker alone, where no caller waits"),
        (lambda: RateLimiter(0), "max_per_minute: wanted a whole number of at least 1, got 0"),
        (lambda: RateLimiter(max_per_minute="100"),
         "max_per_minute: wanted a whole number of at least 1 (100 without quotes), got '100'"),
        (lambda: RateLimiter(100, config=RateLimitConfig(rate="1/s")), "wanted max_per_minute or config, got both"),
        (lambda: RateLimiter(config={}), "wanted one of max_per_minute, rate and rates, got {}"),
        (
            lambda: RateLimiter(config=CircuitBreakerConfig()),
            "config: wanted a RateLimitConfig or a mapping, got CircuitBreakerConfig(",
        ),
    ]
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words_of_the_settings(make, problem):
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value).startswith(problem)
    assert len(caught.value.problems) == 1


def test_all_settings_that_mean_nothing_alone_are_said_at_once():
    with pytest.raises(ConfigurationError) as caught:
        CircuitBreaker(config={"per": "host", "when_open": "fail", "resume_rate": "1/s", "resume_doubling": "1s"})
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "per", "when_open", "resume_rate", "resume_doubling",
    ]  # fmt: skip


SLOW_CALLS = {"window": {"calls": 4}, "minimum_calls": 2, "slow_call": {"duration": "2s", "rate": "100%"}}


async def test_calls_that_take_too_long_open_it_whether_they_work_or_fail(autojump_clock):
    async def fails_late() -> None:
        await trio.sleep(2.001)
        raise TransientError("late")

    breaker = CircuitBreaker(config={**SLOW_CALLS, "failure_rate": 1.0})
    await breaker.call(trio.sleep, 2.001)
    assert breaker.state is BreakerState.CLOSED
    with pytest.raises(TransientError):
        async with breaker.guard():
            await fails_late()
    assert breaker.state is BreakerState.OPEN


async def test_a_refusal_of_one_message_is_slow_too_where_it_counts(autojump_clock):
    async def refuses_late() -> None:
        await trio.sleep(3)
        raise PermanentError("bad address")

    breaker = CircuitBreaker(config={**SLOW_CALLS, "ignored_counts_as": "success"})
    for _ in range(2):
        with pytest.raises(PermanentError):
            await breaker.call(refuses_late)
    assert breaker.state is BreakerState.OPEN


async def open_time(breaker: CircuitBreaker) -> float:
    """Return for how many whole seconds it refuses, once it has opened."""
    await fail_often(breaker, 1)
    for second in range(1000):
        try:
            await breaker.call(fails, PermanentError("bad address"))
        except PermanentError:
            return second
        except ServiceUnavailable:
            await trio.sleep(1)
    raise AssertionError("it stays open")


async def test_open_times_are_jittered_by_the_seed(autojump_clock):
    async def times(seed: int | None) -> list[float]:
        growth = {"multiplier": 2, "jitter": 0.2}
        breaker = CircuitBreaker(config={"failure_threshold": 1, "timeout": "5m", "open_growth": growth}, seed=seed)
        return [await open_time(breaker) for _ in range(5)]

    first = await times(1)
    assert first == await times(1) != await times(2)
    assert await times(None) != await times(None)
    assert all(240 <= each <= 361 for each in first)
    assert len(set(first)) > 1


def test_service_unavailable_is_of_the_family():
    assert issubclass(ServiceUnavailable, RetrylabError)
    assert str(ServiceUnavailable()) == "Circuit breaker is open"


async def test_the_limiter_says_yes_or_no_at_once_for_each_user(autojump_clock):
    limiter = RateLimiter(max_per_minute=3)
    began = trio.current_time()
    assert [await limiter.check_limit("ann") for _ in range(5)] == [True, True, True, False, False]
    assert await limiter.check_limit("bob")
    assert trio.current_time() == began
    await trio.sleep(59.999)
    assert not await limiter.check_limit("ann")
    await trio.sleep(0.001)
    assert await limiter.check_limit("ann")


async def test_a_hundred_a_minute_unless_told_otherwise(autojump_clock):
    limiter = RateLimiter()
    assert sum([await limiter.check_limit("ann") for _ in range(150)]) == 100
    bucket = RateLimiter(config=RateLimitConfig.model_validate({"rate": "1/s", "kind": "token_bucket", "burst": 2}))
    assert [await bucket.check_limit("ann") for _ in range(3)] == [True, True, False]


async def test_both_work_on_the_real_clock():
    assert await CircuitBreaker().call(works) == "fine"
    assert await RateLimiter().check_limit("ann")
