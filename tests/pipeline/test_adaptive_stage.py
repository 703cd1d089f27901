"""Adaptive rate, concurrency limit and throttle in the pipeline, against an unreliable provider and closed forms."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import pytest
from effort import sliced
from pipeline_invariants import Log, Logged
from worlds import World, email, on_both_clocks, simulate

import simulation
from actors.faults.provider import SimulatedProvider
from actors.messages import BreakerTransitioned, NotificationDeferred
from actors.settings.faults import FaultConfig
from simulation.scenario import parse

S = 1_000_000_000
PATIENT = {"max_attempts": 1000, "initial_delay": 1.0, "max_delay": 5.0, "jitter": "full"}
BUCKET = {"rate": "10/s", "kind": "token_bucket"}


def scenario_of(
    settings: dict[str, Any], rate: int, until: int, throttle: dict[str, Any] | None = None, **provider: Any
) -> Any:
    """Return a scenario of so many emails a second, the provider's log of which is ``world.log``."""

    def scenario(world: World) -> None:
        faults = [FaultConfig.model_validate({"channel": "email", "throttle": throttle})] if throttle else []
        service = SimulatedProvider(faults=faults, streams=world.system.streams, **provider)
        world.log = Log(service, timeout=settings.get("timeout", 10))
        world.open(world.log, email=settings)
        for number in range(rate * until):
            world.send(email(f"n{number}"), at=number / rate)

    return scenario


def after(world: World, start: float) -> list[Logged]:
    return [entry for entry in world.log.entries if entry.at_ns >= start * S]


def is_throttled(entry: Logged) -> bool:
    return getattr(entry.outcome, "throttled", False)


# ── adaptive rate ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "simulate"),
    sliced(
        [
            ({}, simulate),
            ({"initial_rate": "2/s"}, simulate),
            ({"kind": "cubic"}, on_both_clocks),
            ({"increase": "2/s", "decrease": 0.7}, simulate),
        ],
        4,
    ),
)
def test_an_adaptive_rate_finds_what_a_throttling_provider_takes_and_its_breaker_never_opens(settings, simulate):
    channel = {"retry": PATIENT, "adaptive_rate": settings}
    world = simulate(scenario_of(channel, 20, 130, BUCKET, latency=0.05), until=130)
    late = after(world, 50)
    accepted = sum(not is_throttled(entry) for entry in late) / 80
    assert accepted == pytest.approx(10, rel=0.05)
    assert len(late) / 80 <= 11
    assert world.events(BreakerTransitioned) == []


def test_the_rate_is_a_sawtooth_whose_mean_is_the_providers_rate():
    """From peak to half of it and up by 1/s each second: a mean of 10/s means a peak of 13.3/s, and 6.7 s a tooth."""
    channel = {"retry": PATIENT, "adaptive_rate": {}}
    world = simulate(scenario_of(channel, 20, 400, BUCKET, latency=0.05), until=400)
    late = after(world, 100)
    assert sum(is_throttled(entry) for entry in late) / 300 == pytest.approx(1 / (2 / 3 * 10), rel=0.15)


def test_without_an_adaptive_rate_hundreds_of_times_as_many_are_throttled():
    def throttled(adaptive_rate: dict[str, Any] | None) -> int:
        channel = {"retry": PATIENT, "adaptive_rate": adaptive_rate}
        world = simulate(scenario_of(channel, 20, 60, BUCKET), until=60)
        return sum(map(is_throttled, world.log.entries))

    assert throttled(None) > 100 * throttled({})


