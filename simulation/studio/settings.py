"""What a channel's settings make of a notification that meets a shut breaker or a limit."""

from __future__ import annotations

from typing import Any

from actors.messages import NotificationChannel
from simulation.scenario import Scenario


def about(scenario: Scenario, channel: NotificationChannel) -> dict[str, Any]:
    """Return as plain data what a page has to know of a channel to say what happens there.

    `fails` tells whether what meets an open breaker fails at once; else it waits. `limit` is what a notification waits
    for that waits at a limit: ``the rate limit``, ``backup's quota``.
    """
    config = scenario.channel_config(channel)
    return {"fails": config.circuit_breaker.when_open == "fail", "limit": limit_of(scenario, channel)}


def limit_of(scenario: Scenario, channel: NotificationChannel) -> str:
    """Return what a notification of a channel waits for at a limit, in words."""
    config = scenario.channel_config(channel)
    found = [] if config.rate_limit is None else ["the rate limit"]
    found += [] if config.tenant is None else ["the tenant's limit"]
    for number, (name, each) in enumerate(config.by_provider().items()):
        whose = f"{name}'s" if number else "the"
        found += [f"{whose} quota"] if each.quota is not None else []
        found += [f"{whose} adaptive rate"] if each.adaptive_rate is not None else []
    return " or ".join(found) or "a limit"
