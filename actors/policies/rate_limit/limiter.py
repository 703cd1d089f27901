"""Rate limiters: a limit of requests for each key, by one of several ways of counting.

One call is one decision and one charge; each limiter lives on a clock that never goes back, keeps exact whole numbers,
and forgets idle keys by itself, so that its memory is bounded by the active keys.

Which to choose. `sliding_window` keeps the limit exactly, whatever the arrivals; `sliding_counter` nearly so, at two
numbers a key; `fixed_window` only within each window, as many providers count. `token_bucket` (also named `gcra`)
allows a burst and then a steady pace; `leaky_bucket` allows no burst at all: requests of a burst wait for each other.
Several `rates` hold at once: 3 a second and 100 a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, assert_never

from actors.errors import ConfigurationError
from actors.instants import wait_ns
from actors.policies.exact import as_fraction
from actors.policies.rate_limit.buckets import LeakyBucket, TokenBucket
from actors.policies.rate_limit.windows import FixedWindow, SlidingCounter, SlidingWindow
from actors.settings.quantities import Rate
from actors.settings.rate_limit import RateLimitConfig


class SeveralRates:
    """Admits a request that all of `limiters` admit, and charges each of them or none.

    A request that one limiter refuses costs nothing at the others. A refused request fits when the last limiter has
    room, because a limiter with room keeps it as long as nothing is charged.
    """

    __slots__ = ("_limiters",)

    def __init__(self, limiters: Sequence[Limiter]) -> None:
        self._limiters = tuple(limiters)

    @property
    def active_keys(self) -> int:
        return max(limiter.active_keys for limiter in self._limiters)

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        fits_at_ns = self.fits_at(key, now_ns, cost)
        if fits_at_ns == now_ns:
            for limiter in self._limiters:
                limiter.try_acquire(key, now_ns, cost)
        return fits_at_ns

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        return max(limiter.fits_at(key, now_ns, cost) for limiter in self._limiters)

    def forget_idle(self, now_ns: int) -> None:
        for limiter in self._limiters:
            limiter.forget_idle(now_ns)

    def go_on_from(self, other: SeveralRates, key: str, now_ns: int) -> None:
        """Go on with a key's state in another limiter, which has as many rates, all of them buckets."""
        for own, before in zip(self._limiters, other._limiters, strict=True):
            go_on_from(own, before, key, now_ns)


__all__ = [
    "FixedWindow",
    "LeakyBucket",
    "Limiter",
    "SeveralRates",
    "SlidingCounter",
    "SlidingWindow",
    "TokenBucket",
    "go_on_from",
    "make_limiter",
]


class Limiter(Protocol):
    """The interface of all rate limiters."""

    @property
    def active_keys(self) -> int:
        """Keys for which something is remembered."""
        ...

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return `now_ns` if admitted, and charge it; else charge nothing and return a later instant.

        The later instant is the earliest at which the request fits if nothing else is charged before; for a `cost` that
        the limit never lets through at once it is :data:`actors.instants.NEVER_NS`. `now_ns` never goes back from one
        call to the next, whatever the key.

        Raises:
            ValueError: `cost` is less than 1.
        """
        ...

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return what :meth:`try_acquire` would, and charge nothing."""
        ...

    def forget_idle(self, now_ns: int) -> None:
        """Drop every key whose state makes no difference any more."""
        ...


def make_limiter(config: RateLimitConfig, parts: int = 1) -> Limiter:
    """Return the limiter that `config` asks for; a bucket may be one of `parts` equal parts.

    A bucket takes any rate exactly as it is written (2.5/s is one every 400 ms); the burst of a token bucket, when not
    given, is the count rounded down. Each part's burst is its share rounded down, but at least 1.

    Raises:
        ConfigurationError: a window of less than a nanosecond.
    """
    limiters = [_one_limiter(config, rate, parts) for rate in config.limits]
    return limiters[0] if len(limiters) == 1 else SeveralRates(limiters)


def _one_limiter(config: RateLimitConfig, rate: Rate, parts: int) -> Limiter:
    window_ns = wait_ns(rate.period)
    if window_ns < 1:
        raise ConfigurationError([f"rate: wanted a window of at least 1ns, got {rate.period!r} s"])
    count = as_fraction(rate.count)
    match config.kind:
        case "sliding_window":
            return SlidingWindow(int(count), window_ns)
        case "sliding_counter":
            return SlidingCounter(int(count), window_ns)
        case "fixed_window":
            return FixedWindow(int(count), window_ns)
        case "token_bucket" | "gcra":
            burst = max(1, (config.burst or int(count)) // parts)
            return TokenBucket(count.numerator, parts * window_ns * count.denominator, burst)
        case "leaky_bucket":
            return LeakyBucket(count.numerator, parts * window_ns * count.denominator, aligned=config.aligned)
        case _:
            assert_never(config.kind)


def go_on_from(limiter: Limiter, other: Limiter, key: str, now_ns: int) -> None:
    """Have a bucket, or several, go on with a key where another of the same kind and another size has stopped."""
    assert isinstance(limiter, TokenBucket | LeakyBucket | SeveralRates)
    assert type(other) is type(limiter)
    limiter.go_on_from(other, key, now_ns)  # type: ignore[arg-type]
