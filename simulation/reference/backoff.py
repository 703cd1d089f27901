"""Retries: whether another attempt follows, after how long, and how many a channel as a whole may make (section 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from actors.instants import LONGEST_WAIT_NS, NS_PER_S, wait_ns
from actors.outcomes import Ambiguous, ChannelFault, Outcome, Sent, Transient
from actors.settings.retry import (
    AwsBudgetConfig,
    BudgetConfig,
    EnvoyBudgetConfig,
    FinagleBudgetConfig,
    GrpcBudgetConfig,
    OutcomeRetryConfig,
    RetryConfig,
    TokenBudgetConfig,
)
from simulation.reference.limits import as_written, share_of
from simulation.reference.randomness import Stream


def delay_s(config: RetryConfig, attempt: int) -> float:
    """Return the wait in seconds after the `attempt`-th attempt failed, without jitter.

    "min(initial·multiplier^(n-1), max) after the n-th attempt failed; it saturates for any n, never overflows." Other
    kinds: constant, linear, fibonacci, an explicit schedule, of which the last wait repeats and to which neither
    `max_delay` nor `min_delay` applies.
    """
    if config.schedule is not None:
        return config.schedule[min(attempt, len(config.schedule)) - 1]
    return max(config.min_delay, min(config.max_delay, _grown_s(config, attempt)))


def _grown_s(config: RetryConfig, attempt: int) -> float:
    initial = config.initial_delay
    if config.backoff == "constant":
        return initial
    if config.backoff == "linear":
        return initial + (initial if config.increment is None else config.increment) * (attempt - 1)
    if initial == 0:
        return 0.0
    if config.backoff == "fibonacci":
        term, following = 1.0, 1.0
        for _ in range(attempt - 1):
            term, following = following, term + following
        return initial * term
    try:
        return initial * math.pow(config.backoff_multiplier, attempt - 1)
    except OverflowError:
        return math.inf


def jittered(config: RetryConfig, attempt: int, memory_ns: int | None, stream: Stream) -> tuple[int, int | None]:
    """Return the wait after the `attempt`-th attempt failed, and what is to be remembered until the next one.

    "Jitter is an option: none, full, equal, decorrelated, proportional, drawn from the system's seeded stream, never
    above `max_delay`": one draw for each wait, none for `none`. What is remembered is the wait itself; with `soft`, how
    far all waits so far would reach without a cap.
    """
    scheduled = config.schedule is not None
    shortest = 0 if scheduled else wait_ns(config.min_delay)
    longest = LONGEST_WAIT_NS if scheduled else wait_ns(config.max_delay)
    plain = wait_ns(delay_s(config, attempt))
    if config.jitter == "none":
        return plain, plain
    u = stream.draw()
    if config.jitter == "soft":
        return _soft(config, attempt, memory_ns, u)
    if config.jitter == "full":
        low = min(shortest, plain)
        wait = min(plain, low + int((plain - low) * u))
    elif config.jitter == "equal":
        half = plain / 2
        wait = max(shortest, min(plain, int(half + half * u)))
    elif config.jitter == "decorrelated":
        # "Draws U(initial_delay, min(max_delay, 3 · previous)); capping after the draw, as AWS does, is a setting."
        low = max(wait_ns(config.initial_delay), shortest)
        previous = low if memory_ns is None else memory_ns
        factor = int(config.jitter_factor) if config.jitter_factor.is_integer() else config.jitter_factor
        high = int(min(2**80, factor * previous))
        if not config.cap_after_draw:
            high = min(high, longest)
        wait = min(longest, low + int(max(0, high - low) * u))
    else:
        cap = LONGEST_WAIT_NS if config.cap_before_jitter else longest
        if config.jitter == "proportional":
            x = config.jitter_share
            wait = max(shortest, min(cap, round(plain * (1 - x + 2 * x * u))))
        else:
            wait = min(cap, plain + int(wait_ns(config.jitter_max) * u))
    return wait, wait


def _soft(config: RetryConfig, attempt: int, reached_ns: int | None, u: float) -> tuple[int, int]:
    """Return a wait of Polly's jitter: the difference of two reaches, each drawn within its attempt."""
    if reached_ns is None:  # the middle of where the attempt before may have reached
        reached_ns = _soft_reach_ns(config, attempt - 1.5) if attempt > 1 else 0
    reach_ns = _soft_reach_ns(config, attempt - 1 + u)
    if reach_ns == LONGEST_WAIT_NS:
        return wait_ns(config.max_delay), reach_ns
    wait = max(wait_ns(config.min_delay), min(wait_ns(config.max_delay), max(0, reach_ns - reached_ns)))
    return wait, reach_ns


def _soft_reach_ns(config: RetryConfig, t: float) -> int:
    """Return initial · 2^t · tanh(√(4t)) / 1.4."""
    initial_ns = wait_ns(config.initial_delay)
    if t > 1000:
        return LONGEST_WAIT_NS if initial_ns else 0
    return wait_ns(initial_ns * (1 / 1.4) * math.pow(2.0, t) * math.tanh(math.sqrt(4.0 * t)) / NS_PER_S)


