"""The words of other libraries and what they are called here; ``other_libraries.txt`` is the table.

A row turns a word into a key and a fragment of settings, with the user's own number in it. No other number is ever said
without "for example", and no fragment is offered that the settings would refuse.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from actors.settings.foreign_quantities import (
    foreign_duration,
    foreign_number,
    foreign_rate,
    write_number,
    write_rate,
)
from actors.settings.quantities import Rate, parse_duration, parse_share, write_duration
from actors.settings.yaml_tree import Place as Source, data, read

KEY_MAX = 100
"""Characters of a key that are looked at: a request may have a very long one."""

_INNER_MAX = 50
"""Keys of another library's mapping that are translated."""

_DEPTH_MAX = 4

_MODULES = {
    "retry": {"retry"},
    "circuit_breaker": {"breaker"},
    "rate_limit": {"rate_limit"},
    "quota": {"rate_limit"},
    "max_in_flight": {"bulkhead"},
    "hedging": {"adaptive"},
    "concurrency_limit": {"adaptive"},
    "provider": {"channel"},
    "workload": {"workload"},
    "faults": {"faults"},
    "scenario": {"model", "channel", "config"},
}
"""The modules that have the settings under the first part of a key of the table."""

NO_NAMES = ("many", "here")
"""What stands for a library in the table and is none."""

_GOES_ON = re.compile(r"(?:which|whose|where|how|with|for|of|or|after|below|since|beside|over|such)\b")
"""Words with which a note goes on with the sentence that says the key."""

_PLACES = {"workload": "of an entry of the workload", "faults": "of a fault", "scenario": "at the top of the file"}
"""Where a key stands that is not one of a channel."""


class Word(NamedTuple):
    """A word of another library; a row of the table has all words of one meaning."""

    peer: str
    word: str
    at: str
    """Where alone it means this: modules of settings or words of mappings around it, and conditions such as ``=true``
    (its own value) and ``max=*`` (a key beside it). Empty: anywhere."""
    key: str
    """What it is called here; empty: there is no such key."""
    value: str
    """How its value is written here, N being the number that was given; empty: the note says it."""
    example: str
    note: str


@dataclass(frozen=True)
class WordPlace:
    """Where a word stands."""

    module: str
    """The module of the settings; ``expect`` for a metric."""

    known: Collection[str] = ()
    """The keys that there are."""

    beside: Mapping[str, Any] = field(default_factory=dict)
    """All that was given there."""

    refused: Callable[[str, Any], str | None] = lambda key, value: None
    """Returns what is wanted for a key, from the channel on, when it does not take a value."""

    group: str = ""
    """The key of the settings, when something was given in place of their mapping."""

    origin: str = ""
    """The module that has the `known` keys, where that is another one."""

    inside: str = ""
    """The word of another library whose mapping it is in."""

    peer: str = ""
    """The library of that mapping."""


class _WordMeaning(NamedTuple):
    """One meaning of a word with its value."""

    row: Word
    written: str | None
    """The value as it is written here; None where it has none, or cannot be translated."""
    wanted: str | None
    """What the key wants, when it refuses that value."""
    note: str


@cache
def words() -> tuple[Word, ...]:
    """Return the table."""
    rows = rows_of("other_libraries.txt")
    return tuple(Word(peer, word, *more) for peer, alike, *more in rows for word in alike.split())


