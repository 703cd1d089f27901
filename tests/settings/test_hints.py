"""Unknown keys: slips of the pen, and all keys by subjects."""

from typing import Any, get_args

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

import simulation
from actors.errors import ConfigurationError
from actors.service.config import ServiceConfig
from actors.settings.base import Settings, known_keys, validated
from actors.settings.channel import ChannelConfig
from actors.settings.faults import FaultConfig
from actors.settings.hints import distance, listed, nearest
from simulation.scenario import Scenario
from simulation.scenario.workload import ChannelWorkload, ClosedWorkload

TEXT = "duration: 1m\nworkload: [{channel: email, arrivals: {constant: 1/s}}]\n"


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("delivery_time_s.p75", "delivery_time_s has p50, p90, p95, p99, p99_9, and a p75 of at most 10s is "
         "delivered_within(10s) >= 75%"),
        ("p98", "delivery_time_s has p50, p90, p95, p99, p99_9, and a p98 of at most 10s is "
         "delivered_within(10s) >= 98%"),
        ("delivery_time_s.p999", "did you mean delivery_time_s.p99_9?"),
        ("p99", "p99 is delivery_time_s.p99"),
        ("errorRate", "errorRate is sent_fraction; for example an error_rate <= 1% is "
         "sent_fraction >= 99%"),
    ],
)  # fmt: skip
def test_the_words_of_other_metrics_lead_to_those_there_are(metric, said):
    with pytest.raises(ConfigurationError) as caught:
        simulation.parse(f"{TEXT}expect: [{metric} <= 1]")
    assert caught.value.problems[0].partition("; ")[2] == said


def _parts(annotation: Any) -> list[Any]:
    return [part for argument in get_args(annotation) for part in (argument, *_parts(argument))]


def test_large_groups_tell_their_keys_by_subjects():
    models = {Scenario, ServiceConfig, ChannelWorkload, ClosedWorkload}
    _collect(Scenario, models)
    large = [model for model in models if len(model.model_fields) >= 12]
    assert len(large) >= 8
    for model in large:
        told = listed(known_keys(model), model.__name__)
        named = [key for group in told.split("), ") for key in group.partition("(")[2].rstrip(")").split(", ")]
        assert sorted(named) == sorted(known_keys(model)), model.__name__


def _collect(annotation: Any, found: set[type[Settings]]) -> None:
    for part in (annotation, *_parts(annotation)):
        if isinstance(part, type) and issubclass(part, Settings) and (part not in found or part is Scenario):
            found.add(part)
            for below in known_keys(part).values():
                _collect(below, found)


KEYS = sorted({key for model in (ChannelConfig, FaultConfig, Scenario) for key in known_keys(model) if len(key) > 4})


@given(st.sampled_from(KEYS), st.data())
def test_a_key_with_one_slip_is_found(key, data):
    at = data.draw(st.integers(0, len(key) - 2))
    letter = data.draw(st.sampled_from("abcxyz_"))
    slip = data.draw(st.sampled_from([
        key[:at] + key[at + 1:], key[:at] + letter + key[at:], key[:at] + letter + key[at + 1:],
        key[:at] + key[at + 1] + key[at] + key[at + 2:],
    ]))  # fmt: skip
    near = nearest(slip, KEYS)
    assert near is not None
    assert distance(slip, near) <= distance(slip, key) <= 1


@pytest.mark.parametrize(
    ("key", "known"),
    [("p75", "p95"), ("base_delay", "max_delay"), ("failure_rate_threshold", "failure_threshold"), ("level2", "level3"),
     ("max_backoff", "backoff"), ("on", "or"), ("k" * 10_000, "key")],
)  # fmt: skip
def test_what_only_looks_alike_is_not_near(key, known):
    assert nearest(key, [known]) is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("retry.max_attempts", 5, "write it nested: `retry: {max_attempts: 5}`"),
        ("retry.budget.kind", "grpc", "write it nested: `retry: {budget: {kind: grpc}}`"),
        ("retry.budget", {"kind": "grpc"}, "write it nested: `retry: {budget: {kind: grpc}}`"),
        ("retry.per_reason", {"busy" * 100: {}}, "write it nested: `retry: {…}`"),
        ("retry." + "a." * 5_000 + "b", 1, "unknown key; "),
        ("retry..", 1, "unknown key; "),
    ],
    ids=["one", "deep", "mapping", "long", "too-deep", "empty"],
)  # fmt: skip
def test_a_key_with_dots_is_written_nested(key, value, said):
    with pytest.raises(ValidationError) as raised:
        ChannelConfig.model_validate({key: value})
    text = raised.value.errors()[0]["msg"]
    assert said in text
    assert len(text) < 2_000


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"share": "20%", "max_tokens": 30}, "max_tokens is a key of `kind: grpc`; the kind here has kind, share,"),
        (
            {"minConcurrency": 4},
            "minConcurrency is min_concurrency, a key of `kind: envoy`; the kind here has kind, share,",
        ),
        ({"max_tokens": "many"}, "for example max_tokens: 10 is here `max_tokens: 10` and `kind: grpc`"),
    ],
)
def test_a_key_of_another_kind_is_told_with_the_kinds_that_have_it(budget, said):
    with pytest.raises(ConfigurationError) as caught:
        validated(ChannelConfig, {"retry": {"budget": budget}})
    assert said in caught.value.problems[0]
