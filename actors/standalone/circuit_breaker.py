"""A circuit breaker alone, round calls of your own: under trio, under asyncio and in threads.

::

    breaker = CircuitBreaker(failure_threshold=5, timeout=60.0)

    @breaker
    def charge(card): ...           # or async def

    with breaker.guard(): ...       # or async with
"""

from __future__ import annotations

import inspect
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar, get_args

from actors.errors import BulkheadFull, ConfigurationError, ServiceUnavailable, WrongType, unwrapped
from actors.instants import NS_PER_S
from actors.kernel.randomness import RandomStreams
from actors.messages import BreakerState
from actors.outcomes import Ambiguous, Transient
from actors.policies.breaker.breaker import Breaker, Transition
from actors.policies.retry.policy import failure_kind
from actors.settings.breaker import CountedKind
from actors.settings.channel import CircuitBreakerConfig
from actors.standalone.host import Guard, Host, MonotonicClock, current_host, guarded
from actors.standalone.retry import outcome_of_error
from actors.standalone.settings import given_settings

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_OF_A_PIPELINE = {
    "when_open": "a caller that meets it open is refused at once",
    "resume_rate": "no caller waits",
    "resume_doubling": "no caller waits",
    "resume_rate_max": "no caller waits",
}
"""The settings that mean nothing to a breaker alone, and why."""


class CircuitBreaker:
    """A circuit breaker round calls of your own. It may be shared by threads and by tasks of trio's and asyncio's.

    Under trio and asyncio it goes by the clock of the loop, in a thread by the monotonic one. An exception is a
    failure, but for :class:`~actors.errors.PermanentError`, which says nothing about the provider (as a probe's answer
    it proves that it is there); a call that is cancelled counts neither way, and neither does
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
        config = given_settings(
            CircuitBreakerConfig, config, {"failure_threshold": failure_threshold, "timeout": timeout}
        )
        if problems := list(_problems_alone(config)):
            raise ConfigurationError(problems)
        streams = RandomStreams(seed if seed is not None else secrets.randbits(64))
        self._breaker = Breaker(config, name=name, on_transition=on_transition, random=streams.stream(name))
        usual = set(get_args(CountedKind)) - {"permanent"}
        self._counts = set(config.counts) if "counts" in config.model_fields_set else usual
        """The kinds of errors that are failures: where it is not said, all errors but a PermanentError."""
        self._clock = MonotonicClock()
        self._lock = threading.RLock()  # `on_transition` may look at the state

    @property
    def state(self) -> BreakerState:
        """The state it is in; open time that has run out shows with the next call."""
        return self._breaker.state

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await ``function(*args)`` and return its result.

        Raises:
            ServiceUnavailable: the breaker is open, and the function was not called.
            WrongType: `function` is no function, or it returned no awaitable; nothing is counted.
        """
        if not callable(function):
            if inspect.iscoroutine(function):
                function.close()  # nothing will await it, which is said here already
            raise WrongType(f"wanted an async function and its arguments, got {function!r}")
        async with BreakerGuard(self):
            called = function(*args)
            if not inspect.isawaitable(called):
                raise WrongType(f"wanted an async function, got {function!r}, which returned {called!r}")
            return await called

    def __call__(self, function: F) -> F:
        """Decorate a function, plain or async: each call of it is guarded as by :meth:`guard`."""
        return guarded(function, lambda *_args, **_kwargs: BreakerGuard(self))

    def guard(self) -> BreakerGuard:
        """Return a guard that lets a block run if the breaker admits it, and learns from how it ends.

        ``with breaker.guard():`` in a thread, ``async with`` in trio and asyncio; each for one block.

        Raises (where it is entered):
            ServiceUnavailable: the breaker is open, and the block was not entered.
        """
        return BreakerGuard(self)

    def admit(self) -> tuple[int, int]:
        """Return a permit and the instant of it.

        Raises:
            ServiceUnavailable: the breaker is open.
        """
        guard = BreakerGuard(self)
        guard.begin()
        return guard.permit, guard.began_ns

    def record(self, permit: int, began_ns: int, error: BaseException | None) -> None:
        """Learn how a call ended that was admitted."""
        guard = BreakerGuard(self)
        guard.host, guard.permit, guard.began_ns = current_host(), permit, began_ns
        guard.end(error)


class BreakerGuard(Guard):
    """One block, and its permit."""

    __slots__ = ("_breaker", "_clock", "_counts", "_lock", "began_ns", "host", "permit")

    host: type[Host]
    began_ns: int
    permit: int

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker._breaker
        self._clock = breaker._clock
        self._counts = breaker._counts
        self._lock = breaker._lock

    def begin(self) -> None:
        self.host = host = current_host()
        with self._lock:
            self.began_ns = began_ns = self._clock.now_ns(host)
            permit = self._breaker.try_acquire(began_ns)
            if permit is not None:
                self.permit = permit
                return
            admits_at_ns = self._breaker.admits_at_ns(began_ns)
        raise ServiceUnavailable(
            retry_after=None if admits_at_ns is None else max(0, admits_at_ns - began_ns) / NS_PER_S
        )

    def end(self, error: BaseException | None) -> None:
        with self._lock:
            now_ns = self._clock.now_ns(self.host)
            if error is None:
                self._breaker.record_success(self.permit, now_ns, now_ns - self.began_ns)
                return
            failure = unwrapped(error)
            if not isinstance(failure, Exception) or isinstance(failure, WrongType):
                self._breaker.record_neutral(self.permit, now_ns)
                return
            kind = _kind(failure)
            if kind in self._counts:
                self._breaker.record_failure(self.permit, now_ns, now_ns - self.began_ns)
            elif kind == "permanent":
                self._breaker.record_reachable(self.permit, now_ns, now_ns - self.began_ns)
            else:
                self._breaker.record_neutral(self.permit, now_ns)


def _kind(error: Exception) -> str:
    if isinstance(error, BulkheadFull):
        return "refused_by_bulkhead"
    outcome = outcome_of_error(error)
    return failure_kind(outcome) if isinstance(outcome, (Transient, Ambiguous)) else "permanent"


def _problems_alone(config: CircuitBreakerConfig) -> Iterator[str]:
    if config.per == "host":
        yield "per: wanted channel, as a circuit breaker alone knows no recipients (a pipeline's does), got 'host'"
    for key, why in _OF_A_PIPELINE.items():
        if key in config.model_fields_set:
            got = getattr(config, key)
            yield f"{key}: wanted none for a circuit breaker alone, where {why} (in a pipeline they wait), got {got!r}"
