"""An attempt that the handler has sent anew, since a stage crashed, gets no more copies."""

import pytest

import simulation
from actors.messages import NotificationSent
from simulation.scenario import parse


@pytest.mark.parametrize("victim", ["limiter", "breaker", "handler"])
def test_only_the_attempt_under_way_is_hedged(victim):
    scenario = parse(f"""
duration: 10s
workload: [{{channel: push, arrivals: {{times: [1s]}}}}]
channels:
  push: {{rate_limit: {{rate: 9/s}}, hedging: {{delay: 600ms}}, provider: {{latency: 2s}}}}
faults: [{{channel: push, at: 1.2s, crash: {{actor: {victim}}}}}]
""")
    simulated, live = (simulation.run(scenario, runtime=runtime, invariants="all") for runtime in ("simpy", "trio"))
    assert simulated.summary["digest"] == live.summary["digest"]
    (sent,) = [event for event in simulated.history if type(event) is NotificationSent]
    # Sent anew at 1.3 s, as soon as the stage is there again, and hedged once at 1.9 s: not at 1.6 s too.
    assert (sent.started_ns, sent.hedges) == (1_300_000_000, 1)
