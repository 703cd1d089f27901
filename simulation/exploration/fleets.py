"""Fleets of exploration: a case of the swarm at several nodes, which crash, are deployed, and become more or fewer."""

from __future__ import annotations

from random import Random
from typing import get_args

from actors.kernel.randomness import RandomStreams
from actors.settings.channel import ChannelConfig
from actors.settings.faults import NO_NODE_FAULT_KEYS, Deploy, FaultConfig, Scale
from simulation.scenario import Scenario
from simulation.scenario.nodes import NodesConfig, Routing


def as_fleet(scenario: Scenario, seed: int) -> Scenario:
    """Return a scenario at 2 to 5 nodes: its crashes hit some of them, and other faults may; a store commits at once.

    Args:
        scenario: with one process.
        seed: of what is drawn.
    """
    random = RandomStreams(seed).stream("swarm.fleet")
    count = random.choice((2, 3, 5))
    nodes = NodesConfig(
        count=count,
        routing=random.choice(get_args(Routing)),
        takeover_after=random.choice((0.001, 1.0, 10.0, 30.0)),
    )
    faults = [_at_nodes(fault, count, random) for fault in scenario.faults]
    if random.random() < 0.5:
        deploy = Deploy(
            each_down=random.choice((0.0, 1.0, 20.0)),
            every=random.choice((1.0, 7.0, 30.0)),
            drain=random.choice((0.0, 0.0, 0.5, 5.0)),
        )
        faults.append(FaultConfig.model_validate({"at": random.uniform(0.0, scenario.duration), "deploy": deploy}))
    if random.random() < 0.5:
        scale = Scale(to=random.randint(1, 6), drain=random.choice((0.0, 2.0)))
        faults.append(FaultConfig.model_validate({"at": random.uniform(0.0, scenario.duration), "scale": scale}))
    channels = {
        channel.value: _shared(scenario.channel_as_given(channel), random)
        for channel in scenario.channels_used
        if random.random() < 0.5
    }
    return scenario.model_copy(
        update={
            "nodes": nodes,
            "faults": tuple(faults),
            "commit_latency": 0.0,
            "channels": scenario.channels.model_copy(update=channels),
        }
    )


def _shared(config: ChannelConfig, random: Random) -> ChannelConfig:
    """Return settings of a channel whose breakers are shared, those of its further providers too."""
    update = {
        "shared": random.choice(("any", "quorum")),
        "share_latency": random.choice((0.0, 0.1, 1.0, 20.0)),
    }

    failover = {
        name: other
        if other.circuit_breaker is None
        else other.model_copy(update={"circuit_breaker": other.circuit_breaker.model_copy(update=update)})
        for name, other in config.failover.items()
    }
    breaker = config.circuit_breaker.model_copy(update=update)
    return config.model_copy(update={"circuit_breaker": breaker, "failover": failover})


def _at_nodes(fault: FaultConfig, count: int, random: Random) -> FaultConfig:
    """Return a fault that hits some nodes only: most crashes, and a few of the others that can."""
    if fault.injects & NO_NODE_FAULT_KEYS or random.random() > (0.8 if fault.crash is not None else 0.3):
        return fault
    some = random.sample(range(1, count + 1), random.randint(1, count))
    return fault.model_copy(update={"node": tuple(sorted(some))})
