"""Whatever is in a file, it loads or is refused with problems that name it: there is no third way."""

import copy
import json
from pathlib import Path
from typing import Any

from beside import tables
from effort import examples
from hypothesis import example, given, settings, strategies as st

from actors.errors import ConfigurationError
from actors.settings.yaml_tree import Place, data, read
from simulation import scenario

TABLES = tables(__file__)

FILE = Path(__file__).parent / "data" / "everything.yaml"
GOOD_TEXT = FILE.read_text()
GOOD = data(read(GOOD_TEXT, Place("f.yaml", 1, 1)))


def loads_or_is_refused(text: str, *sets: str) -> None:
    try:
        scenario.parse(text, str(FILE), sets=sets)
        return
    except ConfigurationError as refusal:
        problems = refusal.problems
    assert problems
    for problem in problems:
        assert problem.startswith((f"{FILE}:", "--set ")), problem
        assert problem.isprintable(), problem
        assert "Input should" not in problem, problem
        assert "validation error" not in problem, problem


@settings(max_examples=examples(200), deadline=None)
@given(st.text())
@example("\x00")
@example("\ud800")
@example('"\\UFFFFFFFF"')
@example("%YAML 9.9\n---\na")
@example("? - [")
@example("- !<tag:x> y")
@example("&a [*a, *a]")
@example("!!binary 5")
@example("a: !!timestamp 2026-01-01")
@example("\u2028a: b\u2028 c: d")
def test_any_text(text: str) -> None:
    loads_or_is_refused(text)


YAMLISH = st.text(alphabet=st.sampled_from("ab :-,[]{}&*!|>'\"%@`#?\n\t~1.e<="), max_size=60)


@settings(max_examples=examples(200), deadline=None)
@given(YAMLISH)
def test_any_text_that_looks_like_yaml(text: str) -> None:
    loads_or_is_refused(text)


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, len(GOOD_TEXT) - 1), st.integers(0, 40), YAMLISH)
def test_a_good_file_with_a_cut_and_a_splice(at: int, length: int, splice: str) -> None:
    loads_or_is_refused(GOOD_TEXT[:at] + splice + GOOD_TEXT[at + length :])


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(TABLES["scalars"]),
)
keys = st.one_of(
    st.text(max_size=6),
    st.sampled_from(TABLES["keys"]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in children for found in paths_of(child, (*path, key)))]


PATHS = [path for path in paths_of(GOOD) if path]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    document = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(PATHS))
        parent = document
        try:
            for key in path[:-1]:
                parent = parent[key]
            match draw(st.sampled_from(["replace", "delete", "add"])):
                case "replace":
                    parent[path[-1]] = draw(values)
                case "delete":
                    del parent[path[-1]]
                case _ if isinstance(parent, dict):
                    parent[draw(keys)] = draw(values)
        except (KeyError, IndexError, TypeError):
            pass  # an earlier change took the place away
    return document


@settings(max_examples=examples(150), deadline=None)
@given(mutated())
def test_any_change_of_a_good_file(document: Any) -> None:
    # JSON is YAML, but for the floats that JSON has no words for
    text = json.dumps(document).replace("Infinity", ".inf").replace("NaN", ".nan")
    loads_or_is_refused(text)


@settings(max_examples=examples(100), deadline=None)
@given(st.sampled_from(PATHS), values)
def test_any_override_of_a_good_file(path: tuple[Any, ...], value: Any) -> None:
    written = json.dumps(value).replace("Infinity", ".inf").replace("NaN", ".nan")
    loads_or_is_refused(GOOD_TEXT, f"{'.'.join(map(str, path))}={written}")


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=30))
def test_any_text_as_an_override(text: str) -> None:
    loads_or_is_refused(GOOD_TEXT, text)