def rows_of(file: str) -> Iterator[list[str]]:
    """Yield the cells of each row of a table beside this module."""
    for line in (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield [cell.strip() for cell in line.split("|")]


def near_word(key: str, near: Callable[[str, str], bool], longest: int) -> str | None:
    """Return the word of more than `longest` characters that is `near` to a key."""
    key = plain(key[:KEY_MAX])
    alike = (word for word in _by_word() if word[:1] == key[:1] and len(word) > longest)
    return next((_by_word()[word][0].word for word in alike if near(key, word)), None)


def is_word(key: str) -> bool:
    """Tell whether a key is in the table."""
    return plain(key[:KEY_MAX]) in _by_word() or plain(key[:KEY_MAX].rpartition(".")[2]) in _by_word()


def has_meaning_here(key: str, module: str) -> bool:
    """Tell whether other libraries have a key of ours that takes another kind of value there."""
    rows = [row for row in _by_word().get(plain(key), ()) if module in row.at.split()]
    return any("=" in row.at or row.example.startswith("{") for row in rows)


def meaning(key: str, value: Any, place: WordPlace) -> str | None:
    """Return what a word of other libraries is called here, in a sentence; None when it is no such word.

    Args:
        key: the word, in camelCase, kebab-case or snake_case.
        value: what was given for it; what cannot be translated is not shown.
        place: where it stands.
    """
    key = key[:KEY_MAX]
    if (call := _call(value)) is not None and is_word(call[0]):
        return meaning(*call, place)
    if isinstance(value, Mapping) and (text := _of_mapping(key, value, place)) is not None:
        return text
    meanings: dict[tuple[str, str | None], tuple[_WordMeaning, list[str]]] = {}
    for reading in _readings(key, value, place):
        # What is the same key and value is said once: in the words of the first library.
        of_it = meanings.setdefault((reading.row.key, reading.written or reading.row.value), (reading, []))
        of_it[1].append(reading.row.peer)
    texts: list[str] = []
    for reading, libraries in meanings.values():
        head = _head(reading, key, value, first=not any(" is " in text for text in texts))
        named = libraries if len(meanings) > 1 or place.group else []
        texts.append(head + _phrase(reading, place) + _as_in(named))
    return "; or ".join(texts) or None


_CALL = re.compile(r"(?:tenacity\.)?(\w{1,100})\(([^()]{0,200})\)")


def _call(value: Any) -> tuple[str, Any] | None:
    """Return the name and the arguments of a call that stands as text, such as ``wait_random(min=1, max=4)``."""
    call = _CALL.fullmatch(value.strip()) if isinstance(value, str) else None
    if call is None:
        return None
    parts = (part.partition("=") for part in call[2].split(","))
    named = {name.strip(): given.strip() for name, equals, given in parts if equals}
    return call[1], named or call[2].strip()


def _as_in(libraries: list[str]) -> str:
    named = [each for each in libraries if each not in NO_NAMES]
    return f" (as in {' and '.join([', '.join(named[:-1])] * (len(named) > 1) + named[-1:])})" if named else ""


def _head(reading: _WordMeaning, key: str, value: Any, *, first: bool) -> str:
    row = reading.row
    if not row.key:
        return ""
    if reading.written is None and (row.value or row.example.startswith("{")):
        return f"for example {key}: {row.example} is "
    if not first:
        return ""
    return f"{key}: {flow(value)} is " if row.value and value is not None else f"{key} is "


def _phrase(reading: _WordMeaning, place: WordPlace) -> str:
    row, written = reading.row, reading.written
    if not row.key:
        return row.note
    if written is None and (row.value or row.example.startswith("{")):
        written = example_of(row)[0]
    if reading.wanted is not None:
        path, elsewhere = _path(row.key, place)
        return f"{path}{elsewhere}, which takes {reading.wanted}"
    counts = ", which counts the first attempt too" if "N+1" in row.value else ""
    if written and (place.group or (written.startswith("{") and "." not in row.key)):
        return f"{_tree_text(_tree(row.key, _read(written)), place)}{counts}{_remark(row, reading.note)}"
    path, elsewhere = _path(row.key, place)
    return f"{path}{f': {written}' if written else ''}{elsewhere}{counts}{_remark(row, reading.note)}"


def remark(row: Word) -> str:
    """Return the note of a word that has a key, as it goes on after that, with the numbers of its example."""
    return _remark(row, example_of(row)[1])


def example_of(row: Word) -> tuple[str | None, str]:
    """Return the value of a row's example as it is here, and its note."""
    given = _read(f"{{it: {row.example}}}")
    value = given.pop("it")
    if isinstance(value, Mapping):
        tree = translated(row.word, value, WordPlace(row.at.partition(" ")[0], peer=row.peer))[1]
        for part in row.key.split("."):
            tree = tree[part]
        return flow(tree), row.note
    written = _filled(row.value, value, given) if row.value else None
    return written, _filled(row.note, value, given) or row.note


def _remark(row: Word, note: str) -> str:
    stop = "," if row.value or _GOES_ON.match(note) else ";" if " is " in note.partition(";")[0] else ":"
    return f"{stop} {note}" if note else ""


# ── which rows ──────────────────────────────────────────────────────────────────────────────────────────────────


def _readings(key: str, value: Any, place: WordPlace) -> list[_WordMeaning]:
    rows = _rows(key, value, place)
    if not rows and (stem := _UNIT_SUFFIX.fullmatch(plain(key))) is not None:
        rows = [_in_unit(row, stem[2]) for row in _rows(stem[1], value, place)]
    found = []
    first = place.peer or _library({name: None for name in place.beside if plain(str(name)) != plain(key)})
    for row in sorted(rows, key=lambda row: (row.peer != first, row.peer in NO_NAMES)):
        written = _filled(row.value, value, place.beside) if _applies(row, value) else None
        wanted = place.refused(row.key, _read(written)) if written and row.key else None
        note = row.note if row.value and written is None else _filled(row.note, value, place.beside)
        found.append(_WordMeaning(row, written, wanted, example_of(row)[1] if note is None else note))
    found.sort(key=lambda each: bool(each.row.key) and not each.written)
    return [each for each in found if each.wanted is None] or found


def _rows(key: str, value: Any, place: WordPlace) -> list[Word]:
    by_word = _by_word()
    found = by_word.get(plain(key)) or by_word.get(plain(key.rpartition(".")[2]), [])
    fits = [(score, row) for row in found if (score := _fits(row, value, place)) >= 0]
    best = max((score for score, _ in fits), default=0)
    rows = [row for score, row in fits if score == best]
    if not isinstance(value, Mapping):
        rows = [row for row in rows if not row.example.startswith("{")] or rows
    named = [row for row in rows if row.peer == place.peer]
    return named if any(row.value or not row.key for row in named) else rows


def _fits(row: Word, value: Any, place: WordPlace) -> int:
    """Return how exactly a row is about this place, -1 where it is not."""
    names = [plain(each) for each in row.at.split() if "=" not in each]
    conditions = [each.partition("=") for each in row.at.split() if "=" in each]
    inside = bool(place.inside) and place.inside in names
    if names and not inside and plain(place.module) not in names:
        return -1
    if not all(_is(_beside(place.beside, word)[0] if word else value, wanted) for word, _, wanted in conditions):
        return -1
    return 4 * inside + 2 * bool(names) + bool(conditions)


def _beside(mapping: Mapping[str, Any], word: str) -> tuple[Any, str]:
    """Return the value of a word in a mapping and the unit that its key has, None and empty where it is not there."""
    for key, value in mapping.items():
        name = plain(str(key)[:KEY_MAX])
        if name == plain(word):
            return value, ""
        if (stem := _UNIT_SUFFIX.fullmatch(name)) and stem[1] == plain(word):
            return value, "ms" if stem[2].startswith("m") else "s"
    return None, ""


def _is(given: Any, wanted: str) -> bool:
    if given is None or wanted == "*":
        return given is not None
    if wanted == "list":
        return isinstance(given, (list, tuple))
    number = foreign_number(given)
    if wanted in ("number", "share", "many"):
        return number is not None and (wanted == "number" or (number <= 1) == (wanted == "share"))
    if wanted == "duration":
        return foreign_duration(given) is not None
    if number is not None and (other := foreign_number(wanted)) is not None:
        return number == other
    return not _is_group(given) and plain(str(given)[:KEY_MAX]) == plain(wanted)


def _is_group(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple))


