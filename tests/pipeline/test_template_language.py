"""What templates may say, what is refused when they are read, and that filling one in is little work for any values."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product

import pytest
from beside import tables
from documents import text_of
from each_row import over_each
from hypothesis import given, strategies as st
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from timetables import send_at
from worlds import email

from actors.errors import REASON_LENGTH_MAX, TemplateError, TemplateRefused
from actors.frozen import FrozenDict
from actors.pipeline import template_language as language
from actors.pipeline.templates import Template, Templates

TABLES = tables(__file__)

WORK = "takes too much work to fill in"
LENGTH = "makes a text of more than 1,000,000 characters"
NUMBER = r"wanted a number below 1e\+15, got "
FORMATS = "use decimals(2), money('EUR') or date('%d.%m.%Y')"
OF_NUMBERS = f"{FORMATS}; send a number with zeros or blanks in front ready-made, as a variable"


def filled(body: str, *, html: bool = False, **metadata: object) -> str:
    templates = Templates({"t": Template(body=body, html=html)})
    return templates.fill_in(email("n", metadata={"template": "t", **metadata})).message


def problems(body: str) -> list[str]:
    return [why for _, why in language.read(body, False)[1]]


def cannot(what: str, instead: str) -> str:
    return f"{what} cannot be used in a template: {instead}"


# ── what is refused when it is read ─────────────────────────────────────────────────────────────────────────────────

REFUSED = TABLES["refused"] | {
    "{{ " + "(" * 500 + "1" + ")" * 500 + " }}": "nested too deep: wanted at most 30 levels",
    "{{ x" + "|upper" * 40 + " }}": "nested too deep: wanted at most 30 levels",
    "{{ " + "not " * 3_000 + "x }}": "nested too deep: wanted at most 30 levels",
    "{{ x" + "[x" * 400 + "]" * 400 + " }}": "nested too deep: wanted at most 30 levels",
    "{% if x %}" * 40 + "{% endif %}" * 40: "nested too deep: wanted at most 30 levels",
    "{{ x }}" * 3_000: "too long: wanted at most 10,000 words and signs",
}  # fmt: skip


@over_each(REFUSED)
def test_a_construct_that_is_not_allowed_is_named_with_what_takes_its_place(body):
    assert REFUSED[body] in problems(body)
    with pytest.raises(TemplateRefused, match=r"^template 't': line 1: "):
        filled(body, x=[1], name="Ann")


def test_all_that_is_refused_is_named_by_its_line():
    body = "Hi {{ name.upper() }}\n{% if a %}\n{{ '%d'|format(1) }}{{ 2 ** 3 }}\n{% endif %}{{ nobody|upper }}"
    assert language.read(body, False)[1] == [
        (1, cannot("a call of upper()", "use the filter upper")),
        (3, cannot("'**'", "multiply")),
        (3, cannot("the filter format", OF_NUMBERS)),
    ]


# ── what is allowed ─────────────────────────────────────────────────────────────────────────────────────────────────

SAFE = TABLES["safe"]


@given(
    st.sampled_from(SAFE),
    st.booleans(),
    st.text(max_size=30),
    st.integers(-1000, 1000),
    st.lists(st.one_of(st.text(max_size=5), st.integers(-9, 9), st.none()), max_size=5),
)
def test_what_is_allowed_is_what_jinja_makes_of_it(body, html, name, number, items):
    single = {"variable_start_string": "{", "variable_end_string": "}"} if "{{" not in body and "{%" not in body else {}
    plain = SandboxedEnvironment(undefined=StrictUndefined, autoescape=html, keep_trailing_newline=True, **single)
    rows = ({"a": number}, {"a": 2, "b": name}, {"a": 0})
    order = {"name": name, "number": number}
    variables = {"name": name, "number": number, "items": tuple(items), "rows": rows, "order": order}
    try:
        expected = plain.from_string(body).render(variables)
    except Exception:
        with pytest.raises(TemplateError):
            filled(body, html=html, **variables)
    else:
        assert filled(body, html=html, **variables) == expected


@pytest.mark.parametrize(
    ("body", "value", "text"),
    [
        ("{x|decimals}", 1234.5, "1234.50"),
        ("{x|decimals(0)} {x|decimals(3)}", Decimal("2.5"), "2 2.500"),
        ("{x|decimals(2)}", "19.9", "19.90"),
        ("{x|money('EUR')}", -1234567.891, "-1,234,567.89 EUR"),
        ("{x|money('EUR', ',')}", 1234.5, "1.234,50 EUR"),
        ("{x|money(currency='EUR', point=',')}", 1234.5, "1.234,50 EUR"),
        ("{x|money('JPY')} {x|money('KWD')}", "1500", "1,500 JPY 1,500.000 KWD"),
        ("{x|date('%d.%m.%Y')}", "2026-01-31", "31.01.2026"),
        ("{x|date('%d.%m.%Y %H:%M%%')}", "2026-01-31T09:30:00Z", "31.01.2026 09:30%"),
        ("{x|date('%j')}", datetime(2026, 2, 1, tzinfo=UTC), "032"),
    ],
)
def test_the_filters_that_take_the_place_of_formats(body, value, text):
    assert filled(body, x=value) == text


def test_an_item_whose_name_is_a_method_of_a_dict_is_the_item():
    order = {"items": ["a", "b"], "keys": 3, "__class__": "x"}
    assert filled("{% for each in order.items %}{{ each }}{% endfor %}{{ order.keys }}", order=order) == "ab3"
    with pytest.raises(TemplateError, match="has no attribute 'values'"):
        filled("{{ order.values }}", order=order)


def test_the_guide_has_a_template_that_is_allowed_and_names_every_filter():
    guide = text_of("service-process").split("## What a template may say")[1].split("## A game day")[0]
    assert problems(guide.split("```")[1].partition("\n\n")[2]) == []
    assert set(re.findall(r"`([a-z]+)`", guide.split("these filters:")[1].split(". ")[0])) | {"d", "e"} == (
        language._FILTERS.keys()
    )


# ── values of strangers ─────────────────────────────────────────────────────────────────────────────────────────────

BIG = "(<!--&a b.c@d " * 70_000
EMOJI = "\U0001f389&ß '" * 190_000


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value, "x"]
    return value


VALUES = FrozenDict({
    "big": BIG, "other": BIG[:-1] + "!", "emoji": EMOJI, "rows": [{"a": number % 7} for number in range(30_000)],
    "many": list(range(100_000)), "texts": ["\U000e0001" * 1_000] * 900, "deep": nested(60), "name": "Ann",
    "lists": [[0] * 1_000 + [number] for number in range(100)], "hay": "a" * 29_000, "needle": "a" * 50 + "b" * 48,
    "huge": 10**4_000, "inf": float("inf"), "nan": float("nan"), "decimal": Decimal("1e999999"),
    "dict": {f"k{number}": number for number in range(9_000)}, "pattern": "%1000000000d",
    "path": "0." * 20_000 + "0", "paths": "0," * 4_000 + "0",
})  # fmt: skip


def loop(body: str) -> str:
    return "{% for i in many %}" + body + "{% endfor %}"


STOPPED = {
    "two loops without a body": (loop(loop("")), WORK),
    "a loop that passes everything by": (loop("{% for j in many if false %}{% endfor %}"), WORK),
    "plain text in a loop": (loop("x" * 5_000), LENGTH),
    "plain text in a loop in a set": ("{% set x %}" + loop("x" * 5_000) + "{% endset %}", WORK),
    "a text that doubles, by ~": ("{% set a = 'ab' %}" + "{% set a = a ~ a %}" * 40, WORK),
    "a text that doubles, by +": ("{% set a = 'ab' %}" + "{% set a = a + a %}" * 40, WORK),
    "a text that doubles, by a block": ("{% set a = 'ab' %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40, LENGTH),
    "copies that are kept": ("".join(f"{{% set a{i} = emoji[1:900000] %}}" for i in range(50)), WORK),
    "join by a long one": ("{{ many|join(big) }}", WORK),
    "join of many long ones": ("{{ texts|join }}", WORK),
    "join with each other": ("{{ (many[:9000])|join(hay) }}", LENGTH),
    "replace": ("{{ hay|replace('a', hay) }}", LENGTH),
    "replace of nothing": ("{{ hay|replace('', hay) }}", LENGTH),
    "the same text again and again": (loop("{{ hay }}"), LENGTH),
    "a filter again and again": (loop("{% if big|upper %}{% endif %}"), WORK),
    "a slow filter": ("{{ big|title }}", WORK),
    "a slow filter of long characters": ("{{ emoji|urlencode }}", WORK),
    "comparisons": (loop("{% if big == other %}{% endif %}"), WORK),
    "comparisons of lists": (loop("{% if lists == lists %}{% endif %}"), WORK),
    "searches": (loop("{% if needle in hay %}{% endif %}"), WORK),
    "searches in a list": (loop("{% if 'x' in many %}{% endif %}"), WORK),
    "slices": (loop("{% if big[::-1] %}{% endif %}"), WORK),
    "slices of lists": (loop("{% if many[1:] %}{% endif %}"), WORK),
    "sorts": (loop("{% if rows|sort(attribute='a') %}{% endif %}"), WORK),
    "sorts of lists": (loop("{% if lists|sort %}{% endif %}"), WORK),
    "sorts of characters": ("{{ hay|sort|join }}{{ big[:40000]|unique|join }}", WORK),
    "selections": (loop("{% if rows|selectattr('a', 'gt', 5)|list %}{% endif %}"), WORK),
    "maps": ("{{ many|map('string')|map('upper')|join }}", WORK),
    "printed lists": (loop("{{ deep }}{{ lists }}"), WORK),
    "long characters as a list prints them": ("{{ texts[:300] }}", LENGTH),
    "numbers that are too large": ("{{ huge * 2 }}", NUMBER + "int"),
    "numbers that become too large": ("{{ 100000000 * 100000000 }}", NUMBER + "int"),
    "infinity": ("{{ inf + 1 }}", NUMBER + "inf"),
    "no number": ("{{ nan|round }}", NUMBER + "nan"),
    "a decimal of a million digits": ("{{ decimal|decimals(2) }}", NUMBER + "Decimal"),
    "a decimal of a million digits as a whole number": ("{{ decimal|int }}", NUMBER + "Decimal"),
    "changes of lists": (loop("{% if loop.changed(lists) %}{% endif %}"), WORK),
    "a turn of a long text": (loop("{{ loop.cycle(big, other)|length }}"), WORK),
    "a long path": ("{{ many|map('string')|map(attribute=path)|join }}", WORK),
    "long paths to sort by": ("{{ (many|map('string')|list)[:2000]|sort(attribute=path)|length }}", WORK),
    "a long path that is written": ("{{ texts|map(attribute='" + "0." * 4_000 + "0')|join }}", WORK),
    "many paths to sort by": ("{{ (many|map('string')|list)[:2000]|sort(attribute=paths)|length }}", WORK),
    "a method": ("{{ name.upper }}", "wanted a value, got builtin_function_or_method"),
    "digits of a huge number": ("{{ (huge ~ '0')|int // 3 }}", NUMBER + "int"),
    "a text times a number": ("{{ big * 1000000 }}", NUMBER),
    "a list times a number": ("{{ many * 1000000 }}", NUMBER + "tuple"),
    "a pattern of a stranger's": ("{{ pattern % 1 }}", NUMBER),
    "a pattern of a stranger's, for dates": ("{{ '2026-01-31'|date(pattern) }}", "wanted a pattern such as"),
    "a pattern as a test has it": ("{% if pattern is divisibleby 3 %}{% endif %}", NUMBER),
    "lists in lists": ("{% set a = (1,) %}" + "{% set a = (a,) %}" * 100, "wanted a text or a number in a list"),
    "places of a stranger's": ("{{ 1|decimals(huge) }}", "wanted 0 to 15 decimals"),
    "places for rounding": ("{{ 1.5|round(huge, 'ceil') }}", "wanted 0 to 15 decimals"),
    "a key that is a list": ("{{ dict[texts[1:]] }}", "wanted a name or a number in brackets, got tuple"),
    "a loop over a number": ("{% for i in huge %}{% endfor %}", "wanted a list, got int"),
}  # fmt: skip


@over_each(product(STOPPED, (False, True)))
def test_a_text_that_would_take_seconds_or_all_memory_is_stopped(name, html):
    body, why = STOPPED[name]
    compiled, problems = language.read(body, html)
    assert not problems
    with pytest.raises(language.Unfit, match="^" + why):
        language.fill_in(compiled, VALUES, language.RenderBudget())


def test_a_template_that_is_stopped_is_named():
    with pytest.raises(TemplateError, match="^template 't': " + WORK) as raised:
        filled("{% for i in many %}{% for j in many %}{% endfor %}{% endfor %}", many=[1] * 1_000)
    assert not isinstance(raised.value, TemplateRefused)


def test_what_is_constant_is_not_made_while_the_template_is_read(monkeypatch):
    monkeypatch.setattr(language._Environment, "call_binop", lambda *_: pytest.fail("made"))
    assert language.read("{{ 1 + 2 }}{{ 'a'|title }}{{ [1, 2]|sum }}", False)[1] == []


def test_a_long_text_of_a_client_is_no_reason_to_stop():
    text = "naïve & <co> " * 40_000
    assert filled("{name}", name=text) == text
    assert filled("{{ name|upper }}", name=text) == text.upper()
    assert len(filled("<p>{name}</p>", html=True, name=text)) > len(text)


def test_a_long_digest_is_filled_in():
    row = "<tr><td>{{ loop.index }}</td><td>{{ line.name|title }}</td><td>{{ line.price|decimals(2) }}</td>"
    body = "{% for line in lines %}" + row + "<td>{{ line.count * line.price }}</td></tr>\n{% endfor %}"
    lines = [{"name": f"a thing of kind {number}", "price": 9.5, "count": 3} for number in range(500)]
    text = filled(body, html=True, lines=lines)
    assert text.count("<tr>") == 500
    assert "A Thing Of Kind 499</td><td>9.50</td><td>28.5" in text


def test_the_same_template_is_stopped_after_the_same_steps():
    def taken(times: int) -> int:
        budget = language.RenderBudget()
        compiled, _ = language.read("{% for i in many %}{{ name|upper }}{% endfor %}", False)
        assert compiled is not None
        language.fill_in(compiled, {"many": list(range(times)), "name": "Ann"}, budget)
        return language.STEPS_MAX - budget.steps

    none, hundred, two_hundred = taken(0), taken(100), taken(200)
    assert taken(100) == hundred
    assert two_hundred - hundred == hundred - none >= 500


def test_subject_and_body_have_one_budget():
    body = "{% for i in many %}{% if i %}{% endif %}{% endfor %}"
    templates = Templates({"t": Template(subject=body, body=body), "u": Template(body=body)})
    many = list(range(language.STEPS_MAX // 15))

    def fill(name: str) -> str:
        return templates.fill_in(email("n", metadata={"template": name, "many": many})).message

    assert fill("u") == ""
    with pytest.raises(TemplateError, match=WORK):
        fill("t")


def test_a_client_cannot_replace_what_the_operator_has_set():
    templates = Templates(variables={"platform": "Shop"})
    metadata = {"template": "welcome", "name": "Ann", "platform": "Evil"}
    command = templates.fill_in(email("n", metadata=metadata))
    assert (command.subject, "Evil" in command.message) == ("Welcome to Shop!", False)


def test_reasons_are_short_whatever_the_client_has_named():
    named = [{"template": "x" * 60_000}, {"template": "welcome", "lang": "y" * 60_000}, {"template": ["z" * 60_000]}]
    commands = [email(str(number), metadata=each) for number, each in enumerate(named)]
    reasons = send_at({0: commands}, templates=Templates()).reasons
    assert len(reasons) == 3
    assert max(map(len, reasons)) <= REASON_LENGTH_MAX
    assert "known are order_confirm, welcome" in reasons[0]


def test_braces_of_css_and_json_are_told_from_those_of_variables():
    single, double = (
        "what stands in { } is a variable: where CSS or JSON has braces, write {{ name }} for each variable",
        "what stands in {{ }} is a value, in {% %} a statement: part the braces of CSS or JSON by a space",
    )
    for body in ("p {color: red;} Hi {name}", '{"a": "{name}"}'):
        (problem,) = problems(body)
        assert problem.endswith(single)
    (problem,) = problems('{{"a": "{{ name }}"}}')
    assert problem.endswith(double)
    assert filled('{"a": {"b": "{{ name }}"} } p {color: red}', name="Ann") == '{"a": {"b": "Ann"} } p {color: red}'


@pytest.mark.parametrize(
    ("body", "got"), [("{{ 'Total: ' + x }}", "'Total: ' and int"), ("{{ x + ' EUR' }}", "int and ' EUR'")]
)
def test_a_text_and_a_number_are_joined_by_another_operator(body, got):
    said = f"wanted two numbers or two texts, got {got}: write ~ for + to join them, or the filter float to add"
    with pytest.raises(TemplateError, match=re.escape(said)):
        filled(body, x=3)
    assert filled(body.replace("+", "~"), x=3) in ("Total: 3", "3 EUR")
