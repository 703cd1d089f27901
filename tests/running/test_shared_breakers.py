"""Circuit breakers that the nodes of a fleet share. Small cases are derived by hand.

Three arrive each second, of which each node gets one: node 1 at whole seconds, node 2 a third later, node 3 two thirds.
An attempt takes 0.1 s, and is tried again after 1 s. Where node 2 cannot reach the provider from 10 s on, it fails at
10.433 s, at 11.433 s and, with the first one again, at 11.533 s; and three failures open a breaker for a minute.
"""

import textwrap
from typing import Any

from effort import examples
from hypothesis import given, settings, strategies as st

import simulation
from actors.messages import BreakerTransitioned, NotificationSent
from simulation.scenario import parse

S = 1_000_000_000
ONE_NODE = "{channel: email, node: 2, at: 10s, for: 2m, outage: true}"
ALL = "{channel: email, at: 10s, for: 2m, outage: true}"


def scenario(
    shared: str,
    *faults: str,
    nodes: str = "3",
    more: str = "",
    entry: str = "constant: 3/s",
    breaker: str = "",
    operations: str = "",
    expect: str = "",
) -> Any:
    return parse(
        f"duration: 2m\nnodes: {nodes}\nworkload: [{{channel: email, arrivals: {{{entry}}}{more}}}]\n"
        f"channels: {{email: {{circuit_breaker: {{failure_threshold: 3, {breaker} {shared}}}, retry: "
        f"{{max_attempts: 9, backoff: constant}}, provider: {{latency: 100ms}}}}}}\nfaults: [{', '.join(faults)}]\n"
        f"operations: [{operations}]\nexpect: [{expect}]",
        "fleet.yaml",
    )


def events_of(of: Any, kind: Any = BreakerTransitioned, **arguments: Any) -> list[Any]:
    found: list[Any] = []
    simulation.run(of, on_events=found.extend, invariants="all", **arguments)
    return [event for event in found if isinstance(event, kind)]


def course(of: Any, until_s: float = 125.0) -> list[tuple[float, str, str]]:
    """Return the transitions: when, in seconds, at which node and, where there are hosts, which; and by what."""
    return [
        (round(event.at_ns / S, 3), event.breaker[-1] + (event.host or ""), str(event.cause))
        for event in events_of(of)
        if event.at_ns <= until_s * S
    ]


def at(events: list[tuple[float, str, str]], begin_s: float, end_s: float) -> set[tuple[float, str, str]]:
    return {event for event in events if begin_s <= event[0] < end_s}


# ── who says so, and until when ─────────────────────────────────────────────────────────────────────────────────────


def test_any_has_all_wait_for_one_and_each_probe_for_itself():
    found = course(scenario("shared: any, share_latency: 200ms", ONE_NODE))
    assert found[:3] == [(11.533, "2", "trip"), (11.733, "1", "others-open"), (11.733, "3", "others-open")]
    assert at(found, 12, 72) == {
        *((71.533, node, "wait-over") for node in "123"),
        (71.633, "1", "recover"),
        (71.633, "3", "recover"),
        (71.633, "2", "trip"),
        (71.833, "1", "others-open"),  # the 0.2 s that the news take are all that they have in a minute
        (71.833, "3", "others-open"),
    }


def test_news_reach_one_that_is_probing():
    """Node 1 is slow from a minute on: its probe would succeed after a second, at 72.533 s."""
    slow = "{channel: email, node: 1, at: 60s, for: 1m, latency_factor: 10}"
    found = course(scenario("shared: any, share_latency: 200ms", ONE_NODE, slow))
    assert [event for event in found if event[1] == "1"] == [
        (11.733, "1", "others-open"),
        (71.533, "1", "wait-over"),
        (71.833, "1", "others-open"),
    ]


def test_a_quorum_does_not_believe_one():
    assert {(node, cause) for _, node, cause in course(scenario("shared: quorum", ONE_NODE))} == {
        ("2", "trip"),
        ("2", "wait-over"),
    }


