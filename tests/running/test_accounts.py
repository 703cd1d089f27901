"""Accounts that channels share: what the provider enforces, and what the sender keeps to. Small cases by hand."""

from collections import Counter
from typing import Any

import pytest
import trio
from beside import tables
from effort import examples
from hypothesis import given, settings, strategies as st
from worlds import EMAIL, SMS, email

import simulation
from actors import ConfigurationError, NotificationService, Notifier
from actors.messages import NotificationChannel, NotificationSent
from actors.pipeline.quotas import Quotas
from actors.policies.rate_limit.limiter import make_limiter
from actors.settings.accounts import AccountConfig
from actors.settings.base import validated
from actors.settings.channel import NotifierConfig
from simulation.scenario import parse
from simulation.scenario.lint import lint_scenario

TABLES = tables(__file__)

S = 1_000_000_000
BOTH = "{quota: {account: twilio}, provider: {account: twilio}}"


def scenario(account: str, channels: str, *, arrivals: str = "constant: 10/s", more: str = "drain: 0s") -> Any:
    return parse(
        f"duration: 10s\naccounts: {{twilio: {account}}}\nchannels: {{{channels}}}\n"
        f"workload: [{{channel: sms, arrivals: {{{arrivals}}}}}, {{channel: push, arrivals: {{{arrivals}}}}}]\n{more}",
        "accounts.yaml",
    )


# ── what the provider enforces ──────────────────────────────────────────────────────────────────────────────────────


def test_providers_of_an_account_share_what_it_lets_through():
    providers = (
        "sms: {retry: {max_attempts: 1}, provider: {account: twilio}}, push: {retry: {max_attempts: 1}, provider: %s}"
    )
    shared = simulation.run(scenario("{throttle: {rate: 2/s}}", providers % "{account: twilio}"), invariants="all")
    # Two in each second.
    assert (shared.summary["sent"], shared.summary["dead_lettered"]) == (20, 180)
    alone = simulation.run(scenario("{throttle: {rate: 2/s}}", providers % "{}"), invariants="all").summary
    assert (alone["channels"]["sms"]["sent"], alone["channels"]["push"]["sent"]) == (20, 100)


def test_it_says_when_to_come_again():
    of = scenario("{throttle: {rate: 1/s, retry_after: 3s}}", "sms: {provider: {account: twilio}}, push: {}", more="")
    failed = simulation.run(of).attempts.query("outcome == 'transient'")
    assert (failed["throttled"] & (failed["reason"] == "throttled")).all()
    assert (failed["next_retry_at_s"] - failed["end_s"]).dropna().min() >= 3 - 1e-9


# ── what the sender keeps to ────────────────────────────────────────────────────────────────────────────────────────


def test_channels_that_keep_to_it_are_never_throttled_and_take_turns():
    result = simulation.run(scenario("{throttle: {rate: 2/s}}", f"sms: {BOTH}, push: {BOTH}"), invariants="all")
    assert result.summary["requests"] == result.summary["sent"] == 20  # evenly: one every 500 ms
    sent = result.attempts["channel"].tolist()
    assert all(set(pair) == {"sms", "push"} for pair in zip(sent[2::2], sent[3::2], strict=False))


def test_its_own_quota_goes_before_the_rate_of_the_throttle():
    account = "{throttle: {rate: 5/s}, quota: {rate: 3/10s, kind: sliding_window}}"
    summary = simulation.run(scenario(account, f"sms: {BOTH}, push: {BOTH}"), invariants="all").summary
    assert summary["sent"] == 3


def test_each_node_keeps_to_it_for_itself():
    of = scenario("{quota: {rate: 3/10s}}", "sms: {quota: {account: twilio}}, push: {quota: {account: twilio}}")
    summary = simulation.run(of.model_copy(update={"nodes": 2}), invariants="all").summary
    assert [summary["nodes"][node]["sent"] for node in ("1", "2")] == [3, 3]


def test_a_further_provider_may_be_of_an_account():
    account = "{quota: {rate: 4/10s}}"
    email_with_two = (
        "sms: {quota: {rate: 1/10s}, failover: {b: {quota: {account: twilio}}}}, push: {quota: {account: twilio}}"
    )
    summary = simulation.run(scenario(account, email_with_two), invariants="all").summary
    assert summary["channels"]["sms"]["providers"]["primary"]["sent"] == 1
    assert summary["channels"]["sms"]["providers"]["b"]["sent"] + summary["channels"]["push"]["sent"] == 4