_UNIT_SUFFIX = re.compile(r"(.+?)(?:in)?(milliseconds|millis|ms|seconds|secs|sec)")
_DURATION_FORM = re.compile(r"N(ms|s)\b")


def _in_unit(row: Word, unit: str) -> Word:
    """Return a row for its word with the unit in it, as ``reset_timeout_ms``."""
    ours = "Nms" if unit.startswith("m") else "Ns"
    return row._replace(peer="many", value=_DURATION_FORM.sub(ours, row.value))


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────

_AMOUNT = re.compile(r"(?<![A-Za-z_])(100)?N(\+1)?(?:/<(\w+) (ms|s)>|(%|ms|s|/s|/min))?(?![A-Za-z_])")


def _applies(row: Word, value: Any) -> bool:
    """Tell whether a value is what a row without a number is about."""
    return bool(_AMOUNT.search(row.value)) or not row.example or _shown(value) == row.example


def _filled(form: str, value: Any, beside: Mapping[str, Any]) -> str | None:
    """Return a text of the table with the value in it; None where there is none in that form."""
    if form.startswith("[") and isinstance(value, (list, tuple)):
        each = [_filled(form[1:-1], one, beside) for one in value[:_INNER_MAX]]
        return None if None in each else f"[{', '.join(map(str, each))}]"
    written = [_amount(match, value, beside) for match in _AMOUNT.finditer(form)]
    if any(each is None for each in written):
        return None
    following = iter(written)
    return _AMOUNT.sub(lambda _: str(next(following)), form)


