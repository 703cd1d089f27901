"""Groups of settings that are drawn as a whole, each of their keys to something that has an effect beside the others.

Single changes seldom meet: a cap before jitter matters only with one of two kinds of jitter, waits that are longer than
it and attempts to spare. So what belongs together is drawn together here, with providers that give it something to do:
they fail, throttle and say how long to wait, and some answers are written down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, TypeAlias, get_args

from actors.messages import ChannelKind
from actors.settings.adaptive import AdaptiveRateConfig, AdaptiveThrottleConfig, GradientConfig, VegasConfig
from actors.settings.breaker import CircuitBreakerConfig, CountedKind
from actors.settings.channel import ChannelConfig, OneAtATimeConfig, ProviderConfig, QueueConfig, QuotaConfig, kind_of
from actors.settings.distributions import Distribution
from actors.settings.faults import FaultConfig, QuotaFault
from actors.settings.quantities import Rate
from actors.settings.rate_limit import RateLimitConfig
from actors.settings.retry import RetriedKind, RetryConfig
from actors.settings.script import ScriptedAnswer
from simulation.scenario import Scenario
from simulation.verification.drawing.changes import changed, updated, with_breakers_alike
from simulation.verification.drawing.fault_kinds import drawn_quota
from simulation.verification.drawing.numbers import log_uniform, rounded

Data: TypeAlias = dict[str, Any]

_SHARE_WITH_GROUPS = 0.4
_SHARE_OF_GROUP = 0.5
_SHARE_SCRIPTED = 0.3
_SHARE_THROTTLED = 0.6
_WORDS: Mapping[str, str] = {"ambiguous": "timeout"}
"""By the kind of a rule, the word of `on` for it, where that is another one."""
_KINDS: Mapping[str, str] = {"injected failure": "transient", "throttled": "throttled", "timed out": "ambiguous"}


def with_whole_groups(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario some of whose channels have, in some cases, groups that are drawn as a whole."""
    if random.random() >= _SHARE_WITH_GROUPS:
        return scenario
    throttled = []
    for channel in scenario.channels_used:
        if random.random() < _SHARE_THROTTLED:
            throttle: Data = drawn_quota(random, Rate(log_uniform(random, 0.2, 5.0), 1.0))
            if random.random() < 0.8:
                throttle["retry_after"] = random.choice([0.0, 0.5, log_uniform(random, 0.1, 30.0)])
            throttled.append(FaultConfig.model_validate({"channel": channel.value, "at": 0.0, "throttle": throttle}))
    busy = scenario.model_copy(update={"faults": (*scenario.faults, *throttled)})
    return changed(busy, lambda config: _with_groups(config, random))


