"""A breaker for each host of recipients: a dead server holds up no one else; hosts take turns for what they share."""

import itertools
from collections import Counter
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from timetables import operate, send_at
from worlds import EMAIL, OK, Scripted, Try, World, email, on_both_clocks, simulate

from actors.messages import BreakerTransitioned, DeferralCause, NotificationDeferred, NotificationMovedToDeadLetter
from actors.outcomes import Transient
from actors.pipeline.lane import Lane
from actors.policies.breaker.per_host import recipient_host

S = 1_000_000_000
DOWN = Transient(reason="down")
MANY = {"max_attempts": 50, "initial_delay": 1.0, "max_delay": 5.0}


def to(host: str, notification_id: str, **fields: Any) -> Any:
    return email(notification_id, recipient=f"ann@{host}", **fields)


def dead(*hosts: str, until: float = 1e9) -> Any:
    return lambda this: DOWN if recipient_host(this.command.recipient) in hosts and this.at < until else OK


def settings_per_host(**breaker: Any) -> dict[str, Any]:
    return {"retry": MANY, "circuit_breaker": {"per": "host", "failure_threshold": 1, **breaker}}


def stage_of(world: World) -> Any:
    return world.pipeline.wiring.stages[EMAIL].circuit_breaker


# ── on its own ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dead_mail_server_holds_up_no_one_elsewhere():
    sends = {number / 10: [to("dead.example", f"d{number}"), to("a.example", f"a{number}")] for number in range(100)}
    world = send_at(sends, dead("dead.example"), until=59, email=settings_per_host())
    assert [
        event.at_ns - event.requested_at_ns for event in world.history if type(event).__name__ == "NotificationSent"
    ] == [0] * 100
    assert {event.host for event in world.events(BreakerTransitioned)} == {"dead.example"}
    assert Counter(recipient_host(each.command.recipient) for each in world.provider.tries)["dead.example"] == 1


def test_each_hosts_line_resumes_by_itself_and_at_its_own_pace():
    def fate(this: Try) -> Any:
        return DOWN if this.at < {"a.example": 30, "b.example": 70}[recipient_host(this.command.recipient)] else OK

    sends = {number: to("a.example", f"a{number}") for number in range(5)}
    sends |= {number + 10: to("b.example", f"b{number}") for number in range(5)}
    world = send_at(sends, fate, email=settings_per_host(resume_rate="1/s", resume_doubling="1h"))
    a = [each.at for each in world.provider.tries if each.notification_id[0] == "a" and each.at >= 30]
    b = [each.at for each in world.provider.tries if each.notification_id[0] == "b" and each.at >= 30]
    assert a[:2] == [60.0, 60.0]  # the probe, and the first at the pace
    assert b[:2] == [70.0, 70.0]
    for times in (a, b):
        assert all(later - earlier == pytest.approx(1, abs=0.01) for earlier, later in itertools.pairwise(times[1:]))


def test_recipients_without_a_host_share_one():
    sends = {0: email("a", recipient="+49 170 1"), 20: [email("b", recipient="token 2"), to("a.example", "c")]}
    world = send_at(sends, lambda this: DOWN if this.at < 10 else OK, until=50, email=settings_per_host())
    assert world.sent_ids() == ["c"]
    assert {event.host for event in world.events(BreakerTransitioned)} == {""}


def test_an_order_holds_for_hosts_that_come_later():
    later = [to("a.example", "b"), to("b.example", "c")]
    sends = {0: to("a.example", "a"), 1: operate("force-open"), 2: later, 100: operate("close")}
    assert send_at(sends, email=settings_per_host()).provider.times == [0.0, 100.0, 100.0]


# ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "shared", [{"quota": {"rate": "1/s"}}, {"max_in_flight": 1}, {"adaptive_rate": {"initial_rate": "1/s"}}]
)
def test_hosts_take_turns_for_what_they_share(shared):
    ids = [*(f"a{number}" for number in range(6)), "b0", "b1", "b2", "c0"]
    sends = {0: [to(f"{each[0]}.example", each) for each in ids]}
    world = send_at(sends, latency=1.0, email={**settings_per_host(), **shared})
    assert world.provider.ids == ["a0", "a1", "b0", "c0", "a2", "b1", "a3", "b2", "a4", "a5"]


def test_those_whom_an_order_lets_go_take_turns_too():
    four_each = [to(f"{host}.example", f"{host}{number}") for host in "ab" for number in range(4)]
    sends = {0: operate("force-open"), 1: four_each, 2: operate("disable")}
    world = send_at(sends, until=100, email={**settings_per_host(), "quota": {"rate": "4/h"}})
    assert world.provider.ids == ["a0", "b0", "a1", "b1"]


def test_who_comes_to_an_open_lane_does_not_wait_behind_those_who_wait_elsewhere():
    """The hosts at the primary that are down wait for room at the backup; a host that is up there needs none."""
    primary, backup = Scripted(dead("down.example")), Scripted()

    def scenario(world: World) -> None:
        primary.tries.clear()
        backup.tries.clear()
        world.open(
            {EMAIL: {"primary": primary, "backup": backup}},
            email={**settings_per_host(), "failover": {"backup": {"quota": {"rate": "1/h"}}}},
        )
        world.send(to("down.example", "d0"))
        world.send(to("down.example", "d1"), at=1.5)
        world.send(to("up.example", "u"), at=2)

    on_both_clocks(scenario, until=50)
    assert backup.ids == ["d0"]
    assert [(each.notification_id, each.at) for each in primary.tries] == [("d0", 0.0), ("u", 2.0)]


def test_who_waits_for_a_turn_expires_in_time_and_is_told_at_once_what_it_waits_for():
    sends = {0: [to(f"{each[0]}.example", each) for each in ("a0", "a1", "b0", "b1")]}
    sends |= {30: to("c.example", "c", expires_after=100), 90: to("b.example", "b2")}
    sends |= {91: to("d.example", "d", expires_after=20)}
    world = send_at(sends, email={**settings_per_host(), "quota": {"rate": "1/min"}})
    deferred = [
        (event.notification_id, event.at_ns / S, event.cause, event.resumes_at_ns / S)
        for event in world.events(NotificationDeferred)
    ]
    limit = DeferralCause.RATE_LIMIT
    assert deferred == [
        ("a1", 0.0, limit, 60.0),
        ("b0", 0.0, limit, 60.0),
        ("b1", 0.0, limit, 60.0),
        ("c", 30.0, limit, 60.0),
        ("b2", 90.0, limit, 120.0),
    ]
    moved = [(event.notification_id, event.at_ns) for event in world.events(NotificationMovedToDeadLetter)]
    assert moved == [("d", 91 * S), ("c", 130 * S + 1)]
    assert world.provider.ids == ["a0", "a1", "b0", "b1", "b2"]


def test_when_open_fail_fails_at_once_though_others_wait_for_the_quota():
    world = send_at(
        {0: to("down.example", "d0"), 1: [to("a.example", "a0"), to("a.example", "a1")], 2: to("down.example", "d1")},
        dead("down.example"),
        until=100,
        email={**settings_per_host(when_open="fail"), "retry": {"max_attempts": 1}, "quota": {"rate": "2/h"}},
    )
    assert [
        (moved.notification_id, moved.at_ns / S, moved.reason) for moved in world.events(NotificationMovedToDeadLetter)
    ] == [
        ("d0", 0.0, "down"),
        ("d1", 2.0, "circuit breaker is open"),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20), st.integers(0, 4)), max_size=4),
    st.sampled_from(
        [{}, {"quota": {"rate": "1/s"}}, {"max_in_flight": 1}, {"quota": {"rate": "3/5s"}, "max_in_flight": 2}]
    ),
    st.sampled_from([None, {"over": 5}]),
)
@settings(max_examples=examples(80))
def test_first_attempts_to_a_host_go_in_the_order_in_which_they_came_and_all_arrive(program, outages, shared, ramp):
    def fate(this: Try) -> Any:
        host = recipient_host(this.command.recipient)
        return DOWN if any(host == f"h{hit}" and at <= this.at < at + length for at, length, hit in outages) else OK

    program = sorted(program)

    sends = [(at / 2, to(f"h{host}", f"n{number:02}")) for number, (at, host) in enumerate(program)]
    world = send_at(sends, fate, latency=0.125, until=3600, email={**settings_per_host(timeout=4, ramp=ramp), **shared})
    assert len(world.sent_ids()) == len(program)
    for host in range(5):
        firsts = [
            each.notification_id
            for each in world.provider.tries
            if each.number == 1 and each.command.recipient == f"ann@h{host}"
        ]
        assert firsts == sorted(firsts)
    stage = stage_of(world).actor
    assert not stage._lines
    assert stage._next_ns() is None


