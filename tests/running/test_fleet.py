"""A fleet: several processes over one store, before the same providers. Small cases are derived by hand."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from beside import tables
from effort import examples
from hypothesis import given, settings, strategies as st

import simulation
from actors.errors import ConfigurationError
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    NodeTookOver,
    NotificationChannel,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    SendNotification,
)
from actors.storage.shared_memory import SharedMemory
from simulation.scenario import parse

S = 1_000_000_000


def scenario(
    nodes: str, *faults: str, email: str = "", entry: str = "arrivals: {constant: 1/s}", more: str = ""
) -> Any:
    lines = [
        "duration: 12s",
        f"nodes: {nodes}",
        f"workload: [{{channel: email, {entry}}}]",
        f"channels: {{email: {{provider: {{latency: {{constant: 10ms}}}}, {email}}}}}",
        f"faults: [{', '.join(faults)}]",
        more,
    ]
    return parse("\n".join(lines), "fleet.yaml")


def history(of: Any, **arguments: Any) -> list[Any]:
    events: list[Any] = []
    simulation.run(of, on_events=events.extend, invariants="all", **arguments)
    return events


def of_kind(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if type(event) is kind]


OUTAGE = "{channel: email, at: 0s, outage: true}"
FOR_GOOD = "{channel: email, node: 2, at: 5.5s, crash: process, restart_after: 10m}"


def test_a_fleet_of_one_is_a_process_alone():
    alone, one = (simulation.run(scenario(nodes)).summary for nodes in ("1", "{count: 1, routing: by_user}"))
    assert alone == one
    assert "nodes" not in alone


# ── who gets what ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_node_that_is_there_gets_an_arrival_in_turn():
    crash = "{channel: email, node: 2, at: 5.5s, crash: process, restart_after: 3s}"
    accepted = of_kind(history(scenario("3", crash)), NotificationRequested)
    before, meanwhile, after = (
        [event.node for event in accepted if begin * S < event.at_ns < end * S]
        for begin, end in ((-1, 5.5), (5.5, 8.5), (8.5, 99))
    )
    assert before[:6] == [1, 2, 3, 1, 2, 3][: len(before)]
    assert set(meanwhile) == {1, 3}
    assert set(after) == {1, 2, 3}


def test_a_user_s_arrivals_go_to_one_node_and_to_one_other_while_that_is_gone():
    entry = "arrivals: {constant: 20/s}, users: 12"
    crash = "{channel: email, node: 2, at: 4s, crash: process, restart_after: 4s}"
    homes: dict[str, dict[bool, set[int | None]]] = {}
    accepted = of_kind(history(scenario("{count: 3, routing: by_user}", crash, entry=entry)), NotificationRequested)
    for event in accepted:
        homes.setdefault(event.user_id, {}).setdefault(4 * S < event.at_ns < 8 * S, set()).add(event.node)
    assert {2} in [of_user[False] for of_user in homes.values()]
    for of_user in homes.values():
        assert len(of_user[False]) == 1
        assert of_user[True] == of_user[False] or of_user[False] == {2}
        assert len(of_user[True]) == 1


def test_a_user_whose_home_is_gone_stays_where_it_is_while_others_come_and_go():
    entry = "arrivals: {constant: 40/s}, users: 60"
    faults = [
        "{channel: email, node: 1, at: 1s, crash: process, restart_after: 10m}",
        "{channel: email, node: 4, at: 6s, crash: process, restart_after: 10m}",
    ]
    accepted = of_kind(history(scenario("{count: 5, routing: by_user}", *faults, entry=entry)), NotificationRequested)
    first, then = (
        {event.user_id: event.node for event in accepted if begin * S < event.at_ns < end * S}
        for begin, end in ((1, 6), (6, 12))
    )
    assert len(set(first.values())) == 4
    assert {node for user, node in first.items() if then.get(user, node) != node} == {4}


def test_an_order_to_breakers_goes_to_each_node():
    orders = "operations: [{at: 5s, channel: email, breaker: force-open}]"
    events = history(scenario("3", more=orders, entry="arrivals: {constant: 6/s}"))
    assert {event.breaker for event in of_kind(events, BreakerTransitioned)} == {"email@1", "email@2", "email@3"}
    assert max(event.at_ns for event in of_kind(events, NotificationSent)) < 5.1 * S


def test_while_all_are_gone_arrivals_are_refused():
    crash = "{channel: email, at: 5.5s, crash: process, restart_after: 3s}"
    summary = simulation.run(scenario("3", crash), invariants="all").summary
    assert summary["refused"]["down"] == 3
    assert summary["delivered"] == summary["offered"] - 3


def test_an_id_that_another_node_has_under_way_is_a_duplicate_there():
    entry = "arrivals: {constant: 20/s}, repeats: 30%"
    email = "retry: {max_attempts: 3, initial_delay: 2s}"
    result = simulation.run(
        scenario("3", "{channel: email, at: 0s, for: 3s, outage: true}", entry=entry, email=email), invariants="all"
    )
    summary = result.summary
    assert summary["duplicates"] > 20
    assert summary["reached_twice"] == 0
    assert summary["accepted"] + summary["duplicates"] == 240


# ── each has its own ────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_node_has_a_breaker_of_its_own():
    email = "circuit_breaker: {failure_threshold: 2, timeout: 1h}, retry: {max_attempts: 1}"
    events = history(scenario("3", OUTAGE, email=email, more="drain: 0s"))
    opened = [event.breaker for event in of_kind(events, BreakerTransitioned) if event.to_state == "open"]
    assert sorted(opened) == ["email@1", "email@2", "email@3"]
    assert Counter(event.node for event in events if event.node is not None)


def test_a_quota_is_each_node_s_own():
    email = "quota: {rate: 1/m}"
    summary = simulation.run(scenario("4", email=email, more="drain: 0s"), invariants="all").summary
    assert summary["sent"] == 4


def test_a_fault_may_hit_what_one_node_sees():
    email = "retry: {max_attempts: 1}, circuit_breaker: {enabled: false}"
    result = simulation.run(scenario("3", "{channel: email, node: [1, 3], outage: true}", email=email))
    nodes = result.summary["nodes"]
    assert nodes["1"]["sent"] == nodes["3"]["sent"] == 0 < nodes["1"]["dead_lettered"]
    assert nodes["2"]["dead_lettered"] == 0 < nodes["2"]["sent"]


# ── who takes over ──────────────────────────────────────────────────────────────────────────────────────────────────

WAITS = "retry: {max_attempts: 2, initial_delay: 8s, jitter: none}"


def test_what_a_dead_node_had_is_taken_over_when_its_lease_has_ended():
    nodes = "{count: 3, takeover_after: 4s}"
    events = history(scenario(nodes, FOR_GOOD, "{channel: email, for: 6s, outage: true}", email=WAITS))
    takeovers = of_kind(events, NodeTookOver)
    assert {event.at_ns for event in takeovers} == {9_500_000_000}
    assert {event.from_node for event in takeovers} == {2}
    accepted = {event.notification_id: event.node for event in of_kind(events, NotificationRequested)}
    taken = {each: event.node for event in takeovers for each in event.notification_ids}
    assert set(taken) == {each for each, node in accepted.items() if node == 2}
    assert abs(sum(node == 1 for node in taken.values()) - sum(node == 3 for node in taken.values())) <= 1
    sent = {event.notification_id: event.node for event in of_kind(events, NotificationSent)}
    assert sent == {each: taken.get(each, node) for each, node in accepted.items()}


def test_what_a_node_had_that_is_back_in_time_is_its_own():
    crash = "{channel: email, node: 2, at: 5.5s, crash: process, restart_after: 3s}"
    nodes = "{count: 3, takeover_after: 4s}"
    events = history(scenario(nodes, crash, "{channel: email, for: 6s, outage: true}", email=WAITS))
    assert of_kind(events, NodeTookOver) == []
    accepted = {event.notification_id: event.node for event in of_kind(events, NotificationRequested)}
    assert {event.notification_id: event.node for event in of_kind(events, NotificationSent)} == accepted


def test_when_none_is_left_to_take_over_the_next_that_comes_does():
    faults = [
        "{channel: email, for: 3s, outage: true}",
        "{channel: email, node: 1, at: 4s, crash: process, restart_after: 10m}",
        "{channel: email, node: 2, at: 4s, crash: process, restart_after: 20s}",
    ]
    events = history(scenario("{count: 2, takeover_after: 4s}", *faults, email=WAITS))
    (takeover,) = of_kind(events, NodeTookOver)
    assert (takeover.at_ns, takeover.node, takeover.from_node) == (24 * S, 2, 1)


def test_a_redrive_that_has_waited_for_a_handler_takes_no_letter_of_a_later_death():
    # Node 2 is told at 3 s, and its handler is down until 10 s. Node 1 redrives the letter meanwhile; it dies again.
    faults = [
        OUTAGE,
        "{channel: email, node: 1, at: 1.5s, crash: process, restart_after: 2.5s}",
        "{channel: email, node: 2, at: 2s, crash: {actor: handler}, restart_after: 8s}",
    ]
    email = "retry: {max_attempts: 1}"
    operations = "operations: [{at: 3s, redrive: all}, {at: 5s, redrive: all}]"
    events = history(scenario("2", *faults, email=email, entry="arrivals: {constant: 1/s}, for: 1s", more=operations))
    assert [(event.at_ns, event.node) for event in of_kind(events, NotificationRedriven)] == [(5 * S, 1)]


# ── deploys, and more or fewer nodes ────────────────────────────────────────────────────────────────────────────────


def test_a_deploy_stops_one_node_after_the_other():
    events = history(scenario("3", "{at: 2s, deploy: {each_down: 1s, every: 2s, drain: 500ms}}"))
    stopped = [(event.at_ns / S, event.node) for event in of_kind(events, ActorFailed)]
    assert stopped == [(2.5, 1), (4.5, 2), (6.5, 3)]
    accepted = of_kind(events, NotificationRequested)
    assert not [event for event in accepted if event.node == 1 and 2 * S < event.at_ns < 3.5 * S]
    assert [event for event in accepted if event.node == 1 and event.at_ns > 3.5 * S]


def test_what_a_node_has_that_is_stopped_goes_to_the_others_at_once():
    faults = ["{channel: email, for: 3s, outage: true}", "{at: 4s, deploy: {each_down: 1s, every: 1h}}"]
    events = history(scenario("2", *faults, email=WAITS))
    (takeover,) = of_kind(events, NodeTookOver)
    assert (takeover.at_ns, takeover.node, takeover.from_node) == (4 * S, 2, 1)


def test_a_fleet_grows_and_shrinks():
    faults = ["{at: 3.5s, scale: {to: 4}}", "{at: 7.5s, scale: {to: 1}}"]
    accepted = of_kind(history(scenario("2", *faults)), NotificationRequested)
    for begin, end, nodes in ((0, 3.5, {1, 2}), (3.5, 7.5, {1, 2, 3, 4}), (7.5, 12, {1})):
        assert {event.node for event in accepted if begin * S < event.at_ns < end * S} == nodes


# ── all in all ──────────────────────────────────────────────────────────────────────────────────────────────────────

_crashes = st.builds(
    "{{channel: email, node: {}, at: {:.2f}s, crash: process, restart_after: {:.2f}s}}".format,
    st.integers(1, 3),
    st.floats(0.1, 11),
    st.floats(0.1, 9),
)


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(_crashes, max_size=3), st.sampled_from(["round_robin", "random", "by_user"]), st.integers(0, 99))
def test_nothing_is_lost_and_both_clocks_agree(crashes, routing, seed):
    outage = "{channel: email, at: 2s, for: 4s, failure_rate: 70%}"
    of = scenario(
        f"{{count: 3, routing: {routing}, takeover_after: 2s}}",
        outage,
        *crashes,
        email="circuit_breaker: {failure_threshold: 3, timeout: 2s}",
        entry="arrivals: {poisson: 5/s}, users: 5",
        more=f"seed: {seed}",
    )
    simulated, live = (simulation.run(of, runtime=runtime, invariants="all").summary for runtime in ("simpy", "trio"))
    assert simulated["digest"] == live["digest"]
    assert simulated["in_flight"] == 0
    for name in ("accepted", "sent", "dead_lettered", "attempts"):
        assert simulated[name] == sum(of_node[name] for of_node in simulated["nodes"].values())
    assert simulated["breaker"]["email"]["opened"] == sum(
        simulated["breaker"][f"email@{number}"]["opened"] for number in (1, 2, 3)
    )


def test_a_node_that_is_to_be_stopped_and_crashes_first_stays_away():
    faults = [
        "{at: 2s, scale: {to: 2, drain: 5s}}",
        "{channel: email, node: 3, at: 4s, crash: process}",
    ]
    events = history(scenario("3", *faults))
    assert {event.node for event in of_kind(events, NotificationRequested) if event.at_ns > 2 * S} == {1, 2}


def test_a_node_that_is_wanted_again_while_it_is_drained_is_back_when_it_has_ended():
    faults = ["{at: 2s, scale: {to: 2, drain: 3s}}", "{at: 4s, scale: {to: 3}}"]
    events = history(scenario("3", *faults))
    assert [(event.at_ns, event.node) for event in of_kind(events, ActorFailed)] == [(5 * S, 3)]
    at_three = [event.at_ns / S for event in of_kind(events, NotificationRequested) if event.node == 3]
    assert not [at for at in at_three if 2 < at < 5]
    assert [at for at in at_three if at > 5]


def test_more_nodes_are_started_at_an_instant_at_which_none_is_left_to_crash():
    faults = [
        "{channel: email, at: 2s, crash: process, restart_after: 1h}",
        "{channel: email, at: 4s, crash: process, scale: {to: 3}}",
    ]
    events = history(scenario("2", *faults))
    assert {event.node for event in of_kind(events, NotificationRequested) if event.at_ns > 4 * S} == {3}


def test_the_other_nodes_know_a_letter_as_it_was_accepted():
    nodes = SharedMemory([1, 2]).nodes
    told: list[Any] = []
    nodes[2].on_news = told.append
    accepted = SendNotification(notification_id="a", channel=NotificationChannel.PUSH, recipient="r", message="first")
    edited = msgspec.structs.replace(accepted, message="edited")
    of_it = {"epoch_ns": 0, "notification_id": "a", "channel": accepted.channel}
    nodes[1].commit(NotificationRequested(at_ns=1, user_id="r", **of_it), accepted)
    for at_ns, command in ((2, accepted), (4, edited)):
        dead = NotificationMovedToDeadLetter(at_ns=at_ns, reason="bad", attempts=1, requested_at_ns=1, **of_it)
        nodes[1].commit(dead, command)
        nodes[1].commit(NotificationRedriven(at_ns=at_ns + 1, edit={"message": "edited"}, **of_it), command)
    letters = [letter for news in told for letter in news.found]
    assert [(letter.command, letter.accepted) for letter in letters] == [(accepted, None), (edited, accepted)]


@pytest.mark.parametrize(("nodes", "fault", "text"), tables(__file__)["no_such_nodes"])
def test_what_is_said_of_nodes_that_there_are_not(nodes, fault, text):
    if text is None:
        scenario(nodes, fault)
        return
    with pytest.raises(ConfigurationError, match=r"fleet\.yaml") as refused:
        scenario(nodes, fault)
    assert text in str(refused.value)
