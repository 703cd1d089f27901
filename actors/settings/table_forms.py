"""The forms of values in the table of other libraries: ``N``, ``100N%``, ``N/<window s>``, ``<(max+min)/2 s>``."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from actors.settings.foreign_quantities import foreign_duration, foreign_number, foreign_rate, write_number, write_rate
from actors.settings.meanings import KEY_MAX
from actors.settings.quantities import Rate, parse_duration, parse_share, write_duration

LIST_MAX = 50
"""Entries of a list that are translated."""

UNIT_SUFFIX = re.compile(r"(.+?)(?:in)?(milliseconds|millis|ms|seconds|secs|sec)")
"""A word with its unit in it, without its capitals and underscores."""

AMOUNT = re.compile(
    r"(?<!\w)N/<(?P<period>\w+) (?P<each>ms|s)>|<(?P<sum>[\w+*/(),.-]+)(?: (?P<of>ms|s|%))?>"
    r"|(?<!\w)(?P<hundred>100)?N(?P<more>\+1)?(?P<unit>%|ms|s|/s|/min)?(?!\w)"
)


def words_in(form: str) -> set[str]:
    """Return the words beside its own whose values a form of the table takes."""
    found = {match["period"] for match in AMOUNT.finditer(form) if match["period"]}
    for match in AMOUNT.finditer(form):
        nodes = list(ast.walk(ast.parse(match["sum"] or "N", mode="eval")))
        calls = {node.func for node in nodes if isinstance(node, ast.Call)}
        found |= {node.id for node in nodes if isinstance(node, ast.Name) and node not in calls} - {"N"}
    return found


def filled(form: str, value: Any, others: Mapping[str, Any], *, plain_ms: bool = False) -> str | None:
    """Return a text of the table with the value in it; None where there is none in that form.

    Args:
        form: the text.
        value: what was given.
        others: the keys beside it.
        plain_ms: write a plain number with its own digits as milliseconds.
    """
    if form.startswith("[") and isinstance(value, (list, tuple)):
        each = [filled(form[1:-1], one, others, plain_ms=plain_ms) for one in value[:LIST_MAX]]
        return None if None in each else f"[{', '.join(map(str, each))}]"
    written = [_amount(match, value, others, plain_ms) for match in AMOUNT.finditer(form)]
    if any(each is None for each in written):
        return None
    following = iter(written)
    return AMOUNT.sub(lambda _: str(next(following)), form)


def _amount(match: re.Match[str], value: Any, others: Mapping[str, Any], plain_ms: bool) -> str | None:
    if match["sum"]:
        return _computed(match["sum"], match["of"] or "", value, others)
    number, unit = foreign_number(value), match["unit"]
    if unit in ("ms", "s"):
        if isinstance(value, str) and parse_duration(value, unit_required=True) is not None:
            return value.strip()
        if number is not None and (unit == "s" or plain_ms):
            return f"{write_number(number)}{unit}"
        seconds = foreign_duration(value, 0.001)
        return None if seconds is None else write_duration(round(seconds, 9))
    if unit in ("/s", "/min") and (rate := foreign_rate(value)) is not None:
        return write_rate(rate)
    if unit == "%" and isinstance(value, str) and number is None:
        return value.strip() if parse_share(value) is not None else None
    if number is None:
        return None
    if match["period"]:
        given, own_unit = beside_of(others, match["period"])
        period = foreign_duration(given, 0.001 if (own_unit or match["each"]) == "ms" else 1)
        return write_rate(Rate(number, round(period, 9))) if period else None
    if match["hundred"] and number <= 1:
        number *= 100
    return write_number(number + bool(match["more"])) + (unit or "")


_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _computed(form: str, unit: str, value: Any, others: Mapping[str, Any]) -> str | None:
    """Return what a form of the table such as ``(max+min)/2`` comes to; None where a part of it is no number."""
    with_units = False

    def number_of(name: str) -> float:
        nonlocal with_units
        given = value if name == "N" else beside_of(others, name)[0]
        with_units |= foreign_number(given) is None
        if (number := foreign_duration(given, 1)) is None:
            raise ValueError(name)
        return number

    def result_of(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](result_of(node.left), result_of(node.right))
        if isinstance(node, ast.Call):
            return min(map(result_of, node.args))
        return number_of(node.id) if isinstance(node, ast.Name) else float(ast.literal_eval(node))

    try:
        result = result_of(ast.parse(form, mode="eval").body)
    except (ValueError, ZeroDivisionError):
        return None
    if unit in ("ms", "s"):
        return write_duration(round(result * (0.001 if unit == "ms" and not with_units else 1), 9))
    return write_number(round(100 * result, 6)) + "%" if unit else write_number(result)


def plain(word: str) -> str:
    """Return a word without what tells camelCase, kebab-case and snake_case apart."""
    return re.sub(r"[^a-z0-9]", "", word.lower())


def beside_of(mapping: Mapping[str, Any], word: str) -> tuple[Any, str]:
    """Return the value of a word in a mapping and the unit that its key has, None and empty where it is not there."""
    for key, value in mapping.items():
        name = plain(str(key)[:KEY_MAX])
        if name == plain(word):
            return value, ""
        if (stem := UNIT_SUFFIX.fullmatch(name)) and stem[1] == plain(word):
            return value, "ms" if stem[2].startswith("m") else "s"
    return None, ""


_POSITIONS = {
    "wait_exponential": ("multiplier", "max", "exp_base", "min"),
    "wait_random_exponential": ("multiplier", "max", "exp_base", "min"),
    "wait_exponential_jitter": ("initial", "max", "exp_base", "jitter"),
    "wait_incrementing": ("start", "increment", "max"),
    "wait_random": ("min", "max"),
}
"""The names of tenacity's arguments, in their order."""


def calls_in(text: str, is_word: Callable[[str], bool]) -> dict[str, Any] | None:
    """Return the arguments of calls in a text such as ``wait_fixed(3) + wait_random(0, 2)``, by the names of both.

    None where a part of it is no call of a word.
    """
    if not re.fullmatch(r"[\w\s.,=|+&()'\"-]{1,200}\)", text):
        return None
    try:
        return _calls(ast.parse(text.strip(), mode="eval").body, is_word)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _calls(node: ast.expr, is_word: Callable[[str], bool]) -> dict[str, Any] | None:
    if isinstance(node, ast.BinOp):
        left, right = _calls(node.left, is_word), _calls(node.right, is_word)
        return None if left is None or right is None else left | right
    if not isinstance(node, ast.Call) or not is_word(name := ast.unparse(node.func).rpartition(".")[2]):
        return None
    if name == "wait_chain":
        return {name: [next(iter(inner.values()), None) for each in node.args if (inner := _calls(each, is_word))]}
    positions = _POSITIONS.get(name, ())
    arguments = [(keyword.arg or "", keyword.value) for keyword in node.keywords]
    arguments += zip(positions, node.args, strict=False)
    if not arguments:
        return {name: ast.unparse(node.args[0]) if node.args else None}
    return {name: {word: ast.unparse(argument) for word, argument in arguments}}
