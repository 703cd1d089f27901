"""The queue of a line holds what an ordered dict would, in less room."""

from __future__ import annotations

import tracemalloc
from collections import OrderedDict

from hypothesis import given, strategies as st
from provider_attempts import first_attempt
from worlds import email

from actors.domain.attempts import Attempt
from actors.pipeline.waiting_line import PlacedQueue

STEPS = st.lists(st.one_of(st.just("append"), st.just("pop"), st.integers(0, 60)), max_size=150)


def attempt(number: int) -> Attempt:
    return first_attempt(email(str(number)))


@given(STEPS)
def test_it_is_an_ordered_dict_of_places(steps):
    queue, expected = PlacedQueue(), OrderedDict[int, Attempt]()
    place = 0
    for step in steps:
        if step == "append":
            place += 3
            expected[place] = attempt(place)
            queue.append(place, expected[place])
        elif step == "pop":
            if expected:
                assert queue.first is next(iter(expected.values()))
                assert queue.pop() == expected.popitem(last=False)
        else:
            assert (step in queue) == (step in expected)
            assert queue.take_out(step) is expected.pop(step, None)
        assert queue.size == len(expected)
        assert queue.first_place == next(iter(expected), None)
        assert list(queue.items()) == list(expected.items())


def test_what_is_taken_out_is_let_go_of_whoever_is_first():
    """As behind a breaker that is open for days, of which those with an expiry end."""
    queue = PlacedQueue()
    queue.append(0, attempt(0))
    tracemalloc.start()
    for place in range(1, 2000):
        queue.append(place, attempt(place))
        queue.take_out(place)
    assert (queue.size, queue.first_place) == (1, 0)
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left < 10_000
