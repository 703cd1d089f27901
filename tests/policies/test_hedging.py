"""Hedging: when the next copy goes."""

import math

import pytest
from pydantic import ValidationError

from actors.instants import ns
from actors.policies.hedging import HedgingSchedule
from actors.settings.adaptive import HedgingConfig


def sends(schedule: HedgingSchedule) -> list[int]:
    """Return when copies go if nothing is ever answered."""
    times, at = [], 0
    while True:
        times.append(at)
        following = schedule.after_send(len(times), at)
        if following is None:
            return times
        at = following


def test_v40k_four_sends_half_a_second_apart() -> None:
    assert sends(HedgingSchedule(HedgingConfig(max_attempts=4, delay=0.5))) == [0, ns(0.5), ns(1), ns(1.5)]


def test_v40k_a_failure_that_is_not_for_good_sends_the_next_at_once() -> None:
    schedule = HedgingSchedule(HedgingConfig(max_attempts=3, delay=0.5))
    assert schedule.after_failure(1, ns(0.2)) == ns(0.2)
    assert schedule.after_send(2, ns(0.2)) == ns(0.7), "and the delay counts from there"
    assert schedule.after_failure(3, ns(0.3)) is None


def test_v40k_more_than_five_are_five() -> None:
    assert len(sends(HedgingSchedule(HedgingConfig(max_attempts=9, delay=0.1)))) == 5


def test_no_delay_sends_all_at_once() -> None:
    assert sends(HedgingSchedule(HedgingConfig(max_attempts=3, delay=0))) == [0, 0, 0]


@pytest.mark.parametrize(
    ("pushback", "expected"), [(None, 7), (0, 7), (2, 7 + ns(2)), (-1, None), (math.nan, None), (math.inf, None)]
)
def test_pushback_puts_the_next_off_or_forbids_it(pushback: float | None, expected: int | None) -> None:
    schedule = HedgingSchedule(HedgingConfig(max_attempts=2, delay=0.5))
    assert schedule.after_failure(1, 7, pushback) == expected


def test_one_send_is_no_hedging() -> None:
    with pytest.raises(ValidationError, match="at least 2"):
        HedgingConfig(max_attempts=1, delay=1)
