"""Sections of Microsoft.Extensions.Http.Resilience: medians of Polly's jitter 1.8, 2.3 and 4.0 s after 2 s."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from actors.errors import ConfigurationError
from simulation.importing.policy import Mark, Policy
from simulation.importing.readers.dotnet import time_span
from tests.support.imported import marks, one, read, reason, starts

STANDARD: dict[str, Any] = {"AttemptTimeout": {"Timeout": "00:00:10"}}


THEIRS = {"Orders.options": "standard"}
"""Given: the standard handler reads the section, though it has settings that the handler lacks."""


def section(given: dict[str, str] | None = None, **parts: Any) -> Policy:
    return one("dotnet", json.dumps({"Orders": {**STANDARD, **parts}}), names=["appsettings.json"], given=given)


def channel(policy: Policy) -> dict[str, Any]:
    assert policy.channel is not None
    return dict(policy.channel)


def test_the_standard_handler_by_default() -> None:
    policy = section()
    found = channel(policy)
    assert (found["timeout"], found["deadline"], found["max_in_flight"]["limit"]) == ("10s", "30s", 1000)
    assert (found["retry"]["max_attempts"], found["retry"]["jitter"], found["retry"]["retry_after"]) == (
        4,
        "soft",
        "exactly",
    )
    assert found["circuit_breaker"]["failure_rate"] == "10%"
    assert (found["circuit_breaker"]["minimum_calls"], found["circuit_breaker"]["timeout"]) == (100, "5s")
    latest = [late for _, late in starts(policy)]
    waits = [after - before for before, after in itertools.pairwise(latest)]
    assert waits[0] == pytest.approx(2.75, abs=0.15)


def test_nothing_is_said_of_the_default_of_what_a_template_decides() -> None:
    found = marks(section(Retry={"MaxRetryAttempts": "{{ n }}"}))
    assert found["MaxRetryAttempts"][1] is Mark.CANNOT_BE_SAID
    assert ("Retry.MaxRetryAttempts" in found, "Retry.Delay" in found) == (False, True)


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        ({"BackoffType": "Exponential", "UseJitter": False}, [0, 2, 6, 14]),
        ({"BackoffType": "Linear", "UseJitter": False, "Delay": "00:00:01", "MaxRetryAttempts": 4}, [0, 1, 3, 6, 10]),
        ({"BackoffType": "constant", "UseJitter": "false", "MaxRetryAttempts": "2"}, [0, 2, 4]),
        ({"BackoffType": "Constant", "UseJitter": True, "MaxRetryAttempts": 1, "Delay": "00:00:04"}, [0, 5]),
        ({"UseJitter": False, "MaxDelay": "00:00:03", "MaxRetryAttempts": 3}, [0, 2, 5, 8]),
        ({"BackoffType": "Constant", "Delay": "00:00:08", "MaxDelay": "00:00:02"}, [0, 2, 4, 6]),
    ],
)
def test_waits(retry: dict[str, Any], expected: list[float]) -> None:
    policy = section(Retry=retry, TotalRequestTimeout={"Timeout": "00:05:00"})
    assert [late for _, late in starts(policy)] == [pytest.approx(each) for each in expected]


@pytest.mark.parametrize(
    ("retry", "earliest", "off"),
    [
        ({"BackoffType": "Linear", "MaxDelay": "00:00:03"}, 6, "waits up to 750 ms shorter"),
        ({"BackoffType": "Linear", "MaxDelay": "00:00:06"}, 9, ""),
        ({"BackoffType": "Constant", "MaxDelay": "00:00:01.5"}, 4.5, ""),
        ({"BackoffType": "Constant", "MaxDelay": "00:00:01.6"}, 3.6, "waits up to 300 ms shorter"),
        ({"BackoffType": "Constant", "MaxDelay": "00:00:02"}, 4.5, ""),
    ],
)
def test_a_cut_after_the_jitter_is_said(retry: dict[str, Any], earliest: float, off: str) -> None:
    policy = section(Retry=retry, TotalRequestTimeout={"Timeout": "00:05:00"})
    assert (marks(policy)["MaxDelay"][1], starts(policy)[-1][0]) == (
        Mark.APPROXIMATE if off else Mark.EXACT,
        pytest.approx(earliest),
    )
    assert reason(policy, "MaxDelay").endswith(off)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00:02", 2),
        ("0.00:15", 900),
        ("00:15", 900),
        ("1.02:03:04.5", 93_784.5),
        ("5", 432_000),
        ("2s", None),
        ("24:00:00", None),
        ("00:61:00", None),
    ],
)
def test_time_spans(text: str, seconds: float | None) -> None:
    assert time_span(text) == seconds


@pytest.mark.parametrize(
    "parts",
    [
        {"Retry": {"MaxRetryAttempts": 0}},
        {"Retry": {"Delay": "2s"}},
        {"Retry": {"BackoffType": "Random"}},
        {"CircuitBreaker": {"SamplingDuration": "00:00:19"}},
        {"CircuitBreaker": {"MinimumThroughput": 1}},
        {"TotalRequestTimeout": {"Timeout": "00:00:05"}},
        {"AttemptTimeout": {"Timeout": "5"}},
    ],
)
def test_what_the_client_refuses_is_refused(parts: dict[str, Any]) -> None:
    policy = section(**parts)
    assert policy.channel is None
    assert "refuses it" in "; ".join(each.reason for each in policy.findings)


@pytest.mark.parametrize(
    "parts",
    [
        {"TotalRequestTimeout": "00:01:30"},
        {"TimeoutSeconds": 30},
        {"Timeout": {"Timeout": "00:00:10"}},
        {"Hedging": {"MaxHedgedAttempts": 2}},
        {"Retry": {"MaxRetryAttempts": 3, "BaseDelay": "00:00:01", "UseJitter": True}},
        {"CircuitBreaker": {"FailureThreshold": 5, "SamplingDuration": "00:00:30"}},
    ],
)
def test_whether_other_code_reads_a_section_with_settings_that_the_handler_lacks_is_asked(parts: Any) -> None:
    settings = {"Retry": {"MaxRetryAttempts": 2}, **parts}
    policy = section(**settings)
    assert (policy.channel, [each.name for each in policy.questions]) == (None, ["Orders.options"])
    assert "other code may read this section" in "; ".join(each.reason for each in policy.findings)
    answered = section(THEIRS, **settings)
    assert answered.channel is not None
    assert any(each.mark is Mark.DOES_NOTHING for each in answered.findings)
    assert section(BaseUrl="https://a", Retry={"MaxRetryAttempts": 2}).channel is not None


def test_options_of_a_retry_alone_have_no_time_outs_and_no_breaker() -> None:
    options = {"MaxRetryAttempts": 3, "Delay": "00:00:00.5", "BackoffType": "Linear"}
    asked = one("dotnet", json.dumps({"Shop:RetryOptions": options}), names=["appsettings.json"])
    assert [each.name for each in asked.questions] == ["Shop/RetryOptions.options"]
    text = json.dumps({"RetryOptions": options})
    of = {kind: one("dotnet", text, given={"RetryOptions.options": kind}) for kind in ("http", "polly")}
    assert {kind: starts(each)[-1] for kind, each in of.items()} == {"http": (2.25, 3.75), "polly": (3.0, 3.0)}
    assert [each.channel["retry"]["retry_after"] for each in of.values() if each.channel] == ["exactly", "ignore"]
    drawn = one("dotnet", json.dumps({"RetryOptions": {**options, "UseJitter": True}}))
    assert set(channel(drawn)) == {"retry"}


def test_the_endpoints_of_the_hedging_handler_have_no_retries() -> None:
    hedged = {**STANDARD, "Hedging": {"Delay": "00:00:01"}, "Endpoint": {"CircuitBreaker": {"FailureRatio": 0.3}}}
    found = read("dotnet", json.dumps({"Orders": hedged}), names=["appsettings.json"])
    assert {name: policy.channel for name, policy in found.items()} == {"Orders": None}


def test_unknown_settings_do_nothing_and_names_are_read_in_any_case() -> None:
    policy = section(THEIRS, retry={"maxretryattempts": 7, "MaxAttempts": 9, "delay": "00:00:00.1"})
    assert len(starts(policy)) == 8
    assert marks(policy)["MaxAttempts"][1] is Mark.DOES_NOTHING
    assert "no such setting" in reason(policy, "MaxAttempts")


def test_an_attempt_may_take_as_long_as_all_of_them() -> None:
    found = channel(section(AttemptTimeout={"Timeout": "00:00:11"}, TotalRequestTimeout={"Timeout": "00:00:11"}))
    assert (found["timeout"], found["deadline"]) == ("11s", "11s")


def test_comments_and_last_commas_are_read_and_names_with_colons() -> None:
    text = """{ // of the shop
  "Clients:Orders": {
    "Retry": {"MaxRetryAttempts": 1, "Delay": "00:00:03", "UseJitter": false,}, /* "Retry": {} */
    "AttemptTimeout:Timeout": "00:00:01", // "short"
  },
}"""
    (policy,) = read("dotnet", text, names=["appsettings.json"]).values()
    assert policy.name == "Clients/Orders"
    assert [late for _, late in starts(policy)] == [0, 3]
    assert marks(policy)["Delay"][0] == 3


def test_the_environments_file_goes_above_and_is_asked_for() -> None:
    plain = json.dumps({"A": {"Retry": {"MaxRetryAttempts": 1, "UseJitter": False}}, "B": STANDARD})
    over = json.dumps({"a": {"retry": {"maxRetryAttempts": 2}}})
    names = ["appsettings.json", "appsettings.Production.json"]
    found = read("dotnet", plain, over, names=names)
    assert found["A"].channel is None
    assert [question.name for question in found["A"].questions] == ["environment"]
    assert found["B"].channel is not None
    assert len(starts(read("dotnet", plain, over, names=names, profiles=["Production"])["A"])) == 3
    assert len(starts(read("dotnet", plain, over, names=names, profiles=["Development"])["A"])) == 2


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": 1}, "a": {}, "AttemptTimeout": {"Timeout": 1}}',
        '{"AttemptTimeout": {',
        "/*" * 50_000,
        '{"AttemptTimeout": {"' + r"\"" * 200_000 + "\\",  # each of its quotes could begin a text
        '{"AttemptTimeout": {' + '"Timeout": 1,' * 50_000,
    ],
)
def test_what_is_no_json_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"appsettings.json:\d+"):
        read("dotnet", text, names=["appsettings.json"])
