"""Pairs of an event and a state: what falls into what, at its edges too, and which an exploration has to have seen."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from effort import thorough

import simulation
from simulation.scenario import load, parse
from simulation.scenario.writing import write
from simulation.verification.drawing.swarm import case
from simulation.verification.exploring.coverage import SOMETIMES, demanded
from simulation.verification.exploring.explore import Exploration
from simulation.verification.exploring.guide import Guide, case_of
from simulation.verification.exploring.pairs import (
    COMMON,
    EVENTS,
    HALF_OPEN,
    LEFT,
    NOTHING_SEEN,
    PAIRS,
    STATES,
    WANTED,
    Seen,
    Span,
    demanded_pairs,
    seen_in,
)  # fmt: skip
from simulation.verification.exploring.report import report
from simulation.verification.exploring.variation import varied

SWARM = load(Path(__file__).parents[1] / "drawing/swarm.yaml")

FALLS_OVER = """
duration: 1m
workload: [{channel: sms, arrivals: {constant: 1/s}}]
channels:
  sms:
    retry: {max_attempts: 2, initial_delay: 3s}
    circuit_breaker: {failure_threshold: 3, timeout: 5s}
    timeout: 4s
    provider: {latency: 2s}
faults:
  - {channel: sms, at: 10s, for: 8s, outage: true}
  - {channel: email, at: AT, crash: process, restart_after: 1s}
