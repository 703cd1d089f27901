"""Every day at a local time: against the clock on the wall, second by second and minute by minute, over its changes."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st

from simulation.scenario.arrivals import WEEKDAYS, instants_at

MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"20{text}").replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "at", "begins", "instants"),
    [
        # Put forward from 02:00 to 03:00 at 01:00 UTC; put back from 03:00 to 02:00 at 01:00 UTC.
        ("Europe/Berlin", "02:30", "26-03-28T00:00", ["26-03-28T01:30", "26-03-29T01:00", "26-03-30T00:30"]),
        ("Europe/Berlin", "03:00", "26-03-28T00:00", ["26-03-28T02:00", "26-03-29T01:00", "26-03-30T01:00"]),
        ("Europe/Berlin", "02:30", "26-10-24T00:00", ["26-10-24T00:30", "26-10-25T00:30", "26-10-26T01:30"]),
        ("Europe/Berlin", "02:00", "26-10-25T00:00", ["26-10-25T00:00", "26-10-26T01:00"]),
        ("Europe/Berlin", "02:30", "26-10-25T00:45", ["26-10-26T01:30"]),  # the second time does not count
        ("Europe/Berlin", "08:00", "26-10-24T00:00", ["26-10-24T06:00", "26-10-25T07:00"]),
        # From 00:00 to 01:00: there is no midnight. From 00:00 back to 23:00 of the day before.
        ("America/Sao_Paulo", "00:00", "18-11-03T00:00", ["18-11-03T03:00", "18-11-04T03:00", "18-11-05T02:00"]),
        ("America/Sao_Paulo", "00:30", "18-11-04T00:00", ["18-11-04T03:00", "18-11-05T02:30"]),
        ("America/Sao_Paulo", "23:30", "19-02-16T00:00", ["19-02-16T01:30", "19-02-17T01:30", "19-02-18T02:30"]),
        # By half an hour, from 02:00 to 02:30 and from 02:00 back to 01:30.
        ("Australia/Lord_Howe", "02:15", "26-10-02T12:00", ["26-10-02T15:45", "26-10-03T15:30", "26-10-04T15:15"]),
        ("Australia/Lord_Howe", "01:45", "26-04-03T12:00", ["26-04-03T14:45", "26-04-04T14:45", "26-04-05T15:15"]),
        ("Asia/Tokyo", "08:00", "26-03-03T23:00", ["26-03-03T23:00", "26-03-04T23:00"]),  # the first at the start
    ],
)  # fmt: skip
def test_each_day_has_it_once(zone: str, at: str, begins: str, instants: list[str]) -> None:
    found = instants_at(time.fromisoformat(at), zone, WEEKDAYS, utc(begins))
    assert list(islice(found, len(instants))) == [utc(each) for each in instants]


def test_days_of_the_week_are_those_there() -> None:
    monday_in_tokyo = instants_at(time(8), "Asia/Tokyo", ["mon"], utc("26-03-01T00:00"))
    assert list(islice(monday_in_tokyo, 2)) == [utc("26-03-01T23:00"), utc("26-03-08T23:00")]  # Sundays in UTC


ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca"]


@settings(max_examples=examples(60))
@given(
    at=st.builds(time, st.integers(0, 23), st.integers(0, 59)),
    zone=st.sampled_from(ZONES),
    days=st.sets(st.sampled_from(WEEKDAYS), min_size=1),
    begins=st.datetimes(datetime(2017, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
)
def test_it_is_the_first_minute_of_its_day_at_which_the_clock_shows_it_or_more(at, zone, days, begins):
    """Law: by the clock on the wall alone, looked at once a minute."""
    begins = begins.replace(second=0, microsecond=0)
    ends = begins + timedelta(days=3)
    found = list(takewhile(lambda instant: instant < ends, instants_at(at, zone, days, begins)))
    first: dict[date, datetime] = {}
    minute = begins - timedelta(days=1)
    while minute < ends:
        shown = minute.astimezone(ZoneInfo(zone))
        if shown.time() >= at:  # in none of these zones a gap reaches over midnight
            first.setdefault(shown.date(), minute)
        minute += MINUTE
    meant = [instant for day, instant in first.items() if begins <= instant and WEEKDAYS[day.weekday()] in days]
    assert found == meant
