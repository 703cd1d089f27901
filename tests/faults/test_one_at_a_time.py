"""Providers that work on one attempt at a time for each host or user."""

import pytest
from hypothesis import given, strategies as st
from provider_attempts import S, fault, first_attempt
from worlds import email

import simulation
from actors.errors import ConfigurationError
from actors.faults.provider import SimulatedProvider
from actors.kernel.effects import Foreseen
from actors.settings.base import validated
from actors.settings.channel import ProviderConfig
from simulation.scenario import parse

BURST = """
duration: 40m
drain: 2h
workload: [{channel: webhook, hosts: 1, users: 40, arrivals: {times: [TIMES]}}]
channels:
  webhook:
    retry: {max_attempts: 11, backoff: constant, initial_delay: 60s, jitter: none}
    circuit_breaker: {enabled: false}
    provider: {latency: 50ms, one_at_a_time: {per: host}}
"""


def ends(provider: SimulatedProvider, *attempts: tuple[float, str]) -> list[float | str]:
    """Return when attempts end that start at these instants, each with its address, or why they fail."""
    found: list[float | str] = []
    for at, recipient in attempts:
        effect = provider.attempt(first_attempt(email(recipient=recipient, user_id=recipient)), round(at * S))
        assert isinstance(effect, Foreseen)
        reason = getattr(effect.result, "reason", "")
        found.append(reason or at + effect.delay_ns / S)
    return found


def test_who_comes_meanwhile_fails_at_once_and_other_hosts_do_not_mind():
    provider = SimulatedProvider(latency=2, one_at_a_time={"per": "host"})
    attempts = [(0, "ann@a.org"), (1, "bob@a.org"), (1, "cid@b.org"), (2, "dan@a.org"), (3.5, "eve@a.org")]
    assert ends(provider, *attempts) == [2, "busy", 3, 4, "busy"]


def test_who_waits_begins_when_those_before_have_ended():
    provider = SimulatedProvider(latency=2, one_at_a_time={"per": "host", "when_busy": "wait"})
    attempts = [(0, "ann@a.org"), (1, "bob@a.org"), (1, "cid@b.org"), (1.5, "dan@a.org"), (9, "eve@a.org")]
    assert ends(provider, *attempts) == [2, 4, 3, 6, 11]


def test_users_exclude_themselves_alone():
    provider = SimulatedProvider(latency=2, one_at_a_time={"per": "user"})
    assert ends(provider, (0, "ann@a.org"), (1, "bob@a.org"), (1, "ann@a.org")) == [2, 3, "busy"]


def test_what_is_refused_before_its_turn_is_not_worked_on():
    down = fault(outage=True, **{"for": 1})
    provider = SimulatedProvider(latency=2, one_at_a_time={"per": "host"}, faults=[down])
    assert ends(provider, (0, "ann@a.org"), (1, "bob@a.org")) == ["provider outage", 3]


def test_with_a_capacity_one_is_busy_while_it_waits_for_it():
    provider = SimulatedProvider(latency=2, capacity=1, one_at_a_time={"per": "host"})
    assert ends(provider, (0, "ann@a.org"), (0, "bob@b.org"), (3, "cid@b.org"), (4, "dan@b.org")) == [2, 4, "busy", 6]


@pytest.mark.parametrize(
    "written",
    [{"discipline": "processor_sharing"}, {"discipline": "critical_first"}, {"one_at_a_time": {"when_busy": "wait"}}],
)
def test_what_does_not_go_together(written: dict[str, object]):
    given_ = {"capacity": 1, "one_at_a_time": {"per": "host"}, **written}
    with pytest.raises(
        ConfigurationError, match="wanted one_at_a_time only with the discipline fifo, and when_busy: wait"
    ):
        validated(ProviderConfig, given_)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab")), max_size=40), st.integers(1, 6))
def test_no_two_of_a_host_overlap(comes: list[tuple[int, str]], work: int):
    failing, waiting = (
        SimulatedProvider(latency=work, one_at_a_time={"per": "host", "when_busy": when}) for when in ("fail", "wait")
    )
    now, until = 0, {"fail": {"a": 0, "b": 0}, "wait": {"a": 0, "b": 0}}
    for gap, host in comes:
        now += gap
        (refused_or_end,) = ends(failing, (now, f"x@{host}.org"))
        if now < until["fail"][host]:
            assert refused_or_end == "busy"
        else:
            until["fail"][host] = now + work
            assert refused_or_end == now + work
        until["wait"][host] = max(now, until["wait"][host]) + work
        assert ends(waiting, (now, f"x@{host}.org")) == [until["wait"][host]]


@pytest.mark.parametrize(("together", "dead"), [(11, 0), (12, 1), (40, 29)])
def test_of_k_at_once_one_is_delivered_in_each_round(together: int, dead: int):
    """Without jitter all that have failed come again at once: eleven attempts deliver eleven, of each burst."""
    bursts = ", ".join(["1s"] * together + ["30m"] * together)
    result = simulation.run(parse(BURST.replace("TIMES", bursts)))
    assert result.summary["dead_lettered"] == 2 * dead
    assert result.summary["sent"] == 2 * (together - dead)


def test_a_tenth_of_jitter_delivers_all():
    text = BURST.replace("TIMES", ", ".join(["1s"] * 40)).replace(
        "jitter: none", "jitter: proportional, jitter_share: 10%"
    )
    assert [simulation.run(parse(text), seed=seed).summary["dead_lettered"] for seed in range(5)] == [0] * 5
