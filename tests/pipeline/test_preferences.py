"""Preferences and quiet hours in the pipeline: switched off, put off until morning, and looked at again then."""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from timetables import send_at
from worlds import OK, START, Scripted, World, email, on_both_clocks

from actors.domain.user_preferences import UserPreferences
from actors.errors import WrongType
from actors.messages import (
    ActorFailed,
    DeferralCause,
    NotificationChannel,
    NotificationDeferred,
    NotificationMovedToDeadLetter,
    NotificationSent,
    NotificationSuppressed,
)
from actors.outcomes import Outcome, Transient
from actors.pipeline.preferences import LivePreferences, Preferences, Quiet, SwitchedOff
from actors.policies.quiet_hours import QuietHours

S = 1_000_000_000
H = 3600.0
NIGHT = QuietHours(time(22), time(7), "UTC")
EMAIL = NotificationChannel.EMAIL


def away(since: float, until: float, method: str, answers: Iterable[Outcome] = (), **settings: Any) -> Any:
    """Return how to open a pipeline whose preferences are away for some time."""
    return lambda world: world.open(Scripted(answers), preferences=Away(world, since, until, method), email=settings)


def quiet(hours: QuietHours = NIGHT, user: str = "ann@example.org") -> Preferences:
    preferences = Preferences()
    preferences.set_quiet_hours(user, hours)
    return preferences


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda them: them.set_channel("ann", "Fax", True), "True or False; got"),
        (lambda them: them.set_channel("ann", EMAIL, "off"), "True or False; got .* and 'off'$"),
        (lambda them: them.set_quiet_hours("ann", ("22:00", "07:00")), "^wanted QuietHours or None, got "),
    ],
    ids=["channel", "off", "hours"],
)
def test_what_a_user_cannot_have_set_is_refused_where_it_is_set(change, said):
    preferences = Preferences()
    with pytest.raises(WrongType, match=said):
        change(preferences)
    assert preferences.is_enabled("ann", EMAIL)


def test_a_channel_that_is_switched_off_suppresses_and_says_so():
    preferences = Preferences()
    preferences.set_channel("ann", EMAIL, False)
    commands = [email("a", user_id="ann"), email("b", user_id="ann", channel="sms"), email("c", user_id="bob")]
    world = send_at({0: commands}, preferences=preferences, email={}, sms={})
    (suppressed,) = world.events(NotificationSuppressed)
    assert (suppressed.notification_id, suppressed.reason) == ("a", "switched off by the user")
    assert world.sent_ids() == ["b", "c"]
    assert world.notes == ["accepted"] * 3


def test_a_suppressed_notification_has_ended_and_its_id_is_known():
    def scenario(world: World) -> None:
        preferences = Preferences(switched_off=[SwitchedOff(share=1.0)])
        world.open(preferences=preferences)
        world.send(email("a"))
        world.at(1, preferences.set_channel, "ann@example.org", EMAIL, True)
        world.send(email("a"), email("b"), at=2)

    world = on_both_clocks(scenario)
    assert world.notes == ["accepted", "duplicate", "accepted"]
    assert world.sent_ids() == ["b"]


def test_critical_ones_pass_preferences_and_quiet_hours():
    off = [SwitchedOff(share=1.0, channels=frozenset({"sms"}))]
    preferences = Preferences(switched_off=off, quiet=[Quiet(share=1.0, hours=NIGHT)])
    sends = {23 * H: [email("a", critical=True), email("b", critical=True, channel="sms")]}
    world = send_at(sends, until=30 * H, preferences=preferences, email={}, sms={})
    assert world.times(NotificationSent) == [23 * H] * 2


def test_quiet_hours_put_off_until_their_end_as_one_deferral():
    sends = [(21.99 * H, email("a")), (22 * H, email("b")), (30.999 * H, email("c")), (31 * H, email("d"))]
    world = send_at(sends, until=40 * H, preferences=quiet())
    sent = {event.notification_id: event.at_ns / S / H for event in world.events(NotificationSent)}
    assert sent == {"a": pytest.approx(21.99), "b": 31.0, "c": 31.0, "d": 31.0}
    deferred = world.events(NotificationDeferred)
    assert [(event.notification_id, event.cause) for event in deferred] == [
        ("b", DeferralCause.QUIET_HOURS),
        ("c", DeferralCause.QUIET_HOURS),
    ]
    assert {event.resumes_at for event in deferred} == {START + timedelta(hours=31)}


