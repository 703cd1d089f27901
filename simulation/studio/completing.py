"""Completions at a place in a scenario, from its schema: keys that are not there yet, and words."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import yaml

from actors.settings.yaml_tree import composed
from simulation.studio.knobs import described, one_line

OFFERED_MAX = 60

CHARACTERS_MAX = 2**17
"""In a longer text nothing is offered: it is read anew with each letter."""

_MARK = "__here__"
_OF_A_WORD = f"{string.ascii_letters}{string.digits}_.-"

Part: TypeAlias = Mapping[str, Any]
"""Of a JSON schema."""


class _Here(NamedTuple):
    """Where the mark stands."""

    path: tuple[str, ...]
    """Keys, and numbers of entries, that lead to the mapping or to the value."""

    beside: frozenset[str] = frozenset()
    """Other keys of the mapping, where it is a key."""

    is_key: bool = False


def completions(before: str, after: str) -> dict[str, Any]:
    """Return the completions between two parts of a text, as plain data.

    Each that is `offered` has its `text`, what to `insert` and a `sentence`. It takes the place of the word at the
    caret, of which the `typed` characters stand before it. With it the text has to be YAML; where it is not, the text
    after the line is ignored.

    Args:
        before: the text up to the caret.
        after: the text behind it.
    """
    if len(before) + len(after) > CHARACTERS_MAX:
        return {"typed": 0, "offered": []}
    head, rest = before.rstrip(_OF_A_WORD), after.lstrip(_OF_A_WORD)
    word = before[len(head) :]
    colon = "" if rest.startswith(":") else ": 0"
    for middle, finds in ((f"{_MARK}{colon}", _keys), (_MARK, _words)):
        here = _found(head, middle, rest)
        offered = [] if here is None else list(finds(here, colon))
        if offered:
            fits = [each for each in offered if word.lower() in each["text"].lower() and each["text"] != word]
            fits.sort(key=lambda each: not each["text"].startswith(word))
            return {"typed": len(word), "offered": fits[:OFFERED_MAX]}
    return {"typed": len(word), "offered": []}


def _keys(here: _Here, colon: str) -> Iterator[dict[str, str]]:
    if not here.is_key:
        return
    offered: dict[str, str] = {}
    for part in _parts_at(here.path):
        for name, about in part.get("properties", {}).items():
            if name not in here.beside:
                offered.setdefault(name, _sentence(about))
    for name, sentence in offered.items():
        yield {"text": name, "insert": f"{name}: " if colon else name, "sentence": sentence}


def _words(here: _Here, _colon: str) -> Iterator[dict[str, str]]:
    if here.is_key:
        return
    offered: dict[str, str] = {}
    for part in _parts_at(here.path):
        default = part.get("default")
        words = [*part.get("enum", ()), *([part["const"]] if "const" in part else [])]
        words += [True, False] if part.get("type") == "boolean" else []
        words += [default] if isinstance(default, (str, int, float)) else []
        for word in words:
            offered.setdefault(_written(word), "")
        if isinstance(default, (str, int, float)):
            offered[_written(default)] = "The default."
    for word, sentence in offered.items():
        if word:
            yield {"text": word, "insert": word, "sentence": sentence}


def _written(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _sentence(about: Part) -> str:
    sentence, full_stop, _ = one_line(about.get("description", "")).partition(". ")
    return sentence + full_stop.strip()


# ── the text ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _found(head: str, middle: str, rest: str) -> _Here | None:
    """Return where the mark stands in the text; the line may lack brackets, and the lines after it may be wrong."""
    missing = _missing(head)
    line, newline, below = rest.partition("\n")
    for tail in (rest, f"{missing}{line}{newline}{below}", f"{line}", missing):
        try:
            node = composed(f"{head}{middle}{tail}")
        except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
            continue
        return _searched(node, (), set())
    return None


def _missing(head: str) -> str:
    closing: list[str] = []
    for character in head.rpartition("\n")[2]:
        if character in "{[":
            closing.append("}]"["{[".index(character)])
        elif closing and character == closing[-1]:
            closing.pop()
    return "".join(reversed(closing))


def _searched(node: yaml.Node | None, path: tuple[str, ...], seen: set[int]) -> _Here | None:
    if id(node) in seen:  # an alias, perhaps inside what it stands for
        return None
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        entries = [(name.value, value) for name, value in node.value if isinstance(name, yaml.ScalarNode)]
        names = [name for name, _ in entries]
        if _MARK in names:
            return _Here(path, frozenset(names), is_key=True)
        return _first(_searched(value, (*path, name), seen) for name, value in entries)
    if isinstance(node, yaml.SequenceNode):
        return _first(_searched(each, (*path, str(number)), seen) for number, each in enumerate(node.value))
    return _Here(path) if isinstance(node, yaml.ScalarNode) and node.value == _MARK else None


def _first(found: Iterable[_Here | None]) -> _Here | None:
    return next((each for each in found if each is not None), None)


# ── the schema ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _parts_at(path: Sequence[str]) -> list[Part]:
    parts = list(_alternatives(described()["Scenario"]))
    for key in path:
        parts = [each for part in parts for below in _below(part, key) for each in _alternatives(below)]
    return parts


def _below(part: Part, key: str) -> Iterator[Part]:
    if key in part.get("properties", {}):
        yield part["properties"][key]
    else:
        yield from (about for form, about in part.get("patternProperties", {}).items() if re.search(form, key))
        if isinstance(part.get("additionalProperties"), dict):
            yield part["additionalProperties"]
    if key.isdecimal() and "items" in part:
        yield part["items"]


def _alternatives(part: Part) -> Iterator[Part]:
    yield part
    if "$ref" in part:
        yield from _alternatives(described()["Scenario"]["$defs"][part["$ref"].rpartition("/")[2]])
    for each in (*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())):
        yield from _alternatives(each)
