"""Runs that look wrong and are not: each was a breach once that was none."""

import pytest
from histories import EMAIL, made
from worlds import Scripted

import simulation
from actors.settings.channel import ChannelConfig
from simulation.invariants.lifecycles import Lifecycles
from simulation.invariants.watching import ObservedProvider
from simulation.scenario.loading import parse

STAGE_DOWN_WHEN_PROBES_ARE_OVERDUE = """\
seed: 1
duration: 60s
workload:
  - {channel: sms, arrivals: {poisson: 1/s}, users: 10}
channels:
  sms:
    retry: {max_attempts: 5, initial_delay: 1s}
    circuit_breaker: {failure_threshold: 3, timeout: 3s, half_open_max: 4s, half_open_then: open}
    timeout: 20s
    provider: {latency: 6s}
faults:
  - {channel: sms, at: 5s, for: 13s, outage: true}
  - {channel: sms, at: 18s, crash: {actor: breaker}, restart_after: 900ms}
"""
"""Half-open since 14.6 s, so open again at 18.6 s, which is said at 18.9 s; half-open at 21.6 s."""

STEPS_AT_THE_INSTANT_OF_ARRIVALS = """\
start: 2026-01-05T20:59:00Z
duration: 1s
workload:
  - {channel: push, arrivals: {times: [0s, 0s, 0s]}, users: 3}
channels:
  push: {}
quiet_hours:
  - {share: 100%, from: 22:00, to: 07:00, zone: Europe/Berlin, channels: [push]}
faults:
  - {channel: push, clock_step: 10m}
schedule: {random_walk: true}
"""
"""In some orders an attempt is on its way to the provider when the clock on the wall steps into the quiet hours."""

SECOND_WHILE_ITS_ID_IS_ACCEPTED_AGAIN = """\
duration: 2m
remember_ids: 1m
commit_latency: 20ms
workload:
  - {channel: push, repeats: 100%, arrivals: {times: [0s, 64.2s, 64.2s]}}
"""
"""At 64.2 s the id has been forgotten, and is accepted once more; what comes then is of that one."""

REFUSED_WHILE_A_FALLBACK_IS_ACCEPTED = """\
duration: 2s
max_pending: 1
commit_latency: 20ms
workload:
  - {channel: webhook, arrivals: {times: [0s]}}
  - {channel: sms, arrivals: {times: [70ms]}}
channels:
  webhook:
    retry: {max_attempts: 1}
    fallback: {channel: push}
  push: {}
  sms: {}
faults:
  - {channel: webhook, permanent_rate: 100%}
"""
"""The fallback is accepted from 60 ms on, which is recorded at 80 ms: there is no room for another one in between."""

BEHIND_ONE_WHOSE_TURN_IT_IS = """\
seed: 3
duration: 10s
workload:
  - {channel: push, users: 3, arrivals: {times: [0s, 0s, 0s, 0s, 0s, 0s, 3.6s, 3.6s, 3.6s, 3.6s, 3.6s, 3.6s, 5.4s, 5.4s,
      5.4s, 5.4s, 5.4s, 5.4s, 7.2s, 7.2s, 7.2s, 7.2s, 7.2s, 7.2s, 9s, 9s, 9s, 9s, 9s, 9s]}}
channels:
  push: {rate_limit: {rate: 1/s}}
"""
"""At 9 s another one of the same user has waited for its second turn, which is then; one that comes waits behind it."""

BEHIND_A_STAGE_THAT_IS_DOWN = """\
duration: 20s
workload:
  - {{channel: email, arrivals: {{times: [2s, 4s]}}, users: 1, priority: normal}}
  - {{channel: email, arrivals: {{times: [3s]}}, users: 1, priority: critical}}
channels:
  email: {{rate_limit: {{rate: 5/s}}, max_in_flight: 1, provider: {{latency: 10ms}}}}
faults:
  - {{channel: email, at: 1s, crash: {{actor: {actor}}}, restart_after: 10s}}
"""
"""What lies in its mailbox is in no line yet: at 11 s the first that came goes, though another one is more urgent."""

WAITS_AS_LONG_AS_A_SCRIPT_SAYS = """\
duration: 2h
workload:
  - {channel: push, arrivals: {times: [0s, 1h]}}
channels:
  push: {provider: {script: [{outcome: transient, retry_after: 2h}]}}
"""

