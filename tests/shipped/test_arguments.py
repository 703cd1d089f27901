"""What the scenarios that settle an argument claim in their descriptions, with other seeds than theirs.

Each claim has to hold in every single run, and not on average: what is compared meets the same seeds, seed by seed.
"""

from pathlib import Path

import pytest

import simulation

SCENARIOS = Path(__file__).parents[2] / "scenarios"
SEED = 1001

few_or_many = pytest.mark.parametrize("replicates", [1, pytest.param(12, marks=pytest.mark.slow)])


def compared(name, path, choices, metrics, replicates, sets=()):
    """Return for each choice, by its name, a tuple of metrics for each run, after comparing the values at `path`."""
    comparison = simulation.compare(
        SCENARIOS / f"{name}.yaml",
        {path: list(choices.values())},
        replicates=replicates,
        seed=SEED,
        metrics=metrics,
        sets=["expect=[]", *sets],
    )
    return {
        choice: list(zip(*(comparison.values[metric][number] for metric in metrics), strict=True))
        for number, choice in enumerate(choices)
    }


def results(name, replicates, sets=()):
    for seed in range(SEED, SEED + replicates):
        yield simulation.run(SCENARIOS / f"{name}.yaml", seed=seed, sets=sets)


def figures(result, channel):
    return result.summary["channels"][channel]


# ── jitter-under-contention ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.thorough
@few_or_many
def test_any_jitter_spreads_a_herd_and_none_leaves_it_one(replicates):
    kinds = ("none", "full", "equal", "decorrelated")
    runs = compared(
        "jitter-under-contention",
        "channels.sms.retry.jitter",
        dict(zip(kinds, kinds, strict=True)),
        ["attempts", "dead_lettered", "delivery_time_s.p99"],
        replicates,
    )
    some = {"none": 40_000, "full": 24_000, "equal": 23_000, "decorrelated": 18_000}
    for kind, number in some.items():
        for attempts, dead_lettered, p99_s in runs[kind]:
            assert attempts == pytest.approx(number, rel=0.04)
            if kind == "none":
                assert dead_lettered == pytest.approx(5000 * 2 / 3, rel=0.04)
            else:
                assert dead_lettered == 0
                assert p99_s <= 40


# ── slow-brownout ───────────────────────────────────────────────────────────────────────────────────────────────

BREAKERS = {"email": "in a row", "sms": "over calls", "push": "over time", "webhook": "slow calls"}
BROWNOUT = (180.0, 420.0)


def first_opening_s(result, channel):
    opened = result.breaker[(result.breaker["channel"] == channel) & (result.breaker["to"] == "open")]
    return opened["time_s"].min() if len(opened) else None


@pytest.mark.thorough
@few_or_many
def test_failures_in_a_row_hardly_ever_see_a_brownout_that_a_rate_and_slow_calls_see_within_seconds(replicates):
    noticed_in_a_row = 0
    for result in results("slow-brownout", replicates):
        start_s, end_s = BROWNOUT
        noticed_after_s = {
            channel: opened_s - start_s
            for channel in BREAKERS
            if (opened_s := first_opening_s(result, channel)) is not None
        }
        noticed_in_a_row += "email" in noticed_after_s
        assert 0 < noticed_after_s["sms"] <= 25
        assert 0 < noticed_after_s["push"] <= 25
        assert 0 < noticed_after_s["webhook"] <= 8
        rows = result.notifications
        rows = rows[(rows["requested_at_s"] >= start_s) & (rows["requested_at_s"] < end_s)]
        p99_s = (rows["finished_at_s"] - rows["requested_at_s"]).groupby(rows["channel"]).quantile(0.99)
        assert p99_s["email"] == pytest.approx(6.6, abs=1)
        assert p99_s["sms"] == pytest.approx(3.7, abs=1)
        assert p99_s["push"] == pytest.approx(3.7, abs=1)
        assert p99_s["webhook"] == pytest.approx(2.2, abs=1)
    assert noticed_in_a_row <= replicates // 4


