"""Settings that single changes of a channel never lead to: what channels have together, and what needs several at once.

Drawn beside those of :mod:`simulation.verification.drawing.drawn_settings`, from streams of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias, get_args

from actors.settings.accounts import AccountConfig
from actors.settings.channel import ChannelConfig, QuotaConfig, RetryConfig, UpstreamConfig
from actors.settings.distributions import Distribution
from actors.settings.faults import FaultConfig
from actors.settings.quantities import Rate
from actors.settings.rate_limit import BUCKETS, RateLimitConfig
from actors.settings.redrive import RedriveConfig
from simulation.scenario import ClosedWorkload, Scenario
from simulation.scenario.people import TemplateText
from simulation.scenario.workload import ResendConfig
from simulation.verification.drawing.changes import changed, exponential, updated
from simulation.verification.drawing.fault_kinds import drawn_quota
from simulation.verification.drawing.numbers import log_uniform, rounded
from simulation.verification.drawing.whole_groups import GROUPS, budget

ACCOUNT = "shared"
TEMPLATE = "welcome"
"""The template of the email that follows a registration."""

_SHARE_FAILING = 0.6


def with_rare_settings(scenario: Scenario, stream: Callable[[str], Random]) -> Scenario:
    """Return a scenario with the changes of :data:`_CHANGES`, each in its share of cases."""
    for name, (share, change) in _CHANGES.items():
        random = stream(name)
        if share is None or random.random() < share:
            scenario = change(scenario, random)
    return scenario


_OfCase: TypeAlias = Callable[[Scenario, Random], Scenario]
_OfChannel: TypeAlias = Callable[[ChannelConfig, Random], ChannelConfig | None]
_CHANGES: dict[str, tuple[float | None, _OfCase]] = {}
"""The changes in their order, by the name of their stream: the share of cases that get one (None: all), and how."""


def _of_cases(name: str, share: float | None) -> Callable[[_OfCase], _OfCase]:
    def declare(change: _OfCase) -> _OfCase:
        _CHANGES[name] = share, change
        return change

    return declare


def _of_channels(name: str, share: float | None = None) -> Callable[[_OfChannel], _OfChannel]:
    def declare(change: _OfChannel) -> _OfChannel:
        _of_cases(name, share)(lambda scenario, random: changed(scenario, lambda config: change(config, random)))
        return change

    return declare


@_of_cases("accounts", 0.15)
def _with_account(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario some of whose channels share an account, with its quota or its provider's throttle."""
    account: dict[str, Any] = {}
    if random.random() < 0.8:
        kind = random.choice(get_args(RateLimitConfig.model_fields["kind"].annotation))
        account["quota"] = {"rate": Rate(random.randint(1, 8), random.choice([1.0, 1.0, 3.0])), "kind": kind}
    if not account or random.random() < 0.4:
        quota = drawn_quota(random, Rate(random.randint(1, 8), 1.0))
        account["throttle"] = {**quota, "retry_after": log_uniform(random, 0.1, 20.0)}

    def of_it(config: ChannelConfig) -> ChannelConfig:
        changes: dict[str, Any] = {}
        if random.random() < 0.8:
            changes["quota"] = QuotaConfig(account=ACCOUNT)
        if "throttle" in account and random.random() < 0.7:
            changes["provider"] = config.provider.model_copy(update={"account": ACCOUNT})
        return config.model_copy(update=changes)

    accounts = {**scenario.accounts, ACCOUNT: AccountConfig.model_validate(account)}
    return changed(scenario.model_copy(update={"accounts": accounts}), of_it)


@_of_cases("templates", 0.1)
def _with_gap(scenario: Scenario, random: Random) -> Scenario:
    gap = TemplateText(body="Dear {name}, {nobody_gives_this}", html=random.random() < 0.5)
    return scenario.model_copy(update={"templates": {**scenario.templates, TEMPLATE: gap}})


@_of_channels("crowded", 0.3)
def _crowded(config: ChannelConfig, random: Random) -> ChannelConfig | None:
    """Bounds of tenants leave hardly any room, so that some are full when a breaker lets attempts go."""
    if config.tenant is None:
        return None
    return config.model_copy(
        update={"tenant": config.tenant.model_copy(update={"max_in_flight": random.randint(1, 3)})}
    )


@_of_channels("remembering", 0.25)
def _remembering(config: ChannelConfig, random: Random) -> ChannelConfig:
    """Waits depend on earlier waits, or attempts are counted by kind of failure, with attempts to spare: a handler that
    restarts has to know all of it."""
    retry: dict[str, Any] = {"max_attempts": 8, "initial_delay": log_uniform(random, 0.2, 3.0), "max_delay": 600.0}
    retry["jitter"] = random.choice(["decorrelated", "decorrelated", "none"])
    if random.random() < 0.5:
        retry["per_outcome"] = {random.choice(["ambiguous", "throttled", "transient"]): {"initial_delay": 7.0}}
    timeout, growth = log_uniform(random, 0.5, 10.0), config.circuit_breaker.open_growth
    shorter = {"timeout": timeout if growth is None else min(timeout, growth.max)}
    breaker = config.circuit_breaker.model_copy(update=shorter)
    return updated(config.model_copy(update={"circuit_breaker": breaker}), retry=retry)


