"""Scalars mean what the core rules of YAML 1.2 say, which is not what PyYAML by itself makes of them."""

import math
from typing import Any

import pytest
from beside import tables
from each_row import over_each
from hypothesis import given, strategies as st

from actors.settings.yaml_tree import Place, ScalarNode, Unreadable, data, plain_scalar, read, show

TABLES = tables(__file__)

FILE = Place("f.yaml", 1, 1)


def value_of(text: str) -> Any:
    return data(read(f"key: {text}", FILE))["key"]


@over_each(map(tuple, TABLES["core_rules"]))
def test_core_rules(text: str, value: Any) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_one() -> None:
    assert math.isnan(value_of(".NaN"))


def test_keys_are_text() -> None:
    assert data(read("{on: 1, 5: 2, null: 3, 2.50: 4}", FILE)) == {"on": 1, "5": 2, "null": 3, "2.50": 4}


def test_escaped_surrogate_pairs_are_characters_and_halves_are_refused() -> None:
    assert value_of(r'"\ud83d\ude00"') == "\N{GRINNING FACE}"
    with pytest.raises(Unreadable, match="half a surrogate pair"):
        value_of(r'"\ud83d"')


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_whole_numbers_are_read_as_they_are(number: int) -> None:
    assert plain_scalar(str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_read_as_they_are(number: float) -> None:
    assert plain_scalar(repr(number)) == number


@pytest.mark.parametrize("text", ["9223372036854775808", "0x8000000000000000", "9" * 5000, "-" + "9" * 50])
def test_a_whole_number_that_tables_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="below 2\\^63"):
        value_of(text)


def test_every_value_knows_its_place() -> None:
    root = read("a: 1\nb:\n  - x\n  - {c: ünï, d: 2}\n", FILE)
    places = {}

    def walk(node: Any, path: str) -> None:
        places[path] = (node.place.line, node.place.column)
        for key, child in getattr(node, "entries", {}).items():
            walk(child, f"{path}.{key}")
        for index, child in enumerate(getattr(node, "items", [])):
            walk(child, f"{path}.{index}")

    walk(root, "")
    assert places == {
        "": (1, 1), ".a": (1, 4), ".b": (3, 3), ".b.0": (3, 5), ".b.1": (4, 5), ".b.1.c": (4, 9), ".b.1.d": (4, 17),
    }  # fmt: skip


def test_an_alias_stands_where_it_is_used() -> None:
    root = read("a: &x {t: 1}\nb: *x\n", FILE)
    assert data(root) == {"a": {"t": 1}, "b": {"t": 1}}


@pytest.mark.parametrize(("text", "shown"), TABLES["shown"])
def test_values_are_shown_short_and_as_written(text: str, shown: str) -> None:
    assert show(read(f"key: {text}", FILE).entries["key"]) == shown  # type: ignore[union-attr]


def test_a_value_with_line_breaks_is_shown_on_one_line() -> None:
    assert "\n" not in show(ScalarNode(FILE, "a\nb\x1b[31m", "a\nb"))
