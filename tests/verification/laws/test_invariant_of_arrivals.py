"""Each arrival is in one figure: the product's own runs, with and without mistakes that are planted in them."""

from __future__ import annotations

from typing import Any

import pytest

import simulation
from actors.errors import InvariantBreach
from simulation.results.ledger import Ledger
from simulation.running.service import Service
from simulation.running.workload import Source
from simulation.scenario import parse

DIES = "{channel: email, at: 5s, crash: process, restart_after: 5s}"
NO_HANDLER = "{channel: email, at: 15500ms, crash: {actor: handler}, restart_after: %s}"


def summary_of(entry: str, faults: str = "", more: str = "", runtime: Any = "simpy") -> dict[str, Any]:
    """Return the summary of a run in which one comes each second, for 20 s, that is held to the law."""
    text = f"duration: 20s\nworkload: [{{channel: email, {entry}}}]\nfaults: [{faults}]\n{more}"
    return simulation.run(parse(text), runtime=runtime, invariants=["arrivals"]).summary


ARRIVALS = "arrivals: {constant: 1/s}"


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
@pytest.mark.parametrize(
    ("entry", "faults", "more", "refused", "offered"),
    [
        # The run goes on until the handler is back, or is over before.
        (ARRIVALS, NO_HANDLER % "30s", "", 0, 20),
        (ARRIVALS, NO_HANDLER % "1h", "drain: 10s", 4, 20),
        (ARRIVALS, "", "{commit_latency: 2s, drain: 0s}", 2, 20),
        # Offered again at 8, 9, … s, and accepted when it is back, or not before the end.
        (f"{ARRIVALS}, resend: {{after: 3s, at_most: 2}}", DIES, "", 0, 20),
        (f"{ARRIVALS}, resend: {{after: 20s, at_most: 2}}", DIES, "", 0, 20),
        (f"{ARRIVALS}, resend: {{after: 20s, at_most: 2}}", DIES, "drain: 6s", 4, 20),
        ("clients: 2, think: 4s", DIES, "", 2, 8),
        # The second is a duplicate of one that has not become durable before the crash.
        ("repeats: 100%, arrivals: {times: [0s, 0s]}", "{at: 1s, crash: process}", "commit_latency: 2s", 1, 1),
    ],
)
def test_what_is_not_accepted_is_refused_once(entry, faults, more, refused, offered, runtime):
    summary = summary_of(entry, faults, more.strip("{}").replace(", ", "\n"), runtime)
    assert (summary["refused"]["down"], summary["offered"]) == (refused, offered)
    assert summary["accepted"] + refused == offered


def test_what_was_refused_and_is_accepted_when_it_comes_once_more_was_offered_once():
    summary = summary_of("arrivals: {constant: 5/s}, repeats: 50%", DIES)
    assert summary["offered"] == summary["accepted"] + summary["refused"]["down"]
    resent = summary_of("arrivals: {constant: 5/s}, repeats: 50%, resend: {after: 2s, at_most: 1}", DIES)
    assert resent["offered"] == summary["offered"]
    assert resent["refused"]["down"] < summary["refused"]["down"]


def test_of_an_event_that_is_accepted_on_one_channel_the_other_alone_is_refused():
    text = (
        "duration: 20s\nworkload: [{event: OrderPlaced, arrivals: {times: [5s]}}]\n"
        "faults: [{channel: email, at: 5s, crash: process, restart_after: 1s}]\nschedule: {random_walk: true}\n"
        "expect: [{from: 0s, that: [refused.down <= 2]}]"
    )
    counts = set()
    for seed in range(12):
        summary = simulation.run(parse(text), seed=seed, invariants=["arrivals"]).summary
        counts.add((summary["accepted"], summary["refused"]["down"]))
    assert counts == {(0, 2), (1, 1)}


def test_windows_have_what_was_refused_in_them():
    expect = "expect: [{from: 0s, to: 7500ms, that: [refused.down >= 3]}, {from: 7500ms, that: [refused.down <= 2]}]"
    summary = summary_of(ARRIVALS, DIES, expect)
    assert [window["refused"]["down"] for window in summary["windows"].values()] == [3, 2]


def nothing(*_: Any, **__: Any) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("of", "name", "entry", "faults", "more", "text"),
    [
        (Service, "give_up", ARRIVALS, NO_HANDLER % "1h", "drain: 10s", "neither accepted on email nor refused"),
        (Source, "on_turned_away", ARRIVALS, DIES, "", "says refused.down 0, and 5 were"),
        (Source, "on_run_ends", f"{ARRIVALS}, resend: {{after: 20s, at_most: 1}}", DIES, "drain: 0s", "refused.down 0"),
        (Ledger, "accept", "arrivals: {constant: 5/s}, repeats: 50%", DIES, "", "were refused, and"),
    ],
)  # fmt: skip
def test_a_mistake_is_found(of, name, entry, faults, more, text, monkeypatch):
    summary_of(entry, faults, more)
    monkeypatch.setattr(of, name, nothing)
    with pytest.raises(InvariantBreach, match=text) as breach:
        summary_of(entry, faults, more)
    assert breach.value.invariant == "arrivals"


def test_one_of_another_class_is_missed(monkeypatch):
    tally = Ledger.tally
    monkeypatch.setattr(Ledger, "tally", lambda self, place: tally(self, (0, place[1])))
    text = f"duration: 20s\nworkload: [{{channel: email, {ARRIVALS}}}, {{channel: sms, {ARRIVALS}, priority: bulk}}]\n"
    with pytest.raises(InvariantBreach, match=r"workload.email says refused.down 10, and 5 were"):
        simulation.run(parse(f"{text}faults: [{DIES}]"), invariants=["arrivals"])


def test_a_refusal_for_lack_of_room_needs_a_bound(monkeypatch):
    monkeypatch.setattr("simulation.running.service.DOWN", "overloaded")
    with pytest.raises(InvariantBreach, match="is refused for lack of room, of which there is no end"):
        summary_of(ARRIVALS, DIES)
