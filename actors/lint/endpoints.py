"""Endpoints that are disabled: where it is not they that fail, and where none ever is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from actors.lint.breaker import trips
from actors.lint.traffic import Found
from actors.lint.words import duration

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig


def endpoint_rules(config: ChannelConfig) -> Iterator[Found]:
    """Yield findings about the `endpoints` of a channel, whose breakers are as they come to be."""
    from actors.policies.failing_endpoints import SPAN_SHARE

    if config.endpoints is None:
        return
    disable_after, breaker = config.endpoints.disable_after, config.circuit_breaker
    if breaker.per != "host":
        yield Found(
            ("endpoints",),
            "endpoints-of-one-provider",
            "all of them are asked through one provider, which may fail where none of them does: an outage of "
            f"{duration(disable_after)} disables every address that is sent to",
        )
    open_s = breaker.timeout if breaker.open_growth is None else breaker.open_growth.max
    if trips(breaker) and open_s * SPAN_SHARE > disable_after:
        yield Found(
            ("endpoints", "disable_after"),
            "endpoint-clock-never-starts",
            f"two failures start the clock that are at most {duration(disable_after / SPAN_SHARE)} apart, and an open "
            f"circuit breaker lets an attempt through every {duration(open_s)}: where a whole host is down, no "
            "endpoint is disabled",
        )
