"""When processes of the service are down: no event of a history tells when one is back."""

from __future__ import annotations

from typing import TypeAlias

from actors.instants import ns, seconds
from actors.settings.faults import FLEET_FAULT_KEYS, FaultConfig
from simulation.running.runner import run
from simulation.scenario import Scenario
from simulation.scenario.workload import ChannelWorkload

Downtimes: TypeAlias = dict[int, list[tuple[float, float]]]
"""From and to, in seconds from the start, by the number of a node; the only process is 1."""

_OF_PROCESSES = ("node", "at", "for_", "restart_after", *FLEET_FAULT_KEYS)


def downtimes(scenario: Scenario, end_s: float) -> Downtimes:
    """Return when nodes are down by the faults of a scenario, up to an instant; those that never are are left out.

    What comes and goes does not matter to that, so these faults are run on their own, without arrivals.
    """
    faults = tuple(
        FaultConfig.model_construct(
            crash="process" if fault.crash == "process" else None,
            **{key: getattr(fault, key) for key in _OF_PROCESSES},
        )
        for fault in scenario.faults
        if fault.crash == "process" or fault.injects & FLEET_FAULT_KEYS
    )
    if not faults or not end_s:
        return {}
    nothing = ChannelWorkload.model_validate({"channel": "email", "at": end_s, "arrivals": {"constant": "1/s"}})
    alone = Scenario(name=scenario.name, duration=end_s, nodes=scenario.nodes, faults=faults, workload=(nothing,))
    numbers = range(1, alone.nodes_at_most + 1)
    found: Downtimes = {}
    since_s: dict[int, float] = {}
    for at_ns, living in (*run(alone)._recorder.living, (ns(end_s), numbers)):
        for number in numbers:
            if number not in living:
                since_s.setdefault(number, seconds(at_ns))
            elif (from_s := since_s.pop(number, seconds(at_ns))) < seconds(at_ns):
                found.setdefault(number, []).append((from_s, seconds(at_ns)))
    return found
