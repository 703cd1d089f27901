from __future__ import annotations

from typing import Any

import pytest

from actors.messages import NotificationChannel
from simulation.scenario import Expectation
from simulation.scenario.metrics import NOT_METRICS, MetricKind, summary_shape

SUMMARY = {
    "sent_fraction": 0.99,
    "sent": 0,
    "delivery_time_s": {"p99": None, "max": 240.0},
    "breaker": {"email": {"opened": 2}},
}


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("sent_fraction >= 0.99", 0.99, True),
        ("sent_fraction > 99%", 0.99, False),
        ("sent_fraction<=.99", 0.99, True),
        ("sent_fraction < 0.99", 0.99, False),
        ("sent_fraction == 99 %", 0.99, True),
        ("sent_fraction != 99%", 0.99, False),
        ("sent == 0", 0, True),
        ("delivery_time_s.max <= 4m", 240.0, True),
        ("delivery_time_s.max < 240000ms", 240.0, False),
        ("breaker.email.opened >= 2", 2, True),
        ("delivery_time_s.p99 <= 1e9", None, False),
        ("delivery_time_s.p99 != 3", None, False),
        ("breaker.sms.opened == 0", None, False),
        ("delivery_time_s != 3", None, False),
    ],
)
def test_evaluation(text: str, value: Any, holds: bool) -> None:
    assert Expectation.parse(text).evaluate(SUMMARY) == (value, holds)


@pytest.mark.parametrize(
    ("text", "value"),
    [("throughput_per_s >= 100/min", 100 / 60), ("dlq.growth_per_min >= -3", -3.0), ("sent >= 1e3", 1000.0)],
)
def test_numbers_with_units(text: str, value: float) -> None:
    expectation = Expectation.parse(text)
    assert expectation.value == value
    assert expectation.problem(summary_shape({NotificationChannel.EMAIL: ["primary"]})) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        ">= 3",
        "sent >=",
        "sent => 3",
        "sent 3",
        "sent >= nan",
        "sent >= inf",
        "sent >= 1e999",
        "sent >= 3 4",
        3,
        None,
        ["sent >= 3"],
    ],
)
def test_what_is_no_expectation(text: Any) -> None:
    with pytest.raises(ValueError, match="wanted an expectation"):
        Expectation.parse(text)


def test_every_number_of_the_summary_can_be_expected_and_nothing_else() -> None:
    shape = summary_shape({channel: ["primary"] for channel in NotificationChannel})

    def paths(part: Any, path: tuple[str, ...] = ()) -> Any:
        if isinstance(part, MetricKind):
            yield path, part
        else:
            for key, child in part.items():
                yield from paths(child, (*path, key))

    found = dict(paths(shape))
    assert len(found) > 100
    for path, figure in found.items():
        problem = Expectation.parse(f"{'.'.join(path)} >= 1").problem(shape)
        assert (problem is None) == (figure not in NOT_METRICS)
    assert {path for path, figure in found.items() if figure in NOT_METRICS} == {
        ("scenario",), ("seed",), ("runtime",), ("expectations",), ("digest",),
    }  # fmt: skip
    assert ("channels", "webhook", "breaker", "open_s") in found
    assert found["dlq", "peak"] is MetricKind.COUNT
