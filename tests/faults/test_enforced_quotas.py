"""Quotas that a provider enforces: of itself, for each host, and where those that it refuses count too."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st
from provider_attempts import S, first_attempt
from worlds import email

import simulation
from actors.errors import ConfigurationError
from actors.faults.provider import SimulatedProvider
from actors.outcomes import Transient
from actors.settings.base import validated
from actors.settings.faults import QuotaFault
from simulation.scenario import parse


def taken(throttle: dict[str, Any], *comes: tuple[float, str]) -> list[bool]:
    """Return which attempts are taken that start at these instants, each with the host of its address."""
    provider = SimulatedProvider(throttle=throttle)
    found = []
    for at, host in comes:
        result: Any = provider.attempt(first_attempt(email(recipient=f"ann@{host}")), round(at * S)).result  # type: ignore[union-attr]
        found.append(not (isinstance(result, Transient) and result.throttled))
    return found


def test_a_provider_has_a_quota_of_its_own():
    assert taken({"rate": "2/s"}, (0, "a"), (0.1, "a"), (0.2, "a"), (1, "a")) == [True, True, False, True]


def test_each_host_has_one():
    comes = [(0, "a"), (0.1, "b"), (0.2, "a"), (0.3, "b"), (60, "a")]
    assert taken({"rate": "1/min", "per": "host"}, *comes) == [True, True, False, False, True]
    assert taken({"rate": "1/min"}, *comes) == [True, False, False, False, True]


def test_who_goes_on_asking_gets_no_more_where_all_count():
    every_second = [(float(at), "a") for at in range(12)]
    quota = {"rate": "3/5s", "kind": "sliding_window"}
    assert taken(quota, *every_second) == [True] * 3 + [False] * 2 + [True] * 3 + [False] * 2 + [True] * 2
    assert taken({**quota, "counts": "all"}, *every_second) == [True] * 3 + [False] * 9
    assert taken({**quota, "counts": "all"}, *every_second, (16.0, "a")) == [True] * 3 + [False] * 9 + [True]


def strict(instants: Sequence[int], count: int, width: int) -> list[bool]:
    return [sum(at - width < other for other in instants[:n]) < count for n, at in enumerate(instants)]


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 5), st.integers(1, 6))
def test_where_all_count_it_is_the_number_that_came_in_the_window(gaps: list[int], count: int, width: int):
    instants = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    quota = {"rate": f"{count}/{width}s", "kind": "sliding_window", "counts": "all"}
    assert taken(quota, *((float(at), "a") for at in instants)) == strict(instants, count, width)


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 5), st.integers(1, 6))
def test_in_fixed_windows_it_makes_no_difference(gaps: list[int], count: int, width: int):
    comes = [(float(sum(gaps[: n + 1])), "a") for n in range(len(gaps))]
    quota = {"rate": f"{count}/{width}s"}
    assert taken(quota, *comes) == taken({**quota, "counts": "all"}, *comes)


def test_a_bucket_counts_what_it_gives():
    with pytest.raises(ConfigurationError, match="wanted counts: all only with windows; a bucket counts what it gives"):
        validated(QuotaFault, {"rate": "1/s", "kind": "token_bucket", "counts": "all"})


def test_retries_without_a_wait_keep_a_strict_provider_shut():
    """One of 60 a minute that counts all: who retries each second gets nothing through, who waits a minute does."""
    text = """
duration: 20m
workload: [{channel: sms, users: 100, arrivals: {burst: {size: 200, every: 1h}}}]
channels:
  sms:
    retry: {max_attempts: 12, backoff: constant, initial_delay: WAIT, jitter: none, retry_after: ignore}
    provider: {throttle: {rate: 60/min, kind: sliding_window, counts: all}}
"""
    eager, patient = (simulation.run(parse(text.replace("WAIT", wait))) for wait in ("5s", "61s"))
    assert eager.summary["sent"] == 60
    assert patient.summary["sent"] == 200
