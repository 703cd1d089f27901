"""The settings of a breaker: what goes together, and what is said of what does not."""

from typing import Any

import pytest
from beside import tables
from each_row import over_each
from pydantic import ValidationError

from actors.policies.breaker.breaker import Breaker
from actors.policies.breaker.tripping import ConsecutiveFailures, FailureRate, make_tripping
from actors.settings.breaker import CircuitBreakerConfig, OpenGrowth
from actors.settings.quantities import FROM_FILE


def read(**settings: Any) -> CircuitBreakerConfig:
    return CircuitBreakerConfig.model_validate(settings, context=FROM_FILE)


def problems(**settings: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        read(**settings)
    return {".".join(map(str, error["loc"])): error["msg"] for error in caught.value.errors()}


def test_everything_as_it_stands_in_a_file() -> None:
    config = read(
        window={"time": "20s"},
        failure_rate="40%",
        minimum_calls=20,
        slow_call={"duration": "2s", "rate": "60%"},
        success_may_trip=False,
        ignored_counts_as="success",
        timeout="5s",
        open_growth={"multiplier": 1.5, "max": "10m", "jitter": "20%"},
        reopen="after",
        half_open_permits=4,
        decide="when_all_used",
        half_open_max="30s",
        half_open_then="closed",
        ramp={"over": "30s", "start": "10%"},
        per="host",
        initial_state="metrics-only",
    )
    assert config.window is not None
    assert config.window.time == 20
    assert config.slow_call is not None
    assert (config.slow_call.duration, config.slow_call.rate) == (2, 0.6)
    assert config.open_growth is not None
    assert (config.open_growth.multiplier, config.open_growth.max, config.open_growth.jitter) == (1.5, 600, 0.2)
    assert config.ramp is not None
    assert (config.ramp.over, config.ramp.start) == (30, 0.1)


def test_left_out_they_are_what_they_have_always_been() -> None:
    config = CircuitBreakerConfig()
    assert (config.window, config.slow_call, config.open_growth, config.half_open_max, config.ramp) == (None,) * 5
    assert (config.decide, config.per, config.initial_state) == ("first_failure", "channel", "closed")
    rule = make_tripping(config)
    assert isinstance(rule, ConsecutiveFailures)
    assert rule.threshold == 5


@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        ({"window": {"calls": 100}}, 10),
        ({"window": {"calls": 4}}, 4),
        ({"window": {"time": 20}}, 10),
        ({"window": {"ema": 100}}, 100),
        ({"window": {"calls": 100}, "minimum_calls": 30}, 30),
    ],
)
def test_how_many_calls_it_takes_to_judge(settings: dict[str, Any], calls: int) -> None:
    rule = make_tripping(CircuitBreakerConfig(**settings))
    assert isinstance(rule, FailureRate)
    assert [rule.failure(0) for _ in range(calls)] == [False] * (calls - 1) + [True]


@over_each(map(tuple, tables(__file__)["refused"]))
def test_what_does_not_go_together_is_refused_at_its_key(settings: dict[str, Any], key: str, message: str) -> None:
    found = problems(**settings)
    assert list(found) == [key]
    assert found[key].startswith(message)


def test_all_problems_at_once() -> None:
    assert list(problems(minimum_calls=5, slow_call={"duration": "2s"}, half_open_then="open")) == [
        "minimum_calls",
        "slow_call",
        "half_open_then",
    ]


def test_what_was_read_can_be_written_and_read_again() -> None:
    config = read(window={"calls": 100}, failure_rate="40%", ramp={"over": "30s"}, open_growth={"jitter": "20%"})
    written = config.model_dump(mode="json", exclude_unset=True)
    assert read(**written) == config


def test_jitter_needs_a_random_stream() -> None:
    with pytest.raises(ValueError, match="random stream"):
        Breaker(CircuitBreakerConfig(open_growth=OpenGrowth(jitter=0.2)))