def _amount(match: re.Match[str], value: Any, beside: Mapping[str, Any]) -> str | None:
    hundred, one_more, other, its_unit, unit = match.groups()
    number = foreign_number(value)
    if unit in ("ms", "s"):
        if isinstance(value, str) and parse_duration(value, unit_required=True) is not None:
            return value.strip()
        if unit == "s" and number is not None:
            return f"{write_number(number)}s"
        seconds = foreign_duration(value, 0.001)
        return None if seconds is None else write_duration(round(seconds, 9))
    if unit in ("/s", "/min") and (rate := foreign_rate(value)) is not None:
        return write_rate(rate)
    if unit == "%" and isinstance(value, str) and number is None:
        return value.strip() if parse_share(value) is not None else None
    if number is None:
        return None
    if other:
        given, own_unit = _beside(beside, other)
        period = foreign_duration(given, 0.001 if (own_unit or its_unit) == "ms" else 1)
        return write_rate(Rate(number, round(period, 9))) if period else None
    if hundred and number <= 1:
        number *= 100
    return write_number(number + bool(one_more)) + (unit or "")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:KEY_MAX]


def _read(written: str) -> Any:
    return data(read(written, Source("", 1, 1)))


# ── where it is here ────────────────────────────────────────────────────────────────────────────────────────────


def _path(key: str, place: WordPlace) -> tuple[str, str]:
    """Return a key as it is called where the unknown one stands, and where it belongs if that is elsewhere."""
    parts, module = key.split("."), place.origin or place.module
    for number, part in enumerate(parts):
        if part in place.known and (number == 0 or module in _MODULES.get(parts[0], ())) and not place.group:
            return ".".join(parts[number:]), ""
    if parts[0] in _PLACES:
        return ".".join(parts[1:]), f" {_PLACES[parts[0]]}"
    return key, "" if module == "expect" else " of the channel"


