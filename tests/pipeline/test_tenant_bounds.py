"""No tenant has more on its way than it may, nor faster; what waits for its own bounds holds up no one else."""

from collections import Counter

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError
from timetables import crash, send_at
from worlds import EMAIL, OK, Scripted, email, most_in_a_window, on_both_clocks, simulate

from actors.messages import Priority
from actors.outcomes import Transient
from actors.settings.channel import ChannelConfig

DOWN = Transient(reason="down")
S = 1_000_000_000


def of(tenant, number, **fields):
    return email(f"{tenant}-{number}", metadata={"tenant": tenant} if tenant else {}, **fields)


def most_at_once(tries, latency):
    """Return how many of each tenant were at the provider at once, at most."""
    changes = [(each.at_ns, 1, each) for each in tries] + [(each.at_ns + latency * S, 0, each) for each in tries]
    now, most = Counter(), Counter()
    for _, begins, each in sorted(changes, key=lambda change: change[:2]):
        tenant = each.command.metadata.get("tenant", "")
        now[tenant] += 1 if begins else -1
        most[tenant] = max(most[tenant], now[tenant])
    return most


@settings(max_examples=examples(12), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["", "a", "b"])), min_size=1, max_size=25),
    st.sampled_from([{"max_in_flight": 2}, {"rate": "2/5s"}, {"max_in_flight": 1, "rate": "3/10s"}]),
    st.lists(st.booleans(), max_size=10),
)
def test_each_tenant_keeps_to_its_bounds_and_all_are_sent(arrivals, bounds, outcomes):
    def scenario(world):
        world.open(
            Scripted([OK if ok else DOWN for ok in outcomes], latency=3.0),
            # What waits for a breaker has passed the bound before.
            email={"tenant": bounds, "retry": {"max_attempts": 30}, "circuit_breaker": {"enabled": False}},
        )
        for number, (at, tenant) in enumerate(arrivals):
            world.send(of(tenant, number), at=at)

    world = on_both_clocks(scenario)
    most = most_at_once(world.provider.tries, 3)
    by_tenant = {tenant: [] for _, tenant in arrivals}
    for each in world.provider.tries:
        by_tenant[each.command.metadata.get("tenant", "")].append(each.at_ns)
    for tenant in {"a", "b"} & set(by_tenant):
        assert most[tenant] <= bounds.get("max_in_flight", 100)
        if "rate" in bounds:
            count, _, period = bounds["rate"].partition("/")
            assert most_in_a_window(by_tenant[tenant], int(period[:-1]) * S) <= int(count)
    assert sorted(world.sent_ids()) == sorted(f"{tenant}-{number}" for number, (_, tenant) in enumerate(arrivals))
    assert world.pipeline.wiring.waiting.limit.now == 0
    assert not world.pipeline.wiring.stages[EMAIL].tenant_counts


def test_one_tenant_at_its_bounds_changes_nothing_for_another():
    def run(noisy):
        def scenario(world):
            world.open(Scripted(latency=3.0), email={"tenant": {"max_in_flight": 2}, "order": {"fair_by": "tenant"}})
            for number in range(20):
                world.send(*[of("noisy", 10 * number + each) for each in range(noisy)], at=number)
                world.send(of("quiet", number), of("", number), at=number)

        return [each for each in simulate(scenario).provider.tries if not each.notification_id.startswith("noisy")]

    assert [(each.at, each.notification_id) for each in run(0)] == [(each.at, each.notification_id) for each in run(10)]


def test_a_tenant_s_own_go_by_class():
    later = [of("a", number, priority=priority) for number, priority in enumerate(reversed(Priority))]
    world = send_at({0: of("a", "first"), 0.5: later}, latency=1.0, email={"tenant": {"max_in_flight": 1}})
    assert world.provider.ids == ["a-first", "a-2", "a-1", "a-0"]


def test_what_would_come_too_late_is_dead_lettered_at_once_or_when_it_expires():
    # Its slot is free in time, its rate allows none
    sends = {0: [of("a", 0), of("a", 1, expires_after=50), of("b", 0)], 1: of("b", 1, expires_after=150)}
    world = send_at(sends, latency=100.0, email={"tenant": {"max_in_flight": 1, "rate": "1/h"}, "timeout": 200})
    assert {letter.notification_id: letter.moved_at_ns / S for letter in world.letters} == {
        "a-1": pytest.approx(50, abs=1e-6),
        "b-1": pytest.approx(100, abs=60),
    }
    assert world.reasons == ["expired"] * 2


@pytest.mark.parametrize("crashing", ["breaker", "handler"])
def test_a_crash_of_a_stage_leaves_no_one_counted_who_is_not_on_its_way(crashing):
    settings = {"tenant": {"max_in_flight": 2}, "max_in_flight": 1, "retry": {"max_attempts": 9}}
    steps = {0: [of("ab"[number % 2], number) for number in range(12)], 12: crash(crashing)}
    world = send_at(steps, latency=5.0, run=simulate, email=settings)
    assert sorted(set(world.sent_ids())) == sorted(f"{'ab'[number % 2]}-{number}" for number in range(12))
    assert not world.pipeline.wiring.stages[EMAIL].tenant_counts
    assert world.pipeline.wiring.waiting.limit.now == 0