def test_a_quorum_opens_where_two_of_three_have_found_out():
    """Node 1 fails at 10.1 s, 11.1 s and 11.2 s; node 2 as above; node 3 at 10.767 s and 11.767 s only."""
    found = course(scenario("shared: quorum, share_latency: 200ms", ALL))
    assert found[:3] == [(11.2, "1", "trip"), (11.533, "2", "trip"), (11.733, "3", "others-open")]
    # Node 3 was told by nodes 1 and 2; when the first of them no longer says so, one in three does.
    assert at(found, 12, 71.4) == {
        (71.2, "1", "wait-over"),
        (71.2, "3", "wait-over"),
        (71.3, "1", "trip"),
        (71.3, "3", "trip"),
    }
    # Both say so again, and node 2 knows at 71.5 s, before its own minute is over.
    assert at(found, 71.4, 125) == set()


def test_each_by_itself_is_as_it_was():
    alone, none = (course(scenario(shared, ALL)) for shared in ("", "shared: none"))
    assert alone == none
    assert {cause for *_, cause in none} == {"trip", "wait-over"}


def test_the_summary_counts_what_others_have_opened():
    bounds = [f"breaker.{name}.opened_by_others == {count}" for name, count in (("email@1", 2), ("email", 4))]
    result = simulation.run(scenario("shared: any", ONE_NODE, expect=", ".join(bounds)))
    assert result.holds
    assert result.summary["breaker"]["email@2"]["opened_by_others"] == 0
    assert "opened_by_others" not in simulation.run(scenario("", ONE_NODE)).summary["breaker"]["email"]


def test_news_that_come_after_the_end_open_nothing():
    found = course(scenario("shared: any, share_latency: 30s", ONE_NODE, breaker="timeout: 30s,"))
    assert "others-open" not in {cause for *_, cause in found}


def test_what_is_said_of_a_host_is_of_that_host():
    fault = "{channel: email, node: 1, host: host-0.example, at: 10s, for: 1m, outage: true}"
    found = course(scenario("shared: any", fault, nodes="2", more=", hosts: 2", breaker="per: host,"))
    assert {node for _, node, cause in found if cause == "others-open"} == {"2host-0.example"}


# ── who is there ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_dead_node_has_said_ends_with_its_lease():
    crash = "{channel: email, node: 2, at: 20s, crash: process, restart_after: 10m}"
    found = course(scenario("shared: any", ONE_NODE, crash, nodes="{count: 3, takeover_after: 5s}"), until_s=60)
    assert at(found, 12, 60) == {
        (20.0, "2", "restart"),
        (25.0, "1", "wait-over"),
        (25.0, "3", "wait-over"),
        (25.1, "1", "recover"),
        (25.1, "3", "recover"),
    }


def test_one_that_is_stopped_says_nothing_any_more():
    found = course(scenario("shared: any", ONE_NODE, "{at: 20s, scale: {to: 1}}"), until_s=60)
    assert (20.0, "1", "wait-over") in found


def test_one_that_starts_hears_at_once_what_is_being_said():
    crash = "{channel: email, node: 3, at: 20s, crash: process, restart_after: 2s}"
    found = course(scenario("shared: any", ONE_NODE, crash))
    assert at(found, 12, 60) == {(20.0, "3", "restart"), (22.0, "3", "others-open")}


def test_a_quorum_is_of_those_that_live():
    """One of four and one of three are no more than half; when node 4's lease has ended, two of three are."""
    one, two = ONE_NODE.replace("node: 2", "node: 1"), ONE_NODE.replace("node: 2", "node: 2")
    crash = "{channel: email, node: 4, at: 20s, crash: process, restart_after: 10m}"
    nodes = "{count: 4, takeover_after: 5s}"
    found = course(scenario("shared: quorum", one, two, crash, nodes=nodes, entry="constant: 4/s"), until_s=60)
    assert [event for event in found if event[2] == "others-open"] == [(25.0, "3", "others-open")]


