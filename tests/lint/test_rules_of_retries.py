"""When attempts start at the soonest and at the latest, against the waits that the policy draws."""

import random
from itertools import islice

import pytest
from beside import tables
from each_row import over_each
from effort import sliced
from hypothesis import given, strategies as st

from actors.lint.retries import last_start, starts, waits
from actors.policies.retry.backoff import Backoff
from actors.settings.channel import RetryConfig

CONFIGS = tables(__file__)["configs"]


@pytest.mark.parametrize("settings", sliced(CONFIGS, 6), ids=str)
@given(seed=st.integers(0, 2**32))
def test_every_drawn_wait_is_between_the_shortest_and_the_longest(settings, seed):
    config = RetryConfig.model_validate({"max_attempts": 8, **settings})
    backoff, memory_ns = Backoff(config, random.Random(seed)), None
    shortest, longest = (list(islice(waits(config, bound), 7)) for bound in ("shortest", "longest"))
    for attempt in range(1, 8):
        wait_ns, memory_ns = backoff.next_wait(attempt, memory_ns)
        assert shortest[attempt - 1] - 1e-6 <= wait_ns / 1e9 <= longest[attempt - 1] + 1e-6


@over_each(CONFIGS)
def test_the_mean_is_that_of_many(settings):
    config = RetryConfig.model_validate({"max_attempts": 5, **settings})
    backoff, total_ns, runs = Backoff(config, random.Random(5)), 0, 4000
    for _ in range(runs):
        memory_ns = None
        for attempt in range(1, config.max_attempts):
            wait_ns, memory_ns = backoff.next_wait(attempt, memory_ns)
            total_ns += wait_ns
    assert last_start(config, "mean") == pytest.approx(total_ns / runs / 1e9, rel=0.12)


def test_attempts_of_the_default_settings_start_as_the_specification_says():
    assert list(starts(RetryConfig(max_attempts=4), "longest")) == [0, 1, 3, 7]


@pytest.mark.parametrize("settings", [{"initial_delay": 0.0}, {"backoff": "constant"}, {"jitter": "soft"}])
def test_a_billion_attempts_take_no_time_to_look_at(settings):
    config = RetryConfig(max_attempts=10**9, **settings)
    assert last_start(config, "longest") >= (10**9 - 1) * (settings.get("initial_delay", 1.0)) * 0.99
