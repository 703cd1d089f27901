"""gRPC's service configuration: waits min(initial · multiplier^(n - 1), maximum) · U(0.8, 1.2), measured with 1.85."""

from __future__ import annotations

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import Phase, given, settings, strategies as st

from actors.errors import ConfigurationError
from simulation.importing.policy import Mark, Policy
from tests.support import effort
from tests.support.imported import marks, read, reason, starts

RETRY: dict[str, Any] = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "0.3s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def policies(*configs: Any, name: str = "service_config.json", **others: Any) -> dict[str, Policy]:
    return read("grpc", json.dumps({"methodConfig": configs, **others}, indent=1), names=[name])


def method(service: str = "a.B", **settings: Any) -> dict[str, Any]:
    return {"name": [{"service": service}], **settings}


def retried(**changes: Any) -> Policy:
    retry = {key: value for key, value in {**RETRY, **changes}.items() if value is not None}
    return policies(method(retryPolicy=retry))["a.B"]


def test_the_maximum_is_before_the_jitter() -> None:
    found = starts(retried())
    assert found == [pytest.approx(each) for each in [(0, 0), (0.08, 0.12), (0.24, 0.36), (0.48, 0.72)]]


@given(
    attempts=st.integers(2, 9),
    initial=st.integers(1, 3000),
    longest=st.integers(1, 3000),
    multiplier=st.floats(0.4, 4).map(lambda number: round(number, 2)),
)
@settings(max_examples=effort.examples(200), phases=(Phase.explicit, Phase.generate))
def test_starts_lie_where_the_client_makes_them(attempts: int, initial: int, longest: int, multiplier: float) -> None:
    policy = retried(
        maxAttempts=attempts,
        initialBackoff=f"{initial / 1000}s",
        maxBackoff=f"{longest / 1000}s",
        backoffMultiplier=multiplier,
    )
    waits = [min(initial * multiplier**place, longest) / 1000 for place in range(min(attempts, 5) - 1)]
    expected = [(0.8 * sum(waits[:place]), 1.2 * sum(waits[:place])) for place in range(len(waits) + 1)]
    assert [tuple(each) for each in starts(policy)] == [pytest.approx(each, rel=0.01, abs=1e-6) for each in expected]


def test_the_most_exact_name_is_a_policy_of_its_own() -> None:
    found = policies(
        method(retryPolicy=RETRY, timeout="2s"),
        {"name": [{"service": "a.B", "method": "Get"}, {"service": "a.C"}], "timeout": "1s"},
        {"name": [{}], "retryPolicy": {**RETRY, "maxAttempts": 2}},
    )
    assert {name: len(starts(policy)) for name, policy in found.items()} == {"a.B": 4, "a.B/Get": 1, "all methods": 2}
    assert "a.C" in found["a.B/Get"].notes[0]


def test_throttling_is_of_the_server() -> None:
    found = policies(method(retryPolicy=RETRY), retryThrottling={"maxTokens": 10, "tokenRatio": 0.1234})["a.B"]
    assert found.channel is not None
    assert found.channel["retry"]["budget"] == {"kind": "grpc", "max_tokens": 10, "token_ratio": 0.123}


def test_a_generators_file_has_no_limit_but_the_time_out() -> None:
    retry = {key: value for key, value in RETRY.items() if key != "maxAttempts"}
    name = "orders_grpc_service_config.json"
    policy = policies(method(retryPolicy=retry, timeout="60s"), name=name)["a.B"]
    assert policy.channel is not None
    assert (policy.channel["deadline"], policy.channel["retry"]["jitter"]) == ("1m", "full")
    assert starts(policy)[:4] == [pytest.approx(each) for each in [(0, 0), (0, 0.1), (0, 0.3), (0, 0.6)]]
    assert marks(policy)["maxAttempts"] == (0, Mark.EXACT)
    assert policies(method(retryPolicy=retry), name=name)["a.B"].channel is None
    text = json.dumps({"methodConfig": [method(retryPolicy=RETRY, timeout="60s")]})
    by_name = {
        given: read("grpc", text, names=[name], given={"client": given})["a.B"] for given in ("grpc", "generated")
    }
    assert (len(starts(by_name["grpc"])), starts(by_name["generated"])[1]) == (4, pytest.approx((0, 0.1)))
    assert marks(by_name["generated"])["maxAttempts"][1] is Mark.EXACT


