"""Unknown keys: the words of other libraries, slips of the pen, and all keys by subjects."""

from __future__ import annotations

from functools import reduce
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given, strategies as st
from pydantic import BaseModel, TypeAdapter

import simulation
from actors.errors import ConfigurationError
from actors.service.config import ServiceConfig
from actors.settings.base import Settings, known_keys
from actors.settings.channel import ChannelConfig
from actors.settings.faults import FaultConfig
from actors.settings.hints import distance, listed, nearest, plain, translated, words
from actors.settings.quantities import FROM_FILE
from actors.settings.retry import RetryConfig
from simulation.scenario import Scenario
from simulation.scenario.metrics import Outline, summary_shape
from simulation.scenario.workload import ChannelWorkload, ClosedWorkload

RETRY, BREAKER, CHANNEL = "channels.email.retry", "channels.email.circuit_breaker", "channels.email"
TEXT = "duration: 1m\nworkload: [{channel: email, arrivals: {constant: 1/s}}]\n"


def problem(at: str, line: str) -> str:
    """What is said of one more line, in the settings at a path."""
    text = TEXT + "".join(f"{'  ' * deep}{key}:\n" for deep, key in enumerate(at.split("."))) + "  " * 3 + line
    with pytest.raises(ConfigurationError) as caught:
        simulation.parse(text)
    (only,) = caught.value.problems
    return only.partition(": unknown key; ")[2] or only


@pytest.mark.parametrize(
    ("at", "line", "said"),
    [
        (BREAKER, "failure_rate_threshold: 40", "failure_rate_threshold: 40 is failure_rate: 40%, with a window, such "
         "as "
         "{calls: 100} or {time: 30s}; failure_threshold is failures in a row"),
        (BREAKER, "failure-rate-threshold: 40%", "failure-rate-threshold: 40% is failure_rate: 40%, with a window, "
         "such "
         "as {calls: 100} or {time: 30s}; failure_threshold is failures in a row"),
        (RETRY, "base_delay: 250ms", "base_delay: 250ms is initial_delay: 250ms"),
        (RETRY, "max_retries: 5", "max_retries: 5 is max_attempts: 6, which counts the first attempt too"),
        (RETRY, "maxRetries: many", "maxRetries: 3 is max_attempts: 4, which counts the first attempt too"),
        (CHANNEL, "maxRetries: 0", "maxRetries: 0 is retry.max_attempts: 1, which counts the first attempt too"),
        (RETRY, "MaxRetryAttempts: 3", "MaxRetryAttempts: 3 is max_attempts: 3, the first attempt counted in both (as "
         "in "
         "resilience4j); or MaxRetryAttempts: 3 is max_attempts: 4, which counts the first attempt too (as in Polly)"),
        (RETRY, "max_backoff: 30s", "max_backoff: 30s is max_delay: 30s"),
        (BREAKER, "fail_max: 5", "fail_max: 5 is failure_threshold: 5, failures in a row"),
        (BREAKER, "half_open_max_calls: 3", "half_open_max_calls: 3 is half_open_permits: 3"),
        (BREAKER, "resetTimeout: 30000", "resetTimeout: 30000 is timeout: 30000s (as in pybreaker); or resetTimeout: "
         "30000 is timeout: 30s (as in Spring Retry and opossum)"),
        (BREAKER, "resetTimeout: 30s", "resetTimeout: 30s is timeout: 30s"),
        (BREAKER, "failureRatio: 0.1", "failureRatio: 0.1 is failure_rate: 10%, with a window, such as {time: 30s}"),
        (RETRY, "retryableStatusCodes: [UNAVAILABLE]", "there is no such key: what may succeed later is retried, what "
         "is "
         "permanent is not; per_outcome and per_reason of the retry make exceptions"),
        (RETRY, "attempts: 3", "attempts: 3 is max_attempts: 3 (as in BullMQ and stamina); or attempts: 3 is "
         "max_attempts: 4, which counts the first attempt too (as in Istio)"),
        (BREAKER, "max_retries: 5", "max_retries: 5 is retry.budget: {kind: envoy, min_concurrency: 5, share: 0%} of "
         "the "
         "channel, so many retries at once; how many there are for each is retry.max_attempts"),
        (RETRY, "max_retires: 5", "max_retries: 5 is max_attempts: 6, which counts the first attempt too"),
        (CHANNEL, "circuitBreaker.requestVolumeThreshold: 20",
         "circuitBreaker.requestVolumeThreshold: 20 is circuit_breaker.minimum_calls: 20, with a window"),
        (CHANNEL, "ttl: 60", "ttl: 60 is expires_after: 60s of an entry of the workload"),
        (RETRY, "backoff: {type: fixed, delay: 1000}", "scenario.yaml:6:16: channels.email.retry.backoff: wanted one "
         "of exponential, constant, linear, fibonacci, with its keys beside it (type is backoff: one of exponential, "
         "constant (fixed), linear, fibonacci; delay: 1000 is initial_delay: 1000s, with backoff: constant if all "
         "waits are the same (as in Polly); or delay: 1000 is initial_delay: 1s (as in BullMQ)), got {type: fixed, "
         "delay: 1000}"),
        (RETRY, "delay_max: 3s", "did you mean max_delay?"),
        (RETRY, "maximum_dely: 3s", f"known are {listed(known_keys(RetryConfig), 'RetryConfig')}"),
        (RETRY, "max_elapsde: 3m", "did you mean max_elapsed?"),
    ],
)  # fmt: skip
def test_the_words_of_other_libraries_lead_to_the_keys_here(at, line, said):
    assert problem(at, line) == said


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("delivery_time_s.p75", "delivery_time_s has p50, p90, p95, p99, p99_9, and a p75 of at most 10s is "
         "delivered_within(10s) >= 75%"),
        ("p98", "delivery_time_s has p50, p90, p95, p99, p99_9, and a p98 of at most 10s is "
         "delivered_within(10s) >= 98%"),
        ("delivery_time_s.p999", "did you mean delivery_time_s.p99_9?"),
        ("p99", "p99 is delivery_time_s.p99"),
        ("errorRate", "errorRate is sent_fraction, whose rest it is: an error_rate <= 1% is sent_fraction >= 99%"),
    ],
)  # fmt: skip
def test_the_words_of_other_metrics_lead_to_those_there_are(metric, said):
    with pytest.raises(ConfigurationError) as caught:
        simulation.parse(f"{TEXT}expect: [{metric} <= 1]")
    assert caught.value.problems[0].partition("; ")[2] == said


