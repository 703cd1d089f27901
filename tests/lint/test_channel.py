"""Every rule of the linter: what it says word for word, and the nearest settings of which it says nothing."""

import re
import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from actors.lint.channel import lint
from actors.lint.findings import Finding, Said
from actors.lint.traffic import Traffic, most_under
from actors.settings.channel import ChannelConfig

SLOW = {"latency": {"lognormal": {"median": 0.25, "p99": 1.0}}}

OFF = {"enabled": False}


def said(settings, *, users=None, **known):
    config = ChannelConfig.model_validate(settings)
    if users is not None and known["per_s"] is not None:
        known["per_user_per_s"] = known["per_s"] / users
    if users is not None and config.rate_limit is not None:
        known["let_through_in"] = lambda stretch_s: users * most_under(config.rate_limit, stretch_s)
    findings = lint("email", config, Traffic(**known))
    assert all(finding.path[:2] == ("channels", "email") for finding in findings)
    return [str(finding).removeprefix("channels.email.") for finding in findings]


RULES = [
    # provider and time limits
    ({"timeout": 0.1, "provider": SLOW}, {},
     "timeout: 100ms is shorter than the provider's median latency of 250ms: 93.8% of the attempts will time out"),
    ({"timeout": 1, "provider": {"latency": 2}}, {},
     "timeout: 1s is shorter than the provider's median latency of 2s: 100% of the attempts will time out"),
    ({"max_in_flight": 3, "provider": {"latency": 0.25}}, {"per_s": 20},
     "max_in_flight: 3 slots at a mean latency of 250ms let through 12/s, and 20/s arrive: "
     "the queue grows by 480 a minute"),
    ({"max_in_flight": 1, "provider": {"latency": 0.25}}, {"per_s": 20, "nodes": 3},
     "max_in_flight: 1 slot at each of 3 nodes at a mean latency of 250ms let through 12/s, and 20/s arrive: "
     "the queue grows by 480 a minute"),
    # A quarter would hang for an hour, and holds a slot for 4 s: the mean is that of the time that is spent.
    ({"max_in_flight": 1, "timeout": 4, "circuit_breaker": {"failure_threshold": 50},
      "provider": {"latency": {"mixture": [{"weight": 3, "constant": 0}, {"weight": 1, "constant": 3600}]}}},
     {"per_s": 1.5},
     "max_in_flight: 1 slot at a mean latency of 1s lets through 1/s, and 1.5/s arrive: "
     "the queue grows by 30 a minute"),
    # The provider works for all of the hour, in vain.
    ({"timeout": 4, "circuit_breaker": OFF, "provider": {"capacity": 100, "latency": {"mixture": [
        {"weight": 3, "constant": 0}, {"weight": 1, "constant": 3600}]}}}, {"per_s": 1.5},
     "provider.capacity: 100 places at a mean latency of 15m serve 6.67/min, and 1.5/s arrive: "
     "the queue grows by 83.3 a minute"),
    ({"provider": {"capacity": 1, "latency": 2, "discipline": "processor_sharing"}}, {"per_s": 1},
     "provider.capacity: 1 place at a mean latency of 2s serves 30/min, and 1/s arrive: "
     "the queue grows by 30 a minute"),
    # Of an hour there is no more than the ten minutes in which 600 come, so that 400 of them find a place.
    ({"provider": {"capacity": 400, "latency": {"pareto": {"minimum": 3600, "alpha": 0.5}}}, "timeout": 86_400,
      "circuit_breaker": OFF},
     {"per_s": 1, "lasts_s": 600},
     "provider.capacity: 400 places at a mean latency of 10m, counted up to the 10m of arrivals, serve 40/min, and 1/s "
     "arrive: the queue grows by 20 a minute"),
    # limiters
    ({"quota": {"rate": "100/min"}}, {"per_s": 20},
     "quota.rate: 100/min is below the 20/s that arrive: the queue grows by 1,100 a minute"),
    ({"quota": {"max_per_minute": 30, "on_limit": "drop"}}, {"per_s": 1},
     "quota.max_per_minute: 30 is below the 1/s that arrive: 30 a minute are dead-lettered"),
    ({"quota": {"rates": ["3/s", "100/min"]}}, {"per_s": 2},
     "quota.rates: 100/min is below the 2/s that arrive: the queue grows by 20 a minute"),
    ({"rate_limit": {"max_per_minute": 10}}, {"per_s": 10, "users": 20},
     "rate_limit.max_per_minute: 10 is below the 30/min that arrive for one user: "
     "the queue of each grows by 20 a minute"),
    ({"rate_limit": {"rate": "10/h"}}, {"per_s": 1, "per_user_per_s": 11 / 600, "lasts_s": 600},
     "rate_limit.rate: 10/h is below the 1.1/min that arrive for one user: the queue of each grows by 56 an hour"),
    ({"rate_limit": {"rate": "10/h", "kind": "leaky_bucket"}},
     {"per_s": 1, "per_user_per_s": 2 / 600, "lasts_s": 600},
     "rate_limit.rate: 10/h is below the 12/h that arrive for one user: the queue of each grows by 2 an hour"),
    ({"rate_limit": {"rate": "10/h", "kind": "token_bucket", "burst": 1}},
     {"per_s": 1, "per_user_per_s": 2 / 600, "lasts_s": 600},
     "rate_limit.rate: 10/h is below the 12/h that arrive for one user: the queue of each grows by 2 an hour"),
    ({"quota": {"rate": "1000/d"}}, {"per_s": 2, "lasts_s": 600},
     "quota.rate: 1,000/d is below the 2/s that arrive: the queue grows by 119 a minute"),
    ({"rate_limit": {"rate": "1/h"}}, {"per_s": 1, "per_user_per_s": 2 / 3600},
     "rate_limit.rate: 1/h is below the 2/h that arrive for one user: the queue of each grows by 1 an hour"),
    # breaker
    ({"circuit_breaker": {"window": {"time": 10}, "minimum_calls": 20}}, {"per_s": 1},
     "circuit_breaker.minimum_calls: 20 calls seldom come together: 1/s make 10 in a window of 10s on average; "
     "only when retries make up the rest (30 with all 3 attempts) can it open"),
    ({"circuit_breaker": {"window": {"time": 10}, "minimum_calls": 100}}, {"per_s": 0.5},
     "circuit_breaker.minimum_calls: 100 calls seldom come together: 30/min make 5 in a window of 10s on average; "
     "nor do retries help (15 with all 3 attempts of each): it hardly ever opens"),
    ({"circuit_breaker": {"window": {"time": 10}}, "retry": {"max_attempts": 1}}, {"per_s": 0.5},
     "circuit_breaker.minimum_calls: 10 calls seldom come together: 30/min make 5 in a window of 10s on average; "
     "its failure rate is not looked at, and it hardly ever opens"),
    ({"circuit_breaker": {"window": {"time": 10}, "minimum_calls": 50}, "quota": {"rate": "2/s"}},
     {"per_s": 2, "most_in": lambda width: 1000},
     "circuit_breaker.minimum_calls: 50 calls seldom come together: no window of 10s holds more than 22 on average; "
     "only when retries make up the rest (66 with all 3 attempts) can it open"),
    ({"circuit_breaker": {"when_open": "fail"}}, {},
     "circuit_breaker.when_open: fail, and the last of 3 attempts starts 3s after the first, before the breaker can be "
     "half-open after 60s: what meets it just opened is dead-lettered"),
    ({"circuit_breaker": {"when_open": "fail"}, "retry": {"max_attempts": 1}}, {},
     "circuit_breaker.when_open: fail, and the only attempt is refused, before the breaker can be half-open after 60s: "
     "what meets it just opened is dead-lettered"),
    ({"circuit_breaker": {"when_open": "fail", "open_growth": {"jitter": 0.5}}, "retry": {"max_attempts": 5,
      "jitter": "full"}}, {},
     "circuit_breaker.when_open: fail, and the last of 5 attempts starts at most 15s after the first, before the "
     "breaker can be half-open after 30s: what meets it just opened is dead-lettered"),
    ({"circuit_breaker": {"when_open": "fail", "timeout": 5, "resume_rate": "5/s"}, "retry": {"max_attempts": 5}}, {},
     "circuit_breaker.resume_rate: has an effect only after a restart with when_open: fail, where nothing waits for "
     "the breaker"),
    ({"circuit_breaker": {"resume_rate_max": "20/s"}}, {"per_s": 20},
     "circuit_breaker.resume_rate_max: 20/s is no more than the 20/s that arrive: the line behind a breaker that has "
     "closed does not end while they do"),
    ({"circuit_breaker": {"window": {"calls": 100}, "slow_call": {"duration": 10}}}, {},
     "circuit_breaker.slow_call.duration: 10s is never exceeded: an attempt ends at the timeout of 10s, "
     "so no call is slow"),
    ({"circuit_breaker": {"window": {"calls": 100}, "slow_call": {"duration": 0.25}}, "provider": SLOW}, {},
     "circuit_breaker.slow_call.rate: 50% is reached with nothing wrong: 50% of the provider's calls take longer than "
     "250ms"),
    ({"circuit_breaker": {"window": {"calls": 100}, "failure_rate": 0.1}, "provider": {"failure_rate": 0.2}}, {},
     "circuit_breaker.failure_rate: 10% is reached with nothing wrong: 20% of the provider's calls fail"),
    ({"provider": {"failure_rate": 0.3}}, {"per_s": 5},
     "circuit_breaker.failure_threshold: 5 failures in a row come by chance about every 117s: 30% of 5/s fail with "
     "nothing wrong"),
    ({"circuit_breaker": {"half_open_max": 0.1}, "provider": SLOW}, {},
     "circuit_breaker.half_open_max: 100ms is shorter than the provider's median latency of 250ms: 93.8% of the probes "
     "come back when it has opened again"),
    ({"circuit_breaker": {"half_open_max": 10, "half_open_permits": 50, "when_open": "fail", "timeout": 1}},
     {"per_s": 1},
     "circuit_breaker.half_open_permits: 50 probes seldom come together: 10 arrive in the half_open_max of 10s on "
     "average (30 with all their attempts), and then it opens again"),
    ({"circuit_breaker": {"open_growth": {"multiplier": 1}}}, {},
     "circuit_breaker.open_growth.multiplier: 1 lets nothing grow: every opening lasts 60s"),
    ({"circuit_breaker": {"open_growth": {"max": 60}}}, {},
     "circuit_breaker.open_growth.max: 60s lets nothing grow: every opening lasts 60s"),
    # retries
    ({"retry": {"max_delay": 0.5}}, {},
     "retry.max_delay: 500ms is below the initial_delay of 1s: every wait is cut to it, and none grows"),
    ({"retry": {"per_outcome": {"throttled": {"initial_delay": 90}}}}, {},
     "retry.per_outcome.throttled.max_delay: 60s is below the initial_delay of 90s: every wait is cut to it, and none "
     "grows"),
    ({"retry": {"max_attempts": 1, "initial_delay": 2, "jitter": "full"}}, {},
     "retry.max_attempts: 1 leaves initial_delay and jitter without an effect: the only attempt is never retried"),
    ({"retry": {"schedule": [5, 60], "max_delay": 30}}, {},
     "retry.max_delay: has no effect beside a schedule, which says every wait itself"),
    ({"retry": {"backoff": "constant", "backoff_multiplier": 3}}, {},
     "retry.backoff_multiplier: has no effect with backoff: constant"),
    ({"retry": {"jitter": "full", "jitter_share": 0.5}}, {},
     "retry.jitter_share: has no effect with jitter: full; it is for proportional"),
    ({"retry": {"jitter": "equal", "jitter_max": 3}}, {},
     "retry.jitter_max: has no effect with jitter: equal; it is for additive"),
    ({"retry": {"jitter_factor": 2}}, {},
     "retry.jitter_factor: has no effect with jitter: none; it is for decorrelated"),
    ({"retry": {"schedule": [5, 60], "jitter_factor": 2}}, {},
     "retry.jitter_factor: has no effect with jitter: none; it is for decorrelated"),
    ({"retry": {"max_attempts": 1, "jitter": "decorrelated", "jitter_factor": 2}}, {},
     "retry.max_attempts: 1 leaves jitter and jitter_factor without an effect: the only attempt is never retried"),
    ({"retry": {"jitter": "decorrelated", "backoff": "linear"}}, {},
     "retry.backoff: has no effect with jitter: decorrelated, which draws each wait from the one before it"),
    ({"retry": {"jitter": "decorrelated", "backoff_multiplier": 3}}, {},
     "retry.backoff_multiplier: has no effect with jitter: decorrelated, which draws each wait from the one before it"),
    ({"retry": {"retry_after": "ignore", "retry_after_jitter": 0.2}}, {},
     "retry.retry_after_jitter: has no effect with retry_after: ignore"),
    ({"retry": {"retry_after": "ignore", "retry_after_excess": 5}}, {},
     "retry.retry_after_excess: has no effect with retry_after: ignore"),
    ({"retry": {"max_attempts": 1, "jitter": "full", "budget": {"kind": "grpc"}}, "hedging": {"delay": 1}}, {},
     "retry.max_attempts: 1 leaves jitter without an effect: the only attempt is never retried"),
    ({"retry": {"max_attempts": 1, "budget": {"kind": "grpc"}}}, {},
     "retry.max_attempts: 1 leaves budget without an effect: the only attempt is never retried"),
    ({"retry": {"max_attempts": 1, "retry_after": "ignore"}}, {},
     "retry.max_attempts: 1 leaves retry_after without an effect: the only attempt is never retried"),
    ({"retry": {"max_elapsed": 1}}, {},
     "retry.max_elapsed: 1s is no longer than the first wait of 1s: none of the 2 retries can start"),
    ({"retry": {"max_elapsed": 3, "max_attempts": 8}}, {},
     "retry.max_elapsed: 3s ends the attempts early: of 8, number 3 would start 3s after the first, so at most 2 are "
     "made"),
    ({"retry": {"budget": {"kind": "grpc", "max_tokens": 2}}}, {},
     "retry.budget.max_tokens: 2 allows no retry at all: a failure takes one token, and the 1 left is not more than "
     "half"),
    ({"retry": {"budget": {"kind": "token_bucket", "capacity": 1, "inclusive": False}}}, {},
     "retry.budget.capacity: 1 allows no retry at all: without inclusive there has to be more than one token"),
    ({"retry": {"max_attempts": 1, "budget": {"kind": "token_bucket", "capacity": 1, "inclusive": False}},
      "hedging": {"delay": 1}}, {},
     "retry.budget.capacity: 1 allows no copy at all: without inclusive there has to be more than one token"),
    ({"retry": {"budget": {"kind": "envoy", "share": 0, "min_concurrency": 0}}, "hedging": {"delay": 1}}, {},
     "retry.budget.share: 0% with a min_concurrency of 0 allows no retry and no copy at all"),
    ({"retry": {"budget": {"kind": "token_bucket"}}, "circuit_breaker": OFF, "provider": {"failure_rate": 0.3}}, {},
     "retry.budget.share: 10% allows 10 retries for 100 notifications, and 39 are needed where 30% of the attempts "
     "fail: with nothing wrong, some of what fails is not retried"),
    ({"retry": {"budget": {"kind": "envoy", "share": 0, "min_concurrency": 0}}}, {},
     "retry.budget.share: 0% with a min_concurrency of 0 allows no retry at all"),
    ({"retry": {"budget": {"kind": "finagle", "share": 0, "min_rate": None}}}, {},
     "retry.budget.share: 0% with no min_rate allows no retry at all"),
    ({"retry": {"budget": {"kind": "finagle", "share": 0, "min_rate": "1/min"}}}, {},
     "retry.budget.share: 0% with less than one retry of min_rate in a ttl of 10s allows no retry at all"),
    ({"retry": {"budget": {"kind": "aws", "capacity": 10}}}, {},
     "retry.budget.retry_cost: 14 is more than the whole capacity of 10: no attempt that failed transiently is ever "
     "retried"),
    # A budget that lasts while nothing is wrong: p + p² retries a notification, where each attempt fails with p.
    ({"retry": {"budget": {"share": 0.1, "min_rate": None}}, "circuit_breaker": OFF, "provider": {"failure_rate": 0.3}},
     {}, "retry.budget.share: 10% allows 10 retries for 100 notifications, and 39 are needed where 30% of the attempts "
     "fail: with nothing wrong, some of what fails is not retried"),
    ({"retry": {"budget": {"share": 0.1, "min_rate": "1/s"}}, "circuit_breaker": OFF,
      "provider": {"failure_rate": 0.3}}, {"per_s": 20},
     "retry.budget.share: 10% of 20/s and a min_rate of 1/s allow retries at 3/s, and 7.8/s are needed where 30% of "
     "the attempts fail: with nothing wrong, some of what fails is not retried"),
    # A floor that makes the share none.
    ({"retry": {"budget": {"kind": "finagle", "share": 0.1}}}, {"per_s": 8},
     "retry.budget.min_rate: 10/s are allowed in any case, more than the 10% of 8/s that arrive, 48/min: together "
     "10.8/s, 135% of what arrives"),
    ({"retry": {"budget": {"kind": "envoy"}}, "circuit_breaker": OFF,
      "provider": {"failure_rate": 0.5, "latency": 0.1}}, {"per_s": 10},
     "retry.budget.share: 20% of the 1.75 attempts under way and a min_concurrency of 3 allow 3 retries at once, and "
     "10.8 wait or are under way on average where 50% of the attempts fail: with nothing wrong, some of what fails is "
     "not retried"),
    ({"retry": {"budget": {"kind": "grpc"}}, "circuit_breaker": OFF, "provider": {"failure_rate": 0.1}}, {},
     "retry.budget.token_ratio: 0.1 for each success makes up for 9.09% of the attempts failing, and 10% do, so that "
     "the tokens run out: with nothing wrong, some of what fails is not retried"),
    ({"retry": {"budget": {"kind": "aws"}}, "circuit_breaker": OFF, "provider": {"failure_rate": 0.3}}, {},
     "retry.budget.retry_cost: 14 for a retry takes 164 for 100 notifications where 30% of the attempts fail, and what "
     "succeeds gives 70 back, so that the capacity of 500 runs out: with nothing wrong, some of what fails is not "
     "retried"),
    ({"retry": {"budget": {"kind": "grpc"}}, "timeout": 0.5, "circuit_breaker": OFF, "provider": SLOW}, {},
     "retry.budget.token_ratio: 0.1 for each success makes up for 9.09% of the attempts failing, and 12.2% do, 12.2% "
     "by their timeout, so that the tokens run out: with nothing wrong, some of what fails is not retried"),
    # hedging
    ({"hedging": {"delay": 10}}, {},
     "hedging.delay: 10s is not below the timeout of 10s: no late answer brings a copy, only a failure does"),
    ({"hedging": {"delay": 0.1}, "provider": SLOW}, {},
     "hedging.delay: 100ms is shorter than the provider's median latency of 250ms: 93.8% of the attempts are sent more "
     "than once"),
    ({"hedging": {"delay": 1, "max_attempts": 8}}, {}, "hedging.max_attempts: 8 are taken as 5"),
    # endpoints
    ({"endpoints": {}}, {},
     "endpoints: all of them are asked through one provider, which may fail where none of them does: an outage of 5d "
     "disables every address that is sent to"),
    ({"endpoints": {"disable_after": 3600}, "circuit_breaker": {"per": "host", "timeout": 900}}, {},
     "endpoints.disable_after: two failures start the clock that are at most 12m apart, and an open circuit breaker "
     "lets an attempt through every 15m: where a whole host is down, no endpoint is disabled"),
    ({"endpoints": {"disable_after": 3600},
      "circuit_breaker": {"per": "host", "timeout": 60, "open_growth": {"max": 3600}}}, {},
     "endpoints.disable_after: two failures start the clock that are at most 12m apart, and an open circuit breaker "
     "lets an attempt through every 1h: where a whole host is down, no endpoint is disabled"),
    # what adapts
    ({"adaptive_rate": {"maximum_rate": "10/s"}}, {"per_s": 20},
     "adaptive_rate.maximum_rate: 10/s is below the 20/s that arrive: the queue grows by 600 a minute"),
    ({"concurrency_limit": {"initial": 2, "maximum": 4}, "provider": {"latency": 0.25}}, {"per_s": 20},
     "concurrency_limit.maximum: 4 slots at a mean latency of 250ms let through 16/s, and 20/s arrive: the queue grows "
     "by 240 a minute"),
    ({"concurrency_limit": {"initial": 30}, "max_in_flight": 20}, {},
     "concurrency_limit.initial: 30 at once is more than the max_in_flight of 20: it binds only once it has fallen "
     "below that"),
    ({"adaptive_throttle": {}, "circuit_breaker": OFF, "provider": {"failure_rate": 0.6}}, {},
     "adaptive_throttle.k: 2 times what is accepted is less than what is sent where 60% of the attempts fail: with "
     "nothing wrong, at the sender each refusal brings more, up to 100% of all attempts"),
    ({"adaptive_throttle": {"k": 1.5, "count_rejected": False}, "circuit_breaker": OFF,
      "provider": {"failure_rate": 0.6}}, {},
     "adaptive_throttle.k: 1.5 times what is accepted is less than what is sent where 60% of the attempts fail: with "
     "nothing wrong, at the sender 40% of the attempts are refused"),
    # an operator's
    ({"circuit_breaker": OFF}, {"meets_channel_faults": True},
     "circuit_breaker.enabled: false, and a channel fault uses up no attempt: without a max_elapsed, what meets one "
     "and has no expires_after is tried again, at least 1s apart, for as long as it lasts"),
    ({"circuit_breaker": {"initial_state": "metrics-only"}, "retry": {"max_attempts": 2, "schedule": [90]},
      "failover": {"backup": {"circuit_breaker": OFF}}}, {"meets_channel_faults": True},
     "circuit_breaker.initial_state: metrics-only, and a channel fault uses up no attempt: without a max_elapsed, what "
     "meets one and has no expires_after is tried again, at least 90s apart, for as long as it lasts"),
    ({"circuit_breaker": {"initial_state": "forced-open"}}, {"per_s": 20},
     "circuit_breaker.initial_state: forced-open lets nothing of the 20/s that arrive through until an operator "
     "changes it"),
    ({"failover": {"backup": {"circuit_breaker": {"initial_state": "forced-open"}}}}, {"per_s": 20},
     "failover.backup.circuit_breaker.initial_state: forced-open lets nothing through until an operator "
     "changes it"),
    # several providers
    ({"switch_after": 3, "failover": {"backup": {}}}, {},
     "switch_after: 3 failed attempts never come before another one, as there are at most 3 attempts: no notification "
     "tries another provider first"),
    ({"switch_after": 6, "failover": {"backup": {}}, "retry": {"per_outcome": {"throttled": {"max_attempts": 4}}}}, {},
     "switch_after: 6 failed attempts never come before another one, as there are at most 6 attempts: no notification "
     "tries another provider first"),
    ({"quota": {"rate": "8/s"}, "failover": {"backup": {"quota": {"rate": "60/min"}}}}, {"per_s": 12},
     "quota.rate: 8/s, with those of failover 9/s, is below the 12/s that arrive: the queue grows by 180 a minute"),
    ({"quota": {"rate": "8/s", "on_limit": "drop"}, "failover": {"backup": {}}}, {"per_s": 20},
     "quota.rate: 8/s, with those of failover 16/s, is below the 20/s that arrive: 240 a minute are dead-lettered"),
    ({"max_in_flight": 2, "provider": {"latency": 0.25},
      "failover": {"backup": {"quota": {"rate": "3/s"}}}}, {"per_s": 20},
     "failover: all providers together let through 11/s (primary 8/s, backup 3/s), and 20/s arrive: the queue grows by "
     "540 a minute"),
    ({"failover": {"backup": {"timeout": 1, "provider": {"latency": 2}}}}, {},
     "failover.backup.timeout: 1s is shorter than the provider's median latency of 2s: 100% of the attempts will time "
     "out"),
    # What it inherits is wrong only for what it is like itself.
    ({"timeout": 1, "failover": {"backup": {"provider": {"latency": 2}}}}, {},
     "failover.backup.timeout: 1s is shorter than the provider's median latency of 2s: 100% of the attempts will time "
     "out"),
    ({"failover": {"backup": {"circuit_breaker": {"open_growth": {"max": 60}}}}}, {},
     "failover.backup.circuit_breaker.open_growth.max: 60s lets nothing grow: every opening lasts 60s"),
    ({"circuit_breaker": {"open_growth": {"max": 60}}, "failover": {"b": {}, "c": {"quota": {"rate": "5/s"}}}}, {},
     "circuit_breaker.open_growth.max: 60s lets nothing grow: every opening lasts 60s"),
    ({"circuit_breaker": {"window": {"time": 10}, "minimum_calls": 20}, "failover": {"backup": {}}},
     {"per_s": 1},
     "circuit_breaker.minimum_calls: 20 calls seldom come together: 1/s make 10 in a window of 10s on average; "
     "only when retries make up the rest (30 with all 3 attempts) can it open"),
    ({"failover": {"backup": {"hedging": {"delay": 0.1}, "provider": SLOW}}}, {},
     "failover.backup.hedging.delay: 100ms is shorter than the provider's median latency of 250ms: 93.8% of the "
     "attempts are sent more than once"),
    # fallback
    ({"fallback": {"channel": "sms", "after": 0.1}, "provider": SLOW}, {},
     "fallback.after: 100ms is shorter than the provider's median latency of 250ms: 93.8% of the first attempts are "
     "still under way then, and none of them that fails is retried"),
    # expiry
    ({"timeout": 0.1, "circuit_breaker": OFF}, {"expires_after": 0.5},
     "retry: an expiry of 500ms is shorter than the first wait of 1s: none of the 2 retries can start"),
    ({"retry": {"max_attempts": 8}, "timeout": 7, "circuit_breaker": {"timeout": 7}}, {"expires_after": 7},
     "retry: an expiry of 7s ends the attempts early: of 8, number 5 would start 15s after the first, so at most 4 are "
     "made"),
    ({"retry": {"max_attempts": 8, "jitter": "full"}, "timeout": 7, "circuit_breaker": {"when_open": "fail"}},
     {"expires_after": 7},
     "retry: an expiry of 7s ends the attempts early: of 8, number 5 would start on average 7.5s after the first, so 4 "
     "are made"),
    ({"timeout": 40, "circuit_breaker": {"timeout": 30}}, {"expires_after": 30},
     "timeout: 40s is longer than an expires_after of 30s: an attempt that is not answered takes all of that, and is "
     "never retried"),
    ({"circuit_breaker": {"timeout": 120}}, {"expires_after": 30},
     "circuit_breaker.timeout: 2m is longer than an expires_after of 30s: of each opening, what arrives in the first "
     "90s expires before an attempt is let through"),
    ({"circuit_breaker": {"timeout": 120, "open_growth": {"jitter": 0.5}}}, {"expires_after": 30},
     "circuit_breaker.timeout: 60s is longer than an expires_after of 30s: of each opening, what arrives in the first "
     "30s expires before an attempt is let through"),
    # no bulkhead
    ({"max_in_flight": None}, {},
     "max_in_flight: null bounds nothing: while the provider does not answer, what arrives in a timeout of 10s is "
     "under way at once"),
    ({"max_in_flight": None}, {"per_s": 20},
     "max_in_flight: null bounds nothing: while the provider does not answer, what arrives in a timeout of 10s is "
     "under way at once: 200 attempts"),
    ({"failover": {"backup": {"max_in_flight": None, "timeout": 7}}}, {"per_s": 12},
     "failover.backup.max_in_flight: null bounds nothing: while the provider does not answer, what arrives in a "
     "timeout of 7s is under way at once: up to 84 attempts"),
    # a further provider, against an expiry
    ({"timeout": 5, "failover": {"backup": {"timeout": 40}, "other": {}}, "circuit_breaker": OFF},
     {"expires_after": 30},
     "failover.backup.timeout: 40s is longer than an expires_after of 30s: an attempt that is not answered takes all "
     "of that, and is never retried"),
    # a retry storm
    ({"circuit_breaker": OFF, "retry": {"max_attempts": 4}, "provider": {"capacity": 10, "latency": 0.25}},
     {"per_s": 20},
     "retry.max_attempts: 4 attempts of 20/s are up to 80/s, and the provider serves 40/s: with no budget, no breaker "
     "and no slots, what has failed once may keep it overloaded"),
    # A breaker that only watches, and a quota beyond what the provider serves, hold nothing back.
    ({"circuit_breaker": {"initial_state": "metrics-only"}, "quota": {"rate": "50/s"},
      "provider": {"capacity": 10, "latency": 0.25}}, {"per_s": 20},
     "retry.max_attempts: 3 attempts of 20/s are up to 60/s, and the provider serves 40/s: with no budget, no breaker "
     "and no slots, what has failed once may keep it overloaded"),
    # A burst is no mean.
    ({"rate_limit": {"rate": "10/min"}},
     {"per_s": 20, "per_user_per_s": 2, "most_in": lambda width: 1200},
     "rate_limit.rate: 10/min is below the 2/s on average that arrive for one user: the queue of each grows by 110 a "
     "minute"),
    ({"circuit_breaker": {"initial_state": "forced-open"}},
     {"per_s": 20, "most_in": lambda width: 1200},
     "circuit_breaker.initial_state: forced-open lets nothing of the 20/s on average (1,200 in a second) that arrive "
     "through until an operator changes it"),
    ({"circuit_breaker": {"failure_threshold": 2}, "provider": {"failure_rate": 0.2}},
     {"per_s": 20, "most_in": lambda width: 1200},
     "circuit_breaker.failure_threshold: 2 failures in a row come by chance about every 1.5s: 20% of 20/s on average "
     "(1,200 in a second) fail with nothing wrong; (1 - p^2) / (p^2 (1 - p)) = 30 calls go from one opening to the "
     "next, where 1,255 arrive in 60s open and 2.73s closed: 1.91% get through; window: {calls: 100}, minimum_calls: "
     "100 and failure_rate: 50% open less than once a year"),
    # What chance does at several nodes, each of which has a breaker.
    ({"provider": {"failure_rate": 0.3}}, {"per_s": 400, "nodes": 4},
     "circuit_breaker.failure_threshold: 5 failures in a row come by chance about every 5.86s at each of 4 nodes: 30% "
     "of 400/s fail with nothing wrong; (1 - p^5) / (p^5 (1 - p)) = 586 calls go from one opening to the next, where "
     "8,341 arrive in 60s open and 23.4s closed: 4.92% get through; window: {calls: 300}, minimum_calls: 300 and "
     "failure_rate: 50% open less than once a year"),
    ({"provider": {"latency": 0.05, "capacity": 1}}, {"per_s": 8},
     "circuit_breaker.resume_rate_max: what waits after 60s open resumes at up to 57.2/s, and the provider serves "
     "20/s: that may open it again, and then the pace is halved; with 18/s it does not"),
    ({"circuit_breaker": OFF, "provider": {"failure_rate": 0.2},
      "retry": {"budget": {"share": 0.01, "min_rate": "1/min"}}},
     {"per_s": 20, "most_in": lambda width: 1200},
     "retry.budget.share: 1% of 20/s on average (1,200 in a second) and a min_rate of 1/min allow retries at 13/min, "
     "and 4.8/s are needed where 20% of the attempts fail: with nothing wrong, some of what fails is not retried"),
    # What a quota lets through comes evenly.
    ({"quota": {"rate": "20/s"}, "provider": {"capacity": 10, "latency": 1}, "circuit_breaker": OFF},
     {"per_s": 20, "most_in": lambda width: 20 * width},
     "provider.capacity: 10 places at a mean latency of 1s serve 10/s, and 20/s arrive: the queue grows by 600 a "
     "minute"),
    ({"quota": {"rate": "10/s"}}, {"per_s": 20, "most_in": lambda width: 1200},
     "quota.rate: 10/s is below the 20/s on average (1,200 in a second) that arrive: the queue grows by 600 a minute"),
    ({"max_in_flight": 3, "provider": {"latency": 0.25}},
     {"per_s": 20, "most_in": lambda width: 1200},
     "max_in_flight: 3 slots at a mean latency of 250ms let through 12/s, and 20/s on average (1,200 in a second) "
     "arrive: the queue grows by 480 a minute"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "traffic", "text"), RULES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_it_says(settings, traffic, text):
    assert said(settings, **traffic) == [text]


@pytest.mark.parametrize(
    ("settings", "traffic"),
    [
        ({}, {}),
        ({"timeout": 3, "circuit_breaker": {"timeout": 3}}, {"per_s": 1000, "users": 1, "expires_after": 3}),
        ({"timeout": 40, "retry": {"max_attempts": 1}, "circuit_breaker": OFF}, {"expires_after": 30}),
        ({"timeout": 10, "circuit_breaker": {"timeout": 60}, "failover": {"backup": {}}}, {"expires_after": 20}),
        ({"timeout": 10, "circuit_breaker": {"timeout": 60}, "fallback": {"channel": "sms"}}, {"expires_after": 20}),
        ({"max_in_flight": None, "concurrency_limit": {}}, {}),
        ({"endpoints": {"disable_after": 3600}, "circuit_breaker": {"per": "host", "timeout": 720}}, {}),
        ({"circuit_breaker": OFF, "retry": {"max_attempts": 2}, "provider": {"capacity": 10, "latency": 0.25}},
         {"per_s": 20}),
        *[
            ({"circuit_breaker": OFF, "retry": {"max_attempts": 4}, "provider": {"capacity": 10, "latency": 0.25}}
             | held, {"per_s": 20})
            for held in (
                {"circuit_breaker": {"resume_rate_max": "40/s"}}, {"max_in_flight": 10}, {"adaptive_rate": {}},
                {"adaptive_throttle": {}}, {"concurrency_limit": {}}, {"quota": {"rate": "20/s"}},
                {"retry": {"max_attempts": 4, "budget": {"share": 0.2}}},
            )
        ],
        ({"timeout": 0.25, "provider": SLOW}, {}),
        ({"timeout": 2, "provider": {"latency": 2}}, {}),
        ({"max_in_flight": 5, "provider": {"latency": 0.25}}, {"per_s": 20}),
        ({"max_in_flight": 1, "provider": {"latency": 0.25}}, {}),
        ({"provider": {"latency": 0.25, "capacity": 5}}, {"per_s": 20}),
        ({"provider": {"latency": {"pareto": {"minimum": 0.05, "alpha": 0.5}}, "capacity": 55}},
         {"per_s": 5, "lasts_s": 600}),
        # What the quota holds back does not come to the slots.
        ({"max_in_flight": 1, "provider": {"latency": 0.25}, "quota": {"rate": "4/s"}}, {"per_s": 4}),
        ({"quota": {"rate": "20/s"}}, {"per_s": 20}),
        ({"quota": {"rate": "1/s"}}, {}),
        ({"rate_limit": {"max_per_minute": 30}}, {"per_s": 10, "users": 20}),
        ({"rate_limit": {"max_per_minute": 1}}, {"per_s": 1000}),
        # In ten minutes there are fewer than an hour may have.
        ({"rate_limit": {"rate": "10/h"}}, {"per_s": 1, "per_user_per_s": 10 / 600, "lasts_s": 600}),
        ({"rate_limit": {"rate": "10/h", "kind": "token_bucket", "burst": 20}},
         {"per_s": 1, "per_user_per_s": 20 / 600, "lasts_s": 600}),
        ({"quota": {"rates": ["50/s", "1000/d"]}}, {"per_s": 1, "lasts_s": 600}),
        ({"circuit_breaker": {"window": {"time": 10}, "minimum_calls": 10}}, {"per_s": 1}),
        ({"circuit_breaker": {"window": {"time": 10}, "minimum_calls": 100}}, {}),
        ({"circuit_breaker": {"window": {"time": 10}, "minimum_calls": 100}},
         {"per_s": 0.1, "most_in": lambda width: 400}),
        ({"circuit_breaker": {"window": {"time": 10}, "minimum_calls": 100, "enabled": False}}, {"per_s": 1}),
        ({"circuit_breaker": {"when_open": "fail", "timeout": 3}}, {}),
        ({"circuit_breaker": {"when_open": "fail"},
          "retry": {"per_reason": {"circuit breaker is open": {"schedule": [30, 30]}}}}, {}),
        ({"circuit_breaker": {"window": {"calls": 100}, "slow_call": {"duration": 0.3, "rate": 0.5}}, "provider": SLOW},
         {}),
        ({"circuit_breaker": {"window": {"calls": 100}}, "provider": {"failure_rate": 0.2}}, {"per_s": 5}),
        ({"provider": {"failure_rate": 0.01}}, {"per_s": 1000}),
        ({"circuit_breaker": {"half_open_max": 1}, "provider": SLOW}, {"per_s": 1}),
        ({"circuit_breaker": {"open_growth": {"multiplier": 1, "jitter": 0.2}}}, {}),
        ({"retry": {"max_delay": 1}}, {}),
        ({"retry": {"max_attempts": 1}}, {}),
        ({"retry": {"max_attempts": 1, "jitter": "full", "per_outcome": {"throttled": {"max_attempts": 5}}}}, {}),
        ({"retry": {"schedule": [5, 60]}}, {"expires_after": 65}),
        ({"retry": {"jitter": "proportional", "jitter_share": 0.5}}, {}),
        ({"retry": {"jitter": "decorrelated", "jitter_factor": 2, "cap_after_draw": True}}, {}),
        ({"retry": {"cap_after_draw": False, "cap_before_jitter": False}}, {}),
        ({"retry": {"max_elapsed": 3.5}}, {}),
        ({"retry": {"retry_after": "pushback", "retry_after_jitter": 0.2}}, {}),
        ({"retry": {"budget": {"kind": "grpc", "max_tokens": 2.1}}}, {}),
        ({"retry": {"budget": {"kind": "envoy", "share": 0, "min_concurrency": 0, "inclusive": True}}}, {}),
        ({"retry": {"budget": {"kind": "finagle", "share": 0}}}, {}),
        ({"retry": {"budget": {"kind": "aws", "capacity": 14}}}, {}),
        ({"retry": {"budget": {"share": 0.39, "min_rate": None}}, "circuit_breaker": OFF,
          "provider": {"failure_rate": 0.3}}, {}),
        ({"retry": {"budget": {"share": 0.34, "min_rate": "1/s"}}, "circuit_breaker": OFF,
          "provider": {"failure_rate": 0.3}}, {"per_s": 20}),
        # How much its min_rate is for each notification, is unknown.
        ({"retry": {"budget": {"share": 0.1}}, "circuit_breaker": OFF, "provider": {"failure_rate": 0.3}}, {}),
        ({"retry": {"budget": {"share": 0.1, "min_rate": None}, "per_outcome": {"transient": {"max_attempts": 2}}},
          "circuit_breaker": OFF, "provider": {"failure_rate": 0.3}}, {}),
        ({"retry": {"budget": {"kind": "envoy", "min_concurrency": 11}}, "circuit_breaker": OFF,
          "provider": {"failure_rate": 0.5, "latency": 0.1}}, {"per_s": 10}),
        ({"retry": {"budget": {"kind": "envoy"}}, "circuit_breaker": OFF,
          "provider": {"failure_rate": 0.5, "latency": 0.1}}, {}),
        ({"retry": {"budget": {"kind": "grpc", "token_ratio": 0.25}}, "circuit_breaker": OFF,
          "provider": {"failure_rate": 0.2}}, {}),
        ({"retry": {"budget": {"kind": "aws"}}, "circuit_breaker": OFF, "provider": {"failure_rate": 0.2}}, {}),
        ({"max_in_flight": 3, "provider": {"latency": 0.25}}, {"per_s": 20, "nodes": 2}),
        ({"hedging": {"delay": 0.25, "max_attempts": 5}, "provider": SLOW}, {}),
        # A copy of what is only late costs nothing here.
        ({"retry": {"max_attempts": 1, "budget": {"kind": "grpc", "max_tokens": 2}}, "hedging": {"delay": 1}}, {}),
        ({"hedging": {"delay": 0}}, {}),
        ({"retry": {"max_attempts": 1, "budget": {"kind": "grpc"}}, "hedging": {"delay": 1}}, {}),
        (
            {
                "retry": {"max_attempts": 1, "budget": {"kind": "grpc"}},
                "failover": {"backup": {"hedging": {"delay": 1}}},
            },
            {},
        ),
        ({"adaptive_rate": {"maximum_rate": "20/s", "initial_rate": "1/s"}}, {"per_s": 20}),
        ({"adaptive_rate": {"maximum_rate": "10/s"}}, {}),
        ({"concurrency_limit": {"initial": 5, "maximum": 5}, "provider": {"latency": 0.25}}, {"per_s": 20}),
        ({"concurrency_limit": {"initial": 20}, "max_in_flight": 20}, {}),
        ({"adaptive_throttle": {}, "circuit_breaker": OFF, "provider": {"failure_rate": 0.5}}, {}),
        ({"circuit_breaker": {"initial_state": "forced-open"}}, {"is_operated": True}),
        ({"circuit_breaker": OFF}, {}),
        ({}, {"meets_channel_faults": True}),
        ({"circuit_breaker": OFF, "retry": {"max_elapsed": 3600}}, {"meets_channel_faults": True}),
        ({"circuit_breaker": OFF, "fallback": {"channel": "sms", "after": 60}}, {"meets_channel_faults": True}),
        ({"circuit_breaker": OFF, "failover": {"backup": {"circuit_breaker": {}}}}, {"meets_channel_faults": True}),
        ({"circuit_breaker": {"initial_state": "forced-open"}}, {"meets_channel_faults": True, "is_operated": True}),
        ({"circuit_breaker": {"initial_state": "disabled"}}, {"per_s": 20}),
        ({"switch_after": 2, "failover": {"backup": {}}}, {}),
        ({"switch_after": 5, "failover": {"backup": {}}, "retry": {"per_outcome": {"throttled": {"max_attempts": 4}}}},
         {}),
        # What is too much for one goes to the next.
        ({"quota": {"rate": "8/s"}, "failover": {"backup": {"quota": {"rate": "4/s"}}}}, {"per_s": 12}),
        ({"quota": {"rate": "8/s"}, "failover": {"backup": {"quota": None}}}, {"per_s": 100}),
        ({"max_in_flight": 2, "provider": {"latency": 0.25}, "failover": {"backup": {}}}, {"per_s": 100}),
        # How often the second is asked, is unknown.
        ({"failover": {"backup": {"provider": {"failure_rate": 0.3}}}}, {"per_s": 5}),
        ({"fallback": {"channel": "sms", "after": 0.25}, "provider": SLOW}, {}),
        ({"fallback": {"channel": "sms"}, "provider": SLOW}, {}),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value)),  # of a function: one in each process
)  # fmt: skip
def test_what_it_says_nothing_of(settings, traffic):
    assert said(settings, **traffic) == []