@pytest.mark.parametrize(
    ("codes", "kinds", "mark"),
    [
        (["UNAVAILABLE"], ["connection", "lost_reply", "transient"], Mark.EXACT),
        (["RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"], ["throttled", "timeout"], Mark.EXACT),
        (["ABORTED"], ["transient"], Mark.APPROXIMATE),
        (["UNAVAILABLE", "NOT_FOUND"], ["connection", "lost_reply", "transient"], Mark.APPROXIMATE),
    ],
)
def test_status_codes_are_kinds_of_failures(codes: list[str], kinds: list[str], mark: Mark) -> None:
    policy = retried(retryableStatusCodes=codes)
    assert policy.channel is not None
    assert policy.channel["retry"]["on"] == kinds
    assert marks(policy)["retryableStatusCodes"][1] is mark


@pytest.mark.parametrize(
    "changes",
    [
        {"maxAttempts": 1},
        {"initialBackoff": ".s"},
        {"retryableStatusCodes": ["14"]},
        {"retryableStatusCodes": [17]},
        {"initialBackoff": "100ms"},
        {"maxBackoff": "0s"},
        {"backoffMultiplier": 0},
        {"retryableStatusCodes": []},
        {"retryableStatusCodes": ["unavailable"]},
        {"initialBackoff": None},
    ],
)
def test_one_wrong_value_makes_the_client_refuse_the_whole_file(changes: dict[str, Any]) -> None:
    retry = {key: value for key, value in {**RETRY, **changes}.items() if value is not None}
    found = policies(method(retryPolicy=retry), method("a.C", retryPolicy=RETRY))
    assert [policy.channel for policy in found.values()] == [None, None]
    assert "refuses the whole file" in "; ".join(each.reason for each in found["a.B"].findings)
    assert "refuses the whole file" in "; ".join(each.reason for each in found["a.C"].findings)


@pytest.mark.parametrize(
    ("change", "text", "says"),
    [
        (("0.1s", ".1s"), "initialBackoff", "grpc-go takes it; the C core and Java refuse the file"),
        (("0.1s", "0.1s"), "MaxAttempts", "grpc-go takes the key; the C core and Java know maxAttempts alone"),
        (('"UNAVAILABLE"', "14"), "retryableStatusCodes", "Go and Java take numbers; the C core wants names"),
    ],
)
def test_what_some_clients_take_alone_names_them(change: tuple[str, str], text: str, says: str) -> None:
    written = json.dumps({"methodConfig": [method(retryPolicy=RETRY)]}).replace(*change)
    policy = read("grpc", written.replace(text[0].lower() + text[1:], text), names=["a.json"])["a.B"]
    assert (starts(policy), policy.channel) == (starts(retried()), retried().channel)
    assert (marks(policy)[text][1], says in reason(policy, text)) == (Mark.APPROXIMATE, True)


def test_hedging_and_waiting_for_a_connection_cannot_be_said() -> None:
    hedging = {"maxAttempts": 3, "hedgingDelay": "0.5s"}
    policy = policies(method(hedgingPolicy=hedging, waitForReady=True))["a.B"]
    assert len(starts(policy)) == 1
    assert {marks(policy)[key][1] for key in ("hedgingDelay", "waitForReady")} == {Mark.CANNOT_BE_SAID}
    assert "ignores hedging" in reason(policy, "hedgingDelay")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"methodConfig": [{"name": [{}], "name": [{}]}]}', "duplicate key"),
        ('{"methodConfig": [\n{"name": [{}]}\n{}]}', ":3:1: not JSON"),
        ('{"methodConfig": ' + "[" * 100_000, "not JSON"),
        ("{'methodConfig': []}", ":1:2: not JSON"),
    ],
)
def test_what_is_no_json_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read("grpc", text, names=["a.json"])
    assert says in str(error.value)