channels_used: x
"""


def pairs_of(text):
    scenario = parse(text)
    return seen_in(simulation.run(scenario).history, scenario).names & set(PAIRS)


def crashing(*at):
    faults = "".join(f"  - {{channel: sms, at: {each}, crash: process, restart_after: 1s}}\n" for each in at)
    return re.sub(r"  - \{channel: email.*\nchannels_used: x\n", faults, FALLS_OVER)


def spans_of(state):
    scenario = parse(crashing())
    return [span for span in seen_in(simulation.run(scenario).history, scenario).spans if span.state == state]


def test_a_crash_in_a_state_and_one_beside_it():
    (half_open, *_) = spans_of(HALF_OPEN)
    inside, after = half_open.start_ns // 10**9 + 1, half_open.end_ns // 10**9 + 20
    wanted = "the process crashes while a breaker is half-open"
    assert half_open.channel == "sms"
    assert wanted in pairs_of(crashing(f"{inside}s"))
    assert wanted not in pairs_of(crashing(f"{after}s"))


@pytest.mark.parametrize(("by_ns", "is_in"), [(-1, False), (0, False), (1, True)])
def test_a_state_begins_after_the_instant_that_it_begins_at(by_ns, is_in):
    (half_open, *_) = spans_of(HALF_OPEN)
    at_s = f"{half_open.start_ns + by_ns}ns"
    assert ("the process crashes while a breaker is half-open" in pairs_of(crashing(at_s))) is is_in


def test_a_second_crash_meets_what_the_first_has_left():
    wanted = f"the process crashes while {LEFT}"
    assert wanted not in pairs_of(crashing("13s"))
    assert wanted in pairs_of(crashing("13s", "15s"))


def test_a_run_of_which_nothing_is_known():
    assert seen_in([], SWARM) == NOTHING_SEEN


def test_all_names_are_known_and_the_wanted_pairs_are_among_them():
    assert len(PAIRS) == len(set(PAIRS)) == len(EVENTS) * len(STATES)
    assert {f"{event} while {state}" for event, state in WANTED} <= set(PAIRS)


def test_a_pair_is_demanded_once_both_of_its_parts_are_common():
    event, state = WANTED[0]
    assert demanded_pairs({event: COMMON, state: COMMON - 1}) == []
    assert demanded_pairs({event: COMMON, state: COMMON}) == [f"{event} while {state}"]


def test_an_exploration_that_never_saw_such_a_pair_does_not_hold_and_its_report_shows_all():
    event, state = WANTED[0]
    exploration = Exploration(SWARM, Path("swarm.yaml"), 0, cases=99)
    exploration.seen = Counter({event: COMMON, state: COMMON, f"{event} while {STATES[1]}": 2})
    assert f"{event} while {state}" in exploration.never
    assert f"  {event} while {state}" in report(exploration).splitlines()
    exploration.seen[f"{event} while {state}"] = 3
    assert f"{event} while {state}" not in exploration.never
    (row,) = [line for line in report(exploration).splitlines() if line.startswith(f"{event}   ")]
    assert row.split()[-1] == "3"


@pytest.mark.parametrize("width", [200, 80, 60])
def test_a_report_fits_the_terminal_and_says_the_same(width):
    exploration = Exploration(SWARM, Path("swarm.yaml"), 0, cases=99)
    exploration.seen = Counter(dict.fromkeys((*EVENTS, *STATES, *PAIRS), 40))
    exploration.coverage = Counter(dict.fromkeys((each.text for each in SOMETIMES), 40))
    lines = report(exploration, width).splitlines()
    tables = lines[next(number for number, line in enumerate(lines) if line.startswith("reached")) :]
    assert max(map(len, tables)) <= max(width, 72)  # the longest sentence
    counts = [line for line in tables if line.startswith(tuple(EVENTS))]
    assert sum(line.split().count("40") for line in counts) == len(PAIRS)
    for each in demanded(SWARM):
        assert sum(line.count(f"40  {each.text}") for line in tables) >= 1


# ── variations ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seeds", [30, thorough(70)])
def test_what_is_aimed_at_is_hit(seeds):
    base = parse(crashing())
    result = simulation.run(base)
    spans = [span for span in seen_in(result.history, base).spans if span.state == HALF_OPEN]
    hit = Counter()
    for seed in range(seeds):
        child = varied(base, seed, spans)
        assert [entry.arrivals for entry in child.workload] == [entry.arrivals for entry in base.workload]
        seen = seen_in(simulation.run(child).history, child).names
        hit.update(event for event in EVENTS if f"{event} while {HALF_OPEN}" in seen)
    aimed = {"the process crashes", "an actor crashes", "the wall clock steps", "an operator overrides a breaker"}
    assert aimed <= set(hit), hit


def test_a_variation_is_the_same_whether_what_its_parent_saw_is_given_or_found_out():
    parent = case(SWARM, 3, settings="given")
    spans = seen_in(simulation.run(parent).history, parent).spans
    assert varied(parent, 77, spans) == varied(parent, 77) == case_of(SWARM, (3, 77), settings="given")
    assert varied(parent, 77) != varied(parent, 78)


def test_one_actor_is_crashed_again_while_it_is_down_and_when_that_should_be_forgotten():
    parent = case(SWARM, 3, settings="given").model_copy(update={"faults": ()})
    gaps = []
    for seed in range(150):
        crashes = [each for each in varied(parent, seed, [Span(LEFT, 10**9, 10**10, "email")]).faults if each.crash]
        for one, other in pairwise(crashes):
            if one.crash == other.crash != "process" and one.channel == other.channel and one.at < other.at:
                gaps.append(other.at - one.at)
    assert min(gaps) < 1
    assert max(gaps) > 60


@pytest.mark.parametrize("seeds", [4, thorough(12)])
def test_a_variation_can_be_read_back(seeds):
    for seed in range(seeds):
        child = varied(case(SWARM, seed), 1000 + seed, [Span(HALF_OPEN, 10**9, 10**10 + 1, "webhook")])
        assert parse(write(child), "tests/verification/exploring/varied.yaml") == child


def test_those_that_saw_the_rarest_are_varied():
    guide, before = Guide(), Counter({"common": 5})
    for seed, names in ((1, {"common"}), (2, {"common", "rare"}), (3, {"rarer"})):
        guide.learn((seed,), SWARM, Seen(frozenset(names), ()), before)
        before.update(names)
    before["rare"] = 400
    parents = [parent for parent in guide.parents_of(range(400), before) if parent is not None]
    assert {parent.lineage for parent in parents} == {(2,), (3,)}, "one saw nothing new"
    assert 120 <= len(parents) <= 280, "the others are new cases"
    assert guide.parents_of(range(400), before) == guide.parents_of(range(400), before)
