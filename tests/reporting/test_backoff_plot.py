"""The plot of a schedule shows the waits that the policy draws."""

import pytest
from effort import sliced

from actors.errors import ConfigurationError, WrongType
from actors.settings.channel import ChannelConfig, RetryConfig
from simulation.reporting import plots
from simulation.reporting.retry_waits import policy_text

KINDS = ("exponential", "constant", "linear", "fibonacci")


def lines(ax):
    return {str(one.get_label()): list(one.get_ydata()) for one in ax.lines if not str(one.get_label()).startswith("_")}


@pytest.mark.parametrize("kind", sliced(KINDS, 6))
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
    ("keys", "count"), sliced([({}, 2), ({"max_attempts": 50}, 9), ({"schedule": ["5s", "5m", "30m"]}, 3)], 6)
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
