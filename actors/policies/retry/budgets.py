"""Retry budgets: how many retries a channel as a whole may make, whatever each notification would like.

A limit for each notification bounds its own work; in an outage all notifications retry at once, and three attempts each
are three times the load. A budget bounds the retries by the work that is done anyway, so a retry storm cannot start.

Which to choose. `finagle` is easy to say: a share of the first attempts plus a small rate. `grpc` looks at how many
attempts fail: with few failures all are retried, with many none. `envoy` bounds the retries under way at once and so
needs no clock, but does not bound the retries a second. `aws` bounds the failed retries, and gives back the cost of
successful ones. `token_bucket` is a share of the first attempts too, but keeps unused tokens without end, up to its
capacity, and needs no clock.

The order of calls, for every attempt: :meth:`Budget.start`, then :meth:`Budget.end`; and after an attempt that failed
and would be retried :meth:`Budget.try_retry`. This returns the charge of the retry, which is passed to the retry's
`start` and `end`; a first attempt has the charge 0. A further copy of a hedged attempt is asked for like a retry, and
ends with :meth:`Budget.end_copy`; :meth:`Budget.first_send_failed` reports the first send, before any copy is asked
for.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import assert_never

from actors.instants import wait_ns
from actors.policies.exact import as_fraction, exact_share
from actors.policies.retry.policy import FailureKind
from actors.settings.quantities import Rate
from actors.settings.retry import (
    AwsBudgetConfig,
    BudgetConfig,
    EnvoyBudgetConfig,
    FinagleBudgetConfig,
    GrpcBudgetConfig,
    TokenBudgetConfig,
)


class Budget:
    """The interface of all budgets. `now_ns` never goes back from one call to the next."""

    __slots__ = ()

    def start(self, charge: int, now_ns: int) -> None:
        """An attempt sets out, its time in queues included."""

    def end(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        """An attempt has ended: it succeeded, or it failed in a way that another attempt may not.

        None: neither, as of a permanent failure or of an attempt that was cancelled.
        """

    def end_copy(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        """A further copy of an attempt has ended; if that ends the attempt, `end` is called as well."""
        self.end(charge, succeeded, now_ns)

    def first_send_failed(self, now_ns: int) -> None:
        """The first send of a hedged attempt has failed; `end` does not count it once more when all have."""

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Return the charge of a retry, more than 0, after an attempt that failed in this way; None: no retry."""
        raise NotImplementedError

    def give_back(self, charge: int, now_ns: int) -> None:
        """A retry that was allowed will never set out."""


