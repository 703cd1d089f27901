"""Prediction intervals, and what is asked of `predict` and `run_live`."""

import math
import re
from fractions import Fraction

import pytest
from documents import text_of
from hypothesis import given, strategies as st
from scenario_tables import written
from worlds import Scripted

import simulation
from actors.errors import ConfigurationError
from actors.faults.provider import NotificationService
from actors.kernel.randomness import RandomStreams
from simulation.experiments.prediction import prediction_interval, replicates_needed

SCENARIO = """
name: small
seed: 3
duration: 40s
workload: [{channel: email, arrivals: {poisson: 2/s}}]
channels:
  email:
    retry: {max_attempts: 3, jitter: full}
    circuit_breaker: {timeout: 5s}
    provider: {latency: {exponential: {mean: 200ms}}, failure_rate: 20%}
faults: [{channel: email, at: 10s, for: 10s, outage: true}]
"""


path = written("small.yaml", SCENARIO)


# ── intervals ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("confidence", "figures", "needed"), [(0.99, 1, 199), (0.99, 3, 599), (0.95, 1, 39), (0.9, 2, 39)]
)
def test_as_many_values_as_it_takes(confidence, figures, needed):
    assert replicates_needed(confidence, figures) == needed
    values = list(range(needed))
    interval = prediction_interval(values, confidence, figures)
    assert (interval.low, interval.high) == (0, needed - 1)
    with pytest.raises(ValueError, match=f"at least {needed} values, got {needed - 1}"):
        prediction_interval(values[1:], confidence, figures)


def test_with_more_values_the_outermost_are_left_out():
    interval = prediction_interval([*range(400), 10**9], 0.99)
    assert (interval.low, interval.high) == (1, 399)


@given(
    st.lists(st.integers(-50, 50), min_size=20, max_size=90),
    st.sampled_from([0.8, 0.9]),
    st.integers(1, 2),
)
def test_one_of_those_drawn_alike_is_outside_no_more_often_than_said(values, confidence, figures):
    # Whichever of them is the new one is equally likely: so what is to hold of chance holds of the count.
    if len(values) - 1 < replicates_needed(confidence, figures):
        return
    outside = sum(
        value not in prediction_interval(values[:number] + values[number + 1 :], confidence, figures)
        for number, value in enumerate(values)
    )
    assert Fraction(outside, len(values)) <= (1 - Fraction(str(confidence))) / figures


@pytest.mark.parametrize(("confidence", "figures"), [(0, 1), (1, 1), (0.9, 0)])
def test_what_is_no_confidence_is_refused(confidence, figures):
    with pytest.raises(ValueError, match="wanted 0 < confidence < 1 and figures >= 1"):
        replicates_needed(confidence, figures)


# ── predict ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_of_the_same_settings_is_as_predicted_and_of_others_is_not(path):
    prediction = simulation.predict(path, confidence=0.9)
    assert list(prediction.intervals) == ["sent_fraction", "retry_amplification", "breaker.email.opened"]
    assert {len(values) for values in prediction.values.values()} == {59}
    surprised = [seed for seed in range(1000, 1040) if prediction.surprises(simulation.run(path, seed=seed).summary)]
    assert len(surprised) <= 8  # 4 are to be expected at the most
    other = simulation.run(path, seed=1000, sets=["channels.email.circuit_breaker.enabled=false"]).summary
    (opened,) = [surprise for surprise in prediction.surprises(other) if surprise.startswith("breaker")]
    low, high = prediction.intervals["breaker.email.opened"].low, prediction.intervals["breaker.email.opened"].high
    assert opened == f"breaker.email.opened is 0, predicted {low:g} to {high:g}"


def test_the_replicates_are_the_runs_with_the_seeds_that_follow(path):
    prediction = simulation.predict(path, ["attempts"], confidence=0.5, replicates=4, seed=20)
    assert simulation.predict(path, ["attempts"], confidence=0.5, replicates=4).values["attempts"] == [
        simulation.run(path, seed=seed).summary["attempts"]
        for seed in range(4, 8)  # so not the scenario's own
    ]
    assert prediction.values["attempts"] == [
        simulation.run(path, seed=seed).summary["attempts"] for seed in range(20, 24)
    ]


def test_a_figure_that_is_null_is_a_surprise(path):
    prediction = simulation.predict(path, ["delivery_time_s.p50"], confidence=0.5)
    for never, text in ((0, "null"), (3, "never")):
        assert prediction.surprises({"delivery_time_s": {"p50": None, "never": never}})[0].startswith(
            f"delivery_time_s.p50 is {text}, predicted "
        )