@pytest.mark.parametrize(
    ("budget", "is_one"), [({"share": 0.1}, True), ({"share": 0.1, "kind": "finagle"}, False), (None, False)]
)
def test_a_budget_whose_floor_is_above_its_share_bounds_no_storm(budget, is_one):
    overloaded = {"circuit_breaker": OFF, "retry": {"budget": budget}, "provider": {"capacity": 10, "latency": 0.25}}
    rules = [found.rule for found in lint("email", ChannelConfig(**overloaded), Traffic(per_s=20))]
    assert ("retries-overload-provider" in rules) is not is_one
    assert ("budget-floor-above-share" in rules) is (budget is not None and not is_one)


@pytest.mark.parametrize("shape", [0.5, 1, 4])
def test_who_gives_up_sooner_frees_slots_and_no_places(shape):
    settings = {
        "timeout": 3,
        "max_in_flight": 1,
        "provider": {"latency": {"gamma": {"mean": 5, "shape": shape}}, "capacity": 2},
    }
    texts = dict(text.split(": ", 1) for text in said(settings, per_s=1))
    assert texts["provider.capacity"] == (
        "2 places at a mean latency of 5s serve 24/min, and 1/s arrive: the queue grows by 36 a minute"
    )
    before = float(re.match(r"1 slot at a mean latency of ([\d.]+)s lets through", texts["max_in_flight"])[1])
    assert before < 3