class AwsBudget(Budget):
    """A retry costs tokens; a retry that succeeds gives its cost back, and a success without a retry gives 1.

    After the standard mode of the AWS SDKs (botocore's `RetryQuotaChecker`, SDK reference guide, "Retry behavior"). So
    the budget bounds the failed retries, and recovers by ordinary successes. Costs are more than 0.
    """

    __slots__ = ("_capacity", "_costs", "available")

    def __init__(self, capacity: int, retry_cost: int, throttled_cost: int, timeout_cost: int | None = None) -> None:
        self._capacity = capacity
        self.available = capacity
        """The tokens that are left."""
        self._costs: dict[FailureKind, int] = {
            "transient": retry_cost,
            "throttled": throttled_cost,
            "ambiguous": retry_cost if timeout_cost is None else timeout_cost,
        }

    def end(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        if succeeded:
            self.give_back(charge or 1, now_ns)

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Return the cost of a retry, which is taken, or None if there is not enough left."""
        cost = self._costs[kind]
        if cost > self.available:
            return None
        self.available -= cost
        return cost

    def give_back(self, charge: int, now_ns: int) -> None:
        self.available = min(self._capacity, self.available + charge)


class EnvoyBudget(Budget):
    """Retries at once are at most a `share` of the attempts under way, but `min_concurrency` in any case.

    After Envoy's `retry_budget` (circuit_breaker.proto, `budget_percent` and `min_retry_concurrency`). A retry counts
    from the moment it is allowed, its wait included, and an attempt is under way from its start to its end. With
    `inclusive` one more retry is allowed while the share is not exceeded, as failsafe-go's budget does.
    """

    __slots__ = ("_active", "_denominator", "_inclusive", "_minimum", "_numerator", "_retries")

    def __init__(self, share: float, min_concurrency: int, *, inclusive: bool = False) -> None:
        self._numerator, self._denominator = exact_share(share).as_integer_ratio()
        self._minimum = min_concurrency
        self._inclusive = inclusive
        self._active = 0
        self._retries = 0

    def start(self, charge: int, now_ns: int) -> None:
        self._active += 1

    def end(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        self._active -= 1
        self._retries -= charge

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Return 1 and count a retry, or None if there are as many as may be."""
        part = self._numerator * self._active
        if self._inclusive:
            fits = self._retries < self._minimum or self._retries * self._denominator <= part
        else:
            fits = self._retries < max(self._minimum, part // self._denominator)
        if not fits:
            return None
        self._retries += 1
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        self._retries -= charge


_SLICES = 10


class FinagleBudget(Budget):
    """`share` of a retry for each first attempt of about the last `ttl` seconds, plus `min_rate`.

    After Finagle's `RetryBudget` on its leaky token bucket. A first attempt puts tokens in, a retry takes some out, and
    both are forgotten after about `ttl`; the minimum rate of a whole `ttl` is always added, so that a quiet channel may
    retry too. "About": time is counted in ten slices, each of which begins with the first call after the end of the
    slice before, so a call is forgotten after 0.9 to 2 times `ttl`, later the fewer calls there are.

    `share` may be more than 1 here. `min_rate` None is no minimum.
    """

    __slots__ = ("_cost", "_current", "_deposit", "_past", "_reserve", "_slice_began_ns", "_slice_ns")

    def __init__(self, share: float, min_rate: Rate | None, ttl: float) -> None:
        exact = exact_share(share)
        # The price of a retry in tokens of a first attempt, both whole; a share of nothing leaves the minimum rate.
        self._deposit, self._cost = (exact.numerator, exact.denominator) if exact else (0, 1)
        ttl_ns = max(_SLICES, wait_ns(ttl))
        self._slice_ns = ttl_ns // _SLICES
        reserve = Fraction(0)
        if min_rate is not None:
            reserve = as_fraction(min_rate.count) / as_fraction(min_rate.period) * as_fraction(ttl)
        self._reserve = int(reserve * self._cost)
        self._past = deque([0] * (_SLICES - 1), maxlen=_SLICES - 1)
        self._current = 0
        self._slice_began_ns = 0

    def balance(self, now_ns: int) -> int:
        """Return how many retries could be made at once."""
        return self._tokens(now_ns) // self._cost

    def start(self, charge: int, now_ns: int) -> None:
        """A first attempt puts its tokens in."""
        if not charge:
            self._advance(now_ns)
            self._current += self._deposit

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Take the tokens of a retry and return 1, or None if they are not there."""
        if self._tokens(now_ns) < self._cost:
            return None
        self._current -= self._cost
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        self._advance(now_ns)
        self._current += self._cost

    def _tokens(self, now_ns: int) -> int:
        self._advance(now_ns)
        return self._reserve + self._current + sum(self._past)

    def _advance(self, now_ns: int) -> None:
        over = (now_ns - self._slice_began_ns) // self._slice_ns
        if over < 1:
            return
        self._past.append(self._current)
        self._past.extend([0] * min(over - 1, _SLICES - 1))
        self._current = 0
        self._slice_began_ns = now_ns


class GrpcBudget(Budget):
    """A failure takes one token, a success gives `token_ratio`; retries only while more than half of the tokens are
    left.

    After gRPC's proposal A6, "Throttling Retry Attempts and Hedged RPCs". Tokens are counted in thousandths, as A6 asks
    (at 0.1 a success, floats need 51 successes for 50). Retries themselves cost nothing, so the budget bounds not their
    number but the failures among all attempts: at one failure in ``1 + 1 / token_ratio`` it keeps its level. Each
    failed send of a hedged attempt takes a token at once; a successful attempt gives the tokens of one success, since
    the caller gets only one answer (gRPC's own clients count it with the send that wins).

    Raises:
        ValueError: `max_tokens` or `token_ratio` is less than a thousandth.
    """

    __slots__ = ("_max", "_ratio", "_tokens")

    def __init__(self, max_tokens: float, token_ratio: float) -> None:
        self._max, self._ratio = _thousandths(max_tokens), _thousandths(token_ratio)
        self._tokens = self._max

    @property
    def tokens(self) -> float:
        return self._tokens / 1000

    def end(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        """A failure takes a token, a success gives its share of one."""
        if succeeded:
            self._tokens = min(self._max, self._tokens + self._ratio)
        elif succeeded is not None:
            self._take()

    def end_copy(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        """A failure takes a token; a success counts with its attempt."""
        if succeeded is False:
            self._take()

    def first_send_failed(self, now_ns: int) -> None:
        """A failed first send takes a token at once, whatever the copies do."""
        self._take()

    def _take(self) -> None:
        self._tokens = max(0, self._tokens - 1000)

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Return 1 if more than half of the tokens are there, else None. The same holds for a hedge."""
        return 1 if 2 * self._tokens > self._max else None

    def reconfigure(self, max_tokens: float, token_ratio: float) -> None:
        """Take other settings from now on; the tokens keep their share of the maximum."""
        ceiling, ratio = _thousandths(max_tokens), _thousandths(token_ratio)
        self._tokens = self._tokens * ceiling // self._max
        self._max, self._ratio = ceiling, ratio


def _thousandths(tokens: float) -> int:
    count = round(tokens * 1000)
    if count < 1:
        raise ValueError(f"wanted at least a thousandth of a token, got {tokens!r}")
    return count


class TokenBudget(Budget):
    """A first attempt puts `share` of a token in, a retry takes one out; tokens above `capacity` are lost.

    The bucket is full at the start. After Brooker, "Fixing retries with token buckets and circuit breakers" (2022). So
    it allows a share of the first attempts, and `capacity` retries at once after a quiet time. If each of many small
    clients has a bucket, it is hardly ever empty, and allows nearly every retry. `inclusive`: whether the retry that
    takes the last tokens may be made.
    """

    __slots__ = ("_capacity", "_cost", "_deposit", "_least", "_tokens")

    def __init__(self, share: float, capacity: int, *, inclusive: bool = True) -> None:
        exact = exact_share(share)
        # A token and the share that is put in, both as whole parts.
        self._deposit, self._cost = (exact.numerator, exact.denominator) if exact else (0, 1)
        self._capacity = self._tokens = capacity * self._cost
        self._least = self._cost if inclusive else self._cost + 1

    @property
    def tokens(self) -> float:
        return self._tokens / self._cost

    def start(self, charge: int, now_ns: int) -> None:
        if not charge:
            self._tokens = min(self._capacity, self._tokens + self._deposit)

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Take a token and return 1, or None if there is none left."""
        if self._tokens < self._least:
            return None
        self._tokens -= self._cost
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        self._tokens = min(self._capacity, self._tokens + self._cost)


def make_budget(config: BudgetConfig) -> Budget:
    match config:
        case GrpcBudgetConfig():
            return GrpcBudget(config.max_tokens, config.token_ratio)
        case EnvoyBudgetConfig():
            return EnvoyBudget(config.share, config.min_concurrency, inclusive=config.inclusive)
        case FinagleBudgetConfig():
            return FinagleBudget(config.share, config.min_rate, config.ttl)
        case AwsBudgetConfig():
            return AwsBudget(config.capacity, config.retry_cost, config.throttled_cost, config.timeout_cost)
        case TokenBudgetConfig():
            return TokenBudget(config.share, config.capacity, inclusive=config.inclusive)
        case _:
            assert_never(config)
