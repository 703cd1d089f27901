import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from beside import tables
from each_row import over_each

from actors.errors import ConfigurationError
from actors.messages import NotificationChannel
from simulation.scenario import Expectation, parse
from simulation.scenario.metrics import NOT_METRICS, MetricKind, Outline, path_of, summary_shape
from simulation.scenario.writing import write

TABLES = tables(__file__)

PUBLISHED = Path(__file__).parents[2] / "scenarios" / "scenario.schema.json"
SCHEMA = jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))

SUMMARY = {
    "sent_fraction": 0.99,
    "sent": 0,
    "delivery_time_s": {"p99": None, "never": 0},
    "sent_time_s": {"max": 240.0},
    "breaker": {"email": {"opened": 2}},
}


@over_each(map(tuple, TABLES["evaluated"]))
def test_evaluation(text: str, value: Any, holds: bool) -> None:
    assert Expectation.parse(text).evaluate(SUMMARY) == (value, holds)


@pytest.mark.parametrize(
    ("text", "value"),
    [("throughput_per_s >= 100/min", 100 / 60), ("dlq.growth_per_min >= -3", -3.0), ("sent >= 1e3", 1000.0)],
)
def test_numbers_with_units(text: str, value: float) -> None:
    expectation = Expectation.parse(text)
    assert expectation.value == value
    assert expectation.problem(summary_shape(Outline(((NotificationChannel.EMAIL, ("primary",)),)))) is None


@pytest.mark.parametrize("text", TABLES["no_expectations"])
def test_what_is_no_expectation(text: Any) -> None:
    with pytest.raises(ValueError, match="wanted an expectation"):
        Expectation.parse(text)


def test_every_number_of_the_summary_can_be_expected_and_nothing_else() -> None:
    outline = Outline(
        tuple((channel, ("primary",)) for channel in NotificationChannel),
        entries=("codes",),
        classes=("normal",),
        faults=(0,),
        within_s=(1.5,),
    )
    shape = summary_shape(outline)

    def paths(part: Any, path: tuple[str, ...] = ()) -> Any:
        if isinstance(part, MetricKind):
            yield path, part
        else:
            for key, child in part.items():
                yield from paths(child, (*path, key))

    found = dict(paths(shape))
    assert len(found) > 100
    for path, figure in found.items():
        problem = Expectation.parse(f"{path_of(path)} >= 1").problem(shape)
        assert (problem is None) == (figure not in NOT_METRICS)
    assert {path for path, figure in found.items() if figure in NOT_METRICS} == {
        ("version",), ("scenario",), ("seed",), ("runtime",), ("worst",), ("defaults",), ("expectations",), ("digest",),
    }  # fmt: skip
    assert ("channels", "webhook", "breaker", "open_s") in found
    assert found["dlq", "peak"] is MetricKind.COUNT
    assert {
        ("workload", "codes", "delivered"),
        ("delivered_within", "1.5s"),
        ("faults", "0", "backlog_cleared_s"),
    } <= set(found)


@pytest.mark.parametrize("written", ["90s", "1.5m", "90000ms"])
def test_a_time_is_known_however_it_is_written(written: str) -> None:
    expectation = Expectation.parse(f"channels.email.delivered_within({written}) >= 99%")
    assert expectation.path == ("channels", "email", "delivered_within", "90s")
    assert expectation.within_s == 90.0
    summary = {"channels": {"email": {"delivered_within": {"90s": 0.995}}}}
    assert expectation.evaluate(summary) == (0.995, True)


@pytest.mark.parametrize(
    "text", ["delivered_within >= 99%", "delivered_within(soon) >= 99%", "delivered_within(30) > 0"]
)
def test_a_time_that_is_none_is_said_to_be_wanted(text: str) -> None:
    problem = Expectation.parse(text).problem(summary_shape(Outline(((NotificationChannel.EMAIL, ("primary",)),))))
    assert problem is not None
    assert "delivered_within(" in problem


