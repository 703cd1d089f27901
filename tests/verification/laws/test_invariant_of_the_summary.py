"""The summary of a run is counted once more: whatever figure of it is wrong is found, but for those that are named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
from effort import sliced
from histories import dead, redriven

import simulation
from actors.errors import InvariantBreach
from simulation.invariants import Checker
from simulation.results.backlogs import Backlog
from simulation.results.counters import BreakerMetrics
from simulation.results.ledger import Chains, Ledger
from simulation.results.peaks import Peaks
from simulation.results.tallies import DeadLetters, Tally
from simulation.scenario import parse
from simulation.verification.laws.recount import most_letters

RICH = """
duration: 2m
seed: 4
max_pending: 60
workload:
  - {name: news, channel: push, arrivals: {poisson: 2/s}, users: 40, hosts: 4, tenants: 3, priority: bulk, repeats: 10%}
  - {channel: email, arrivals: {poisson: 1/s}, users: 20, tenants: {count: 5, zipf: 1}, not_before: 5s}
  - {channel: webhook, arrivals: {constant: 1/s}, users: 1}
channels:
  push:
    retry: {max_attempts: 2, initial_delay: 1s}
    circuit_breaker: {failure_threshold: 4, timeout: 5s}
    provider: {latency: {exponential: {mean: 300ms}}, failure_rate: 20%, price: 0.01}
    fallback: {channel: email}
  email:
    quota: {rate: 4/s}
    circuit_breaker: {failure_threshold: 4, timeout: 5s}
    failover: {second: {provider: {price: 0.5}}}
    provider: {latency: 500ms, price: 0.25}
  webhook: {endpoints: {disable_after: 10s}, retry: {max_attempts: 2}, circuit_breaker: {failure_threshold: 99}}
preferences: [{channel: push, share: 10%, enabled: false}]
faults:
  - {channel: push, at: 20s, for: 20s, outage: true}
  - {channel: email, at: 40s, for: 20s, outage: true}
  - {channel: webhook, at: 20s, for: 30s, failure_rate: 100%}
  - {channel: [push, email], at: 70s, crash: process, restart_after: 3s}
operations: [{at: 60s, redrive: all}, {at: 100s, discard: all}]
expect: [{from: 30s, to: 80s, that: [sent >= 1]}, {from: 80s, that: [sent >= 1]}]
"""

FLEET = """
duration: 1m
nodes: {count: 3, takeover_after: 5s}
workload: [{channel: email, arrivals: {poisson: 3/s}}]
channels:
  email:
    circuit_breaker: {shared: any, failure_threshold: 3, timeout: 4s}
    provider: {failure_rate: 20%, latency: 2s}
faults:
  - {channel: email, at: 10s, for: 10s, outage: true}
  - {channel: email, node: 2, at: 30s, crash: process, restart_after: 20s}
"""

NO_FIGURE = {"version", "scenario", "seed", "runtime", "digest", "simulated_s", "expectations"}

NOT_HERE = re.compile(
    r"(.*\.)?refused\.(down|overloaded)"  # by `arrivals`
    r"|(.*\.)?peaks\.waiting\.(limit|quota|slots|breaker)"  # by `waiting`, while the run goes on
    r"|windows\..*\.(requests|interrupted|cost)|windows\.[^.]*\.(requests|interrupted|cost)"  # by nobody
    r"|windows\..*\.channels\..*\.breaker\..*"  # the same as of the window
    r"|(.*\.)?channels\..*\.reached_twice|windows\..*\.reached_twice"
    r"|defaults"  # of breakers, deferrals and failures that are counted here
)


@cache
def checked(text: str) -> tuple[Checker, dict[str, Any]]:
    """Return what has checked a run, and its summary."""
    seen: list[tuple[Checker, dict[str, Any]]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Checker, "look_at", lambda self, summary: seen.append((self, summary)))
        simulation.run(parse(text), invariants=["summary"])
    return seen[0]


def leaves(figures: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all figures."""
    if isinstance(figures, dict):
        for key in figures:
            yield from leaves(figures[key], (*path, key))
    else:
        yield path


