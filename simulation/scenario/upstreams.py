"""What the linter finds about upstreams where it is known what goes wrong with them."""

from __future__ import annotations

from collections.abc import Iterator

from actors.lint.channel import Finding
from actors.lint.words import duration
from actors.settings.channel import PRIMARY
from actors.settings.distribution_moments import share_above
from simulation.scenario.model import Scenario


def upstream_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield what is set for failures of an upstream that never fails, and a timeout that it never needs."""
    for channel in scenario.channels_used:
        for name, config in scenario.channel_config(channel).by_provider().items():
            upstream = config.provider.upstream
            hit = any(
                fault.upstream and channel in fault.channel and fault.provider in (None, name)
                for fault in scenario.faults
            )
            if upstream is None or hit:
                continue
            of_provider = () if name == PRIMARY else ("failover", name)
            path = ("channels", channel, *of_provider, "provider", "upstream")
            too_slow = 0.0 if upstream.timeout is None else share_above(upstream.latency, upstream.timeout)
            if upstream.timeout is not None and too_slow == 0:
                yield Finding(
                    (*path, "timeout"),
                    "upstream-timeout-without-effect",
                    f"{duration(upstream.timeout)} is never reached: nothing that it asks takes longer, and no fault "
                    "with upstream: true makes it slower",
                )
            if upstream.failure_rate == 0 and too_slow == 0 and "retry" in upstream.model_fields_set:
                yield Finding(
                    (*path, "retry"),
                    "upstream-retry-without-effect",
                    "has nothing to retry: no request fails (failure_rate, timeout, or a fault with upstream: true)",
                )
