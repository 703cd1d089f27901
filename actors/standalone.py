"""One policy alone, for a trio service that needs no pipeline.

::

    breaker = CircuitBreaker(failure_threshold=5, timeout=60.0)
    answer = await breaker.call(client.get, url)

    limiter = RateLimiter(max_per_minute=100)
    if await limiter.check_limit(user_id): ...
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from actors.errors import ConfigurationError, PermanentError, ServiceUnavailable, WrongType
from actors.instants import ns
from actors.kernel.randomness import RandomStreams
from actors.messages import BreakerState
from actors.policies.breaker.breaker import Breaker, Transition
from actors.policies.rate_limit.limiter import make_limiter
from actors.settings.base import Settings, validated
from actors.settings.channel import CircuitBreakerConfig, RateLimitConfig

T = TypeVar("T")
M = TypeVar("M", bound=Settings)

_OF_A_PIPELINE = {
    "when_open": "a caller that meets it open is refused at once",
    "resume_rate": "no caller waits",
    "resume_doubling": "no caller waits",
    "resume_rate_max": "no caller waits",
}
"""The settings that mean nothing to a breaker alone, and why."""


def _trio_now_ns() -> int:
    return ns(trio.current_time())


class CircuitBreaker:
    """A circuit breaker round calls of your own, on trio's clock.

    An exception is a failure, but for :class:`~actors.errors.PermanentError`, which says nothing about the provider
    (as a probe's answer it proves that it is there); a call that is cancelled counts neither way, and neither does
    :class:`~actors.errors.WrongType`, a bug on this side. How long a call takes, and so whether it is slow, is from its
    permit to its end.
    """

    def __init__(
        self,
        failure_threshold: int | None = None,
        timeout: float | None = None,
        *,
        config: CircuitBreakerConfig | Mapping[str, Any] | None = None,
        name: str = "circuit breaker",
        on_transition: Callable[[Transition], None] | None = None,
        seed: int | None = None,
    ) -> None:
        """Make one that opens after so many consecutive failures, for so long; or by `config`.

        Args:
            failure_threshold: consecutive failures that open it, at least 1; 5 when None.
            timeout: seconds of more than 0 that it stays open; 60 when None.
            config: all that can be set, or a mapping of it, in place of these two; but for `per: host`, `when_open`
                and those of resuming (`resume_rate` and so on), which only a pipeline can do.
            name: in its transitions.
            on_transition: called with each of them.
            seed: of the jitter of `open_growth`; a random one when None, so that no two services are in step.

        Raises:
            ConfigurationError: a setting that cannot be, or that means nothing here, or `config` beside one of the two;
                all problems.
        """
        config = _settings(CircuitBreakerConfig, config, {"failure_threshold": failure_threshold, "timeout": timeout})
        if problems := list(_problems_alone(config)):
            raise ConfigurationError(problems)
        streams = RandomStreams(seed if seed is not None else secrets.randbits(64))
        self._breaker = Breaker(config, name=name, on_transition=on_transition, random=streams.stream(name))

    @property
    def state(self) -> BreakerState:
        """The state it is in; open time that has run out shows with the next call."""
        return self._breaker.state

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await ``function(*args)`` and return what it returns.

        Raises:
            ServiceUnavailable: the breaker is open, and the function was not called.
            WrongType: `function` is none, or it returned what cannot be awaited; nothing is counted.
        """
        if not callable(function):
            if inspect.iscoroutine(function):
                function.close()  # nothing will await it, which is said here already
            raise WrongType(f"wanted an async function and its arguments, got {function!r}")
        async with self.guard():
            called = function(*args)
            if not inspect.isawaitable(called):
                raise WrongType(f"wanted an async function, got {function!r}, which returned {called!r}")
            return await called

    @asynccontextmanager
    async def guard(self) -> AsyncGenerator[None, None]:
        """Let the block run if the breaker admits it, and learn from how it ends.

        Raises:
            ServiceUnavailable: the breaker is open, and the block was not entered.
        """
        began_ns = _trio_now_ns()
        permit = self._breaker.try_acquire(began_ns)
        if permit is None:
            raise ServiceUnavailable
        try:
            yield
        except Exception as error:
            now_ns = _trio_now_ns()
            match _alone(error):
                case PermanentError():
                    self._breaker.record_reachable(permit, now_ns, now_ns - began_ns)
                case WrongType():
                    self._breaker.record_neutral(permit, now_ns)
                case _:
                    self._breaker.record_failure(permit, now_ns, now_ns - began_ns)
            raise
        except BaseException:
            self._breaker.record_neutral(permit, _trio_now_ns())
            raise
        now_ns = _trio_now_ns()
        self._breaker.record_success(permit, now_ns, now_ns - began_ns)


def _alone(error: Exception) -> Exception:
    """Return an error without the groups that nurseries in a call have put round it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class RateLimiter:
    """A rate limiter for each user, on trio's clock (monotonic, whatever the wall clock does)."""

    def __init__(
        self, max_per_minute: int | None = None, *, config: RateLimitConfig | Mapping[str, Any] | None = None
    ) -> None:
        """Make one that lets so many through in any minute; or by `config`.

        Args:
            max_per_minute: at least 1; 100 when None.
            config: all that can be set, or a mapping of it, in place of that; `on_limit` says nothing here.

        Raises:
            ConfigurationError: a setting that cannot be, or `config` beside `max_per_minute`.
        """
        if max_per_minute is None and config is None:
            max_per_minute = 100
        self._limiter = make_limiter(_settings(RateLimitConfig, config, {"max_per_minute": max_per_minute}))

    async def check_limit(self, user_id: str) -> bool:
        """Count one for `user_id` and return True, or return False if it is over the limit; never waits."""
        now_ns = _trio_now_ns()
        return self._limiter.try_acquire(user_id, now_ns) == now_ns


def _problems_alone(config: CircuitBreakerConfig) -> Iterator[str]:
    """Yield what is set and means nothing to a breaker that no pipeline is around."""
    if config.per == "host":
        yield "per: wanted channel, as a circuit breaker alone knows no recipients (a pipeline's does), got 'host'"
    for key, why in _OF_A_PIPELINE.items():
        if key in config.model_fields_set:
            got = getattr(config, key)
            yield f"{key}: wanted none for a circuit breaker alone, where {why} (in a pipeline they wait), got {got!r}"


def _settings(model: type[M], config: M | Mapping[str, Any] | None, arguments: Mapping[str, Any]) -> M:
    """Return the settings that `config` or the arguments say; an argument that is None is not given."""
    given = {key: value for key, value in arguments.items() if value is not None}
    if config is None:
        return validated(model, given)
    if given:
        raise ConfigurationError([f"wanted {' and '.join(given)} or config, got both"])
    if isinstance(config, model):
        return config
    if not isinstance(config, Mapping):
        raise ConfigurationError([f"config: wanted a {model.__name__} or a mapping, got {config!r}"])
    return validated(model, config)