def test_those_who_wait_for_the_rate_are_told_so_and_keep_their_order():
    channel = {"adaptive_rate": {"initial_rate": "2/s", "minimum_rate": "2/s", "maximum_rate": "2/s"}}
    world = on_both_clocks(scenario_of(channel, 10, 5))
    assert [entry.at_ns for entry in world.log.entries] == [number * S // 2 for number in range(50)]
    sent = [entry.attempt.command.notification_id for entry in world.log.entries]
    assert sent == [f"n{number}" for number in range(50)]
    assert {event.cause for event in world.events(NotificationDeferred)} == {"rate_limit"}


# ── concurrency limit ───────────────────────────────────────────────────────────────────────────────────────────

LIMITS = {
    "gradient": {"kind": "gradient", "maximum": 200},
    "vegas": {"kind": "vegas", "probe_multiplier": 1000},
}


@pytest.mark.parametrize("kind", sliced(LIMITS, 4))
def test_a_concurrency_limit_keeps_the_queue_at_the_provider_short_and_the_provider_busy(kind):
    """5 at once at 100 ms each make 50 a second, and 60 come: without a limit the provider's queue grows by 10/s."""
    channel = {"retry": PATIENT, "timeout": 60}
    provider = {"latency": 0.1, "capacity": 5}
    limited = on_both_clocks(scenario_of({**channel, "concurrency_limit": LIMITS[kind]}, 60, 60, **provider), until=60)
    unlimited = simulate(scenario_of(channel, 60, 60, **provider), until=60)

    def latency(world: World) -> float:
        return fmean((entry.ends_ns - entry.at_ns) / S for entry in after(world, 30))

    assert latency(unlimited) == pytest.approx(9, rel=0.05)  # 450 in the queue on average, at 50 a second
    assert latency(limited) < {"gradient": 1.0, "vegas": 0.3}[kind]
    assert sum(30 * S <= entry.ends_ns < 60 * S for entry in limited.log.entries) / 30 == pytest.approx(50, rel=0.03)
    assert limited.events(BreakerTransitioned) == []


@pytest.mark.parametrize("kind", sliced(LIMITS, 2))
def test_what_a_deadline_cuts_says_nothing_about_the_provider(kind):
    """A second attempt is cut after 50 ms, where the provider takes 100: that is no latency of the provider."""
    text = f"""
duration: 20s
seed: 1
workload: [{{channel: email, users: 1000, arrivals: {{poisson: 200/s}}}}]
channels:
  email:
    deadline: 1100ms
    retry: {{max_attempts: 2, backoff: constant, initial_delay: 950ms, jitter: none}}
    concurrency_limit: {{kind: {kind}, initial: 30}}
    provider: {{latency: 100ms, failure_rate: 5%}}
"""
    result = simulation.run(parse(text))
    assert (result.attempts["reason"] == "deadline").sum() > 100
    assert result.summary["peaks"]["waiting"]["slots"] < 10


def test_the_smaller_of_both_bulkheads_holds():
    channel = {"max_in_flight": 3, "concurrency_limit": {"initial": 10, "minimum": 5}}
    world = on_both_clocks(scenario_of(channel, 20, 3, latency=1.0))
    for entry in world.log.entries:
        assert sum(other.at_ns <= entry.at_ns < other.ends_ns for other in world.log.entries) <= 3


# ── adaptive throttle ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "share", "simulate"),
    sliced(
        [
            ({}, 1 - 2 / 4, on_both_clocks),
            ({"k": 1.5}, 1 - 1.5 / 4, simulate),
            ({"k": 4}, 0.0, simulate),
            ({"max_rejection": 0.3}, 0.3, simulate),
        ],
        4,
        1,
    ),
)
def test_in_an_overload_the_share_refused_at_the_sender_is_what_comes_over_k_times_what_is_accepted(
    settings, share, simulate
):
    """(requests − k · accepts) / (requests + 1), with 40 requests and 10 accepts a second."""
    channel = {"retry": {"max_attempts": 1}, "adaptive_throttle": {"window": 30, **settings}}
    world = simulate(scenario_of(channel, 40, 150, BUCKET))
    refused = [failed for failed in world.failures if failed.reason == "adaptive throttle" and failed.at_ns >= 50 * S]
    assert len(refused) / (100 * 40) == pytest.approx(share, abs=0.02)
    assert {failed.provider for failed in refused} <= {None}
    accepted = [entry for entry in after(world, 50) if not is_throttled(entry)]
    assert len(accepted) / 100 == pytest.approx(10, rel=0.03)


def test_what_is_refused_at_the_sender_gives_its_permit_back_so_that_a_probe_is_not_lost():
    channel = {
        "retry": {"max_attempts": 1},
        "adaptive_throttle": {"k": 1, "window": 1000, "max_rejection": 0.99},
        "circuit_breaker": {"failure_threshold": 20, "timeout": 10},
    }
    world = on_both_clocks(scenario_of(channel, 10, 200, failure_rate=0.0, fail_count=21))
    states = [event.to_state for event in world.events(BreakerTransitioned)]
    assert states[-1] == "closed"
    assert set(states) == {"open", "half-open", "closed"}
    assert world.pipeline.wiring.stages["email"].in_flight == 0
