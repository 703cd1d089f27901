"""Nodes that do not reach their store for a time, or whose store takes its time, by hand: what they do meanwhile, and
who has what afterwards."""

from typing import Any

import msgspec
import pytest
from test_fleet import history, of_kind, scenario

import simulation
from actors.domain.store import BreakerVote, LeaseRenewed, NodesChanged
from actors.errors import InvariantBreach, Overtaken
from actors.messages import (
    ActorFailed,
    NodeTookOver,
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    SendNotification,
)
from actors.storage.shared_memory import NodeStore, SharedMemory
from simulation.running import service

S = 1_000_000_000
NODES = "{count: 3, takeover_after: 4s}"
"""One a second arrives, so that the second node gets those at 2, 5, 8 and 11 s, or one second earlier."""


def partition(length: str, node: str = "2", at: str = "3500ms") -> str:
    return f"{{node: {node}, at: {at}, for: {length}, partition: store}}"


def at_node(number: int, events: list[Any], kind: type) -> list[float]:
    return [event.at_ns / S for event in of_kind(events, kind) if event.node == number]


# ── less than a lease ───────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_node_accepts_meanwhile_is_accepted_and_sent_when_it_is_back():
    events = history(scenario(NODES, partition("3s")))
    accepted = {event.notification_id: event for event in of_kind(events, NotificationRequested)}
    sent = {event.notification_id: event.at_ns for event in of_kind(events, NotificationSent)}
    meanwhile = [each for each, event in accepted.items() if event.node == 2 and 3.5 * S < event.at_ns < 6.5 * S]
    assert [sent[each] for each in meanwhile] == [6_510_000_000]
    assert all(sent[each] == event.at_ns + S // 100 for each, event in accepted.items() if each not in meanwhile)
    assert of_kind(events, NodeTookOver) == of_kind(events, ActorFailed) == []


def waiting_for_four_seconds() -> Any:
    """Return a scenario in which what has failed just before the partition is due when a lease is nearly over."""
    retry = "retry: {max_attempts: 9, backoff: constant, initial_delay: 4s, jitter: none}"
    email = f"{retry}, circuit_breaker: {{enabled: false}}"
    faults = [partition("3900ms", at="2600ms"), "{channel: email, for: 8s, outage: true}"]
    return scenario(NODES, *faults, email=email, entry="arrivals: {constant: 30/s}")


def test_it_goes_on_with_what_it_has_until_nine_tenths_of_its_lease_are_over():
    failed = of_kind(history(waiting_for_four_seconds()), NotificationFailed)
    tried = sorted(event.started_ns / S for event in failed if event.node == 2)
    assert [at for at in tried if 6.0 < at < 6.2]
    assert not [at for at in tried if 6.2 <= at < 6.5]
    assert [at for at in tried if 6.5 <= at < 6.6]


def test_one_that_has_no_lease_gets_nothing_new():
    accepted = at_node(
        2,
        history(scenario(NODES, partition("3900ms", at="1s"), entry="arrivals: {constant: 30/s}")),
        NotificationRequested,
    )
    assert [at for at in accepted if 4.4 < at < 4.6]
    assert not [at for at in accepted if 4.6 <= at < 4.9]
    assert [at for at in accepted if 4.9 < at < 5.1]


# ── more than a lease ───────────────────────────────────────────────────────────────────────────────────────────────

SLOW = "retry: {max_attempts: 2, initial_delay: 8s, jitter: none}"


def test_the_others_take_over_and_it_starts_anew_when_it_is_back():
    faults = [partition("6s"), "{channel: email, for: 3s, outage: true}"]
    result = simulation.run(scenario(NODES, *faults, email=SLOW), invariants="all")
    events = list(result.history)
    assert {(event.at_ns, event.from_node) for event in of_kind(events, NodeTookOver)} == {(7_500_000_000, 2)}
    (ended,) = of_kind(events, ActorFailed)
    assert (ended.at_ns, ended.node, ended.error.partition(":")[0]) == (7_500_000_000, 2, "LostLease")
    accepted = at_node(2, events, NotificationRequested)
    assert not [at for at in accepted if 3.5 < at < 9.5]
    assert [at for at in accepted if at > 9.5]
    summary = result.summary
    assert summary["refused"]["down"] == 2  # what came at 4 s and 7 s was never accepted
    assert summary["sent"] == summary["accepted"] == summary["offered"] - 2


def test_what_it_had_sent_and_could_not_write_down_is_sent_again():
    entry, waits = "arrivals: {constant: 1/s}, for: 3s", "retry: {max_attempts: 2, initial_delay: 4s, jitter: none}"
    faults = ["{channel: email, for: 3s, outage: true}", partition("6s")]
    summary = simulation.run(scenario(NODES, *faults, email=waits, entry=entry), invariants="all").summary
    assert (summary["sent"], summary["attempts"], summary["requests"]) == (3, 6, 7)


def test_while_nobody_reaches_the_store_nobody_takes_over():
    events = history(scenario(NODES, partition("8s", node="[1, 2, 3]", at="2500ms")))
    assert of_kind(events, NodeTookOver) == of_kind(events, ActorFailed) == []
    sent = of_kind(events, NotificationSent)
    assert len(sent) == 12
    assert not [event for event in sent if 2.6 * S < event.at_ns < 10.5 * S]


def test_one_that_comes_back_later_than_another_has_a_third_of_a_lease_for_it():
    late = [partition("8s", node="[1, 2]", at="2s"), partition("9s", node="3", at="2s")]
    assert of_kind(history(scenario(NODES, *late)), NodeTookOver) == []
    too_late = [partition("8s", node="[1, 2]", at="2s"), partition("12s", node="3", at="2s")]
    ended = of_kind(history(scenario(NODES, *too_late, more="drain: 1m")), ActorFailed)
    assert [(event.node, round(event.at_ns / S, 3)) for event in ended] == [(3, 11.333)]


def test_one_that_crashes_meanwhile_starts_when_it_reaches_the_store():
    crash = "{channel: email, node: 2, at: 4s, crash: process, restart_after: 1s}"
    events = history(scenario(NODES, partition("3s"), crash))
    accepted = at_node(2, events, NotificationRequested)
    assert not [at for at in accepted if 3.5 < at < 6.5]
    assert [at for at in accepted if at > 6.5]


# ── a store that takes its time ─────────────────────────────────────────────────────────────────────────────────────

LATE = "commit_latency: 300ms"


def test_what_follows_comes_when_it_is_durable_as_in_one_process():
    one, three = (history(scenario(nodes, more=LATE)) for nodes in ("1", NODES))
    assert [(type(event), event.at_ns) for event in one] == [(type(event), event.at_ns) for event in three]
    assert {event.at_ns % S for event in of_kind(three, NotificationSent)} == {310_000_000}


def test_what_a_node_had_accepted_is_forgotten_with_it_before_it_is_durable_and_else_taken_over():
    crash = "{channel: email, node: 2, at: %s, crash: process, restart_after: 10m}"
    for at, is_accepted, requests in (("4200ms", False, 11), ("4305ms", True, 13), ("4400ms", True, 13)):
        summary = simulation.run(scenario(NODES, crash % at, more=LATE), invariants="all").summary
        assert summary["sent"] == summary["accepted"] == 11 + is_accepted
        assert summary["refused"]["down"] == (not is_accepted)
        assert summary["requests"] == requests  # the answer of the first came too late to be written down


def test_what_is_not_accepted_as_the_run_ends_was_offered():
    cut_off = "{at: 3500ms, partition: store}"
    summary = simulation.run(scenario(NODES, cut_off, more="drain: 5s"), invariants="all").summary
    assert (summary["refused"]["down"], summary["accepted"], summary["offered"]) == (8, 4, 12)


def test_a_node_that_is_stopped_in_order_writes_down_what_it_has():
    events = history(scenario("2", "{at: 4200ms, deploy: {each_down: 1s, every: 1h}}", more=LATE))
    (takeover,) = of_kind(events, NodeTookOver)
    assert (takeover.at_ns, len(takeover.notification_ids)) == (4_200_000_000, 1)
    assert len(of_kind(events, NotificationSent)) == 12


# ── the store's side ────────────────────────────────────────────────────────────────────────────────────────────────


class Clock:
    now_ns = 5

    def call_at(self, instant_ns: int, function: Any) -> None:
        assert instant_ns == self.now_ns + 1
        function()


COMMAND = SendNotification(notification_id="a", channel=NotificationChannel.PUSH, recipient="r", message="Hello")
OF_IT: dict[str, Any] = {"epoch_ns": 0, "notification_id": "a", "channel": COMMAND.channel}


def stores() -> tuple[NodeStore, NodeStore]:
    shared = SharedMemory((1, 2), has_leases=True)
    shared.clock = Clock()
    return shared.nodes[1], shared.nodes[2]


def test_another_node_may_have_been_faster_with_an_id():
    one, other = stores()
    one.cut_off(9)
    waits = one.commit(NotificationRequested(at_ns=1, user_id="r", **OF_IT), COMMAND)
    assert not one.open_ids()
    other.commit(NotificationRequested(at_ns=2, user_id="r", **OF_IT), COMMAND)
    other.commit(NotificationSent(at_ns=3, attempt=1, started_ns=2, requested_at_ns=2, **OF_IT), COMMAND)
    one.reconnect()
    assert waits.is_kept
    assert isinstance(waits._result, Overtaken)
    assert not one.open_ids()


def test_a_node_may_have_taken_over_an_id_that_another_one_was_faster_with():
    one, other = stores()
    one.cut_off(9)
    waits = one.commit(NotificationRequested(at_ns=1, user_id="r", **OF_IT), COMMAND)
    other.commit(NotificationRequested(at_ns=2, user_id="r", **OF_IT), COMMAND)
    other._shared.hand_over(2, to=1, ids=["a"])
    one.reconnect()
    assert isinstance(waits._result, Overtaken)
    assert waits._result.known == COMMAND


def test_another_node_may_have_been_faster_with_a_dead_letter():
    one, other = stores()
    one.commit(NotificationRequested(at_ns=1, user_id="r", **OF_IT), COMMAND)
    one.commit(NotificationMovedToDeadLetter(at_ns=2, reason="bad", attempts=1, requested_at_ns=1, **OF_IT), COMMAND)
    one.cut_off(9)
    waits = one.commit(NotificationRedriven(at_ns=3, **OF_IT), COMMAND)
    other.commit(NotificationRedriven(at_ns=4, **OF_IT), COMMAND)
    other.commit(NotificationMovedToDeadLetter(at_ns=5, reason="bad", attempts=1, requested_at_ns=1, **OF_IT), COMMAND)
    one.reconnect()
    assert isinstance(waits._result, Overtaken)
    assert other.is_dead_letter("a", 5)


@pytest.mark.parametrize("include_served", [False, True])
def test_another_one_of_its_request_may_have_been_faster_unless_that_is_no_matter(include_served):
    one, other = stores()
    one.commit(NotificationRequested(at_ns=1, user_id="r", **OF_IT), COMMAND)
    one.commit(NotificationMovedToDeadLetter(at_ns=2, reason="bad", attempts=1, requested_at_ns=1, **OF_IT), COMMAND)
    one.cut_off(9)
    waits = one.commit(NotificationRedriven(at_ns=3, include_served=include_served, **OF_IT), COMMAND)
    instead = msgspec.structs.replace(COMMAND, notification_id="a/sms")
    of_that = OF_IT | {"notification_id": "a/sms", "instead_of": "a"}
    other.commit(NotificationRequested(at_ns=4, user_id="r", **of_that), instead)
    heard: list[Any] = []
    one.on_news = heard.append
    one.reconnect()
    assert isinstance(waits._result, Overtaken) is not include_served
    back = [letter.notification_id for news in heard for letter in news.found]  # in the queue that it was taken out of
    assert back == ([] if include_served else ["a"])


def test_a_letter_that_is_being_redriven_is_none_any_more():
    one, _ = stores()
    one.commit(NotificationRequested(at_ns=1, user_id="r", **OF_IT), COMMAND)
    one.commit(NotificationMovedToDeadLetter(at_ns=2, reason="bad", attempts=1, requested_at_ns=1, **OF_IT), COMMAND)
    one.cut_off(9)
    one.commit(NotificationRedriven(at_ns=3, **OF_IT), COMMAND)
    assert not one.is_dead_letter("a")
    assert list(one.dead_letters()) == []
    assert one.crash(9) == 1
    assert one.is_dead_letter("a")


def test_it_hears_what_the_others_have_done_when_it_is_back():
    one, other = stores()
    heard: list[Any] = []
    one.on_news = heard.append
    one.cut_off(9)
    assert one.has_lease()
    Clock.now_ns = 9
    try:
        assert not one.has_lease()
        one._shared.count_living({1, 2})
        other.commit(NotificationRequested(at_ns=1, user_id="r", **OF_IT), COMMAND)
        other.commit(
            NotificationMovedToDeadLetter(at_ns=2, reason="bad", attempts=1, requested_at_ns=1, **OF_IT), COMMAND
        )
        assert heard == []
        one.reconnect()
    finally:
        Clock.now_ns = 5
    assert [type(news).__name__ for news in heard] == ["NodesChanged", "LettersChanged", "LeaseRenewed"]
    assert (type(heard[0]), type(heard[2])) == (NodesChanged, LeaseRenewed)


def test_of_each_breaker_it_says_only_how_it_is_when_it_is_back():
    one, other = stores()
    heard: list[Any] = []
    other.on_news = heard.append
    one._shared.clock.call_at = lambda _, function: function()
    one.cut_off(9)
    one.say("email", "", 100)
    one.say("sms", "", 50)
    one.say("email", "", 0)
    one.reconnect()
    assert heard == [BreakerVote(1, "email", "", 0), BreakerVote(1, "sms", "", 50)]


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_attempt_on_a_lease_that_is_over_breaks_a_law(monkeypatch):
    monkeypatch.setattr(service, "SHARE", 1.0)
    with pytest.raises(
        InvariantBreach, match=r"which has not reached the store since 2.6 s and may have sent until 6.2 s"
    ):
        simulation.run(waiting_for_four_seconds(), invariants=["fenced"])


def test_who_takes_over_what_it_is_just_accepting_once_more_has_it_once():
    world = """
duration: 20s
nodes: {count: 2, takeover_after: 1s}
commit_latency: 1s
workload: [{channel: email, arrivals: {times: [1s, 8s]}, repeats: 100%}]
channels: {email: {timeout: 30s, provider: {latency: 20s}}}
faults: [{channel: email, node: 1, at: 7600ms, crash: process, restart_after: 1h}]
"""
    result = simulation.run(simulation.parse(world), invariants="all")
    (takeover,) = of_kind(result.history, NodeTookOver)
    assert (takeover.at_ns, takeover.notification_ids) == (8_600_000_000, ("email-0-0",))
    assert (result.summary["accepted"], result.summary["duplicates"], result.summary["sent"]) == (1, 1, 1)