@dataclass
class Used:
    """What one notification has used up under one rule since it was accepted or redriven."""

    attempts: int = 0
    step: int = 0
    """The same, but from the latest hint on that restarts the backoff."""
    memory_ns: int | None = None


Progress = dict[str, Used]
"""By the name of the rule; "state is per notification: redriving from the DLQ starts a fresh budget"."""


class Retrying:
    """The retries of one channel; `stream` is that of ``<channel>.backoff``."""

    def __init__(self, config: RetryConfig, stream: Stream) -> None:
        self.config = config
        self._stream = stream

    def next_wait_ns(self, outcome: Transient | Ambiguous | ChannelFault, progress: Progress) -> int | None:
        """Count a failed attempt and return the wait before the next, or None: the attempts are spent.

        "ChannelFault uses up no attempt, waits at least `calculate_delay(1)`." All else counts under the rule of its
        reason, or else of its kind, or else of the channel; each rule has its own count and its own `max_attempts`.
        """
        if isinstance(outcome, ChannelFault):
            used = progress.get("", Used())
            memory_ns = None if self.config.jitter == "soft" else used.memory_ns
            wait, _ = jittered(self.config, max(used.step, 1), memory_ns, self._stream)
            return max(wait, wait_ns(delay_s(self.config, 1)))
        name, config = self._rule(outcome)
        used = progress.setdefault(name, Used())
        used.attempts += 1
        used.step += 1
        if used.attempts >= config.max_attempts:
            return None
        hint = outcome.retry_after if isinstance(outcome, Transient) else None
        if hint is not None and self.config.retry_after == "pushback":
            used.step, used.memory_ns = 0, None
            return self._heeded_ns(hint, 0) if 0 <= hint < math.inf else None
        wait, used.memory_ns = jittered(config, used.step, used.memory_ns, self._stream)
        if hint is None or self.config.retry_after == "ignore":
            return wait
        # "A provider's `retry_after` is a lower bound on the wait; nonsense is ignored."
        return max(wait, self._heeded_ns(hint, wait))

    def recall(self, outcome: Transient | Ambiguous, waited_ns: int, progress: Progress) -> None:
        """Count an attempt that failed before a restart; what the history does not tell is what is most likely."""
        name, config = self._rule(outcome)
        used = progress.setdefault(name, Used())
        used.attempts += 1
        used.step += 1
        used.memory_ns = None if config.jitter == "soft" else waited_ns

    def last_start_ns(self, since_ns: int) -> int | None:
        """Return the last instant for a retry of what was accepted or redriven at `since_ns`; None: any."""
        elapsed = self.config.max_elapsed
        return None if elapsed is None else since_ns + wait_ns(elapsed) - 1

    def _rule(self, outcome: Transient | Ambiguous) -> tuple[str, RetryConfig]:
        kind = kind_of(outcome)
        for name, rule in (
            (f"reason {outcome.reason}", self.config.per_reason.get(outcome.reason)),
            (kind, getattr(self.config.per_outcome, kind)),
        ):
            if rule is not None:
                return name, _under(self.config, rule)
        return "", self.config

    def _heeded_ns(self, hint: float, wait: int) -> int:
        """Return a hint in ns: only up to `retry_after_excess` beyond the wait without it, and jitter on top."""
        hint_ns = wait_ns(hint) if 0 < hint < math.inf else 0
        if self.config.retry_after_excess is not None:
            hint_ns = min(hint_ns, wait + wait_ns(self.config.retry_after_excess))
        if self.config.retry_after_jitter and hint_ns:
            hint_ns += int(hint_ns * self.config.retry_after_jitter * self._stream.draw())
        return min(LONGEST_WAIT_NS, hint_ns)


def kind_of(outcome: Transient | Ambiguous) -> str:
    """Return the kind of a failure, as settings name it."""
    if isinstance(outcome, Ambiguous):
        return "ambiguous"
    return "throttled" if outcome.throttled else "transient"


def _under(config: RetryConfig, rule: OutcomeRetryConfig) -> RetryConfig:
    """Return the settings with those keys that a rule gives; its `initial_delay` replaces a schedule."""
    given: dict[str, object] = {key: value for key, value in rule if value is not None}
    if rule.schedule is not None:
        given = {"max_attempts": len(rule.schedule) + 1, **given}
    elif rule.initial_delay is not None:
        given["schedule"] = None
    return config.model_copy(update=given)


class Budget:
    """ "A retry budget (share of first attempts, with a small floor) is an option": this is the one without bounds.

    The charge is that of the retry, which is 0 for a first attempt.
    """

    def begin(self, charge: int, now_ns: int) -> None:
        """Count an attempt that sets out."""

    def end(self, charge: int, outcome: Outcome | None, now_ns: int) -> None:
        """Count an attempt that has ended; None: without an answer."""

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        """Return the charge of a retry after this outcome, or None: there is none."""
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        """Take back the charge of a retry that will never set out."""