EXPIRES_BEFORE_THE_WAIT_OF_A_SCRIPT = """\
duration: 1m
workload:
  - {channel: push, arrivals: {times: [0s]}, expires_after: 30m}
channels:
  push: {provider: {script: [{outcome: transient, retry_after: 2h}]}}
"""

FAULTS_OF_A_SCRIPT = f"""\
duration: 2h
workload:
  - {{channel: push, arrivals: {{times: [0s, 1h]}}}}
channels:
  push: {{provider: {{script: [{", ".join(["{outcome: channel_fault}"] * 100)}]}}}}
"""
"""None of them uses up an attempt, and each opens the breaker for a minute."""

TOO_MANY_LETTERS_ONE_AFTER_THE_OTHER = """\
duration: 3s
commit_latency: 754ms
workload:
  - {channel: email, arrivals: {times: [0s, 100ms, 200ms, 300ms, 500ms, 900ms, 1s, 1.1s, 2s]}}
channels: {email: {retry: {max_attempts: 1}}}
faults: [{channel: email, outage: true}]
dead_letters: {at_most: 2}
"""
"""While one that is too many is on its way out, others come: there are always too many, and none of them for long."""

LETTERS_ON_THEIR_WAY_OUT_AT_THE_END = """\
seed: 1
duration: 3.78s
commit_latency: 380ms
workload:
  - {channel: email, arrivals: {poisson: 10.8/s}, expires_after: 1ms}
channels: {email: {}}
faults: [{channel: email, at: 3.23s, crash: process, restart_after: 30s}]
dead_letters: {at_most: 1}
"""
"""What was to be discarded when the process crashed is to be once more when it is back, and is not by the end."""

FALLBACK_OF_ONE_WITH_ANOTHER_RECIPIENT = """\
duration: 1m
workload: [{channel: push, arrivals: {times: [1s]}, expires_after: 3s}]
channels: {push: {retry: {max_attempts: 1}, fallback: {channel: sms}}, sms: {}}
faults: [{channel: push, outage: true}]
operations:
  - {at: 0s, channel: push, breaker: force-open}
  - {at: 20s, channel: push, breaker: close}
  - {at: 30s, redrive: all, edit: {recipient: user-0}}
"""
"""It expires at first, with no time left for a fallback. The operator's recipient is its user then, by default."""

FALLBACK_OF_ONE_THAT_WAS_READ_BY_ANOTHER_CALENDAR = """\
start: 2026-01-05T12:00:00Z
duration: 1s
workload: [{channel: push, arrivals: {times: [0s]}, expires_after: 30s}]
channels:
  push: {retry: {max_attempts: 2, initial_delay: 20s}, fallback: {channel: sms}}
  sms: {}
faults:
  - {channel: push, failure_rate: 100%}
  - {channel: push, at: 10s, clock_step: "-24h"}
  - {channel: push, at: 11s, crash: {actor: handler}}
"""
"""A handler that starts has it wait for its retry once more, so both go later."""

FALLBACK_OF_ONE_THAT_EXPIRES_NO_MORE = """\
duration: 1s
remember_ids: 1s
workload: [{channel: sms, arrivals: {times: [0s]}, expires_after: 10s}]
channels:
  sms: {retry: {max_attempts: 1}, circuit_breaker: {when_open: fail}, fallback: {channel: push}}
  push: {}
faults: [{channel: sms, outage: true}]
operations:
  - {at: 20s, channel: sms, breaker: force-open}
  - {at: 20s, channel: push, breaker: force-open}
  - {at: 30s, redrive: all, served: include, edit: {expires_after: null}}
  - {at: 40s, channel: push, breaker: close}
"""
"""The edited one has come to no provider when the fallback goes in its place once more, and waits."""

FIRST_ATTEMPTS_THAT_COME_TWICE = """\
seed: 3
duration: 5s
workload: [{channel: sms, arrivals: {constant: 2/s}}]
channels:
  sms:
    retry: {max_attempts: 2, initial_delay: 1s, budget: {kind: finagle, share: 100%, min_rate: 0.1/s}}
    provider: {latency: 100ms, failure_rate: 60%}
faults: [{channel: sms, duplicate_rate: 20%}]
"""
"""A first attempt puts into the budget also where the stages are those that look out for what comes twice."""

