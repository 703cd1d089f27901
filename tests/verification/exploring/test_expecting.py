"""`retrylab explore --expect`: the mildest fault within bounds that breaks an expectation."""

import in_process
import pytest
import yaml

import simulation
from actors.errors import ConfigurationError
from simulation.verification.exploring.expecting import mildest

LADDERS = """
name: ladders
duration: 4m
workload: [{channel: webhook, arrivals: {constant: 30/min}}, {channel: sms, arrivals: {constant: 30/min}}]
channels:
  webhook: {retry: {schedule: [10s, 30s, 60s]}, circuit_breaker: {enabled: false}}
  sms: {retry: {schedule: [10s, 60s]}, circuit_breaker: {enabled: false}}
expect: [sent_fraction == 1, dlq.peak >= 1]
"""


@pytest.mark.thorough
def test_of_two_ladders_the_shorter_one_breaks_by_an_outage_as_long_as_it_is():
    found = mildest(simulation.parse(LADDERS), ["outage=2m", "outage=2m"], cases=24)
    (fault,) = found.case
    assert (fault.kind, fault.place) == ("outage", "sms")
    assert 70 < fault.lasts_s <= 72 * 1.02  # one comes each two seconds
    assert (found.broken, found.left_out, found.with_seeds) == (("sent_fraction == 1",), ("dlq.peak >= 1",), 5)
    assert not simulation.run(found.broken_case).holds


@pytest.mark.thorough
def test_where_one_is_too_short_two_break():
    """An outage over the first two attempts, and another over the third."""
    found = mildest(simulation.parse(LADDERS), ["sms.outage=40s", "sms.outage=40s"], cases=60)
    first, second = found.case
    assert 10 <= first.lasts_s <= 13
    assert second.lasts_s <= 3
    assert first.at_s + 60 <= second.at_s <= first.at_s + first.lasts_s + 70


def test_where_nothing_breaks_it_says_how_much_was_tried(tmp_path):
    (tmp_path / "ladders.yaml").write_text(LADDERS)
    done = in_process.retrylab(
        *("explore", "ladders.yaml", "--expect", "--fault", "outage=30s", "--seeds", 6, "--workers", 1), cwd=tmp_path
    )
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "nothing breaks: 6 cases of up to outage of at most 30 s were tried",
            "left out, as it does not hold even without a fault: dlq.peak >= 1",
        ],
    )


@pytest.mark.thorough
def test_the_case_is_written_as_a_scenario_that_breaks(tmp_path):
    (tmp_path / "ladders.yaml").write_text(LADDERS.replace(", dlq.peak >= 1", ""))
    done = in_process.retrylab(
        *("explore", "ladders.yaml", "--expect", "--seeds", 6, "--workers", 1, "--out", "out"), cwd=tmp_path
    )
    assert done.returncode == 1
    assert "breaks `sent_fraction == 1`, with 5 of 5 seeds" in done.stdout
    again = in_process.retrylab("run", "out/mildest.yaml", cwd=tmp_path)
    assert again.returncode == 1


@pytest.mark.parametrize("bound", ["outage", "flood=1m", "email.outage=1m", "sms.crash=1m", "outage=0s"])
def test_a_bound_that_says_none_is_refused(bound):
    with pytest.raises(ConfigurationError, match="--fault: wanted a kind"):
        mildest(simulation.parse(LADDERS), [bound])
    with pytest.raises(ConfigurationError, match="wanted a scenario that expects something"):
        mildest(simulation.parse(yaml.safe_dump(yaml.safe_load(LADDERS) | {"expect": []})))