@settings(max_examples=examples(20), deadline=None)
@given(
    quota=st.sampled_from(
        ["rate: 3/s", "rate: 3/s, kind: token_bucket, burst: 5", "rates: [2/s, 9/5s]", "rate: 4/s, kind: leaky_bucket",
         "rate: 5/2s, kind: fixed_window, on_limit: drop"]
    ),
    fault=st.sampled_from(["", "{channel: sms, at: 2s, for: 3s, outage: true}", "{channel: all, failure_rate: 40%}"]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_all_together_never_exceed_it_and_none_is_left_behind(quota, fault, seed):
    """That no more go than the quota allows over all channels is a law that the run is held to."""
    own = "{quota: {account: twilio}, retry: {max_attempts: 2}, circuit_breaker: {failure_threshold: 3, timeout: 1s}}"
    of = scenario(
        f"{{quota: {{{quota}}}}}", f"sms: {own}, push: {own}", arrivals="poisson: 5/s", more=f"faults: [{fault}]"
    )
    summary = simulation.run(of, seed=seed, invariants="all").summary
    assert summary["in_flight"] == 0
    live = simulation.run(of, seed=seed, runtime="trio").summary
    assert live == {**summary, "runtime": "trio"}


def test_the_turn_of_a_lane_that_does_not_ask_any_more_is_over_after_once():
    quotas, account = Quotas(), validated(AccountConfig, {"quota": {"rate": "1/s", "kind": "token_bucket"}})
    one, gone = (quotas.limiter(account.quota_of("a")) for _ in range(2))
    assert one.try_acquire("", 0) == 0
    assert one.fits_at("", 1) == gone.fits_at("", 1) == S
    assert [one.fits_at("", S) for _ in range(3)] == [S + 1] * 3  # the other was served longer ago
    assert one.fits_at("", S + 1) == S + 1
    assert one.try_acquire("", S + 1) == S + 1
    assert one.fits_at("", S + 2) == 2 * S + 1


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400_000_000)), max_size=60))
def test_lanes_together_get_what_one_alone_would(asked):
    """Whoever asks and however often: no token is lost by the turns, but for the instant of one."""
    account = validated(AccountConfig, {"quota": {"rate": "3/s", "kind": "token_bucket"}})
    quotas, alone = Quotas(), make_limiter(account.quota_of("a"))
    lanes = [quotas.limiter(account.quota_of("a")) for _ in range(3)]
    now_ns = 0
    for number, after_ns in asked:
        now_ns += after_ns
        fits_at_ns = lanes[number].fits_at("", now_ns)
        assert alone.fits_at("", now_ns) <= fits_at_ns <= alone.fits_at("", now_ns) + 1
        if fits_at_ns == now_ns:
            assert lanes[number].try_acquire("", now_ns) == alone.try_acquire("", now_ns) == now_ns


# ── live ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_live_channels_keep_to_it_together(autojump_clock):
    config = {
        "accounts": {"twilio": {"quota": {"rate": "3/h"}}},
        "channels": {"email": {"quota": {"account": "twilio"}}, "sms": {"quota": {"account": "twilio"}}},
        "drain": 0,
    }
    sent: Counter[NotificationChannel] = Counter()

    def count(event: Any) -> None:
        sent.update([event.channel] if isinstance(event, NotificationSent) else [])

    async with Notifier.open(config, providers=NotificationService(), on_event=count) as notifier:
        for number in range(4):
            await notifier.send(email(f"e{number}"))
            await notifier.send(email(f"s{number}", channel=SMS, recipient="+4670"))
        await trio.sleep(60)
        assert sum(sent.values()) == 3
        assert set(sent) == {EMAIL, SMS}


def test_a_live_channel_names_an_account_that_there_is():
    settings_ = {"accounts": {"a": {"quota": {"rate": "1/s"}}}, "channels": {"sms": {"quota": {"account": "b"}}}}
    with pytest.raises(ConfigurationError) as error:
        validated(NotifierConfig, settings_)
    assert error.value.problems == [
        "channels.sms.quota.account: wanted the name of an account, of which there are: a, got 'b'"
    ]


# ── what is refused, and said ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("account", "channels", "problem"), TABLES["mismatches"])
def test_what_does_not_fit_together_is_said(account, channels, problem):
    with pytest.raises(ConfigurationError) as error:
        scenario(account, channels)
    assert [each.removeprefix("accounts.yaml:") for each in error.value.problems] == [problem]


@pytest.mark.parametrize(("account", "channels", "said"), TABLES["linted"])
def test_the_linter_says_what_has_no_effect_and_what_is_too_much(account, channels, said):
    assert [str(finding) for finding in lint_scenario(scenario(account, channels, more=""))] == said
