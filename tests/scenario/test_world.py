"""The hosts of a scenario's world: what can be said of them, and what is refused with its place."""

import pytest
from each_row import over_each

import simulation
from actors.errors import ConfigurationError
from simulation.scenario.world import HostConfig

SCENARIO = """
duration: 10m
workload: [{channel: payments, arrivals: {poisson: 2/s}}]
channels: {payments: {kind: call, failover: {backup: {}}}}
world:
  api.example.com: payments
"""


def hosts(line):
    return simulation.parse(SCENARIO + f"  {line}\n").world


def test_a_host_is_a_channel_or_a_weather_or_a_mapping():
    assert hosts("db.internal: refused")["db.internal"] == HostConfig(always="refused")
    assert hosts("a: email")["a"] == hosts("a: {channel: email}")["a"] == HostConfig(channel="email")
    assert hosts('"*.example.com": {channel: payments, provider: backup, outage: 500}')["*.example.com"].outage == 500
    assert "email" not in simulation.parse(SCENARIO).channels_used
    assert "email" in simulation.parse(SCENARIO + "  mail.example.com: email\n").channels_used


@over_each(
    [
        ("a: paymants", "world.a: wanted an existing channel (email, sms, push, webhook, payments; "),
        ("a: 7", "world.a: wanted a channel, one of refused, unreachable, silence, or a mapping such as {channel: "),
        ("a: {}", "world.a: wanted exactly one of channel, always, got none"),
        ("a: {channel: email, always: refused}", "world.a: wanted exactly one of channel, always, got both"),
        ("a: {channel: payments, provider: other}", "world.a.provider: wanted one of primary, backup, got 'other'"),
        ("a: {channel: email, outage: 200}", "world.a.outage: wanted a status of HTTP from 400 to 599, or one of"),
        ("a: {channel: email, outage: down}", "world.a.outage: wanted a status of HTTP from 400 to 599, or one of"),
        ("a: {channel: email, answer: reply}", "world.a.answer: wanted a function such as shop.fakes:answer, got"),
        ("a: {channel: email, tls: none}", "world.a.tls: wanted one of trusted, untrusted, expired, got 'none'"),
        ("a: {chanel: email}", "world.a.chanel: unknown key; did you mean channel?"),
        ("https://a.example: email", "wanted the name of a host, such as api.example.com or *.example.com, got"),
        ("a.example:443: email", "wanted the name of a host, such as api.example.com or *.example.com, got"),
        ("localhost: email", "wanted the name of a host, such as api.example.com or *.example.com, got"),
        ("10.0.0.1: email", "wanted the name of a host, such as api.example.com or *.example.com, got"),
    ]
)
def test_what_is_wrong_is_said_with_its_place(line, problem):
    with pytest.raises(ConfigurationError) as refused:
        hosts(line)
    (found,) = refused.value.problems
    assert found.startswith("scenario.yaml:7:")
    assert problem in found


@pytest.mark.parametrize("calls", ["shop.app:order", "POST http://localhost:8080/orders?a=1", "GET http://127.0.0.1/"])
def test_arrivals_may_call_a_function_or_a_port(calls):
    text = SCENARIO.replace("2/s}", f"2/s}}, calls: '{calls}'")
    assert simulation.parse(text).workload[0].calls == calls


@pytest.mark.parametrize("calls", ["order", "POST https://api.example.com/", "http://localhost/", "a:b c"])
def test_arrivals_call_nothing_else(calls):
    text = SCENARIO.replace("2/s}", f"2/s}}, calls: '{calls}'")
    with pytest.raises(
        ConfigurationError, match=r"workload\.0\.calls: wanted a function such as shop\.app:order, or a"
    ):
        simulation.parse(text)


def test_a_simulation_of_the_pipeline_looks_at_neither():
    plain = simulation.run(simulation.parse(SCENARIO.partition("world:")[0]))
    with_world = simulation.run(simulation.parse(SCENARIO.replace("2/s}", "2/s}, calls: 'a:b'")))
    assert plain.summary["digest"] == with_world.summary["digest"]