COPIES_THAT_NOTHING_IS_CHARGED_FOR = """\
seed: 3
duration: 5s
workload: [{channel: sms, arrivals: {constant: 2/s}}]
channels:
  sms:
    retry: {max_attempts: 2, initial_delay: 1s, budget: {kind: token_bucket, share: 0.5, capacity: 5}}
    hedging: {max_attempts: 2, delay: 1s}
    provider: {latency: {exponential: {mean: 700ms}}, failure_rate: 60%}
faults: [{channel: sms, duplicate_rate: 20%}]
"""
"""What comes to the channel twice is sent twice, and is a copy to nobody who does not look at the messages."""

NOT_WANTED_WHEN_ITS_TURN_COMES = """\
seed: 6
start: 2026-01-05T20:59:55Z
duration: 3s
drain: 1d
workload: [{channel: webhook, arrivals: {poisson: 10/s}, users: 12, hosts: 2}]
channels: {webhook: {quota: {rate: 1/s}}}
quiet_hours: [{share: 40%, from: 22:00, to: 07:00, zone: Europe/Berlin, channels: [webhook]}]
"""
"""A turn is one attempt: whoever goes back to wait for the morning leaves it to the next of its host."""

LETTER_WHOSE_RETENTION_HAS_JUST_ENDED = """\
duration: 1s
commit_latency: 300ms
workload: [{channel: email, arrivals: {times: [0s]}}]
channels: {email: {retry: {max_attempts: 1}}}
faults: [{channel: email, outage: true}]
dead_letters: {keep: 350ms}
"""
"""It dies at 0.6 s, is discarded at 0.95 s, and that is durable at 1.25 s."""

COPY_AFTER_A_SUCCESS_THAT_IS_NOT_DURABLE = """\
duration: 1s
commit_latency: 400ms
workload: [{channel: sms, arrivals: {times: [0s, 200ms]}}]
channels:
  sms:
    retry: {budget: {kind: aws, capacity: 14}}
    hedging: {max_attempts: 2, delay: 500ms}
    provider: {script: [{latency: 1s}, {latency: 1s}, {latency: 100ms}, {latency: 100ms}]}
"""
"""A copy takes all of the budget at 0.9 s, and gives it back at 1 s; so there is a second one at 1.1 s."""

ROOM_FOR_A_TENANT_WHILE_OTHERS_RESUME = """\
duration: 2s
workload: [{channel: email, tenants: 1, arrivals: {times: [0s, 1s, 1s, 1s, 1s, 1s, 1s]}}]
channels:
  email:
    tenant: {max_in_flight: 2}
    circuit_breaker: {failure_threshold: 1, timeout: 5s}
    retry: {initial_delay: 1m}
    provider: {script: [{outcome: transient}, {latency: 500ms}, {latency: 500ms}, {latency: 420ms}]}
"""
"""Two resume at 5.5 s and 5.6 s, and the others find their tenant full. It has room at 6 s and at 6.02 s."""

AGAIN_AFTER_ANOTHER_NODE_HAS_DISCARDED_IT = """\
duration: 30s
remember_ids: 10s
nodes: {count: 3, routing: by_user}
workload: [{channel: email, arrivals: {times: [0s, 20s]}, users: 1, repeats: 100%}]
channels: {email: {rate_limit: {rate: 1/s}, retry: {max_attempts: 1}}}
faults: [{channel: email, for: 10s, outage: true}]
operations: [{at: 5s, discard: all}]
"""

COPIES_WHILE_ANOTHER_NODE_CRASHES = """\
duration: 1s
nodes: {count: 2, routing: round_robin}
workload: [{channel: push, arrivals: {times: [0s]}}]
channels:
  push:
    hedging: {max_attempts: 4, delay: 300ms}
    provider: {script: [{latency: 2s}, {outcome: transient, latency: 400ms}, {latency: 2s}, {latency: 100ms}]}
faults: [{channel: push, at: 500ms, node: 2, crash: process, restart_after: 1s}]
"""
"""The fourth goes at 0.7 s, as the second has failed then."""

BUDGET = """\
duration: 60s
commit_latency: {latency}
workload: [{{channel: sms, arrivals: {{poisson: 3/s}}}}]
channels:
  sms:
    retry: {{max_attempts: 3, budget: {{{budget}}}}}
    circuit_breaker: {{enabled: false}}
    {more}
faults: [{fault}]
schedule: {{random_walk: true}}
"""

TOKENS = "kind: token_bucket, share: 0.3, capacity: 2"
FAILING = "provider: {latency: 200ms, failure_rate: 0.4}"
UNSTEADY = "hedging: {delay: 100ms}\n    provider: {latency: {exponential: {mean: 100ms}}, failure_rate: 0.3}"
LATE = "{channel: sms, reorder: {delay: {exponential: {mean: 2ms}}}}"

