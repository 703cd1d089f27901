"""The table of other libraries' words, ``other_libraries.txt``, and which library it is that keys are of."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from actors.settings.foreign_quantities import foreign_duration, foreign_number
from actors.settings.meanings import KEY_MAX, NO_NAMES, Word, plain
from actors.settings.quantities import parse_share

KEYS_MAX = 50
"""Keys of another library's mapping that are looked at."""

DEPTH_MAX = 6
"""Levels of mappings that are looked into."""

DURATION_FORM = re.compile(r"N(ms|s)\b")

_CLEAR = 1.0
"""The score from which neighbouring words identify a library: one word that no other library has is enough."""


@cache
def words() -> tuple[Word, ...]:
    return tuple(
        Word(peer, word, *more)
        for peers, alike, *more in rows_of("other_libraries.txt")
        for peer in peers.split(", ")
        for word in alike.split()
    )


def rows_of(file: str) -> Iterator[list[str]]:
    for line in (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield [cell.strip() for cell in line.split("|")]


@cache
def by_word() -> dict[str, list[Word]]:
    found: defaultdict[str, list[Word]] = defaultdict(list)
    for row in words():
        found[plain(row.word)].append(row)
    return dict(found)


def near_word(key: str, near: Callable[[str, str], bool], longest: int) -> str | None:
    """Return the word of more than `longest` characters that is `near` to a key."""
    key = plain(key[:KEY_MAX])
    alike = (word for word in by_word() if word[:1] == key[:1] and len(word) > longest)
    return next((by_word()[word][0].word for word in alike if near(key, word)), None)


def is_word(key: str) -> bool:
    return plain(key[:KEY_MAX]) in by_word() or plain(key[:KEY_MAX].rpartition(".")[2]) in by_word()


def keys_of(word: str) -> set[str]:
    return {row.key.rpartition(".")[2] for row in by_word().get(plain(word[:KEY_MAX]), ())}


def units_of(key: str) -> dict[str, list[str]]:
    """Return, by unit, the libraries whose key of this name counts milliseconds or seconds."""
    found: dict[str, list[str]] = {"ms": [], "s": []}
    for row in by_word().get(plain(key), ()):
        unit = DURATION_FORM.fullmatch(row.value) if row.peer not in (*NO_NAMES, *names_of("with units")) else None
        if unit and row.key.rpartition(".")[2] == key:
            found[unit[1]] += [row.peer] * (row.peer not in found[unit[1]])
    return found


def block_of(value: Any) -> Mapping[str, Any] | None:
    """Return a mapping, the keys of all mappings of a list, or the calls of a text; None where there is none."""
    if isinstance(value, str):
        return _calls_in(value)
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(each, Mapping) for each in value):
        return None
    merged: dict[str, Any] = {}
    for each in reversed(value[:KEYS_MAX]):
        merged |= each
    return merged


