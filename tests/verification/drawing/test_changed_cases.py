"""Cases that are changed: made coincident, crowded, full of dead letters, in zones, with faults that overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from comparable import comparable
from effort import thorough
from fleets import as_fleet

from actors.instants import ns
from actors.messages import (
    DeadLetterDiscarded,
    DeferralCause,
    NotificationDeferred,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
)
from actors.pipeline.handler import Handler
from actors.settings.channel import DeadLettersConfig, FailoverConfig
from actors.settings.faults import FaultConfig
from actors.settings.quantities import parse_duration
from simulation.scenario import Scenario, load, parse
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.writing import as_data, write
from simulation.verification.drawing.coincidence import STEPS_S, coinciding
from simulation.verification.drawing.dead_letters import burying
from simulation.verification.drawing.disturbances import bearable
from simulation.verification.drawing.late_messages import astray
from simulation.verification.drawing.overlapping_faults import overlapping
from simulation.verification.drawing.parts_and_wholes import at_layers, at_places, unlike
from simulation.verification.drawing.queueing import queueing
from simulation.verification.drawing.quiet_hours import nightfall
from simulation.verification.drawing.slow_stores import losing
from simulation.verification.drawing.swarm import case
from simulation.verification.drawing.zones import in_zones
from simulation.verification.exploring.trial import attempt

SWARM = load(Path(__file__).parent / "swarm.yaml")


CHANGES = (burying, overlapping, unlike, at_places, at_layers, nightfall, losing, in_zones)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_it_is_a_file_that_can_be_read(change, seed):
    found = change(case(SWARM, seed, settings="drawn"), Random(seed))
    assert parse(write(found)) == found


# ── much at one instant ─────────────────────────────────────────────────────────────────────────────────────────────


def times_in(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from times_in(each)
    elif isinstance(value, str) and (length_s := parse_duration(value)) is not None:
        yield length_s


@pytest.mark.parametrize("seed", range(4))
def test_all_times_are_multiples_of_a_step(seed):
    found = coinciding(case(SWARM, seed, schedule="normal"), Random(seed))
    times = list(times_in(as_data(found)))
    assert len(times) > 20
    assert any(all(ns(each) % ns(step_s) == 0 for each in times) for step_s in STEPS_S)
    assert parse(write(found)) == found


def test_most_is_due_together_with_something_else():
    trial = attempt(comparable(coinciding(case(SWARM, 8, schedule="normal", settings="given"), Random(8))))
    assert trial.failing_case is None
    instants = [event.at_ns for event in trial.result.history]
    assert len(instants) > 3 * len(set(instants))


def test_some_cases_with_drawn_settings_are_so():
    cases = [as_data(case(SWARM, seed, settings="drawn")) for seed in range(16)]
    assert 1 <= sum(all(ns(each) % ns(0.25) == 0 for each in times_in(found)) for found in cases) <= 8


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("lasting_s", [10.0, 30_000.0])
def test_about_as_many_come_however_long_it_lasts(seed, lasting_s):
    steady = parse(
        f"""
        name: steady
        duration: {lasting_s}s
        channels: {{push: {{}}}}
        workload: [{{channel: push, arrivals: {{poisson: {300 / lasting_s}/s}}}}]
        """
    )
    found = coinciding(steady, Random(seed))
    assert found.workload != steady.workload
    assert 150 <= sum(expected_notifications(found, entry) for entry in found.workload) <= 600


def test_written_answers_factors_and_what_needs_jitter_are_in_step_too():
    found = coinciding(
        parse(
            """
            name: scripted
            duration: 1m
            channels:
              email:
                retry: {jitter: proportional, cap_before_jitter: true, backoff_multiplier: 1.7}
                provider: {capacity: 2, script: [{outcome: sent, latency: 1300ms}, {outcome: transient, latency: 0s}]}
              sms: {retry: {jitter: decorrelated, cap_after_draw: true}}
            workload: [{channel: email, arrivals: {constant: 1/s}}, {channel: sms, arrivals: {constant: 1/s}}]
            faults:
              - {channel: email, at: 5s, for: 9s, speed: 0.3}
              - {channel: email, at: 9s, for: 9s, latency_factor: 2.6}
            """
        ),
        Random(1),
    )
    email = found.channels.email
    assert any(all(ns(each) % ns(step_s) == 0 for each in times_in(as_data(found))) for step_s in STEPS_S)
    assert [answer.latency > 0 for answer in email.provider.script] == [True, False]
    assert (email.retry.jitter, email.retry.backoff_multiplier) == ("none", 2.0)
    assert [fault.speed or fault.latency_factor for fault in found.faults] == [0.25, 3.0]


# ── cases in which much dies, and is redriven where there is hardly any room ────────────────────────────────────────


def test_letters_are_redriven_where_there_is_hardly_any_room():
    happened = []
    for seed in (21, 24):
        found = burying(case(SWARM, seed, settings="given"), Random(seed))
        trial = attempt(comparable(found), invariants=["reference-model"])
        assert trial.failing_case is None
        happened += [type(event) for event in trial.result.history]
    assert happened.count(NotificationMovedToDeadLetter) > 50
    assert happened.count(NotificationRedriven) > 20


def with_a_bound(seed: int) -> Scenario:
    """Return a case in which much dies while few letters are kept, and their queue crashes several times."""
    random = Random(seed)
    found = burying(case(SWARM, seed, settings="drawn"), random)
    crashes = [
        {
            "channel": found.channels_used[0],
            "at": random.uniform(0.0, 1.0) * found.duration,
            "crash": {"actor": "dlq"},
            "restart_after": random.choice([0.0, 0.1, 0.3]) * found.duration,
        }
        for _ in range(random.randint(1, 3))
    ]
    return found.model_copy(
        update={
            "max_pending": None,  # else redrives wait for room, and the law knows of no letters that have left so
            "remember_ids": 86_400.0,  # else an id comes again before the end of the former one is recorded
            "dead_letters": DeadLettersConfig(at_most=random.randint(1, 12), keep=random.choice([None, 600.0])),
            "faults": bearable((*found.faults, *map(FaultConfig.model_validate, crashes))),
        }
    )


def check_that_room_is_used(seeds: Iterable[int]) -> Counter[str]:
    """Check the laws of letters in these cases; return how often they were discarded, for which reason."""
    reasons: Counter[str] = Counter()
    for seed in seeds:
        trial = attempt(with_a_bound(seed), invariants=["retention", "dead-letters", "conservation"])
        assert trial.failing_case is None, f"seed {seed}: {trial.failing_case}"
        reasons.update(event.reason for event in trial.result.history if isinstance(event, DeadLetterDiscarded))
    return reasons


@pytest.mark.parametrize(("seeds", "least"), [(2, 33), thorough((6, 100))])
def test_no_letter_is_discarded_as_too_many_while_there_is_room_though_its_queue_crashes(seeds, least):
    assert check_that_room_is_used(range(seeds))["full"] > least


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 2_000, 250))
def test_nor_in_2000_cases(first):
    assert check_that_room_is_used(range(first, first + 250))["full"] > 1_000


# ── cases in which several faults of a provider hold at once ────────────────────────────────────────────────────────


def test_a_fault_has_room_for_more_than_its_provider_has_and_for_fewer():
    more, fewer = set(), set()
    for seed in range(40):
        before = case(SWARM, seed, settings="given")
        found = overlapping(before, Random(seed))
        for fault in found.faults[len(before.faults) :]:
            own = found.channel_as_given(fault.channel[0]).provider.capacity
            if own is not None and fault.capacity is not None and fault.capacity != own:
                (more if fault.capacity > own else fewer).add(seed)
    assert more
    assert fewer


def test_work_stands_still_from_instants_at_which_some_is_done():
    stops = []
    for seed in range(40):
        before = case(SWARM, seed, settings="given")
        found = overlapping(before, Random(seed))
        for fault in found.faults:
            provider = found.channel_as_given(fault.channel[0]).provider
            takes = provider.latency.mixture[0].constant if provider.latency.mixture else None
            bursts = [entry.arrivals.burst for entry in found.workload if hasattr(entry, "arrivals")]
            if fault.speed == 0 and takes and any(burst and burst.every == fault.for_ for burst in bursts):
                stops.append(fault)
    assert len(stops) > 10


# ── cases in which what holds for a part meets what holds for the whole ─────────────────────────────────────────────


def test_each_key_of_a_further_provider_is_left_out_null_and_its_own():
    """And so it is where its channel has one, and has none."""
    met = set()
    for seed in range(40):
        found = unlike(case(SWARM, seed, settings="given"), Random(seed))
        for channel in found.channels_used:
            config = found.channel_as_given(channel)
            for other in config.failover.values():
                for key in FailoverConfig.model_fields:
                    is_given, value = key in other.model_fields_set, getattr(other, key)
                    what = "left out" if not is_given else "null" if value is None else "own"
                    met.add((key, what, getattr(config, key) is not None))
    always = {"circuit_breaker", "timeout"}
    keys = FailoverConfig.model_fields.keys() - {"provider"}
    wanted = {(key, what, True) for key in keys for what in ("left out", "null", "own")}
    wanted |= {(key, what, False) for key in keys - always for what in ("left out", "null", "own")}
    assert met >= wanted


def test_a_provider_has_fewer_connections_than_slots_and_more():
    fewer, more = set(), set()
    for seed in range(20):
        found = unlike(case(SWARM, seed, settings="given"), Random(seed))
        for channel in found.channels_used:
            config = found.channel_as_given(channel)
            if config.slots is not None and config.provider.connections is not None:
                (fewer if config.provider.connections < config.slots else more).add(seed)
    assert fewer
    assert more


def test_faults_of_hosts_and_of_nodes_hold_at_one_instant():
    at_once = in_one = 0
    for seed in range(20):
        fleet = as_fleet(at_places(case(SWARM, seed, settings="given"), Random(seed)), seed)
        for channel in fleet.channels_used:
            faults = [fault for fault in fleet.faults if channel in fault.channel and fault.ends_at is not None]
            at_hosts = [fault for fault in faults if fault.host is not None]
            in_one += sum(fault.node is not None for fault in at_hosts)
            at_once += any(
                other.host is None and other.node is not None and other.at < fault.ends_at and fault.at < other.ends_at
                for fault in at_hosts
                for other in faults
            )
    assert in_one > 5
    assert at_once > 5


# ── cases in which many wait at once for room that is scarce ────────────────────────────────────────────────────────


def arriving(scenario):
    return sum(expected_notifications(scenario, entry) for entry in scenario.workload)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_a_file_that_can_be_read_with_as_many_as_before(seed):
    before = case(SWARM, seed, settings="drawn")
    found = queueing(before, Random(seed))
    assert parse(write(found)) == found
    assert found.channels != before.channels
    assert 0.5 * arriving(before) < arriving(found) < 3.0 * arriving(before)


def waiting(scenario):
    trial = attempt(comparable(scenario))
    assert trial.failing_case is None
    return sum(
        type(event) is NotificationDeferred and event.cause != DeferralCause.QUIET_HOURS
        for event in trial.result.history
    )


def test_more_wait_than_before():
    cases = [case(SWARM, seed, schedule="normal", settings="given") for seed in (1, 2)]
    assert sum(waiting(queueing(each, Random(0))) for each in cases) > 1.5 * sum(map(waiting, cases))


# ── cases in which a night begins while many wait ───────────────────────────────────────────────────────────────────


@pytest.mark.thorough
def test_some_come_back_from_the_bounds_of_their_tenant(monkeypatch):
    back = []
    requeue = Handler._requeue

    def noting(handler, delivery, charged):
        back.append(charged)
        requeue(handler, delivery, charged)

    monkeypatch.setattr(Handler, "_requeue", noting)
    for seed in range(6):
        found = nightfall(case(SWARM, seed, settings="given"), Random(seed))
        assert attempt(comparable(found), invariants=["reference-model"]).failing_case is None
    assert any(back)


# ── cases whose handler starts again while much is being written ────────────────────────────────────────────────────


def test_retries_are_charged_and_not_durable_as_the_handler_starts_again(monkeypatch):
    charged = []
    start = Handler.__init__

    def starting(handler, channels, wiring, *args):
        charged.extend(commit.delivery.charge for commit in wiring.commits.under_way.values())
        start(handler, channels, wiring, *args)

    monkeypatch.setattr(Handler, "__init__", starting)
    for seed in (2, 11):
        found = losing(case(SWARM, seed, settings="given"), Random(seed))
        assert attempt(comparable(found), invariants=["reference-model"]).failing_case is None
    assert any(charged)


# ── cases whose users are in time zones ─────────────────────────────────────────────────────────────────────────────


def test_there_are_zones_of_all_kinds_daily_arrivals_and_drawn_bursts():
    found = [in_zones(case(SWARM, seed, settings="given"), Random(seed)) for seed in range(12)]
    assert len({zone for each in found for zone in each.zones}) == 6
    assert {rule.own_zone is None for each in found for rule in each.quiet_hours} == {True, False}
    arrivals = [entry.arrivals for each in found for entry in each.workload if hasattr(entry, "arrivals")]
    assert sum(each.daily is not None for each in arrivals) > 5
    assert sum(each.burst is not None and not isinstance(each.burst.size, int) for each in arrivals) > 5


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(1, 12))])
def test_the_model_knows_their_nights(seed):
    found = comparable(in_zones(nightfall(case(SWARM, seed, settings="drawn"), Random(seed)), Random(seed)))
    assert attempt(found, invariants="all").failing_case is None


# ── messages that go astray in cases of the swarm ───────────────────────────────────────────────────────────────────


def test_they_come_twice_and_late_by_one_window_or_by_two():
    drawn = [astray(60.0, Random(seed)) for seed in range(40)]
    kinds = {str([sorted(fault.injects) for fault in faults]) for faults in drawn}
    assert len(kinds) == 5
    assert {len(fault.channel) for faults in drawn for fault in faults} == {4}


def test_some_cases_of_the_swarm_have_both():
    cases = [case(SWARM, seed, settings="given") for seed in range(60)]
    both = [each for each in cases if any({"duplicate_rate", "reorder"} <= fault.injects for fault in each.faults)]
    assert len(both) > 0