@_of_channels("copying", 0.2)
def _copying(config: ChannelConfig, random: Random) -> ChannelConfig:
    """Attempts are sent once more soon, and retried out of a budget with little in it."""
    hedging = {"max_attempts": random.randint(2, 4), "delay": log_uniform(random, 0.01, 1.0)}
    provider: dict[str, Any] = {}
    if random.random() < 0.5:  # so that several copies are out, and some of them fail
        provider = {"latency": exponential(log_uniform(random, 0.05, 3.0)), "failure_rate": random.choice([0.1, 0.4])}
    retry = {"max_attempts": 4, "initial_delay": 0.5, "budget": budget(random)}
    return updated(config, retry=retry, hedging=hedging, provider=provider)


@_of_channels("adapting", 0.15)
def _adapting(config: ChannelConfig, random: Random) -> ChannelConfig:
    """Channels send as fast as they can until a provider throttles them."""
    rate = {"kind": random.choice(["aimd", "cubic"]), "minimum_rate": Rate(random.choice([0.2, 1.0]), 1.0)}
    return updated(config, adaptive_rate=rate)


@_of_channels("overdue", 0.15)
def _overdue(config: ChannelConfig, random: Random) -> ChannelConfig:
    """Breakers open soon, and their probes may take longer than they are waited for."""
    breaker: dict[str, Any] = {"failure_threshold": random.randint(1, 3), "timeout": log_uniform(random, 0.5, 10.0)}
    breaker |= {"half_open_max": log_uniform(random, 0.05, 3.0)}
    breaker |= {"half_open_then": random.choice(["open", "closed", "probe"]), "half_open_permits": random.randint(1, 3)}
    changes: dict[str, Any] = {"circuit_breaker": breaker}
    if random.random() < 0.6:  # so that several probes in a row are overdue, and others ask meanwhile
        mean = breaker["half_open_max"] * log_uniform(random, 0.5, 10.0)
        changes["timeout"] = max(config.timeout, 3.0 * mean)
        changes["provider"] = {"latency": exponential(mean), "failure_rate": 0.3}
    return updated(config, **changes)


@_of_channels("upstreams", 0.1)
def _with_upstreams(config: ChannelConfig, random: Random) -> ChannelConfig | None:
    """Some providers ask another one, and again where that fails."""
    if random.random() < 0.5:
        return None
    retry = GROUPS["retry"](random).model_copy(update={"max_attempts": random.randint(1, 4)})
    latency = {"exponential": {"mean": log_uniform(random, 0.01, 2.0)}}
    upstream: dict[str, Any] = {"retry": retry, "latency": latency, "failure_rate": random.choice([0.1, 0.5])}
    if random.random() < 0.5:
        upstream["timeout"] = log_uniform(random, 0.1, 3.0)
    if random.random() < 0.5:
        again = {"max_attempts": random.randint(1, 3), "budget": budget(random)}
        behind = {"latency": latency, "failure_rate": 0.3, "retry": again}
        upstream["upstream"] = {**behind, "upstream": behind} if random.random() < 0.3 else behind
    return updated(config, provider={"upstream": UpstreamConfig.model_validate(upstream)})


@_of_cases("resending", 0.5)
def _resending(scenario: Scenario, random: Random) -> Scenario:
    if scenario.max_pending is None:
        return scenario
    resend = {"after": log_uniform(random, 0.1, 30.0), "at_most": random.randint(1, 4)}
    workload = tuple(
        entry
        if isinstance(entry, ClosedWorkload)
        else entry.model_copy(update={"resend": ResendConfig.model_validate(resend)})
        for entry in scenario.workload
    )
    return scenario.model_copy(update={"workload": workload})


@_of_channels("watched")
def _watched_closely(config: ChannelConfig, random: Random) -> ChannelConfig | None:
    """Endpoints that may be disabled are asked so often that they are."""
    if config.endpoints is None or random.random() >= _SHARE_FAILING:
        return None
    apart, provider = config.endpoints.disable_after * random.uniform(0.1, 0.2), {}
    if random.random() < 0.4:  # to the nanosecond at the shares of it that decide, as answers take no time
        apart = round(config.endpoints.disable_after / random.choice([5, 8, 10]), 9)
        provider = {"latency": Distribution(constant=0.0)}
    often = {"max_attempts": 20, "initial_delay": apart, "max_delay": 2.0 * apart, "backoff": "constant"}
    return updated(config, retry=often, circuit_breaker={"failure_threshold": 1000}, provider=provider)


