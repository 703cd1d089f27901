"""Where pages show what is expected: in which panel of curves, and of which channel."""

from __future__ import annotations

import re
from typing import Any

from simulation.scenario import Expectation

_PANELS = (
    ("times", r"delivery_time|sent_time|delivered_within"),
    ("letters", r"dlq|dead_lettered"),
    ("breakers", r"breaker\."),
    ("waiting", r".*(backlog|in_flight|deferred)"),
    ("rates", r""),
)
"""By how the metric's path begins, the first that fits."""

_GROUPS = ("channels", "workload", "windows", "classes", "tenants")
"""What a path may begin with that says of which notifications a metric is; their name comes next."""

_DRAWN = ("delivery_time_s.p99", "delivery_time_s.p50", "dlq.peak")
"""Metrics that are a curve, or the peak of one: in their panels what is expected of them is a line."""


def shown_at(expectation: Expectation) -> dict[str, Any]:
    """Return where an expectation is shown, as plain data.

    It has the `panel`, the `channel` (empty: all of them together), and the `bound` at which a line is drawn; None for
    what is no upper bound of a curve.
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
