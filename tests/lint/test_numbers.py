"""The numbers of a warning, and the names of the rules."""

import re
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from actors.lint.channel import lint
from actors.lint.words import apart, duration, many_in_a_while, percent, plain_number, rate
from actors.settings.channel import ChannelConfig

POSITIVE = st.floats(1e-6, 1e8)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("write", "unit"),
    [(duration, "s"), (rate, "1/s"), (many_in_a_while, "1/s"), (percent, "share"), (plain_number, None)],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
@given(value=POSITIVE)
def test_a_number_keeps_its_value_and_its_unit_in_a_sentence(write, unit, value):
    if write is percent:
        value = min(value, 1.0)
    text, numbers = apart(f"it is {write(value)}, and so on for 2 more")
    (number,) = numbers
    assert number[1:] == (value, unit)
    assert number.text in text
    assert text.startswith("it is ")
    assert text.isprintable()


@given(st.text(alphabet="\x02\x03\x1f1s/.e", max_size=30))
def test_no_name_in_a_sentence_can_break_it(name):
    text, numbers = apart(f"{name} takes {duration(2)}")
    assert numbers[-1] == ("2s", 2.0, "s")
    assert text.endswith(" takes 2s")


def test_a_finding_has_the_numbers_of_its_sentence_as_they_are():
    config = ChannelConfig(
        timeout=0.1, provider={"latency": 1 / 3}, quota={"rate": "7/5m"}, circuit_breaker={"enabled": False}
    )
    late, over = lint("email", config, arrivals_per_s=1 / 7)
    assert late.text.startswith("100ms is shorter than the provider's median latency of 333ms: 100% of")
    assert late.document["numbers"] == [
        {"text": "100ms", "value": 0.1, "unit": "s"},
        {"text": "333ms", "value": pytest.approx(1 / 3), "unit": "s"},
        {"text": "100%", "value": 1.0, "unit": "share"},
    ]
    assert over.text == "7/5m is below the 8.57/min that arrive: the queue grows by 7.17 a minute"
    assert [(each.text, each.value, each.unit) for each in over.numbers] == [
        ("7/5m", pytest.approx(7 / 300), "1/s"),
        ("8.57/min", 1 / 7, "1/s"),
        ("7.17 a minute", pytest.approx(1 / 7 - 7 / 300), "1/s"),
    ]


def test_rules_have_names_of_one_form():
    sources = [*(ROOT / "actors" / "lint").glob("*.py"), ROOT / "simulation" / "scenario" / "lint.py"]
    found = [
        name for path in sources for name in re.findall(r'^ +"([a-z]+-[a-z-]+)",$', path.read_text(), re.MULTILINE)
    ]
    assert len(found) > 30
    assert len(found) - len(set(found)) <= 1  # only settings without an effect are found by several rules
