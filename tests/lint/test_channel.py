"""Every rule of the linter: what it says word for word, and the nearest settings of which it says nothing."""

import re
import subprocess
import sys

import pytest
from beside import tables
from each_row import check_each
from hypothesis import given, strategies as st

from actors.lint.channel import lint
from actors.lint.findings import Finding, Said
from actors.lint.traffic import Traffic, most_under
from actors.settings.channel import ChannelConfig

TABLES = tables(__file__)
OFF = {"enabled": False}


def said(settings, *, users=None, **known):
    config = ChannelConfig.model_validate(settings)
    if users is not None and known["per_s"] is not None:
        known["per_user_per_s"] = known["per_s"] / users
    if users is not None and config.rate_limit is not None:
        known["let_through_in"] = lambda stretch_s: users * most_under(config.rate_limit, stretch_s)
    if "most_in" in known or "most_per_s" in known:
        most, most_per_s = known.pop("most_in", 0), known.pop("most_per_s", 0)
        known["most_in"] = lambda width_s: most + most_per_s * width_s
    findings = lint("email", config, Traffic(**known))
    assert all(finding.path[:2] == ("channels", "email") for finding in findings)
    return [str(finding).removeprefix("channels.email.") for finding in findings]


def test_what_it_says():
    def check(row):
        settings, traffic, text = row
        assert said(settings, **traffic) == [text]

    check_each(((row[2], row) for row in TABLES["says"]), check)


def test_what_it_says_nothing_of():
    def check(row):
        settings, traffic = row
        assert said(settings, **traffic) == []

    check_each(((str(row), row) for row in TABLES["silent"]), check)


@pytest.mark.parametrize(
    ("budget", "is_one"), [({"share": 0.1}, True), ({"share": 0.1, "kind": "finagle"}, False), (None, False)]
)
def test_a_budget_whose_floor_is_above_its_share_bounds_no_storm(budget, is_one):
    overloaded = {"circuit_breaker": OFF, "retry": {"budget": budget}, "provider": {"capacity": 10, "latency": 0.25}}
    rules = [found.rule for found in lint("email", ChannelConfig(**overloaded), Traffic(per_s=20))]
    assert ("retries-overload-provider" in rules) is not is_one
    assert ("budget-floor-above-share" in rules) is (budget is not None and not is_one)


@pytest.mark.parametrize("shape", [0.5, 1, 4])
def test_who_gives_up_sooner_frees_slots_and_no_places(shape):
    settings = {
        "timeout": 3,
        "max_in_flight": 1,
        "provider": {"latency": {"gamma": {"mean": 5, "shape": shape}}, "capacity": 2},
    }
    texts = dict(text.split(": ", 1) for text in said(settings, per_s=1))
    assert texts["provider.capacity"] == (
        "2 places at a mean latency of 5s serve 24/min, and 1/s arrive: the queue grows by 36 a minute"
    )
    before = float(re.match(r"1 slot at a mean latency of ([\d.]+)s lets through", texts["max_in_flight"])[1])
    assert before < 3


@pytest.mark.parametrize(
    ("breaker", "fail"),
    [
        ({"per": "channel", "failure_threshold": 6}, "6 failures in a row"),
        ({"per": "channel", "window": {"calls": 20}, "failure_rate": 0.5}, "failures of 50% of the calls"),
        ({"per": "host"}, None),
        ({"per": "channel", "enabled": False}, None),
        ({"per": "channel", "initial_state": "metrics-only"}, None),
        ({}, None),
    ],
)
def test_a_breaker_for_all_hosts_is_said_of_webhooks(breaker, fail):
    config = ChannelConfig.model_validate({"circuit_breaker": breaker})
    text = (
        "channels.webhook.circuit_breaker.per: channel, where each recipient chooses a host: "
        f"{fail} at one of them stop all others for 60s"
    )
    texts = [] if fail is None else [text]
    assert [str(finding) for finding in lint("webhook", config)] == texts
    assert lint("push", config) == []
    by_web_push = [str(finding) for finding in lint("push", config, Traffic(chooses_hosts=True))]
    assert by_web_push == [text.replace("webhook", "push") for text in texts]


