"""Who waits in a room and who leaves it: its queues, its one heap of expiries, its one instant to wake at."""

from __future__ import annotations

import sys
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from actors.policies.order import Order
from actors.policies.waiting_room import ONE_LINE, PlacedQueue, Waiting, WaitingRoom
from actors.settings.order import OrderConfig

STEPS = st.lists(st.one_of(st.just("append"), st.just("pop"), st.integers(0, 60)), max_size=150)
FLOWS = st.tuples(st.integers(0, 2), st.sampled_from("ab"))
HOSTS = st.sampled_from(["x", "y", "z"])


class Item:
    """One that waits, known by its identity."""


@given(STEPS)
def test_a_queue_is_an_ordered_dict_of_places(steps):
    queue, expected = PlacedQueue[Item](), OrderedDict[int, Item]()
    gone = Item()
    place = 0
    for step in steps:
        if step == "append":
            place += 3
            expected[place] = Item()
            queue.append(place, expected[place])
        elif step == "pop":
            if expected:
                gone = next(iter(expected.values()))
                assert queue.first is gone
                assert queue.pop() == expected.popitem(last=False)
        else:
            assert (step in queue) == (step in expected)
            assert queue.find(id(expected.get(step, gone))) == (step if step in expected else None)
            assert queue.take_out(step) is expected.pop(step, None)
        assert queue.size == len(expected)
        assert not expected or queue.first_place == next(iter(expected))
        assert list(queue.items()) == list(expected.items())


def test_what_is_taken_out_is_let_go_of_whoever_is_first():
    """As behind a breaker that is open for days, of which those with an expiry end."""
    queue = PlacedQueue[Item]()
    queue.append(0, Item())
    tracemalloc.start()
    for place in range(1, 2000):
        queue.append(place, Item())
        queue.take_out(place)
    assert (queue.size, queue.first_place) == (1, 0)
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left < 10_000


def calls(function: Callable[[], object]) -> int:
    """Return how many lines of Python a function runs: the same on any machine."""
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)
    return count


def filled(count: int, **settings) -> tuple[WaitingRoom[Item], list[Item]]:
    room = WaitingRoom[Item](Order(OrderConfig(), "none"), **settings)
    items = [Item() for _ in range(count)]
    for number, item in enumerate(items):
        room.join(ONE_LINE, (1, ""), item, None, number)
    return room, items


def test_to_take_one_out_costs_the_same_however_many_wait():
    steps = []
    for count in (1_000, 50_000):
        room, items = filled(count)
        assert not room.take_out(ONE_LINE, (1, ""), Item())  # the first search looks through all
        steps.append(calls(lambda room=room, item=items[count // 2]: room.take_out(ONE_LINE, (1, ""), item)))
    assert steps[0] == steps[1]


@pytest.mark.parametrize(("by_host", "most"), [(False, 60), (True, 900)])
def test_what_one_takes_that_waits(by_host, most):
    """In bytes, alone in its line where each host has one: for room, without an expiry."""
    room = WaitingRoom[Item](Order(OrderConfig(), "none"), 1, by_host=by_host)
    items = [Item() for _ in range(2_000)]
    hosts = [str(number) if by_host else ONE_LINE for number in range(2_000)]
    tracemalloc.start()
    for number, (host, item) in enumerate(zip(hosts, items, strict=True)):
        room.wait_for_room(room.join(host, (1, ""), item, None, 10**12 + number), 0)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / 2_000 < most


STEPS_OF_ROOM = st.lists(
    st.one_of(
        st.tuples(st.just("join"), HOSTS, FLOWS, st.none() | st.integers(0, 30)),
        st.tuples(st.just("go"), st.integers(0, 1), st.booleans()),
        st.tuples(st.just("room"), HOSTS, st.integers(0, 1), st.booleans()),
        st.tuples(st.just("expire")),
        st.tuples(st.just("take out"), st.integers(0, 60)),
    ),
    max_size=80,
)


@given(
    STEPS_OF_ROOM, st.booleans(), st.sampled_from([{}, {"aging": "1s"}, {"kind": "weighted", "weights": {"bulk": 3}}])
)
def test_each_leaves_once_and_nothing_is_left_behind(steps, by_host, order):
    """By turns, expiry or withdrawal; and turns are those of the lines that wait for room."""
    counts, emptied = Waiting(), []
    room = WaitingRoom[Item](
        Order(OrderConfig.model_validate(order), "user"), 2, by_host=by_host, counted_as=counts, on_empty=emptied.append
    )
    there: dict[Item, tuple[str, tuple[int, str], int | None]] = {}
    everyone: list[Item] = []
    for now_ns, step in enumerate(steps):
        if step[0] == "join":
            item, host = Item(), step[1] if by_host else ONE_LINE
            until_ns = None if step[3] is None else now_ns + step[3]
            there[item] = host, step[2], until_ns
            everyone.append(item)
            assert room.join(host, step[2], item, until_ns, now_ns) is room.lines[host]
        elif step[0] == "go" and room.any_for_room(step[1]):
            flow = room.turns_at(step[1]).next()
            line = room.line_at(step[1], flow)
            assert step[1] in line.room_at
            firsts = [
                item for item, (host, of, _) in there.items() if of == flow and step[1] in room.lines[host].room_at
            ]
            assert room.take(line, flow, goes=step[2], at=step[1]) is firsts[0]
            del there[firsts[0]]
        elif step[0] == "room" and (line := room.lines.get(step[1] if by_host else ONE_LINE)) is not None:
            (room.wait_for_room if step[3] else room.wait_for_no_room)(line, step[2])
        elif step[0] == "expire":
            for since_ns, host, item in room.expired(now_ns):
                assert (host, since_ns) == (there[item][0], there[item][2] + 1)
                del there[item]
            assert all(until_ns is None or until_ns >= now_ns for _, _, until_ns in there.values())
        elif step[0] == "take out" and step[1] < len(everyone):
            item = everyone[step[1]]
            host, flow, _ = there.get(item, (ONE_LINE, (0, "a"), None))
            assert room.take_out(host, flow, item) == (there.pop(item, None) is not None)
        assert counts.now == len(there) == sum(line.size for line in room.lines.values())
        assert set(room.lines) == {host for host, _, _ in there.values()}
        expiries = [until_ns + 1 for _, _, until_ns in there.values() if until_ns is not None]
        assert room.wake_ns == min(expiries, default=None)
        for lane in (0, 1):
            waiting = [line for line in room.lines.values() if lane in line.room_at]
            assert room.any_for_room(lane) == bool(waiting)
            if waiting and by_host:
                assert set(room.turns_at(lane).flows()) == {flow for line in waiting for flow in line.turns.flows()}
    room.clear()
    assert not room.lines
    assert room.wake_ns is None
    assert not any(map(room.any_for_room, (0, 1)))


def test_credits_count_from_when_a_second_flow_waits():
    """Of weights 3 to 1, three that went alone are not counted against those that go by turns later."""
    order = Order(OrderConfig.model_validate({"kind": "weighted", "weights": {"critical": 3, "normal": 1}}), "none")
    room = WaitingRoom[Item](order)
    went = []
    for _ in range(8):
        line = room.join(ONE_LINE, (0, ""), Item(), None, 0)
    for _ in range(2):
        room.take(line, line.turns.next(), goes=True)
    for _ in range(2):
        room.join(ONE_LINE, (1, ""), Item(), None, 1)
    while room.lines:
        flow = line.turns.next()
        went.append(flow[0])
        room.take(line, flow, goes=True)
    assert went == [0, 0, 0, 1, 0, 0, 0, 1]
