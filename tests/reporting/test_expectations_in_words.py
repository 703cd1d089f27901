"""An expectation says by how much it holds or fails, with units, in the same words wherever it is quoted."""

import pytest

import simulation
from simulation.reporting.expectations import distance_text, in_words, with_unit
from simulation.scenario import Expectation
from simulation.scenario.metrics import MetricKind


@pytest.mark.parametrize(
    ("expectation", "value", "kind", "text"),
    [
        ("sent_fraction >= 99%", 0.99699265, MetricKind.SHARE, "0.7 points to spare"),
        ("sent_fraction >= 99%", 0.98, MetricKind.SHARE, "1 point short"),
        ("sent_fraction <= 1%", 0.05, MetricKind.SHARE, "4 points over, 5 times as much"),
        ("delivery_time_s.p99 <= 60", 181.402, MetricKind.QUANTILE, "2.02 min over, 3 times as much"),
        ("delivery_time_s.p99 <= 60", 2.5, MetricKind.QUANTILE, "57.5 s to spare"),
        ("dead_lettered == 0", 4.0, MetricKind.COUNT, "4 over"),
        ("dead_lettered == 4", 4.0, MetricKind.COUNT, None),
        ("dead_lettered != 4", 9.0, MetricKind.COUNT, None),
        ("throughput_per_s >= 10", 2.0, MetricKind.PER_SECOND, "8/s short"),
    ],
)
def test_by_how_much_with_its_unit_and_on_which_side(expectation, value, kind, text):
    assert distance_text(Expectation.parse(expectation), value, kind) == text


def test_a_value_that_would_look_like_its_bound_is_exact():
    text = """
    duration: 10s
    workload: [{channel: sms, arrivals: {times: [1s]}}]
    channels: {sms: {provider: {latency: {constant: 1.00004s}}}}
    expect: [delivery_time_s.p50 <= 1s, sent_fraction == 1, "delivery_time_s.p50 <= 2s"]
    """
    tight, equal, loose = in_words(simulation.run(simulation.parse(text)))
    assert tight.words[:2] == ("1.00004 s", "at most 1 s")
    assert equal.words == ("100%", "100%", None)
    assert str(loose.words) == "is 1 s, 1 s to spare"
    assert with_unit(90.0, MetricKind.PER_MINUTE) == "90/min"