FIRST_ATTEMPTS_THAT_COME_LATE = BUDGET.format(latency="0s", budget=TOKENS, more=FAILING, fault=LATE)

RETRIES_THAT_ARE_NOT_DURABLE = BUDGET.format(latency="150ms", budget=TOKENS, more=FAILING, fault="")
"""A first attempt fills the bucket, which is full by what is durable, and has something taken out by what is not."""

REFUSED_BEFORE_OTHERS_HAVE_SET_OUT = "seed: 1\n" + BUDGET.format(
    latency="1s", budget="kind: finagle, share: 0.2, min_rate: 1/10s, ttl: 15s", more=FAILING, fault=""
)
"""That a retry is refused is durable a second later; meanwhile first attempts have put something into the budget."""

COPIES_OF_WHAT_A_HANDLER_SENT_THAT_HAS_CRASHED = BUDGET.format(
    latency="0s",
    budget=TOKENS,
    more=UNSTEADY,
    fault="{channel: sms, at: 30s, crash: {actor: handler}, restart_after: 1s}",
)
"""They are charged to its budget, which is gone."""

DELIVERED_BY_A_COPY = """\
duration: 10s
workload: [{channel: sms, arrivals: {times: [0s, 1s, 2s, 3s, 4s, 6s, 7s]}}]
channels:
  sms:
    retry: {budget: {kind: grpc, max_tokens: 10, token_ratio: 0.9}}
    circuit_breaker: {enabled: false}
    hedging: {max_attempts: 2, delay: 300ms}
    provider:
      script:
        - {outcome: transient, retry_after: 1m}
        - {outcome: transient, retry_after: 1m}
        - {outcome: transient, retry_after: 1m}
        - {outcome: transient, retry_after: 1m}
        - {latency: 5s}
        - {latency: 100ms}
        - {outcome: transient, retry_after: 1m}
        - {outcome: transient, retry_after: 1m}
"""
"""The success of a copy is that of its attempt, to the budget: there are 6.9 tokens at 4.4 s."""

TRIED_FOR_LONGER_BY_THE_CALENDAR = """\
duration: 10s
workload: [{channel: email, arrivals: {times: [0s]}}]
channels:
  email:
    retry: {max_attempts: 20, max_elapsed: 4s, initial_delay: 500ms, backoff: constant}
    provider: {failure_rate: 100%}
faults:
  - {channel: email, at: 1s, clock_step: -1h}
  - {channel: email, at: 2s, crash: process, restart_after: 500ms}
"""
"""By the calendar it was accepted in an hour, so for whoever finds it in the store it has been accepted now."""

EXPIRES_BEFORE_ITS_TENANT_S_TURN = """\
duration: 10s
workload: [{channel: push, arrivals: {constant: 1/s}, tenants: 1, expires_after: 3s}]
channels: {push: {circuit_breaker: {enabled: false}, tenant: {rate: 1/10s}}}
"""

PROBE_FOR_ONE_WHO_HAS_THE_ONLY_SLOT_ELSEWHERE = """\
duration: 20s
workload:
  - {channel: email, arrivals: {times: [0s, 2s]}, users: 1, priority: critical}
  - {channel: email, arrivals: {times: [1s, 3s]}}
channels:
  email:
    order: {fair_by: user}
    max_in_flight: 1
    timeout: 2m
    retry: {initial_delay: 60s}
    provider: {latency: 1m}
    failover:
      backup: {max_in_flight: 4, circuit_breaker: {failure_threshold: 1, timeout: 10s}, provider: {latency: 100ms}}
faults: [{channel: email, provider: backup, at: 0s, for: 2500ms, outage: true}]
"""
"""The critical one has no slot at the first provider, where its user has one already: at the backup it is its turn."""

BOTH_CHANNELS_CRASH_AT_ONCE = """\
duration: 3s
workload: [{channel: push, arrivals: {times: [1s]}, tenants: 1}]
channels: {push: {tenant: {max_in_flight: 2}, timeout: 30s, provider: {latency: 6s}, failover: {backup: {}}}}
faults: [{channel: push, at: 1500ms, crash: {actor: channel}}]
"""
"""It is sent again for each of them: what was sent for the first, and has not come to the breaker, goes nowhere."""

