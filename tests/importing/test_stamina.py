"""Uses of stamina: what was imported, beside what stamina itself does with the same file."""

from __future__ import annotations

from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from judged import agrees, by_tenacity, policies, policy

HEAD = "import datetime as dt\nimport stamina\n"

OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "attempts": st.sampled_from(["None", "1", "3", "12"]),
        "timeout": st.sampled_from(["None", "3", "7.5", "dt.timedelta(seconds=20)"]),
        "wait_initial": st.sampled_from(["0", "0.5", "dt.timedelta(milliseconds=300)"]),
        "wait_max": st.sampled_from(["0.4", "3", "dt.timedelta(minutes=1)"]),
        "wait_jitter": st.sampled_from(["0", "0.25", "2"]),
        "wait_exp_base": st.sampled_from(["1", "1.5", "3"]),
    },
)


def judged(text: str, **options: Any) -> None:
    (found,) = (each for each in policies("stamina", text, **options) if each.name.endswith("call"))
    agrees(found, by_tenacity(text, "call", 0.0), by_tenacity(text, "call", 1.0))


@given(OPTIONS)
@settings(max_examples=examples(300), deadline=None)
def test_drawn_settings_start_attempts_as_stamina_does(options: dict[str, str]) -> None:
    keywords = ", ".join(["on=ValueError", *(f"{name}={value}" for name, value in options.items())])
    judged(f"{HEAD}@stamina.retry({keywords})\ndef call():\n    fail()\n")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("@stamina.retry(on=ValueError)\ndef call():\n    fail()\n", id="defaults"),
        pytest.param(
            "def call():\n    for attempt in stamina.retry_context(on=ValueError, attempts=4):\n"
            "        with attempt:\n            fail()\n",
            id="context",
        ),
        pytest.param(
            "from stamina import RetryingCaller as Caller\n"
            "def call():\n    Caller(timeout=5, wait_jitter=0).on(ValueError)(fail)\n",
            id="caller",
        ),
    ],
)
def test_starts_are_those_of_stamina(text: str) -> None:
    judged(HEAD + text)


def test_a_limit_of_nothing_is_none_before_version_25_2() -> None:
    text = f"{HEAD}@stamina.retry(on=ValueError, attempts=5, timeout=0)\ndef call(): ...\n"
    counts = {}
    for version in ("25.1", "26.1"):
        channel = policy("stamina", text, versions={"stamina": version}).channel
        assert channel is not None
        counts[version] = channel["retry"]["max_attempts"]
    assert counts == {"25.1": 5, "26.1": 1}


def test_arguments_that_stamina_does_not_take_are_refused() -> None:
    for keywords, why in (("attempts=3", "wants on="), ("on=OSError, tries=3", "has no argument tries")):
        found = policy("stamina", f"{HEAD}@stamina.retry({keywords})\ndef call(): ...\n")
        assert found.channel is None
        assert why in found.findings[0].reason


def test_a_cap_that_no_wait_reaches_does_nothing() -> None:
    text = f"{HEAD}@stamina.retry(on=OSError, wait_initial=10, wait_max=%s)\ndef call(): ...\n"
    marks = {}
    for cap in (300, 30):
        findings = {each.text: each for each in policy("stamina", text % cap).findings}
        marks[cap] = findings[f"wait_max={cap}"].mark.value, findings[f"wait_max={cap}"].reason
    assert marks == {300: ("does nothing", "no wait is longer than 41 s"), 30: ("exact", "")}


def test_what_stands_elsewhere_is_answered_by_the_name_that_is_asked_for() -> None:
    text = f"{HEAD}def call(tries):\n    stamina.retry_context(OSError, attempts=tries(), timeout=None)\n"
    (question,) = policy("stamina", text).questions
    found = policy("stamina", text, values={question.name: "7"})
    assert found.channel is not None
    assert found.channel["retry"]["max_attempts"] == 7
