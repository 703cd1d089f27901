from typing import Any

import pytest
from each_row import over_each
from hypothesis import given, strategies as st

from actors.messages import NotificationChannel
from actors.settings.bulkhead import BulkheadConfig
from actors.settings.channel import ChannelConfig, RetryConfig
from actors.settings.faults import FaultConfig
from actors.settings.quantities import (
    FROM_FILE,
    Rate,
    parse_duration,
    parse_rate,
    parse_share,
    write_duration,
    write_rate,
)


@over_each(
    [
        ("80ms", 0.08), ("7us", 0.000007), ("7µs", 0.000007), ("3ns", 3e-9), ("10s", 10), ("5m", 300), ("5min", 300),
        ("2h", 7200), ("1d", 86400), ("1.5h", 5400), ("1e3ms", 1), ("10 s", 10), (" 10s ", 10), (0.08, 0.08),
        ("", None), ("10", None), ("-1s", None), ("1 hour", None), ("s", None), ("1h30m", None), ("1e999s", None),
        (True, None), (None, None), (float("nan"), None), ("٣s", None), ([1], None),
    ]
)  # fmt: skip
def test_durations(text: Any, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@over_each(
    [
        ("20/s", Rate(20, 1)), ("100/min", Rate(100, 60)), ("100/m", Rate(100, 60)), ("3/10s", Rate(3, 10)),
        ("0.5/s", Rate(0.5, 1)), ("500 / h", Rate(500, 3600)), ("1/ms", Rate(1, 0.001)), (5, Rate(5, 1)),
        ("20", None), ("20/", None), ("/s", None), ("20/0s", None), ("20/1e5", None), ("-20/s", None), (True, None),
    ]
)  # fmt: skip
def test_rates(text: Any, rate: Rate | None) -> None:
    assert parse_rate(text) == rate


@over_each(
    [
        ("30%", 0.3), ("0%", 0), ("100%", 1), ("0.1 %", 0.001), (0.3, 0.3), (1, 1), (0, 0),
        ("101%", None), ("-1%", None), (1.01, None), (-0.1, None), ("0.3", None), (True, None), ("%", None),
    ]
)  # fmt: skip
def test_shares(text: Any, share: float | None) -> None:
    assert parse_share(text) == share


@given(st.floats(0, 1e12))
def test_durations_are_written_as_they_are_read(seconds: float) -> None:
    assert parse_duration(write_duration(seconds), unit_required=True) == seconds


@given(st.floats(1e-9, 1e9), st.sampled_from([1.0, 60.0, 3600.0, 0.001, 10.0]))
def test_rates_are_written_as_they_are_read(count: float, period: float) -> None:
    assert parse_rate(write_rate(Rate(count, period)), unit_required=True) == Rate(count, period)


def test_a_unit_is_required_in_a_file_only() -> None:
    assert RetryConfig(initial_delay=2).initial_delay == 2
    with pytest.raises(ValueError, match="wanted a duration such as 80ms"):
        RetryConfig.model_validate({"initial_delay": 2}, context=FROM_FILE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"retri": {}}, "unknown key; did you mean retry"),
        ({"retry": {"jitter": "half"}}, "wanted one of none, full \\(0 to w, the wait\\), equal"),
        ({"retry": 5}, "wanted a mapping"),
        ({"timeout": "36526d"}, r"wanted a duration of at most 36525d"),
        ({"quota": {"rate": "1e-13/s"}}, "wanted a rate of more than 0"),
        ({"circuit_breaker": {"enabled": 1}}, "wanted true or false"),
    ],
)
def test_problems_are_in_plain_words(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChannelConfig.model_validate(settings, context=FROM_FILE)


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────────


def fault(**settings: Any) -> FaultConfig:
    return FaultConfig.model_validate(settings, context=FROM_FILE)


def test_a_fault_names_channels_in_any_of_three_ways() -> None:
    assert fault(channel="sms", outage=True).channel == (NotificationChannel.SMS,)
    assert fault(channel="all", outage=True).channel == tuple(NotificationChannel)
    both = (NotificationChannel.EMAIL, NotificationChannel.PUSH)
    assert fault(channel=["push", "email", "push"], outage=True).channel == both


def test_a_fault_lasts_to_the_end_unless_told() -> None:
    assert (fault(channel="sms", outage=True).at, fault(channel="sms", outage=True).for_) == (0, None)
    window = fault(channel="sms", outage=True, at="2m", **{"for": "3m"})
    assert (window.at, window.for_) == (120, 180)


@pytest.mark.parametrize("keys", [{}, {"outage": False}, {"outage": False, "hang": False}, {"failure_rate": None}])
def test_a_fault_that_does_nothing_is_none(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="wanted at least one fault"):
        fault(channel="sms", **keys)


def test_a_rate_of_nothing_is_a_fault_that_can_be_varied() -> None:
    assert fault(channel="sms", failure_rate=0).failure_rate == 0
    assert fault(channel="sms", outage=False, failure_rate=0.5).failure_rate == 0.5


def test_clocks_may_step_back() -> None:
    assert fault(channel="all", clock_step="-90s").clock_step == -90
    assert fault(channel="all", crash={"actor": "breaker"}, restart_after="10s").restart_after == 10
    assert fault(channel="all", crash="process").crash == "process"
    with pytest.raises(ValueError, match="wanted process, or an actor such as"):
        fault(channel="all", crash="breaker")


def test_a_wait_of_a_plain_0_is_none():
    assert BulkheadConfig.model_validate({"limit": 3, "wait": 0}, context=FROM_FILE).wait == 0
    with pytest.raises(ValueError, match="wanted a duration such as"):
        BulkheadConfig.model_validate({"limit": 3, "wait": 1}, context=FROM_FILE)