RETRIED_BEHIND_THE_BOUNDS_OF_TENANTS = """\
duration: 30s
workload: [{channel: sms, arrivals: {constant: 1/s}}]
channels:
  sms:
    tenant: {max_in_flight: 5}
    retry: {max_attempts: 2, budget: {kind: finagle, share: 100%, min_rate: null}}
    circuit_breaker: {enabled: false}
    provider: {failure_rate: 30%}
"""
"""Without a limit for users, the bounds of tenants are what an attempt comes to first."""

COPY_THAT_WAITS_FOR_ITS_TENANT = """\
duration: 10m
workload: [{channel: email, arrivals: {constant: 5/m}, tenants: 1}]
channels: {email: {tenant: {rate: 1/10s}, provider: {latency: 10ms}}}
faults:
  - channel: email
    duplicate_rate: 100%
    reorder: {delay: {mixture: [{constant: 0s, weight: 4}, {constant: 3s, weight: 1}]}}
"""
"""The attempt has ended by then, so nobody is told that it waits."""

QUIET_AGAIN_WHEN_OTHERS_END = """\
start: 2026-01-05T06:00:00Z
duration: 10s
workload: [{channel: sms, arrivals: {times: [1s]}, expires_after: 20h}]
quiet_hours:
  - {share: 100%, from: 22:00, to: 07:00}
  - {share: 100%, from: 05:00, to: 23:00}
"""
"""Those of the night are over at seven, and have begun again when those of the day end."""

QUIET_ROUND_THE_CLOCK = """\
start: 2026-01-05T21:30:00Z
duration: 10s
drain: 1440h
workload: [{channel: sms, arrivals: {times: [1s]}}]
quiet_hours:
  - {share: 100%, from: 22:00, to: 07:00, zone: Europe/Berlin}
  - {share: 100%, from: 00:00, to: 16:04, zone: America/New_York}
"""
"""The second begins an hour before the first ends, and ends four minutes after that has begun again."""

HARDLY_EVER_AWAKE = """\
start: 2026-01-05T12:00:00Z
duration: 250h
drain: 600h
workload: [{channel: sms, arrivals: {times: [0s, 240h]}}]
channels:
  sms:
    retry: {max_attempts: 20, initial_delay: 11m, backoff: constant, max_delay: 11m}
    circuit_breaker: {enabled: false}
    provider: {failure_rate: 100%}
quiet_hours: [{share: 100%, from: 00:10, to: 00:00, zone: UTC}]
"""
"""Ten minutes a day, for one attempt."""

UNDER_WAY_AT_ONCE = """\
duration: 1s
workload: [{channel: email, arrivals: {times: [0s]}}]
channels:
  email:
    retry: {max_attempts: 1}
    fallback: {channel: sms}
    timeout: 1m
    provider: {script: [{outcome: permanent}, {latency: 20s}]}
  sms: {retry: {max_attempts: 2, initial_delay: 10s}, fallback: {channel: push}, provider: {failure_rate: 100%}}
  push: {provider: {latency: 20s}, timeout: 1m}
operations: [{at: 5s, redrive: all, served: include}]
"""
"""An operator has redriven it while its fallback was under way, which fails at 10 s; it is sent at 25 s."""

OLDER_THAN_A_CRITICAL_ONE = """\
duration: 30s
workload:
  - {channel: email, arrivals: {times: [6s, 7s]}}
  - {channel: email, arrivals: {times: [16s]}, priority: critical}
channels:
  email:
    max_in_flight: 1
    order: {kind: strict, aging: 4s}
    timeout: 1m
    provider: {latency: 11s}
faults: [{channel: email, at: 5s, crash: process, restart_after: 500ms}]
"""
"""The second has waited since 7 s, which was at once: all is up again by then, and might be no sooner than 15 s."""


