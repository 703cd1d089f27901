"""The plot of a schedule shows the waits that the policy draws."""

from random import Random

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from actors.errors import ConfigurationError, WrongType
from actors.instants import NS_PER_S
from actors.policies.retry.backoff import Backoff
from actors.settings.channel import ChannelConfig, RetryConfig
from simulation.reporting import plots
from simulation.reporting.plots.backoff import envelope, policy_text

JITTERS = ("none", "full", "equal", "decorrelated", "proportional", "additive", "soft")
KINDS = ("exponential", "constant", "linear", "fibonacci")


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


def lines(ax):
    return {str(one.get_label()): list(one.get_ydata()) for one in ax.lines if not str(one.get_label()).startswith("_")}


@pytest.mark.parametrize("kind", KINDS)
def test_without_jitter_the_line_is_the_delays(kind):
    config = RetryConfig(backoff=kind, max_attempts=7)
    ((label, waits),) = lines(plots.backoff(config)).items()
    assert waits == [config.calculate_delay(number) for number in range(1, 7)]
    assert label == policy_text(config)


def test_several_policies_are_lines_by_their_labels():
    ax = plots.backoff({"slow": {"initial_delay": 5, "max_attempts": 4}, "ours": ChannelConfig()})
    assert lines(ax) == {"slow": [5, 10, 20], "ours": [1, 2]}
    assert ax.get_title("left") == "Wait before each retry: up to 20 s (slow), 2 s (ours)"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["slow", "ours"]


@pytest.mark.parametrize(
    ("keys", "count"), [({}, 2), ({"max_attempts": 50}, 9), ({"schedule": ["5s", "5m", "30m"]}, 3)]
)
def test_as_many_retries_are_shown_as_there_are_up_to_nine(keys, count):
    assert [len(waits) for waits in lines(plots.backoff(keys)).values()] == [count]
    assert [len(waits) for waits in lines(plots.backoff(keys, attempts=21)).values()] == [20]


def test_one_attempt_has_no_schedule_to_be_drawn():
    ax = plots.backoff({"max_attempts": 1})
    assert [text.get_text() for text in ax.texts] == ["one attempt: nothing is retried"]


def test_a_label_may_be_called_like_a_key():
    assert list(lines(plots.backoff({"schedule": RetryConfig()}))) == ["schedule"]
    assert list(lines(plots.backoff({"a": {"budget": {"kind": "grpc"}}}))) == ["a"]
    assert len(lines(plots.backoff({"budget": {"kind": "grpc"}}))) == 1


@pytest.mark.parametrize("attempts", [-1, 0, 1, 201])
def test_a_number_of_attempts_that_cannot_be_drawn_is_refused(attempts):
    with pytest.raises(ConfigurationError, match="attempts: wanted a whole number from 2 to 200"):
        plots.backoff({}, attempts=attempts)


def test_a_policy_that_cannot_be_is_refused_as_everywhere():
    with pytest.raises(ConfigurationError, match="jitter: wanted one of"):
        plots.backoff({"jitter": "some"})
    with pytest.raises(WrongType, match="got int"):
        plots.backoff(7)


@pytest.mark.parametrize("initial", ["0s", "1ms", "30d"])
def test_any_length_of_waits_can_be_drawn(initial):
    ax = plots.backoff({"initial_delay": initial, "max_delay": "3650d", "max_attempts": 9, "jitter": "full"})
    low, high = ax.get_ylim()
    assert all(low <= wait <= high for waits in lines(ax).values() for wait in waits)
