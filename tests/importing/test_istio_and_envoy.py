"""Retries, time-outs and limits of Istio and Envoy; the waits are U(0, 25 ms · 2^(n - 1)), at most ten bases."""

from __future__ import annotations

from typing import Any

import pytest

from actors.errors import ConfigurationError
from simulation.importing.channels import channel_names
from simulation.importing.policy import Mark, Policy
from simulation.importing.source import KINDS, SourceFile
from tests.support.imported import marks, one, read, reason, starts

SHOP = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec: {{hosts: [shop], http: [{{route: [{{destination: {{host: shop}}}}], {route}}}]}}
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop}}
spec: {{host: shop.default.svc.cluster.local, trafficPolicy: {{{rule}}}}}
"""


def istio(route: str, rule: str = "", **arguments: Any) -> Policy:
    text = SHOP.format(route=route) + (f"---{RULE.format(rule=rule)}" if rule else "")
    return one("istio", text, **arguments)


def envoy(route: str, cluster: str = "", host: str = "", **arguments: Any) -> Policy:
    text = f"""
static_resources:
  listeners:
  - filter_chains:
    - filters:
      - typed_config:
          route_config:
            virtual_hosts: [{{name: web, {host} routes: [{{match: {{prefix: /}}, route: {{cluster: c, {route}}}}}]}}]
  clusters: [{{name: c, lb_policy: RANDOM, {cluster}}}]
