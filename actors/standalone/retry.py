"""Retries alone, of calls of your own: under trio, under asyncio and in threads.

::

    retry = Retry(max_attempts=5, initial_delay=0.1)

    @retry
    async def fetch(url): ...         # or def

    for attempt in retry.attempts():  # or async for
        with attempt:
            ...
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

import trio

from actors.errors import (
    BulkheadFull,
    Overloaded,
    RateLimited,
    ServiceUnavailable,
    StoreBusy,
    WrongType,
    described,
    unwrapped,
)
from actors.instants import NS_PER_S
from actors.kernel.randomness import RandomStreams
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.pipeline.channel import outcome_of
from actors.policies.retry.budgets import Budget, make_budget
from actors.policies.retry.policy import Progress, RetryPolicy, failure_kind
from actors.settings.channel import RetryConfig
from actors.standalone.host import Host, MonotonicClock, block, current_host, decorated, no_awaitable
from actors.standalone.settings import given_settings

F = TypeVar("F", bound=Callable[..., Any])

OnRetry = Callable[[int, Exception, float], object]
"""Called before each wait: with the number of the attempt that failed, from 1, its error, and the wait in seconds."""


class Retry:
    """Repeats calls that raise, with the retries of a channel. It may be shared by threads and by tasks of any loop.

    The settings and the retry budget are shared; each call has its own attempts. When there is no further one,
    the last error is raised as it is, with a note of why. A BaseException that is no ``Exception``, such as the
    cancellation of a task, is never retried.
    """

    def __init__(
        self,
        max_attempts: int | None = None,
        initial_delay: float | None = None,
        *,
        config: RetryConfig | Mapping[str, Any] | None = None,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
        outcome_of: Callable[[Exception], Outcome] | None = None,
        on_retry: OnRetry | None = None,
        name: str = "retry",
        seed: int | None = None,
    ) -> None:
        """Retry up to so many attempts, with waits that begin with so many seconds and double; or by `config`.

        Args:
            max_attempts: all calls, the first included, at least 1; 3 when None.
            initial_delay: seconds of at least 0 before the first retry; 1 when None.
            config: all that can be set, or a mapping of it, in place of these two.
            on: the errors that are retried; all others are raised at once.
            outcome_of: returns the outcome of an error: ``Transient(retry_after=30)``, ``Permanent()``.
                When None: TransientError, and the refusals of a breaker, a limiter and a bulkhead alone, are transient
                with their `retry_after`; PermanentError and WrongType are permanent; all others are ambiguous.
            on_retry: called before each wait, to log or count; it must not wait.
            name: of its random stream.
            seed: of the jitter; a random one when None, so that no two services are in step.

        Raises:
            ConfigurationError: a setting that cannot be, or `config` beside one of the two; all problems.
        """
        config = given_settings(RetryConfig, config, {"max_attempts": max_attempts, "initial_delay": initial_delay})
        streams = RandomStreams(seed if seed is not None else secrets.randbits(64))
        self.policy = RetryPolicy(config, streams.stream(name))
        self.budget: Budget | None = None if config.budget is None else make_budget(config.budget)
        self.on = on
        self.outcome_of = outcome_of if outcome_of is not None else outcome_of_error
        self.on_retry = on_retry
        self.clock = MonotonicClock()
        self.lock = threading.Lock()

    def __call__(self, function: F) -> F:
        """Decorate a function, plain or async.

        Raises:
            WrongType: it is a generator.
        """

        def call(*args: Any, **kwargs: Any) -> Any:
            for attempt in Attempts(self):
                with attempt:
                    return no_awaitable(function, function(*args, **kwargs))
            raise AssertionError("the last error is raised")

        async def call_async(*args: Any, **kwargs: Any) -> Any:
            async for attempt in Attempts(self):
                with attempt:
                    return await function(*args, **kwargs)
            raise AssertionError("the last error is raised")

        return decorated(function, call, call_async)

    def attempts(self) -> Attempts:
        """Return the attempts at one block, to iterate over: ``for`` in a thread, ``async for`` in trio and asyncio.

        The block is inside ``with attempt:``, which keeps in an error that is followed by another attempt. The loop
        ends with the first attempt that succeeds.
        """
        return Attempts(self)


class Attempts:
    """One call, and its attempts so far."""

    __slots__ = ("_began_ns", "_charge", "_is_offered", "_is_over", "_number", "_progress", "_retry", "_wait")

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._progress = Progress()
        self._number = 0
        self._charge = 0
        self._began_ns = 0
        self._wait = 0.0
        self._is_offered = False
        """Whether the first attempt has been given to who iterates."""
        self._is_over = False

    @property
    def number(self) -> int:
        return self._number

    def __enter__(self) -> Attempts:
        retry = self._retry
        with retry.lock:
            now_ns = retry.clock.now_ns(current_host())
            if self._number == 0:
                self._began_ns = now_ns
            if retry.budget is not None:
                retry.budget.start(self._charge, now_ns)
        self._number += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        wait = None
        if error is not None:
            wait = self._failed(error)
        elif (budget := self._retry.budget) is not None:
            with self._retry.lock:
                budget.end(self._charge, True, self._retry.clock.now_ns(current_host()))
        self._is_over = wait is None
        self._wait = wait or 0.0
        return wait is not None

    def _failed(self, error: BaseException) -> float | None:
        retry = self._retry
        outcome: Outcome = Permanent()
        alone = unwrapped(error)
        if isinstance(alone, Exception) and isinstance(alone, retry.on):
            outcome = retry.outcome_of(alone)
        with retry.lock:
            now_ns = retry.clock.now_ns(current_host())
            if retry.budget is not None:
                retry.budget.end(self._charge, False if isinstance(outcome, (Transient, Ambiguous)) else None, now_ns)
                self._charge = 0
            wait_ns, why = self._next_wait_ns(outcome, isinstance(alone, (TimeoutError, trio.TooSlowError)), now_ns)
        if wait_ns is None:
            if why:
                error.add_note(f"{why}, after attempt {self._number}")
            return None
        assert isinstance(alone, Exception)
        if retry.on_retry is not None:
            retry.on_retry(self._number, alone, wait_ns / NS_PER_S)
        return wait_ns / NS_PER_S

    def _next_wait_ns(self, outcome: Outcome, timed_out: bool, now_ns: int) -> tuple[int | None, str]:
        if isinstance(outcome, (Permanent, DeadDestination, Sent)):
            return None, ""
        retry = self._retry
        if retry.policy.gives_up(outcome, timed_out):
            return None, ""
        wait_ns = retry.policy.next_wait_ns(outcome, self._progress)
        if wait_ns is None:
            return None, "no attempt is left"
        if retry.policy.is_out_of_time(self._began_ns, now_ns, now_ns + wait_ns):
            return None, "retry time is up"
        if retry.budget is not None and not isinstance(outcome, ChannelFault):
            charge = retry.budget.try_retry(failure_kind(outcome), now_ns)
            if charge is None:
                return None, "retry budget spent"
            self._charge = charge
        return wait_ns, ""

    def __iter__(self) -> Attempts:
        return self

    def __next__(self) -> Attempts:
        if not self._is_first():
            if self._is_over:
                raise StopIteration
            block(self._sleep)
        return self

    def __aiter__(self) -> Attempts:
        return self

    async def __anext__(self) -> Attempts:
        if not self._is_first():
            if self._is_over:
                raise StopAsyncIteration
            await self._sleep(current_host())
        return self

    def _is_first(self) -> bool:
        is_first, self._is_offered = not self._is_offered, True
        if not is_first and self._number == 0:
            raise WrongType("wanted the block inside `with attempt:`, which tells whether there is another one")
        return is_first

    async def _sleep(self, host: type[Host]) -> None:
        try:
            await host.sleep(self._wait)
        except BaseException:
            retry = self._retry
            if retry.budget is not None:
                with retry.lock:
                    retry.budget.give_back(self._charge, retry.clock.now_ns(host))
            raise


def outcome_of_error(error: Exception) -> Outcome:
    """Return the outcome of an error where no other is given."""
    match error:
        case ServiceUnavailable():
            return Transient(reason=str(error), retry_after=error.retry_after)
        case RateLimited() | Overloaded() | StoreBusy():
            return Transient(reason=described(error), retry_after=error.retry_after, throttled=True)
        case BulkheadFull():
            return Transient(reason=str(error), throttled=True)
        case WrongType():
            return Permanent(reason=str(error))
        case _:
            return outcome_of(error)