def test_a_further_provider_may_be_the_one_that_says_so():
    config = ChannelConfig.model_validate({"failover": {"b": {"circuit_breaker": {"per": "channel", "timeout": 45}}}})
    assert [str(finding) for finding in lint("webhook", config)] == [
        "channels.webhook.failover.b.circuit_breaker.per: channel, where each recipient chooses a host: 5 failures in "
        "a row at one of them stop all others for 45s"
    ]


def test_a_finding_is_its_path_and_its_text():
    assert (
        str(Finding(("channels", "sms", "timeout"), "too-short", Said("is short"))) == "channels.sms.timeout: is short"
    )


DURATIONS = st.floats(1e-9, 1e9)


@given(
    retry=st.fixed_dictionaries(
        {
            "max_attempts": st.integers(1, 10**9),
            "initial_delay": DURATIONS,
            "jitter": st.sampled_from(["none", "full", "equal", "decorrelated", "proportional", "additive", "soft"]),
        },
        optional={
            "max_elapsed": DURATIONS,
            "budget": st.sampled_from([{"kind": kind} for kind in ("grpc", "aws", "finagle", "envoy", "token_bucket")]),
        },
    ),
    breaker=st.fixed_dictionaries(
        {"when_open": st.sampled_from(["wait", "fail"])},
        optional={"timeout": DURATIONS, "window": st.builds(lambda width: {"time": width}, DURATIONS)},
    ),
    timeout=DURATIONS,
    failure_rate=st.floats(0, 1),
    latency=st.one_of(
        DURATIONS,
        st.builds(
            lambda minimum, alpha: {"pareto": {"minimum": minimum, "alpha": alpha}}, DURATIONS, st.floats(0.01, 9)
        ),
        st.builds(lambda mean, shape: {"gamma": {"mean": mean, "shape": shape}}, DURATIONS, st.floats(0.01, 1e9)),
        st.builds(lambda low, times: {"lognormal": {"median": low, "p99": low * times}}, DURATIONS, st.floats(1, 1e9)),
    ),
    others=st.fixed_dictionaries(
        {},
        optional={
            "hedging": st.builds(lambda delay: {"delay": delay}, DURATIONS),
            "adaptive_rate": st.just({"maximum_rate": "3/s"}),
            "concurrency_limit": st.just({"maximum": 20}),
            "fallback": st.builds(lambda after: {"channel": "sms", "after": after}, DURATIONS),
            "failover": st.sampled_from([{"b": {}}, {"b": {"quota": None}, "c": {"timeout": 3, "max_in_flight": 1}}]),
        },
    ),
    per_s=st.none() | st.floats(1e-12, 1e9),
    lasts_s=st.none() | DURATIONS,
    expires_after=st.none() | DURATIONS,
)
def test_whatever_the_settings_it_ends_and_says_something_readable(
    retry, breaker, timeout, failure_rate, latency, others, per_s, lasts_s, expires_after
):
    settings = {
        "retry": retry,
        "circuit_breaker": breaker,
        "timeout": timeout,
        "max_in_flight": 7,
        "rate_limit": {"rate": "1/s"},
        "quota": {"rate": "5/min"},
        "provider": {"latency": latency, "failure_rate": failure_rate, "capacity": 5},
        **others,
    }
    traffic = {"per_s": per_s, "users": 3, "lasts_s": lasts_s, "expires_after": expires_after}
    for text in said(settings, **traffic):
        assert len(text) < 400
        assert not {"nan", "inf", "None", "e+"} & set(text.replace(",", " ").split())


@pytest.mark.integration
def test_importing_it_is_light():
    heavy = ("pydantic", "trio", "pandas")
    code = f"import sys, actors.lint.channel; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
