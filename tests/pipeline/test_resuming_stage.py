"""What was due when a node starts again, or takes over, goes at a pace; and no pace is above its ceiling."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from effort import sliced
from timetables import crash, send_at
from worlds import START, Scripted, World, email, most_in_a_window, simulate

import simulation
from actors.domain.store import Store
from actors.messages import NotificationMovedToDeadLetter
from actors.outcomes import Transient
from actors.storage.memory import MemoryStore
from simulation.scenario import parse

S = 1_000_000_000
SLOWLY = {"resume_rate": "2/s", "resume_doubling": "1h"}
WITHOUT = {**SLOWLY, "enabled": False}


def left_behind(count: int, at_provider_since: float = 9, **fields: Any) -> Store:
    """Return a store with so many under way at a provider, whose process ends at 10 s."""
    store = MemoryStore()

    def before(world: World) -> None:
        world.open(Scripted(latency=100.0), store=store, email={"timeout": 200})
        world.send(*(email(f"n{number:02}", **fields) for number in range(count)), at=at_provider_since)

    simulate(before, until=10)
    return store


def after(store: Store, scenario: Callable[[World], None] = lambda world: None, **settings: Any) -> World:
    """Return what happens in the next process, that starts at once."""

    def process(world: World) -> None:
        world.open(store=store, email=settings)
        scenario(world)

    return simulate(process, start=START + timedelta(seconds=10))


def tries(world: World) -> list[tuple[str, float]]:
    return [(each.notification_id, round(each.at, 3)) for each in world.provider.tries]


# ── a restart ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("breaker", [SLOWLY, WITHOUT, {**SLOWLY, "initial_state": "metrics-only"}])
def test_what_was_under_way_resumes_at_a_pace_with_a_breaker_or_without(breaker):
    world = after(left_behind(20), circuit_breaker=breaker)
    assert [id for id, _ in tries(world)] == [f"n{number:02}" for number in range(20)]
    assert [at for _, at in tries(world)] == pytest.approx([number / 2 for number in range(20)], abs=0.01)
    assert len(world.sent_ids()) == 20


def test_by_default_a_handful_is_back_in_half_a_second():
    assert max(at for _, at in tries(after(left_behind(5)))) < 0.5


def test_new_ones_pass():
    def scenario(world: World) -> None:
        world.send(email("new"), at=1.2)
        world.send(email("newer"), at=3.3)

    world = after(left_behind(20), scenario, circuit_breaker=WITHOUT)
    assert [(id, at) for id, at in tries(world) if id.startswith("new")] == [("new", 1.2), ("newer", 3.3)]
    assert len(world.sent_ids()) == 22


def test_new_ones_wait_in_one_line_with_the_others_while_the_breaker_is_open():
    def scenario(world: World) -> None:
        world.send(*(email(f"new{number}") for number in range(3)), at=5)

    store = left_behind(20)

    def process(world: World) -> None:
        breaker = {**SLOWLY, "failure_threshold": 2, "timeout": 30}
        world.open(
            Scripted([Transient()] * 2), store=store, email={"circuit_breaker": breaker, "retry": {"initial_delay": 60}}
        )
        scenario(world)

    world = simulate(process, start=START + timedelta(seconds=10))
    at_ns = [each.at_ns for each in world.provider.tries]
    assert [round(each / S, 3) for each in at_ns[:3]] == [0.0, 0.5, 30.5]
    assert most_in_a_window(at_ns, S) <= 4  # the probe and the first of those that waited go at once
    assert len(world.sent_ids()) == 23


def test_what_is_due_later_goes_at_its_time_and_what_came_due_meanwhile_at_the_pace_in_order():
    store = MemoryStore()

    def before(world: World) -> None:
        email_settings = {"retry": {"initial_delay": 20}, "circuit_breaker": WITHOUT}
        world.open(Scripted(lambda _: Transient()), store=store, email=email_settings)
        for number in range(6):
            world.send(email(f"n{number}"), at=number)  # again at 20 s, 21 s, ... 25 s

    simulate(before, until=10)

    def process(world: World) -> None:
        world.open(store=store, email={"circuit_breaker": WITHOUT})

    world = simulate(process, start=START + timedelta(seconds=22.2))
    assert tries(world) == [("n0", 0.0), ("n1", 0.5), ("n3", 0.8), ("n2", 1.0), ("n4", 1.8), ("n5", 2.8)]


def test_those_that_failed_last_come_last():
    store = MemoryStore()

    def before(world: World) -> None:
        world.open(
            Scripted(lambda _: Transient(), latency=lambda this: 0.5 if this.notification_id == "first" else 100.0),
            store=store,
            email={"retry": {"initial_delay": 2}, "timeout": 200},
        )
        world.send(email("first"))
        world.send(email("second"), email("third"), at=1)

    simulate(before, until=2.6)

    def process(world: World) -> None:
        world.open(store=store, email={"circuit_breaker": WITHOUT})

    world = simulate(process, start=START + timedelta(seconds=2.6))
    assert [id for id, _ in tries(world)][-1] == "first"


def test_one_that_expires_in_the_backlog_is_dead_lettered_when_it_does():
    store = left_behind(20, expires_after=5.25)
    world = after(store, circuit_breaker=WITHOUT)
    expired = world.events(NotificationMovedToDeadLetter)
    assert {event.reason for event in expired} == {"expired"}
    assert {event.at_ns for event in expired} == {round(4.25 * S) + 1}
    assert len(expired) == 20 - 9  # one at once, and two in each second


def test_a_handler_that_crashes_resumes_at_a_pace_too():
    sends = {0: [email(f"n{number:02}") for number in range(20)], 10: crash("handler")}
    world = send_at(sends, latency=100.0, email={"timeout": 200, "circuit_breaker": WITHOUT})
    again = [each.at_ns for each in world.provider.tries if each.at > 10]
    assert len(again) == 20
    assert most_in_a_window(again, S) <= 3


# ── whole scenarios ─────────────────────────────────────────────────────────────────────────────────────────────

OUTAGE = """
name: restarts-in-outage
duration: 3m
workload: [{channel: email, arrivals: {poisson: 8/s}}]
channels:
  email:
    retry: {max_attempts: 5, initial_delay: 1s, max_delay: 60s, jitter: full}
    circuit_breaker: {failure_threshold: 5, timeout: 20s, resume_rate: 4/s}
    provider: {latency: {lognormal: {median: 80ms, p99: 900ms}}}
