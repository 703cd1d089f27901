"""Tenants of a scenario: who they are, whose notifications are late, and which row is whose."""

import simulation

TEXT = """
name: noisy
duration: 10m
workload:
  - {name: noise, channel: sms, tenants: 1, arrivals: {burst: {size: 1500, every: 1d}}}
  - {name: rest, channel: sms, tenants: {count: 20, zipf: 1.1}, users: 1000, at: 1s, arrivals: {poisson: 1/s}}
channels: {sms: {quota: {rate: 3/s}, order: {fair_by: %s}}}
"""


def test_fairness_by_tenant_makes_the_noisy_one_alone_late():
    late = {}
    for by in ("none", "tenant"):
        result = simulation.run(simulation.parse(TEXT % by))
        rows = result.notifications
        names = {each["name"]: each for each in result.summary["worst"]["tenants"]}
        for name, each in names.items():
            own = rows[rows["tenant"] == name]
            took = own["finished_at_s"] - own["waited_since_s"]
            assert each["offered"] == len(own)
            assert each["late"] == int((~(took <= 60)).sum())
        assert set(rows["tenant"]) <= {f"tenant-{number}" for number in range(20)}
        late[by] = names
        assert result.summary["worst"]["hosts"] == []
    assert len(late["none"]) == 10  # as many as are named
    assert [*late["tenant"]] == ["tenant-0"]


def test_who_has_no_tenant_has_none():
    result = simulation.run(simulation.parse("duration: 10s\nworkload: [{channel: sms, arrivals: {constant: 1/s}}]"))
    assert result.notifications["tenant"].isna().all()
    assert result.summary["worst"] == {"hosts": [], "tenants": []}


def test_a_request_that_another_channel_has_taken_over_is_wanted_whatever_becomes_of_the_first():
    scenario = simulation.parse(
        """
        duration: 10s
        drain: 1h
        workload: [{channel: push, tenants: 1, arrivals: {times: [0s]}}]
        channels:
          push:
            retry: {max_attempts: 1}
            provider: {failure_rate: 1.0, latency: 100ms}
            circuit_breaker: {failure_threshold: 1, timeout: 1h}
            fallback: {channel: sms}
          sms: {retry: {max_attempts: 1}, provider: {failure_rate: 1.0, latency: 100ms}}
        operations:
          - {at: 2s, channel: push, redrive: all}
          - {at: 3s, cancel: all}
        """
    )
    summary = simulation.run(scenario, invariants="all").summary
    assert summary["suppressed"] == 1
    worst = {"name": "tenant-0", "offered": 1, "late": 1, "late_fraction": 1.0}
    assert summary["offered"] == 1
    assert summary["worst"]["tenants"] == [worst]
