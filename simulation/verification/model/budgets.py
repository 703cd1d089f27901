"""Retry budgets: how many retries a channel as a whole may make (section 3)."""

from __future__ import annotations

from fractions import Fraction

from actors.outcomes import Ambiguous, Outcome, Sent, Transient
from actors.settings.retry import (
    AwsBudgetConfig,
    BudgetConfig,
    EnvoyBudgetConfig,
    FinagleBudgetConfig,
    GrpcBudgetConfig,
    TokenBudgetConfig,
)
from simulation.verification.model.backoff import kind_of
from simulation.verification.model.instants import wait_ns
from simulation.verification.model.limits import as_written, share_of


class Budget:
    """How many retries a channel may make; this one has no bounds. The charge of a first attempt is 0."""

    def begin(self, charge: int, now_ns: int) -> None:
        """Count an attempt that sets out."""

    def end(self, charge: int, outcome: Outcome | None, now_ns: int) -> None:
        """Count an attempt that has ended; None: without an answer."""

    def end_copy(self, charge: int, outcome: Outcome | None, now_ns: int) -> None:
        """Count a further copy of an attempt that has ended; None: without an answer."""
        self.end(charge, outcome, now_ns)

    def first_send_failed(self, now_ns: int) -> None:
        """Count a first send that failed, where copies may do better."""

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        """Return the charge of a retry after this outcome, or None: there is none."""
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        """Take back the charge of a retry that will never set out."""


class Tokens(Budget):
    def __init__(self, most: Fraction) -> None:
        self._most = self._tokens = most

    def give_back(self, charge: int, now_ns: int) -> None:
        self._put(charge)

    def _take(self, cost: int) -> int | None:
        if self._tokens < cost:
            return None
        self._put(-cost)
        return cost

    def _put(self, tokens: Fraction | int) -> None:
        self._tokens = max(Fraction(0), min(self._most, self._tokens + tokens))


class TokenBucket(Tokens):
    """A first attempt gives a share of a token, a retry takes 1: not the last where that is not `inclusive`."""

    def __init__(self, config: TokenBudgetConfig) -> None:
        super().__init__(Fraction(config.capacity))
        self._config = config

    def begin(self, charge: int, now_ns: int) -> None:
        if not charge:
            self._put(share_of(self._config.share))

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        return None if self._tokens == 1 and not self._config.inclusive else self._take(1)


class Aws(Tokens):
    """A retry costs some tokens, by its reason, which it gives back if it succeeds; another success gives 1."""

    def __init__(self, config: AwsBudgetConfig) -> None:
        super().__init__(Fraction(config.capacity))
        self._config = config

    def end(self, charge: int, outcome: Outcome | None, now_ns: int) -> None:
        if isinstance(outcome, Sent):
            self._put(charge or 1)

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        own = {"throttled": self._config.throttled_cost, "ambiguous": self._config.timeout_cost}
        return self._take(own.get(kind_of(outcome)) or self._config.retry_cost)


class Grpc(Tokens):
    """Each send that fails takes 1 when it does, and an attempt that succeeds gives `token_ratio`, in thousandths.

    Retries go while more than half of all tokens are there, and take none.
    """

    def __init__(self, config: GrpcBudgetConfig) -> None:
        super().__init__(Fraction(round(config.max_tokens * 1000), 1000))
        self._ratio = Fraction(round(config.token_ratio * 1000), 1000)

    def end(self, charge: int, outcome: Outcome | None, now_ns: int) -> None:
        if isinstance(outcome, Sent):
            self._put(self._ratio)
        else:
            self.end_copy(charge, outcome, now_ns)

    def end_copy(self, charge: int, outcome: Outcome | None, now_ns: int) -> None:
        if isinstance(outcome, (Transient, Ambiguous)):
            self._put(-1)

    def first_send_failed(self, now_ns: int) -> None:
        self._put(-1)

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        return 1 if self._tokens > self._most / 2 else None

    def give_back(self, charge: int, now_ns: int) -> None:
        """There is nothing to give back."""


class Envoy(Budget):
    """Retries, their waits included, are at most a share of the attempts under way, or a small number."""

    def __init__(self, config: EnvoyBudgetConfig) -> None:
        self._config = config
        self._under_way = self._retries = 0

    def begin(self, charge: int, now_ns: int) -> None:
        self._under_way += 1

    def end(self, charge: int, outcome: Outcome | None, now_ns: int) -> None:
        self._under_way -= 1
        self._retries -= charge

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        one_more = 0 if self._config.inclusive else 1
        fits = self._retries + one_more <= share_of(self._config.share) * self._under_way
        if not fits and self._retries >= self._config.min_concurrency:
            return None
        self._retries += 1
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        self._retries -= charge


class Finagle(Budget):
    """A share of the first attempts of about the last `ttl`, and a whole `ttl` of `min_rate` besides.

    Counted in ten slices, each of which begins with the first call after the one before it has ended.
    """

    def __init__(self, config: FinagleBudgetConfig) -> None:
        self._share = share_of(config.share)
        self._slice_ns = max(10, wait_ns(config.ttl)) // 10
        floor = config.min_rate
        a_second = as_written(floor.count) / as_written(floor.period) if floor else Fraction(0)
        self._floor = a_second * as_written(config.ttl)
        self._slices = [Fraction(0)] * 10
        self._began_ns = 0

    def begin(self, charge: int, now_ns: int) -> None:
        if not charge:
            self._put(self._share, now_ns)

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        self._put(Fraction(0), now_ns)
        if self._floor + sum(self._slices) < 1:
            return None
        self._put(Fraction(-1), now_ns)
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        self._put(Fraction(1), now_ns)

    def _put(self, tokens: Fraction, now_ns: int) -> None:
        over = (now_ns - self._began_ns) // self._slice_ns
        if over:
            self._slices = [*self._slices, *[Fraction(0)] * min(over, 10)][-10:]
            self._began_ns = now_ns
        self._slices[-1] += tokens


def budget_of(config: BudgetConfig | None) -> Budget:
    match config:
        case None:
            return Budget()
        case FinagleBudgetConfig():
            return Finagle(config)
        case EnvoyBudgetConfig():
            return Envoy(config)
        case AwsBudgetConfig():
            return Aws(config)
        case GrpcBudgetConfig():
            return Grpc(config)
        case TokenBudgetConfig():
            return TokenBucket(config)
