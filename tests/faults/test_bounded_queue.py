"""The bound of what waits at a provider: who finds it full, what is worked on too late, and how runs show it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, strategies as st
from provider_attempts import ATTEMPT, S, answered, fault
from test_disciplines import ends

import simulation
from actors.errors import ConfigurationError
from actors.faults.provider import SimulatedProvider
from actors.kernel.effects import Foreseen
from actors.outcomes import Transient
from actors.settings.base import validated
from actors.settings.channel import ProviderConfig
from simulation.reporting.facts import facts
from simulation.scenario import parse

BURST = """
name: bounded
duration: 6m
workload:
  - {name: usual, channel: email, users: 1000, arrivals: {constant: 8/s}}
  - {name: more, channel: email, users: 1000, at: 1m, for: 10s, arrivals: {constant: 32/s}}
channels:
  email:
    timeout: 750ms
    retry: {max_attempts: 3}
    circuit_breaker: {enabled: false}
    provider: {latency: 50ms, capacity: 1, queue: {limit: 256}}
"""


def run_of(*sets: str, text: str = BURST) -> Any:
    return simulation.run(parse(text, sets=sets))


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────────


FITS = "wanted queue only with a capacity, and the discipline fifo or critical_first,"
COUNT = "wanted a whole number of at least 1, got"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"queue": {"limit": 5}}, f"{FITS} got none"),
    (
        {"queue": {"limit": 5}, "capacity": 1, "discipline": "processor_sharing"},
        f"{FITS} got processor_sharing, under ",
    ),
    ({"queue": {"limit": 0}, "capacity": 1}, f"queue.limit: {COUNT} 0"),
    ({"queue": {"when_full": "drop"}, "capacity": 1}, f"queue.limit: {COUNT} nothing"),
    ({"queue": {"limit": 5, "when_full": "block"}, "capacity": 1}, "queue.when_full: wanted one of refuse, drop, got "),
]


@pytest.mark.parametrize(("written", "wanted"), REFUSED)
def test_what_a_queue_may_be(written: dict[str, Any], wanted: str):
    with pytest.raises(ConfigurationError) as refused:
        validated(ProviderConfig, written)
    assert refused.value.problems[0].startswith(wanted)


# ── who finds it full ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_one_that_comes_when_as_many_wait_as_may_is_answered_at_once():
    provider = SimulatedProvider(latency=2, capacity=1, queue={"limit": 1})
    assert answered(provider, 0, 0.5, 1, 2, 2) == [2, 4, 1, 6, 2]  # at 2 the second is begun, which leaves room for one
    assert provider.delivered == 3
    refused = provider.attempt(ATTEMPT, 3 * S)
    assert refused == Foreseen(0, Transient(reason="queue full"))


def test_what_is_dropped_gets_no_answer():
    provider = SimulatedProvider(latency=2, capacity=1, queue={"limit": 1, "when_full": "drop"})
    assert answered(provider, 0, 0.5, 1, 2) == [2, 4, math.inf, 6]
    assert provider.delivered == 3


def test_the_capacity_of_a_fault_has_the_same_bound():
    narrow = fault(at=1, capacity=1, **{"for": 10})
    provider = SimulatedProvider(latency=4, capacity=2, queue={"limit": 2}, faults=[narrow])
    # The two under way end at 4, one is begun then and one at 8; at 11 there is a second place for the last.
    assert answered(provider, 0, 0, 2, 2, 2, 4.5) == [4, 4, 8, 12, 2, 15]


def test_where_critical_ones_go_first_they_too_find_it_full():
    provider = SimulatedProvider(latency=2, capacity=1, discipline="critical_first", queue={"limit": 2})
    attempts = [(0.0, False), (0.5, False), (0.6, True), (0.7, True), (2.1, True), (2.2, False)]
    # 3 finds 1 and 2 waiting. At 2, 2 goes first; 4 finds 1 alone, and 5 both.
    assert sorted(ends(provider, *attempts)) == [(0, 2.0), (1, 8.0), (2, 4.0), (3, 0.7), (4, 6.0), (5, 2.2)]


def test_a_full_queue_uses_up_none_of_those_that_fail_first():
    provider = SimulatedProvider(latency=2, capacity=1, queue={"limit": 1}, faults=[fault(fail_first=3)])
    outcomes = [provider.attempt(ATTEMPT, at * S).result for at in (0, 0, 1, 3, 9)]  # type: ignore[union-attr]
    assert [getattr(outcome, "reason", "") for outcome in outcomes] == [
        "injected failure", "injected failure", "queue full", "injected failure", "",
    ]  # fmt: skip


@given(
    gaps=st.lists(st.integers(0, 4), max_size=40),
    servers=st.integers(1, 3),
    limit=st.integers(1, 4),
    work=st.integers(1, 7),
)
def test_no_more_wait_than_may_and_none_is_refused_sooner(gaps: list[int], servers: int, limit: int, work: int):
    provider = SimulatedProvider(latency=work, capacity=servers, queue={"limit": limit})
    now, ends_at = 0, list[int]()
    for gap in gaps:
        now += gap
        effect = provider.attempt(ATTEMPT, now * S)
        assert isinstance(effect, Foreseen)
        there = sum(end > now for end in ends_at)  # of equal work, the first to come are the first to end
        if there >= servers + limit:
            assert effect == Foreseen(0, Transient(reason="queue full"))
        else:
            begins = sorted(ends_at)[-servers] if there >= servers else now
            assert effect.delay_ns == (begins + work - now) * S
            ends_at.append(begins + work)


# ── how runs show it ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_burst_fills_the_queue_for_good_but_for_breakers_and_slots():
    """In the 750 ms that senders wait 15 are served: with 16 at once the last of them is begun in vain."""
    kept = run_of()
    queue = kept.summary["channels"]["email"]["queue"]
    assert queue["peak"] == 256
    assert kept.series["queue_email"].iloc[-20:-4].min() > 200
    assert kept.summary["sent_fraction"] < 0.2
    (said,) = [fact for fact in facts(kept) if "waited at the provider" in fact]
    assert f"{queue['abandoned']:,} were begun when their sender had stopped waiting" in said
    assert f"{queue['turned_away']:,} found the queue full" in said
    for cure in ("channels.email.circuit_breaker.enabled=true", "channels.email.max_in_flight=15"):
        cured = run_of(cure)
        assert cured.summary["sent_fraction"] == 1.0
        assert cured.series["queue_email"].iloc[-1] == 0
    assert run_of("channels.email.max_in_flight=16").summary["channels"]["email"]["queue"]["peak"] > 200


def test_what_is_counted_follows_from_the_attempts():
    """One attempt each, and 20/s served: of those answered late or never, all but the last were begun in vain."""
    sets = ("channels.email.retry.max_attempts=1", "channels.email.provider.queue.limit=50")
    result = run_of(*sets, "duration=2m")
    attempts = result.attempts
    queue = result.summary["channels"]["email"]["queue"]
    assert queue["turned_away"] == (attempts["reason"] == "queue full").sum() > 0
    timed_out = int((attempts["reason"] == "timed out").sum())
    # Who waits 700 to 750 ms is begun in time, and answered too late.
    assert timed_out - 20 <= queue["abandoned"] < timed_out
    assert queue["peak"] == 50


def test_each_provider_has_its_own_and_the_channel_the_sum():
    text = BURST.replace("provider: {latency", "max_in_flight: 40\n    failover: {backup: {provider: {latency: 100ms, "
                         "capacity: 1, queue: {limit: 9}}}}\n    provider: {latency")  # fmt: skip
    result = run_of("duration=3m", text=text)
    of_channel = result.summary["channels"]["email"]
    own = {name: each["queue"] for name, each in of_channel["providers"].items()}
    for key in ("abandoned", "turned_away"):
        assert of_channel["queue"][key] == sum(each[key] for each in own.values())
    assert max(each["peak"] for each in own.values()) <= of_channel["queue"]["peak"] <= sum(
        each["peak"] for each in own.values()
    )  # fmt: skip
    assert own["backup"]["peak"] == 9
    assert {"queue_email", "queue_email/backup"} <= set(result.series.columns)


@pytest.mark.usefixtures("undrawn")
def test_both_clocks_and_a_saved_result_say_the_same(tmp_path):
    scenario = parse(BURST, sets=["duration=90s", "channels.email.provider.discipline=critical_first"])
    result = simulation.run(scenario)
    live = simulation.run(scenario, runtime="trio")
    assert live.summary["digest"] == result.summary["digest"]
    assert live.summary["channels"]["email"]["queue"] == result.summary["channels"]["email"]["queue"]
    simulation.save(result, tmp_path)
    saved = simulation.open_result(tmp_path)
    assert saved.summary["channels"]["email"]["queue"] == result.summary["channels"]["email"]["queue"]
    assert list(saved.series["queue_email"]) == list(result.series["queue_email"])


def test_nothing_is_counted_where_there_is_no_bound():
    result = run_of("duration=80s", text=BURST.replace(", queue: {limit: 256}", ""))
    assert "queue" not in result.summary["channels"]["email"]
    assert "queue_email" not in result.series.columns


def test_an_expectation_may_bound_it():
    text = BURST + 'expect: ["channels.email.queue.peak <= 100", "channels.email.queue.abandoned == 0"]\n'
    assert [each["holds"] for each in run_of("duration=3m", text=text).summary["expectations"]] == [False, False]
    cured = run_of("channels.email.max_in_flight=15", "duration=3m", text=text)
    assert [each["holds"] for each in cured.summary["expectations"]] == [True, True]
