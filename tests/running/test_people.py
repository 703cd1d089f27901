"""Users in time zones: their digests and their nights, and whose zone goes before whose."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

import simulation
from actors.errors import ConfigurationError
from actors.instants import since_1970_ns
from actors.messages import NotificationChannel, SendNotification
from actors.policies.quiet_hours import QuietHours
from simulation.running.contents import preferences_of
from simulation.scenario import parse
from simulation.scenario.workload import user_name
from simulation.verification.checking import comparison_text, world_of
from simulation.verification.model.people import wanted_from_ns

ZONES = ["Asia/Tokyo", "Asia/Kolkata", "Europe/Berlin", "America/Sao_Paulo", "America/Los_Angeles"]
NIGHT = "quiet_hours: [{share: 100%, from: 21:00, to: 08:00}]"
START = "2026-03-03T00:00:00Z"


def of_zones(entry: str, *more: str) -> Any:
    """Run a day of one entry of the workload for the users of each zone, and return its notifications."""
    entries = "".join(f"  - {{name: {zone[-5:]}, channel: email, {entry.replace('ZONE', zone)}}}\n" for zone in ZONES)
    head = f"start: {START}\nduration: 1d\ndrain: 1d\nworkload:\n{entries}"
    return simulation.run(parse(head + "\n".join(more))).notifications


@pytest.mark.parametrize("night", ["", NIGHT], ids=["", "with-nights"])
@pytest.mark.parametrize(("users", "per_s"), [(240, 1), pytest.param(60_000, 50, marks=pytest.mark.slow)])
def test_a_digest_takes_as_long_in_each_zone_as_its_quota_says(users: int, per_s: int, night: str) -> None:
    """Closed form: of n at once at r a second, the last goes out in the second n / r; no two zones meet."""
    rows = of_zones(
        f"users: {{count: {users}, zone: ZONE}}, arrivals: {{daily: {{at: 08:00, zone: ZONE, count: {users}}}}}",
        f"channels: {{email: {{quota: {{rate: {per_s}/s}}, provider: {{latency: 0s}}}}}}",
        night,
    )
    assert (rows["outcome"] == "sent").all()
    for zone in ZONES:
        own = rows[rows["entry"] == zone[-5:]]
        assert len(own) == users
        (came,) = set(own["requested_at_s"])
        eight = (datetime.fromisoformat(START) + timedelta(seconds=came)).astimezone(QuietHours(*_NIGHT, zone)._zone)
        assert f"{eight:%H:%M:%S}" == "08:00:00"
        took = own["finished_at_s"] - came
        assert took.min() == 0
        assert users / per_s - 1 <= took.max() < users / per_s
        assert own["user"].str.startswith(f"{zone}-user-").all()


def test_what_comes_at_night_goes_in_the_morning_of_its_users() -> None:
    rows = of_zones(
        "users: {count: 9, zone: ZONE}, arrivals: {burst: {size: 30, every: 2d}}",
        "channels: {email: {provider: {latency: 0s}}}",
        NIGHT,
    )
    finished = {zone[-5:]: set(rows["finished_at_s"][rows["entry"] == zone[-5:]]) for zone in ZONES}
    hours = {"Tokyo": 0.0, "lkata": 2.5, "erlin": 7.0, "Paulo": 11.0, "geles": 0.0}  # at the start it is 16:00 there
    assert finished == {name: {hour * 3600} for name, hour in hours.items()}


_NIGHT = (datetime(1, 1, 1, 21).time(), datetime(1, 1, 1, 8).time())
some_zone = st.sampled_from([None, "UTC", *ZONES])


@given(
    own=some_zone,
    of_entry=some_zone,
    of_command=some_zone,
    at=st.datetimes(datetime(2026, 3, 1), datetime(2026, 11, 30), timezones=st.just(UTC)),
)
def test_a_commands_zone_goes_first_then_the_users_own_then_the_entrys(
    own: str | None, of_entry: str | None, of_command: str | None, at: datetime
) -> None:
    """Law: for every choice of the three, the product and the reference model go by the first that is given."""
    zone = "" if own is None else f", zone: {own}"
    users = "users: 7" if of_entry is None else f"users: {{count: 7, zone: {of_entry}}}"
    scenario = parse(
        f"duration: 1d\nquiet_hours: [{{share: 100%, from: 21:00, to: 08:00{zone}}}]\n"
        f"workload: [{{channel: sms, arrivals: {{constant: 1/h}}, {users}}}, {{channel: sms, clients: 1, think: 1h}}]"
    )
    command = SendNotification(
        notification_id="a",
        channel=NotificationChannel.SMS,
        recipient=user_name(3, of_entry),
        message="",
        zone=of_command,
    )
    ends = QuietHours(*_NIGHT, of_command or own or of_entry or "UTC").end_of_quiet(at)
    preferences = preferences_of(scenario)
    assert preferences is not None
    assert preferences.quiet_until(command.user, command.channel, at, zone=command.zone) == ends
    wanted_ns = wanted_from_ns(world_of(scenario), command, 0, since_1970_ns(at))
    assert wanted_ns == (0 if ends is None else since_1970_ns(ends) - since_1970_ns(at))


def test_users_of_zones_are_themselves_in_domain_events_and_at_hosts_too() -> None:
    text = f"""
    duration: 1d
    drain: 1d
    {NIGHT}
    workload:
      - {{event: UserRegistered, arrivals: {{daily: {{at: 06:00, zone: Asia/Tokyo, count: 9, over: 20m}}}},
         users: {{count: 3, zone: Asia/Tokyo}}}}
      - {{event: OrderPlaced, arrivals:
           {{burst: {{size: {{uniform: {{low: 1, high: 3}}}}, every: {{exponential: {{mean: 3h}}}}}}}},
         users: {{count: 3, zone: America/Los_Angeles, zipf: 1}}}}
      - {{channel: email, clients: 2, think: {{exponential: {{mean: 2h}}}}, users: {{count: 2, zone: Europe/Berlin}},
         hosts: 2}}
    """
    result = simulation.run(parse(text), invariants="all")
    assert comparison_text(result) == "in lock-step with the reference model"
    rows = result.notifications
    assert {user.rpartition("-user-")[0] for user in rows["user"]} == {
        "Asia/Tokyo",
        "America/Los_Angeles",
        "Europe/Berlin",
    }
    registered = rows[rows["entry"] == "UserRegistered"]
    assert (registered["finished_at_s"] // 60 == 23 * 60).all()  # 08:00 in Tokyo


@pytest.mark.parametrize(
    ("entry", "begins"),
    [
        ("arrivals: {daily: {at: 08:00, zone: Asia/Tokyo, count: 1}}", "2026-03-03T00:00:00Z"),  # it is 09:00 there
        ("at: 30m, arrivals: {daily: {at: 00:29, count: 1}}", "2026-03-03T00:30:00Z"),
        ("arrivals: {daily: {at: 00:30, count: 1, days: [mon, wed]}}", "2026-03-03T00:00:00Z"),  # a Tuesday
    ],
)
def test_no_day_in_the_run_is_an_error(entry: str, begins: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"workload\.0\.arrivals\.daily: wanted a local time that comes"
    ) as caught:
        parse(f"start: {START}\nduration: 2h\nworkload: [{{channel: email, {entry}}}]")
    assert f"and {begins} to 2026-03-03T02:00:00Z" in str(caught.value)
