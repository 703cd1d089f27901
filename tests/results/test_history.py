"""A history reads the same packed or not, and its tables are the same however many rows are made at once."""

from collections.abc import Iterator
from typing import get_args

import pytest

import simulation
from actors import messages
from actors.messages import NotificationEvent, RecordedEvent
from simulation.results import recorder, tables
from simulation.results.result import TABLES, UPSTREAM_TABLE

SCENARIO = """
duration: 20m
workload:
  - {channel: email, arrivals: {poisson: 2/s}, repeats: 5%}
  - {channel: sms, clients: 2, think: 1s}
channels:
  email:
    provider: {failure_rate: 30%, upstream: {failure_rate: 20%, retry: {max_attempts: 2}}}
    fallback: {channel: sms, after: 10m}
  sms: {provider: {failure_rate: 40%}, retry: {max_attempts: 2}}
faults: [{channel: email, at: 4m, for: 3m, outage: true}, {channel: sms, at: 5m, crash: {actor: handler}}]
operations: [{at: 15m, redrive: {reason: repaired}}]
"""


@pytest.fixture(scope="module")
def as_objects() -> simulation.Result:
    return simulation.run(simulation.parse(SCENARIO))


@pytest.fixture(scope="module")
def packed(as_objects) -> Iterator[simulation.Result]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recorder, "OBJECTS", 4096)
        yield simulation.run(simulation.parse(SCENARIO))


def test_it_reads_as_a_list_does(as_objects, packed):
    events = list(as_objects.history)
    assert len(events) > 3 * 4096
    assert packed.history == events == list(packed.history)
    assert packed.history == as_objects.history
    assert packed.history != events[:-1]
    for index in (0, 4095, 4096, 9000, -1, -len(events)):
        assert packed.history[index] == events[index]
    assert packed.history[4090:12_000:400] == events[4090:12_000:400]
    assert packed.history[-5:] == events[-5:]
    with pytest.raises(IndexError, match=f"wanted one of {len(events)} events, got number {len(events)}"):
        packed.history[len(events)]


def test_tables_are_the_same_of_a_packed_history_and_of_rows_in_blocks(as_objects, packed, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 777)
    for name in (*TABLES, UPSTREAM_TABLE):
        table, expected = getattr(packed, name), getattr(as_objects, name)
        assert len(expected) > 0
        assert table.equals(expected), name
        assert list(table.dtypes) == list(expected.dtypes)


def test_every_kind_of_event_comes_out_again():
    kinds = {kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, RecordedEvent)}
    assert set(get_args(recorder.Recorded)) == kinds - {RecordedEvent, NotificationEvent}
