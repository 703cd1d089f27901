"""A result is kept for what came of the run, and goes where the analyst takes it: into a list of many, or a process."""

import gc
import pickle

import pytest
from effort import sliced

import simulation
from actors.kernel.live import LiveSystem
from simulation.engine.system import SimulatedSystem
from simulation.results.result import TABLES

SCENARIO = """
duration: 20s
record: {record}
workload:
  - {{channel: email, arrivals: {{poisson: 5/s}}}}
  - {{channel: sms, clients: 2, think: 1s}}
channels: {{email: {{provider: {{failure_rate: 30%}}, failover: {{backup: {{}}}}}}, sms: {{}}}}
faults: [{{channel: all, at: 8s, crash: process, restart_after: 1s}}]
"""


def ran(record, runtime, **more):
    scenario = simulation.parse(SCENARIO.format(record=record))
    return simulation.run(
        scenario, runtime=runtime, invariants="all", progress=lambda _: None, on_events=lambda _: None, **more
    )


def systems():
    """Return the systems that are there, of what came into being since `gc.freeze`."""
    gc.collect()
    return [kept for kept in gc.get_objects() if isinstance(kept, (SimulatedSystem, LiveSystem))]


@pytest.mark.parametrize("runtime", sliced(["simpy", "trio"], 2))
@pytest.mark.parametrize("record", ["full", "aggregates"])
def test_it_keeps_none_of_the_actors_and_what_they_remember(record, runtime):
    gc.freeze()  # what tests before it have left would take a second to look through
    result = ran(record, runtime)
    assert not systems()
    assert result.summary["sent"] > 0


@pytest.mark.parametrize("runtime", sliced(["simpy", "trio"], 8, 2))
@pytest.mark.parametrize("record", ["full", "aggregates"])
def test_it_comes_out_of_a_pickle_as_it_was(record, runtime):
    result = ran(record, runtime)
    taken = pickle.loads(pickle.dumps(result))
    assert (repr(taken), taken.summary, taken.checked) == (repr(result), result.summary, result.checked)
    assert taken.history == result.history
    for name in TABLES:
        assert getattr(taken, name).equals(getattr(result, name)), name
    assert simulation.report(taken) == simulation.report(result)
