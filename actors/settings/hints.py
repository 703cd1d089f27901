"""What to say of a key that there is not: the word of another library, a slip of the pen, or else all keys there are.

``other_libraries.txt`` says what the words of other libraries are called here, ``key_subjects.txt`` by which subjects
the keys of a large group are told.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from actors.formatting import plain_number
from actors.settings.quantities import parse_duration, parse_rate, parse_share, write_duration

_HERE = Path(__file__).parent
_KEY_MAX = 100
"""Characters of a key that are looked at: a request may have a very long one."""

_SHORT = 4
"""No other key is near to one that has fewer characters than this, as p75 to p95."""

_MODULES = {
    "retry": {"retry"},
    "circuit_breaker": {"breaker"},
    "rate_limit": {"rate_limit"},
    "quota": {"rate_limit"},
    "max_in_flight": {"bulkhead"},
    "hedging": {"adaptive"},
    "provider": {"channel"},
    "workload": {"workload"},
    "faults": {"faults"},
    "scenario": {"model", "channel", "config"},
}
"""The modules that have the settings under the first part of a key of the table."""

NO_NAMES = ("many", "here")
"""What stands for a library in the table and is none."""

_GOES_ON = {"which", "whose", "where", "how", "with", "for", "of", "or", "after", "below", "since"}
"""Words with which a note goes on with the sentence that says the key."""

_PLACES = {"workload": "of an entry of the workload", "faults": "of a fault", "scenario": "at the top of the file"}
"""Where a key stands that is not one of a channel."""


class Word(NamedTuple):
    """A word of another library; a row of the table has all words of one meaning."""

    peer: str
    word: str
    at: str
    """The module of settings in which alone it means this; empty: anywhere."""
    key: str
    """What it is called here; empty: there is no such key."""
    value: str
    """How its value is written here, N being the number that was given; empty: the note says it."""
    example: str
    note: str


def unknown(key: str, known: Iterable[str], what: str = "key", subjects: str = "") -> str:
    """Return the text of the problem of an unknown `key`: the nearest known one, else all of them by subjects."""
    known = list(known)
    near = nearest(key, known)
    return f"unknown {what}; " + (f"did you mean {near}?" if near else f"known are {listed(known, subjects)}")


def unknown_setting(model: str, module: str, known: Mapping[str, Any], key: str, value: Any) -> str:
    """Return the text of the problem of an unknown `key` in settings.

    Args:
        model: the name of the group of settings.
        module: the module that has it.
        known: its keys, each with a function that tells whether a value could be one of it.
        key: the unknown one.
        value: what was given for it; None where that is not to be shown.
    """
    if text := meaning(key, value, module, known):
        return f"unknown key; {text}"
    near = nearest(key, known)
    if near is not None and distance(key, near) > 1 and value is not None and not known[near](value):
        near = None
    if near is None and (word := _near_word(key)) is not None:
        return f"unknown key; {meaning(word, value, module, known) or 'known are ' + listed(known, model)}"
    return "unknown key; " + (f"did you mean {near}?" if near else f"known are {listed(known, model)}")


def nearest(key: str, known: Iterable[str]) -> str | None:
    """Return the known key that `key` is a misspelling of, by edit distance; None when it is of none."""
    key = key[:_KEY_MAX]
    candidates = []
    for each in map(str, known):
        shorter, longer = sorted((len(key), len(each)))
        if plain(key) == plain(each) or (longer > _SHORT and _tokens(key) == _tokens(each)):
            candidates.append((0, each))
        elif longer >= _SHORT and _digits(key) == _digits(each):
            most = max(1, shorter // 5)
            if (far := distance(key, each, most)) <= most:
                candidates.append((far, each))
    return min(candidates, key=lambda each: each[0])[1] if candidates else None


def distance(one: str, other: str, most: int = _KEY_MAX) -> int:
    """Return how many letters are inserted, left out, changed or swapped; more than `most` where it is."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, start=1):
        earlier, before, row = before, row, [at]
        for place, wanted in enumerate(other, start=1):
            far = min(before[place] + 1, row[-1] + 1, before[place - 1] + (letter != wanted))
            if at > 1 < place and letter == other[place - 2] and one[at - 2] == wanted:
                far = min(far, earlier[place - 2] + 1)
            row.append(far)
        if min(row) > most:
            return most + 1
    return row[-1]


def listed(known: Iterable[str], subjects: str = "") -> str:
    """Return all keys, by subjects where the group of settings of this name has some."""
    left = dict.fromkeys(known)
    groups = [
        f"{subject} ({', '.join(there)})"
        for subject, keys in _subjects().get(subjects, ())
        if (there := [key for key in keys if key in left])
    ]
    named = {key for _, keys in _subjects().get(subjects, ()) for key in keys}
    return ", ".join([*groups, *(key for key in left if key not in named)])


@cache
def words() -> tuple[Word, ...]:
    """Return the table of the words of other libraries."""
    rows = _rows("other_libraries.txt")
    return tuple(Word(peer, word, *more) for peer, alike, *more in rows for word in alike.split())


