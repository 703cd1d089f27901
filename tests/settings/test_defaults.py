"""Defaults that follow from the channel and its transports are filled in beside what was given."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from actors.messages import NotificationChannel
from actors.settings.channel import ChannelConfig
from actors.settings.defaults import Reach, filled_in

EMAIL, PUSH, WEBHOOK = NotificationChannel.EMAIL, NotificationChannel.PUSH, NotificationChannel.WEBHOOK
FOUR, PLENTY, ENDPOINTS = Reach(4), Reach(), Reach(100, recipients_choose_hosts=True)


def config_of(**settings: Any) -> ChannelConfig:
    return ChannelConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "reach", "slots"),
    [
        ({}, FOUR, 4),
        ({"timeout": 3, "circuit_breaker": {"timeout": 20}}, FOUR, 4),
        ({"max_in_flight": 2}, FOUR, 2),
        ({"max_in_flight": 50}, FOUR, 4),
        ({"max_in_flight": None}, FOUR, None),
        ({}, PLENTY, None),
        ({"max_in_flight": 50}, PLENTY, 50),
    ],
)
def test_a_bulkhead_is_as_large_as_the_transport_has_connections(settings, reach, slots):
    assert filled_in(EMAIL, config_of(**settings), {"primary": reach}).max_in_flight == slots


@pytest.mark.parametrize(
    ("channel", "breaker", "reach", "per"),
    [
        (WEBHOOK, {}, PLENTY, "host"),
        (WEBHOOK, {"failure_threshold": 3, "timeout": 20}, ENDPOINTS, "host"),
        (WEBHOOK, {"per": "channel"}, ENDPOINTS, "channel"),
        (PUSH, {}, ENDPOINTS, "host"),
        (PUSH, {"per": "channel"}, ENDPOINTS, "channel"),
        (PUSH, {}, PLENTY, "channel"),
        (EMAIL, {}, FOUR, "channel"),
        (EMAIL, {"per": "host"}, FOUR, "host"),
    ],
)
def test_breakers_are_per_host_where_recipients_choose_the_host(channel, breaker, reach, per):
    before = config_of(circuit_breaker=breaker)
    after = filled_in(channel, before, {"primary": reach}).circuit_breaker
    assert after == before.circuit_breaker.model_copy(update={"per": per})


def test_each_further_provider_has_the_slots_of_its_own_connections():
    config = config_of(
        failover={"unlike": {}, "own": {"max_in_flight": 3}, "free": {"max_in_flight": None}, "endless": {}}
    )
    reaches = {"primary": FOUR, "unlike": Reach(9), "own": Reach(9), "free": Reach(9), "endless": PLENTY}
    slots = {name: own.max_in_flight for name, own in filled_in(EMAIL, config, reaches).by_provider().items()}
    assert slots == {"primary": 4, "unlike": 9, "own": 3, "free": None, "endless": None}
    given_once = config.model_copy(update={"max_in_flight": 6})
    slots = {name: own.max_in_flight for name, own in filled_in(EMAIL, given_once, reaches).by_provider().items()}
    assert slots == {"primary": 4, "unlike": 6, "own": 3, "free": None, "endless": 6}


def test_breakers_of_all_providers_are_alike():
    config = config_of(failover={"backup": {"circuit_breaker": {"timeout": 5}}, "plain": {}})
    filled = filled_in(WEBHOOK, config, {}).by_provider()
    assert {name: own.circuit_breaker.per for name, own in filled.items()} == dict.fromkeys(filled, "host")
    assert filled["backup"].circuit_breaker.timeout == 5
    told = config_of(failover={"backup": {"circuit_breaker": {"per": "channel"}}})
    assert {own.circuit_breaker.per for own in filled_in(WEBHOOK, told, {}).by_provider().values()} == {"channel"}


bounds = st.none() | st.integers(1, 20)
slots_given = st.just({}) | bounds.map(lambda slots: {"max_in_flight": slots})


@given(
    st.sampled_from(NotificationChannel),
    slots_given,
    slots_given,
    st.sampled_from([{}, {"per": "channel"}, {"timeout": 5}]),
    st.tuples(bounds, bounds),
    st.booleans(),
)
def test_what_is_filled_in_stays_and_nothing_else_changes(channel, own, others, breaker, connections, chooses):
    config = config_of(**own, circuit_breaker=breaker, timeout=3, failover={"backup": others})
    reaches = {name: Reach(most, chooses) for name, most in zip(("primary", "backup"), connections, strict=True)}
    filled = filled_in(channel, config, reaches)
    assert filled_in(channel, filled, reaches) == filled
    for name, after in filled.by_provider().items():
        before = config.by_provider()[name]
        ignored = {"max_in_flight", "circuit_breaker"}
        assert after.model_dump(exclude=ignored) == before.model_dump(exclude=ignored)
        most, slots = reaches[name].connections_max, after.max_in_flight
        if most is not None and slots is not None:
            assert slots <= most
        if before.max_in_flight is not None:
            assert slots == min(before.max_in_flight, most or before.max_in_flight)
