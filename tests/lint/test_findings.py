"""The numbers of a warning, and the names of the rules."""

import ast
import re
from pathlib import Path
from string import Formatter

import pytest
from hypothesis import given, strategies as st

from actors.lint.channel import lint
from actors.lint.findings import Number, Rules, percent, said
from actors.lint.traffic import Traffic
from actors.settings.channel import ChannelConfig

POSITIVE = st.floats(1e-6, 1e8)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("written", "unit"),
    [(":duration", "s"), (":rate", "1/s"), (":many", "1/s"), (":percent", "share"), (":failure(s)", None), ("", None)],
)
@given(value=POSITIVE)
def test_a_number_keeps_its_value_and_its_unit_in_a_sentence(written, unit, value):
    if unit == "share":
        value = min(value, 1.0)
    sentence = said(f"it is {{given{written}}}, and so on for 2 more", given=value)
    (number,) = sentence.numbers
    assert number[1:] == (value, unit, "given")
    assert number.text in sentence.text
    assert sentence.text.startswith("it is ")


@given(st.text(alphabet="{}:!s.0[]", max_size=30))
def test_no_name_in_a_sentence_can_break_it(name):
    sentence = said("{name} takes {takes:duration}", name=name, takes=2)
    assert sentence.text == f"{name} takes 2s"
    assert sentence.numbers == (Number("2s", 2.0, "s", "takes"),)


def test_a_sentence_in_a_sentence_brings_its_numbers():
    inner = said("{calls:call(s)} of {all}", calls=1, all=7)
    outer = said("{of:percent}, {inner} and {retries:retry/retries}", of=0.5, inner=inner, retries=2)
    assert outer.text == "50%, 1 call of 7 and 2 retries"
    assert [(number.name, number.value) for number in outer.numbers] == [
        ("of", 0.5), ("calls", 1), ("all", 7), ("retries", 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0%"),
        (0.0001, "less than 0.05%"),
        (0.125, "12.5%"),
        (0.9999, "more than 99.9%"),
        (1, "100%"),
        (120, "12,000%"),
    ],
)
def test_a_share_in_percent(share, text):
    assert percent(share) == text
    assert said("{share:percent}", share=share).numbers[0].text == text.rpartition(" ")[2]


def test_a_rule_is_found_at_its_path():
    rules = Rules("""
    too-many/keys  retry.{key}
        {given} is
        too many
    """)
    finding = rules.found("too-many/keys", at=("channels", "a.b"), key="max_attempts", given=9_999)
    with pytest.raises(ValueError, match="got too-many twice"):
        Rules("too-many  a\n    b\ntoo-many  c\n    d")
    assert finding.path == ("channels", "a.b", "retry", "max_attempts")
    assert (finding.rule, str(finding)) == ("too-many", "channels.a.b.retry.max_attempts: 9,999 is too many")


def test_a_finding_has_the_numbers_of_its_sentence_as_they_are():
    config = ChannelConfig(
        timeout=0.1, provider={"latency": 1 / 3}, quota={"rate": "7/5m"}, circuit_breaker={"enabled": False}
    )
    late, over = lint("email", config, Traffic(per_s=1 / 7))
    assert late.text.startswith("100ms is shorter than the provider's median latency of 333ms: 100% of")
    assert late.document["numbers"] == [
        {"text": "100ms", "value": 0.1, "unit": "s"},
        {"text": "333ms", "value": pytest.approx(1 / 3), "unit": "s"},
        {"text": "100%", "value": 1.0, "unit": "share"},
    ]
    assert over.text == "7/5m is below the 8.57/min that arrive: the queue grows by 7.17 a minute"
    assert [(each.text, each.value, each.unit) for each in over.said.numbers] == [
        ("7/5m", pytest.approx(7 / 300), "1/s"),
        ("8.57/min", 1 / 7, "1/s"),
        ("7.17 a minute", pytest.approx(1 / 7 - 7 / 300), "1/s"),
    ]


def modules_of_rules():
    sources = [*(ROOT / "actors" / "lint").glob("*.py"), *(ROOT / "simulation" / "scenario").rglob("*.py")]
    for tree in (ast.parse(path.read_text()) for path in sources):
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
        tables = [ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "Rules"]
        found = [call for call in calls if ast.unparse(call.func) == "_RULES.found"]
        if tables:
            yield Rules(tables[0]), [(ast.literal_eval(call.args[0]), call.keywords) for call in found]


def test_rules_have_names_of_one_form_and_each_is_found_somewhere():
    names = [(list(rules.declared), sorted({name for name, _ in calls})) for rules, calls in modules_of_rules()]
    assert all(sorted(declared) == found for declared, found in names)
    assert all(re.fullmatch("[a-z]+-[a-z-]+(/[a-z-]+)?", name) for declared, _ in names for name in declared)
    assert sum(len(declared) for declared, _ in names) > 80


def test_a_sentence_gets_the_values_that_it_has_and_no_others():
    for rules, calls in modules_of_rules():
        for name, keywords in calls:
            given = {keyword.arg for keyword in keywords} - {"at"}
            if None in given:  # **fails, in which these two always are
                given = given - {None} | {"failing", "timing_out"}
            path, sentence = rules.declared[name]
            fields = (field for text in (*path, sentence) for _, field, _, _ in Formatter().parse(text))
            assert given == set(fields) - {None}, name
