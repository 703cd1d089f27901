"""Wherever notifications of a channel wait, they go by class and by turns, on either clock."""

import cProfile
import itertools
import pstats
from collections import Counter

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from timetables import send_at
from worlds import EMAIL, OK, Scripted, email, on_both_clocks, simulate

from actors.messages import NotificationMovedToDeadLetter, Priority
from actors.outcomes import Transient
from actors.storage.memory import MemoryStore

DOWN = Transient(reason="down")
B, N, C = Priority.BULK, Priority.NORMAL, Priority.CRITICAL
MIXED = [B, N, C, B, N, C]


def commands(classes=MIXED, **fields):
    """Return commands whose ids begin with the first letter of their class."""
    return [email(f"{priority[0]}{number}", priority=priority, **fields) for number, priority in enumerate(classes)]


BY_CLASS = ["c2", "c5", "n1", "n4", "b0", "b3"]

DOWN_AT_FIRST = {"circuit_breaker": {"failure_threshold": 1, "timeout": 10}, "retry": {"max_attempts": 1}}
PLACES = {
    "a user's limit": {"rate_limit": {"rate": "1/10s"}},
    "quota": {"quota": {"rate": "1/10s"}},
    "adaptive rate": {"adaptive_rate": dict.fromkeys(("initial_rate", "minimum_rate", "maximum_rate"), "1/10s")},
    "slots": {"max_in_flight": 1},
    "slots by latency": {"concurrency_limit": {"kind": "gradient", "initial": 1, "maximum": 1}},
    "an open breaker, its probe and the pace of resuming": DOWN_AT_FIRST,
    "a ramp": {**DOWN_AT_FIRST, "circuit_breaker": {**DOWN_AT_FIRST["circuit_breaker"], "ramp": {"over": 60}}},
    "a breaker per host": {**DOWN_AT_FIRST, "circuit_breaker": {**DOWN_AT_FIRST["circuit_breaker"], "per": "host"}},
    "slots, a breaker per host": {"max_in_flight": 1, "circuit_breaker": {"per": "host"}},
    "slots, turns of users": {"max_in_flight": 1, "order": {"fair_by": "user"}},
    "two providers": {"max_in_flight": 1, "failover": {"backup": {"max_in_flight": 1}}},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_more_urgent_class_goes_first_wherever_it_waits(place):
    opens = "retry" in PLACES[place]
    ids = []

    def scenario(world):
        provider = Scripted([DOWN] if opens else [], latency=1.0)
        names = ("primary", "backup") if place == "two providers" else ("primary",)
        world.open({EMAIL: dict.fromkeys(names, provider)}, email=PLACES[place])
        world.send(*[email(name, priority=B) for name in names])
        world.send(*commands(), at=2 if opens else 0.5)
        ids.append(provider)

    on_both_clocks(scenario)
    for provider in ids:
        assert [name for name in provider.ids if name not in ("primary", "backup")] == BY_CLASS


def test_across_hosts_too():
    at_hosts = [
        email(f"{priority[0]}{number}", priority=priority, recipient=f"ann@host-{number % 4}.example")
        for number, priority in enumerate(MIXED)
    ]
    settings = {"max_in_flight": 1, "circuit_breaker": {"per": "host"}}
    assert send_at({0: email("first"), 0.5: at_hosts}, latency=1.0, email=settings).provider.ids[1:] == BY_CLASS


def test_one_that_comes_as_there_is_room_goes_before_others_that_wait_for_it():
    """At the instant at which the quota fits again, and at a host where none waits yet."""
    settings = {"quota": {"rate": "1/10s"}, "circuit_breaker": {"per": "host"}}
    first = [email("first"), email("n", recipient="ann@a.example")]
    world = send_at({0: first, 10: email("c", recipient="ann@b.example", priority=C)}, email=settings)
    assert world.provider.ids == ["first", "c", "n"]


def test_a_retry_competes_by_when_it_joined_the_line():
    """Else one login code whose number is wrong would be every probe."""
    settings = {"max_in_flight": 1, "retry": {"max_attempts": 5, "initial_delay": 1.5}}
    sends = {0: commands([C, C, C, C])}
    world = send_at(sends, lambda this: DOWN if this.notification_id == "c0" else OK, 1.0, email=settings)
    assert world.provider.ids[:5] == ["c0", "c1", "c2", "c3", "c0"]


def test_by_weight_each_class_gets_its_part():
    weights = {"critical": 3, "normal": 2, "bulk": 1}
    settings = {"quota": {"rate": "1/s"}, "order": {"kind": "weighted", "weights": weights}}
    world = send_at({0: email("first"), 0.5: commands([B, N, C] * 20)}, email=settings)
    went = [name[0] for name in world.provider.ids[1:31]]
    assert Counter(went) == {"c": 15, "n": 10, "b": 5}


@pytest.mark.parametrize("tenants", [1, 2])
@pytest.mark.parametrize("per", ["channel", "host"])
def test_by_weight_each_class_gets_its_part_where_all_tenants_have_their_share_of_the_slots(per, tenants):
    """The search for one with less than its share takes no class its turn where it finds none."""
    order = {"kind": "weighted", "weights": {"critical": 3, "normal": 2, "bulk": 1}, "fair_by": "tenant"}

    def scenario(world):
        settings = {"max_in_flight": 8, "order": order, "circuit_breaker": {"per": per}}
        world.open(Scripted(latency=1.0), email=settings)
        for number in range(40 * tenants):
            fields = {"metadata": {"tenant": str(number % tenants)}, "recipient": f"a@{number % 5}.example"}
            world.send(*[email(f"{p[0]}{number}", priority=p, **fields) for p in (B, N, C)])

    went = [name[0] for name in on_both_clocks(scenario).provider.ids[10:70]]
    assert Counter(went) == {"c": 30, "n": 20, "b": 10}


def test_an_old_one_goes_before_a_more_urgent_one_that_joined_so_much_later():
    sends = [
        *((at, [email(f"c{at}", priority=C), email(f"late{at}", priority=C)]) for at in range(40)),
        (0, [email("n", priority=N), email("b", priority=B)]),
    ]
    ids = send_at(sends, latency=1.0, email={"max_in_flight": 1, "order": {"aging": 10}}).provider.ids
    joined = {"n": 10, "b": 20} | {f"{kind}{at}": at for kind in ("c", "late") for at in range(40)}
    urgencies = [joined[name] for name in ids]
    assert urgencies == sorted(urgencies)
    assert ids.index("n") < ids.index("b") < len(ids) - 20


@pytest.mark.parametrize("by", ["user", "host", "tenant"])
def test_who_sends_much_holds_up_no_one_else(by):
    """A login code behind 200 bulk mails of another customer was sent as number 201 of 201."""

    def one(name, who):
        fields = {"user": {"user_id": who}, "host": {"recipient": f"a@{who}.example"}, "tenant": {}}[by]
        return email(name, metadata={"tenant": who}, **fields)

    noisy, quiet = ([one(f"{who}{number}", who) for number in range(n)] for who, n in (("noisy", 200), ("quiet", 3)))
    world = send_at({0: noisy, 10.5: quiet}, email={"quota": {"rate": "1/s"}, "order": {"fair_by": by}})
    places = [world.provider.ids.index(f"quiet{number}") for number in range(3)]
    assert places[0] <= 12
    assert all(later - earlier == 2 for earlier, later in itertools.pairwise(places))


@pytest.mark.parametrize("per", ["channel", "host"])
def test_a_tenant_that_hangs_has_no_more_than_its_quarter_of_the_slots_while_others_wait(per):
    def scenario(world):
        slow = Scripted(latency=lambda this: 1000.0 if this.command.metadata["tenant"] == "slow" else 1.0)
        order = {"max_in_flight": 16, "order": {"fair_by": "tenant"}, "timeout": 2000, "circuit_breaker": {"per": per}}
        world.open(slow, email=order)
        for at in range(20):
            for tenant in ("a", "b", "slow"):
                recipients = itertools.cycle(f"x@{host}.example" for host in "uvw")
                batch = [
                    email(f"{tenant}-{at}-{number}", metadata={"tenant": tenant}, recipient=next(recipients))
                    for number in range(10)
                ]
                world.send(*batch, at=at)

    world = simulate(scenario)
    others_waited = 1 + max(each.at for each in world.provider.tries if each.command.metadata["tenant"] != "slow")
    of_slow = [each.at for each in world.provider.tries if each.command.metadata["tenant"] == "slow"]
    assert sum(at < others_waited - 2 for at in of_slow) == 4
    assert others_waited == 400 / 8  # each of them has its quarter, too, for a second a turn


def test_in_a_restart_the_backlog_goes_by_class_and_by_turns():
    store = MemoryStore()
    later = [email("n-y", priority=N, metadata={"tenant": "x"}), email("c-y", priority=C, metadata={"tenant": "y"})]
    sends = {0: commands([B, N, C] * 8, metadata={"tenant": "x"}), 1: later}
    send_at(sends, run=simulate, until=10.0, store=store, email={"quota": {"rate": "1/h"}})
    ids = send_at({}, run=simulate, store=store, email={"order": {"fair_by": "tenant"}}).provider.ids
    assert [name[0] for name in ids] == sorted((name[0] for name in ids), key="cnb".index)
    assert ids.index("c-y") <= 1


@settings(max_examples=examples(30), deadline=None)
@given(st.data())
def test_no_other_starts_while_a_critical_one_could(data):
    """In strict order, with any mix of hosts and times; an attempt that joined before another class goes first."""
    draws = data.draw(
        st.lists(st.tuples(st.integers(0, 20), st.sampled_from(list(Priority)), st.sampled_from("xyz")), max_size=25)
    )
    per = data.draw(st.sampled_from(["host", "channel"]))
    bound = data.draw(st.sampled_from([{"quota": {"rate": "1/3s"}}, {"max_in_flight": 1}, {"max_in_flight": 2}]))

    def scenario(world):
        world.open(
            Scripted(latency=2.0), email={**bound, "circuit_breaker": {"per": per}, "order": {"fair_by": "none"}}
        )
        for number, (at, priority, host) in enumerate(draws):
            world.send(email(f"{priority[0]}{number}", priority=priority, recipient=f"a@{host}.example"), at=at)

    world = simulate(scenario)
    came = {f"{p[0]}{number}": (list(Priority).index(p), number, at) for number, (at, p, _) in enumerate(draws)}
    left = set(came)
    for each in world.provider.tries:
        rank, _, joined = came[each.notification_id]
        left.discard(each.notification_id)
        waited = [came[other] for other in left if came[other][2] < each.at]
        assert all((rank, joined) <= (other, at) for other, _, at in waited)
    assert not left
    assert not world.events(NotificationMovedToDeadLetter)


def test_one_whose_host_has_its_share_passes_no_other_that_has_less_however_urgent():
    settings = {"max_in_flight": 3, "quota": {"rate": "1/10s"}, "circuit_breaker": {"per": "host"}, "timeout": 100}
    sends = {
        0: email("c0", recipient="ann@a.example", priority=C),
        1: email("b", recipient="ann@b.example", priority=B),
        10: email("c1", recipient="ann@a.example", priority=C),
    }
    assert send_at(sends, latency=50.0, email=settings).provider.ids == ["c0", "b", "c1"]


@pytest.mark.thorough
def test_a_notification_costs_the_same_however_many_wait():
    """Counted in calls, with classes, weights and turns of tenants."""

    def calls(count):
        def scenario(world):
            order = {"kind": "weighted", "fair_by": "tenant"}
            world.open(email={"quota": {"rate": "100/s", "kind": "token_bucket", "burst": 1}, "order": order})
            batch = commands([B, N, C] * (count // 3))
            tenants = [{"metadata": {"tenant": f"t{number % 37}"}} for number in range(len(batch))]
            made = [
                email(each.notification_id, priority=each.priority, **more)
                for each, more in zip(batch, tenants, strict=True)
            ]
            world.send(*made)

        profile = cProfile.Profile()
        profile.enable()
        world = simulate(scenario)
        profile.disable()
        assert len(world.provider.tries) == count
        return pstats.Stats(profile).total_calls / count

    few, many = calls(300), calls(3000)
    assert many <= 1.05 * few
