"""The facts of a scenario that pages need: the words for breakers and limits, and the panels of expectations."""

from __future__ import annotations

import re
from typing import Any

from actors.messages import NotificationChannel
from simulation.scenario import Expectation, Scenario

_PANELS = (
    ("times", r"delivery_time|sent_time|delivered_within"),
    ("letters", r"dlq|dead_lettered"),
    ("breakers", r"breaker\."),
    ("waiting", r".*(backlog|in_flight|deferred)"),
    ("rates", r""),
)
"""By how the metric's path begins, the first that fits."""

_GROUPS = ("channels", "workload", "windows", "classes", "tenants")
"""The beginnings of a path to the metrics of some notifications; a name comes next."""

_DRAWN = ("delivery_time_s.p99", "delivery_time_s.p50", "dlq.peak")
"""Metrics that are a curve, or the peak of one: their bounds are lines in their panels."""


def shown_at(expectation: Expectation) -> dict[str, Any]:
    """Return where an expectation is shown, as plain data.

    It has the `panel`, the `channel` (empty: all of them together), and the `bound` at which a line is drawn; None if
    it is no upper bound of a curve.
    """
    keys = expectation.path[2:] if expectation.path[0] in _GROUPS else expectation.path
    path = ".".join(keys)
    is_line = path in _DRAWN and expectation.op.startswith("<")
    channel = ""
    if expectation.path[0] in ("channels", "breaker"):
        channel = re.split(r"[/@]", expectation.path[1])[0]
    return {
        "panel": next(panel for panel, form in _PANELS if re.match(form, path)),
        "channel": channel,
        "bound": expectation.value if is_line else None,
    }


def about(scenario: Scenario, channel: NotificationChannel) -> dict[str, Any]:
    """Return as plain data the facts with which a page describes a channel.

    `fails` tells whether an attempt fails at once at an open breaker; else it waits. `limit` is the name of the limit
    at which notifications wait: ``the rate limit``, ``backup's quota``.
    """
    config = scenario.channel_config(channel)
    return {"fails": config.circuit_breaker.when_open == "fail", "limit": limit_of(scenario, channel)}


def limit_of(scenario: Scenario, channel: NotificationChannel) -> str:
    config = scenario.channel_config(channel)
    found = [] if config.rate_limit is None else ["the rate limit"]
    found += [] if config.tenant is None else ["the tenant's limit"]
    for number, (name, each) in enumerate(config.by_provider().items()):
        whose = f"{name}'s" if number else "the"
        found += [f"{whose} quota"] if each.quota is not None else []
        found += [f"{whose} adaptive rate"] if each.adaptive_rate is not None else []
    return " or ".join(found) or "a limit"