"""
    return one("envoy", text, **arguments)


def channel(policy: Policy) -> dict[str, Any]:
    assert policy.channel is not None
    return dict(policy.channel)


def upper(policy: Policy) -> list[float]:
    assert all(early == 0 for early, _ in starts(policy))
    return [round(late, 3) for _, late in starts(policy)]


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("timeout: 5s", [0, 0.025, 0.075]),
        ("retries: {attempts: 3}", [0, 0.025, 0.075, 0.175]),
        ("retries: {attempts: 6, backoff: 100ms, retryOn: 5xx}", [0, 0.1, 0.3, 0.7, 1.5, 2.5, 3.5]),
        ("retries: {attempts: 0}", [0]),
        ("retries: {perTryTimeout: 2s, retryOn: 5xx}", [0]),
    ],
)
def test_attempts_of_istio(route: str, expected: list[float]) -> None:
    assert upper(istio(route)) == expected


def test_istio_tries_no_503_again_by_default_but_did_before_1_24() -> None:
    assert channel(istio("timeout: 5s"))["retry"]["on"] == ["connection"]
    assert channel(istio("timeout: 5s", versions={"istio": "1.23"}))["retry"]["on"] == ["connection", "transient"]
    on = istio("retries: {attempts: 2, retryOn: '503,429, retriable-4xx'}")
    assert channel(on)["retry"]["on"] == ["throttled", "transient"]
    assert marks(on)["retryOn"][1] is Mark.APPROXIMATE


@pytest.mark.parametrize("attempts", ["attempts: 0", "attempts: null"])
def test_without_attempts_no_time_out_of_a_try_and_no_reason_acts(attempts: str) -> None:
    policy = istio(f"timeout: 3s, retries: {{{attempts}, perTryTimeout: 2s, retryOn: 5xx}}")
    assert (channel(policy)["deadline"], channel(policy).get("timeout"), upper(policy)) == ("3s", None, [0])
    assert {marks(policy)[key][1] for key in ("perTryTimeout", "retryOn")} == {Mark.DOES_NOTHING}


def test_a_longer_time_out_of_a_try_never_acts() -> None:
    for policy in (
        istio("timeout: 2s, retries: {attempts: 2, retryOn: 5xx, perTryTimeout: 3s}"),
        envoy("timeout: 2s, retry_policy: {retry_on: 5xx, num_retries: 2, per_try_timeout: 3s}"),
    ):
        assert (channel(policy)["deadline"], channel(policy).get("timeout")) == ("2s", None)
        assert Mark.DOES_NOTHING in {mark for key, (_, mark) in marks(policy).items() if "er" in key and "ry" in key}


def test_pools_and_ejection_of_a_rule() -> None:
    ejection = "outlierDetection: {consecutiveErrors: 3, interval: 5s, baseEjection: 1m}"
    policy = istio("timeout: 5s", f"connectionPool: {{http: {{maxRetries: 7}}}}, {ejection}")
    assert channel(policy)["retry"]["budget"] == {"kind": "envoy", "share": "0%", "min_concurrency": 7}
    found = {key: mark for key, (_, mark) in marks(policy).items()}
    assert (found["consecutiveErrors"], found["interval"], found["baseEjection"]) == (
        Mark.DOES_NOTHING,
        Mark.CANNOT_BE_SAID,
        Mark.DOES_NOTHING,
    )
    assert "baseEjectionTime" in reason(policy, "baseEjection")
    assert "fewer than 10 hosts nobody is put out" in policy.notes[-1]
    assert "circuit_breaker" not in channel(policy)


@pytest.mark.parametrize(
    ("route", "cluster", "expected"),
    [
        ("timeout: 3s", "", [0]),
        ("retry_policy: {num_retries: 5}", "", [0]),
        ("retry_policy: {retry_on: 5xx}", "", [0, 0.025]),
        ("retryPolicy: {retryOn: 5xx, numRetries: 3}", "", [0, 0.025, 0.075, 0.175]),
        (
            "retry_policy: {retry_on: 5xx, num_retries: 5, retry_back_off: {base_interval: 0.1s, max_interval: 0.2s}}",
            "",
            [0, 0.1, 0.3, 0.5, 0.7, 0.9],
        ),
        (
            "retry_policy: {retry_on: 5xx, num_retries: 5, retry_back_off: {base_interval: 0.0002s}}",
            "",
            [0, 0.001, 0.003, 0.007, 0.015, 0.025],
        ),
    ],
)
def test_attempts_of_envoy(route: str, cluster: str, expected: list[float]) -> None:
    assert upper(envoy(route, cluster)) == expected


@pytest.mark.parametrize(
    ("words", "codes", "mark", "why"),
    [
        ("retriable-status-codes", "", Mark.DOES_NOTHING, "does nothing without a code"),
        ("5xx,retriable-status-codes", "", Mark.EXACT, "does nothing without a code"),
        ("retriable-status-codes", ", retriable_status_codes: [503]", Mark.APPROXIMATE, "of answers only 503"),
        ("5XX", "", Mark.DOES_NOTHING, "'5XX' is no reason that Envoy knows"),
        ("retriable-4xx,5XX", "", Mark.CANNOT_BE_SAID, "here it is permanent; '5XX' is no reason"),
    ],
)
def test_reasons_that_lead_to_nothing(words: str, codes: str, mark: Mark, why: str) -> None:
    policy = envoy(f"retry_policy: {{retry_on: '{words}', num_retries: 2{codes}}}")
    assert (marks(policy)["retry_on"][1], why in reason(policy, "retry_on")) == (mark, True)
    assert len(starts(policy)) == (3 if mark in (Mark.EXACT, Mark.APPROXIMATE) else 1)


def test_which_of_several_rules_for_a_host_holds_is_not_guessed() -> None:
    def second(spec: str) -> Policy:
        rule = f"apiVersion: networking.istio.io/v1\nkind: DestinationRule\nspec: {spec}"
        texts = (SHOP.format(route="timeout: 2s"), RULE.format(rule="connectionPool: {http: {http2MaxRequests: 7}}"))
        return one("istio", "---".join([*texts, f"\n{rule}"]))

    found = second("{host: shop, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 9}}}}")
    assert found.channel is None
    assert "of 2 rules for shop Istio takes the oldest" in reason(found, "trafficPolicy")
    assert channel(second("{host: shop, subsets: []}"))["max_in_flight"]["limit"] == 7
    same = "{host: shop.default.svc.cluster.local, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 7}}}}"
    assert channel(second(same))["max_in_flight"]["limit"] == 7


def test_a_cluster_is_of_the_routes_own_file_or_of_the_only_one() -> None:
    retried = "{match: {prefix: /}, route: {cluster: c, retry_policy: {retry_on: 5xx}}}"
    route = f"virtual_hosts: [{{name: a, routes: [{retried}]}}]"
    limits = "clusters: [{name: c, circuit_breakers: {thresholds: [{max_retries: 5}]}}]"
    clusters = [limits, limits.replace("5", "9")]

    def bound(*texts: str) -> Any:
        found = read("envoy", *texts)["a /"]
        return found.channel and found.channel["retry"]["budget"]["min_concurrency"]

    assert bound(f"{route}\n{clusters[0]}", clusters[1]) == 5
    assert bound(route, clusters[1]) == bound(route, clusters[1], clusters[1]) == 9
    assert bound(route, *clusters) is None


def test_routes_as_a_control_plane_writes_them() -> None:
    text = """- name: orders
  virtualHosts:
  - name: web
    routes:
    - match: {prefix: /}
      route: {cluster: c, retryPolicy: {retryOn: reset, numRetries: 2, retryBackOff: {baseInterval: 0.200s}}}
