"""Closed workloads: each client sends, waits for the end, thinks, and so on; by invariants and by theory."""

from math import comb, factorial, inf
from typing import Any

import pytest
from confidence import check_mean
from effort import sliced
from hypothesis import given, strategies as st
from worlds import Scripted, World, on_both_clocks

import simulation
from actors.errors import ConfigurationError
from actors.messages import NotificationRequested
from actors.outcomes import Permanent
from actors.pipeline.dead_letter_queue import RedriveDeadLetter
from simulation.running.workload import ENDS, Clients
from simulation.scenario import Scenario, parse


def closed(entry: str, channel: str = "", rest: str = "") -> Scenario:
    return parse(f"""
duration: 20s
workload: [{{channel: webhook, {entry}}}]
channels: {{webhook: {{circuit_breaker: {{enabled: false}}, {channel}}}}}
{rest}
""")


def requested(result: Any) -> list[float]:
    return list(result.notifications["requested_at_s"])


def both_clocks(scenario: Scenario) -> Any:
    """Run on both clocks, check that the histories are equal, and return the simulated result."""
    simulated, live = simulation.run(scenario), simulation.run(scenario, runtime="trio")
    assert simulated.history == live.history
    assert live.summary == {**simulated.summary, "runtime": "trio"}
    return simulated


def test_each_client_thinks_sends_waits_and_thinks_again():
    result = both_clocks(closed("clients: 2, think: 3s", "provider: {latency: 2s}"))
    assert requested(result) == [3, 3, 8, 8, 13, 13, 18, 18]
    assert result.summary["sent"] == 8
    assert result.summary["simulated_s"] == 20


def test_the_window_of_arrivals_is_half_open_and_what_is_under_way_ends():
    result = both_clocks(closed("clients: 1, think: 5s", "provider: {latency: 5s}"))
    assert requested(result) == [5, 15]
    result = both_clocks(closed("clients: 1, think: 19.5s", "provider: {latency: 5s}"))
    assert (requested(result), result.summary["simulated_s"]) == ([19.5], 24.5)
    assert requested(both_clocks(closed("clients: 3, think: 20s"))) == []


def test_a_dead_letter_is_an_end_and_retries_before_it_are_none():
    settings = "provider: {failure_rate: 100%}, retry: {max_attempts: 3, initial_delay: 1s}"
    result = both_clocks(closed("clients: 1, think: 1s", settings))
    assert requested(result) == [1, 5, 9, 13, 17]
    assert result.summary["dead_lettered"] == 5


def test_an_expiry_is_an_end():
    settings = "provider: {failure_rate: 100%}, retry: {max_attempts: 9, initial_delay: 2s}"
    assert requested(both_clocks(closed("clients: 1, think: 1s, expires_after: 3s", settings))) == [
        1, 4, 7, 10, 13, 16, 19,
    ]  # fmt: skip


def test_a_suppression_is_an_end_unless_it_is_critical():
    off = "preferences: [{share: 100%, channel: webhook, enabled: false}]"
    entry, slow = "clients: 1, think: 1s", "provider: {latency: 3s}"
    suppressed = both_clocks(closed(entry, slow, off))
    assert suppressed.summary["suppressed"] == len(requested(suppressed)) == 19
    critical = both_clocks(closed(entry + ", critical: true", slow, off))
    assert critical.summary["sent"] == 5


def test_users_are_drawn_from_so_many_and_else_everyone_is_new():
    users = set(simulation.run(closed("clients: 5, think: 100ms, users: 3")).notifications["user"])
    assert users == {"user-0", "user-1", "user-2"}
    result = simulation.run(closed("clients: 5, think: 1s"))
    assert result.notifications["user"].nunique() == len(result.notifications)


def test_a_redrive_does_not_wake_a_client():
    scenario = closed("clients: 1, think: 5s")

    def on(world: World) -> None:
        world.open(Scripted([Permanent(reason="no")]), webhook={})
        send = world.pipeline.handler.tell
        clients = world.system.spawn(
            Clients, 0, scenario, scenario.workload[0], send, lambda message, _: send(message), lambda _: None
        )
        world.pipeline.bus.subscribe(*ENDS)(clients.tell)
        world.ask(world.pipeline.dead_letter_queue, RedriveDeadLetter(notification_id="webhook-0-0"), at=6)

    world = on_both_clocks(on, until=18)
    assert world.times(NotificationRequested) == [5.0, 10.0, 15.0]
    assert world.sent_ids() == ["webhook-0-0", "webhook-0-1", "webhook-0-2"]


def test_open_and_closed_side_by_side_get_their_own_ends():
    text = """
duration: 20s
workload:
  - {channel: webhook, clients: 1, think: 4s}
  - {channel: webhook, clients: 2, think: 3s}
  - {channel: webhook, arrivals: {constant: 2/s}}
  - {event: OrderPlaced, arrivals: {constant: 1/s}}
channels: {webhook: {provider: {latency: 1s}}}
"""
    result = both_clocks(parse(text))
    ids = result.notifications.set_index("id")["requested_at_s"]
    assert list(ids[ids.index.str.startswith("webhook-0-")]) == [4, 9, 14, 19]
    assert list(ids[ids.index.str.startswith("webhook-1-")]) == [3, 3, 7, 7, 11, 11, 15, 15, 19, 19]
    assert ids.index.str.startswith("webhook-2-").sum() == 40


