"""The waits of a retry policy are those that it draws."""

from random import Random

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from actors.instants import NS_PER_S
from actors.policies.retry.backoff import Backoff
from actors.settings.channel import RetryConfig
from simulation.reporting import retry_waits

JITTERS = ("none", "full", "equal", "decorrelated", "proportional", "additive", "soft")
KINDS = ("exponential", "constant", "linear", "fibonacci")


def envelope(config, retries, seed=0):
    return retry_waits.envelope(config, retries, seed).map(np.array)


@st.composite
def policies(draw):
    jitter = draw(st.sampled_from(JITTERS))
    initial = draw(st.sampled_from([0.0, 0.01, 1.0, 7.5]))
    keys = {"jitter": jitter, "initial_delay": initial, "max_delay": draw(st.sampled_from([5.0, 60.0, 1e6]))}
    keys["min_delay"] = draw(st.sampled_from([0.0, 0.5, 2.0]))
    if jitter != "soft":
        keys["backoff"] = draw(st.sampled_from(KINDS))
        keys["backoff_multiplier"] = draw(st.sampled_from([1.0, 1.5, 2.0, 10.0]))
    if jitter == "decorrelated":
        keys["cap_after_draw"] = draw(st.booleans())
        keys["jitter_factor"] = draw(st.sampled_from([1.0, 3.0]))
    if jitter in ("proportional", "additive"):
        keys["cap_before_jitter"] = draw(st.booleans())
    if jitter not in ("decorrelated", "soft") and draw(st.booleans()):
        keys["schedule"] = draw(st.lists(st.sampled_from([0.0, 0.1, 5.0, 300.0]), min_size=1, max_size=4))
    return RetryConfig(**keys)


def schedules(config, retries, count, seed=99):
    policy = Backoff(config, Random(seed))
    drawn = np.empty((count, retries))
    for row in drawn:
        memory_ns = None
        for number in range(1, retries + 1):
            wait_ns, memory_ns = policy.next_wait(number, memory_ns)
            row[number - 1] = wait_ns / NS_PER_S
    return drawn


@given(config=policies())
@example(RetryConfig(jitter="soft"))
@example(RetryConfig(jitter="decorrelated"))
def test_every_wait_lies_in_the_envelope_and_half_of_them_below_the_median(config):
    retries = 5
    waits, drawn = envelope(config, retries), schedules(config, retries, 400)
    slack = 1e-9 + 1e-12 * waits.longest
    assert (drawn >= waits.shortest - slack).all()
    assert (drawn <= waits.longest + slack).all()
    # 400 draws: the share below the median has a standard deviation of 0.025.
    assert ((drawn < waits.median - slack).mean(axis=0) <= 0.65).all()
    assert ((drawn > waits.median + slack).mean(axis=0) <= 0.65).all()


@pytest.mark.parametrize("jitter", ["full", "equal", "decorrelated", "proportional", "additive", "soft"])
def test_the_envelope_is_reached(jitter):
    waits, drawn = envelope(RetryConfig(jitter=jitter), 2), schedules(RetryConfig(jitter=jitter), 2, 20_000)
    width = waits.longest - waits.shortest
    np.testing.assert_array_less(drawn.min(axis=0) - waits.shortest, 0.05 * width)
    np.testing.assert_array_less(waits.longest - drawn.max(axis=0), 0.05 * width)


@pytest.mark.parametrize("jitter", ["decorrelated", "soft"])
def test_nine_in_ten_waits_lie_between_the_quantiles(jitter):
    config = RetryConfig(jitter=jitter)
    waits, drawn = envelope(config, 6), schedules(config, 6, 4000)
    within = ((drawn >= waits.low) & (drawn <= waits.high)).mean(axis=0)
    np.testing.assert_allclose(within, 0.9, atol=0.02)


def test_the_same_seed_draws_the_same():
    config = RetryConfig(jitter="decorrelated")
    one, same, other = envelope(config, 4, seed=1), envelope(config, 4, seed=1), envelope(config, 4, seed=2)
    np.testing.assert_array_equal(one.high, same.high)
    assert (one.high != other.high).any()