class AwsBudget(Budget):
    """A retry costs; one that succeeds gives its cost back, and another success gives 1."""

    def __init__(self, config: AwsBudgetConfig) -> None:
        self._config = config
        self._available = config.capacity

    def end(self, charge: int, outcome: Outcome | None, now_ns: int) -> None:
        if isinstance(outcome, Sent):
            self.give_back(charge or 1, now_ns)

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        cost = self._config.retry_cost
        if kind_of(outcome) == "throttled":
            cost = self._config.throttled_cost
        elif kind_of(outcome) == "ambiguous" and self._config.timeout_cost is not None:
            cost = self._config.timeout_cost
        if cost > self._available:
            return None
        self._available -= cost
        return cost

    def give_back(self, charge: int, now_ns: int) -> None:
        self._available = min(self._config.capacity, self._available + charge)


class EnvoyBudget(Budget):
    """Retries, their waits included, are at most a share of the attempts under way, or a small number."""

    def __init__(self, config: EnvoyBudgetConfig) -> None:
        self._config = config
        self._under_way = 0
        self._retries = 0

    def begin(self, charge: int, now_ns: int) -> None:
        self._under_way += 1

    def end(self, charge: int, outcome: Outcome | None, now_ns: int) -> None:
        self._under_way -= 1
        self._retries -= charge

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        share = share_of(self._config.share) * self._under_way
        allowed = self._retries <= share if self._config.inclusive else self._retries + 1 <= share
        if not allowed and self._retries >= self._config.min_concurrency:
            return None
        self._retries += 1
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        self._retries -= charge


class FinagleBudget(Budget):
    """A share of the first attempts of about the last `ttl`, and a whole `ttl` of `min_rate` besides.

    Counted in ten slices, each of which begins with the first call after the one before it has ended.
    """

    def __init__(self, config: FinagleBudgetConfig) -> None:
        self._share = share_of(config.share)
        self._slice_ns = max(10, wait_ns(config.ttl)) // 10
        self._floor = Fraction(0)
        if config.min_rate is not None:
            per_second = as_written(config.min_rate.count) / as_written(config.min_rate.period)
            self._floor = per_second * as_written(config.ttl)
        self._slices = [Fraction(0)] * 10
        self._began_ns = 0

    def begin(self, charge: int, now_ns: int) -> None:
        if not charge:
            self._add(self._share, now_ns)

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        self._add(Fraction(0), now_ns)
        if self._floor + sum(self._slices) < 1:
            return None
        self._add(Fraction(-1), now_ns)
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        self._add(Fraction(1), now_ns)

    def _add(self, tokens: Fraction, now_ns: int) -> None:
        over = (now_ns - self._began_ns) // self._slice_ns
        if over:
            self._slices = [*self._slices, *[Fraction(0)] * min(over, 10)][-10:]
            self._began_ns = now_ns
        self._slices[-1] += tokens


class GrpcBudget(Budget):
    """A failure takes a token, a success gives `token_ratio`; retries only while more than half of all are there.

    In thousandths, "as A6 asks".
    """

    def __init__(self, config: GrpcBudgetConfig) -> None:
        self._most = self._tokens = round(config.max_tokens * 1000)
        self._ratio = round(config.token_ratio * 1000)

    def end(self, charge: int, outcome: Outcome | None, now_ns: int) -> None:
        if isinstance(outcome, Sent):
            self._tokens = min(self._most, self._tokens + self._ratio)
        elif isinstance(outcome, (Transient, Ambiguous)):
            self._tokens = max(0, self._tokens - 1000)

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        return 1 if 2 * self._tokens > self._most else None


class TokenBudget(Budget):
    """A first attempt puts a share of a token in, a retry takes one out; full to begin with."""

    def __init__(self, config: TokenBudgetConfig) -> None:
        self._config = config
        self._tokens = Fraction(config.capacity)

    def begin(self, charge: int, now_ns: int) -> None:
        if not charge:
            self._put(share_of(self._config.share))

    def ask(self, outcome: Transient | Ambiguous, now_ns: int) -> int | None:
        if self._tokens < 1 or (self._tokens == 1 and not self._config.inclusive):
            return None
        self._tokens -= 1
        return 1

    def give_back(self, charge: int, now_ns: int) -> None:
        self._put(Fraction(1))

    def _put(self, tokens: Fraction) -> None:
        self._tokens = min(Fraction(self._config.capacity), self._tokens + tokens)


_BUDGETS: Mapping[type, type] = {
    AwsBudgetConfig: AwsBudget,
    EnvoyBudgetConfig: EnvoyBudget,
    FinagleBudgetConfig: FinagleBudget,
    GrpcBudgetConfig: GrpcBudget,
    TokenBudgetConfig: TokenBudget,
}


def budget_of(config: BudgetConfig | None) -> Budget:
    """Return the budget that a channel's settings ask for."""
    return Budget() if config is None else _BUDGETS[type(config)](config)
