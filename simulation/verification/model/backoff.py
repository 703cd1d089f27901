"""Retries: whether another attempt of a notification follows, and after how long (section 3)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from actors.messages import NotificationFailed
from actors.outcomes import Ambiguous, ChannelFault, Outcome, Transient
from actors.settings.retry import BackoffConfig, ExponentialConfig, OutcomeRetryConfig, RetryConfig
from simulation.verification.model.instants import LONGEST_WAIT_NS, NS_PER_S, wait_ns
from simulation.verification.model.randomness import Stream


def delay_s(config: RetryConfig, attempt: int) -> float:
    """Return the wait in seconds after the `attempt`-th attempt failed, without jitter.

    "min(initial·multiplier^(n-1), max) after the n-th attempt failed; it saturates for any n, never overflows." Other
    kinds: constant, linear, fibonacci, a schedule, whose last wait repeats and to which no minimum or maximum applies;
    "`initial_delay`·(n-1)^power + plus (23); with `polynomial`, `max_delay` applies only where given".
    """
    initial = grown = config.initial_delay
    word = shape = config.backoff
    plus = 0.0
    if isinstance(shape, BackoffConfig):
        word, plus = "exponential", (shape.polynomial or shape.exponential or ExponentialConfig()).plus
    if config.schedule is not None:
        return config.schedule[min(attempt, len(config.schedule)) - 1]
    if word == "linear":
        grown = initial + (initial if config.increment is None else config.increment) * (attempt - 1)
    elif word == "fibonacci" and initial:
        term, following = 1.0, 1.0
        for _ in range(attempt - 1):
            term, following = following, term + following
        grown = initial * term
    elif word == "exponential" and initial:
        try:
            if isinstance(shape, BackoffConfig) and shape.polynomial is not None:
                grown = initial * math.pow(attempt - 1, shape.polynomial.power)
            else:
                grown = initial * math.pow(config.backoff_multiplier, attempt - 1)
        except OverflowError:
            grown = math.inf
    return max(config.min_delay, min(longest_s(config), grown + plus))


def longest_s(config: RetryConfig) -> float:
    """Return how long a wait in seconds may be: any polynomial one, where no one has said."""
    is_polynomial = isinstance(config.backoff, BackoffConfig) and config.backoff.polynomial is not None
    return math.inf if is_polynomial and "max_delay" not in config.model_fields_set else config.max_delay


def jittered(config: RetryConfig, attempt: int, memory_ns: int | None, stream: Stream) -> tuple[int, int]:
    """Return the wait after the `attempt`-th attempt failed, and what is to be remembered until the next one.

    "Drawn from the system's seeded stream, never above `max_delay`": one draw for each wait, none for `none`. What is
    remembered is the wait itself; with `soft`, how far all waits so far reach without a cap.
    """
    scheduled = config.schedule is not None
    shortest = 0 if scheduled else wait_ns(config.min_delay)
    longest = LONGEST_WAIT_NS if scheduled else wait_ns(longest_s(config))
    plain = wait_ns(delay_s(config, attempt))
    if config.jitter == "none":
        return plain, plain
    u = stream.draw()
    cap = LONGEST_WAIT_NS if config.cap_before_jitter else longest
    match config.jitter:
        case "full":
            low = min(shortest, plain)
            wait = min(plain, low + int((plain - low) * u))
        case "equal":
            wait = max(shortest, min(plain, int(plain / 2 + plain / 2 * u)))
        case "proportional":
            x = config.jitter_share
            factor = 1 + x * u if config.jitter_side == "above" else 1 - x + 2 * x * u
            wait = max(shortest, min(cap, round(plain * factor)))
        case "additive":
            wait = min(cap, plain + int(wait_ns(config.jitter_max) * u))
        case "by_count":
            wait = min(cap, plain + int(wait_ns(config.jitter_max * attempt) * u))
        case "decorrelated":
            # "Draws U(initial_delay, min(max_delay, 3 · previous)); capping after the draw, as AWS does, is a setting."
            low = max(wait_ns(config.initial_delay), shortest)
            factor = int(config.jitter_factor) if config.jitter_factor.is_integer() else config.jitter_factor
            high = int(min(2**80, factor * (low if memory_ns is None else memory_ns)))
            high = high if config.cap_after_draw else min(high, longest)
            wait = min(longest, low + int(max(0, high - low) * u))
        case "soft":
            # The difference of two reaches; the one before is unknown where nothing is remembered.
            before_ns = _soft_reach_ns(config, max(0, attempt - 1.5)) if memory_ns is None else memory_ns
            reach_ns = _soft_reach_ns(config, attempt - 1 + u)
            wait = longest if reach_ns == LONGEST_WAIT_NS else max(shortest, min(longest, reach_ns - before_ns))
            return wait, reach_ns
    return wait, wait


def _soft_reach_ns(config: RetryConfig, t: float) -> int:
    """Return initial · 2^t · tanh(√(4t)) / 1.4, which is where Polly's waits of t attempts reach."""
    initial_ns = wait_ns(config.initial_delay)
    if t > 1000:
        return LONGEST_WAIT_NS if initial_ns else 0
    return wait_ns(initial_ns * (1 / 1.4) * math.pow(2.0, t) * math.tanh(math.sqrt(4.0 * t)) / NS_PER_S)


