"""What becomes of attempts at simulated providers: counted again, the same comes out, and what differs is said."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import pytest
from beside import tables
from each_row import over_each
from histories import EMAIL, S, breach_of, check_breach, made
from provider_attempts import first_attempt

from actors.domain.attempts import Attempt
from actors.errors import InvariantBreach
from actors.faults import upstream
from actors.faults.provider import SimulatedProvider
from actors.kernel.effects import Foreseen
from actors.kernel.randomness import RandomStreams
from actors.messages import SendNotification
from actors.outcomes import Sent, Transient
from actors.policies.retry.policy import RetryPolicy
from actors.settings.channel import ChannelConfig, ProviderConfig
from actors.settings.faults import FaultConfig
from simulation import run
from simulation.invariants import Context
from simulation.scenario import parse
from simulation.verification.model import providers
from simulation.verification.model.world import World

FAULTS: dict[str, list[dict[str, Any]]] = tables(__file__)["faults"]
PROVIDERS: dict[str, dict[str, Any]] = {
    "plain": {"latency": {"exponential": {"mean": 0.5}}, "failure_rate": 0.1},
    "small": {"latency": {"exponential": {"mean": 0.5}}, "capacity": 2},
    "bounded": {"latency": {"exponential": {"mean": 0.9}}, "capacity": 2, "queue": {"limit": 3, "when_full": "drop"}},
    "by load": {"latency": 0.3, "latency_by_load": {"per_in_flight": 0.1}},
    "written": {"script": [{"outcome": "lost"}, {"outcome": "throttled", "latency": "1s", "retry_after": "3s"}]},
}


def attempt(host: str = "a.org", node: int | None = None) -> Attempt:
    command = SendNotification(notification_id="n", channel=EMAIL, recipient=f"ann@{host}", message="Hello")
    return first_attempt(command, node=node)


@over_each(product(PROVIDERS, FAULTS))
def test_the_same_is_said_of_each_attempt(kind: str, wrong: str):
    config = ProviderConfig.model_validate(PROVIDERS[kind])
    faults = [FaultConfig.model_validate({"channel": "email", **fault}) for fault in FAULTS[wrong]]
    own = SimulatedProvider.from_config(config, faults, RandomStreams(7), "email.provider")
    again = providers.SimulatedProvider(config, faults, 7, "email.provider", None)
    random, now_ns, seen = Random(1), 0, set()
    for _ in range(200):
        now_ns += round(random.expovariate(4.0) * S)
        comes, before = attempt(random.choice(["a.org", "b.org"]), random.choice([1, 2])), own.delivered
        effect = own.attempt(comes, now_ns)
        fate = again.judge(comes.command.recipient, comes.node, now_ns)
        assert isinstance(effect, Foreseen)
        outcome = None if effect.delay_ns >= providers.NEVER_NS else effect.result
        assert (outcome, effect.delay_ns, own.delivered > before) == (fate.outcome, fate.takes_ns, fate.delivers)
        seen.add((fate.why, fate.takes_ns))
    assert len(seen) > 1


def context(faults: Any = (), **provider: Any) -> Context:
    channels = {EMAIL: ChannelConfig.model_validate({"provider": provider})}
    wrong = [FaultConfig.model_validate({"channel": "email", **fault}) for fault in faults]
    world = World(seed=1, epoch_ns=0, channels=channels, faults=wrong, simulates_providers=True)
    return Context(channels=channels, faults=wrong, world=world)


def test_an_attempt_that_fares_as_it_should_not():
    down = context([{"at": "1s", "outage": True}], latency="1s")
    check_breach("fates", [made(2, outcome=Sent(), foreseen_ns=S)], "wanted is Transient", down)
    out = Transient(reason="provider outage")
    assert breach_of("fates", [made(2, outcome=out, foreseen_ns=S, delivered=False)], down) is None
    check_breach("fates", [made(2, outcome=out, foreseen_ns=2 * S, delivered=False)], "it takes 2 s, ", down)
    check_breach("fates", [made(2, outcome=out, foreseen_ns=S, delivered=True)], "it is delivered, ", down)


def test_a_promise_is_of_those_whose_end_depends_on_others():
    check_breach("fates", [made(2, outcome=None, is_promised=True)], "promised", context(latency="1s"))
    shared = context(latency="1s", capacity=1, discipline="processor_sharing")
    assert breach_of("fates", [made(2, outcome=None, is_promised=True)], shared, end=9) is None


def test_a_promised_answer_is_looked_at_in_the_end():
    shared = context(latency="1s", capacity=1, discipline="processor_sharing", failure_rate=1.0)
    promised = made(2, outcome=None, is_promised=True, answered=False)

    def history():
        yield promised
        promised.settle(Sent(), 3 * S)

    check_breach("fates", history(), "answered with Sent", shared, end=9)


LAYERS = """
name: layers
duration: 1m
workload: [{channel: email, arrivals: {poisson: 1/s}}]
channels:
  email:
    timeout: 20s
    provider:
      upstream:
        retry: {max_attempts: 3, initial_delay: 1s, max_elapsed: 9s, on: [transient]}
        timeout: 2s
        upstream:
          {latency: {exponential: {mean: 1s}}, failure_rate: 50%, retry: {max_attempts: 2, budget: {kind: aws}}}
faults: [{channel: email, upstream: 2, at: 20s, for: 9s, lost_reply_rate: 50%}]
"""


@pytest.mark.parametrize(
    ("where", "name", "mistake", "said"),
    [
        (RetryPolicy, "is_out_of_time", lambda *_: True, "it is not made"),
        (RetryPolicy, "next_wait_ns", lambda *_: 0, "it is not its time"),
        (RetryPolicy, "gives_up", lambda *_, **__: False, "answered with nothing, and wanted is"),
        (upstream, "UPSTREAM_TIMED_OUT", Transient(reason="slow"), "wanted is Ambiguous"),
        (upstream.Upstream, "_begin", lambda *_: None, "it is not made"),
    ],
)
def test_what_is_asked_behind_a_provider_is_followed_layer_by_layer(where, name, mistake, said, monkeypatch):
    scenario = parse(LAYERS)
    run(scenario, invariants=["fates"])
    monkeypatch.setattr(where, name, mistake)
    with pytest.raises(InvariantBreach, match=said):
        run(scenario, invariants=["fates"])
