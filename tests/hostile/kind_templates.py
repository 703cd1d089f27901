"""Templates by a grammar of Jinja, most of them allowed, with metadata of strangers. Reading is done in a thread."""

import logging
from random import Random
from typing import Any

import trio
from bounds import Kind

from actors.errors import TemplateError
from actors.messages import SendNotification
from actors.pipeline.template_language import _FILTERS, _TESTS
from actors.pipeline.templates import Template, Templates

logging.getLogger("actors.pipeline.templates").disabled = True

NAMES = ("a", "b", "c", "order", "items", "missing", "message", "loop", "template", "__class__")
CONSTANTS = ("0", "1", "-1", "7", "999999999999999", "1.5", "'a'", "''", "'%.2f'", "'a, b'", "true", "none", "'items'")
BAD_CONSTANTS = ("10**9", "10000000000000000", "'%1000000000d'", "0xffffffffffffffffffff", "1e400", "'\\ud800'")
OPERATORS = ("+", "-", "*", "/", "//", "%", "~", "and", "or", "==", "!=", "<", ">=", "in", "not in")
ATTRIBUTES = ("a", "items", "keys", "0", "a.b", "__class__", "format", "b")
GIVEN = {
    "replace": 2, "join": 1, "default": 1, "d": 1, "truncate": 1, "decimals": 1, "date": 1, "money": 1, "round": 1,
    "int": 1,
}  # fmt: skip
ALIEN = (
    "{{% macro m(x) %}}{0}{{{{ m(x) }}}}{{% endmacro %}}", "{{% include {0!r} %}}", "{{{{ a.format(b) }}}}{0}",
    "{{{{ range(10**9)|list }}}}{0}", "{{{{ a|format(b) }}}}{0}", "{{% block x %}}{0}{{% endblock %}}",
    "{{{{ a|batch(10**9, b)|list }}}}{0}", "{{{{ [a] * 10**9 }}}}{0}", "{{% for x in a recursive %}}{0}{{% endfor %}}",
    "{{{{ (a,)|pprint }}}}{0}", "{{{{ a.__class__.__mro__ }}}}{0}", "{{{{ cycler('a').next() }}}}{0}",
)  # fmt: skip


def draw(random: Random) -> tuple[str, bool, dict[str, Any]]:
    """Return a text, whether it is HTML, and the metadata to fill it in with."""
    alien = random.random() < 0.1
    body = _body(random, random.choice((1, 2, 3)), 0)
    if alien:
        body = random.choice(ALIEN).format(body)
    if random.random() < 0.05:
        at = random.randrange(len(body) + 1)
        body = body[:at] + random.choice(("{{", "}}", "{%", "(" * 200, "not " * 400, "|e" * 200, "[" * 99)) + body[at:]
    metadata = {name: _value(random) for name in NAMES if random.random() < 0.8 and name != "template"}
    if random.random() < 0.5:
        metadata[random.choice(NAMES[:5])] = random.choice(LARGE)
    return body, random.random() < 0.5, {**metadata, "template": "t"}


def _body(random: Random, depth: int, loops: int) -> str:
    return "".join(_statement(random, depth, loops) for _ in range(random.randint(1, 3)))


def _statement(random: Random, depth: int, loops: int) -> str:
    kind = random.randrange(8) if depth else random.randrange(4)
    value = _expression(random, random.choice((1, 2, 3)))
    if kind < 3:
        return f"{{{{ {value} }}}}"
    if kind == 3:
        return random.choice(("x", "<b>\n", "é" * 300, "x" * 4_000))
    inner = _body(random, depth - 1, loops + (kind > 5))
    if kind == 4:
        return f"{{% if {value} %}}{inner}{{% else %}}x{{% endif %}}"
    if kind == 5:
        name = random.choice(NAMES[:4])
        return f"{{% set {name} = {value} %}}" if random.random() < 0.7 else f"{{% set {name} %}}{inner}{{% endset %}}"
    target = random.choice(("a", "b", "a, b"))
    test = f" if {_expression(random, 1)}" if random.random() < 0.2 else ""
    return f"{{% for {target} in {_listed(random)}{test} %}}{inner}{{{{ loop.index }}}}{{% endfor %}}"


def _listed(random: Random) -> str:
    name = random.choice(NAMES[:5])
    return random.choice((name, name, f"{name}|items", f"{name}.items", f"{name}|sort", f"{name}[:5000]", "[1, 2, a]"))


