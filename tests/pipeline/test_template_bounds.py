"""A template that would take seconds, or all memory, is stopped; any other one is filled in as plain Jinja does it."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from worlds import World, email, on_both_clocks

from actors.errors import REASON_LENGTH_MAX, TemplateError
from actors.pipeline import template_sandbox as sandbox
from actors.pipeline.templates import Template, Templates

WORK = "takes too much work to fill in"
LENGTH = "makes a text of more than 1,000,000 characters"
WIDTH = "wants a width of more than 10,000"
BITS = "makes a number of more than 10,000 bits"

BIG = "(<!--&a b.c@d " * 7_000
ITEMS = [{"a": number % 7} for number in range(30_000)]


def filled(body: str, *, html: bool = False, **metadata: object) -> str:
    templates = Templates({"t": Template(body=body, html=html)})
    return templates.fill_in(email("n", metadata={"template": "t", **metadata})).message


def loop(body: str, times: int = 100_000) -> str:
    return f"{{% for i in range({times}) %}}{body}{{% endfor %}}"


def growing(step: str, start: str = "'ab'", end: str = "") -> str:
    body = loop("{% set ns.s = " + step + " %}", 60)
    return "{% set ns = namespace(s=" + start + ") %}" + body + end


STOPPED = {
    "loops in loops": (loop(loop("x")), WORK),
    "loops of nothing": (loop(loop("")), WORK),
    "loops that pass everything by": (loop("{% for j in range(100000) if false %}x{% endfor %}"), WORK),
    "macros that call themselves twice": (
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}", WORK),
    "loops that call themselves": (
        "{% for x in [1, 2, 3] recursive %}{{ loop([1, 2, 3]) if loop.depth < 30 }}{% endfor %}", WORK),
    "text in a loop": (loop("x" * 5_000), LENGTH),
    "text in a macro": ("{% macro m() %}" + "x" * 5_000 + "{% endmacro %}" + loop("{% set _ = m() %}"), LENGTH),
    "a text times a number": ("{{ 'a' * 10**9 }}", LENGTH),
    "a number times a text": ("{{ 10**9 * 'a' }}", LENGTH),
    "a list times a number": ("{{ ([1] * 10**9)|length }}", LENGTH),
    "a power": ("{{ 10**(10**8) }}", BITS),
    "a number that doubles": (growing("ns.s * ns.s", "7"), BITS),
    "a text that doubles, by ~": (growing("ns.s ~ ns.s"), LENGTH),
    "a text that doubles, by +": (growing("ns.s + ns.s"), LENGTH),
    "a text that doubles, by join": (growing("[ns.s, ns.s]|join"), WORK),
    "a text that doubles, by replace": (growing("ns.s|replace('a', 'aa')"), WORK),
    "a text that doubles, by %": (growing("'%s%s' % (ns.s, ns.s)"), LENGTH),
    "a text that doubles, by format": (growing("'{0}{0}'.format(ns.s)"), WORK),
    "a text that doubles, in a block": (
        "{% set ns = namespace(s='ab') %}"
        + loop("{% set t %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = t %}", 60), LENGTH),
    "a list that doubles": (growing("ns.s + ns.s", "[1]"), WORK),
    "a list that grows in place": ("{% set l = [1] %}" + loop("{% set _ = l.extend(l.copy()) %}", 60), WORK),
    "lists of lists, written": (growing("[ns.s] * 10", "['ha']", "{{ ns.s }}"), WORK),
    "lists of lists, as a text": (growing("[ns.s] * 10", "['ha']", "{{ ns.s|string }}"), WORK),
    "lists of lists, joined": (growing("[ns.s] * 10", "['ha']", "{{ 'x' ~ ns.s }}"), WORK),
    "lists of lists, compared": (
        "{% set ns = namespace(s=['ha'], t=['ha']) %}"
        + loop("{% set ns.s = [ns.s] * 10 %}{% set ns.t = [ns.t] * 10 %}", 60) + "{{ ns.s == ns.t }}", WORK),
    "a list in itself": ("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}", WORK),
    "center": ("{{ 'a'|center(10**9) }}", WIDTH),
    "ljust": ("{{ 'a'.ljust(10**9) }}", WIDTH),
    "zfill": ("{{ 'a'.zfill(10**9) }}", WIDTH),
    "expandtabs": ("{{ ('\t' * 90000).expandtabs(10000) }}", LENGTH),
    "%, with a width": ("{{ '%1000000000d' % 1 }}", WIDTH),
    "%, with a precision": ("{{ '%.1000000000f' % 1 }}", WIDTH),
    "%, with a width beside it": ("{{ '%*d' % (10**9, 1) }}", WIDTH),
    "%, by name": ("{{ '%(a)1000000000d' % {'a': 1} }}", WIDTH),
    "format as a filter": ("{{ '%1000000000d'|format(1) }}", WIDTH),
    "format as a method": ("{{ '{:1000000000}'.format(1) }}", WIDTH),
    "format with a width beside it": ("{{ '{:{w}}'.format(1, w=10**9) }}", WIDTH),
    "format_map": ("{{ '{a:1000000000}'.format_map({'a': 1}) }}", WIDTH),
    "indent": ("{{ ('\n' * 90000)|indent(10000) }}", LENGTH),
    "batch": ("{{ [1]|batch(10**9, 'x')|list }}", WIDTH),
    "slice": ("{{ [1]|slice(10**9)|list }}", WIDTH),
    "round": ("{{ 1.5|round(10**9) }}", WIDTH),
    "to_bytes": ("{{ (1).to_bytes(10**9, 'big') }}", WIDTH),
    "replace": ("{{ ('a' * 90000)|replace('a', 'b' * 90000) }}", LENGTH),
    "replace as a method": ("{{ ('a' * 90000).replace('', 'b' * 90000) }}", LENGTH),
    "join, of long ones": ("{{ (['a' * 90000] * 90000)|join }}", WORK),
    "join, with a long one": ("{{ ('x' * 10000)|list|join('y' * 1000) }}", LENGTH),
    "translate": ("{{ ('a' * 90000).translate({97: 'b' * 90000}) }}", "access to attribute 'translate'"),
    "wordwrap": ("{{ ('a' * 2000)|wordwrap(1, true, 'x' * 9000) }}", LENGTH),
    "lorem ipsum": ("{{ lipsum(10**6) }}", "'lipsum' is undefined"),
    "sum of lists": ("{{ ([[1]] * 90000)|sum(start=[]) }}", WORK),
    "sums of ranges": (loop("{% if range(100000)|sum %}{% endif %}"), WORK),
    "lists of ranges": (loop("{% if range(100000)|list %}{% endif %}"), WORK),
    "looking in ranges": (loop("{% if 1.5 in range(100000) %}{% endif %}"), WORK),
    "looking in reversed ranges": (loop("{% if 1.5 in range(100000)|reverse %}{% endif %}"), WORK),
    "a dict of reversed ranges": (loop("{% set _ = dict.fromkeys(range(100000)|reverse) %}"), WORK),
    "maps of maps": ("{{ range(100000)|map('string')|map('upper')|map('center', 10000)|join }}", WORK),
}  # fmt: skip

WITH_VARIABLES = {
    "wordwrap": ("{{ big|wordwrap(3) }}", WORK),
    "urlize": ("{{ big|urlize }}", WORK),
    "striptags": ("{{ big|striptags }}", WORK),
    "striptags as a method": ("{{ (big|safe).striptags() }}", WORK),
    "pprint": ("{{ big|pprint }}", WORK),
    "the same text again and again": (loop("{{ big }}"), LENGTH),
    "a filter again and again": (loop("{{ big|upper }}"), WORK),
    "a method again and again": (loop("{% if big.upper() %}{% endif %}"), WORK),
    "comparisons": (loop("{% if big == other %}{% endif %}"), WORK),
    "searches": (loop("{% if 'zzz' in big %}{% endif %}"), WORK),
    "slices": (loop("{% if big[1:] %}{% endif %}"), WORK),
    "sorts": (loop("{% if items|sort(attribute='a') %}{% endif %}"), WORK),
    "groups": (loop("{% if items|groupby('a') %}{% endif %}"), WORK),
    "selections": (loop("{% if items|selectattr('a', 'gt', 5)|list %}{% endif %}"), WORK),
}


@pytest.mark.parametrize("name", STOPPED)
def test_a_template_that_would_take_seconds_or_all_memory_is_stopped(name):
    body, why = STOPPED[name]
    with pytest.raises(TemplateError, match="^template 't': " + why):
        filled(body)


@pytest.mark.parametrize("name", WITH_VARIABLES)
def test_long_variables_through_heavy_filters_are_stopped(name):
    body, why = WITH_VARIABLES[name]
    with pytest.raises(TemplateError, match="^template 't': " + why):
        filled(body, big=BIG, other=BIG[:-1] + "!", items=ITEMS)


def test_what_is_constant_is_not_made_while_the_template_is_read(monkeypatch):
    monkeypatch.setitem(sandbox.BoundedEnvironment.default_binop_table, "*", lambda left, right: pytest.fail("made"))
    Templates({"t": Template(body="x")})._compile("{{ 'a' * 10**9 }}{{ 'a'|center(10**9) }}", False)


def test_a_long_text_of_a_client_is_no_reason_to_stop():
    text = "naïve & <co> " * 50_000
    assert filled("{name}", name=text) == text
    assert filled("{{ name|upper }}", name=text) == text.upper()
    assert len(filled("<p>{name}</p>", html=True, name=text)) > len(text)


def test_a_long_digest_is_filled_in():
    row = "<tr><td>{{ loop.index }}</td><td>{{ line.name|title }}</td><td>{{ '%.2f'|format(line.price) }}</td>"
    body = "{% for line in lines %}" + row + "<td>{{ line.count * line.price }}</td></tr>\n{% endfor %}"
    lines = [{"name": f"a thing of kind {number}", "price": 9.5, "count": 3} for number in range(500)]
    text = filled(body, html=True, lines=lines)
    assert text.count("<tr>") == 500
    assert "A Thing Of Kind 499</td><td>9.50</td><td>28.5" in text


SAFE = [
    "{{ name }}", "{{ name|upper }}|{{ name|length }}|{{ name|e }}", "{{ name ~ number ~ items }}",
    "{% for each in items %}{{ loop.index }}/{{ loop.length }}:{{ each }}{% if not loop.last %}, {% endif %}"
    "{% endfor %}",
    "{% for each in items if each is string %}{{ each }}{% else %}none{% endfor %}",
    "{{ items|map('string')|join(', ') }}", "{{ items|list|length }} {{ name|replace('a', 'bb') }}",
    "{% macro row(x, y=1) %}<b>{{ x }}:{{ y }}</b>{{ caller() if caller }}{% endmacro %}{{ row(name) }}"
    "{{ row(number, 2) }}"
    "{% call row(name) %}within{% endcall %}",
    "{% filter upper %}{{ name }} and{% endfilter %}", "{% set x %}{{ name }}!{% endset %}{{ x }}{{ x|length }}",
    "{{ '%s is %05.1f' % (name, number) }}", "{{ '{} {:>8}'.format(name, number) }}", "{{ name.upper().split() }}",
    "{{ number + 1 }} {{ number * 2 }} {{ number ** 2 }} {{ -number }} {{ number // 3 }} {{ number % 3 }}",
    "{{ name * 3 }} {{ [1] + [2] }}", "{{ 'yes' if name == 'a' else 'no' }} {{ number < 5 }} {{ 'a' in name }}",
    "{% block a %}{{ name }}{% endblock %}{{ self.a() }}", "{{ missing|default('-') }} {{ missing is defined }}",
    "{% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}{% endif %}"
    "{% endfor %}",
    "{{ name|indent(2) }}{{ name|wordwrap(5) }}{{ name|truncate(7) }}{{ name|center(20) }}{{ name|striptags }}",
    "{{ items|tojson }} {{ name|urlencode }} {{ items|first|default('') }}", "{{ name[1:3] }}{{ name[0] if name }}",
    "{% with a = name %}{{ a }}{% endwith %}{{ range(3)|list }}{{ range(5)|sum }}{{ [3, 1, 2]|sort }}",
    "{% autoescape true %}{{ name ~ '<' }}{% endautoescape %}", "{{ {'a': name}.items()|list }}",
    "{% set c = cycler('x', 'y') %}{{ c.next() }}{{ c.next() }}{{ 'Order 1234567: %s' % name }}",
]  # fmt: skip


@given(
    st.sampled_from(SAFE),
    st.booleans(),
    st.text(max_size=30),
    st.integers(-1000, 1000),
    st.lists(st.one_of(st.text(max_size=5), st.integers(-9, 9), st.none()), max_size=5),
)
def test_what_is_not_stopped_is_what_jinja_makes_of_it(body, html, name, number, items):
    plain = SandboxedEnvironment(undefined=StrictUndefined, autoescape=html, keep_trailing_newline=True)
    variables = {"name": name, "number": number, "items": tuple(items)}
    try:
        expected = plain.from_string("{{ '' }}" + body).render(variables)
    except Exception:
        with pytest.raises(TemplateError):
            filled("{{ '' }}" + body, html=html, **variables)
    else:
        assert filled("{{ '' }}" + body, html=html, **variables) == expected


def test_the_same_template_is_stopped_after_the_same_steps():
    def taken(body: str) -> int:
        budgets = []

        class Seen(sandbox._Budget):
            def __init__(self) -> None:
                super().__init__()
                budgets.append(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sandbox, "_Budget", Seen)
            filled(body, name="Ann")
        return sandbox.STEPS_MAX - budgets[0].steps

    none, hundred, two_hundred = (taken(loop("{{ name|upper }}", times)) for times in (0, 100, 200))
    assert taken(loop("{{ name|upper }}", 100)) == hundred
    assert two_hundred - hundred == hundred - none >= 100


def test_a_client_cannot_replace_what_the_operator_has_set():
    templates = Templates(variables={"platform": "Shop"})
    metadata = {"template": "welcome", "name": "Ann", "platform": "Evil"}
    command = templates.fill_in(email("n", metadata=metadata))
    assert (command.subject, "Evil" in command.message) == ("Welcome to Shop!", False)


def test_reasons_are_short_whatever_the_client_has_named():
    def scenario(world: World) -> None:
        world.open(templates=Templates())
        world.send(email("a", metadata={"template": "x" * 60_000}))
        world.send(email("b", metadata={"template": "welcome", "lang": "y" * 60_000}))
        world.send(email("c", metadata={"template": ["z" * 60_000]}))

    reasons = on_both_clocks(scenario).reasons
    assert len(reasons) == 3
    assert max(map(len, reasons)) <= REASON_LENGTH_MAX
    assert "known are order_confirm, welcome" in reasons[0]


def test_what_is_counted_is_made_once_for_all_environments() -> None:
    one, other = sandbox.BoundedEnvironment(), sandbox.BoundedEnvironment()
    ours = ("upper", "join", "replace")
    assert [one.filters[name] is other.filters[name] for name in ours] == [True] * 3
    assert one.filters is not other.filters
    assert one.tests["even"] is other.tests["even"]
