"""One policy alone, for a trio service that needs no pipeline.

::

    breaker = CircuitBreaker(failure_threshold=5, timeout=60.0)
    answer = await breaker.call(client.get, url)

    limiter = RateLimiter(max_per_minute=100)
    if await limiter.check_limit(user_id): ...
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from actors.config import CircuitBreakerConfig, RateLimitConfig
from actors.errors import PermanentError, ServiceUnavailable
from actors.instants import ns
from actors.policies.breaker import Breaker, BreakerState, Transition
from actors.policies.limiter import make_limiter

T = TypeVar("T")


def _trio_now_ns() -> int:
    return ns(trio.current_time())


class CircuitBreaker:
    """A circuit breaker round calls of your own, on trio's clock.

    An exception is a failure, but for :class:`~actors.errors.PermanentError`, which says nothing about the provider
    (as a probe's answer it proves that it is there); a call that is cancelled counts neither way.
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        timeout: float = 60.0,
        *,
        config: CircuitBreakerConfig | None = None,
        name: str = "circuit breaker",
        on_transition: Callable[[Transition], None] | None = None,
    ) -> None:
        """Make one that opens after `failure_threshold` consecutive failures, for `timeout` seconds; or by `config`."""
        config = config or CircuitBreakerConfig(failure_threshold=failure_threshold, timeout=timeout)
        self._breaker = Breaker(config, name=name, on_transition=on_transition)

    @property
    def state(self) -> BreakerState:
        """The state it is in; open time that has run out shows with the next call."""
        return self._breaker.state

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await ``function(*args)`` and return what it returns.

        Raises:
            ServiceUnavailable: the breaker is open, and the function was not called.
        """
        async with self.guard():
            return await function(*args)

    @asynccontextmanager
    async def guard(self) -> AsyncGenerator[None, None]:
        """Let the block run if the breaker admits it, and learn from how it ends.

        Raises:
            ServiceUnavailable: the breaker is open, and the block was not entered.
        """
        permit = self._breaker.try_acquire(_trio_now_ns())
        if permit is None:
            raise ServiceUnavailable
        try:
            yield
        except PermanentError:
            self._breaker.record_reachable(permit, _trio_now_ns())
            raise
        except Exception:
            self._breaker.record_failure(permit, _trio_now_ns())
            raise
        except BaseException:
            self._breaker.record_neutral(permit, _trio_now_ns())
            raise
        self._breaker.record_success(permit, _trio_now_ns())


class RateLimiter:
    """A rate limiter for each user, on trio's clock (monotonic, whatever the wall clock does)."""

    def __init__(self, max_per_minute: int = 100, *, config: RateLimitConfig | None = None) -> None:
        """Make one that lets `max_per_minute` through in any minute; or by `config`."""
        self._limiter = make_limiter(config or RateLimitConfig(max_per_minute=max_per_minute))

    async def check_limit(self, user_id: str) -> bool:
        """Count one for `user_id` and return True, or return False if it is over the limit; never waits."""
        now_ns = _trio_now_ns()
        return self._limiter.try_acquire(user_id, now_ns) == now_ns
