"""What the linter finds about limits at several nodes, each of which counts for itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from actors.lint.breaker import trips
from actors.lint.channel import Finding
from actors.lint.load import as_written, key_of
from actors.lint.traffic import SLIGHTLY
from actors.lint.words import duration, plain_number, rate
from actors.messages import NotificationChannel
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.channel import keys_of_provider
from simulation.scenario.model import Scenario


def fleet_rules(scenario: Scenario, per_s: Mapping[NotificationChannel, float]) -> Iterator[Finding]:
    """Yield findings about what nodes do not share, and about what they divide.

    Args:
        scenario: whose they are.
        per_s: by channel, how many arrive a second on average; a channel of which that is not known is left out.
    """
    nodes, lease_s = scenario.nodes_at_most, scenario.fleet.takeover_after
    if nodes > 1 and scenario.commit_latency > lease_s:
        yield Finding(
            ("commit_latency",),
            "commits-longer-than-lease",
            f"{duration(scenario.commit_latency)} is more than the nodes.takeover_after of {duration(lease_s)}: live, "
            "a node with such a store does not renew its lease in time, and starts no attempt",
        )
    for channel in scenario.channels_used:
        config = scenario.channel_config(channel)
        limit = config.rate_limit
        if limit is not None and nodes > 1 and scenario.fleet.routing != "by_user":
            yield Finding(
                ("channels", channel, "rate_limit", key_of(limit)),
                "rate-limit-of-each-node",
                f"{as_written(limit)} for each user is counted by each of {plain_number(nodes)} nodes: one user may "
                f"get up to {rate(nodes * limit.limit.per_second)} (with routing: by_user it holds as it is)",
            )
        count = scenario.fleet.count
        for name, lane in config.by_provider().items():
            yield from _shared(scenario, ("channels", channel, *keys_of_provider(name)), lane.circuit_breaker)
            quota = lane.quota
            path = ("channels", channel, *keys_of_provider(name), "quota")
            if quota is None or quota.account is not None:
                continue
            if quota.across == "nodes":
                yield from _divided(scenario, path, nodes, quota.burst or int(quota.limit.count), quota.kind)
            elif nodes > 1 and len(config.failover) == 0:
                allowed = count * quota.limit.per_second
                arriving = per_s.get(channel, 0.0)
                if arriving > allowed * SLIGHTLY:
                    yield Finding(
                        (*path, key_of(quota)),
                        "quota-below-arrivals",
                        f"{as_written(quota)} at each of {plain_number(count)} nodes is below the {rate(arriving)} "
                        f"that arrive: the queues grow by {rate(arriving - allowed)}",
                    )


def _shared(scenario: Scenario, path: tuple[str, ...], breaker: CircuitBreakerConfig) -> Iterator[Finding]:
    path = (*path, "circuit_breaker")
    if breaker.shared == "none":
        return
    if not trips(breaker):
        text = f"{breaker.shared}, and none of them ever opens by itself"
        yield Finding((*path, "shared"), "setting-without-effect", text)
    elif breaker.shared == "quorum" and scenario.nodes_at_most == 2:
        text = "quorum of 2 nodes is both: what both say, each has found out by itself"
        yield Finding((*path, "shared"), "setting-without-effect", text)
    longest = breaker.timeout if breaker.open_growth is None else breaker.open_growth.max
    if breaker.share_latency >= longest:
        text = f"{duration(breaker.share_latency)} is no less than the {duration(longest)} that it is open"
        yield Finding((*path, "share_latency"), "news-after-the-end", f"{text}: what is said comes too late")


def _divided(scenario: Scenario, path: tuple[str, ...], nodes: int, burst: int, kind: str) -> Iterator[Finding]:
    if nodes == 1:
        text = "nodes, and there is one alone: it has all of it"
        yield Finding((*path, "across"), "across-nodes-of-one-node", text)
    elif kind != "leaky_bucket" and burst < nodes:
        yield Finding(
            path,
            "burst-below-nodes",
            f"a burst of {plain_number(burst)} is less than the {plain_number(nodes)} nodes, each of which needs 1: up "
            f"to {plain_number(nodes)} go at once",
        )