@dataclass
class Used:
    """The attempts of one notification under one rule since it was accepted or redriven."""

    attempts: int = 0
    step: int = 0
    """The attempts since the latest hint that restarts the backoff."""
    memory_ns: int | None = None

    def count(self) -> None:
        self.attempts += 1
        self.step += 1


Progress = dict[str, Used]
"""By the name of the rule. "State is per notification: redriving from the DLQ starts a fresh budget." """


class Retrying:
    """The retries of one channel; `stream` is that of ``<channel>.backoff``."""

    def __init__(self, config: RetryConfig, stream: Stream) -> None:
        self.config = config
        self._stream = stream
        self._rules: dict[tuple[str, str | None], tuple[str, RetryConfig]] = {}
        """By the kind of a failure, and its reason where that has settings."""
        kinds = config.per_outcome
        self._has_rules = bool(config.per_reason or kinds.throttled or kinds.transient or kinds.ambiguous)

    def is_final(self, outcome: Outcome, timed_out: bool) -> bool:
        """Tell whether an attempt at a provider that ended so is the last one: "`retry.on`: which outcomes are tried
        again. Others are final with their reason. ChannelFault is always tried again" (23)."""
        if isinstance(outcome, Transient):
            kind = "throttled" if outcome.throttled else "connection" if outcome.connection else "transient"
        elif isinstance(outcome, Ambiguous):
            kind = "timeout" if timed_out else "lost_reply"
        else:
            return not isinstance(outcome, ChannelFault)
        return kind not in self.config.on

    def is_unlimited(self, outcome: Outcome) -> bool:
        """Tell whether attempts may fail so "until the deadline, expiry or a permanent error" (23)."""
        if not isinstance(outcome, (Transient, Ambiguous)):
            return isinstance(outcome, ChannelFault) and self.config.max_attempts == "unlimited"
        name, config = self._rule(outcome)
        return (config if self._count(name) else self.config).max_attempts == "unlimited"

    def next_wait_ns(self, outcome: Transient | Ambiguous | ChannelFault, progress: Progress) -> int | None:
        """Count a failed attempt and return the wait before the next, or None: the attempts are spent.

        A channel fault "uses up no attempt, waits at least `calculate_delay(1)`" (1). All else counts under the rule of
        its reason, or else of its kind, or else of the channel; each has its own count and its own `max_attempts`.
        "A provider's `retry_after` is a lower bound; nonsense is ignored"; as a `pushback` it is the wait and restarts
        the backoff, or forbids the retry.
        """
        if isinstance(outcome, ChannelFault):
            used = progress.get("", Used())
            memory_ns = None if self.config.jitter == "soft" else used.memory_ns
            wait, _ = jittered(self.config, max(used.step, 1), memory_ns, self._stream)
            return max(wait, wait_ns(delay_s(self.config, 1)))
        name, config = self._rule(outcome)
        counted = self._count(name)
        used = progress.get(counted) or progress.setdefault(counted, Used())
        used.count()
        most = (config if counted else self.config).max_attempts
        if most == "unlimited":  # "no wait is then shorter than 1ms" (reference.md)
            drawn = self._wait_ns(outcome, config, used)
            return None if drawn is None else max(drawn, 1_000_000)
        return None if used.attempts >= most else self._wait_ns(outcome, config, used)

    def _wait_ns(self, outcome: Transient | Ambiguous, config: RetryConfig, used: Used) -> int | None:
        hint = outcome.retry_after if isinstance(outcome, Transient) else None
        if hint is not None and config.retry_after == "pushback":
            used.step, used.memory_ns = 0, None
            return self._heeded_ns(hint, 0) if 0 <= hint < math.inf else None
        wait, used.memory_ns = jittered(config, used.step, used.memory_ns, self._stream)
        if hint is not None and config.retry_after == "exactly":  # "the wait is the hint, the back-off's count goes on"
            return self._heeded_ns(hint, 0) if 0 <= hint < math.inf else wait
        return wait if hint is None or config.retry_after == "ignore" else max(wait, self._heeded_ns(hint, wait))

    def recalled(self, failures: Iterable[NotificationFailed]) -> Progress:
        """Return what these failures have used up; how far a `soft` wait reached is lost.

        What the history has left out counts with the next failure of an unlimited kind.
        """
        progress: Progress = {}
        missing = before = 0
        for failed in failures:
            missing, before = missing + failed.attempt - before, failed.attempt
            if failed.kind == "ChannelFault":
                continue
            missing -= 1
            assert failed.next_retry_at_ns is not None
            again = Transient(reason=failed.reason, throttled=failed.throttled)
            outcome = Ambiguous(reason=failed.reason) if failed.kind == "Ambiguous" else again
            self.recall(outcome, failed.next_retry_at_ns - failed.at_ns, progress)
            if failed.unlimited:
                used = progress[self._count(self._rule(outcome)[0])]
                used.attempts, used.step, missing = used.attempts + missing, used.step + missing, 0
        return progress

    def recall(self, outcome: Transient | Ambiguous, waited_ns: int, progress: Progress) -> None:
        """Count one such attempt."""
        name, config = self._rule(outcome)
        used = progress.setdefault(self._count(name), Used())
        used.count()
        used.memory_ns = None if config.jitter == "soft" else waited_ns

    def is_late_to_fail(self, since_ns: int, now_ns: int) -> bool:
        """Tell whether a failure comes too late for one more: "`after_failure`: then one attempt beyond the limit
        starts, as in tenacity" (23)."""
        elapsed, checked = self.config.max_elapsed, self.config.max_elapsed_checked
        return elapsed is not None and checked == "after_failure" and now_ns - since_ns >= wait_ns(elapsed)

    def _count(self, name: str) -> str:
        """Return the rule whose count it is: "own waits by kind, one count of attempts" (23)."""
        return "" if self.config.per_outcome.shares_attempts and not name.startswith("reason ") else name

    def last_start_ns(self, since_ns: int) -> int | None:
        """Return the last instant for a retry of what was accepted or redriven at `since_ns`; None: any."""
        elapsed = self.config.max_elapsed
        if self.config.max_elapsed_checked == "after_failure":
            return None
        return None if elapsed is None else since_ns + wait_ns(elapsed) - 1

    def _rule(self, outcome: Transient | Ambiguous) -> tuple[str, RetryConfig]:
        """Return the name of the rule under which a failure counts, and the settings with the keys that it gives."""
        if not self._has_rules:
            return "", self.config
        kind, reason = kind_of(outcome), outcome.reason if outcome.reason in self.config.per_reason else None
        found = self._rules.get((kind, reason))
        if found is None:
            found = self._rules[kind, reason] = self._rule_of(kind, reason)
        return found

    def _rule_of(self, kind: str, reason: str | None) -> tuple[str, RetryConfig]:
        by_reason = None if reason is None else self.config.per_reason[reason]
        rule: OutcomeRetryConfig | None = by_reason or getattr(self.config.per_outcome, kind)
        if rule is None:
            return "", self.config
        given: dict[str, object] = {key: value for key, value in rule if value is not None}
        if rule.schedule is not None:
            given = {"max_attempts": len(rule.schedule) + 1, **given}
        elif rule.initial_delay is not None:
            given["schedule"] = None
        return f"reason {reason}" if by_reason else kind, self.config.model_copy(update=given)

    def _heeded_ns(self, hint: float, wait: int) -> int:
        """Return a hint in ns: only up to `retry_after_excess` beyond the wait without it, and jitter on top."""
        hint_ns = wait_ns(hint) if 0 < hint < math.inf else 0
        if self.config.retry_after_excess is not None:
            hint_ns = min(hint_ns, wait + wait_ns(self.config.retry_after_excess))
        if self.config.retry_after_jitter and hint_ns:
            hint_ns += int(hint_ns * self.config.retry_after_jitter * self._stream.draw())
        return min(LONGEST_WAIT_NS, hint_ns)


def kind_of(outcome: Transient | Ambiguous) -> str:
    if isinstance(outcome, Ambiguous):
        return "ambiguous"
    return "throttled" if outcome.throttled else "transient"