@pytest.mark.parametrize(("text", "why"), TABLES["out_of_range"])
def test_what_no_run_can_meet_is_refused_with_the_range(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(expecting(text))
    assert caught.value.problems == [
        f"scenario.yaml:4:5: expect.0: wanted a bound that a run can meet, got {text}: {why}"
    ]


@pytest.mark.parametrize(
    "text",
    ["sent_fraction >= 1", "dlq.peak <= 0", "retry_amplification <= 1", "dlq.growth_per_min <= 0", "sent == 3.0"],
)
def test_a_bound_at_the_end_of_the_range_can_be_met(text: str) -> None:
    assert parse(expecting(text)).expect[0].bound == text


def test_in_a_window_and_at_a_node_more_may_leave_than_came() -> None:
    window = "{from: 10s, that: [dead_lettered <= -1]}\nnodes: 2"
    assert [each.always(MetricKind.COUNT) for each in parse(expecting(window)).expect] == [None]
    parse(expecting("nodes.2.dead_lettered <= -1\nnodes: 2"))


@pytest.mark.parametrize("op", [">=", "<=", "<", ">", "==", "!="])
def test_no_bound_holds_on_what_is_never(op: str) -> None:
    summary = {"delivery_time_s": {"p99": None, "never": 3}}
    expectation = Expectation.parse(f"delivery_time_s.p99 {op} 5")
    assert expectation.evaluate(summary) == (None, False)
    assert expectation.is_never(summary)
    assert not expectation.is_never({"delivery_time_s": {"p99": None, "never": 0}})
    cleared = Expectation.parse(f"faults.0.backlog_cleared_s {op} 5")
    assert cleared.is_never({"faults": {"0": {"backlog_cleared_s": None}}})
    assert not cleared.is_never({"faults": {"0": {"backlog_cleared_s": 4.0}}})
    assert not cleared.is_never({"faults": {}})


# ── in a share of runs ──────────────────────────────────────────────────────────────────────────────────────────────

FILE = """\
duration: 1m
workload: [{channel: email, arrivals: {poisson: 1/s}}]
expect:
  - ENTRY
"""


def expecting(entry: str) -> str:
    return FILE.replace("ENTRY", entry)


def test_in_a_share_of_runs_the_bound_holds_of_a_run_and_no_run_decides_the_expectation() -> None:
    (expectation,) = parse(expecting("{that: 'sent  >= 3', in: 99.5 %  of runs}")).expect
    assert (expectation.text, expectation.bound) == ("sent >= 3 in 99.5% of runs", "sent >= 3")
    assert expectation.share == pytest.approx(0.995)
    assert (expectation.holds_of(3), expectation.holds_of(2), expectation.holds_of(None)) == (True, False, False)
    assert expectation.evaluate({"sent": 5}) == (5, None)


@pytest.mark.parametrize("share", ["99%", "99.9%", "50%", "0.1%", "99.99999%", "33.3333%"])
def test_a_share_of_runs_is_written_as_it_is_read(share: str) -> None:
    text = expecting(f"{{that: dlq.peak <= 100, in: {share} of runs}}")
    scenario = parse(text)
    assert scenario.expect[0].text == f"dlq.peak <= 100 in {share} of runs"
    assert parse(write(scenario)) == scenario
    SCHEMA.validate(yaml.safe_load(text))


@pytest.mark.parametrize(("entry", "problems"), TABLES["wrong_entries"])
def test_what_is_wrong_with_an_entry_is_said_with_its_place(entry: str, problems: list[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(expecting(entry), "outage.yaml")
    assert raised.value.problems == [f"outage.yaml:{problem}" for problem in problems]
    if "peek" not in entry:  # a JSON Schema knows no metrics
        with pytest.raises(jsonschema.ValidationError):
            SCHEMA.validate(yaml.safe_load(expecting(entry)))