@few_or_many
def test_in_calm_conditions_with_twice_the_usual_failures_they_hardly_ever_open(replicates):
    calm = ["faults=[]", "expect=[]", *(f"channels.{channel}.provider.failure_rate=2%" for channel in BREAKERS)]
    opened = [
        sum(breaker["opened"] for breaker in result.summary["breaker"].values())
        for result in results("slow-brownout", replicates, calm)
    ]
    assert sum(opened) <= max(1, replicates // 4)


@few_or_many
def test_at_night_a_window_of_seconds_is_blind_and_one_of_calls_takes_longer(replicates):
    night = ["expect=[]", *(f"workload.{number}.arrivals.poisson=1/s" for number in range(len(BREAKERS)))]
    for result in results("slow-brownout", replicates, night):
        assert first_opening_s(result, "push") is None
        assert first_opening_s(result, "sms") - BROWNOUT[0] >= 15


# ── wait-or-fail ────────────────────────────────────────────────────────────────────────────────────────────────


def came_meanwhile(result, channel):
    rows = result.notifications
    return ((rows["channel"] == channel) & rows["requested_at_s"].between(120, 300)).sum()


def busiest_second_after(result, channel, instant_s):
    """Return how many attempts met the provider in the busiest second from an instant on."""
    rows = result.attempts
    asked = rows[(rows["channel"] == channel) & (rows["start_s"] >= instant_s) & (rows["end_s"] > rows["start_s"])]
    return asked["start_s"].astype(int).value_counts().max()


@pytest.mark.thorough
@few_or_many
def test_who_waits_is_late_who_fails_is_lost_and_patience_costs_attempts(replicates):
    for result in results("wait-or-fail", replicates):
        waits, fails, patient = (figures(result, channel) for channel in ("email", "sms", "push"))
        assert waits["dead_lettered"] == patient["dead_lettered"] == 0
        # The breaker may stay open for some seconds longer than the outage.
        assert 0.9 <= fails["dead_lettered"] / came_meanwhile(result, "sms") <= 1.1
        assert waits["sent_time_s"]["max"] <= 240
        assert fails["sent_time_s"]["max"] <= 15
        assert fails["delivery_time_s"]["p99"] is None  # never, which is later than those who wait
        assert patient["delivery_time_s"]["p99"] >= waits["delivery_time_s"]["p99"] >= 150
        assert patient["attempts"] == pytest.approx(4 * waits["attempts"], rel=0.15)
        assert patient["requests"] == pytest.approx(waits["requests"], rel=0.05)
        paced, herd = (busiest_second_after(result, channel, 300) for channel in ("email", "push"))
        assert paced <= 50
        assert herd >= 1.4 * paced


# ── budget-against-retry-storm ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.thorough
@few_or_many
def test_without_a_budget_a_storm_outlives_its_cause_and_each_kind_of_budget_ends_it(replicates):
    runs = compared(
        "budget-against-retry-storm",
        "channels.webhook.retry.budget",
        {
            "none": None,
            "finagle": {"kind": "finagle", "share": "10%", "min_rate": "1/s"},
            "finagle with its default floor": {"kind": "finagle", "share": "10%"},
            "grpc": {"kind": "grpc"},
            "envoy": {"kind": "envoy"},
        },
        ["sent_fraction", "attempts"],
        replicates,
    )
    sent = {"none": 0.20, "finagle": 0.72, "finagle with its default floor": 0.40, "grpc": 0.80, "envoy": 0.72}
    for kind, fraction in sent.items():
        for sent_fraction, attempts in runs[kind]:
            assert sent_fraction == pytest.approx(fraction, abs=0.07)
            assert attempts == pytest.approx(51_000, rel=0.03) if kind == "none" else attempts <= 20_000


@pytest.mark.thorough
@few_or_many
def test_a_breaker_alone_loses_hardly_any_and_some_are_late_and_a_bulkhead_is_sooner(replicates):
    metrics = ["dead_lettered", "delivery_time_s.p50", "delivery_time_s.p99"]
    without = ["channels.webhook.retry.budget=null"]
    breakers = compared(
        "budget-against-retry-storm",
        "channels.webhook.circuit_breaker",
        {"60s": {"timeout": "60s"}, "30s": {"timeout": "30s"}},
        metrics,
        replicates,
        without,
    )
    runs = [*breakers["60s"], *breakers["30s"]]
    for dead_lettered, p50_s, p99_s in runs:
        assert dead_lettered <= 3
        assert p50_s <= 160
        assert 60 <= p99_s <= 360
    # In a few it relapses more often; with a pace that learned nothing it opened 12 times in each.
    assert sum(p50_s <= 25 and p99_s <= 170 for _, p50_s, p99_s in runs) >= 0.7 * len(runs)
    slots = compared(
        "budget-against-retry-storm",
        "channels.webhook.max_in_flight",
        {"ten": 10, "twenty": 20},
        metrics,
        replicates,
        without,
    )
    for dead_lettered, p50_s, p99_s in (*slots["ten"], *slots["twenty"]):
        assert dead_lettered == 0
        assert p50_s <= 0.2
        assert p99_s <= 40


# ── metastable-failure ──────────────────────────────────────────────────────────────────────────────────────────

TRIGGER = (60.0, 80.0)


def sent_fraction_of_those_who_came(result, channel, start_s, end_s):
    rows = result.notifications
    rows = rows[(rows["channel"] == channel) & (rows["requested_at_s"] >= start_s) & (rows["requested_at_s"] < end_s)]
    return (rows["outcome"] == "sent").mean()


@pytest.mark.thorough
@few_or_many
def test_a_collapse_outlives_its_trigger_unless_a_budget_or_a_breaker_ends_it(replicates):
    for result in results("metastable-failure", replicates):
        start_s, end_s = TRIGGER
        for channel in ("webhook", "push", "sms"):
            assert sent_fraction_of_those_who_came(result, channel, 0, start_s - 10) == 1
        for minute in range(4):
            window = (end_s + 40 + 60 * minute, end_s + 100 + 60 * minute)
            assert sent_fraction_of_those_who_came(result, "webhook", *window) <= 0.01
            assert sent_fraction_of_those_who_came(result, "push", *window) >= 0.99
            assert sent_fraction_of_those_who_came(result, "sms", *window) == 1


@pytest.mark.thorough
@few_or_many
def test_without_its_trigger_or_without_retries_nothing_stays_collapsed(replicates):
    for sets in (["faults=[]"], ["channels.webhook.retry.max_attempts=1"]):
        for result in results("metastable-failure", replicates, [*sets, "expect=[]"]):
            assert sent_fraction_of_those_who_came(result, "webhook", TRIGGER[1] + 40, 360) >= 0.99


# ── failover-on-outage ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.thorough
@few_or_many
def test_a_backup_is_worth_what_its_quota_is(replicates):
    path = "channels.email.failover"
    slow = {"latency": {"lognormal": {"median": "300ms", "p99": "2s"}}, "failure_rate": "3%"}
    runs = compared(
        "failover-on-outage",
        path,
        {
            "none": {},
            "15/s": {"backup": {"quota": {"rate": "15/s", "kind": "token_bucket"}, "provider": slow}},
            "no limit": {"backup": {"provider": slow}},
        },
        ["delivery_time_s.p99", "dead_lettered"],
        replicates,
    )
    for none, limited, unlimited in zip(*runs.values(), strict=True):
        assert none[1] == limited[1] == unlimited[1] == 0
        assert none[0] == pytest.approx(180, rel=0.1)
        assert 30 <= limited[0] <= 60
        assert unlimited[0] <= 3


# ── breaker-per-host ────────────────────────────────────────────────────────────────────────────────────────────────


@few_or_many
def test_a_breaker_for_each_host_keeps_one_dead_server_from_holding_up_the_others(replicates):
    for result in results("breaker-per-host", replicates):
        per_host, per_channel = (figures(result, channel)["delivery_time_s"] for channel in ("email", "webhook"))
        assert per_host["p90"] <= 0.5
        assert per_channel["p90"] == pytest.approx(70, abs=30)
        assert figures(result, "email")["dead_lettered"] == 0


# ── hedged-tail ─────────────────────────────────────────────────────────────────────────────────────────────────


@few_or_many
def test_a_copy_cuts_the_tail_better_than_a_timeout_and_a_retry(replicates):
    for result in results("hedged-tail", replicates):
        copies, none, timeout, early = (figures(result, name) for name in ("push", "email", "sms", "webhook"))
        assert none["delivery_time_s"]["p99"] >= 3
        assert copies["delivery_time_s"]["p99"] < 0.5
        assert copies["hedges"] / copies["accepted"] == pytest.approx(0.045, abs=0.008)
        assert 0.15 <= early["delivery_time_s"]["p99"] < copies["delivery_time_s"]["p99"]
        assert early["hedges"] / early["accepted"] == pytest.approx(0.44, abs=0.05)
        assert timeout["delivery_time_s"]["p99"] == pytest.approx(1.3, abs=0.15)


# ── adaptive-rate-on-429 ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.thorough
@few_or_many
def test_a_rate_that_listens_is_refused_a_hundredth_as_often_and_is_sooner(replicates):
    for result in results("adaptive-rate-on-429", replicates):
        listens, blind, fixed = (figures(result, channel) for channel in ("email", "sms", "push"))
        assert listens["retries"] < 100 < 100 * listens["retries"] < 2 * blind["retries"]
        assert blind["retries"] == pytest.approx(10_000, rel=0.15)
        assert fixed["retries"] == pytest.approx(1_100, rel=0.1)
        assert listens["delivery_time_s"]["p99"] <= 90
        assert 100 <= fixed["delivery_time_s"]["p99"] <= 160
        assert 130 <= blind["delivery_time_s"]["p99"] <= 180


# ── push-then-sms ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.thorough
@few_or_many
def test_a_time_limit_is_what_makes_a_fallback_one_in_an_outage(replicates):
    runs = compared(
        "push-then-sms",
        "channels.push.fallback",
        {
            "at the end": {"channel": "sms"},
            "20s": {"channel": "sms", "after": "20s"},
            "1m": {"channel": "sms", "after": "1m"},
        },
        ["channels.sms.accepted", "channels.push.sent_time_s.max", "channels.sms.sent_time_s.max"],
        replicates,
    )
    some = {"at the end": 50, "20s": 2500, "1m": 1900}
    for when, number in some.items():
        for sms, push_s, sms_s in runs[when]:
            assert sms == pytest.approx(number, rel=0.4 if when == "at the end" else 0.1)
            assert push_s >= 180 if when == "at the end" else max(push_s, sms_s) <= (25 if when == "20s" else 65)
