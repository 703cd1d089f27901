"""An expiry against what takes longer than that: an attempt that hangs, a breaker that is open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from actors.lint.traffic import Found
from actors.lint.words import duration

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig


def expiry_rules(config: ChannelConfig, expires_after: float) -> Iterator[Found]:
    """Yield findings about what lasts longer than the `expires_after` of a notification.

    What a breaker keeps back is looked at where nothing else sends it meanwhile: no further provider, no fallback.
    """
    age, retry = duration(expires_after), config.retry
    has_retries = retry.max_attempts > 1 or bool(retry.per_reason) or any(rule for _, rule in retry.per_outcome)
    for name, own in config.by_provider().items():
        is_further = name in config.failover
        if own.timeout <= expires_after or not has_retries:
            continue
        if is_further and "timeout" not in config.failover[name].model_fields_set:
            continue  # the channel's, of which it is said
        yield Found(
            (*(("failover", name) if is_further else ()), "timeout"),
            "timeout-above-expiry",
            f"{duration(own.timeout)} is longer than an expires_after of {age}: an attempt that is not answered "
            "takes all of that, and is never retried",
        )
    breaker = config.circuit_breaker
    growth = breaker.open_growth
    shortest_open = breaker.timeout * (1 - growth.jitter if growth else 1)
    opens = breaker.enabled and breaker.initial_state == "closed" and breaker.when_open == "wait"
    if opens and shortest_open > expires_after and not config.failover and config.fallback is None:
        yield Found(
            ("circuit_breaker", "timeout"),
            "breaker-open-above-expiry",
            f"{duration(shortest_open)} is longer than an expires_after of {age}: of each opening, what arrives in the "
            f"first {duration(shortest_open - expires_after)} expires before an attempt is let through",
        )
