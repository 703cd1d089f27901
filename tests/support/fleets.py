"""Fleets of exploration: a case of the swarm at several nodes, which crash, are deployed, and become more or fewer."""

from random import Random
from typing import get_args

from actors.kernel.randomness import RandomStreams
from actors.settings.channel import ChannelConfig
from actors.settings.faults import NO_NODE_FAULT_KEYS, Deploy, FaultConfig, Scale
from simulation.scenario import Scenario
from simulation.scenario.model import NodesConfig, Routing
from simulation.verification.drawing.numbers import log_uniform
from simulation.verification.drawing.rare_settings import divided
from simulation.verification.laws.lifecycles import PROCESS


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
    quotas = RandomStreams(seed).stream("swarm.quotas")
    for channel in scenario.channels_used:
        config = channels.get(channel.value, scenario.channel_as_given(channel))
        channels[channel.value] = divided(config, quotas)
    return scenario.model_copy(
        update={
            "nodes": nodes,
            "faults": tuple(faults),
            "commit_latency": 0.0,
            "channels": scenario.channels.model_copy(update=channels),
        }
    )


def at_odds(fleet: Scenario, seed: int) -> Scenario:
    """Return a fleet some of whose nodes see outages that others do not, and some of which go for good.

    Where nodes share breakers, it depends then on who counts and on what each has said.

    Args:
        fleet: of several nodes.
        seed: of what is drawn.
    """
    random = RandomStreams(seed).stream("swarm.odds")
    count, duration, faults = fleet.nodes_at_most, fleet.duration, list(fleet.faults)
    if random.random() < 0.5:
        gone = random.sample(range(1, count + 1), random.randint(1, max(1, count // 2)))
        faults.append(
            FaultConfig.model_validate(
                {
                    "channel": [channel.value for channel in fleet.channels_used],
                    "at": random.uniform(0.0, duration),
                    "crash": PROCESS,
                    "node": gone,
                    "restart_after": fleet.fleet.takeover_after + duration,
                }
            )
        )
    channels = {}
    for channel in fleet.channels_used:
        config = fleet.channel_as_given(channel)
        if config.circuit_breaker.shared == "none":
            continue
        update = {
            "window": None,
            "failure_threshold": random.randint(1, 2),
            "timeout": log_uniform(random, duration / 10, duration),
        }
        breaker = config.circuit_breaker.model_copy(update=update)
        channels[channel.value] = config.model_copy(update={"circuit_breaker": breaker})
        for _ in range(random.randint(1, 3)):
            outage = {
                "channel": channel.value,
                "at": random.uniform(0.0, duration),
                "for": log_uniform(random, duration / 10, duration),
                "node": random.sample(range(1, count + 1), random.randint(1, count)),
                "outage": True,
            }
            faults.append(FaultConfig.model_validate(outage))
    found = fleet.model_copy(update={"faults": tuple(faults), "channels": fleet.channels.model_copy(update=channels)})
    majorities = RandomStreams(seed).stream("swarm.majorities")
    return _with_less_than_a_majority(found, majorities) if channels and majorities.random() < 0.6 else found


def _with_less_than_a_majority(fleet: Scenario, random: Random) -> Scenario:
    """Return a fleet some of whose nodes see an outage, which are more than half when others have gone in it for good:
    what they say of their breakers counts from then on where it takes a majority."""
    count, duration, lease = max(4, fleet.fleet.count), fleet.duration, fleet.fleet.takeover_after
    nodes = random.sample(range(1, count + 1), count)
    gone = 1 if count % 2 == 0 else 2
    failing = (count - gone) // 2 + 1
    channels = [channel.value for channel in fleet.channels_used]
    at, before = random.uniform(0.0, duration), log_uniform(random, duration / 20, duration / 2)
    begins = max(0.0, at + lease - before)
    outage = {"at": begins, "for": before + duration, "node": nodes[gone : gone + failing], "outage": True}
    crash = {"at": at, "crash": PROCESS, "node": nodes[:gone], "restart_after": lease + 2 * duration}
    faults = [FaultConfig.model_validate({"channel": channels, **fault}) for fault in (outage, crash)]
    return fleet.model_copy(
        update={
            "nodes": fleet.fleet.model_copy(update={"count": count}),
            "faults": (*fleet.faults, *faults),
        }
    )


def cut_off(fleet: Scenario, seed: int) -> Scenario:
    """Return a fleet some of whose nodes, now and then, do not reach the store, for less than a lease or for more; and
    whose store may take its time.

    Args:
        fleet: of several nodes.
        seed: of what is drawn.
    """
    random = RandomStreams(seed).stream("swarm.partitions")
    count, duration, faults = fleet.nodes_at_most, fleet.duration, list(fleet.faults)
    for _ in range(random.randint(1, 3)):
        partition = {
            "at": random.uniform(0.0, duration),
            "for": log_uniform(random, fleet.fleet.takeover_after / 10, 3 * fleet.fleet.takeover_after),
            "partition": "store",
        }
        if random.random() < 0.8:
            partition["node"] = random.sample(range(1, count + 1), random.randint(1, count))
        faults.append(FaultConfig.model_validate(partition))
    latency = random.choice((0.0, 0.0, 0.0, 0.001, 0.05, 1.0))
    return fleet.model_copy(update={"faults": tuple(faults), "commit_latency": latency})


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
