"""Whether and when a failed attempt is retried: limits by kind of failure, backoff, provider's hints.

How attempts are counted. An attempt counts under one rule: the rule of its reason if there is one, else the rule of its
kind (transient, throttled, ambiguous) if there is one, else the settings of the channel. Each rule has its own count,
its own `max_attempts` and its own backoff, and the notification is dead-lettered when the rule of its latest attempt is
used up. So ten throttled attempts use up none of three others, and there are never more attempts than the sum of the
limits. This is how urllib3's Retry counts connect, read and status errors, and Spring Retry's
ExceptionClassifierRetryPolicy exceptions. With `shares_attempts` a kind has only a backoff of its own, and its attempts
count under the settings of the channel, as in the AWS SDKs.
"""

from __future__ import annotations

import math
from random import Random
from typing import Literal, TypeAlias

import msgspec

from actors.instants import LONGEST_WAIT_NS, wait_ns
from actors.outcomes import Ambiguous, ChannelFault, Transient
from actors.policies.retry.backoff import Backoff, retry_after_ns
from actors.settings.channel import RetryConfig

FailureKind: TypeAlias = Literal["transient", "throttled", "ambiguous"]
"""The kinds of failure that are worth another attempt; a throttled one is no transient one here."""


SHORTEST_UNLIMITED_NS = 1_000_000
"""The shortest wait with unlimited attempts, in nanoseconds: a refusal of our own may take no time at all."""


class Progress(msgspec.Struct, gc=False):
    """The attempts that one notification has used up since it was accepted or redriven; None is the same as a new
    one."""

    attempts: int = 0
    """Attempts that counted under the rule that this is of."""

    step: int = 0
    """The attempts used up since the latest hint that restarted the backoff."""

    memory_ns: int | None = None
    """The memory of the backoff."""

    others: dict[str, Progress] | None = None
    """The progress under each of the other rules, by the rule's name."""


class _Rule:
    def __init__(self, name: str, config: RetryConfig, random: Random) -> None:
        self.name = name
        self.attempts_bound = config.attempts_bound
        self.backoff = Backoff(config, random)
        self.next_delay_ns = None if config.jitter == "soft" else self.backoff.next_delay_ns
        """The backoff's shorter call, for jitter whose memory is only the wait."""


