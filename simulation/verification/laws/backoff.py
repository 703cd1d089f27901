"""Backoff: each wait before a retry is one that the settings allow, counted anew by their formulas."""

from __future__ import annotations

import math

from actors.formatting import seconds_text
from actors.instants import NS_PER_S, wait_ns
from actors.messages import NotificationFailed, NotificationRedriven
from actors.outcomes import ChannelFault, Transient
from actors.settings.retry import RetryConfig
from simulation.verification.laws.attempts import attempts_of
from simulation.verification.laws.base import Invariant, Objection, observes
from simulation.verification.laws.lifecycles import Lifecycle
from simulation.verification.laws.observations import AttemptMade
from simulation.verification.laws.steps import all_rules, config_of, count_of, rule_of
from simulation.verification.model.backoff import delay_s, longest_s

_ROUNDING_NS = 4
"""How far the formulas and what is counted in whole nanoseconds may be apart."""


class Backoff(Invariant):
    """The wait before a retry is that of the formula or the schedule, with no more jitter than there is to be; and
    none is shorter than the provider has asked for."""

    name = "backoff"
    settings = ("retry",)

    @observes(NotificationFailed)
    def on_failure(self, failed: NotificationFailed) -> Objection:
        lifecycle = self.context.lifecycles.get(failed.notification_id)
        config = self.context.channels.get(failed.channel)
        if (
            lifecycle is None
            or config is None
            or failed.next_retry_at_ns is None
            or failed.kind == ChannelFault.__name__
        ):
            return None
        retry, rule = config.retry, rule_of(failed, config.retry)
        settings = config_of(rule, retry)
        wait = failed.next_retry_at_ns - failed.at_ns
        has_hints = any(_hint(each) is not None for each in lifecycle.history if type(each) is AttemptMade)
        earlier = [each for each in lifecycle.failures if each.kind != ChannelFault.__name__]
        if has_hints:
            made = _attempt_of(failed, lifecycle)
            if made is None:
                return None
            if (hint := _hint(made)) is not None or retry.retry_after != "pushback" or all_rules(retry):
                return self._with_hint(failed, retry, wait, hint)
            since = _since_pushback(lifecycle)
            if since is None or self.context.lifecycles.crashes > lifecycle.crashes_before:
                return None  # that a hint has had the backoff begin anew is not in the store
            earlier = since
        count = count_of(rule, retry)
        earlier = [each for each in earlier if count_of(rule_of(each, retry), retry) == count]
        before = None
        if earlier and earlier[-1].next_retry_at_ns is not None:
            before = earlier[-1].next_retry_at_ns - earlier[-1].at_ns
        least, most = bounds_ns(settings, len(earlier) + 1, before)
        if least - _ROUNDING_NS <= wait <= most + _ROUNDING_NS + most * 1e-12:
            return None
        return (
            f"{failed.notification_id} waits for {seconds_text(wait)} after attempt {failed.attempt}, of at least "
            f"{least / NS_PER_S:.9g} s and at most {most / NS_PER_S:.9g} s"
        )

    def _with_hint(self, failed: NotificationFailed, retry: RetryConfig, wait: int, hint: float | None) -> Objection:
        if retry.retry_after == "ignore" or hint is None or not 0 < hint < math.inf:
            return None
        heeded = hint if retry.retry_after_excess is None else min(hint, retry.retry_after_excess)
        most = math.inf if retry.retry_after != "exactly" else wait_ns(heeded) * (1 + retry.retry_after_jitter)
        if wait_ns(heeded) <= wait <= most:
            return None
        return (
            f"{failed.notification_id} waits for {seconds_text(wait)} after attempt {failed.attempt}, and the provider "
            f"has asked for {hint:.9g} s"
        )


def _attempt_of(failed: NotificationFailed, lifecycle: Lifecycle) -> AttemptMade | None:
    """Return the attempt at a provider that has failed; None where it is not known which one, or none was asked."""
    if failed.refused or failed.hedges:
        return None
    attempts = attempts_of(failed, lifecycle)
    return attempts[0] if len(attempts) == 1 else None


def _since_pushback(lifecycle: Lifecycle) -> list[NotificationFailed] | None:
    """Return the failures after the latest with which its provider said when to come again: the backoff begins anew.

    None: it is not known which those are.
    """
    since: list[NotificationFailed] = []
    for each in lifecycle.history:
        if type(each) is NotificationRedriven:
            since = []
        elif type(each) is NotificationFailed:
            made = _attempt_of(each, lifecycle)
            if made is None:
                return None
            since = [] if _hint(made) is not None else [*since, each]
    return [each for each in since if each.kind != ChannelFault.__name__]


def _hint(made: AttemptMade) -> float | None:
    return made.outcome.retry_after if made.answered and isinstance(made.outcome, Transient) else None


def bounds_ns(config: RetryConfig, number: int, before_ns: int | None) -> tuple[float, float]:
    """Return the shortest and the longest wait in nanoseconds after so many failed attempts.

    Args:
        config: the settings.
        number: how many attempts have failed with the latest.
        before_ns: the wait before this one; None for the first.
    """
    base = delay_s(config, number) * NS_PER_S
    has_schedule = config.schedule is not None
    longest = math.inf if has_schedule else longest_s(config) * NS_PER_S
    shortest = 0.0 if has_schedule else config.min_delay * NS_PER_S
    capped = math.inf if config.cap_before_jitter else longest
    match config.jitter:
        case "none":
            return base, base
        case "full":
            return min(shortest, base), base
        case "equal":
            return max(shortest, base / 2), max(shortest, base)
        case "proportional":
            share, below = config.jitter_share, 0.0 if config.jitter_side == "above" else config.jitter_share
            return max(shortest, min(capped, base * (1 - below))), max(shortest, min(capped, base * (1 + share)))
        case "additive" | "by_count":
            times = number if config.jitter == "by_count" else 1
            return min(capped, base), min(capped, base + times * config.jitter_max * NS_PER_S)
        case "decorrelated":
            low = max(config.initial_delay * NS_PER_S, shortest)
            return min(longest, low), min(longest, max(low, config.jitter_factor * (before_ns or low)))
        case _:
            return shortest, longest
