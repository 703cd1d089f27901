"""Real request counts as a workload: five-minute buckets over two weeks, gaps and counts such as 94.0 included."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

import simulation

STEADY = Path(__file__).parents[2] / "scenarios" / "steady-state.yaml"


@pytest.fixture
def counts_file(tmp_path):
    """A file like those of load balancers: a row every five minutes, with a gap, two weeks long."""
    first = datetime(2014, 4, 10, 0, 4)
    rows = ["timestamp,value"]
    total = 0
    for number in range(4032):
        if 1000 <= number < 1010:
            continue
        count = (number * 37) % 3
        total += count
        rows.append(f"{first + timedelta(minutes=5 * number)},{count}.0")
    path = tmp_path / "counts.csv"
    path.write_text("\n".join(rows) + "\n")
    return path, total


def test_it_accepts_exactly_as_many_as_the_file_counts(counts_file):
    path, total = counts_file
    trace = f"workload.0.arrivals={{trace: {{file: {path}, column: value, every: 5m}}}}"
    result = simulation.run(STEADY, sets=[trace])
    assert result.summary["channels"]["email"]["accepted"] == total


@pytest.mark.thorough
def test_it_is_replayed_whole_though_everything_else_stops_at_the_duration(counts_file):
    path, total = counts_file
    trace = f"workload.0.arrivals={{trace: {{file: {path}, column: value, every: 5m}}}}"
    outage = STEADY.with_name("provider-outage.yaml")
    result = simulation.run(outage, sets=[trace])
    assert result.summary["channels"]["email"]["accepted"] == total
    assert result.summary["channels"]["push"]["accepted"] == 3000
    assert result.notifications.query("channel == 'push'")["requested_at_s"].max() < 600
    assert result.notifications.query("channel == 'email'")["requested_at_s"].max() > 13 * 86400
