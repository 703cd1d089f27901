"""The linter on shared limits: accounts, and limits that each of several nodes counts for itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from actors.lint.findings import Finding, Rules
from actors.lint.traffic import SLIGHTLY, as_written, key_of, trips
from actors.messages import NotificationChannel
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.channel import keys_of_provider
from actors.settings.rate_limit import QuotaConfig
from simulation.scenario.model import Scenario

_RULES = Rules("""
account-without-effect/throttle  accounts.{name}.throttle
    is no provider's: none has `account: {name}`
account-without-effect/provider  accounts.{name}
    has no throttle: `provider: {{account: {name}}}` has no effect
account-without-effect/quota  accounts.{name}.quota
    is no channel's: none has `quota: {{account: {name}}}`
account-below-arrivals
    {limit} is below the {arriving:rate} that arrive on {channels} together: what waits grows by {excess:rate}
account-above-throttle  accounts.{name}.quota.{key}
    {limit} is more than the {taken:rate} that the provider takes: what exceeds that is throttled
commits-longer-than-lease  commit_latency
    {commit:duration} is more than the nodes.takeover_after of {lease:duration}: live, a node with such a store does not
    renew its lease in time, and starts no attempt
rate-limit-of-each-node  channels.{channel}.rate_limit.{key}
    {limit} for each user is counted by each of {nodes} nodes: one user may get up to {most:rate} (with routing: by_user
    it holds as it is)
quota-below-arrivals  quota.{key}
    {limit} at each of {nodes} nodes is below the {arriving:rate} that arrive: the queues grow by {excess:rate}
setting-without-effect/shared  circuit_breaker.shared
    {shared}, and none of them ever opens by itself
setting-without-effect/quorum  circuit_breaker.shared
    quorum of 2 nodes is both: what both say, each has found out by itself
news-after-the-end  circuit_breaker.share_latency
    {latency:duration} is no less than the {open:duration} that it is open: what is said comes too late
across-nodes-of-one-node  quota.across
    nodes, and there is one alone: it has all of it
burst-below-nodes  quota
    a burst of {burst} is less than the {nodes} nodes, each of which needs 1: up to {nodes} go at once
""")


def account_rules(scenario: Scenario, per_s: Mapping[NotificationChannel, float]) -> Iterator[Finding]:
    """Yield the accounts that nothing is of, and the quotas that their channels together exceed."""
    kept: dict[str, dict[NotificationChannel, QuotaConfig]] = {name: {} for name in scenario.accounts}
    enforced: set[str] = set()
    for channel in scenario.channels_used:
        for lane in scenario.channel_config(channel).by_provider().values():
            if lane.quota is not None and lane.quota.account is not None:
                kept[lane.quota.account][channel] = lane.quota
            if lane.provider.account is not None:
                enforced.add(lane.provider.account)
    for name, account in scenario.accounts.items():
        quotas, throttle, has_quota = kept[name], account.throttle, account.quota is not None
        if throttle is not None and name not in enforced and (has_quota or not quotas):
            yield _RULES.found("account-without-effect/throttle", name=name)
        if throttle is None and name in enforced:
            yield _RULES.found("account-without-effect/provider", name=name)
        if not quotas:
            if has_quota:
                yield _RULES.found("account-without-effect/quota", name=name)
            continue
        quota = next(iter(quotas.values()))
        limit, key, allowed = as_written(quota), key_of(quota), quota.limit.per_second
        arriving = [per_s.get(channel, math.nan) for channel in quotas]
        if sum(arriving) > allowed * SLIGHTLY and all(each <= allowed for each in arriving):
            yield _RULES.found(
                "account-below-arrivals",
                at=("accounts", name, *(("quota", key) if has_quota else ("throttle", "rate"))),
                limit=limit, arriving=sum(arriving), channels=" and ".join(quotas), excess=sum(arriving) - allowed,
            )  # fmt: skip
        if throttle is not None and has_quota and name in enforced and allowed > throttle.rate.per_second * SLIGHTLY:
            taken = throttle.rate.per_second
            yield _RULES.found("account-above-throttle", name=name, key=key, limit=limit, taken=taken)


def fleet_rules(scenario: Scenario, per_s: Mapping[NotificationChannel, float]) -> Iterator[Finding]:
    """Yield findings about what nodes do not share, and about what they divide."""
    nodes, lease_s = scenario.nodes_at_most, scenario.fleet.takeover_after
    if nodes > 1 and scenario.commit_latency > lease_s:
        yield _RULES.found("commits-longer-than-lease", commit=scenario.commit_latency, lease=lease_s)
    for channel in scenario.channels_used:
        config = scenario.channel_config(channel)
        if (limit := config.rate_limit) is not None and nodes > 1 and scenario.fleet.routing != "by_user":
            yield _RULES.found(
                "rate-limit-of-each-node",
                channel=channel, key=key_of(limit), limit=as_written(limit), nodes=nodes,
                most=nodes * limit.limit.per_second,
            )  # fmt: skip
        for name, lane in config.by_provider().items():
            at, quota, count = ("channels", channel, *keys_of_provider(name)), lane.quota, scenario.fleet.count
            yield from _shared(scenario, at, lane.circuit_breaker)
            if quota is None or quota.account is not None:
                continue
            allowed, arriving = count * quota.limit.per_second, per_s.get(channel, 0.0)
            burst = quota.burst or int(quota.limit.count)
            if quota.across == "nodes" and nodes == 1:
                yield _RULES.found("across-nodes-of-one-node", at=at)
            elif quota.across == "nodes" and quota.kind != "leaky_bucket" and burst < nodes:
                yield _RULES.found("burst-below-nodes", at=at, burst=burst, nodes=nodes)
            elif quota.across != "nodes" and nodes > 1 and not config.failover and arriving > allowed * SLIGHTLY:
                yield _RULES.found(
                    "quota-below-arrivals",
                    at=at, key=key_of(quota), limit=as_written(quota), nodes=count, arriving=arriving,
                    excess=arriving - allowed,
                )  # fmt: skip


def _shared(scenario: Scenario, at: tuple[str, ...], breaker: CircuitBreakerConfig) -> Iterator[Finding]:
    if breaker.shared == "none":
        return
    if not trips(breaker):
        yield _RULES.found("setting-without-effect/shared", at=at, shared=breaker.shared)
    elif breaker.shared == "quorum" and scenario.nodes_at_most == 2:
        yield _RULES.found("setting-without-effect/quorum", at=at)
    longest = breaker.timeout if breaker.open_growth is None else breaker.open_growth.max
    if breaker.share_latency >= longest:
        yield _RULES.found("news-after-the-end", at=at, latency=breaker.share_latency, open=longest)