def _expression(random: Random, depth: int) -> str:
    if depth == 0 or random.random() < 0.15:
        source = BAD_CONSTANTS if random.random() < 0.02 else NAMES if random.random() < 0.7 else CONSTANTS
        return random.choice(source)
    left, right = _expression(random, depth - 1), _expression(random, depth - 1)
    kind = random.randrange(9)
    if kind < 3:
        return _filtered(random, left, right)
    if kind == 3:
        test = random.choice(sorted(_TESTS))
        operand = f" {right}" if test in ("eq", "in", "gt", "lt", "ne", "ge", "le", "divisibleby") else ""
        return f"({left} is {test}{operand})"
    if kind == 4:
        return f"{left}.{random.choice(ATTRIBUTES)}"
    if kind == 5:
        return random.choice((f"{left}[{right}]", f"{left}[1:]", f"{left}[::-1]", f"{left}[:{right}]"))
    if kind == 6:
        return random.choice(
            (f"({left} if {right} else a)", f"[{left}, {right}]", f"({left},)", f"-{left}", f"not {left}")
        )
    return f"({left} {random.choice(OPERATORS)} {right})"


def _filtered(random: Random, value: str, argument: str) -> str:
    name = random.choice(sorted(_FILTERS))
    if name in ("map", "select", "reject"):
        other = random.choice(sorted(_FILTERS if name == "map" else _TESTS))
        given = f"attribute={random.choice(ATTRIBUTES)!r}" if name == "map" and random.random() < 0.5 else f"{other!r}"
        return f"({value}|{name}({given})|list)"
    if name in ("selectattr", "rejectattr"):
        return f"({value}|{name}({random.choice(ATTRIBUTES)!r}, 'gt', {argument})|list)"
    if name in ("sort", "sum", "min", "max", "unique") and random.random() < 0.5:
        return f"({value}|{name}(attribute={random.choice(ATTRIBUTES)!r}))"
    arguments = ", ".join([argument, "b", "'%d.%m.%Y'"][: GIVEN.get(name, 0)])
    return f"({value}|{name}({arguments}))" if arguments else f"({value}|{name})"


# ── metadata ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _value(random: Random, depth: int = 2) -> Any:
    kind = random.randrange(12)
    if kind == 0 and depth:
        return [_value(random, depth - 1) for _ in range(random.choice((0, 1, 3, 20)))]
    if kind == 1 and depth:
        keys = (*NAMES, "keys", "values", "get", "", "0")
        return {random.choice(keys): _value(random, depth - 1) for _ in range(random.choice((0, 1, 3, 20)))}
    if kind == 2:
        alphabet = random.choice(("a", "ab ", "<&'\"", "\U000e0001", "\U0001f389 é", "%1000d", "(<!--", "\x00\n\t"))
        return alphabet * (random.choice((1, 100, 10_000, 200_000)) // len(alphabet))
    return random.choice(SMALL)


def _nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = [value, "x"]
    return value


SMALL = (
    0, 1, -1, 2**53, 10**15, 10**400, -(10**4_000), 1.5, 1e308, float("inf"), float("nan"), True, None, "", "a",
    "19.90", "1e999999", "nan", "2026-01-31T09:30:00Z", "9999-12-31", "%1000000000d", "{0:1000000000}", "\ud800",
    "{{ a }}", "EUR",
)  # fmt: skip
# Each has nearly as many values as the metadata of a request may have.
LARGE: tuple[Any, ...] = (
    list(range(9_000)), ["x"] * 9_000, [{"a": number % 7, "b": "x"} for number in range(3_000)], _nested(60),
    [[0] * 90 + [number] for number in range(90)], {f"k{number}": number for number in range(4_000)}, [[]] * 9_000,
    ["\U000e0001" * 1_000] * 200, "x" * 900_000, "'\U0001f389" * 200_000, _nested(60, {"a": ["y" * 1_000] * 500}),
)  # fmt: skip


async def feed(given: tuple[str, bool, dict[str, Any]]) -> int:
    body, html, metadata = given
    templates = await trio.to_thread.run_sync(lambda: Templates({"t": Template(body=body, html=html)}))
    command = SendNotification(
        notification_id="n", channel="email", recipient="ann@example.org", message="Hello", metadata=metadata
    )
    return len(templates.fill_in(command).message)


KIND = Kind("templates", draw, feed, refuses=(TemplateError,), short=25)
