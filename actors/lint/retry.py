"""Retries: what never starts, what never grows, and settings without an effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from actors.instants import ns
from actors.lint.schedule import Bound, last_start, starts, waits
from actors.lint.traffic import Found, Traffic
from actors.lint.words import duration, plain_number

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig, RetryConfig

ENDS_EARLY = "attempts-end-early"
"""The rule about what cuts attempts off: a bound on their time, an expiry."""

_OF_A_FORMULA = ("initial_delay", "backoff_multiplier", "max_delay", "min_delay", "backoff", "increment")
_OF_RETRIES = (
    "schedule", *_OF_A_FORMULA, "jitter", "jitter_share", "jitter_max", "jitter_factor", "max_elapsed", "budget",
    "retry_after", "retry_after_jitter", "retry_after_excess",
)  # fmt: skip


def retry_rules(config: ChannelConfig, _traffic: Traffic) -> Iterator[Found]:
    """Yield findings about `retry`, but for its `budget`."""
    retry = config.retry
    has_rules = any(rule is not None for _, rule in retry.per_outcome) or bool(retry.per_reason)
    if retry.max_attempts == 1 and not has_rules:
        hedges = any(own.hedging is not None for own in config.by_provider().values())
        of_copies = {"budget"} if hedges else set[str]()
        if unused := [key for key in _OF_RETRIES if key in retry.model_fields_set - of_copies]:
            yield Found(
                ("retry", "max_attempts"),
                "setting-without-effect",
                f"{plain_number(1)} leaves {' and '.join(unused)} without an effect: the only attempt is never retried",
            )
        return
    for key, why in _without_effect(retry, has_rules):
        yield Found(("retry", key), "setting-without-effect", f"has no effect {why}")
    yield from _never_grows(retry)
    if retry.max_elapsed is not None and (text := ends_too_soon(retry, retry.max_elapsed, included=False)):
        yield Found(("retry", "max_elapsed"), ENDS_EARLY, text)


def ends_too_soon(retry: RetryConfig, limit: float, *, included: bool) -> str | None:
    """Return what a bound on the age of a notification cuts off its attempts, as a warning says it; None if nothing.

    Args:
        retry: the settings; all failures are taken to be of a kind that has none of its own.
        limit: the age in seconds beyond which no attempt starts.
        included: whether one may start at exactly that age.
    """
    if retry.max_attempts < 2:
        return None
    first = next(waits(retry, "shortest"))
    if _is_behind(first, limit, included):
        at_least = "" if retry.jitter == "none" else "at least "
        return (
            f"{duration(limit)} is {'shorter than' if first > limit else 'no longer than'} the first wait of "
            f"{at_least}{duration(first)}: none of the {plain_number(retry.max_attempts - 1)} retries can start"
        )
    # Jitter that draws from 0 makes any number of attempts possible: what counts is how it is on average.
    is_narrow = retry.jitter in ("none", "proportional", "additive")
    bound: Bound = "shortest" if is_narrow else "mean"
    on_average, most = ("", "at most ") if is_narrow else ("on average ", "")
    for finished, start in enumerate(starts(retry, bound)):
        if _is_behind(start, limit, included):
            return (
                f"{duration(limit)} ends the attempts early: of {plain_number(retry.max_attempts)}, number "
                f"{plain_number(finished + 1)} would start {on_average}{duration(start)} after the first, "
                f"so {most}{plain_number(finished)} {'is' if finished == 1 else 'are'} made"
            )
    return None


def _is_behind(start: float, limit: float, included: bool) -> bool:
    return ns(start) > ns(limit) or (ns(start) == ns(limit) and not included)


def _without_effect(retry: RetryConfig, has_rules: bool) -> Iterator[tuple[str, str]]:
    """Yield the keys that are set and that nothing asks for, with why."""
    given = retry.model_fields_set
    if retry.schedule is not None and not has_rules:
        for key in _OF_A_FORMULA:
            if key in given:
                yield key, "beside a schedule, which says every wait itself"
    if retry.jitter == "decorrelated":
        for key in ("backoff", "backoff_multiplier", "increment"):
            if key in given:
                yield key, "with jitter: decorrelated, which draws each wait from the one before it"
    elif "backoff_multiplier" in given and retry.schedule is None and retry.backoff != "exponential":
        yield "backoff_multiplier", f"with backoff: {retry.backoff}"
    for key, kind in (("jitter_share", "proportional"), ("jitter_max", "additive"), ("jitter_factor", "decorrelated")):
        if key in given and retry.jitter != kind:
            yield key, f"with jitter: {retry.jitter}; it is for {kind}"
    if retry.retry_after == "ignore":
        for key in ("retry_after_jitter", "retry_after_excess"):
            if key in given:
                yield key, "with retry_after: ignore"


def _never_grows(retry: RetryConfig) -> Iterator[Found]:
    rules: list[tuple[tuple[str, ...], RetryConfig]] = [(("retry",), retry)]
    rules += [
        (("retry", "per_outcome", name), retry.with_rule(rule)) for name, rule in retry.per_outcome if rule is not None
    ]
    rules += [(("retry", "per_reason", reason), retry.with_rule(rule)) for reason, rule in retry.per_reason.items()]
    for path, own in rules:
        if own.schedule is None and own.max_attempts > 1 and own.max_delay < own.initial_delay:
            yield Found(
                (*path, "max_delay"),
                "max-delay-below-initial-delay",
                f"{duration(own.max_delay)} is below the initial_delay of {duration(own.initial_delay)}: "
                f"{'no wait is longer' if own.jitter != 'none' else 'every wait is cut to it'}, and none grows",
            )


def total_wait(retry: RetryConfig) -> float:
    """Return how long a notification that keeps failing is retried on average, in seconds."""
    total = last_start(retry, "mean")
    return total if retry.max_elapsed is None else min(total, retry.max_elapsed)
