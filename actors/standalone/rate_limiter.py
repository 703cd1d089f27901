"""A rate limiter alone, for calls of your own: under trio, under asyncio and in threads.

::

    limiter = RateLimiter(max_per_minute=100)

    @limiter                                  # one limit for all calls
    def search(text): ...                     # or async def

    @limiter.by(lambda user, text: user.id)   # one for each user
    async def suggest(user, text): ...

    if await limiter.check_limit(user.id): ...
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from actors.errors import RateLimited
from actors.instants import NS_PER_S
from actors.policies.rate_limit.limiter import make_limiter
from actors.settings.channel import RateLimitConfig
from actors.standalone.host import Guard, Host, MonotonicClock, Wait, current_host, guarded
from actors.standalone.settings import given_settings

F = TypeVar("F", bound=Callable[..., Any])


class RateLimiter:
    """A rate limiter for each key, such as a user. It may be shared by threads and by tasks of trio's and asyncio's.

    Under trio and asyncio it goes by the clock of the loop, in a thread by the monotonic one.
    """

    def __init__(
        self, max_per_minute: int | None = None, *, config: RateLimitConfig | Mapping[str, Any] | None = None
    ) -> None:
        """Make one that lets so many through in any minute; or by `config`.

        Args:
            max_per_minute: at least 1; 100 when None.
            config: all that can be set, or a mapping of it, in place of that. With `on_limit: drop` a guard does not
                wait, but raises.

        Raises:
            ConfigurationError: a setting that cannot be, or `config` beside `max_per_minute`.
        """
        if max_per_minute is None and config is None:
            max_per_minute = 100
        config = given_settings(RateLimitConfig, config, {"max_per_minute": max_per_minute})
        self._limiter = make_limiter(config)
        self._waits = config.on_limit == "defer"
        self._clock = MonotonicClock()
        self._lock = threading.Lock()

    async def check_limit(self, user_id: str) -> bool:
        """Count one for `user_id` and return True, or return False if it is over the limit; never waits."""
        return self.try_acquire(user_id)

    def try_acquire(self, key: str = "") -> bool:
        """Count one for `key` and return True, or return False if it is over the limit; never waits."""
        return self._missing_ns(key) == 0

    def __call__(self, function: F) -> F:
        """Decorate a function, plain or async: each call of it is guarded as by :meth:`guard`, with one limit for all.

        :meth:`by` gives each key a limit of its own.
        """
        return guarded(function, lambda *_args, **_kwargs: LimiterGuard(self, ""))

    def by(self, key_of: Callable[..., str]) -> Callable[[F], F]:
        """Decorate a function as calling this does, with a limit for each key that `key_of` makes of its arguments."""
        return lambda function: guarded(function, lambda *args, **kwargs: LimiterGuard(self, key_of(*args, **kwargs)))

    def guard(self, key: str = "") -> LimiterGuard:
        """Return a guard that has a block wait until it fits: ``with`` in a thread, ``async with`` in trio and asyncio.

        Several that wait for the same key go in no particular order.

        Raises (where it is entered):
            RateLimited: it does not fit now, and `on_limit` is `drop`; the block was not entered.
        """
        return LimiterGuard(self, key)

    def _missing_ns(self, key: str) -> int:
        """Count one for `key` and return 0, or return how long until it fits."""
        with self._lock:
            now_ns = self._clock.now_ns(current_host())
            return self._limiter.try_acquire(key, now_ns) - now_ns

    def wait_time(self, key: str) -> float | None:
        """Count one for `key` and return None, or return how many seconds to wait and ask again; for guards.

        Raises:
            RateLimited: it does not fit, and is not to wait.
        """
        missing_ns = self._missing_ns(key)
        if missing_ns == 0:
            return None
        if not self._waits:
            raise RateLimited(key, missing_ns / NS_PER_S)
        return missing_ns / NS_PER_S


class LimiterGuard(Guard):
    """One block, and its key."""

    __slots__ = ("_key", "_limiter")

    def __init__(self, limiter: RateLimiter, key: str) -> None:
        self._limiter = limiter
        self._key = key

    def begin(self) -> Wait | None:
        seconds = self._limiter.wait_time(self._key)
        return None if seconds is None else functools.partial(self._wait, seconds)

    async def _wait(self, first: float, host: type[Host]) -> None:
        seconds: float | None = first
        while seconds is not None:
            await host.sleep(seconds)
            seconds = self._limiter.wait_time(self._key)