def meaning(key: str, value: Any, module: str, known: Iterable[str] = ()) -> str | None:
    """Return what a word of other libraries is called here, in a sentence; None when it is no such word.

    Args:
        key: the word, in camelCase, kebab-case or snake_case.
        value: what was given for it; only a number of it is shown, and another takes the place of an example.
        module: the module of settings in which it stands; ``expect`` for a metric.
        known: the keys that there are where it stands.
    """
    by_word = _by_word()
    found = by_word.get(plain(key[:_KEY_MAX])) or by_word.get(plain(key[:_KEY_MAX].rpartition(".")[2]), [])
    rows = [row for row in found if row.at == module] or [row for row in found if not row.at]
    meanings: dict[tuple[str, str | None], tuple[str, list[str]]] = {}
    for row in rows:
        text, written = _sentence(row, key[:_KEY_MAX], value, module, set(known)), _written(row.value, value)
        # What is the same key and value is said once: in the words of the first library.
        meanings.setdefault((row.key, written or row.value), (text, []))[1].append(row.peer)
    if len(meanings) <= 1:
        return next((text for text, _ in meanings.values()), None)
    return "; or ".join(
        f"{text} (as in {' and '.join(named)})"
        if (named := [each for each in libraries if each not in NO_NAMES])
        else text
        for text, libraries in meanings.values()
    )


def _sentence(row: Word, key: str, value: Any, module: str, known: set[str]) -> str:
    if not row.key:
        return row.note
    path, place = _path(row.key, module, known)
    there, here = translated(row, key, value)
    counts = ", which counts the first attempt too" if row.value == "N+1" else ""
    return f"{there} is {path}{here}{place}{counts}{remark(row)}"


def remark(row: Word) -> str:
    """Return the note of a word that has a key, as it goes on after that."""
    stop = "," if row.value or row.note.partition(" ")[0] in _GOES_ON else ":"
    return f"{stop} {row.note}" if row.note else ""


def translated(row: Word, key: str, value: Any = None) -> tuple[str, str]:
    """Return a word with its value as it is there, and the value as it is here: ``max_retries: 3`` and ``: 4``."""
    if not row.value:
        return key, ""
    written, shown = _written(row.value, value), value
    if written is None:
        written, shown = _written(row.value, row.example) or row.value, row.example
    text = str(shown).lower() if isinstance(shown, bool) else str(shown)
    return f"{key}: {text}" if text else key, f": {written}"


def _path(key: str, module: str, known: set[str]) -> tuple[str, str]:
    """Return a key as it is called where the unknown one stands, and where it belongs if that is elsewhere."""
    parts = key.split(".")
    for number, part in enumerate(parts):
        if part in known and (number == 0 or module in _MODULES.get(parts[0], ())):
            return ".".join(parts[number:]), ""
    if parts[0] in _PLACES:
        return ".".join(parts[1:]), f" {_PLACES[parts[0]]}"
    return key, "" if module == "expect" else " of the channel"


_AMOUNT = re.compile(r"(100)?N(\+1)?(%|ms|s|/s|/min)?")


def _written(form: str, value: Any) -> str | None:
    """Return a value in the form of the table; None where it has none, or is no number that could be in it."""
    amount = _AMOUNT.search(form)
    if amount is None:
        return form if form and isinstance(value, bool) and value else None
    unit = amount[3] or ""
    text = value.strip() if isinstance(value, str) else ""
    if _has_the_unit(text, unit):
        return form.replace(amount[0], text)
    try:
        number = float(text) if text else float(value)
    except (TypeError, ValueError):
        return None
    if isinstance(value, bool) or not 0 <= number < 1e15:
        return None
    if amount[1] and number <= 1:
        number *= 100
    if amount[2]:
        number += 1
    if unit == "ms":
        return form.replace(amount[0], write_duration(number / 1000))
    return form.replace(amount[0], plain_number(number, 15).replace(",", "") + unit)


def _has_the_unit(text: str, unit: str) -> bool:
    if unit in ("ms", "s"):
        return parse_duration(text, unit_required=True) is not None
    if unit in ("/s", "/min"):
        return parse_rate(text, unit_required=True) is not None
    return unit == "%" and parse_share(text) is not None


def plain(word: str) -> str:
    """Return a word without what tells camelCase, kebab-case and snake_case apart."""
    return re.sub(r"[^a-z0-9]", "", word.lower())


def _tokens(key: str) -> list[str]:
    return sorted(key.split("_"))


def _digits(key: str) -> str:
    return re.sub(r"[^0-9]", "", key)


def _near_word(key: str) -> str | None:
    """Return the word of another library of which `key` is a misspelling by one letter."""
    key = plain(key[:_KEY_MAX])
    alike = (word for word in _by_word() if word[:1] == key[:1] and len(word) > 2 * _SHORT)
    return next((_by_word()[word][0].word for word in alike if distance(key, word, 1) == 1), None)


@cache
def _by_word() -> dict[str, list[Word]]:
    found: defaultdict[str, list[Word]] = defaultdict(list)
    for row in words():
        found[plain(row.word)].append(row)
    return dict(found)


@cache
def _subjects() -> dict[str, list[tuple[str, list[str]]]]:
    found: defaultdict[str, list[tuple[str, list[str]]]] = defaultdict(list)
    for model, subject, keys in _rows("key_subjects.txt"):
        found[model].append((subject, keys.split()))
    return dict(found)


def _rows(file: str) -> Iterator[list[str]]:
    for line in (_HERE / file).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield [cell.strip() for cell in line.split("|")]