def test_a_retry_that_comes_due_at_night_waits_until_morning_too():
    settings = {"retry": {"initial_delay": "1h", "max_delay": "1h"}}
    world = send_at({21.5 * H: email("a")}, [Transient()], until=40 * H, preferences=quiet(), email=settings)
    assert world.provider.times == [21.5 * H, 31 * H]
    assert world.events(NotificationSent)[0].attempt == 2


def test_at_the_end_of_quiet_hours_preferences_are_looked_at_again():
    def scenario(world: World) -> None:
        preferences = quiet()
        world.open(preferences=preferences)
        world.send(email("off"), email("longer", user_id="bob"), at=23 * H)
        preferences.set_quiet_hours("bob", NIGHT)
        world.at(25 * H, preferences.set_channel, "ann@example.org", EMAIL, False)
        world.at(25 * H, preferences.set_quiet_hours, "bob", QuietHours(time(22), time(9), "UTC"))

    world = on_both_clocks(scenario, until=40 * H)
    assert world.times(NotificationSuppressed) == [31 * H]
    assert world.times(NotificationSent) == [33 * H]
    assert [event.notification_id for event in world.events(NotificationDeferred)] == ["off", "longer", "longer"]


@pytest.mark.parametrize("expires_after", [7.5 * H, 8 * H])
def test_what_expires_before_morning_is_dead_lettered_and_at_the_very_instant_it_is_sent(expires_after):
    world = send_at({23 * H: email("a", expires_after=expires_after)}, until=40 * H, preferences=quiet())
    if expires_after < 8 * H:
        assert world.reasons == ["expired"]
        assert world.times(NotificationMovedToDeadLetter) == [23 * H]
    else:
        assert world.times(NotificationSent) == [31 * H]


@pytest.mark.parametrize(
    ("day", "asleep_for"),
    [
        (datetime(2026, 3, 28, tzinfo=UTC), 8.0),  # the clock is put forward that night: an hour less
        (datetime(2026, 6, 28, tzinfo=UTC), 9.0),
        (datetime(2026, 10, 24, tzinfo=UTC), 10.0),  # and back: an hour more
    ],
)
def test_a_night_is_as_long_as_the_clock_on_the_wall_makes_it(day, asleep_for):
    berlin = QuietHours(time(22), time(7), "Europe/Berlin")
    ten_in_the_evening = datetime(day.year, day.month, day.day, 22, tzinfo=berlin._zone).astimezone(UTC)

    world = send_at({0: email("a")}, start=ten_in_the_evening, preferences=quiet(berlin))
    assert world.times(NotificationSent) == [asleep_for * H]


def test_a_command_brings_the_zone_in_which_the_night_holds():
    def scenario(world: World) -> None:
        stored = LivePreferences({"ann": UserPreferences.model_validate(
            {"quiet_hours": {"from": "22:00", "to": "07:00", "zone": "America/New_York"}})})  # fmt: skip
        world.open(
            Scripted([Transient(), OK]),
            preferences=stored,
            email={"retry": {"max_attempts": 1}, "fallback": {"channel": "sms"}},
            sms={},
        )
        world.send(email("tokyo", user_id="ann", zone="Asia/Tokyo", addresses={"sms": "1"}), at=29 * H)  # 14:00 there
        world.send(email("berlin", user_id="ann", zone="Europe/Berlin"), at=23 * H)  # 00:00 there
        world.send(email("home", user_id="ann"), at=29 * H)  # 00:00 there
        world.send(email("none", user_id="bob", zone="Asia/Kolkata"), at=29.5 * H)

    world = on_both_clocks(scenario, until=50 * H)
    sent = {event.notification_id: event.at_ns / S / H for event in world.events(NotificationSent)}
    assert sent == {"tokyo/sms": 29.0, "none": 29.5, "berlin": 30.0, "home": 36.0}, "a fallback has the same zone"


def test_preferences_that_know_no_zone_are_asked_without():
    class Old(Preferences):
        def quiet_until(self, user_id, channel, at):
            return super().quiet_until(user_id, channel, at)

    assert send_at(
        {23 * H: email("a", zone="Asia/Tokyo")}, until=40 * H, preferences=Old(quiet=[Quiet(share=1.0, hours=NIGHT)])
    ).times(NotificationSent) == [31 * H]