@_of_channels("pressed", 0.1)
def _short_of_time(config: ChannelConfig, random: Random) -> ChannelConfig:
    """Retries stand in a line when their time is up: attempts fail soon, and few go at once."""
    retry = {"max_attempts": 20, "initial_delay": 0.2, "max_delay": 1.0, "max_elapsed": log_uniform(random, 1.0, 20.0)}
    provider = {"latency": exponential(log_uniform(random, 0.3, 2.0)), "failure_rate": 0.6}
    return updated(config, retry=retry, provider=provider, deadline=None, max_in_flight=random.randint(1, 2))


@_of_channels("redriven", 0.15)
def _redriven_by_host(config: ChannelConfig, random: Random) -> ChannelConfig | None:
    """Letters to several hosts take turns, where each has a breaker: many die, and they are redriven slowly when their
    hosts answer again."""
    if config.circuit_breaker.per != "host":
        return None
    breaker = {"failure_threshold": random.randint(1, 2), "timeout": log_uniform(random, 1.0, 10.0)}
    redrive = RedriveConfig(rate=Rate(1, log_uniform(random, 0.5, 10.0)), at_most=3)
    retry, provider = {"max_attempts": random.randint(1, 2)}, {"failure_rate": random.choice([0.3, 0.6])}
    return updated(config, redrive=redrive, retry=retry, circuit_breaker=breaker, provider=provider)


@_of_channels("promises", 0.1)
def _at_timeout(config: ChannelConfig, random: Random) -> ChannelConfig | None:
    """Some providers ask another one, whose answer comes at the very time-out; the time-out is set by then, so the
    answer comes behind it."""
    if random.random() < 0.3:
        return None
    timeout = random.choice([0.5, 1.0, 3.0])
    half = Distribution(constant=timeout / 2)
    upstream = UpstreamConfig(latency=half, failure_rate=random.choice([0.0, 0.3]), retry=RetryConfig(max_attempts=1))
    return updated(config, timeout=timeout, provider={"latency": half, "upstream": upstream})


@_of_cases("refusing", 0.1)
def _refusing_slowly(scenario: Scenario, random: Random) -> Scenario:
    slow = log_uniform(random, 0.2, 1.0)

    def patient(config: ChannelConfig) -> ChannelConfig:
        breaker: dict[str, Any] = {"window": {"calls": 4}, "minimum_calls": 2}
        breaker |= {"failure_rate": random.choice([0.3, 0.6])}
        breaker |= {"slow_call": {"duration": slow, "rate": random.choice([0.3, 0.6])}}
        breaker |= {"timeout": log_uniform(random, 0.5, 5.0), "half_open_permits": random.randint(1, 2)}
        provider = {"latency": exponential(slow), "failure_rate": 0.2}
        return updated(config, circuit_breaker=breaker, timeout=max(config.timeout, 4.0 * slow), provider=provider)

    refused = [{"channel": str(channel), "at": 0.0, "permanent_rate": 0.5} for channel in scenario.channels_used]
    faults = (*scenario.faults, *map(FaultConfig.model_validate, refused))
    return changed(scenario.model_copy(update={"faults": faults}), patient)


def outages_of_endpoints(scenario: Scenario, duration: float, random: Random) -> tuple[FaultConfig, ...]:
    """Return outages that last, in most cases, until endpoints are disabled, where any are."""
    faults = []
    for channel in scenario.channels_used:
        config = scenario.channel_as_given(channel)
        if config.endpoints is None or random.random() >= _SHARE_FAILING:
            continue
        window = {"at": rounded(random.uniform(0.0, duration)), "for": config.endpoints.disable_after * 2.5}
        key = random.choice(["outage", "failure_rate", "permanent_rate", "hang"])
        strength = {key: 1.0 if key.endswith("rate") else True}
        faults.append(FaultConfig.model_validate({"channel": channel.value, **window, **strength}))
    return tuple(faults)


def divided(config: ChannelConfig, random: Random) -> ChannelConfig:
    """Return a channel's settings whose quota is, in some cases, shared by all nodes."""
    quota = config.quota
    if quota is None and random.random() < 0.3:
        rate = Rate(random.randint(2, 20), random.choice([1.0, 3.0]))
        kind, rates = random.choice(BUCKETS), [rate]
        if kind != "leaky_bucket" and random.random() < 0.3:
            rates.append(Rate(3 * rate.count, 10.0 * rate.period))
        quota = QuotaConfig.model_validate({"rates": rates, "kind": kind})
    if quota is None or quota.account is not None or quota.kind not in BUCKETS or random.random() < 0.3:
        return config
    return config.model_copy(update={"quota": quota.model_copy(update={"across": "nodes"})})