def _calls_in(text: str) -> dict[str, Any] | None:
    """Return the arguments of calls such as ``wait_fixed(3) + wait_random(0, 2)``, by the names of both.

    None where a part of the text is no call of a word.
    """
    if not re.fullmatch(r"[\w\s.,=|+&()'\"-]{1,200}\)", text):
        return None
    try:
        return _calls(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _calls(node: ast.expr) -> dict[str, Any] | None:
    if isinstance(node, ast.BinOp):
        left, right = _calls(node.left), _calls(node.right)
        return None if left is None or right is None else left | right
    if not isinstance(node, ast.Call) or not is_word(name := ast.unparse(node.func).rpartition(".")[2]):
        return None
    if name == "wait_chain":
        return {name: [next(iter(inner.values()), None) for each in node.args if (inner := _calls(each))]}
    arguments = [(keyword.arg or "", keyword.value) for keyword in node.keywords]
    arguments += zip(names_of(name), node.args, strict=False)
    if not arguments:
        return {name: ast.unparse(node.args[0]) if node.args else None}
    return {name: {word: ast.unparse(argument) for word, argument in arguments}}


KINDS = ("*", "list", "number", "share", "many", "percent", "duration")
"""The conditions of the table that ask for a kind of value, not for one value."""


def is_like(given: Any, wanted: str) -> bool:
    if given is None or wanted in ("*", "null"):
        return (given is None) == (wanted == "null")
    if wanted == "list":
        return isinstance(given, (list, tuple))
    if wanted[:1] in ("~", "!"):
        parts = given if isinstance(given, (list, tuple)) else given.split(",") if isinstance(given, str) else ()
        names = {_last(each) for each in parts}
        return bool(names) and (wanted[0] == "!") == names.isdisjoint(map(plain, wanted[1:].split("/")))
    if wanted == "percent":
        return isinstance(given, str) and "%" in given and parse_share(given) is not None
    number = foreign_number(given)
    if wanted in ("number", "share", "many"):
        return number is not None and (wanted == "number" or (number <= 1) == (wanted == "share"))
    if wanted == "duration":
        return foreign_duration(given) is not None
    if number is not None and (other := foreign_number(wanted)) is not None:
        return number == other
    if isinstance(given, (list, tuple)) and len(given) == 1:
        given = given[0]
    if isinstance(given, (Mapping, list, tuple)) or (str(given).startswith("-") != wanted.startswith("-")):
        return False
    return _last(given) == plain(wanted)


def _last(given: Any) -> str:
    return plain(str(given)[:KEY_MAX].rpartition(".")[2])


@cache
def names_of(what: str) -> list[str]:
    names = dict(rows_of("libraries.txt")).get(what)
    return names.split(", ") if names else []


def spelling_of(library: str) -> str:
    return next((each for each in ("PascalCase", "snake_case") if library in names_of(each)), "camelCase")


def is_spelt_by(library: str, key: str) -> bool:
    """Tell whether a library spells words as a key is spelt, where that can be seen."""
    shape = "PascalCase" if key[:1].isupper() else "snake_case" if "_" in key else "camelCase"
    return spelling_of(library) == shape or key == key.lower() != key.replace("_", "")


def library_of(mapping: Mapping[str, Any], around: Collection[str] = ()) -> str:
    """Return the library that has most of the keys of a mapping; a key that few libraries have counts more."""
    score = _scores(mapping)
    for peer in around:
        score[peer] += 0.5
    best = max(score, key=lambda each: score[each], default=NO_NAMES[0])
    return best if score[best] > 0.5 or not around else NO_NAMES[0]


def _scores(mapping: Mapping[str, Any]) -> defaultdict[str, float]:
    score: defaultdict[str, float] = defaultdict(float)
    for key, value in islice(flat(mapping), KEYS_MAX):
        rows = by_word().get(plain(str(key)[:KEY_MAX]), ())
        fits = [row for row in rows if all(is_like(value, each[1:]) for each in row.at.split() if each[0] == "=")]
        peers = {row.peer for row in fits}.difference(NO_NAMES)
        for peer in sorted(peers):
            score[peer] += 1 / len(peers) + 0.2 + 0.1 * is_spelt_by(peer, str(key))
    return score


def flat(mapping: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a mapping with their values, and then the keys of the mappings in it."""
    yield from mapping.items()
    for value in mapping.values():
        if depth < DEPTH_MAX and isinstance(value, (Mapping, list, tuple)) and (inner := block_of(value)):
            yield from flat(inner, depth + 1)


def is_clear(peer: str, beside: Mapping[str, Any]) -> bool:
    score = _scores(beside)
    return score[peer] > _CLEAR and all(2 * score[each] <= score[peer] for each in score if each != peer)


@cache
def unit_of(library: str) -> str:
    """Return what a library's plain numbers count, ``ms`` or ``s``; empty where that differs or is not known."""
    rows = [row for row in words() if row.peer == library not in NO_NAMES]
    units = [unit for row in rows for unit in DURATION_FORM.findall(row.value)]
    return next((unit for unit in ("ms", "s") if units and units.count(unit) >= 0.75 * len(units)), "")