def test_where_never_is_predicted_all_times_are_below_it(path):
    prediction = simulation.predict(
        path, ["delivery_time_s.p99"], confidence=0.5, sets=["channels.email.retry.max_attempts=1"]
    )
    assert set(prediction.values["delivery_time_s.p99"]) == {math.inf}
    assert prediction.surprises({"delivery_time_s": {"p99": None, "never": 3}}) == []
    assert prediction.surprises({"delivery_time_s": {"p99": 2.0, "never": 0}}) == [
        "delivery_time_s.p99 is 2, predicted never to never"
    ]


def test_what_cannot_be_predicted_is_said(path):
    with pytest.raises(ConfigurationError, match=r"figures dlq\.top: "):
        simulation.predict(path, ["dlq.top"])
    with pytest.raises(ConfigurationError, match=r"figures retry_delay_s\.p50: has no value in the run with seed 4"):
        simulation.predict(path, ["retry_delay_s.p50"], confidence=0.5, sets=["channels.email.retry.max_attempts=1"])
    with pytest.raises(ValueError, match="at least 199 replicates, got 198"):
        simulation.predict(path, ["sent"], replicates=198)
    with pytest.raises(ValueError, match="wanted a file to change"):
        simulation.predict(simulation.load(path), sets=["seed=4"])


# ── live ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_in_real_time_the_history_is_that_of_the_simulation(path, autojump_clock):
    live = await simulation.run_live(path, seed=5)
    simulated = simulation.run(path, seed=5)
    assert live.summary["runtime"] == "live"
    assert live.summary["digest"] == simulated.summary["digest"]


async def test_all_that_goes_wrong_in_the_scenario_is_injected_round_a_provider(path, autojump_clock):
    takes = Scripted()
    live = await simulation.run_live(path, {"email": takes}, inject="all")
    simulated = simulation.run(path).summary
    assert live.summary["digest"] == simulated["digest"]
    assert len(takes.sent) == simulated["sent"]


async def test_or_the_faults_alone_or_nothing(path, autojump_clock):
    calm = (await simulation.run_live(path, Scripted(), inject="nothing")).summary
    assert (calm["retry_amplification"], calm["sent_time_s"]["max"]) == (1, 0)
    faults = await simulation.run_live(path, Scripted())
    failed = faults.attempts[faults.attempts["outcome"] != "sent"]
    assert len(failed) > 0
    assert failed["start_s"].between(10, 20, inclusive="left").all()


@pytest.mark.thorough
async def test_a_provider_as_described_is_no_surprise_where_it_runs_live_as_the_guide_shows(path, autojump_clock):
    (shown,) = re.findall(r"`await (simulation\.run_live\([^`]*\))`", text_of("fitting"))
    described = simulation.load(path).channels.email.provider

    async def surprises(call):
        service = NotificationService(described.failure_rate, latency=described.latency, streams=RandomStreams(77))
        live = await eval(call, {"simulation": simulation, "scenario": path, "providers": service})
        return prediction.surprises(live.summary)

    prediction = simulation.predict(path, ["retry_amplification"])
    assert await surprises(shown) == []
    assert len(await surprises("simulation.run_live(scenario, providers, inject='all')")) == 1


async def test_recipients_are_addressed_as_the_transport_needs_it(path, autojump_clock):
    takes = Scripted()
    live = await simulation.run_live(path, takes, inject="nothing", addresses={"email": "{}@example.com".format})
    assert sorted(command.recipient for command in takes.sent) == sorted(
        f"{user}@example.com" for user in live.notifications["user"]
    )


async def test_what_cannot_be_run_live_is_said(path, autojump_clock):
    with pytest.raises(ConfigurationError, match="providers: none for email"):
        await simulation.run_live(path, {})
    with pytest.raises(
        ConfigurationError, match=r"addresses: wanted a channel that the scenario uses \(email\), got 'sms'"
    ):
        await simulation.run_live(path, Scripted(), addresses={"sms": str})
    with pytest.raises(ConfigurationError, match=r"addresses: wanted a mapping from channels to functions, got \[\]"):
        await simulation.run_live(path, Scripted(), addresses=[])
    with pytest.raises(ValueError, match="wanted a file to change"):
        await simulation.run_live(simulation.load(path), sets=["seed=4"])
    with pytest.raises(ValueError, match="inject: wanted one of all, faults, nothing, got 'some'"):
        await simulation.run_live(path, Scripted(), inject="some")
    schedule = path.with_name("schedule.yaml")
    schedule.write_text(SCENARIO + "schedule: {random_walk: true}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="schedule: wanted none"):
        await simulation.run_live(schedule)