@pytest.mark.parametrize(
    "scenario",
    [
        OLDER_THAN_A_CRITICAL_ONE,
        FIRST_ATTEMPTS_THAT_COME_LATE,
        RETRIES_THAT_ARE_NOT_DURABLE,
        REFUSED_BEFORE_OTHERS_HAVE_SET_OUT,
        COPIES_OF_WHAT_A_HANDLER_SENT_THAT_HAS_CRASHED,
        DELIVERED_BY_A_COPY,
        TRIED_FOR_LONGER_BY_THE_CALENDAR,
        EXPIRES_BEFORE_ITS_TENANT_S_TURN,
        PROBE_FOR_ONE_WHO_HAS_THE_ONLY_SLOT_ELSEWHERE,
        BOTH_CHANNELS_CRASH_AT_ONCE,
        RETRIED_BEHIND_THE_BOUNDS_OF_TENANTS,
        COPY_THAT_WAITS_FOR_ITS_TENANT,
        QUIET_AGAIN_WHEN_OTHERS_END,
        QUIET_ROUND_THE_CLOCK,
        HARDLY_EVER_AWAKE,
        UNDER_WAY_AT_ONCE,
        COPIES_WHILE_ANOTHER_NODE_CRASHES,
        AGAIN_AFTER_ANOTHER_NODE_HAS_DISCARDED_IT,
        COPY_AFTER_A_SUCCESS_THAT_IS_NOT_DURABLE,
        ROOM_FOR_A_TENANT_WHILE_OTHERS_RESUME,
        LETTER_WHOSE_RETENTION_HAS_JUST_ENDED,
        NOT_WANTED_WHEN_ITS_TURN_COMES,
        FIRST_ATTEMPTS_THAT_COME_TWICE,
        COPIES_THAT_NOTHING_IS_CHARGED_FOR,
        FALLBACK_OF_ONE_WITH_ANOTHER_RECIPIENT,
        FALLBACK_OF_ONE_THAT_WAS_READ_BY_ANOTHER_CALENDAR,
        FALLBACK_OF_ONE_THAT_EXPIRES_NO_MORE,
        TOO_MANY_LETTERS_ONE_AFTER_THE_OTHER,
        LETTERS_ON_THEIR_WAY_OUT_AT_THE_END,
        SECOND_WHILE_ITS_ID_IS_ACCEPTED_AGAIN,
        REFUSED_WHILE_A_FALLBACK_IS_ACCEPTED,
        BEHIND_ONE_WHOSE_TURN_IT_IS,
        BEHIND_A_STAGE_THAT_IS_DOWN.format(actor="breaker"),
        BEHIND_A_STAGE_THAT_IS_DOWN.format(actor="limiter"),
        WAITS_AS_LONG_AS_A_SCRIPT_SAYS,
        EXPIRES_BEFORE_THE_WAIT_OF_A_SCRIPT,
        FAULTS_OF_A_SCRIPT,
    ],
)
def test_a_run_breaks_no_law(scenario):
    simulation.run(parse(scenario), invariants="all")


def test_a_breaker_is_open_from_when_its_probes_were_overdue_though_its_stage_was_down():
    result = simulation.run(parse(STAGE_DOWN_WHEN_PROBES_ARE_OVERDUE), invariants="all")
    times = {(each.cause, each.at_ns) for each in result.history if hasattr(each, "cause") and hasattr(each, "breaker")}
    assert ("probes-overdue", 18_900_000_000) in times


@pytest.mark.parametrize("seed", [7, 8, 12])
def test_what_set_out_just_before_the_wall_clock_stepped_was_wanted(seed):
    simulation.run(parse(STEPS_AT_THE_INSTANT_OF_ARRIVALS, seed=seed), invariants="all")


def test_a_copy_has_what_is_left_of_the_time_of_its_attempt():
    """A provider that takes nine seconds answers the first in time, and its copy two seconds later in none."""
    seen, lifecycles = [], Lifecycles()
    config = ChannelConfig.model_validate({"timeout": "10s", "hedging": {"max_attempts": 2, "delay": 1}})

    def note(observed):
        seen.append(observed)
        lifecycles.follow(observed)

    provider = ObservedProvider(Scripted(latency=9.0), EMAIL, "primary", config, lifecycles, note)
    one = made(0).attempt
    for now_s in (0, 2):
        provider.attempt(one, now_s * 1_000_000_000)
    assert [(each.answered, each.ends_at_ns) for each in seen] == [(True, 9_000_000_000), (False, 10_000_000_000)]


def test_a_copy_is_one_though_another_attempt_has_set_out_between():
    """Two channels have crashed at once, so the notification was sent anew twice, and each attempt has its copy."""
    seen, lifecycles = [], Lifecycles()
    config = ChannelConfig.model_validate({"hedging": {"max_attempts": 2, "delay": 1}})

    def note(observed):
        seen.append(observed)
        lifecycles.follow(observed)

    provider = ObservedProvider(Scripted(), EMAIL, "primary", config, lifecycles, note)
    one, other = made(0).attempt, made(0).attempt
    for now_ns, attempt in enumerate((one, other, one, other)):
        provider.attempt(attempt, now_ns)
    assert [each.is_copy for each in seen] == [False, False, True, True]
