"""The numbers of a warning, read from its text again, and the names of the rules."""

import re
from pathlib import Path

import pytest
from hypothesis import assume, given, strategies as st

from actors.formatting import plain_number
from actors.lint.words import duration, numbers_in, percent, rate

POSITIVE = st.floats(1e-6, 1e8)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("write", "unit"),
    [(duration, "s"), (rate, "1/s"), (percent, "share"), (plain_number, None)],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
@given(value=POSITIVE)
def test_what_is_written_is_read_again_with_its_digits(write, unit, value):
    if write is percent:
        value = min(value, 1.0)
    text = write(value)
    assume("than" not in text)
    (number,) = numbers_in(f"it is {text}, and so on")
    assert (number.text, number.unit) == (text, unit)
    assert number.value == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("8/s is below: the queue grows by 240 a minute", [("8/s", 8, "1/s"), ("240 a minute", 4, "1/s")]),
        ("10/5m, and 30/min", [("10/5m", 1 / 30, "1/s"), ("30/min", 0.5, "1/s")]),
        ("dead-lettered: 2 an hour", [("2 an hour", 1 / 1800, "1/s")]),
        ("5, or 1,000,000 in 3m.", [("5", 5, None), ("1,000,000", 1e6, None), ("3m", 180, "s")]),
        ("more than 99.9% of backup2 at mx-1.example", [("99.9%", 0.999, "share")]),
    ],
)  # fmt: skip
def test_each_has_its_unit_and_names_have_none(text, numbers):
    assert [tuple(number) for number in numbers_in(text)] == [
        (written, pytest.approx(value), unit) for written, value, unit in numbers
    ]


def test_rules_have_names_of_one_form():
    sources = [*(ROOT / "actors" / "lint").glob("*.py"), ROOT / "simulation" / "scenario" / "lint.py"]
    found = [
        name for path in sources for name in re.findall(r'^ +"([a-z]+-[a-z-]+)",$', path.read_text(), re.MULTILINE)
    ]
    assert len(found) > 30
    assert len(found) - len(set(found)) <= 1  # only settings without an effect are found by several rules