faults:
  - {channel: email, at: 30s, for: 2m, outage: true}
  - {channel: email, at: 60s, crash: process, restart_after: 3s}
"""
MORE = "".join(f"  - {{channel: email, at: {at}s, crash: process, restart_after: 3s}}\n" for at in (75, 90, 105, 120))


def run(text: str) -> tuple[Any, int]:
    """Return the result of a run that is checked, and the most attempts in a whole second."""
    result = simulation.run(parse(text, "outage.yaml"), invariants="all")
    return result, max(Counter(int(start) for start in result.attempts["start_s"]).values())


@pytest.mark.parametrize("faults", sliced([OUTAGE, OUTAGE + MORE], 4), ids=["one restart", "five restarts"])
def test_a_restart_in_an_outage_is_no_stampede_and_uses_up_no_one(faults):
    result, busiest = run(faults)
    assert result.summary["dead_lettered"] == result.summary["in_flight"] == 0
    assert busiest <= 40
    assert result.summary["retry_amplification"] < 1.1


WITHOUT_A_RESTART = "\n".join(line for line in OUTAGE.splitlines() if "crash" not in line)


@pytest.mark.thorough
@pytest.mark.parametrize(("resuming", "most"), sliced([("4/s", 40), ("4/s, resume_rate_max: 20/s", 20)], 4, 1))
def test_without_any_restart_the_pace_after_a_long_outage_is_under_the_same_ceiling(resuming, most):
    result, busiest = run(WITHOUT_A_RESTART.replace("4/s", resuming))
    assert result.summary["sent"] == result.summary["accepted"]
    assert busiest == most


def test_the_ceiling_follows_the_load_so_that_the_line_ends():
    """Ten times the rate of resuming is less than what arrives."""
    result, busiest = run(WITHOUT_A_RESTART.replace("4/s", "0.5/s, resume_doubling: 1s").replace("2m", "20s"))
    assert 10 < busiest <= 22
    rows = result.notifications[result.notifications["requested_at_s"] > 120]
    assert (rows["finished_at_s"] - rows["requested_at_s"]).max() < 10