def test_a_suppression_while_it_waits_for_its_retry():
    def scenario(world: World) -> None:
        preferences = Preferences()
        world.open(Scripted([Transient(), OK]), preferences=preferences)
        world.send(email("a"))
        world.at(0.5, preferences.set_channel, "ann@example.org", EMAIL, False)

    world = on_both_clocks(scenario)
    assert world.times(NotificationSuppressed) == [1.0]
    assert world.provider.times == [0.0]


class Away(Preferences):
    """Raise for some time, as where they are in a database that is away."""

    def __init__(self, world: World, since: float, until: float, method: str) -> None:
        super().__init__()
        self._world, self._since_ns, self._until_ns, self._method = world, since * S, until * S, method
        self.asked_s: list[float] = []

    def _look(self, method: str) -> None:
        now_ns = self._world.system.now_ns
        if method == self._method:
            self.asked_s.append(now_ns / S)
            if self._since_ns <= now_ns < self._until_ns:
                raise ConnectionError("no database")

    def is_enabled(self, user_id, channel):
        self._look("is_enabled")
        return super().is_enabled(user_id, channel)

    def quiet_until(self, user_id, channel, at):
        self._look("quiet_until")
        return super().quiet_until(user_id, channel, at)


@pytest.mark.parametrize("method", ["is_enabled", "quiet_until"])
def test_preferences_that_raise_are_asked_again_and_no_actor_fails(method, caplog):
    commands = [email("a"), email("critical", critical=True, user_id="bob")]
    world = send_at({0: commands}, opens=away(0, 25, method, [Transient()]))
    assert not world.events(ActorFailed)
    assert world.times(NotificationSent) == [1.0, 30.0]  # first the critical one, which has failed once
    assert [event.attempt for event in world.events(NotificationSent)] == [2, 1]
    assert caplog.text.count("preferences raised on notification 'a'") == 2 * 3  # on each clock at 0, 10 and 20 s
    assert "ConnectionError: no database" in caplog.text


@pytest.mark.parametrize("method", ["is_enabled", "quiet_until"])
def test_preferences_that_raise_for_an_hour_make_a_dead_letter_and_an_alert_says_so_at_once(method):
    steps = {
        0: [email("a"), email("critical", critical=True)],
        1: lambda world: world.notes.append(world.alerts[:]),
        7: email("b"),  # its hour is not over when they are back
    }
    world = send_at(steps, opens=away(0, 3606, method))
    reason = f"Away.{method} raised ConnectionError: no database"
    assert [f"Notifications on channel email wait for preferences: {reason}"] in world.notes
    assert world.times(NotificationMovedToDeadLetter) == [3600.0]
    assert world.reasons == [reason]
    assert world.sent_ids() == ["critical", "b"]
    assert world.pipeline.in_flight == 0


def test_preferences_that_raise_now_and_then_make_no_dead_letter():
    def scenario(world: World) -> None:
        away = Away(world, 0, 3595, "is_enabled")
        world.open(Scripted([Transient()]), preferences=away, email={"retry": {"initial_delay": 20.0}})
        world.send(email("a"))
        world.at(3605.0, setattr, away, "_until_ns", 4000 * S)

    world = on_both_clocks(scenario)
    assert world.letters == []
    assert world.sent_ids() == ["a"]


def test_preferences_that_raise_before_a_retry_and_are_back_only_when_it_is_expired():
    world = send_at({0: email("a", expires_after=30)}, opens=away(1, 3600, "is_enabled", [Transient()]))
    assert not world.events(ActorFailed)
    assert world.times(NotificationMovedToDeadLetter) == [21.0]  # the next time would be too late
    assert world.reasons == ["expired"]
    assert [letter.attempts for letter in world.letters] == [1]


def test_preferences_that_answer_nonsense_are_asked_again_as_well():
    def scenario(world: World) -> None:
        class Nonsense(Preferences):
            def quiet_until(self, user_id, channel, at):
                return "tomorrow" if world.system.now_ns < 15 * S else None

        world.open(preferences=Nonsense())
        world.send(email("a"))

    world = on_both_clocks(scenario)
    assert not world.events(ActorFailed)
    assert world.times(NotificationSent) == [20.0]