# ── ten thousand hosts ──────────────────────────────────────────────────────────────────────────────────────────

HOSTS = 10_000


def count_work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often a lane is asked about an attempt or about room, and how often the stage sets its timer."""
    work: Counter[str] = Counter()
    for name in ("try_admit", "room_at_ns"):
        method = getattr(Lane, name)

        def counting(self: Lane, *args: Any, method: Any = method, name: str = name) -> Any:
            work[name] += 1
            return method(self, *args)

        monkeypatch.setattr(Lane, name, counting)
    return work


def count_timers(world: World, work: Counter[str]) -> None:
    stage, set_timer = stage_of(world).actor, world.system.set_timer

    def counting(instant_ns: int, actor: Any, message: Any) -> Any:
        work["timer"] += actor is stage and type(message).__name__ == "_Advance"
        return set_timer(instant_ns, actor, message)

    world.system.set_timer = counting  # type: ignore[method-assign]


@pytest.mark.thorough
def test_ten_thousand_hosts_that_wait_for_a_quota_cost_a_few_questions_each(monkeypatch):
    work = count_work(monkeypatch)

    def scenario(world: World) -> None:
        world.open(email={**settings_per_host(), "quota": {"rate": "100/s"}})
        count_timers(world, work)
        for number in range(HOSTS):
            world.send(to(f"h{number}.example", f"n{number}", expires_after=3600 + number), at=number / 1e6)

    world = simulate(scenario)
    assert len(world.sent_ids()) == HOSTS
    assert work["timer"] <= HOSTS  # once for each that goes
    assert work["try_admit"] <= 2 * HOSTS  # when it comes, and when it goes
    assert work["room_at_ns"] <= 12 * HOSTS
    assert world.provider.times[-1] == pytest.approx(HOSTS / 100, abs=1)


@pytest.mark.thorough
def test_ten_thousand_dead_hosts_and_a_slow_backup_cost_a_few_questions_each(monkeypatch):
    work = count_work(monkeypatch)

    def scenario(world: World) -> None:
        backup = Scripted(latency=0.5)
        world.open(
            {EMAIL: {"primary": Scripted(lambda this: DOWN if this.at < 5 else OK), "backup": backup}},
            email={
                **settings_per_host(timeout=60),
                "failover": {"backup": {"max_in_flight": 10}},
            },
        )
        count_timers(world, work)
        for number in range(HOSTS):
            world.send(to(f"h{number}.example", f"n{number}"), at=number / 1e4)

    world = simulate(scenario)
    assert len(world.sent_ids()) == HOSTS
    assert work["timer"] <= HOSTS
    assert work["try_admit"] <= 6 * HOSTS  # of two lanes each time: when it comes, when its breaker may have closed
    stage = stage_of(world).actor
    assert not stage._lines
    assert len(stage._before.room._wakes) <= HOSTS
    assert all(not lane.paces.running for lane in world.pipeline.wiring.stages[EMAIL].lanes)