@pytest.mark.parametrize(
    ("breaker", "fail"),
    [
        ({"per": "channel", "failure_threshold": 6}, "6 failures in a row"),
        ({"per": "channel", "window": {"calls": 20}, "failure_rate": 0.5}, "failures of 50% of the calls"),
        ({"per": "host"}, None),
        ({"per": "channel", "enabled": False}, None),
        ({"per": "channel", "initial_state": "metrics-only"}, None),
        ({}, None),
    ],
)
def test_a_breaker_for_all_hosts_is_said_of_webhooks(breaker, fail):
    config = ChannelConfig.model_validate({"circuit_breaker": breaker})
    text = (
        "channels.webhook.circuit_breaker.per: channel, where each recipient chooses a host: "
        f"{fail} at one of them stop all others for 60s"
    )
    texts = [] if fail is None else [text]
    assert [str(finding) for finding in lint("webhook", config)] == texts
    assert lint("push", config) == []
    by_web_push = [str(finding) for finding in lint("push", config, Traffic(chooses_hosts=True))]
    assert by_web_push == [text.replace("webhook", "push") for text in texts]


def test_a_further_provider_may_be_the_one_that_says_so():
    config = ChannelConfig.model_validate({"failover": {"b": {"circuit_breaker": {"per": "channel", "timeout": 45}}}})
    assert [str(finding) for finding in lint("webhook", config)] == [
        "channels.webhook.failover.b.circuit_breaker.per: channel, where each recipient chooses a host: 5 failures in "
        "a row at one of them stop all others for 45s"
    ]


