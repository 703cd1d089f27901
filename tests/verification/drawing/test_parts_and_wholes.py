"""Cases in which what holds for a part meets what holds for the whole."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from fleets import as_fleet

from actors.settings.channel import FailoverConfig
from simulation.scenario import load, parse
from simulation.scenario.writing import write
from simulation.verification.drawing.parts_and_wholes import at_layers, at_places, unlike
from simulation.verification.drawing.swarm import case

SWARM = load(Path(__file__).parent / "swarm.yaml")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("change", [unlike, at_places, at_layers])
def test_it_is_a_file_that_can_be_read(seed, change):
    found = change(case(SWARM, seed, settings="drawn"), Random(seed))
    assert parse(write(found)) == found


def test_each_key_of_a_further_provider_is_left_out_null_and_its_own():
    """And so it is where its channel has one, and has none."""
    met = set()
    for seed in range(40):
        found = unlike(case(SWARM, seed, settings="given"), Random(seed))
        for channel in found.channels_used:
            config = found.channel_as_given(channel)
            for other in config.failover.values():
                for key in FailoverConfig.model_fields:
                    is_given, value = key in other.model_fields_set, getattr(other, key)
                    what = "left out" if not is_given else "null" if value is None else "own"
                    met.add((key, what, getattr(config, key) is not None))
    always = {"circuit_breaker", "timeout"}
    keys = FailoverConfig.model_fields.keys() - {"provider"}
    wanted = {(key, what, True) for key in keys for what in ("left out", "null", "own")}
    wanted |= {(key, what, False) for key in keys - always for what in ("left out", "null", "own")}
    assert met >= wanted


def test_a_provider_has_fewer_connections_than_slots_and_more():
    fewer, more = set(), set()
    for seed in range(20):
        found = unlike(case(SWARM, seed, settings="given"), Random(seed))
        for channel in found.channels_used:
            config = found.channel_as_given(channel)
            if config.slots is not None and config.provider.connections is not None:
                (fewer if config.provider.connections < config.slots else more).add(seed)
    assert fewer
    assert more


def test_faults_of_hosts_and_of_nodes_hold_at_one_instant():
    at_once = in_one = 0
    for seed in range(20):
        fleet = as_fleet(at_places(case(SWARM, seed, settings="given"), Random(seed)), seed)
        for channel in fleet.channels_used:
            faults = [fault for fault in fleet.faults if channel in fault.channel and fault.ends_at is not None]
            at_hosts = [fault for fault in faults if fault.host is not None]
            in_one += sum(fault.node is not None for fault in at_hosts)
            at_once += any(
                other.host is None and other.node is not None and other.at < fault.ends_at and fault.at < other.ends_at
                for fault in at_hosts
                for other in faults
            )
    assert in_one > 5
    assert at_once > 5