@pytest.mark.parametrize("ago", [timedelta(0), timedelta(hours=1)])
@pytest.mark.parametrize("settings", [{}, {"rate_limit": {"rate": "1/50s"}}], ids=["at once", "waiting"])
def test_quiet_hours_that_are_over_by_preferences_of_ones_own_keep_nothing(ago, settings):
    """They would be asked again at the same instant, and defer it again, without end."""

    class Over(Preferences):
        def quiet_until(self, user_id, channel, at):
            return at - ago

    world = send_at({0: [email("a"), email("b")]}, preferences=Over(), email=settings)
    assert sorted(world.sent_ids()) == ["a", "b"]
    assert not [event for event in world.events(NotificationDeferred) if event.cause is DeferralCause.QUIET_HOURS]


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_limit": {"rate": "1/50s"}},
        {"circuit_breaker": {"failure_threshold": 1, "timeout": "50s"}},
    ],
    ids=["limiter", "breaker"],
)
def test_preferences_that_raise_while_it_waits_in_a_stage(settings):
    answers = [Transient()] if "circuit_breaker" in settings else []
    world = send_at({0: [email("a"), email("b")]}, opens=away(40, 55, "is_enabled", answers, **settings))
    assert not world.events(ActorFailed)
    assert sorted(world.sent_ids()) == ["a", "b"]
    assert world.times(NotificationSent)[-1] >= 60.0
    assert not world.letters


def test_shares_of_users_are_the_same_in_every_run_and_about_as_large_as_asked():
    preferences = Preferences(switched_off=[SwitchedOff(share=0.3)], quiet=[Quiet(share=0.5, hours=NIGHT)])
    users = [f"user {number}" for number in range(4000)]
    off = [user for user in users if not preferences.is_enabled(user, EMAIL)]
    night = datetime(2026, 1, 1, 23, tzinfo=UTC)
    asleep = [user for user in users if preferences.quiet_until(user, EMAIL, night)]
    assert len(off) / len(users) == pytest.approx(0.3, abs=0.03)
    assert len(asleep) / len(users) == pytest.approx(0.5, abs=0.03)
    # The one says nothing about the other.
    assert len(set(off) & set(asleep)) / len(off) == pytest.approx(0.5, abs=0.06)


def test_a_users_own_setting_counts_before_the_rules():
    preferences = Preferences(switched_off=[SwitchedOff(share=1.0)], quiet=[Quiet(share=1.0, hours=NIGHT)])
    night = datetime(2026, 1, 1, 23, tzinfo=UTC)
    preferences.set_channel("ann", EMAIL, True)
    preferences.set_quiet_hours("ann", None)
    assert preferences.is_enabled("ann", EMAIL)
    assert not preferences.is_enabled("ann", NotificationChannel.SMS)
    assert preferences.quiet_until("ann", EMAIL, night) is None


def test_of_several_quiet_hours_the_latest_end_counts():
    rules = [Quiet(share=1.0, hours=NIGHT), Quiet(share=1.0, hours=QuietHours(time(20), time(9), "UTC"))]
    until = Preferences(quiet=rules).quiet_until("ann", EMAIL, datetime(2026, 1, 1, 23, tzinfo=UTC))
    assert until == datetime(2026, 1, 2, 9, tzinfo=UTC)


def of_user(**keys: object) -> UserPreferences:
    return UserPreferences.model_validate(keys)


def test_each_thing_that_a_user_has_set_is_looked_for_in_the_store_then_in_the_file_then_in_the_code():
    night = {"from": "22:00", "to": "07:00", "zone": "UTC"}
    stored = {"ann": of_user(channels={"email": "on"}), "bob": of_user(quiet_hours=None)}
    preferences = LivePreferences(stored)
    for user in ("ann", "bob", "cleo"):
        preferences.set_channel(user, "push", False)
    in_file = {
        "ann": of_user(channels={"email": "off", "sms": "off"}, quiet_hours=night),
        "bob": of_user(channels={"push": "on"}, quiet_hours=night),
    }
    preferences.replace_file(in_file)

    def wants(user: str) -> list[str]:
        return [channel for channel in NotificationChannel if preferences.is_enabled(user, channel)]

    def is_quiet(user: str) -> bool:
        return preferences.quiet_until(user, EMAIL, datetime(2026, 1, 1, 23, tzinfo=UTC)) is not None

    assert [wants("ann"), wants("bob"), wants("cleo")] == [
        ["email", "webhook"],
        ["email", "sms", "push", "webhook"],
        ["email", "sms", "webhook"],
    ]
    assert [is_quiet("ann"), is_quiet("bob"), is_quiet("cleo")] == [True, False, False]
    del stored["bob"]
    assert is_quiet("bob")
    preferences.replace_file({})
    assert wants("ann") == ["email", "sms", "webhook"]
    assert not is_quiet("ann")