"""
    assert KINDS["envoy"].recognises(SourceFile("routes.yaml", text))
    assert upper(one("envoy", text)) == [0, 0.2, 0.6]


def test_limits_of_envoys_cluster() -> None:
    retried = "retry_policy: {retry_on: 5xx, num_retries: 2}"
    assert channel(envoy(retried))["retry"]["budget"]["min_concurrency"] == 3
    assert channel(envoy(retried))["deadline"] == "15s"
    budget = "circuit_breakers: {thresholds: [{max_retries: 9, retry_budget: {budget_percent: {value: 30}}}]}"
    policy = envoy(retried, budget)
    assert channel(policy)["retry"]["budget"] == {"kind": "envoy", "share": "30%", "min_concurrency": 3}
    assert marks(policy)["max_retries"][1] is Mark.DOES_NOTHING
    of_host = envoy("timeout: 3s", host="retry_policy: {retry_on: reset, num_retries: 4},")
    assert len(starts(of_host)) == 5
    assert "timeout" not in channel(of_host)


def test_words_of_retry_on_are_kinds_of_failures() -> None:
    def on(words: str) -> Any:
        return channel(envoy(f"retry_policy: {{retry_on: '{words}', num_retries: 1, retriable_status_codes: [429]}}"))[
            "retry"
        ].get("on")

    assert on("5xx") == ["connection", "lost_reply", "timeout", "transient"]
    assert on("reset") == ["connection", "lost_reply", "timeout"]
    assert on("connect-failure,retriable-status-codes") == ["connection", "throttled"]
    assert on("retriable-headers") is None
    policy = envoy("retry_policy: {retry_on: gateway-error, num_retries: 1}")
    assert "not 500" in reason(policy, "retry_on")


@pytest.mark.parametrize(
    "policy",
    [
        lambda: envoy("timeout: 250ms, retry_policy: {retry_on: 5xx}"),
        lambda: envoy("retry_policy: {retry_on: 5xx, num_retry: 3}"),
        lambda: istio("timeout: 5"),
        lambda: istio("retries: {attempts: many}"),
        lambda: envoy("retry_policy: {retry_on: 5xx, retry_back_off: {base_interval: 1s, max_interval: 0.5s}}"),
    ],
)
def test_what_the_proxy_refuses_is_refused(policy: Any) -> None:
    found = policy()
    assert found.channel is None
    assert any(each.mark is Mark.CANNOT_BE_SAID and each.line for each in found.findings)


def test_templates_are_asked_for_and_branches_are_refused() -> None:
    asked = istio("timeout: {{ .Values.timeout }}, retries: {attempts: {{ $n | default 3 }}}")
    assert [question.name for question in asked.questions] == ["Values.timeout", "shop.attempts"]
    answered = istio("timeout: {{ .Values.timeout }}", given={"Values.timeout": "4s"})
    assert channel(answered)["deadline"] == "4s"
    text = """{{- if .Values.istio.enabled }}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  labels:
    {{- include "labels" . | nindent 4 }}
  name: {{ .Values.name }}
spec:
  http:
  - route: [{destination: {host: a}}]
    retries: {attempts: 4}
{{- end }}
"""
    assert len(starts(one("istio", text))) == 5
    branched = text.replace("    retries:", "    {{- if .Values.retries }}\n    retries:")
    assert one("istio", branched).channel is None


def test_routes_of_one_name_in_two_files_are_two_channels() -> None:
    names = channel_names([Policy("orders/2", "istio", {}, ())] * 3)
    assert (len(set(names)), names[0]) == (3, "orders-2")


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec: &a {http: *a}",
        "---\napiVersion: networking.istio.io/v1\n" * 20_000,
        "apiVersion: networking.istio.io/v1\n" + "{{ a }} b\n" * 5_000 + "{{ " * 20_000,
        "apiVersion: networking.istio.io/v1\n" + "".join(f"k{number}: 1\n" for number in range(200_000)),
        "apiVersion: networking.istio.io/v1\na: " + "{a: " * 5_000,
    ],
)
def test_hostile_files_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"file0.yaml:\d+"):
        read("istio", text)