@pytest.mark.parametrize("text", [RICH, FLEET], ids=["rich", "fleet"])
def test_each_figure_is_counted_once_more_but_for_those_that_are_named(text):
    checker, summary = checked(text)
    checker.look_at(summary)
    (law,) = checker._invariants
    expected = law.expected(summary)
    paths = [path for path in leaves(summary) if path[0] not in NO_FIGURE]
    missing = [".".join(path) for path in paths if path not in expected]
    assert len(expected) > 200
    assert [name for name in missing if not NOT_HERE.fullmatch(name)] == []
    rough = [path for path, (least, most) in expected.items() if least != most]
    may_be = {"in_flight", "requests_per_s", "peak", "requests", "interrupted", "cost", "reached_twice"}
    assert {path[-1] for path in rough} <= may_be


@pytest.mark.parametrize(
    "path",
    sliced(["offered", "sent_time_s.max", "delivered_within.10s", "workload.news.sent", "classes.bulk.sent",
     "channels.email.handed_on", "retry_delay_s.mean", "faults.0.backlog_cleared_s", "breaker.push.opened",
     "channels.email.providers.second.sent", "peaks.in_flight", "dlq.peak", "windows.30s,80s.in_flight"], 6),
)  # fmt: skip
def test_one_that_is_wrong_is_found(path):
    checker, summary = checked(RICH)
    checker.breach = None
    wrong = of = deepcopy(summary)
    *groups, name = path.split(".")
    for key in groups:
        of = of[key]
    of[name] = of[name] * 1.2 + 9
    with pytest.raises(InvariantBreach, match=rf"says {re.escape(path)} {of[name]}"):
        checker.look_at(wrong)


def test_what_is_checked_has_all_that_there_may_be():
    _, summary = checked(RICH)
    for name in ("refused", "unwanted", "handed_on", "interrupted", "deferred", "duplicates", "endpoints_disabled"):
        assert summary[name], name
    assert summary["dlq"]["peak"] > summary["dlq"]["final"]
    assert summary["worst"]["tenants"]
    fleet = checked(FLEET)[1]
    assert fleet["breaker"]["email"]["opened_by_others"]
    assert fleet["nodes"]["1"]["taken_over"] + fleet["nodes"]["3"]["taken_over"]


@pytest.mark.parametrize(
    ("of", "name", "mistaken", "text"),
    sliced([
        (Tally, "interrupt", lambda interrupt: lambda *args: None, "requests|interrupted|cost"),
        (Tally, "_charge", lambda charge: lambda tally, events: charge(tally, events[1:]), "cost"),
        (DeadLetters, "change", lambda change: lambda letters, by: change(letters, abs(by)), r"dlq\.final"),
        (Chains, "hand_on", lambda hand_on: lambda *args: (hand_on(*args), None)[1], "handed_on|offered"),
        (Ledger, "_suppress", lambda suppress: lambda *args: None, "unwanted|offered"),
        (BreakerMetrics, "fold", lambda fold: lambda *args: None, r"breaker\."),
        (Peaks, "_extend", lambda extend: lambda peaks, of, own: extend(peaks, of, own[len(own) // 2 :]), r"peaks\."),
        (Backlog, "_is_younger", lambda is_younger: lambda *args: False, "backlog_cleared_s"),
    ], 6),
)  # fmt: skip
def test_a_mistake_is_found(of, name, mistaken, text, monkeypatch):
    monkeypatch.setattr(of, name, mistaken(getattr(of, name)))
    with pytest.raises(InvariantBreach, match=text) as breach:
        simulation.run(parse(RICH), invariants=["summary"])
    assert breach.value.invariant == "summary"


def test_the_most_letters_are_those_of_the_order_or_of_the_instants():
    """One that is redriven at 2 s, which takes its time to be durable, is recorded behind another death at 3 s."""
    assert most_letters([dead(0, "a"), dead(3, "b"), redriven(2, "a")], ()) == (1, 2)
    assert most_letters([dead(0, "a"), redriven(2, "a"), dead(2, "b")], ()) == (1, 2)
    assert most_letters([redriven(2, "a"), dead(3, "b")], [dead(0, "a")]) == (1, 1)