def test_what_one_client_thinks_does_not_depend_on_how_many_there_are():
    def first(clients: int) -> list[float]:
        return requested(simulation.run(closed(f"clients: {clients}, think: {{exponential: {{mean: 4s}}}}")))

    assert set(first(1)) <= set(first(2)) <= set(first(5))


@given(
    seed=st.integers(0, 999),
    clients=st.integers(1, 6),
    capacity=st.integers(1, 3),
    failing=st.sampled_from(["0%", "40%"]),
    think=st.sampled_from(["700ms", "{exponential: {mean: 500ms}}", "{uniform: {low: 0s, high: 1s}}"]),
)
def test_a_client_has_one_notification_under_way_and_never_rests_but_to_think(seed, clients, capacity, failing, think):
    channel = f"provider: {{latency: 400ms, capacity: {capacity}, failure_rate: {failing}}}, retry: {{max_attempts: 2}}"
    scenario = closed(f"clients: {clients}, think: {think}", channel)
    result = simulation.run(scenario, seed=seed)
    changes = sorted(
        [(row.finished_at_s, -1) for row in result.notifications.itertuples()]
        + [(row.requested_at_s, 1) for row in result.notifications.itertuples()]
    )
    under_way, highest = 0, 0
    for _, change in changes:
        under_way += change
        highest = max(highest, under_way)
    assert highest <= clients
    if think == "700ms":
        # All that is sent later follows an end by exactly that much.
        ends = {round(row.finished_at_s, 6) for row in result.notifications.itertuples()}
        assert all(round(at - 0.7, 6) in ends for at in requested(result) if at > 0.7)
        # And every end but those at the very end is followed.
        assert len(result.notifications) - clients == sum(
            end + 0.7 < 20 for end in result.notifications["finished_at_s"]
        )


def test_clients_that_take_no_time_at_all_are_reported_and_not_waited_for():
    for runtime in ("simpy", "trio"):
        with pytest.raises(ConfigurationError) as refused:
            simulation.run(closed("clients: 3, think: 0s"), runtime=runtime)
        assert refused.value.problems[0].startswith("workload.0.think: wanted clients that think for some time, or")


def test_a_saturated_client_thinks_for_no_time():
    result = both_clocks(closed("clients: 2, think: 0s", "provider: {latency: 500ms, capacity: 1}"))
    assert result.summary["sent"] == 41  # 40 in the twenty seconds, and the one that waited behind the last
    assert result.summary["delivery_time_s"]["p50"] == 1.0


# ── against theory ──────────────────────────────────────────────────────────────────────────────────────────────


def machine_repair(clients: int, servers: int, think_s: float, service_s: float) -> tuple[float, float]:
    """Return throughput (1/s) and mean response time (s) of M/M/c//N (Kleinrock 1975, section 3.8)."""
    ratio = service_s / think_s
    weights = [
        comb(clients, n)
        * ratio**n
        * (1 if n <= servers else factorial(n) / (factorial(servers) * servers ** (n - servers)))
        for n in range(clients + 1)
    ]
    thinking = sum((clients - n) * weight for n, weight in enumerate(weights)) / sum(weights)
    per_s = thinking / think_s
    return per_s, clients / per_s - think_s


@pytest.mark.thorough
@pytest.mark.parametrize(("clients", "servers", "duration"), sliced([(4, 1, 2000), (20, 4, 300), (3, inf, 2000)], 6, 2))
def test_a_closed_network_has_the_throughput_and_response_of_the_machine_repair_model(clients, servers, duration):
    bound = "" if servers == inf else f", capacity: {servers}"
    scenario = parse(f"""
duration: {duration}s
workload: [{{channel: webhook, clients: {clients}, think: {{exponential: {{mean: 1s}}}}}}]
channels: {{webhook: {{timeout: 10m, provider: {{latency: {{exponential: {{mean: 250ms}}}}{bound}}}}}}}
""")
    rates, responses = [], []
    for seed in range(12):
        notifications = simulation.run(scenario, seed=seed).notifications
        steady = notifications[notifications["requested_at_s"] >= 20]
        rates.append(len(steady) / (duration - 20))
        responses.append((steady["finished_at_s"] - steady["requested_at_s"]).mean())
    per_s, response = machine_repair(clients, min(servers, clients), 1.0, 0.25)
    check_mean(rates, per_s, within=0.03)
    check_mean(responses, response, within=0.05)


def test_a_closed_system_slows_down_where_an_open_one_would_pile_up():
    """Little's law for a closed system: clients = throughput x (response + think)."""
    result = simulation.run(
        closed("clients: 30, think: 1s", "timeout: 10m, provider: {latency: 500ms, capacity: 2}", "drain: 0s")
    )
    done = result.notifications.query("finished_at_s >= 5 and finished_at_s < 20")
    response = (done["finished_at_s"] - done["requested_at_s"])[done["requested_at_s"] > 10].mean()
    assert len(done) / 15 == pytest.approx(4, rel=0.02)
    assert 4 * (response + 1) == pytest.approx(30, rel=0.02)
