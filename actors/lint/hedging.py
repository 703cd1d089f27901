"""Hedging: when no copy is ever sent because of a late answer, and when nearly every attempt is sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from actors.lint.traffic import Found, Traffic
from actors.lint.words import duration, percent, plain_number
from actors.settings.distribution_moments import median, share_above

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig


def hedging_rules(config: ChannelConfig, _traffic: Traffic) -> Iterator[Found]:
    """Yield findings about the `hedging` of one provider."""
    from actors.policies.hedging import MOST_SENDS

    hedging = config.hedging
    if hedging is None:
        return
    if hedging.max_attempts > MOST_SENDS:
        text = f"{plain_number(hedging.max_attempts)} are taken as {plain_number(MOST_SENDS)}"
        yield Found(("hedging", "max_attempts"), "hedging-attempts-capped", text)
    latency = config.provider.latency
    middle = median(latency)
    if hedging.delay >= config.timeout:
        yield Found(
            ("hedging", "delay"),
            "hedging-delay-above-timeout",
            f"{duration(hedging.delay)} is not below the timeout of {duration(config.timeout)}: no late answer brings "
            "a copy, only a failure does",
        )
    elif hedging.delay < middle:
        yield Found(
            ("hedging", "delay"),
            "hedging-delay-below-median-latency",
            f"{duration(hedging.delay)} is shorter than the provider's median latency of {duration(middle)}: "
            f"{percent(share_above(latency, hedging.delay))} of the attempts are sent more than once",
        )