def _tree(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _tree_text(tree: Mapping[str, Any], place: WordPlace) -> str:
    """Return settings from the channel on as they are written where a word stands."""
    module, parts, elsewhere = place.origin or place.module, [], []
    for key, value in tree.items():
        if key == place.group:
            parts.append(flow(value))
        elif key in _PLACES:
            elsewhere.append(f"{flow(value)[1:-1]} {_PLACES[key]}")
        elif key in place.known and not place.group:
            parts.append(f"{key}: {flow(value)}")
        elif module in _MODULES.get(key, ()) and isinstance(value, dict) and not place.group:
            parts.append(flow(value)[1:-1])
        else:
            elsewhere.append(f"{key}: {flow(value)} of the channel")
    return ", ".join(parts + elsewhere)


def flow(value: Any) -> str:
    """Return settings on one line, as YAML has them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(each)}" for key, each in value.items()) + "}"
    return "[" + ", ".join(map(flow, value)) + "]" if isinstance(value, (list, tuple)) else _shown(value)


# ── mappings of other libraries ─────────────────────────────────────────────────────────────────────────────────


def _of_mapping(key: str, mapping: Mapping[str, Any], place: WordPlace) -> str | None:
    """Return what a mapping of another library is here, key by key; None where none of its keys is known."""
    peer, tree, said = translated(key, mapping, place)
    if not tree:
        text = meaning(key, None, place)
        return text and "; ".join([text, *dict.fromkeys(said)])
    wrong = [
        f"{top} wants {problem}"
        for top, part in tree.items()
        if top not in _PLACES and (problem := place.refused(top, part))
    ]
    return "; ".join([f"{key} is {_tree_text(tree, place)}{_as_in([peer])}", *dict.fromkeys(said + wrong)])


def translated(key: str, mapping: Mapping[str, Any], place: WordPlace) -> tuple[str, dict[str, Any], list[str]]:
    """Return the library of a mapping, its settings here from the channel on, and what is to be said of its keys.

    It is the library that has most of the keys, and the word around them.
    """
    outer = [row for row in _rows(key, mapping, place) if row.key and not _AMOUNT.search(row.value)]
    peer = place.peer or _library(mapping, {row.peer for row in outer})
    row = next((row for row in outer if row.peer == peer), outer[0] if outer else None)
    prefix = row.key if row else next((each for each in place.known if plain(each) == plain(key)), "")
    if not prefix:
        firsts = [_first_key(name) for name in islice(mapping, _INNER_MAX)]
        if not firsts or 2 * sum(map(bool, firsts)) < len(firsts):
            return peer, {}, []
        prefix = max(firsts, key=firsts.count)
    tree: dict[str, Any] = {}
    said: list[str] = []
    if not _gather(prefix, key, mapping, replace(place, peer=peer), tree, said):
        return peer, {}, said
    tree = _with_fixed(row, tree)
    settled = flow(tree)
    said = [text for text in said if not (there := re.search(r": with (\w+: \w+)", text)) or there[1] not in settled]
    return peer, tree, ([row.note] if row and row.note and not row.note.startswith("a mapping") else []) + said


def _with_fixed(row: Word | None, tree: dict[str, Any]) -> dict[str, Any]:
    """Return settings with those that the word of a mapping has by itself, such as a kind."""
    fixed = _tree(row.key, _read(row.value)) if row and row.value and not _AMOUNT.search(row.value) else {}
    _merge(fixed, tree)
    return fixed


def _library(mapping: Mapping[str, Any], around: Collection[str] = ()) -> str:
    """Return the library that has most of the keys of a mapping, where one that few have counts for more."""
    score: defaultdict[str, float] = defaultdict(float, dict.fromkeys(around, 0.5))
    for key in islice(mapping, _INNER_MAX):
        peers = {row.peer for row in _by_word().get(plain(str(key)[:KEY_MAX]), ())}.difference(NO_NAMES)
        for peer in sorted(peers):
            score[peer] += 1 / len(peers)
    best = max(score, key=lambda each: score[each], default=NO_NAMES[0])
    return best if score[best] > 0.5 or not around else NO_NAMES[0]


def _first_key(word: str) -> str:
    """Return the group of settings of a word, empty where it is unknown."""
    keys = [row.key.partition(".")[0] for row in _by_word().get(plain(str(word)[:KEY_MAX]), ()) if row.key]
    return next((key for key in keys if key in _MODULES), "")


def _gather(
    prefix: str,
    word: str,
    mapping: Mapping[str, Any],
    place: WordPlace,
    tree: dict[str, Any],
    said: list[str],
    depth: int = 0,
) -> bool:
    """Put the settings of a mapping's keys into `tree`, and what else there is to say of each into `said`."""
    module = next(iter(_MODULES.get(prefix.partition(".")[0], ())), place.module)
    if len(mapping) > _INNER_MAX:
        said.append(f"{len(mapping) - _INNER_MAX:,} further keys of {word} are not translated")
    mapping = dict(islice(mapping.items(), _INNER_MAX))
    place = replace(
        place, origin=place.origin or place.module, module=module, beside=mapping, inside=plain(word), group=""
    )
    found = False
    used: set[str] = set()
    for key, value in sorted(mapping.items(), key=lambda item: not _is_rate(str(item[0]))):
        name = str(key)[:KEY_MAX]
        if plain(name) in used:
            continue
        ours = f"{prefix}.{name}" if prefix else name
        if isinstance(value, Mapping) and depth < _DEPTH_MAX:
            row = next((row for row in _rows(name, value, place) if row.key), None)
            of_it: list[str] = []
            if _gather(row.key if row else prefix, name, value, place, tree, of_it, depth + 1):
                said += of_it
                found = True
                tree |= _with_fixed(row, tree)
                continue
        is_ours = "." not in name and place.refused(ours, value) is None and _is_setting(ours, place)
        if is_ours and not _means_else(name, value, place):
            _put(tree, ours, value, name, said)
            found = True
            continue
        readings = [] if isinstance(value, Mapping) else _readings(name, value, place)
        good = next((each for each in readings if each.row.value and each.written and each.wanted is None), None)
        if good is not None and good.written is not None:
            _put(tree, good.row.key, _read(good.written), name, said)
            found = True
            used |= {plain(other) for other in re.findall(r"<(\w+)", good.row.value)}
            if "N+1" in good.row.value:
                said.append(f"{good.row.key.rpartition('.')[2]} counts the first attempt too")
            if good.note:
                said.append(f"{name}: {good.note}")
        elif readings:
            text = meaning(name, value, place) or ""
            said.append(text if name in text.partition(" is ")[0] else f"{name}: {text}")
            found = found or not all(each.row.key for each in readings)
        else:
            said.append(f"{name} is not translated")
    return found


def _put(tree: dict[str, Any], key: str, value: Any, name: str, said: list[str]) -> None:
    there: Any = tree
    for part in key.split("."):
        there = there.get(part) if isinstance(there, dict) else None
    if isinstance(there, dict) and isinstance(value, dict):
        for one, each in value.items():
            if one not in there:  # what was given for it by itself stands
                there[one] = each
    elif there is None or there == value:
        _merge(tree, _tree(key, value))
    else:
        said.append(f"{name} is {key} too, which has another value already")


def _means_else(name: str, value: Any, place: WordPlace) -> bool:
    """Tell whether a key of ours means another thing in the mapping of a library that it stands in."""
    return any(
        row.peer == place.peer and place.inside in map(plain, row.at.split()) for row in _rows(name, value, place)
    )


def _is_rate(key: str) -> bool:
    return any("<" in row.value for row in _by_word().get(plain(key), ()))


def _is_setting(path: str, place: WordPlace) -> bool:
    return place.refused(path, object()) not in (None, NO_SUCH_KEY)


NO_SUCH_KEY = "a key that there is"
"""What `WordPlace.refused` returns for a path that leads nowhere."""


def plain(word: str) -> str:
    """Return a word without what tells camelCase, kebab-case and snake_case apart."""
    return re.sub(r"[^a-z0-9]", "", word.lower())


@cache
def _by_word() -> dict[str, list[Word]]:
    found: defaultdict[str, list[Word]] = defaultdict(list)
    for row in words():
        found[plain(row.word)].append(row)
    return dict(found)
