"""The simulated provider: which fault wins, shares of the total, windows, random draws."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, strategies as st
from provider_attempts import ATTEMPT, S, fault
from worlds import World, email, on_both_clocks

from actors.faults.conditions import Forecast
from actors.faults.provider import NEVER_NS, SimulatedProvider
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationSent
from actors.outcomes import ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.channel import ProviderConfig
from actors.settings.distributions import Distribution
from actors.settings.faults import FaultConfig


def service(*faults: FaultConfig, seed: int = 0, **settings: Any) -> SimulatedProvider:
    return SimulatedProvider(faults=faults, streams=RandomStreams(seed), **settings)


def outcomes_at(provider: SimulatedProvider, *seconds: float) -> list[str]:
    """Return, for attempts at these instants, what happened to them."""
    return [short(provider.attempt(ATTEMPT, round(at * S))) for at in seconds]


def short(effect: Any) -> str:
    if effect.delay_ns == NEVER_NS:
        return "never"
    outcome: Outcome = effect.result
    if isinstance(outcome, Transient):
        if outcome.connection:
            return "refused"
        return "throttled" if outcome.throttled else "outage" if "outage" in outcome.reason else "failed"
    return type(outcome).__name__


def test_when_nothing_is_wrong_it_delivers_after_its_latency():
    provider = service(latency=0.25)
    effect = provider.attempt(ATTEMPT, 0)
    assert (effect.delay_ns, effect.result) == (S // 4, Sent())
    assert provider.delivered == 1


def test_fail_count_is_the_first_attempts_of_all():
    assert outcomes_at(service(fail_count=2), 0, 5, 6, 7) == ["failed", "failed", "Sent", "Sent"]
    assert outcomes_at(service(fail_count=0), 0) == ["Sent"]


def test_windows_are_half_open():
    provider = service(fault(at="10s", **{"for": "5s"}, outage=True))
    assert outcomes_at(provider, 9.999999999, 10, 14.999999999, 15) == ["Sent", "outage", "outage", "Sent"]
    assert outcomes_at(service(fault(outage=True)), 0, 1e9) == ["outage", "outage"]


def test_windows_that_overlap_each_hold_for_their_own_time():
    provider = service(
        fault(at=10, **{"for": 10}, outage=True),
        fault(at=15, **{"for": 10}, permanent_rate=1.0),
        fault(at=40, hang=True),
    )
    assert outcomes_at(provider, 9, 10, 19, 20, 24, 25, 39, 40) == [
        "Sent", "outage", "outage", "Permanent", "Permanent", "Sent", "Sent", "never",
    ]  # fmt: skip


def test_the_first_of_the_order_wins():
    everything = {
        "hang": {"hang": True},
        "throttled": {"throttle": {"rate": "1/h"}},
        "outage": {"outage": True},
        "failed": {"fail_first": 1},
        "DeadDestination": {"dead_destination_rate": 1.0},
        "Permanent": {"permanent_rate": 1.0},
    }
    names = list(everything)
    for first in range(1, len(names)):
        provider = service(*(fault(**everything[name]) for name in reversed(names[first:])))
        if names[first] == "throttled":
            outcomes_at(provider, 0)  # what the quota lets through
        assert outcomes_at(provider, 1) == [names[first]]
    assert outcomes_at(service(*(fault(**keys) for keys in everything.values())), 0, 1) == ["never", "never"]
    assert outcomes_at(service(fault(lost_reply_rate=1.0, failure_rate=1.0)), 0) == ["never"]
    assert outcomes_at(service(fault(permanent_rate=1.0, lost_reply_rate=1.0)), 0) == ["Permanent"]


def test_an_outage_answers_after_the_latency_that_holds():
    provider = service(fault(outage=True, latency="2s", latency_factor=3), latency=0.5)
    assert provider.attempt(ATTEMPT, 0).delay_ns == 6 * S
    assert service(fault(outage=True), latency=0.5).attempt(ATTEMPT, 0).delay_ns == S // 2


class NewerFault(FaultConfig):
    """A fault with a key that was added to the model, and of which nothing else knows yet."""

    brownout: bool = False


def test_a_new_fault_is_looked_at_for_each_attempt():
    newer = NewerFault.model_validate({"channel": "all", "at": 10, "for": 10, "brownout": True, "failure_rate": 0.1})
    forecast = Forecast(lambda: 0.1, 0.0, [newer], RandomStreams(0), "provider", is_ever_calm=True)
    assert [forecast.at(at * S).calm_until_ns > at * S for at in (9, 10, 19, 20)] == [True, False, False, True]


def test_the_last_latency_counts_and_all_factors_multiply():
    provider = service(
        fault(latency="2s"),
        fault(at=10, latency="3s"),
        fault(at=20, latency_factor=2),
        fault(at=30, **{"for": 10}, latency_factor=0.5),
    )
    delays = [provider.attempt(ATTEMPT, at * S).delay_ns / S for at in (0, 10, 20, 30, 40)]
    assert delays == [2.0, 3.0, 6.0, 3.0, 6.0]


def test_flapping_is_up_first_and_counts_from_the_start_of_its_window():
    provider = service(fault(at=5, **{"for": 60}, flap={"up": "20s", "down": "10s"}))
    assert outcomes_at(provider, 0, 5, 24.999, 25, 34.999, 35, 54.999, 55, 64.999, 65) == [
        "Sent", "Sent", "Sent", "outage", "outage", "Sent", "Sent", "outage", "outage", "Sent",
    ]  # fmt: skip


def test_fail_first_counts_the_attempts_within_its_window():
    provider = service(fault(at=10, **{"for": 10}, fail_first=2))
    assert outcomes_at(provider, 9, 10, 11, 12, 13) == ["Sent", "failed", "failed", "Sent", "Sent"]
    provider = service(fault(at=10, **{"for": 10}, fail_first=5), fault(at=10, fail_first=1))
    assert outcomes_at(provider, 10, 25, 26) == ["failed", "failed", "Sent"]


def test_a_throttle_is_a_real_quota_and_says_when_to_come_back():
    provider = service(fault(throttle={"rate": "10/s", "retry_after": "30s"}))
    outcomes = outcomes_at(provider, *(number / 100 for number in range(1000)))
    assert Counter(outcomes)["Sent"] == 100
    throttled = next(
        effect.result
        for effect in (provider.attempt(ATTEMPT, 9_990_000_000) for _ in range(20))
        if effect.result != Sent()
    )
    assert throttled == Transient(reason="throttled", retry_after=30.0, throttled=True)


def test_a_slow_quota_is_not_rounded_away():
    assert outcomes_at(service(fault(throttle={"rate": "1/10s"})), 0, 9.9, 10, 19.9, 20).count("Sent") == 3
    assert outcomes_at(service(fault(throttle={"rate": "0.5/s"})), 0, 1.9, 2, 3.9, 4).count("Sent") == 3


@pytest.mark.parametrize(
    "rates",
    [
        {"dead_destination_rate": 0.02, "failure_rate": 0.5},
        {"dead_destination_rate": 0.1, "permanent_rate": 0.2, "lost_reply_rate": 0.3, "failure_rate": 0.15},
        {"permanent_rate": 0.1, "channel_fault_rate": 0.3, "lost_reply_rate": 0.2},
        {"refused_rate": 0.4, "dead_destination_rate": 0.2, "failure_rate": 0.3},
        {"permanent_rate": 0.6, "failure_rate": 0.7},  # 130%: what does not fit is cut
    ],
)
def test_rates_are_shares_of_the_total(rates):
    provider = service(*(fault(**{key: rate}) for key, rate in rates.items()))
    count = 20_000
    outcomes = Counter(outcomes_at(provider, *[0.0] * count))
    names = {
        "dead_destination_rate": "DeadDestination",
        "permanent_rate": "Permanent",
        "channel_fault_rate": "ChannelFault",
        "lost_reply_rate": "never",
        "refused_rate": "refused",
    }
    left = 1.0
    for key, rate in rates.items():
        share = outcomes[names.get(key, "failed")] / count
        assert share == pytest.approx(min(rate, left), abs=0.012)
        left -= min(rate, left)
    assert outcomes["Sent"] / count == pytest.approx(left, abs=0.012)


def test_a_refused_connection_takes_up_no_capacity():
    provider = service(fault(**{"for": 1}, refused_rate=1.0), latency=Distribution(constant=10.0), capacity=1)
    ends = [provider.attempt(ATTEMPT, round(at * S)) for at in (0, 0, 2, 2)]
    assert [end.delay_ns for end in ends] == [10 * S, 10 * S, 10 * S, 20 * S]
    assert [short(end) for end in ends] == ["refused", "refused", "Sent", "Sent"]


def test_rates_of_windows_that_overlap_add_up_with_the_providers_own():
    provider = service(fault(failure_rate=0.2), fault(failure_rate=0.3), failure_rate=0.1)
    assert Counter(outcomes_at(provider, *[0.0] * 20_000))["failed"] / 20_000 == pytest.approx(0.6, abs=0.012)


def test_the_outcomes_say_what_they_are():
    assert service(fault(dead_destination_rate=1.0)).attempt(ATTEMPT, 0).result == DeadDestination(
        reason="injected dead destination"
    )
    assert service(fault(permanent_rate=1.0)).attempt(ATTEMPT, 0).result == Permanent(
        reason="injected permanent failure"
    )
    assert service(fault(channel_fault_rate=1.0)).attempt(ATTEMPT, 0).result == ChannelFault(
        reason="injected channel fault"
    )
    assert service(failure_rate=1.0).attempt(ATTEMPT, 0).result == Transient(reason="injected failure")


def test_delivered_counts_lost_replies_and_not_what_hangs_or_fails():
    provider = service(
        fault(at=0, **{"for": 1}, hang=True),
        fault(at=1, **{"for": 1}, lost_reply_rate=1.0),
        fault(at=2, **{"for": 1}, outage=True),
    )
    outcomes_at(provider, 0, 0, 1, 1, 1, 2, 3)
    assert provider.delivered == 4


# ── random draws ────────────────────────────────────────────────────────────────────────────────────────────────

RANDOM = {"latency": Distribution.model_validate({"exponential": {"mean": "1s"}}), "failure_rate": 0.3}


def draws(provider: SimulatedProvider, *seconds: float) -> list[tuple[int, str]]:
    return [(effect.delay_ns, short(effect)) for effect in (provider.attempt(ATTEMPT, round(at * S)) for at in seconds)]


def test_equal_seeds_and_names_have_equal_draws_and_others_do_not():
    instants = [0.0] * 50
    same = draws(service(seed=1, **RANDOM), *instants)
    assert draws(service(seed=1, **RANDOM), *instants) == same
    assert draws(service(seed=2, **RANDOM), *instants) != same
    other = SimulatedProvider(streams=RandomStreams(1), name="sms.provider", **RANDOM)
    assert draws(other, *instants) != same
    from_config = SimulatedProvider.from_config(ProviderConfig(**RANDOM), (), RandomStreams(1), "provider")
    assert draws(from_config, *instants) == same


@given(
    st.sampled_from(
        [
            {"outage": True},
            {"hang": True},
            {"fail_first": 3},
            {"throttle": {"rate": "1/h"}},
            {"flap": {"up": "1s", "down": "7s"}},
            {"permanent_rate": 0.5},
        ]
    )
)
def test_a_fault_leaves_the_draws_of_later_attempts_as_it_was(keys):
    """So two settings can be compared on the same seeds."""
    before_and_after = [0.0] * 20 + [10.0 + number for number in range(10)] + [30.0] * 50
    plain = draws(service(seed=3, **RANDOM), *before_and_after)
    faulty = draws(service(fault(at=10, **{"for": 10}, **keys), seed=3, **RANDOM), *before_and_after)
    assert faulty[:20] == plain[:20]
    assert faulty[30:] == plain[30:]
    assert faulty[20:30] != plain[20:30]


def test_a_latency_fault_draws_from_its_own_stream():
    slow = fault(at=10, latency={"exponential": {"mean": "9s"}})
    late = [11.0] * 30
    fates = [outcome for _, outcome in draws(service(slow, seed=3, **RANDOM), *late)]
    assert fates == [outcome for _, outcome in draws(service(seed=3, **RANDOM), *late)]


# ── in the pipeline ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_provider_that_hangs_runs_into_the_timeout_and_is_ambiguous():
    def scenario(world: World) -> None:
        world.open(service(fault(**{"for": 5}, hang=True)), email={"timeout": 7})
        world.send(email("a"))

    world = on_both_clocks(scenario)
    (failure,) = world.failures
    assert (failure.kind, failure.reason, failure.at_ns) == ("Ambiguous", "timed out", 7 * S)
    assert world.times(NotificationSent) == [8.0]


def test_a_lost_reply_is_delivered_and_tried_again():
    def scenario(world: World) -> None:
        world.open(service(fault(**{"for": 5}, lost_reply_rate=1.0)))
        world.send(email("a"))

    world = on_both_clocks(scenario)
    assert world.failures[0].kind == "Ambiguous"
    assert world.sent_ids() == ["a"]
    assert world.events(NotificationSent)[0].attempt == 2


# ── how a provider counts its quota ─────────────────────────────────────────────────────────────────────────────────


def taken_by_minute(**quota: Any) -> list[int]:
    """Return how many attempts a quota of 120 a minute takes in each of three minutes, of four that come each second.

    The first come at 30 s, so that a window that begins with the first attempt is seen to.
    """
    provider = service(fault(throttle={"rate": "120/min", **quota}))
    taken = Counter(quarter // 240 for quarter in range(120, 720) if outcomes_at(provider, quarter / 4) == ["Sent"])
    return [taken[minute] for minute in range(3)]


@pytest.mark.parametrize(
    ("quota", "taken"),
    [
        ({}, [120, 120, 120]),  # whole minutes from the start of the run
        ({"kind": "fixed_window"}, [120, 120, 120]),
        ({"kind": "sliding_window"}, [120, 120, 120]),  # the first 120 take 30 s; the next 120 come a minute later
        ({"kind": "token_bucket"}, [120, 179, 120]),  # 60 are left after the first 30 s, and two flow in each second
        ({"kind": "token_bucket", "burst": 10}, [69, 120, 120]),
    ],
    ids=str,
)
def test_how_many_a_quota_takes_in_a_minute_is_by_its_kind(quota: dict[str, Any], taken: list[int]) -> None:
    assert taken_by_minute(**quota) == taken


def test_a_fixed_window_takes_twice_as_many_across_its_seam_and_a_sliding_one_does_not() -> None:
    seam = [59.0] * 4 + [60.0] * 4
    for kind, taken in (("fixed_window", 6), ("sliding_window", 3)):
        assert outcomes_at(service(fault(throttle={"rate": "3/min", "kind": kind})), *seam).count("Sent") == taken


def test_a_quota_of_less_than_one_has_a_longer_window() -> None:
    provider = service(fault(throttle={"rate": "0.5/s"}))
    assert outcomes_at(provider, 0, 1, 2, 3, 4) == ["Sent", "throttled", "Sent", "throttled", "Sent"]
