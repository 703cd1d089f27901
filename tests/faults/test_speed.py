"""A provider that works more slowly, or is frozen, with all that it has: its work is conserved, whatever the speed."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st
from provider_attempts import S, answered, fault

import simulation
from actors.faults.conditions import NEVER_NS, speed_steps
from actors.faults.disciplines import CriticalFirst, ProcessorSharing, Station
from actors.faults.provider import SimulatedProvider
from actors.faults.queue import ServiceQueue
from actors.faults.speed import Speed
from simulation.scenario import Scenario, parse

ONE = Fraction(1)

Steps = list[tuple[int, Fraction]]
Jobs = list[tuple[int, int]]
"""When each comes, and its work."""


def ends_at(station: Station[int], jobs: Jobs) -> list[int]:
    found: dict[int, int] = {}

    def look_until(at: int) -> None:
        while station.next_ns < at:
            found.update(dict.fromkeys(station.advance(due := station.next_ns), due))

    for number, (at, work) in enumerate(jobs):
        look_until(at)
        found.update(dict.fromkeys(station.join(at, work, number), at))
    look_until(NEVER_NS)
    return [found.get(number, NEVER_NS) for number in range(len(jobs))]


def all_ends(servers: int, speed: Speed | None, jobs: Jobs) -> dict[str, list[int]]:
    queue = ServiceQueue([(0, servers)], speed)
    return {
        "fifo": [queue.join(at, work)[1] for at, work in jobs],
        "critical_first": ends_at(CriticalFirst([(0, servers)], speed), jobs),
        "processor_sharing": ends_at(ProcessorSharing([(0, servers)], speed), jobs),
    }


def worked(steps: Steps, until: int) -> Fraction:
    """Return the integral of the speed from 0 on."""
    ends = [start for start, _ in steps[1:]] + [NEVER_NS]
    spans = zip(steps, ends, strict=True)
    return sum(((min(end, until) - start) * speed for (start, speed), end in spans if start < until), start=Fraction(0))


SPEEDS = st.sampled_from([Fraction(0), Fraction(1, 10), Fraction(1, 3), Fraction(1, 2), ONE, Fraction(2)])
STEPS = st.lists(st.tuples(st.integers(1, 40), SPEEDS), max_size=5, unique_by=lambda step: step[0]).flatmap(
    lambda later: SPEEDS.map(lambda first: [(0, first), *sorted(later), (60, ONE)])
)
JOBS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), max_size=20).map(sorted)
BIG_STEPS = STEPS.map(lambda steps: [(at * S // 7, speed) for at, speed in steps])
BIG_JOBS = st.lists(st.tuples(st.integers(0, 5 * S), st.integers(0, 2 * S)), min_size=1, max_size=25).map(sorted)


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(STEPS, st.integers(0, 50), st.integers(0, 12))
def test_work_is_done_at_the_first_instant_by_which_so_much_has_been_worked(steps: Steps, at: int, work: int) -> None:
    end = Speed(steps).end_ns(at, work)
    speeds = dict(steps)
    done, now, speed = Fraction(0), 0, steps[0][1]
    while True:  # nanosecond by nanosecond
        speed = speeds.get(now, speed)
        if now >= at and done >= work and (work or speed):
            break
        done += speed if now >= at else 0
        now += 1
    assert end == now


@given(BIG_STEPS, BIG_JOBS, st.integers(1, 3))
def test_the_work_of_a_provider_is_conserved_at_any_speed(steps: Steps, jobs: Jobs, servers: int) -> None:
    """By the time at which all have ended, exactly their work has been done by as many servers as were busy.

    The unfinished work at any end is the same for disciplines that do not idle, with one server; with several each
    job is done no sooner than one server can.
    """
    found = all_ends(servers, Speed(steps), jobs)
    for ends in found.values():
        for (at, work), end in zip(jobs, ends, strict=True):
            assert worked(steps, end) - worked(steps, at) >= work - 1, "none is done sooner than one server can"
        assert max(worked(steps, end) for end in ends) * servers >= sum(work for _, work in jobs) - len(jobs)
    if servers == 1:
        # One server is busy from the first arrival on until it has no work, in whichever order; so all last ends agree.
        last = Fraction(0)
        for at, work in jobs:
            last = max(last, worked(steps, at)) + work
        for ends in found.values():
            assert abs(worked(steps, max(ends)) - last) <= 2 * len(jobs), "to a rounded nanosecond for each"


@given(JOBS, st.integers(1, 3), st.integers(1, 6))
def test_at_a_part_of_the_speed_all_work_is_as_many_times_as_long(jobs: Jobs, servers: int, times: int) -> None:
    slow = all_ends(servers, Speed([(0, Fraction(1, times))]), jobs)
    assert slow == all_ends(servers, None, [(at, work * times) for at, work in jobs])


@given(JOBS, st.integers(1, 3))
def test_the_usual_speed_changes_nothing(jobs: Jobs, servers: int) -> None:
    assert all_ends(servers, Speed([(0, ONE), (7, ONE)]), jobs) == all_ends(servers, None, jobs)


@given(JOBS, st.integers(1, 3), st.integers(0, 25), st.integers(1, 9))
def test_a_freeze_of_those_that_are_there_moves_what_is_left_of_them(
    jobs: Jobs, servers: int, at: int, lasts: int
) -> None:
    """Time stands still for the provider: what comes before the freeze ends as if there were none, or so much later."""
    jobs = [(come, work) for come, work in jobs if come < at]
    frozen = all_ends(servers, Speed([(0, ONE), (at, Fraction(0)), (at + lasts, ONE)]), jobs)
    usual = all_ends(servers, None, jobs)
    for discipline, ends in usual.items():
        expected = [end if end <= at else end + lasts for end in ends]
        if discipline != "fifo":
            assert frozen[discipline] == expected
        else:  # what takes no time and starts as the freeze does ends after it
            for (_, work), got, wanted in zip(jobs, frozen[discipline], expected, strict=True):
                assert got == wanted or (work == 0 and (got, wanted) == (at + lasts, at))


def test_for_ever_frozen_nothing_ends() -> None:
    speed = Speed([(0, ONE), (5, Fraction(0))])
    for ends in all_ends(1, speed, [(0, 3), (1, 4), (9, 0)]).values():
        assert ends[1:] == [NEVER_NS, NEVER_NS]


# ── windows ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_speeds_of_windows_that_overlap_multiply() -> None:
    faults = [
        fault(at=5, **{"for": 10}, speed=0.2),
        fault(at=10, **{"for": 10}, speed=0.5),
        fault(at=30, speed=0),
        fault(outage=True),
    ]
    fifth, half = Fraction(1, 5), Fraction(1, 2)
    assert speed_steps(faults) == [
        (0, ONE),
        (5 * S, fifth),
        (10 * S, fifth * half),
        (15 * S, half),
        (20 * S, ONE),
        (30 * S, Fraction(0)),
    ]
    assert speed_steps([fault(outage=True)]) == []


def test_a_provider_slows_down_with_what_it_has_and_what_waits() -> None:
    slow = [fault(at=1, **{"for": 10}, speed=0.2)]
    # The first has done 1 s of 2 when it starts, and takes 5 s for the other. The second has done 1 s at 11.
    assert answered(SimulatedProvider(latency=2, capacity=1, faults=slow), 0, 0) == [6, 12]
    assert answered(SimulatedProvider(latency=2, capacity=1, faults=[fault(at=1, speed=0)]), 0, 0) == [math.inf] * 2
    frozen = [fault(at=1, **{"for": 10}, speed=0)]
    assert answered(SimulatedProvider(latency=2, capacity=2, faults=frozen), 0, 0, 0) == [12, 12, 14]
    assert answered(SimulatedProvider(latency=2, faults=frozen), 0, 3) == [2, 5], "without a capacity it is nothing"


def test_what_is_never_worked_on_is_not_delivered() -> None:
    provider = SimulatedProvider(latency=2, capacity=1, faults=[fault(at=3, speed=0)])
    answered(provider, 0, 0, 5)
    assert provider.delivered == 1


# ── a run ───────────────────────────────────────────────────────────────────────────────────────────────────────


def scenario(hit: str, provider: str = "latency: 2s, capacity: 4", sets: list[str] | None = None) -> Scenario:
    return parse(
        f"""
        duration: 2m
        workload: [{{channel: email, arrivals: {{constant: 1/s}}}}]
        channels: {{email: {{timeout: 1m, circuit_breaker: {{enabled: false}}, provider: {{{provider}}}}}}}
        faults: [{{channel: email, {hit}}}]
        """,
        sets=sets or [],
    )


def times_of(scenario: Scenario) -> list[float]:
    rows = simulation.run(scenario, invariants="all").notifications
    return [round(took, 9) for took in rows["finished_at_s"] - rows["requested_at_s"]]


@pytest.mark.parametrize("discipline", ["fifo", "critical_first", "processor_sharing"])
def test_a_run_has_what_is_under_way_wait_for_the_thaw(discipline: str) -> None:
    frozen = scenario("at: 30.5s, for: 10s, speed: 0", f"latency: 2s, capacity: 4, discipline: {discipline}")
    took = times_of(frozen)
    assert took[:29] == [2.0] * 29
    if discipline == "processor_sharing":  # with those that come meanwhile
        assert 12 < took[29] < took[30] < 24
    else:
        assert took[29:31] == [12.0, 12.0], "both had started"
    assert all(4 <= each < 24 for each in took[31:41]), "they come into the freeze"
    assert took[-20:] == [2.0] * 20
    assert simulation.run(frozen, runtime="trio").history == simulation.run(frozen).history


def test_a_latency_is_of_those_who_arrive_and_a_speed_of_all() -> None:
    arrive, work = scenario("at: 30.5s, for: 1s, latency: 7s"), scenario("at: 30.5s, for: 1s, speed: 0.2")
    assert times_of(arrive)[29:33] == [2.0, 2.0, 7.0, 2.0]
    # The first has half a second to go when it starts, of which a second at 0.2 does 0.2 s; so it is 0.8 s late.
    assert times_of(work)[28:33] == [2.0, 2.8, 2.8, 2.4, 2.0]
