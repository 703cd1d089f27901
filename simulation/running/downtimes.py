"""When processes of the service are down: no event of a history tells when one is back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from actors.instants import ns, seconds
from actors.settings.faults import FLEET_FAULT_KEYS, FaultConfig
from simulation.results.result import Result, RunResult
from simulation.running.runner import run as run_scenario
from simulation.scenario import Scenario
from simulation.scenario.workload import ChannelWorkload

Downtimes: TypeAlias = dict[int, list[tuple[float, float]]]
"""From and to, in seconds from the start, by the number of a node; the only process is 1."""

_OF_PROCESSES = ("node", "at", "for_", "restart_after", *FLEET_FAULT_KEYS)


def downtimes(scenario: Scenario, end_s: float, run: RunResult | None = None) -> Downtimes:
    """Return when nodes are down by the faults of a scenario, up to an instant; those that never are are left out.

    `run` is the result of its run, if there is one. One that was saved has no record of its processes: then their
    faults are run on their own, without arrivals, as what comes and goes does not matter to them.
    """
    faults = [fault for fault in scenario.faults if fault.crash == "process" or fault.injects & FLEET_FAULT_KEYS]
    if not faults or not end_s:
        return {}
    numbers = range(1, scenario.nodes_at_most + 1)
    found: Downtimes = {}
    since_s: dict[int, float] = {}
    changes = (run._recorder.living if isinstance(run, Result) else []) or _played(scenario, faults, end_s)
    for at_ns, living in (*changes, (ns(end_s), set(numbers))):
        for number in numbers:
            if number not in living:
                since_s.setdefault(number, seconds(at_ns))
            elif (from_s := since_s.pop(number, seconds(at_ns))) < seconds(at_ns):
                found.setdefault(number, []).append((from_s, seconds(at_ns)))
    return found


def _played(scenario: Scenario, faults: Sequence[FaultConfig], end_s: float) -> list[tuple[int, set[int]]]:
    alone = tuple(
        FaultConfig.model_construct(
            crash="process" if fault.crash == "process" else None,
            **{key: getattr(fault, key) for key in _OF_PROCESSES},
        )
        for fault in faults
    )
    nothing = ChannelWorkload.model_validate({"channel": "email", "at": end_s, "arrivals": {"constant": "1/s"}})
    played = Scenario(name=scenario.name, duration=end_s, nodes=scenario.nodes, faults=alone, workload=(nothing,))
    return run_scenario(played)._recorder.living
