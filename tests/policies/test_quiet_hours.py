"""Quiet hours against the clock on the wall, minute by minute over daylight-saving changes."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from effort import sliced
from hypothesis import given, strategies as st

from actors.errors import ConfigurationError
from actors.policies.quiet_hours import QuietHours

MINUTE = timedelta(minutes=1)
NIGHT = ("22:00", "07:00")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def quiet(start: str, end: str, zone: str) -> QuietHours:
    return QuietHours(time.fromisoformat(start), time.fromisoformat(end), zone)


@pytest.mark.parametrize(
    ("at", "ends"),
    [
        pytest.param("2024-01-10T20:59:59.999999", None, id="before"),
        pytest.param("2024-01-10T21:00", "2024-01-11T06:00", id="start-is-quiet"),
        pytest.param("2024-01-10T23:30", "2024-01-11T06:00", id="after-midnight"),
        pytest.param("2024-01-11T05:59:59.999999", "2024-01-11T06:00", id="last-instant"),
        pytest.param("2024-01-11T06:00", None, id="end-is-not-quiet"),
        pytest.param("2024-03-30T22:00", "2024-03-31T05:00", id="a-night-of-eight-hours"),
        pytest.param("2024-10-26T21:00", "2024-10-27T06:00", id="a-night-of-ten-hours"),
    ],
)
def test_a_night_in_berlin(at: str, ends: str | None) -> None:
    assert quiet(*NIGHT, "Europe/Berlin").end_of_quiet(utc(at)) == (None if ends is None else utc(ends))


def test_an_end_that_the_clock_jumps_over_is_the_jump() -> None:
    # At 01:00 UTC the clock goes from 02:00 to 03:00; there is no 02:30.
    assert quiet("22:00", "02:30", "Europe/Berlin").end_of_quiet(utc("2024-03-30T23:00")) == utc("2024-03-31T01:00")


def test_an_end_that_the_clock_shows_twice_is_the_first_and_quiet_comes_back() -> None:
    # At 01:00 UTC the clock goes back from 03:00 to 02:00.
    hours = quiet("22:00", "02:30", "Europe/Berlin")
    assert hours.end_of_quiet(utc("2024-10-26T23:00")) == utc("2024-10-27T00:30")
    assert hours.end_of_quiet(utc("2024-10-27T00:45")) is None
    assert hours.end_of_quiet(utc("2024-10-27T01:00")) == utc("2024-10-27T01:30")


def test_an_instant_may_come_in_any_zone_and_the_answer_is_utc() -> None:
    at = datetime(2024, 1, 10, 23, 0, tzinfo=ZoneInfo("Asia/Kathmandu"))
    ends = quiet(*NIGHT, "Asia/Kathmandu").end_of_quiet(at)
    assert ends == utc("2024-01-11T01:15")
    assert ends is not None
    assert ends.tzinfo is UTC


CHANGES = [
    ("Europe/Berlin", "2024-03-31T01:00"),
    ("Europe/Berlin", "2024-10-27T01:00"),
    ("America/New_York", "2024-03-10T07:00"),
    ("America/New_York", "2024-11-03T06:00"),
    ("Australia/Lord_Howe", "2024-04-06T15:00"),
    ("Australia/Lord_Howe", "2024-10-05T15:30"),
    ("Asia/Kathmandu", "2024-03-31T01:00"),
    # Samoa skipped a whole day.
    ("Pacific/Apia", "2011-12-30T10:00"),
]
HOURS = [NIGHT, ("22:00", "02:30"), ("02:15", "02:45"), ("01:45", "09:00"), ("02:30", "01:30"), ("00:00", "23:59")]


@pytest.mark.parametrize(("zone", "change"), sliced(CHANGES, 4))
@pytest.mark.parametrize(("start", "end"), HOURS)
def test_the_end_is_the_first_minute_at_which_the_clock_shows_another_time(
    zone: str, change: str, start: str, end: str
) -> None:
    hours = quiet(start, end, zone)
    first = utc(change) - timedelta(hours=30)
    minutes = [first + count * MINUTE for count in range(6 * 24 * 60)]
    shown = [minute.astimezone(ZoneInfo(zone)).strftime("%H:%M") for minute in minutes]
    loud = [not (start <= one < end if start < end else one >= start or one < end) for one in shown]
    next_loud: list[datetime | None] = [None] * len(minutes)
    for index in range(len(minutes) - 2, -1, -1):
        next_loud[index] = minutes[index] if loud[index] else next_loud[index + 1]
    for index in [*range(0, 60 * 60, 7), *range(28 * 60, 32 * 60)]:
        expected = None if loud[index] else next_loud[index]
        assert hours.end_of_quiet(minutes[index]) == expected, f"at {minutes[index]}, clock {shown[index]}"


times_of_day = st.times().filter(lambda one: one.tzinfo is None)
zones = st.sampled_from([zone for zone, _ in CHANGES] + ["UTC", "America/St_Johns", "Africa/Casablanca"])
instants = st.datetimes(datetime(1975, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))


@given(times_of_day, times_of_day, zones, instants)
def test_it_is_quiet_until_the_end_and_not_at_it(start: time, end: time, zone: str, at: datetime) -> None:
    if start == end:
        return
    hours = QuietHours(start, end, zone)
    ends = hours.end_of_quiet(at)
    if ends is None:
        return
    assert ends > at
    assert hours.end_of_quiet(ends) is None
    assert hours.end_of_quiet(ends - timedelta.resolution) == ends
    assert hours.end_of_quiet(at + (ends - at) / 2) == ends


# What cannot be used


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Europe/Berlim", "got 'Europe/Berlim'; did you mean Europe/Berlin"),
        ("Europe", "got 'Europe'"),
        ("", "got ''"),
        ("../etc/passwd", "got '../etc/passwd'"),
        ("Mars/Olympus\0", "got 'Mars/Olympus"),
    ],
)
def test_an_unknown_zone_is_named(zone: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        quiet(*NIGHT, zone)
    assert text in str(caught.value)


def test_equal_start_and_end_say_neither_never_nor_always() -> None:
    with pytest.raises(ConfigurationError, match="differ, got 08:00:00 for both"):
        quiet("08:00", "08:00", "UTC")


def test_the_times_are_the_zones_own() -> None:
    with pytest.raises(ConfigurationError, match="start: wanted a local time"):
        QuietHours(time(22, tzinfo=UTC), time(7), "Europe/Berlin")
    with pytest.raises(ConfigurationError, match="end: wanted a local time such as 22:00, got '07:00'"):
        QuietHours(time(22), "07:00", "Europe/Berlin")  # type: ignore[arg-type]


def test_an_instant_without_a_zone_is_none() -> None:
    with pytest.raises(ValueError, match="time zone"):
        quiet(*NIGHT, "UTC").end_of_quiet(datetime(2024, 1, 1))
