"""Rate limiters: at most so many for each key, by one of three ways of counting.

One call is one decision and one charge; each limiter lives on a clock that never goes back, keeps exact whole numbers,
and forgets keys that are idle by itself, so that its memory is bounded by the active ones.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol, assert_never

from actors.config import RateLimitConfig
from actors.errors import ConfigurationError
from actors.policies.fixed_window import FixedWindow
from actors.policies.sliding_window import SlidingWindow
from actors.policies.token_bucket import TokenBucket
from actors.policies.waits import wait_ns

__all__ = ["FixedWindow", "Limiter", "SlidingWindow", "TokenBucket", "make_limiter"]


class Limiter(Protocol):
    """What the three have in common."""

    @property
    def active_keys(self) -> int:
        """Keys for which something is remembered."""
        ...

    def try_acquire(self, key: str, now_ns: int) -> int:
        """Return `now_ns` if admitted, and charge it; else charge nothing and return a later instant.

        That instant is the earliest at which one fits if nothing else is charged before. `now_ns` never goes back
        from one call to the next, whatever the key.
        """
        ...

    def forget_idle(self, now_ns: int) -> None:
        """Drop every key whose state makes no difference any more."""
        ...


def make_limiter(config: RateLimitConfig) -> Limiter:
    """Return the limiter that `config` asks for.

    A token bucket takes any rate exactly as it is written (2.5/s is one every 400 ms); its burst, when not given, is
    the whole part of the count. A window needs a whole count: it has no half of a notification to let through, and
    rounding would be another limit than the one asked for.

    Raises:
        ConfigurationError: a window with a count such as 2.5, or one of less than a nanosecond.
    """
    rate = config.limit
    window_ns = wait_ns(rate.period)
    if window_ns < 1:
        raise ConfigurationError([f"rate: wanted a window of at least 1ns, got {rate.period!r} s"])
    if config.kind == "token_bucket":
        # By way of its decimals, so that 3.3 is 33/10 and not the binary fraction next to it.
        count = Fraction(repr(rate.count))
        return TokenBucket(count.numerator, window_ns * count.denominator, config.burst or int(count))
    if not float(rate.count).is_integer():
        raise ConfigurationError(
            [f"rate: a {config.kind} wanted a whole number in each window, got {rate.count!r}; try kind: token_bucket"]
        )
    match config.kind:
        case "sliding_window":
            return SlidingWindow(int(rate.count), window_ns)
        case "fixed_window":
            return FixedWindow(int(rate.count), window_ns)
        case _:
            assert_never(config.kind)
