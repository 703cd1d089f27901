"""Recipients at many hosts, and faults that hit only those at some of them."""

import json
from typing import Any

import pytest
from effort import sliced
from hypothesis import given, strategies as st
from provider_attempts import S, fault, first_attempt
from worlds import email

import simulation
from actors.domain.attempts import Attempt
from actors.faults.provider import SimulatedProvider
from actors.faults.queue import Load
from actors.kernel.randomness import RandomStreams
from actors.messages import BreakerTransitioned, NotificationFailed
from actors.settings.faults import FaultConfig
from simulation.results.result import Result
from simulation.scenario import parse

HOSTS = ("a.example", "b.example", "c.example", "")


def attempt_at(host: str) -> Attempt:
    recipient = f"ann@{host}" if host else "+49 30 1234"
    return first_attempt(email("n", recipient=recipient))


def outcomes_of(faults: list[FaultConfig], visits: list[tuple[int, str]], **settings: Any) -> list[Any]:
    provider = SimulatedProvider(faults=faults, streams=RandomStreams(5), **settings)
    return [provider.attempt(attempt_at(host), at * S) for at, host in visits]


visits = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(HOSTS)), max_size=40).map(sorted)
memoryless = st.sampled_from(
    [
        {"outage": True},
        {"hang": True},
        {"failure_rate": 0.5},
        {"dead_destination_rate": 0.3, "lost_reply_rate": 0.3},
        {"latency_factor": 3.0},
        {"latency": 2.0},
        {"flap": {"up": 3.0, "down": 2.0}},
    ]
)
windows = st.tuples(st.integers(0, 20), st.integers(1, 20)).map(lambda pair: {"at": pair[0], "for": pair[1]})


@given(visits, windows, memoryless, windows, memoryless, st.sampled_from([0.0, 0.2]))
def test_a_fault_with_a_host_is_one_for_those_there_and_none_for_others(visits, when, keys, other_when, other, rate):
    others = [fault(**other_when, **other)]
    provider = {"failure_rate": rate, "latency": 0.5}
    found = outcomes_of([*others, fault(**when, **keys, host=["B.example", "x.example"])], visits, **provider)
    everywhere = outcomes_of([*others, fault(**when, **keys)], visits, **provider)
    nowhere = outcomes_of(others, visits, **provider)
    expected = [
        (there if host == "b.example" else elsewhere)
        for there, elsewhere, (_, host) in zip(everywhere, nowhere, visits, strict=True)
    ]
    assert found == expected


def test_what_a_fault_remembers_it_remembers_of_all_its_hosts_together():
    first = fault(fail_first=2, host=["a.example", "b.example"])
    outcomes = outcomes_of(
        [first], [(0, "c.example"), (1, "a.example"), (2, "c.example"), (3, "b.example"), (4, "a.example")]
    )
    assert [type(effect.result).__name__ for effect in outcomes] == ["Sent", "Transient", "Sent", "Transient", "Sent"]


# ── in a scenario ───────────────────────────────────────────────────────────────────────────────────────────────


def run(*faults: dict[str, Any], workload: dict[str, Any], email: Any = None, log: Any = None) -> Result:
    text = json.dumps(
        {
            "duration": "5m",
            "workload": [{"channel": "email", **workload}],
            "channels": {"email": email or {}},
            "faults": [{"channel": "email", **fault} for fault in faults],
        }
    )

    def note(attempt: Attempt, _now_ns: int, _load: Load) -> None:
        if log is not None:
            log.append((attempt.command.user, attempt.command.recipient))

    simulated = simulation.run(parse(text), rules={"email": [note]})
    live = simulation.run(parse(text), runtime="trio")
    assert simulated.summary["digest"] == live.summary["digest"]
    return simulated


@pytest.mark.parametrize(
    "workload", [{"arrivals": {"poisson": "5/s"}, "users": 50}, {"clients": 10, "think": "1s", "users": 50}]
)
def test_a_user_has_one_address_and_hosts_have_as_many_users_each(workload):
    log: list[tuple[str, str]] = []
    run(workload={**workload, "hosts": 20}, log=log)
    addresses = dict(log)
    assert set(log) == set(addresses.items())
    assert len(addresses) == 50
    assert all(address == f"{user}@host-{int(user[5:]) % 20}.example" for user, address in addresses.items())


def test_without_users_each_notification_goes_to_the_next_host():
    log: list[tuple[str, str]] = []
    run(workload={"arrivals": {"constant": "1/s"}, "hosts": 3}, log=log)
    assert [address for _, address in log[:4]] == [
        "user-0-0@host-0.example",
        "user-0-1@host-1.example",
        "user-0-2@host-2.example",
        "user-0-3@host-0.example",
    ]


@pytest.mark.parametrize("per", sliced(["host", "channel"], 4))
def test_one_dead_mail_server_among_twenty(per):
    result = run(
        {"host": "host-7.example", "at": "1m", "for": "3m", "outage": True},
        workload={"arrivals": {"poisson": "20/s"}, "users": 1000, "hosts": 20},
        email={"circuit_breaker": {"per": per, "window": {"calls": 20}, "failure_rate": "50%"}},
    )
    hosts = {event.host for event in result.history if isinstance(event, BreakerTransitioned)}
    failed = [event for event in result.history if isinstance(event, NotificationFailed)]
    assert failed
    assert all(60 <= event.started_ns / S < 240 for event in failed)
    if per == "host":
        assert hosts == {"host-7.example"}
        assert result.summary["dead_lettered"] < 10
    else:  # one in twenty is no reason to stop, so each of them goes through all of its attempts in vain
        assert hosts == set()
        assert result.summary["dead_lettered"] > 100
