"""A breaker that opens again as what waited resumes: the pace learns, and no provider that can do its load stays down.

What was before is had by having a relapse teach nothing.
"""

import itertools
import math
from random import Random
from typing import Any

import pytest
import yaml
from effort import sliced

from actors.messages import NotificationChannel
from actors.policies.resuming import Relapse
from simulation import Result, run
from simulation.scenario import Scenario, parse

BURST = """
duration: 20m
channels:
  email: {timeout: 750ms, retry: {max_attempts: 3}, provider: {latency: 50ms, capacity: 1}}
workload:
  - {channel: email, arrivals: {poisson: 8/s}}
  - {channel: email, at: 1m, for: 10s, arrivals: {poisson: 32/s}}
"""


def overload(seed: int, *, times: tuple[float, float]) -> Scenario:
    """Draw a provider that can do so many times its load, at least and at most, and what overloads it for a while."""
    draw = Random(f"overload {seed}")
    load, places = math.exp(draw.uniform(0.0, 3.4)), draw.choice([1, 1, 2, 4, 8, 16])
    serves = load * draw.uniform(*times)
    mean = places / serves
    latency: Any = draw.choice([f"{mean:.4f}s", {"exponential": {"mean": f"{mean:.4f}s"}}])
    timeout = max(math.exp(draw.uniform(-0.7, 2.3)), mean * draw.uniform(5.0, 8.0))
    drawn: dict[str, Any] = {
        "duration": "40m",
        "drain": "0s",
        "channels": {
            "email": {
                "timeout": f"{timeout:.3f}s",
                "retry": {"max_attempts": draw.choice([1, 3, 3, 5])},
                "circuit_breaker": draw.choice([{}, {}, {"window": {"calls": 50}}, {"window": {"time": "30s"}}]),
                "provider": {"latency": latency, "capacity": places, "failure_rate": draw.choice([0, 0.001, 0.01])},
            }
        },
        "workload": [{"channel": "email", "arrivals": {"poisson": f"{load:.3f}/s"}}],
    }
    lasts = f"{draw.randint(20, 200)}s"
    match draw.choice(["burst", "outage", "slow"]):
        case "burst":
            rate = f"{serves * draw.uniform(1.0, 3.0):.3f}/s"
            burst = {"channel": "email", "at": "1m", "for": f"{draw.randint(5, 60)}s", "arrivals": {"poisson": rate}}
            drawn["workload"].append(burst)
        case "outage":
            drawn["faults"] = [{"channel": "email", "at": "1m", "for": lasts, "outage": True}]
        case _:
            drawn["faults"] = [{"channel": "email", "at": "1m", "for": lasts, "speed": 0.2}]
    return parse(yaml.safe_dump(drawn), seed=seed)


def openings(result: Result) -> list[float]:
    """Return when a breaker has opened from closed."""
    breaker = result.breaker
    return [float(at) for at in breaker[(breaker["from"] == "closed") & (breaker["to"] == "open")]["time_s"]]


def check_recovers(seed: int) -> None:
    """One that is kept down opens its breaker as soon as it has closed, for ever; at random some open it much later."""
    opened = openings(run(overload(seed, times=(2.0, 5.0))))
    assert max((later - earlier for earlier, later in itertools.pairwise([*opened, 2400.0])), default=2400.0) > 300, (
        seed
    )


def check_no_worse(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = overload(seed, times=(0.8, 2.0))
    now = run(scenario).summary["sent_fraction"]
    with monkeypatch.context() as patch:
        patch.setattr(Relapse, "after", lambda *_: None)
        before = run(scenario).summary["sent_fraction"]
    assert now >= before - 0.01, seed


def test_a_burst_opens_the_default_breaker_twice_and_not_for_ever():
    result = run(parse(BURST, seed=1), invariants=["resume-pace"])
    assert result.summary["sent_fraction"] == 1.0
    assert len(openings(result)) == 2


@pytest.mark.parametrize("seed", sliced([1, 4, 5], 6))
def test_no_provider_that_can_do_twice_its_load_is_kept_down(seed):
    check_recovers(seed)


@pytest.mark.slow
def test_of_many_providers_that_can_do_twice_their_load_none_is_kept_down():
    for seed in range(200):
        check_recovers(seed)


@pytest.mark.thorough
def test_a_provider_that_can_do_less_is_no_worse_off(monkeypatch):
    check_no_worse(1, monkeypatch)


@pytest.mark.slow
def test_of_many_providers_that_can_do_less_none_is_worse_off(monkeypatch):
    for seed in range(200):
        check_no_worse(seed, monkeypatch)


def healthy(seed: int) -> Scenario:
    """Draw a provider some of whose answers are failures, at any load."""
    draw = Random(f"healthy {seed}")
    share = math.exp(draw.uniform(math.log(0.001), math.log(0.3))) if draw.random() < 0.4 else draw.uniform(0.1, 0.3)
    mean = draw.choice([0.02, 0.1, 0.4, 1.0])
    text = f"""
duration: 10m
drain: 0s
workload: [{{channel: email, arrivals: {{poisson: {math.exp(draw.uniform(1.0, 3.7)):.3f}/s}}}}]
channels:
  email:
    timeout: {15 * mean + 1}s
    retry: {{max_attempts: {draw.choice([1, 3, 5])}}}
    circuit_breaker: {{failure_threshold: {draw.choice([3, 4, 5, 5])}}}
    provider: {{latency: {draw.choice([f"{mean}s", f"{{exponential: {{mean: {mean}s}}}}"])}, failure_rate: {share:.5f}}}
"""
    return parse(text, seed=seed)


def follows_twenty_good(result: Result) -> bool:
    """Tell whether a breaker has opened as its line resumed, after twenty attempts of which one at most had failed."""
    threshold = result.scenario.channel_config(NotificationChannel.EMAIL).circuit_breaker.failure_threshold
    ended = result.attempts.sort_values("end_s", kind="stable")
    for opened_s in openings(result)[1:]:
        before = ended[ended["end_s"] <= opened_s]["outcome"].tolist()[: -threshold or None]
        if len(before) >= 20 and sum(outcome != "sent" for outcome in before[-20:]) <= 1:
            return True
    return False


def check_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Compare with what was before; return whether there was anything to compare."""
    scenario = healthy(seed)
    now = run(scenario)
    if len(openings(now)) < 2:
        return False
    with monkeypatch.context() as patch:
        patch.setattr(Relapse, "after", lambda *_: None)
        before = run(scenario)
    assert now.summary["digest"] == before.summary["digest"] or follows_twenty_good(now), seed
    return True


@pytest.mark.thorough
def test_a_healthy_provider_has_the_same_history(monkeypatch):
    assert sum(check_same(seed, monkeypatch) for seed in range(3)) >= 1


@pytest.mark.slow
def test_many_healthy_providers_have_the_same_history(monkeypatch):
    assert sum(check_same(seed, monkeypatch) for seed in range(200)) >= 50
