"""Providers that ask what is behind them, and retry there. Small cases are derived by hand."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from typing import Any

import pytest
from beside import tables
from effort import examples
from hypothesis import given, settings, strategies as st

import simulation
from actors import ConfigurationError, FaultConfig, SimulatedProvider
from actors.faults.chaos import FaultyProvider
from actors.messages import UpstreamRequested
from actors.settings.channel import ProviderConfig
from simulation.scenario import parse
from simulation.scenario.lint import lint_scenario

MS = 1_000_000


def scenario(
    *faults: str,
    upstream: str | None = "retry: {max_attempts: 4, initial_delay: 100ms, backoff: constant}",
    retry: str = "{max_attempts: 3, initial_delay: 1s, backoff: constant}",
    entry: str = "arrivals: {times: [0s]}",
    email: str = "",
    more: str = "",
) -> Any:
    behind = "" if upstream is None else f", upstream: {{{upstream}}}"
    lines = [
        "duration: 10m",
        f"workload: [{{channel: email, {entry}}}]",
        "channels:",
        f"  email: {{retry: {retry}, circuit_breaker: {{enabled: false}}, {email}",
        f"          provider: {{latency: 10ms{behind}}}}}",
        f"faults: [{', '.join(faults)}]",
        more,
    ]
    return parse("\n".join(lines), "upstream.yaml")


def requests(of: Any, **arguments: Any) -> list[tuple[int, int, int]]:
    """Run it, and return the instant in ms of each request at the bottom, its attempt and its number."""
    events: list[Any] = []
    simulation.run(of, on_events=events.extend, invariants="all", **arguments)
    return [
        (event.at_ns // MS, event.attempt, event.number) for event in events if isinstance(event, UpstreamRequested)
    ]


DOWN = "{channel: email, upstream: true, outage: true}"


# ── layers multiply ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_three_attempts_of_four_requests_each_are_twelve():
    # Each attempt: 10 ms at the provider, then requests 100 ms apart. The next attempt starts 1 s after the last.
    assert requests(scenario(DOWN)) == [
        (attempt_ms + request_ms, attempt, number)
        for attempt, attempt_ms in ((1, 0), (2, 1310), (3, 2620))
        for number, request_ms in ((1, 10), (2, 110), (3, 210), (4, 310))
    ]
    summary = simulation.run(scenario(DOWN)).summary
    assert (summary["upstream_requests"], summary["requests"], summary["dead_lettered"]) == (12, 3, 1)
    assert summary["channels"]["email"]["upstream_requests"] == summary["workload"]["email"]["upstream_requests"] == 12


def test_the_first_request_that_succeeds_is_the_last():
    # Five fail: the four of the first attempt, and the first of the second.
    first_five = "{channel: email, upstream: true, fail_first: 5}"
    found = requests(scenario(first_five, entry="arrivals: {times: [0s, 20s]}"))
    assert [each[1:] for each in found] == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (1, 1)]
    summary = simulation.run(scenario(first_five)).summary
    assert summary["sent"] == 1
    # 1,310 ms until the second attempt, then 10 ms at the provider and 100 ms until the request that succeeds.
    assert summary["sent_time_s"]["max"] == pytest.approx(1.42)


def test_what_the_provider_itself_refuses_asks_nothing():
    assert requests(scenario("{channel: email, outage: true}")) == []
    assert requests(scenario("{channel: email, permanent_rate: 100%}")) == []


def test_of_two_providers_each_has_its_own():
    email = (
        "failover: {second: {provider: {upstream: {failure_rate: 100%, retry: {max_attempts: 2}}}}}, switch_after: 1,"
    )
    result = simulation.run(scenario("{channel: email, provider: primary, upstream: true, outage: true}", email=email))
    frame = result.upstream_requests
    assert list(frame["provider"]) == ["primary"] * 4 + ["second"] * 2 + ["primary"] * 4  # it switches after each
    assert list(frame["attempt"]) == [1] * 4 + [2] * 2 + [3] * 4
    assert set(frame["entry"]) == {"email"}


def test_a_request_is_a_trial_until_one_succeeds_however_layers_share_them():
    """With 2 attempts of 2 requests a notification has up to four trials: on average (1 - p^4) / (1 - p) of them."""
    p, n = 0.5, 2000
    upstream = f"failure_rate: {p:.0%}, retry: {{max_attempts: 2, initial_delay: 100ms}}"
    of = scenario(upstream=upstream, retry="{max_attempts: 2}", entry="arrivals: {constant: 200/s}, for: 10s")
    summary = simulation.run(of).summary
    mean = (1 - p**4) / (1 - p)
    variance = sum(k**2 * (p ** (k - 1) * (1 - p) if k < 4 else p**3) for k in (1, 2, 3, 4)) - mean**2
    assert abs(summary["upstream_requests"] / n - mean) < 4 * sqrt(variance / n)
    assert abs(summary["dead_lettered"] - n * p**4) < 4 * sqrt(n * p**4 * (1 - p**4))


# ── time-outs ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_provider_s_time_out_ends_a_request_that_is_too_slow():
    of = scenario(
        upstream="latency: 2s, timeout: 1s, retry: {max_attempts: 2, schedule: [500ms]}", email="timeout: 5s,"
    )
    assert requests(of)[:3] == [(10, 1, 1), (1510, 1, 2), (3520, 2, 1)]  # the attempt ends at 2,510
    failed = simulation.run(of).attempts
    assert set(failed["reason"]) == {"upstream timed out"}
    assert set(failed["outcome"]) == {"ambiguous"}


def test_the_provider_goes_on_when_its_sender_has_stopped_waiting():
    # The sender waits 150 ms, twice, with 1 s between; the provider begins a second set beside the rest of the first.
    upstream = "retry: {max_attempts: 4, initial_delay: 500ms, backoff: constant}"
    of = scenario(DOWN, upstream=upstream, retry="{max_attempts: 2, initial_delay: 1s}", email="timeout: 150ms,")
    first, second = [10, 510, 1010, 1510], [1160, 1660, 2160, 2660]
    assert requests(of) == sorted(
        (at_ms, attempt, number)
        for attempt, times_ms in ((1, first), (2, second))
        for number, at_ms in enumerate(times_ms, start=1)
    )
    assert simulation.run(of).summary["dlq"]["final"] == 1  # at 1,300, long before the last request


def test_a_reply_that_is_lost_behind_the_provider_is_a_time_out_there():
    upstream = "timeout: 1s, retry: {max_attempts: 2, schedule: [0s]}"
    of = scenario("{channel: email, upstream: true, lost_reply_rate: 100%}", upstream=upstream, email="timeout: 5s,")
    assert [each[:2] for each in requests(of)][:2] == [(10, 1), (1010, 1)]


def test_a_reply_of_the_provider_that_is_lost_is_one_at_the_sender():
    of = scenario("{channel: email, lost_reply_rate: 100%}", email="timeout: 5s,")
    assert [each[1:] for each in requests(of)] == [(1, 1), (2, 1), (3, 1)]  # each delivers at once
    assert set(simulation.run(of).attempts["reason"]) == {"timed out"}


def test_what_is_final_is_not_asked_for_again():
    of = scenario("{channel: email, upstream: true, permanent_rate: 100%}")
    assert requests(of) == [(10, 1, 1)]
    assert simulation.run(of).summary["dead_lettered"] == 1


@pytest.mark.parametrize(("upstream", "at_ms"), tables(__file__)["retried"])
def test_the_provider_asks_again_for_what_and_for_how_long_its_settings_say(upstream, at_ms):
    of = scenario(DOWN, upstream=upstream, retry="{max_attempts: 1}", email="timeout: 1m,")
    assert [at for at, _, _ in requests(of)] == at_ms


def test_a_budget_of_the_provider_bounds_its_retries():
    upstream = "retry: {max_attempts: 9, initial_delay: 1ms, budget: {kind: token_bucket, capacity: 5, share: 0.001}}"
    of = scenario(DOWN, upstream=upstream, entry="arrivals: {constant: 10/s}, for: 2s", retry="{max_attempts: 1}")
    summary = simulation.run(of).summary
    assert summary["upstream_requests"] == summary["requests"] + 5


def test_faults_there_may_be_of_a_host_and_of_a_node():
    entry = "arrivals: {constant: 10/s}, for: 2s, hosts: 2"
    hosts = scenario("{channel: email, upstream: true, host: host-0.example, outage: true}", entry=entry)
    result = simulation.run(hosts)
    failed = result.notifications[result.notifications["outcome"] == "dead_lettered"]
    assert set(failed["host"]) == {"host-0.example"}
    nodes = simulation.run(scenario(DOWN.replace("outage", "node: 2, outage"), entry=entry, more="nodes: 2")).summary
    assert nodes["nodes"]["1"]["dead_lettered"] == 0 < nodes["nodes"]["2"]["dead_lettered"]


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=examples(25), deadline=None)
@given(
    attempts=st.integers(1, 4),
    requests_each=st.integers(1, 4),
    rate=st.sampled_from(["0%", "30%", "80%", "100%"]),
    timeout=st.sampled_from(["50ms", "300ms", "5s"]),
    seed=st.integers(0, 99),
)
def test_no_attempt_asks_more_than_it_may_and_numbers_follow_each_other(attempts, requests_each, rate, timeout, seed):
    of = scenario(
        upstream=f"failure_rate: {rate}, latency: {{exponential: {{mean: 100ms}}}}, timeout: 200ms, "
        f"retry: {{max_attempts: {requests_each}, initial_delay: 50ms, jitter: full}}",
        retry=f"{{max_attempts: {attempts}, initial_delay: 100ms}}",
        email=f"timeout: {timeout},",
        entry="arrivals: {poisson: 10/s}, for: 2s",
    )
    events: list[Any] = []
    result = simulation.run(of, seed=seed, on_events=events.extend, invariants="all")
    found: dict[tuple[str, int], list[int]] = {}
    for event in events:
        if isinstance(event, UpstreamRequested):
            found.setdefault((event.notification_id, event.attempt), []).append(event.number)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in found.values())
    assert all(len(numbers) <= requests_each for numbers in found.values())
    assert result.summary["upstream_requests"] == sum(map(len, found.values())) == len(result.upstream_requests)
    assert result.summary["upstream_requests"] <= requests_each * attempts * result.summary["accepted"]
    times = [event.at_ns for event in events]
    assert all(one <= other for one, other in pairwise(times))


def test_one_that_never_fails_changes_nothing():
    entry = "arrivals: {poisson: 20/s}, for: 10s"
    faults = "{channel: email, failure_rate: 30%}", "{channel: email, at: 3s, for: 2s, outage: true}"
    with_one = simulation.run(scenario(*faults, upstream="failure_rate: 0%", entry=entry))
    without = simulation.run(scenario(*faults, upstream=None, entry=entry))
    assert with_one.attempts.equals(without.attempts)
    assert "upstream_requests" not in without.summary
    assert with_one.summary["upstream_requests"] == with_one.summary["sent"]


def test_both_clocks_have_the_same_history():
    upstream = "failure_rate: 40%, latency: {exponential: {mean: 100ms}}, timeout: 200ms"
    of = scenario(upstream=upstream, entry="arrivals: {poisson: 5/s}, for: 10s", more="nodes: 2")
    simulated, live = (simulation.run(of, runtime=runtime).summary for runtime in ("simpy", "trio"))
    assert simulated["upstream_requests"] > simulated["sent"]
    assert live == {**simulated, "runtime": "trio"}
    aggregates = of.model_copy(update={"record": "aggregates"})
    assert simulation.run(aggregates).summary["digest"] == simulated["digest"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.thorough
def test_the_frame_is_saved_where_there_is_one(tmp_path):
    result = simulation.run(scenario(DOWN))
    simulation.save(result, tmp_path / "with")
    assert simulation.open_result(tmp_path / "with").upstream_requests.equals(result.upstream_requests)
    plain = simulation.run(scenario(upstream=None))
    assert "upstream_requests.parquet" not in [path.name for path in simulation.save(plain, tmp_path / "without")]


# ── what is said of it beforehand ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("upstream", "faults", "said"), tables(__file__)["linted"])
def test_the_linter_says_what_it_leads_to(upstream, faults, said):
    of = scenario(*faults, upstream=upstream, entry="arrivals: {constant: 1/s}", email="timeout: 10s,")
    assert [finding.rule for finding in lint_scenario(of)] == said


# ── in Python ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_provider_of_one_s_own_has_no_upstream_that_is_known():
    fault = FaultConfig.model_validate({"channel": "email", "upstream": True, "outage": True})
    with pytest.raises(ConfigurationError, match="upstream is not known"):
        FaultyProvider(SimulatedProvider(), [fault])
    with pytest.raises(ConfigurationError, match="upstream is not known"):
        FaultyProvider(SimulatedProvider(), [], settings=ProviderConfig.model_validate({"upstream": {}}))


# ── more layers ─────────────────────────────────────────────────────────────────────────────────────────────────────

THREE = "retry: {max_attempts: 3, initial_delay: 100ms, backoff: constant}"


def layers(*each: str) -> str:
    """Return the upstream of these layers, the first one first."""
    first, *behind = each
    return first if not behind else f"{first}, upstream: {{{layers(*behind)}}}"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_attempts_multiply_from_layer_to_layer(count: int) -> None:
    of = scenario(upstream=layers(*[THREE] * (count - 1), f"{THREE}, failure_rate: 100%"))
    summary = simulation.run(of, invariants="all").summary
    assert summary["upstream_requests"] == sum(3 ** (layer + 1) for layer in range(1, count + 1))
    if count > 1:
        by_layer = {str(layer): 3 ** (layer + 1) for layer in range(count + 1)}
        assert summary["requests_by_layer"] == summary["channels"]["email"]["requests_by_layer"] == by_layer
    else:
        assert "requests_by_layer" not in summary


@pytest.mark.parametrize(("layer", "by_layer"), [("true", [3, 9, 0]), ("1", [3, 9, 0]), ("2", [3, 9, 27])])
def test_a_fault_hits_the_layer_of_its_number(layer: str, by_layer: list[int]) -> None:
    of = scenario(f"{{channel: email, upstream: {layer}, outage: true}}", upstream=layers(THREE, THREE))
    assert list(simulation.run(of, invariants="all").summary["requests_by_layer"].values()) == by_layer


def test_a_layer_waits_for_the_next_one_until_its_time_is_up() -> None:
    behind = "latency: {constant: 300ms}, retry: {max_attempts: 1}"
    for wait in ("100ms", "0.5ms"):  # the late answer comes before the next request, or after
        late = scenario(upstream=layers(f"{THREE.replace('100ms', wait)}, timeout: 299ms", behind))
        summary = simulation.run(late, invariants="all").summary
        assert (summary["sent"], list(summary["requests_by_layer"].values())) == (0, [3, 9, 9])
    in_time = scenario(upstream=layers(f"{THREE}, timeout: 300ms", behind))
    summary = simulation.run(in_time, invariants="all").summary
    assert (summary["sent"], list(summary["requests_by_layer"].values())) == (1, [1, 1, 1])
