"""Several providers, and other channels to fall back on: what never takes over, and what cannot keep up together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from actors.lint.load import as_written, excess, growth, key_of
from actors.lint.traffic import NEARLY, Found, Traffic
from actors.lint.words import counted, duration, percent, rate
from actors.settings.distribution_moments import limited_mean, median, share_above

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig


def failover_rules(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """Yield findings about `failover`, `switch_after` and `fallback`."""
    yield from _switch_after(config)
    yield from _fallback(config)
    if config.failover:
        yield from _together(config, traffic)


def _switch_after(config: ChannelConfig) -> Iterator[Found]:
    retry, after = config.retry, config.switch_after
    if after is None:
        return
    # Each rule counts on its own, and the notification is dead-lettered when the first of them is exhausted.
    rules = [rule for _, rule in retry.per_outcome if rule is not None] + list(retry.per_reason.values())
    most = 1 + sum(own.max_attempts - 1 for own in (retry, *(retry.with_rule(rule) for rule in rules)))
    if after >= most:
        yield Found(
            ("switch_after",),
            "switch-after-never-reached",
            f"{counted(after, 'failed attempt')} never {'comes' if after == 1 else 'come'} before another one, as "
            f"there are at most {counted(most, 'attempt')}: no notification tries another provider first",
        )


def _fallback(config: ChannelConfig) -> Iterator[Found]:
    fallback, latency = config.fallback, config.provider.latency
    if fallback is None or fallback.after is None or fallback.after >= (middle := median(latency)):
        return
    yield Found(
        ("fallback", "after"),
        "fallback-below-median-latency",
        f"{duration(fallback.after)} is shorter than the provider's median latency of {duration(middle)}: "
        f"{percent(share_above(latency, fallback.after))} of the first attempts are still under way then, and none of "
        "them that fails is retried",
    )


def _together(config: ChannelConfig, traffic: Traffic) -> Iterator[Found]:
    """Yield what all providers together cannot keep up with; what one does not take, the next one takes."""
    arriving, lanes = traffic.behind_limits, config.by_provider()
    if arriving is None:
        return
    quotas = [own.quota for own in lanes.values() if own.quota is not None]
    allowed = sum(quota.limit.per_second for quota in quotas)
    if len(quotas) == len(lanes) and allowed < arriving * NEARLY:
        # Only where every quota drops is anything dropped.
        deciding = next((quota for quota in quotas if quota.on_limit != "drop"), quotas[0])
        yield Found(
            ("quota", key_of(quotas[0])),
            "quotas-below-arrivals",
            f"{as_written(quotas[0])}, with those of failover {rate(allowed)}, is below the "
            f"{traffic.arriving(arriving, config)} that arrive: {excess(arriving - allowed, deciding)}",
        )
        return
    each = {name: _most_through(own) for name, own in lanes.items()}
    through = sum(each.values())
    if through < arriving * NEARLY:
        parts = ", ".join(f"{name} {rate(most)}" for name, most in each.items())
        yield Found(
            ("failover",),
            "providers-below-arrivals",
            f"all providers together let through {rate(through)} ({parts}), and {traffic.arriving(arriving, config)} "
            f"arrive: {growth(arriving - through)}",
        )


def _most_through(config: ChannelConfig) -> float:
    """Return the most attempts a second that come through to a provider in the long run."""
    mean = limited_mean(config.provider.latency, config.timeout)
    slots = [config.slots, None if config.concurrency_limit is None else config.concurrency_limit.maximum]
    bounds = [places / mean for places in slots if places is not None and mean > 0]
    if config.quota is not None:
        bounds.append(config.quota.limit.per_second)
    if config.adaptive_rate is not None and config.adaptive_rate.maximum_rate is not None:
        bounds.append(config.adaptive_rate.maximum_rate.per_second)
    return min(bounds, default=math.inf)
