"""Uses of tenacity: what was imported, beside what tenacity itself does with the same file."""

from __future__ import annotations

from typing import Any

import pytest
from beside import tables
from effort import examples
from hypothesis import given, settings, strategies as st
from imported import one
from judged import agrees, by_tenacity, policies, policy

from simulation.importing.policy import Mark

TABLES = tables(__file__)
HEAD = "from datetime import timedelta\nfrom tenacity import *\nimport tenacity\n"


def judged(text: str, **options: Any) -> None:
    (found,) = (each for each in policies("tenacity", text, **options) if "call" in each.name)
    agrees(found, by_tenacity(text, "call", 0.0), by_tenacity(text, "call", 1.0))


@pytest.mark.parametrize("text", [pytest.param(row["text"], id=row["name"]) for row in TABLES["judged"]])
def test_starts_are_those_of_tenacity(text: str) -> None:
    judged(HEAD + text)


NUMBERS = st.sampled_from([0, 0.1, 1, 2.5, 10])
PARTS = st.one_of(
    st.just("wait_none()"),
    st.builds("wait_fixed({})".format, NUMBERS),
    st.builds("wait_fixed(timedelta(seconds={}))".format, NUMBERS),
    st.builds("wait_random({}, {})".format, st.sampled_from([0, 1]), st.sampled_from([1, 2.5])),
    st.builds(
        "wait_incrementing({}, {}, max={})".format, NUMBERS, st.sampled_from([-2, 0, 3]), st.sampled_from([5, 50])
    ),
    st.builds(
        "wait_exponential({}, {}, {}, {})".format,
        NUMBERS,
        st.sampled_from([1, 5, 60]),
        st.sampled_from([1, 1.5, 2, 3]),
        st.sampled_from([0, 2, 8]),
    ),
    st.builds("wait_random_exponential(multiplier={}, max={})".format, NUMBERS, st.sampled_from([1, 5, 60])),
    st.builds(
        "wait_exponential_jitter(max={}, jitter={}, exp_base={})".format,
        st.sampled_from([0.5, 5, 60]),
        NUMBERS,
        st.sampled_from([1, 2, 3]),
    ),
)
FIXED = st.builds("wait_fixed({})".format, NUMBERS)
WAITS = st.one_of(
    PARTS,
    st.builds("{} + {}".format, PARTS, FIXED),
    st.builds("wait_chain(*[{}] * 2, {})".format, FIXED, FIXED),
    st.builds("sum([{}, {}])".format, FIXED, PARTS),
)
STOPS = st.one_of(
    st.builds("stop_after_attempt({})".format, st.sampled_from([0, 1, 4, 9])),
    st.builds("(stop_after_delay({}) | stop_after_attempt(12))".format, st.sampled_from([0, 3, 7.5])),
    st.builds("stop_any(stop_before_delay({}), stop_after_attempt(12))".format, st.sampled_from([3, 7.5])),
)


@given(WAITS, STOPS)
@settings(max_examples=examples(400), deadline=None)
def test_drawn_strategies_start_attempts_as_tenacity_does(wait: str, stop: str) -> None:
    text = f"{HEAD}@retry(wait={wait}, stop={stop})\ndef call():\n    fail()\n"
    found = policy("tenacity", text)
    if found.channel is None:  # refused: bounds that are no formula here
        assert any("no formula here" in each.reason for each in found.findings), found.findings
        return
    agrees(found, by_tenacity(text, "call", 0.0), by_tenacity(text, "call", 1.0))


def test_each_setting_has_its_mark() -> None:
    for row in TABLES["marks"]:
        found = policy("tenacity", HEAD + row["text"], **row.get("given", {}))
        said = {each.text: f"{each.mark.value}: {each.reason}" for each in found.findings}
        for text, mark in row["marks"].items():
            assert said.get(text, "nothing").startswith(mark), (row["name"], said)
        assert (found.channel is None) == row.get("open", False), (row["name"], said)
        assert [each.name for each in found.questions] == row.get("asks", []), row["name"]


def test_a_minimum_bounds_random_waits_from_version_9_on() -> None:
    text = f"{HEAD}@retry(wait=wait_random_exponential(min=2, max=9), stop=stop_after_attempt(4))\ndef call(): ...\n"
    waits = {version: policy("tenacity", text, versions={"tenacity": version}) for version in ("8.5", "9.2")}
    assert waits["9.2"].channel == {
        "retry": {
            "max_attempts": 4,
            "initial_delay": "1s",
            "backoff_multiplier": 2.0,
            "max_delay": "9s",
            "min_delay": "2s",
            "jitter": "full",
        }
    }
    wait = {each.text: each for each in policy("tenacity", text).findings}["wait=wait_random_exponential(min=2, max=9)"]
    assert wait.mark.value == "approximate"  # as the version decides
    assert "--library tenacity=…" in wait.reason
    assert waits["8.5"].channel is not None
    assert waits["8.5"].channel["retry"]["schedule"] == ["2s", "2s", "4s"]


def test_what_else_decides_a_function_is_noted() -> None:
    decorator = "@retry(stop=stop_after_attempt(3))\n"
    text = f"{HEAD}{decorator * 2}def call(): ...\n{decorator}def other(): ...\nother.retry_with(stop=stop_never)()\n"
    notes = {each.name: each.notes for each in policies("tenacity", text)}
    nested = ("The function has another such decorator: their attempts multiply.",)
    assert notes == {
        "a.call": nested,
        "a.call:5": nested,
        "a.other": ("Code sets stop or wait of other anew, which is not followed.",),
    }


def test_a_policy_that_is_made_in_a_factory_has_its_arguments() -> None:
    head = "from tenacity import retry, stop_after_attempt, wait_fixed\n"
    made = "def make(n, wait=2):\n    return retry(stop=stop_after_attempt(n), wait=wait_fixed(wait))\n"
    use = "from b import make\nfrom tenacity import RetryError\n@make(5)\ndef call(): ...\n"
    found = policies("tenacity", use, head + made)
    assert [each.channel and each.channel["retry"]["max_attempts"] for each in found if each.name == "a.call"] == [5]


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("tenacity", "a.py", "from tenacity import retry\n@retry\ndef call():\n    fail()\n"),
        ("stamina", "a.py", "import stamina\n@stamina.retry(on=OSError, attempts=None)\ndef call():\n    fail()\n"),
        (
            "celery",
            "a.py",
            "from celery import shared_task\n"
            "@shared_task(autoretry_for=(OSError,), max_retries=None)\ndef call():\n    fail()\n",
        ),
        ("sidekiq", "a.rb", "class Call < ApplicationJob\n  retry_on StandardError, attempts: :unlimited\nend\n"),
    ],
)
def test_attempts_without_an_end_are_unlimited(kind: str, name: str, text: str) -> None:
    policy = one(kind, text, names=[name])
    assert policy.channel is not None
    assert policy.channel["retry"]["max_attempts"] == "unlimited"
    assert Mark.EXACT in {finding.mark for finding in policy.findings if finding.path == "retry.max_attempts"}