def test_a_configuration_inside_a_text_is_refused_with_its_line() -> None:
    text = 'kind: ConfigMap\ndata:\n  config.json: |\n    {"methodConfig": [{"name": [{}]}]}\n'
    (policy,) = read("grpc", text).values()
    assert policy.channel is None
    assert [finding.line for finding in policy.findings] == [4]


def by_grpc(config: dict[str, Any], status: str = "UNAVAILABLE", pushback: str = "") -> list[float]:
    """Return when a server of gRPC got the attempts of a call that always fails, in seconds after the first."""
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed; it judges the attempts of a client")
    got: list[tuple[float, str]] = []

    def fail(request: bytes, context: Any) -> bytes:
        before = dict(context.invocation_metadata()).get("grpc-previous-rpc-attempts", "0")
        got.append((time.monotonic(), before))
        if pushback:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback),))
        context.abort(getattr(grpc.StatusCode, status), "always")

    handler = grpc.method_handlers_generic_handler("a.B", {"Call": grpc.unary_unary_rpc_method_handler(fail)})
    server = grpc.server(ThreadPoolExecutor(1), handlers=(handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    options = [("grpc.service_config", json.dumps(config))]
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary("/a.B/Call")(b"", wait_for_ready=True, timeout=60)
    finally:
        server.stop(None).wait()
    assert [before for _, before in got] == [str(place) for place in range(len(got))]
    return [at - got[0][0] for at, _ in got]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "UNAVAILABLE"),
        ({"maxAttempts": 9, "initialBackoff": "0.01s", "maxBackoff": "0.02s"}, "UNAVAILABLE"),
        ({"maxAttempts": 2, "initialBackoff": "0.2s", "backoffMultiplier": 0.5}, "UNAVAILABLE"),
        ({"retryableStatusCodes": ["UNAVAILABLE", "ABORTED"], "maxBackoff": "0.05s"}, "ABORTED"),
    ],
)
def test_attempts_are_as_many_as_a_client_of_grpc_makes_and_none_is_earlier(
    changes: dict[str, Any], status: str
) -> None:
    theirs = by_grpc({"methodConfig": [method(retryPolicy={**RETRY, **changes})]}, status)
    ours = starts(retried(**changes))
    assert len(theirs) == len(ours)
    gaps = [later - earlier for earlier, later in itertools.pairwise(theirs)]
    least = [after - before for before, after in itertools.pairwise(early for early, _ in ours)]
    assert all(gap >= wait - 0.002 for gap, wait in zip(gaps, least, strict=True)), (gaps, least)


@pytest.mark.slow
def test_a_client_of_grpc_heeds_pushback_and_throttling_and_the_most_exact_name() -> None:
    policy = method(retryPolicy=RETRY)
    assert retried().channel is not None
    assert dict(retried().channel or {})["retry"]["retry_after"] == "pushback"
    assert len(by_grpc({"methodConfig": [policy]}, pushback="-1")) == 1
    assert len(by_grpc({"methodConfig": [policy]}, "DATA_LOSS")) == 1
    throttled = {"methodConfig": [policy], "retryThrottling": {"maxTokens": 2, "tokenRatio": 0.1}}
    assert len(by_grpc(throttled)) == 1
    budget = dict(policies(policy, retryThrottling=throttled["retryThrottling"])["a.B"].channel or {})["retry"][
        "budget"
    ]
    assert budget == {"kind": "grpc", "max_tokens": 2, "token_ratio": 0.1}
    exact = {"name": [{"service": "a.B", "method": "Call"}]}
    assert len(by_grpc({"methodConfig": [policy, exact]})) == 1
    assert len(starts(policies(policy, exact)["a.B/Call"])) == 1
