"""When a run has ended: not while anything dead-lettered is just about to go out another way."""

import pytest

import simulation
from simulation.scenario import parse


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_what_falls_back_last_is_sent_too(runtime):
    scenario = parse("""
duration: 10s
workload: [{channel: push, arrivals: {times: [1s]}}]
channels:
  push: {retry: {max_attempts: 2, initial_delay: 20s}, fallback: {channel: sms}}
  sms: {provider: {latency: 2s}}
faults: [{channel: push, permanent_rate: 100%}, {channel: push, outage: true}]
""")
    summary = simulation.run(scenario, runtime=runtime).summary
    assert (summary["in_flight"], summary["sent"], summary["channels"]["sms"]["sent"]) == (0, 1, 1)


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_what_is_still_being_accepted_is_sent_too(runtime):
    scenario = parse("""
duration: 10s
commit_latency: 500ms
workload: [{channel: push, arrivals: {times: [9.9s]}}]
""")
    summary = simulation.run(scenario, runtime=runtime).summary
    assert (summary["accepted"], summary["in_flight"], summary["sent"]) == (1, 0, 1)


@pytest.mark.parametrize("kind", ["random_walk: true", "pct: {depth: 3, steps: 20}"])
def test_what_the_last_order_leads_to_is_awaited_in_any_order(kind):
    for seed in range(20):
        scenario = parse(f"""
duration: 10s
seed: {seed}
workload: [{{channel: push, arrivals: {{times: [1s, 1s, 1s]}}}}]
channels: {{push: {{retry: {{max_attempts: 1}}}}}}
faults: [{{channel: push, for: 5s, outage: true}}]
operations: [{{at: 1m, redrive: all}}]
schedule: {{{kind}}}
""")
        assert simulation.run(scenario).summary["sent"] == 3


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_what_the_last_order_discards_is_gone_from_the_store_too(runtime):
    scenario = parse("""
duration: 10s
commit_latency: 500ms
workload: [{channel: push, arrivals: {times: [1s]}}]
channels: {push: {retry: {max_attempts: 1}}}
faults: [{channel: push, for: 5s, outage: true}]
operations: [{at: 1m, discard: all}]
""")
    result = simulation.run(scenario, runtime=runtime, invariants="all")
    assert [type(event).__name__ for event in result.history][-1] == "DeadLetterDiscarded"


ONE_AT_A_TIME = """
duration: 30s
max_pending: 1
workload: [{channel: sms, arrivals: {times: [0s, 2s, 4s, 6s]}}]
channels: {sms: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}, provider: {latency: 100ms}}}
faults: [{channel: sms, for: 10s, outage: true}]
operations: [{at: 40s, redrive: all}]
schedule: {random_walk: true}
"""


@pytest.mark.parametrize("seed", range(8))
def test_redrives_that_wait_for_room_are_carried_out_before_the_end(seed):
    result = simulation.run(parse(ONE_AT_A_TIME, seed=seed), invariants="all")
    assert (len(result.history) > 0, result.summary["sent"]) == (True, 4)
