"""What is left of a run when it has ended: its result, and no actor."""

import pytest

from actors.errors import InvariantBreach
from simulation.running import runner
from simulation.scenario import parse

SCENARIO = """
duration: 10s
drain: 5s
workload: [{channel: email, arrivals: {constant: 1/s}}]
channels: {email: {provider: {failure_rate: 100%}, retry: {initial_delay: 1m}}}
"""


@pytest.fixture
def systems(monkeypatch):
    """The systems that runs were built on."""
    systems = []
    build = runner.build

    def build_and_note(system, *args, **kwargs):
        systems.append(system)
        return build(system, *args, **kwargs)

    monkeypatch.setattr(runner, "build", build_and_note)
    return systems


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_its_actors_are_stopped_and_what_was_in_flight_is_in_the_result(systems, runtime):
    result = runner.run(parse(SCENARIO, "ten.yaml"), runtime=runtime)
    (system,) = systems
    assert system.has_ended
    assert (result.summary["in_flight"], result.summary["simulated_s"]) == (10, 15.0)


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_also_when_it_broke_an_invariant(systems, runtime, monkeypatch):
    def breaks(*_):
        raise InvariantBreach("a bug")

    monkeypatch.setattr("simulation.running.workload.Source.on_start", breaks)
    with pytest.raises(InvariantBreach, match="a bug"):
        runner.run(parse(SCENARIO, "ten.yaml"), runtime=runtime)
    (system,) = systems
    assert system.has_ended