class RetryPolicy:
    """The retries of one channel. The state of each notification is in its own :class:`Progress`."""

    def __init__(self, config: RetryConfig, random: Random) -> None:
        self._general = _Rule("", config, random)
        self._by_kind: dict[str, _Rule] = {}
        self._by_reason: dict[str, _Rule] = {}
        for (group, name), rule in config.rules().items():
            if group == "per_reason":
                self._by_reason[name] = _Rule(f"reason {name}", rule, random)
            else:  # the count of a rule without a name is the general one
                self._by_kind[name] = _Rule("" if config.per_outcome.shares_attempts else name, rule, random)
        self._has_rules = bool(self._by_kind or self._by_reason)
        self._is_unlimited = config.attempts_most == math.inf
        self._first_delay_ns = wait_ns(config.calculate_delay(1))
        self._longest_elapsed_ns = None if config.max_elapsed is None else wait_ns(config.max_elapsed)
        self._checked_after_failure = config.max_elapsed_checked == "after_failure"
        self._hint_means = config.retry_after
        self._hint_jitter = config.retry_after_jitter
        self._excess_ns = None if config.retry_after_excess is None else wait_ns(config.retry_after_excess)
        self._draw = random.random
        self._on = frozenset(config.on)

    def gives_up(self, outcome: Transient | Ambiguous | ChannelFault, timed_out: bool) -> bool:
        """Tell whether a failure is not retried, by the words of the setting `on`.

        Args:
            outcome: the outcome of an attempt that reached a provider; a refusal of our own is always retried.
            timed_out: whether no answer came in time.
        """
        if isinstance(outcome, Transient):
            word = "throttled" if outcome.throttled else "connection" if outcome.connection else "transient"
        elif isinstance(outcome, Ambiguous):
            word = "timeout" if timed_out else "lost_reply"
        else:
            return False
        return word not in self._on

    def is_unlimited(self, outcome: Transient | Ambiguous | ChannelFault) -> bool:
        """Tell whether attempts may fail so without a limit; where that holds of others, so may channel faults."""
        if not self._is_unlimited:
            return False
        rule = self._general if isinstance(outcome, ChannelFault) else self._rule_of(outcome)
        return rule.attempts_bound == math.inf

    def next_wait_ns(self, outcome: Transient | Ambiguous | ChannelFault, progress: Progress) -> int | None:
        """Count an attempt that failed, and return how many nanoseconds to wait before the next; None if there is none.

        A channel fault uses up nothing and is always retried, after at least the first delay without jitter. For
        whether there is time for the next attempt, see :meth:`is_out_of_time`.
        """
        if not isinstance(outcome, (Transient, Ambiguous)):
            own_ns = self._general.backoff.next_delay_ns(max(progress.step, 1), progress.memory_ns)
            return max(own_ns, self._first_delay_ns)
        rule = self._general
        if self._has_rules:
            rule = self._rule_of(outcome)
            progress = _of_rule(progress, rule)
        progress.attempts = attempts = progress.attempts + 1
        progress.step = step = progress.step + 1
        if attempts >= rule.attempts_bound:
            return None
        delay_ns: int | None
        if isinstance(outcome, Transient) and outcome.retry_after is not None:
            delay_ns = self._wait_with_hint_ns(outcome.retry_after, rule, progress)
        elif rule.next_delay_ns is not None:
            progress.memory_ns = delay_ns = rule.next_delay_ns(step, progress.memory_ns)
        else:
            delay_ns, progress.memory_ns = rule.backoff.next_wait(step, progress.memory_ns)
        if self._is_unlimited and delay_ns is not None and rule.attempts_bound == math.inf:
            return max(delay_ns, SHORTEST_UNLIMITED_NS)
        return delay_ns

    def last_start_ns(self, since_ns: int) -> int | None:
        """Return the last instant for a retry of a notification that was accepted or redriven at `since_ns`. None: any,
        as there is no such bound, or it is looked at when an attempt fails."""
        if self._longest_elapsed_ns is None or self._checked_after_failure:
            return None
        return since_ns + self._longest_elapsed_ns - 1

    def is_out_of_time(self, since_ns: int, failed_at_ns: int, retry_at_ns: int) -> bool:
        """Tell whether `max_elapsed`, from `since_ns` on, forbids a retry at an instant after a failure at another."""
        if self._longest_elapsed_ns is None:
            return False
        looked_at_ns = failed_at_ns if self._checked_after_failure else retry_at_ns
        return looked_at_ns >= since_ns + self._longest_elapsed_ns

    def _wait_with_hint_ns(self, hint: float, rule: _Rule, progress: Progress) -> int | None:
        if self._hint_means == "pushback":
            progress.step, progress.memory_ns = 0, None
            return self._spread(self._bounded(hint, 0)) if _is_pushback(hint) else None
        delay_ns, progress.memory_ns = rule.backoff.next_wait(progress.step, progress.memory_ns)
        if self._hint_means == "ignore":
            return delay_ns
        if self._hint_means == "exactly":
            return self._spread(self._bounded(hint, 0)) if _is_pushback(hint) else delay_ns
        return max(delay_ns, self._spread(self._bounded(hint, delay_ns)))

    def _bounded(self, hint: float, delay_ns: int) -> int:
        hint_ns = retry_after_ns(hint)
        return hint_ns if self._excess_ns is None else min(hint_ns, delay_ns + self._excess_ns)

    def recall(self, outcome: Transient | Ambiguous, waited_ns: int, progress: Progress, left_out: int = 0) -> None:
        """Count an attempt that failed in an earlier process and was followed by a wait of `waited_ns`, and those
        before it that the history has left out.

        State that was lost with the process and is not in the history (how far a `soft` wait reached, and that a hint
        restarted the backoff) is replaced by the most likely one.
        """
        rule = self._rule_of(outcome)
        progress = _of_rule(progress, rule)
        progress.attempts += 1
        progress.step += 1
        progress.memory_ns = rule.backoff.remembered(waited_ns)
        progress.attempts += left_out
        progress.step += left_out

    def _rule_of(self, outcome: Transient | Ambiguous) -> _Rule:
        if (rule := self._by_reason.get(outcome.reason)) is not None:
            return rule
        return self._by_kind.get(failure_kind(outcome), self._general)

    def _spread(self, hint_ns: int) -> int:
        if not self._hint_jitter or not hint_ns:
            return hint_ns
        return min(LONGEST_WAIT_NS, hint_ns + int(hint_ns * self._hint_jitter * self._draw()))


def failure_kind(outcome: Transient | Ambiguous) -> FailureKind:
    """Return the kind of a failure that another attempt may not meet."""
    if isinstance(outcome, Transient):
        return "throttled" if outcome.throttled else "transient"
    return "ambiguous"


def _of_rule(progress: Progress, rule: _Rule) -> Progress:
    if not rule.name:
        return progress
    if progress.others is None:
        progress.others = {}
    return progress.others.setdefault(rule.name, Progress())


def _is_pushback(hint: object) -> bool:
    return isinstance(hint, (int, float)) and not isinstance(hint, bool) and 0 <= hint < math.inf
