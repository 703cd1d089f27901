"""How long to wait before the next attempt: the delay by formula or schedule, and jitter on top.

Which to choose. Without jitter, clients that failed together come back together, so `none` is for tests and for a
single sender. `full` spreads a herd the most and loads the provider the least; `equal` keeps at least half the wait,
for a provider that must be left alone for a while; `decorrelated` grows with its own last draw and knows no attempt
number; `proportional` blurs a schedule that people agreed on without changing its shape. The first three are those of
Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import math
from random import Random

from actors.config import RetryConfig
from actors.errors import ConfigurationError
from actors.policies.waits import LONGEST_WAIT_NS, wait_ns

_TABLE_LENGTH = 64


def base_delay(config: RetryConfig, attempt: int) -> float:
    """Return the wait in seconds after the `attempt`-th attempt failed, without jitter.

    Saturates at `max_delay` for any attempt, however large; a schedule repeats its last wait and knows no maximum.

    Raises:
        ValueError: `attempt` is less than 1.
    """
    if attempt < 1:
        raise ValueError(f"wanted an attempt of at least 1, got {attempt!r}")
    if config.schedule is not None:
        return config.schedule[min(attempt, len(config.schedule)) - 1]
    initial, longest = config.initial_delay, config.max_delay
    if initial == 0:
        return 0.0
    match config.backoff:
        case "constant":
            return min(initial, longest)
        case "linear":
            return _linear(initial, longest, attempt)
        case "fibonacci":
            return _fibonacci(initial, longest, attempt)
        case "exponential":
            return _exponential(initial, config.backoff_multiplier, longest, attempt)


def _linear(initial: float, longest: float, attempt: int) -> float:
    try:
        return min(initial * attempt, longest)
    except OverflowError:  # An attempt beyond the floats.
        return longest


def _exponential(initial: float, multiplier: float, longest: float, attempt: int) -> float:
    if multiplier == 1:
        return min(initial, longest)
    try:
        # A power of floats: it costs the same for any exponent, and says so when it leaves their range.
        return min(initial * math.pow(multiplier, attempt - 1), longest)
    except OverflowError:
        return longest


def _fibonacci(initial: float, longest: float, attempt: int) -> float:
    term, following = 1.0, 1.0
    for _ in range(attempt - 1):
        if initial * term >= longest:
            break
        term, following = following, term + following
    return min(initial * term, longest)


class Backoff:
    """The waits of one channel: the delays of `config`, with its jitter drawn from `random`.

    Takes exactly one draw for each jittered delay and none for `jitter: none`. Holds no state of a notification: what
    the last wait was is passed in.

    Raises:
        ConfigurationError: decorrelated jitter together with a schedule, of which it would make no use.
    """

    __slots__ = ("_config", "_draw", "_initial_ns", "_jitter", "_longest_ns", "_table")

    def __init__(self, config: RetryConfig, random: Random) -> None:
        if config.schedule is not None and config.jitter == "decorrelated":
            raise ConfigurationError(
                ["jitter: decorrelated follows its own last draw, so a schedule needs full, equal or proportional"]
            )
        self._config = config
        self._draw = random.random
        self._initial_ns = wait_ns(config.initial_delay)
        self._longest_ns = LONGEST_WAIT_NS if config.schedule is not None else wait_ns(config.max_delay)
        # Index 0 stays unused, so that the attempt is the index.
        self._table = [0, *(wait_ns(base_delay(config, attempt)) for attempt in range(1, _TABLE_LENGTH + 1))]
        self._jitter = {
            "none": None,
            "full": self._full,
            "equal": self._equal,
            "decorrelated": self._decorrelated,
            "proportional": self._proportional,
        }[config.jitter]

    def next_delay_ns(self, attempt: int, previous_ns: int | None) -> int:
        """Return the wait in nanoseconds after the `attempt`-th attempt failed.

        `previous_ns` is the wait before that attempt, None if there was none; only decorrelated jitter looks at it.

        Raises:
            ValueError: `attempt` is less than 1.
        """
        base_ns = self._table[attempt] if 0 < attempt <= _TABLE_LENGTH else wait_ns(base_delay(self._config, attempt))
        if self._jitter is None:
            return base_ns
        return self._jitter(base_ns, previous_ns)

    # Every draw ends in a comparison of whole numbers, so that no rounding of a float lifts a wait above its bound.
    # U(a, b) is cut off and not rounded, so that b itself is drawn as little as `random()` draws 1.

    def _full(self, base_ns: int, _previous_ns: int | None) -> int:
        return min(base_ns, int(base_ns * self._draw()))

    def _equal(self, base_ns: int, _previous_ns: int | None) -> int:
        half = base_ns / 2
        return min(base_ns, int(half + half * self._draw()))

    def _proportional(self, base_ns: int, _previous_ns: int | None) -> int:
        share = self._config.jitter_share
        return min(self._longest_ns, round(base_ns * (1 - share + 2 * share * self._draw())))

    def _decorrelated(self, _base_ns: int, previous_ns: int | None) -> int:
        low, longest = self._initial_ns, self._longest_ns
        high = 3 * (low if previous_ns is None else previous_ns)
        if not self._config.cap_after_draw:
            high = min(high, longest)
        # With initial_delay above max_delay the range has no width; it must not turn over.
        return min(longest, low + int(max(0, high - low) * self._draw()))


def retry_after_ns(retry_after: float | None) -> int:
    """Return a provider's hint in seconds as nanoseconds: a lower bound for the wait, ``max(delay, hint)``.

    None is 0, and so is nonsense: what is negative, NaN, infinite or no number at all. A finite hint is at most
    :data:`actors.policies.waits.LONGEST_WAIT_NS`.
    """
    if isinstance(retry_after, bool) or not isinstance(retry_after, (int, float)):
        return 0
    return wait_ns(retry_after) if 0 < retry_after < math.inf else 0