def with_pauses(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario in which a hint of a provider holds for others, too, and providers give hints."""
    update: Data = {}
    for channel in scenario.channels_used:
        config = scenario.channel_as_given(channel)
        if config.retry.retry_after == "ignore" or random.random() < 0.3:
            continue
        breakers = [lane.circuit_breaker for lane in config.by_provider().values()]
        choose_hosts = kind_of(channel, config) is ChannelKind.WEBHOOK
        if choose_hosts and any(each.per == "channel" and "per" in each.model_fields_set for each in breakers):
            continue
        is_per_host = choose_hosts or breakers[0].per == "host"
        words: Data = {"after_retry_after": "host" if is_per_host else "channel"}
        if random.random() < 0.6:
            words["retry_after_max"] = log_uniform(random, 0.1, 30.0)
        throttle = drawn_quota(random, Rate(log_uniform(random, 0.2, 5.0), 1.0))
        throttle["retry_after"] = log_uniform(random, 0.1, 30.0)
        provider = config.provider.model_copy(update={"throttle": QuotaFault.model_validate(throttle)})
        retry = config.retry.model_copy(update=words)
        update[channel.value] = config.model_copy(update={"retry": retry, "provider": provider})
    return scenario.model_copy(update={"channels": scenario.channels.model_copy(update=update)})


def with_held_slots(scenario: Scenario, random: Random) -> Scenario:
    """Return a scenario in which notifications hold their slots, of which there are few, and attempts often fail."""

    def holding(config: ChannelConfig) -> ChannelConfig | None:
        if random.random() < 0.3 or any(lane.concurrency_limit for lane in config.by_provider().values()):
            return None
        slots = random.choice([1, 2, 3, random.randint(4, 12)])
        others = {name: other.model_copy(update={"max_in_flight": slots}) for name, other in config.failover.items()}
        retry = config.retry.model_copy(update={"holds_slot": True, "initial_delay": log_uniform(random, 0.05, 5.0)})
        provider = {"failure_rate": random.choice([0.1, 0.3, 0.6])}
        return updated(config, retry=retry, provider=provider, failover=others, max_in_flight=slots)

    return changed(scenario, holding)


def _with_groups(config: ChannelConfig, random: Random) -> ChannelConfig:
    drawn = random.sample(list(GROUPS), max(1, sum(random.random() < _SHARE_OF_GROUP for _ in GROUPS)))
    changes = {key: group(random) for key, group in GROUPS.items() if key in drawn}
    if changes.get("retry", config.retry).holds_slot:
        changes.pop("concurrency_limit", None)
    breaker = changes.get("circuit_breaker", config.circuit_breaker)
    changes["circuit_breaker"] = breaker
    provider = changes["provider"] = _provider(config, breaker, random)
    has_limit = changes.get("retry", config.retry).max_elapsed is not None
    changes["deadline"] = None if has_limit or random.random() < 0.7 else log_uniform(random, 0.5, 30.0)
    adaptive = changes.get("adaptive_rate")
    if adaptive is not None and adaptive.initial_rate is None and random.random() < 0.5:
        # Before anything is known of how fast that was.
        script = (ScriptedAnswer(outcome="throttled"), ScriptedAnswer(outcome="throttled"), *provider.script)
        changes["provider"] = provider.model_copy(update={"script": script})
    return with_breakers_alike(config.model_copy(update=changes), config)


def _retry(random: Random) -> RetryConfig:
    jitter = random.choice(get_args(RetryConfig.model_fields["jitter"].annotation))
    longest = log_uniform(random, 0.3, 20.0)
    written: Data = {"max_attempts": random.randint(3, 8), "jitter": jitter, "max_delay": longest}
    written["initial_delay"] = random.choice([0.0, *(log_uniform(random, 0.05, 2.0 * longest) for _ in range(5))])
    own_shape = jitter in ("decorrelated", "soft")
    if not own_shape and random.random() < 0.3:
        written["schedule"] = [log_uniform(random, 0.05, 10.0) for _ in range(random.randint(1, 4))]
    elif jitter != "soft":
        plus = {"plus": log_uniform(random, 0.05, 3.0)}
        shapes: list[Data] = [{"exponential": plus}]
        if jitter != "decorrelated":
            shapes.append({"polynomial": {"power": random.choice([0.5, 1.0, 2.0, 4.0]), **plus}})
        backoff = random.choice(["exponential", "constant", "linear", "fibonacci", *shapes])
        written |= {"backoff": backoff, "backoff_multiplier": random.choice([1.0, 1.5, 2.0, 3.0])}
        if backoff in shapes and random.random() < 0.5 and written["initial_delay"] <= 1.0:
            del written["max_delay"]
        if backoff == "linear":
            written["increment"] = random.choice([None, 0.0, log_uniform(random, 0.05, 3.0)])
    if random.random() < 0.5:
        written["min_delay"] = rounded(longest * random.choice([0.1, 0.5, 1.0]))
    written |= {"jitter_share": random.choice([0.1, 0.5, 1.0]), "jitter_max": log_uniform(random, 0.1, 5.0)}
    written["jitter_factor"] = random.choice([1.0, 1.5, 2.5, 3.0])
    if jitter == "decorrelated":
        written["cap_after_draw"] = random.random() < 0.5
    elif jitter in ("proportional", "additive", "by_count"):
        written["cap_before_jitter"] = random.random() < 0.5
    if jitter == "proportional":
        written["jitter_side"] = random.choice(["both", "above"])
    written["retry_after"] = random.choice(get_args(RetryConfig.model_fields["retry_after"].annotation))
    written["retry_after_jitter"] = random.choice([0.0, 0.0, 0.5, 1.0])
    written["retry_after_excess"] = random.choice([None, 0.0, 86_400.0, log_uniform(random, 0.1, 5.0)])
    if random.random() < 0.4:
        kind = random.choice(["transient", "throttled", "ambiguous"])
        scheduled = not own_shape and random.random() < 0.5
        rule = {"schedule": [0.3, 2.0]} if scheduled else {"initial_delay": log_uniform(random, 0.05, 5.0)}
        written["per_outcome"] = {kind: {**rule, "max_attempts": random.randint(1, 5)}}
    if random.random() < 0.3:
        reason, kind = random.choice(list(_KINDS.items()))
        written["per_reason"] = {reason: {"max_attempts": 6}}
        if random.random() < 0.6:  # a failure of that reason is of that kind, too, which has another rule
            written["per_outcome"] = {kind: {"max_attempts": random.randint(1, 5)}}
    if "per_outcome" in written and random.random() < 0.3:
        written["per_outcome"]["shares_attempts"] = True
        for rule in written["per_outcome"].values():
            if isinstance(rule, dict):
                del rule["max_attempts"]
    if random.random() < 0.3:
        words, ruled = get_args(RetriedKind), {_WORDS.get(kind, kind) for kind in written.get("per_outcome", {})}
        written["on"] = [word for word in words if word in ruled or random.random() < 0.6] or ["transient"]
    if random.random() < 0.3:
        written["max_elapsed"] = log_uniform(random, 1.0, 60.0)
        written["max_elapsed_checked"] = random.choice(["before_wait", "after_failure"])
    if random.random() < 0.6:
        written["budget"] = budget(random)
    return RetryConfig.model_validate(written)


def budget(random: Random) -> Data:
    """Return a budget of any kind with little in it, as it is written."""
    share = random.choice([0.0, 0.2, 0.5, 1.0])
    return random.choice(
        [
            {"kind": "grpc", "max_tokens": random.choice([2.0, 5.0, 10.0]), "token_ratio": random.choice([0.1, 1.0])},
            {
                "kind": "envoy",
                "share": share,
                "min_concurrency": random.randint(0, 3),
                "inclusive": random.random() < 0.6,
            },
            {
                "kind": "finagle",
                "share": share,
                "min_rate": random.choice([None, None, Rate(1, 10.0), Rate(1, 1.0)]),
                "ttl": log_uniform(random, 1.0, 60.0),
            },
            {"kind": "aws", "capacity": random.randint(5, 60), "timeout_cost": random.choice([None, 5, 10])},
            {
                "kind": "token_bucket",
                "share": share,
                "capacity": random.randint(1, 4),
                "inclusive": random.random() < 0.5,
            },
        ]
    )


def _breaker(random: Random) -> CircuitBreakerConfig:
    written: Data = {"timeout": log_uniform(random, 0.2, 10.0), "half_open_permits": random.randint(1, 4)}
    window = random.choice(["none", "calls", "time", "ema"])
    if window == "none":
        written["failure_threshold"] = random.randint(1, 4)
    else:
        size: Mapping[str, Any] = {
            "calls": random.randint(1, 8),
            "time": log_uniform(random, 0.5, 30.0),
            "ema": random.randint(1, 8),
        }
        written |= {"window": {window: size[window]}, "failure_rate": random.choice([0.3, 0.5, 1.0])}
        if random.random() < 0.7:
            written["minimum_calls"] = random.randint(1, size[window] if window == "calls" else 5)
        if random.random() < 0.6:
            written["slow_call"] = {"duration": log_uniform(random, 0.1, 2.0), "rate": random.choice([0.3, 0.5, 1.0])}
    written |= {"success_may_trip": random.random() < 0.5, "reopen": random.choice(["at", "after"])}
    written["ignored_counts_as"] = random.choice(["neutral", "success"])
    if random.random() < 0.4:
        kinds = [kind for kind in get_args(CountedKind) if kind != "permanent" or random.random() < 0.5]
        written["counts"] = random.sample(kinds, random.randint(1, len(kinds)))
        if "permanent" in written["counts"]:
            del written["ignored_counts_as"]
    written["decide"] = random.choice(["first_failure", "when_decided", "when_all_used"])
    if random.random() < 0.5:
        growth = {"multiplier": random.choice([1.0, 2.0, 4.0]), "jitter": random.choice([0.0, 0.1, 1.0])}
        written["open_growth"] = {**growth, "max": rounded(written["timeout"] * random.choice([1.0, 2.0, 5.0]))}
    if random.random() < 0.5:
        written["half_open_max"] = log_uniform(random, 0.1, 5.0)
        written["half_open_then"] = random.choice(["open", "closed", "probe"])
    if random.random() < 0.4:
        written["ramp"] = {"over": log_uniform(random, 0.5, 30.0), "start": random.choice([0.0, 0.1, 0.5])}
    written["when_open"] = random.choice(["wait", "wait", "fail"])
    written["resume_rate"] = Rate(random.choice([0.1, 0.5, 2.0, 10.0]), 1.0)
    written["resume_doubling"] = log_uniform(random, 1.0, 20.0)
    if random.random() < 0.3:
        written["resume_rate_max"] = Rate(10.0, 1.0)
    written["initial_state"] = random.choice([*["closed"] * 8, "metrics-only", "metrics-only", "disabled"])
    return CircuitBreakerConfig.model_validate(written)


def _limit(random: Random) -> Data:
    kind = random.choice(get_args(RateLimitConfig.model_fields["kind"].annotation))
    rate = Rate(random.randint(1, 5), random.choice([1.0, 3.0, 10.0]))
    written: Data = {"kind": kind, "rate": rate}
    if kind == "leaky_bucket":
        written["aligned"] = random.random() < 0.5
    elif random.random() < 0.3:
        written = {"kind": kind, "rates": [rate, Rate(2 * rate.count, 5.0 * rate.period)]}
    elif kind in ("token_bucket", "gcra") and random.random() < 0.5:
        written["burst"] = random.randint(1, 8)
    return written


def _rate_limit(random: Random) -> RateLimitConfig:
    return RateLimitConfig.model_validate({**_limit(random), "on_limit": random.choice(["defer", "defer", "drop"])})


def _quota(random: Random) -> QuotaConfig:
    return QuotaConfig.model_validate(_limit(random))


def _concurrency_limit(random: Random) -> VegasConfig | GradientConfig:
    least, initial = random.randint(1, 5), random.randint(5, 10)
    written: Data = {"minimum": least, "initial": initial, "maximum": initial + random.randint(0, 10)}
    written["smoothing"] = random.choice([0.2, 0.5, 1.0])
    if random.random() < 0.5:
        written |= {"tolerance": random.choice([1.0, 1.5]), "queue_size": random.randint(0, 2)}
        return GradientConfig.model_validate({**written, "long_window": random.choice([5, 20, 600])})
    alpha = random.randint(1, 3)
    written |= {"alpha": alpha, "beta": alpha + random.randint(0, 2), "probe_multiplier": random.choice([1, 5, 30])}
    return VegasConfig.model_validate({**written, "kind": "vegas", "decrease": random.choice([None, 0.5, 0.9])})


def _adaptive_rate(random: Random) -> AdaptiveRateConfig:
    kind = random.choice(["aimd", "cubic"])
    written: Data = {"kind": kind, "minimum_rate": Rate(random.choice([0.2, 1.0]), 1.0)}
    if random.random() < 0.5:
        written["initial_rate"] = Rate(random.choice([1.0, 4.0]), 1.0)
    if random.random() < 0.5:
        written["maximum_rate"] = Rate(random.choice([4.0, 10.0]), 1.0)
    written["cooldown"] = random.choice([0.0, 1.0, log_uniform(random, 0.1, 10.0)])
    written["decrease"] = random.choice([None, 0.5, 1.0])
    written |= {"increase": Rate(random.choice([0.1, 2.0]), 1.0)} if kind == "aimd" else {"scale": 2.0}
    return AdaptiveRateConfig.model_validate(written)


def _adaptive_throttle(random: Random) -> AdaptiveThrottleConfig:
    return AdaptiveThrottleConfig(
        k=random.choice([1.0, 1.5, 2.0]),
        window=log_uniform(random, 1.0, 60.0),
        padding=random.choice([0.1, 1.0, 5.0]),
        max_rejection=random.choice([0.5, 0.9, 1.0]),
        count_rejected=random.random() < 0.5,
    )


GROUPS: Mapping[str, Callable[[Random], Any]] = {
    "retry": _retry,
    "circuit_breaker": _breaker,
    "rate_limit": _rate_limit,
    "quota": _quota,
    "concurrency_limit": _concurrency_limit,
    "adaptive_rate": _adaptive_rate,
    "adaptive_throttle": _adaptive_throttle,
}


def _provider(config: ChannelConfig, breaker: CircuitBreakerConfig, random: Random) -> ProviderConfig:
    slow = breaker.slow_call
    edges = [config.timeout] if slow is None else [config.timeout, slow.duration, slow.duration]
    latency = random.choice(
        [
            {"exponential": {"mean": log_uniform(random, 0.05, 2.0)}},
            {"mixture": [{"weight": 4, "constant": 0.05}, {"weight": 1, "exponential": {"mean": 1.0}}]},
            {"mixture": [{"weight": 2, "constant": 0.05}, {"weight": 1, "constant": random.choice(edges)}]},
        ]
    )
    written: Data = {"latency": Distribution.model_validate(latency), "failure_rate": random.choice([0.05, 0.2, 0.5])}
    if random.random() < 0.3:
        written["capacity"] = random.randint(1, 4)
        written["discipline"] = random.choice(["fifo", "critical_first", "processor_sharing"])
        written |= {"queue": None, "one_at_a_time": None}  # of an earlier drawing, perhaps
        if written["discipline"] != "processor_sharing" and random.random() < 0.5:
            written["queue"] = QueueConfig(limit=random.randint(1, 6), when_full=random.choice(["refuse", "drop"]))
    works = config.provider.model_copy(update=written)
    if works.discipline == "fifo" and random.random() < 0.2:
        one = {"per": random.choice(["host", "user"])}
        one["when_busy"] = "fail" if works.capacity is not None else random.choice(["fail", "wait"])
        written["one_at_a_time"] = OneAtATimeConfig.model_validate(one)
    if random.random() < 0.2:
        quota = drawn_quota(random, Rate(log_uniform(random, 0.5, 10.0), 1.0))
        written["throttle"] = QuotaFault.model_validate(quota)
    if random.random() < _SHARE_SCRIPTED:
        written["script"] = tuple(_answer(random) for _ in range(random.randint(1, 25)))
    return config.provider.model_copy(update=written)


def _answer(random: Random) -> ScriptedAnswer:
    outcomes = ["sent", "sent", "transient", "throttled", "permanent", "dead_destination", "channel_fault"]
    outcome = random.choice([*outcomes, "ambiguous", "lost", "hang"])
    written: Data = {"outcome": outcome}
    if outcome not in ("lost", "hang"):
        written["latency"] = random.choice([0.0, 0.05, log_uniform(random, 0.01, 5.0)])
    if outcome in ("transient", "throttled") and random.random() < 0.6:
        written["retry_after"] = random.choice([0.0, 1.0, log_uniform(random, 0.05, 30.0)])
    return ScriptedAnswer.model_validate(written)
