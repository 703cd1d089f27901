"""The column `priority` of the notifications, against what the commands say that come to the provider."""

import pandas as pd
import pytest

import simulation
from simulation.scenario import parse

CRITICAL = "critical: true, arrivals: {constant: 1/s}}"
MIXED = """
name: mixed
duration: 20s
workload:
  - {event: OrderPlaced, arrivals: {constant: 1/s}}
  - {channel: sms, CRITICAL
  - {channel: email, arrivals: {constant: 1/s}}
  - {channel: push, CRITICAL
  - {channel: push, arrivals: {constant: 1/s}, repeats: 30%}
  - {channel: sms, critical: true, clients: 2, think: 1s, hosts: 2, users: 3}
  - {channel: sms, clients: 2, think: 1s}
  - {event: UserRegistered, arrivals: {constant: 1/s}}
  - {channel: email, arrivals: {constant: 1/s}}
  - {channel: email, arrivals: {constant: 1/s}}
  - {channel: sms, arrivals: {constant: 1/s}}
  - {channel: sms, arrivals: {constant: 1/s}}
channels:
  push: {retry: {max_attempts: 1}, provider: {failure_rate: 50%}, fallback: {channel: sms}}
""".replace("CRITICAL", CRITICAL)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.thorough
def test_it_is_what_the_provider_is_told(tmp_path):
    is_critical = {}

    def note(attempt, _now_ns, _load):
        is_critical[attempt.command.notification_id] = attempt.command.critical

    scenario = parse(MIXED)
    result = simulation.run(scenario, rules={channel: [note] for channel in ("email", "sms", "push")})
    table = result.notifications.set_index("id")["priority"] == "critical"
    assert table.to_dict() == is_critical
    # The second entry is critical, the eleventh and twelfth are not; nor are the events, but some fallbacks are.
    of = {
        beginning: set(table[table.index.str.startswith(beginning)]) for beginning in ("sms-1-", "sms-10-", "sms-11-")
    }
    assert of == {"sms-1-": {True}, "sms-10-": {False}, "sms-11-": {False}}
    assert set(table[table.index.str.contains("order-placed|user-registered")]) == {False}
    assert set(table[table.index.str.endswith("/sms")]) == {True, False}
    simulation.save(result, tmp_path)
    pd.testing.assert_frame_equal(simulation.open_result(tmp_path).notifications, result.notifications)


def test_it_changes_nothing_of_the_history_and_is_not_there_for_aggregates():
    kept, lean = (simulation.run(parse(MIXED + f"record: {record}\n")) for record in ("full", "aggregates"))
    assert kept.summary["digest"] == lean.summary["digest"]
    assert len(lean.notifications) == 0
    assert lean.notifications.dtypes.to_dict() == kept.notifications.dtypes.to_dict()
