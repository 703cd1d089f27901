"""What holds for each provider is worked out again from what a file gives."""

from __future__ import annotations

import re

import pytest
from beside import tables

from actors.settings.channel import ChannelConfig
from simulation.invariants import Context
from simulation.scenario import Scenario, parse
from simulation.verification.laws.as_given import SettingsAsGiven
from simulation.verification.model.world import World

ACCOUNTS = "{shared: {throttle: {rate: 2.5/s}}, kept: {quota: {rate: 4/s}, throttle: {rate: 9/s}}}"


def scenario(config: str, channel: str = "email") -> Scenario:
    return parse(
        f"""
        name: given
        duration: 1m
        accounts: {ACCOUNTS}
        workload: [{{channel: {channel}, arrivals: {{constant: 1/s}}}}]
        channels: {{{channel}: {{{config}}}}}
        """
    )


def objection(given: Scenario, taken: Scenario) -> str | None:
    """Return what is said where settings are given, and others are taken for the same providers."""
    as_given = {channel: given.channel_as_given(channel) for channel in given.channels_used}
    channels = {channel: with_providers_of(own, taken.channel_config(channel)) for channel, own in as_given.items()}
    world = World(seed=1, epoch_ns=0, channels=channels, accounts=given.accounts)
    found = SettingsAsGiven(Context(channels=channels, as_given=as_given, world=world)).at_end(0)
    assert found is None or isinstance(found, str)
    return found


def with_providers_of(given: ChannelConfig, taken: ChannelConfig) -> ChannelConfig:
    others = {
        name: other.model_copy(update={"provider": given.failover[name].provider})
        for name, other in taken.failover.items()
    }
    return taken.model_copy(update={"provider": given.provider, "failover": others})


CASES = tables(__file__)["cases"]
OF_WEBHOOKS = [
    ("", "circuit_breaker: {per: channel}", "circuit_breaker of the primary .* wanted is .*'per': 'host'"),
    ("circuit_breaker: {per: channel}", "", "circuit_breaker of the primary .* wanted is .*'per': 'channel'"),
]


@pytest.mark.parametrize(
    ("channel", "given", "taken", "text"),
    [*(("email", *each) for each in CASES), *(("webhook", *each) for each in OF_WEBHOOKS)],
)
def test_what_is_not_as_it_is_given_is_said(channel: str, given: str, taken: str, text: str):
    ours = scenario(given, channel)
    assert objection(ours, ours) is None
    assert re.search(text, objection(ours, scenario(taken, channel)) or "")


def test_the_most_nodes_there_are():
    growing = parse("""
        name: grows
        duration: 1m
        nodes: 2
        workload: [{channel: email, arrivals: {constant: 1/s}}]
        faults: [{at: 9s, scale: {to: 4}}]
        """)
    world = World(seed=1, epoch_ns=0, channels={}, nodes=growing.fleet)
    right, wrong = (
        Context(channels={}, as_given={}, world=world, faults=growing.faults, nodes=nodes)
        for nodes in (growing.nodes_at_most, 2)
    )
    assert SettingsAsGiven(right).at_end(0) is None
    assert SettingsAsGiven(wrong).at_end(0) == "there are 2 nodes at most, and wanted are 4"
    assert not SettingsAsGiven.applies(Context(channels={}))