def test_an_operator_s_override_has_a_node_say_so_no_longer():
    """It goes to all nodes, and each forgets what it was told."""
    fault, close = ONE_NODE.replace("2m", "5s"), "{at: 20s, channel: email, breaker: close}"
    found = course(scenario("shared: any, share_latency: 5s", fault, operations=close))
    assert at(found, 12, 125) == {
        (16.533, "1", "others-open"),
        (16.533, "3", "others-open"),
        *((20.0, node, "close") for node in "123"),
    }


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_both_clocks_have_the_same_history():
    crash = "{channel: email, node: 3, at: 20s, crash: process, restart_after: 2s}"
    of = scenario("shared: quorum, share_latency: 300ms", ALL, crash, "{at: 40s, scale: {to: 5}}")
    simulated, live = (simulation.run(of, runtime=runtime).summary for runtime in ("simpy", "trio"))
    assert live == {**simulated, "runtime": "trio"}


@settings(max_examples=examples(8), deadline=None)
@given(
    shared=st.sampled_from(["any", "quorum"]),
    latency=st.sampled_from(["0s", "100ms", "3s"]),
    count=st.sampled_from([2, 3, 5]),
    breaker=st.sampled_from(
        ["", "per: host,", "half_open_max: 1s,", "open_growth: {multiplier: 2, max: 1m, jitter: 20%},",
         "half_open_permits: 3,", "ramp: {over: 10s},", "when_open: fail,", "reopen: after,"]
    ),
    faults=st.lists(
        st.sampled_from(
            ["{channel: email, node: 1, at: 5s, for: 40s, outage: true}",
             "{channel: email, node: 2, at: 15s, for: 60s, failure_rate: 50%}",
             "{channel: email, at: 30s, for: 30s, failure_rate: 80%}",
             "{channel: email, at: 70s, for: 10s, hang: true}",
             "{channel: email, node: 2, at: 35s, crash: process, restart_after: 2s}",
             "{channel: email, node: 1, at: 50s, crash: process, restart_after: 40s}",
             "{at: 33s, deploy: {each_down: 2s, every: 9s}}", "{at: 60s, scale: {to: 1}}", "{at: 20s, scale: {to: 6}}",
             "{channel: email, at: 40s, crash: {actor: breaker}, restart_after: 4s}"]
        ),
        min_size=1, max_size=5, unique=True,
    ),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_the_model_says_the_same_and_no_law_is_broken(shared, latency, count, breaker, faults, seed):
    of = scenario(
        f"shared: {shared}, share_latency: {latency}, timeout: 12s",
        *faults,
        nodes=f"{{count: {count}, takeover_after: 6s, routing: random}}",
        more=", hosts: 3",
        breaker=breaker,
        entry="poisson: 4/s",
    )
    assert events_of(of, NotificationSent, seed=seed)


def test_what_is_taken_back_at_the_instant_of_its_end_comes_behind_what_was_said():
    """The two tell the same instant, five seconds after they are said."""
    force_open = "operations: [{at: 12s, channel: email, breaker: force-open}]"
    breaker = "failure_threshold: 1, timeout: 2s, shared: any, share_latency: 5s"
    fault = "faults: [{channel: email, at: 10s, for: 1s, outage: true}]"
    text = f"""
    duration: 30s
    nodes: 2
    workload: [{{channel: email, arrivals: {{constant: 1/s}}}}]
    channels: {{email: {{retry: {{max_attempts: 1}}, provider: {{latency: 0s}}, circuit_breaker: {{{breaker}}}}}}}
    {fault}
    {force_open}
    """
    assert "reference-model" in simulation.run(parse(textwrap.dedent(text)), invariants="all").checked


# ── what is refused, and said ───────────────────────────────────────────────────────────────────────────────────────
