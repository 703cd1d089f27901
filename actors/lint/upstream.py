"""Upstreams: layers that both retry, and a sender that does not wait for the retries of its provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from actors.lint.schedule import last_start
from actors.lint.traffic import Found, Traffic
from actors.lint.words import duration, plain_number
from actors.settings.distribution_moments import median

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig

_PATH = ("provider", "upstream", "retry")


def upstream_rules(config: ChannelConfig, _traffic: Traffic) -> Iterator[Found]:
    """Yield findings about what a provider asks behind its API."""
    upstream = config.provider.upstream
    if upstream is None or upstream.retry.max_attempts == 1:
        return
    requests, attempts = upstream.retry.max_attempts, config.retry.max_attempts
    if attempts > 1 and upstream.retry.budget is None and config.retry.budget is None:
        yield Found(
            (*_PATH, "max_attempts"),
            "layers-multiply-retries",
            f"{plain_number(requests)} requests for each of {plain_number(attempts)} attempts are up to "
            f"{plain_number(requests * attempts)} of a notification while what is behind the provider fails: retries "
            "multiply where two layers make them, and neither has a budget",
        )
    each = median(upstream.latency) if upstream.timeout is None else min(median(upstream.latency), upstream.timeout)
    last = median(config.provider.latency) + last_start(upstream.retry, "shortest") + (requests - 1) * each
    if last >= config.timeout:
        yield Found(
            (*_PATH, "max_attempts"),
            "retries-behind-timeout",
            f"the last of {plain_number(requests)} requests starts at least {duration(last)} after the attempt, whose "
            f"timeout is {duration(config.timeout)}: no one waits for it any more",
        )