def test_a_finding_is_its_path_and_its_text():
    assert (
        str(Finding(("channels", "sms", "timeout"), "too-short", Said("is short"))) == "channels.sms.timeout: is short"
    )


DURATIONS = st.floats(1e-9, 1e9)


@given(
    retry=st.fixed_dictionaries(
        {
            "max_attempts": st.integers(1, 10**9),
            "initial_delay": DURATIONS,
            "jitter": st.sampled_from(["none", "full", "equal", "decorrelated", "proportional", "additive", "soft"]),
        },
        optional={
            "max_elapsed": DURATIONS,
            "budget": st.sampled_from([{"kind": kind} for kind in ("grpc", "aws", "finagle", "envoy", "token_bucket")]),
        },
    ),
    breaker=st.fixed_dictionaries(
        {"when_open": st.sampled_from(["wait", "fail"])},
        optional={"timeout": DURATIONS, "window": st.builds(lambda width: {"time": width}, DURATIONS)},
    ),
    timeout=DURATIONS,
    failure_rate=st.floats(0, 1),
    latency=st.one_of(
        DURATIONS,
        st.builds(
            lambda minimum, alpha: {"pareto": {"minimum": minimum, "alpha": alpha}}, DURATIONS, st.floats(0.01, 9)
        ),
        st.builds(lambda mean, shape: {"gamma": {"mean": mean, "shape": shape}}, DURATIONS, st.floats(0.01, 1e9)),
        st.builds(lambda low, times: {"lognormal": {"median": low, "p99": low * times}}, DURATIONS, st.floats(1, 1e9)),
    ),
    others=st.fixed_dictionaries(
        {},
        optional={
            "hedging": st.builds(lambda delay: {"delay": delay}, DURATIONS),
            "adaptive_rate": st.just({"maximum_rate": "3/s"}),
            "concurrency_limit": st.just({"maximum": 20}),
            "fallback": st.builds(lambda after: {"channel": "sms", "after": after}, DURATIONS),
            "failover": st.sampled_from([{"b": {}}, {"b": {"quota": None}, "c": {"timeout": 3, "max_in_flight": 1}}]),
        },
    ),
    per_s=st.none() | st.floats(1e-12, 1e9),
    lasts_s=st.none() | DURATIONS,
    expires_after=st.none() | DURATIONS,
)
def test_whatever_the_settings_it_ends_and_says_something_readable(
    retry, breaker, timeout, failure_rate, latency, others, per_s, lasts_s, expires_after
):
    settings = {
        "retry": retry,
        "circuit_breaker": breaker,
        "timeout": timeout,
        "max_in_flight": 7,
        "rate_limit": {"rate": "1/s"},
        "quota": {"rate": "5/min"},
        "provider": {"latency": latency, "failure_rate": failure_rate, "capacity": 5},
        **others,
    }
    traffic = {"per_s": per_s, "users": 3, "lasts_s": lasts_s, "expires_after": expires_after}
    for text in said(settings, **traffic):
        assert len(text) < 400
        assert not {"nan", "inf", "None", "e+"} & set(text.replace(",", " ").split())


@pytest.mark.integration
def test_importing_it_is_light():
    heavy = ("pydantic", "trio", "pandas")
    code = f"import sys, actors.lint.channel; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
