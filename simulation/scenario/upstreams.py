"""What the linter finds about upstreams where it is known what goes wrong with them."""

from __future__ import annotations

from collections.abc import Iterator

from actors.faults.build import faults_of
from actors.lint.channel import Finding
from actors.lint.words import duration
from actors.settings.channel import keys_of_provider
from actors.settings.distribution_moments import share_above
from simulation.scenario.model import Scenario


def upstream_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield what is set for failures of an upstream that never fails, and a timeout that it never needs."""
    for channel in scenario.channels_used:
        for name, config in scenario.channel_config(channel).by_provider().items():
            upstream = config.provider.upstream
            hit = any(fault.upstream for fault in faults_of(scenario.faults, channel, name))
            if upstream is None or hit:
                continue
            path = ("channels", channel, *keys_of_provider(name), "provider", "upstream")
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