def _field(key: str) -> Any:
    """The annotation of a setting, by its path from a channel on."""
    first, _, rest = key.partition(".")
    elsewhere = {"workload": ChannelWorkload, "faults": FaultConfig, "scenario": Scenario}
    start, path = (elsewhere[first], rest) if first in elsewhere else (ChannelConfig, key)
    return reduce(_below, path.split("."), start)


def _below(above: Any, key: str) -> Any:
    models = [each for each in (above, *_parts(above)) if isinstance(each, type) and issubclass(each, BaseModel)]
    return next(known_keys(model)[key] for model in models if key in known_keys(model))


def _parts(annotation: Any) -> list[Any]:
    return [part for argument in get_args(annotation) for part in (argument, *_parts(argument))]


def test_each_word_means_a_key_that_there_is_and_a_value_that_it_takes():
    wrong = []
    for row in (row for row in words() if row.key and row.at != "expect"):
        try:
            annotation = _field(row.key)
            if row.value:
                value = yaml.safe_load(translated(row, row.word)[1].removeprefix(": "))
                TypeAdapter(annotation).validate_python(value, context=FROM_FILE)
        except Exception as error:
            wrong.append(f"{row.peer} {row.word}: {row.key} {translated(row, row.word)}: {error!r}")
    assert wrong == []


def test_each_word_of_a_metric_means_one_that_there_is():
    for row in (row for row in words() if row.at == "expect"):
        part: Any = summary_shape(Outline(()))
        for key in row.key.split("."):
            part = part[key]


def test_no_word_is_a_key_in_the_place_where_it_is_told_apart():
    """Else nobody would be told of it."""
    names = [(row.peer, plain(row.word), row.at) for row in words()]
    assert len(names) == len(set(names))
    assert all(row.key or row.note for row in words())


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


def test_a_key_of_another_kind_is_not_near():
    assert "did you mean" not in problem(CHANNEL, "time_limits: {calls: 3}")
    assert problem(BREAKER, "slowest_cal: 3s").startswith("known are ")