# ── behind an open breaker ──────────────────────────────────────────────────────────────────────────────────────────

SLOWLY = {"resume_rate": "10/s", "resume_doubling": "1h"}
"""Those that resume go 0.1 s after each other."""


def fails_at_first(each):
    return OK if each.at_ns else DOWN


def test_what_waits_for_the_breaker_of_a_host_keeps_nothing_for_other_hosts_back():
    sends = {
        0: of("", "opens", recipient="x@dead.example"),
        1: [of("a", number, recipient="x@dead.example") for number in range(3)],
        2: of("a", 3, recipient="x@well.example"),
    }
    settings = {
        "tenant": {"max_in_flight": 2},
        "circuit_breaker": {"per": "host", "failure_threshold": 1, "timeout": 60},
        "retry": {"initial_delay": 100, "max_delay": 100},
    }
    world = send_at(sends, fails_at_first, email=settings)
    assert [(each.at, each.notification_id) for each in world.provider.tries[1:3]] == [(2, "a-3"), (60, "a-0")]


def test_the_probe_is_the_critical_one_of_a_tenant_whose_bulk_waits_for_the_breaker():
    sends = {
        0: of("", "opens"),
        1: [of("a", number, priority="bulk") for number in range(4)],
        2: of("a", "code", priority="critical"),
    }
    settings = {
        "tenant": {"max_in_flight": 2},
        "circuit_breaker": {"failure_threshold": 1, "timeout": 10, **SLOWLY},
        "retry": {"initial_delay": 100, "max_delay": 100},
    }
    tries = send_at(sends, fails_at_first, email=settings).provider.tries[1:]
    assert [each.notification_id for each in tries[:5]] == ["a-code", "a-0", "a-1", "a-2", "a-3"]
    assert [each.at for each in tries[:2]] == [10, 10]  # the probe, and the first of those that resume


def test_what_resumes_keeps_to_its_tenant_s_bound_and_leaves_its_turn_to_others():
    sends = {0: of("", "opens"), 1: [of("a", number) for number in range(6)], 2: of("b", 0)}
    settings = {
        "tenant": {"max_in_flight": 2},
        "circuit_breaker": {"failure_threshold": 1, "timeout": 10, **SLOWLY},
        "retry": {"initial_delay": 100, "max_delay": 100},
    }
    world = send_at(sends, fails_at_first, latency=lambda each: 3 if each.at_ns else 0, email=settings)
    # The probe is back at 13 s. At 13.2 s two of a are under way: its other three leave their turn to that of b.
    assert [(each.notification_id, pytest.approx(each.at, abs=1e-3)) for each in world.provider.tries[1:8]] == [
        ("a-0", 10),
        ("a-1", 13),
        ("a-2", 13.1),
        ("b-0", 13.2),
        ("a-3", 16),
        ("a-4", 16.1),
        ("a-5", 19),
    ]
    assert not world.pipeline.wiring.stages[EMAIL].tenant_counts


@settings(max_examples=examples(12), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["", "a", "b"])), min_size=1, max_size=25),
    st.integers(1, 3),
    st.lists(st.booleans(), max_size=10),
    st.sampled_from([{}, {"ramp": {"over": "5s", "start": "20%"}}, {"half_open_permits": 3}, {"per": "host"}]),
)
def test_no_tenant_has_more_under_way_than_its_bound_whatever_its_breaker_does(arrivals, bound, outcomes, more):
    def scenario(world):
        world.open(
            Scripted([OK if ok else DOWN for ok in outcomes], latency=3.0),
            email={
                "tenant": {"max_in_flight": bound},
                "circuit_breaker": {"failure_threshold": 2, "timeout": 4, **more},
                "retry": {"max_attempts": 30},
            },
        )
        for number, (at, tenant) in enumerate(arrivals):
            world.send(of(tenant, number, recipient=f"x@host-{number % 3}.example"), at=at)

    world = on_both_clocks(scenario)
    most = most_at_once(world.provider.tries, 3)
    assert max(most["a"], most["b"]) <= bound
    assert sorted(world.sent_ids()) == sorted(f"{tenant}-{number}" for number, (_, tenant) in enumerate(arrivals))
    assert world.pipeline.wiring.waiting.limit.now == 0
    assert not world.pipeline.wiring.stages[EMAIL].tenant_counts


@pytest.mark.parametrize("bounds", [{}, {"rate": "0.5/s"}, {"max_in_flight": 0}])
def test_bounds_that_bound_nothing_or_let_nothing_through_are_refused(bounds):
    with pytest.raises(ValidationError, match="wanted"):
        ChannelConfig.model_validate({"tenant": bounds})
