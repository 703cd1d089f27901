"""Stations that are not first come, first served: traces by hand, invariants, and naive models of them."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, strategies as st
from provider_attempts import S

from actors.faults.conditions import NEVER_NS
from actors.faults.disciplines import CriticalFirst, ProcessorSharing, Station
from actors.faults.queue import ServiceQueue

Jobs = list[tuple[int, int, bool]]
"""When each comes, its work, and whether it is critical."""


def ends(station: Station[int], jobs: Jobs) -> dict[int, int]:
    """Return when each job ends, in the order of the ends, by a clock that looks only when it is set."""
    found: dict[int, int] = {}

    def look_until(at: int) -> None:
        while station.next_ns < at:
            found.update(dict.fromkeys(station.advance(due := station.next_ns), due))

    for number, (at, work, critical) in enumerate(jobs):
        look_until(at)
        found.update(dict.fromkeys(station.join(at, work, number, critical=critical), at))
    look_until(NEVER_NS)
    return found


def fifo_ends(steps: list[tuple[int, int]], jobs: Jobs) -> dict[int, int]:
    queue = ServiceQueue(steps)
    return {number: queue.join(at, work)[1] for number, (at, work, _) in enumerate(jobs)}


# Small numbers, so that much falls on the same instant.
JOBS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8), st.booleans()), max_size=25).map(
    lambda jobs: sorted(jobs, key=lambda job: job[0])
)
STEPS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 4)), max_size=4, unique_by=lambda step: step[0]).map(
    sorted
)
BIG_JOBS = st.lists(st.tuples(st.integers(0, 10 * S), st.integers(0, 3 * S), st.booleans()), max_size=40).map(
    lambda jobs: sorted(jobs, key=lambda job: job[0])
)


# ── by hand ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_critical_ones_go_before_others_and_interrupt_no_one():
    jobs = [(0, 10, False), (1, 5, False), (2, 5, False), (3, 4, True), (4, 1, True), (15, 2, True)]
    # 0 is left in peace until 10; then 3 and 4 go, in their order. At 15, 4 has ended and 1 is let in before 5 comes,
    # which goes before 2.
    assert ends(CriticalFirst([(0, 1)]), jobs) == {0: 10, 3: 14, 4: 15, 1: 20, 5: 22, 2: 27}


def test_two_servers_and_one_that_goes_and_comes_back():
    jobs = [(0, 6, False), (0, 6, False), (1, 2, False), (2, 1, True), (3, 1, True)]
    assert ends(CriticalFirst([(0, 2)]), jobs) == {0: 6, 1: 6, 3: 7, 4: 7, 2: 9}
    # From 5 on there is one: the second is free at 6 but gone. From 8 on there are two again.
    assert ends(CriticalFirst([(0, 2), (5, 1), (8, 2)]), jobs) == {0: 6, 1: 6, 3: 7, 4: 8, 2: 10}


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        # Those of Ciw's own tests, in tenths of a second: three at once, of which each makes the others faster when it
        # leaves (tests/test_processor_sharing.py, test_update_service_end_dates_release)…
        ([(5, 10, False), (5, 20, False), (5, 30, False)], {0: 35, 1: 55, 2: 65}),
        # …and, in hundredths, three that come one after the other (test_update_service_end_dates_accept): by 2.0 the
        # first has 0.15 left and the second 0.35, as there; then 0.45 s later 0.15 are done of each, and so on.
        ([(50, 100, False), (70, 100, False), (200, 100, False)], {0: 245, 1: 285, 2: 350}),
        ([(0, 4, False), (2, 1, True)], {1: 4, 0: 5}),  # a critical one shares like all others
        ([(0, 0, False), (0, 3, False), (1, 0, False)], {0: 0, 2: 1, 1: 3}),
    ],
)
def test_one_server_is_shared(jobs, expected):
    assert ends(ProcessorSharing([(0, 1)]), jobs) == expected


def test_who_is_alone_uses_one_server_at_most():
    # Three servers: up to three go at full speed; the fourth slows all down to three quarters of it.
    jobs = [(0, 12, False), (0, 12, False), (0, 12, False), (4, 12, False)]
    # 8 are left of three by then, which take 10 2/3; then 4 of the last, at full speed: rounded up.
    assert ends(ProcessorSharing([(0, 3)]), jobs) == {0: 15, 1: 15, 2: 15, 3: 19}


def test_when_servers_are_taken_away_all_go_on_more_slowly_at_once():
    jobs = [(0, 10, False), (0, 10, False)]
    assert ends(ProcessorSharing([(0, 2), (4, 1), (8, 2)]), jobs) == {0: 12, 1: 12}
    assert ends(ProcessorSharing([(0, 2), (4, 1)]), jobs) == {0: 16, 1: 16}


def test_what_there_is_to_do():
    sharing: Station[str] = ProcessorSharing([(0, 1)])
    first: Station[str] = CriticalFirst([(0, 1)])
    for station in (sharing, first):
        assert (station.in_service, station.queued, station.next_ns) == (0, 0, NEVER_NS)
        assert station.join(0, 4, "a") == station.join(1, 4, "b") == []
    assert (sharing.in_service, sharing.queued, sharing.next_ns) == (2, 0, 7)
    assert (first.in_service, first.queued, first.next_ns) == (1, 1, 4)
    assert first.advance(4) == ["a"]
    assert (first.in_service, first.queued, first.next_ns) == (1, 0, 8)
    assert first.advance(100) == ["b"]
    assert sharing.join(8, 1, "c") == ["a", "b"]


# ── against naive models ────────────────────────────────────────────────────────────────────────────────────────


def naive_critical_first(steps: list[tuple[int, int]], jobs: Jobs) -> dict[int, int]:
    """Go through every nanosecond: what comes at one finds those served that could be before."""
    found: dict[int, int] = {}
    waiting: list[int] = []
    serving: dict[int, int] = {}
    for now in range(31 + 25 * 8 + 1):
        servers = [servers for since, servers in steps if since <= now][-1]
        for new in [None, *(number for number, (at, *_) in enumerate(jobs) if at == now)]:
            if new is not None:
                waiting.append(new)
            while True:
                over = [number for number, until in serving.items() if until == now]
                found |= dict.fromkeys(over, now)
                serving = {number: until for number, until in serving.items() if number not in over}
                if not waiting or len(serving) >= servers:
                    break
                chosen = min(waiting, key=lambda number: (not jobs[number][2], number))
                waiting.remove(chosen)
                serving[chosen] = now + jobs[chosen][1]
    return found


def naive_sharing(steps: list[tuple[int, int]], jobs: Jobs) -> dict[int, Fraction]:
    """Take the work that is left of each, in fractions, from one event to the next."""
    found: dict[int, Fraction] = {}
    left: dict[int, Fraction] = {}
    now, coming = Fraction(0), deque(range(len(jobs)))
    while coming or left:
        servers = [servers for since, servers in steps if since <= now][-1]
        rate = min(Fraction(1), Fraction(servers, len(left))) if left else Fraction(1)
        instants = [now + work / rate for work in left.values()]
        instants += [Fraction(since) for since, _ in steps if since > now]
        instants += [Fraction(jobs[coming[0]][0])] if coming else []
        until = min(instants)
        left = {number: work - (until - now) * rate for number, work in left.items()}
        now = until
        for number in [number for number, work in left.items() if work == 0]:
            found[number] = now
            del left[number]
        if coming and jobs[coming[0]][0] == now:
            number = coming.popleft()
            left[number] = Fraction(jobs[number][1])
    return found


@given(first=st.integers(1, 3), later=STEPS, jobs=JOBS)
def test_critical_first_is_that_of_a_model_that_looks_at_each_instant(first, later, jobs):
    steps = [(0, first), *later]
    assert ends(CriticalFirst(steps), jobs) == naive_critical_first(steps, jobs)


@given(first=st.integers(1, 3), later=STEPS, jobs=JOBS)
def test_sharing_is_that_of_a_model_in_fractions_rounded_up(first, later, jobs):
    steps = [(0, first), *later]
    exact = naive_sharing(steps, jobs)
    assert ends(ProcessorSharing(steps), jobs) == {number: -(-at // 1) for number, at in exact.items()}


@given(jobs=BIG_JOBS, first=st.integers(1, 5))
def test_rounding_of_shares_never_adds_up_to_a_nanosecond(jobs, first):
    exact = naive_sharing([(0, first)], jobs)
    assert ends(ProcessorSharing([(0, first)]), jobs) == {number: -(-at // 1) for number, at in exact.items()}


# ── invariants ──────────────────────────────────────────────────────────────────────────────────────────────────


def busy_until(jobs: Jobs, ended: dict[int, int]) -> set[int]:
    """Return at which instants everything that has come is done, after something was there."""
    return {
        at
        for at in ended.values()
        if not any(come < at < ended[number] or come <= at < ended[number] for number, (come, *_) in enumerate(jobs))
    }


@given(jobs=JOBS | BIG_JOBS)
def test_one_server_is_done_at_the_same_instants_whichever_is_next(jobs):
    fifo = fifo_ends([(0, 1)], jobs)
    done = busy_until(jobs, fifo)
    for station in (CriticalFirst[int]([(0, 1)]), ProcessorSharing[int]([(0, 1)])):
        ended = ends(station, jobs)
        assert ended.keys() == fifo.keys()
        assert busy_until(jobs, ended) == done


@given(jobs=JOBS | BIG_JOBS)
def test_no_critical_one_waits_longer_than_first_come_first_served(jobs):
    fifo, ended = fifo_ends([(0, 1)], jobs), ends(CriticalFirst([(0, 1)]), jobs)
    assert all(ended[number] <= fifo[number] for number, (*_, critical) in enumerate(jobs) if critical)
    assert all(ended[number] >= at + work for number, (at, work, _) in enumerate(jobs))


@given(jobs=JOBS | BIG_JOBS, first=st.integers(1, 4))
def test_where_all_are_alike_it_is_first_come_first_served(jobs, first):
    for critical in (False, True):
        alike = [(at, work, critical) for at, work, _ in jobs]
        assert ends(CriticalFirst([(0, first)]), alike) == fifo_ends([(0, first)], alike)


@given(jobs=JOBS | BIG_JOBS, servers=st.integers(1, 50))
def test_who_has_a_server_each_ends_when_its_work_is_done(jobs, servers):
    ended = ends(ProcessorSharing([(0, servers)]), jobs)
    assert all(ended[number] >= at + work for number, (at, work, _) in enumerate(jobs))
    if len(jobs) <= servers:
        assert ended == {number: at + work for number, (at, work, _) in enumerate(jobs)}


@given(jobs=BIG_JOBS, late=st.lists(st.integers(1, 5 * S), max_size=20), kind=st.sampled_from(["first", "sharing"]))
def test_to_look_at_it_more_often_or_late_changes_nothing(jobs, late, kind):
    def station() -> Any:
        return CriticalFirst([(0, 2)]) if kind == "first" else ProcessorSharing([(0, 2)])

    expected = ends(station(), jobs)
    looked, order = station(), []
    looks = deque(sorted(late))
    for number, (at, work, critical) in enumerate(jobs):
        while looks and looks[0] <= at:
            order += looked.advance(looks.popleft())
        order += looked.join(at, work, number, critical=critical)
    assert [*order, *looked.advance(10**15)] == list(expected)
