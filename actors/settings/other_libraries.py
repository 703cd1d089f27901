"""The words of other libraries and what they are called here; ``other_libraries.txt`` is the table.

A row turns a word into a key and a fragment of settings, with the user's own number in it. No other number is ever said
without "for example" but those of a row, and no fragment is offered that the settings would refuse.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from actors.settings.foreign_quantities import (
    foreign_duration,
    foreign_number,
    written_otherwise,
)
from actors.settings.meanings import (
    KEY_MAX,
    MODULES,
    NO_NAMES,
    NO_VALUE,
    BlockMeaning,
    Meaning,
    Reading,
    Word,
    WordMeaning,
    WordPlace,
    either,
    flow,
    tree_of,
)
from actors.settings.table_forms import AMOUNT, UNIT_SUFFIX, beside_of, calls_in, filled, plain, words_in
from actors.settings.yaml_tree import Place as Source, data, read

_INNER_MAX = 50
"""Keys of another library's mapping that are translated."""

_DEPTH_MAX = 6

_CLEAR = 1.0
"""The score from which the words beside a word tell its library: that of a word that no other library has."""


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def words() -> tuple[Word, ...]:
    """Return the table."""
    return tuple(
        Word(peer, word, *more)
        for peers, alike, *more in rows_of("other_libraries.txt")
        for peer in peers.split(", ")
        for word in alike.split()
    )


def rows_of(file: str) -> Iterator[list[str]]:
    """Yield the cells of each row of a table beside this module."""
    for line in (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield [cell.strip() for cell in line.split("|")]


@cache
def _by_word() -> dict[str, list[Word]]:
    found: defaultdict[str, list[Word]] = defaultdict(list)
    for row in words():
        found[plain(row.word)].append(row)
    return dict(found)


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
    return any(module in row.at.split() for row in _by_word().get(plain(key), ()))


def keys_of(word: str) -> set[str]:
    """Return the last parts of the keys that a word may be here."""
    return {row.key.rpartition(".")[2] for row in _by_word().get(plain(word[:KEY_MAX]), ())}


def means_else(key: str, value: Any, place: WordPlace) -> bool:
    """Tell whether a key of ours with its value means another thing in the library whose words are beside it."""
    return any("=" in row.at for row in _rows(key, value, place))


def units_of(key: str) -> dict[str, list[str]]:
    """Return the libraries whose key of this name counts milliseconds, and those whose counts seconds."""
    found: dict[str, list[str]] = {"ms": [], "s": []}
    for row in _by_word().get(plain(key), ()):
        if row.peer in NO_NAMES or not _has_plain_numbers(row.peer):
            continue
        if (unit := _PLAIN_UNIT.fullmatch(row.value)) and row.key.rpartition(".")[2] == key:
            found[unit[1]] += [row.peer] * (row.peer not in found[unit[1]])
    return found


def _has_plain_numbers(library: str) -> bool:
    """Tell whether a library has durations that are numbers without a unit."""
    return library not in _WITH_UNITS


# ── meanings ────────────────────────────────────────────────────────────────────────────────────────────────────


def meaning(key: str, value: Any, place: WordPlace) -> Meaning | None:
    """Return what a word of other libraries is here; None when it is no such word.

    Args:
        key: the word, in camelCase, kebab-case or snake_case.
        value: what was given for it; what cannot be translated is not shown.
        place: where it stands.
    """
    key = key[:KEY_MAX]
    if (block := _block(given := _unwrapped(key, value, place))) is not None:
        translated = translate(key, block, place)
        found, _ = _readings(key, NO_VALUE, place)
        if translated.tree or isinstance(given, str) or all(each.row.key and not each.is_example for each in found):
            return translated if translated.tree or translated.remarks else None
        return WordMeaning(key, NO_VALUE, place, found, remarks=translated.remarks if found[0].row.key else ())
    readings, is_told_apart = _readings(key, given, place)
    if readings and readings[0].row.key and not any(each.is_settled for each in readings):
        readings = _of_sibling(key, place) or readings
    return WordMeaning(key, value, place, readings, is_told_apart) if readings else None


def _block(value: Any) -> Mapping[str, Any] | None:
    """Return a mapping, the keys of all mappings of a list, or the calls of a text; None where there is none."""
    if isinstance(value, str):
        return calls_in(value, is_word)
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(each, Mapping) for each in value):
        return None
    merged: dict[str, Any] = {}
    for each in reversed(value[:_INNER_MAX]):
        merged |= each
    return merged


def _unwrapped(key: str, value: Any, place: WordPlace) -> Any:
    """Return the only value of a mapping such as ``{Timeout: 3s}`` where the word takes a value itself."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return value
    name, inner = next(iter(value.items()))
    is_itself = plain(str(name)) in plain(key) or not is_word(str(name))
    rows = _rows(key, value, place) if is_itself and not isinstance(inner, (Mapping, list, tuple)) else []
    takes = any(AMOUNT.search(row.value) for row in rows) and not any(_EXAMPLE_BLOCK.match(row.example) for row in rows)
    return inner if takes else value


# ── which rows ──────────────────────────────────────────────────────────────────────────────────────────────────


def _readings(key: str, value: Any, place: WordPlace) -> tuple[tuple[Reading, ...], bool]:
    """Return the readings of a word, and whether the words beside it have told its library apart."""
    rows = _rows(key, value, place)
    if not rows and (stem := UNIT_SUFFIX.fullmatch(plain(key))) is not None:
        rows = [_in_unit(row, stem[2]) for row in _rows(stem[1], value, place) or _own_rows(stem[1], place)]
    others = {name: each for name, each in place.beside.items() if plain(str(name)) != plain(key)}
    peer = place.peer or _library(others)
    of_peer = [row for row in rows if row.peer == peer]
    if foreign_number(value) is not None:
        rows = [row for row in rows if _has_plain_numbers(row.peer) or not _DURATION_FORM.search(row.value)] or rows
    is_clear = not place.peer and _is_clear(peer, others)
    is_told_apart = is_clear and 0 < len(of_peer) < len(rows)
    rows = of_peer if is_told_apart else rows
    unit = _unit_of(peer) if place.peer or is_clear else ""
    rows.sort(key=lambda row: (row.peer != peer, row.peer in NO_NAMES, not _is_spelt_by(row.peer, key)))
    found: list[Reading] = []
    for reading in [_reading(row, value, place, unit) for row in rows]:
        # What is the same is said once: in the words of the first library.
        same = next((each for each in found if each.says(reading)), None)
        if same is None:
            found.append(reading)
        else:
            first = reading if same.row.peer in NO_NAMES else same
            found[found.index(same)] = replace(first, libraries=(*same.libraries, *reading.libraries))
    named = {reading.row.key for reading in found if reading.row.peer not in NO_NAMES}
    shown = [each for each in found if each.row.peer not in NO_NAMES or each.row.key not in named]
    is_told_apart = is_told_apart or any(each.milliseconds for each in found if each not in shown)
    readings = sorted(shown, key=lambda each: bool(each.row.key) and (each.value is None or each.is_example))
    return tuple([each for each in readings if each.wanted is None] or readings), is_told_apart


def _of_sibling(key: str, place: WordPlace) -> tuple[Reading, ...]:
    """Return the reading of another word beside a word that says what both are together, such as a rate."""
    for name, value in place.beside.items():
        for row in _rows(str(name)[:KEY_MAX], value, place) if plain(str(name)) != plain(key) else ():
            parts = words_in(row.value) | {each.partition("=")[0] for each in row.at.split()}
            if plain(key) in map(plain, parts) and (reading := _reading(row, value, place, "")).is_settled:
                return (replace(reading, note=f"together with {name}"),)
    return ()


def _reading(row: Word, value: Any, place: WordPlace, unit: str) -> Reading:
    written = filled(row.value, value, place.beside) if row.value and _applies(row, value) else None
    if written and row.key in MODULES and written.startswith("{"):
        tree = {key: each for key, each in _read(written).items() if key not in place.beside}
        written = flow(tree)
    milliseconds = None
    if written and row.peer == "many" and foreign_number(value):
        milliseconds = filled(_PLAIN_SECONDS.sub("Nms", row.value), value, place.beside, plain_ms=True)
        written, milliseconds = (milliseconds, None) if unit == "ms" else (written, milliseconds if not unit else None)
        milliseconds = None if milliseconds == written else milliseconds
    wanted = place.refused(row.key, _read(written)) if written and row.key else None
    note = row.note if row.value and written is None else filled(row.note, value, place.beside)
    is_example = written is None and bool(row.key) and (bool(row.value) or bool(_EXAMPLE_BLOCK.match(row.example)))
    example, example_note = example_of(row) if is_example or note is None else (None, "")
    return Reading(
        row,
        (row.peer,),
        example if is_example else written,
        milliseconds,
        is_example,
        {} if is_example else _also(row, value, place),
        wanted,
        example_note if note is None else note,
        tree_of(row.key, _read(shown)) if row.key and (shown := example if is_example else written) else {},
    )


def _also(row: Word, value: Any, place: WordPlace) -> dict[str, Any]:
    """Return the further settings of a row that neither a key nor a word beside gives."""
    if not (written := filled(row.also, value, place.beside)):
        return {}
    group = row.key.rpartition(".")[0]
    settings = _read("{" + written.removeprefix("?") + "}").items()
    paths = {key[1:] if key.startswith("^") else f"{group}.{key}": each for key, each in settings}
    others = {str(name)[:KEY_MAX]: each for name, each in place.beside.items() if plain(str(name)) != plain(row.word)}
    given = {f"{group}.{name}" for name in others} | {
        each.key for name in others for each in _rows(name, others[name], place)
    }
    return {path: each for path, each in paths.items() if path not in given}


def _rows(key: str, value: Any, place: WordPlace) -> list[Word]:
    by_word = _by_word()
    found = by_word.get(plain(key)) or by_word.get(plain(key.rpartition(".")[2]), [])
    fits = [(score, row) for row in found if (score := _fits(row, value, place)) is not None]
    at_place = max((score[0] for score, _ in fits), default=0)
    fits = [(score, row) for score, row in fits if score[0] == at_place]
    best: defaultdict[str, tuple[int, int]] = defaultdict(lambda: max(score for score, _ in fits))
    for score, row in fits:
        if row.peer not in NO_NAMES:
            best[row.peer] = max(score, best.get(row.peer, score))
    rows = [row for score, row in fits if score == best[row.peer]]
    if not isinstance(value, Mapping):
        rows = [row for row in rows if not _EXAMPLE_BLOCK.match(row.example)] or rows
    named = [row for row in rows if row.peer == place.peer]
    return named if any(row.value or not row.key for row in named) else rows


def _fits(row: Word, value: Any, place: WordPlace) -> tuple[int, int] | None:
    """Return how exactly a row is about this place, and about what stands there; None where it is not."""
    names = [plain(each) for each in row.at.split() if "=" not in each]
    conditions = [each.partition("=") for each in row.at.split() if "=" in each]
    inside = bool(place.inside) and place.inside in names
    if names and not inside and plain(place.module) not in names:
        return None
    if not all(_is(beside_of(place.beside, word)[0] if word else value, wanted) for word, _, wanted in conditions):
        return None
    return 2 * inside + bool(names), sum(1 + 2 * (wanted not in _KINDS) for _, _, wanted in conditions)


def _is_about(row: Word, value: Any) -> bool:
    """Tell whether a row that is about some values only is about this one."""
    return all(_is(value, each[1:]) for each in row.at.split() if each.startswith("="))


_KINDS = ("*", "list", "number", "share", "many", "duration")


def _is(given: Any, wanted: str) -> bool:
    if given is None or wanted in ("*", "null"):
        return (given is None) == (wanted == "null")
    if wanted == "list":
        return isinstance(given, (list, tuple))
    number = foreign_number(given)
    if wanted in ("number", "share", "many"):
        return number is not None and (wanted == "number" or (number <= 1) == (wanted == "share"))
    if wanted == "duration":
        return foreign_duration(given) is not None
    if number is not None and (other := foreign_number(wanted)) is not None:
        return number == other
    return not isinstance(given, (Mapping, list, tuple)) and plain(str(given)[:KEY_MAX]) == plain(wanted)


_EXAMPLE_BLOCK = re.compile(r"{|\w+\(")
_PLAIN_SECONDS = re.compile(r"\bNs\b")
_PLAIN_UNIT = re.compile(r"N(ms|s)")
_DURATION_FORM = re.compile(r"N(ms|s)\b")


def _own_rows(key: str, place: WordPlace) -> list[Word]:
    """Return a row for a key of ours: where it stands here, or else where it stands at all."""
    paths = sorted(place.own_paths(key), key=lambda path: len(place.path(path)[0]))
    return [Word("many", key, "", path, "Ns", "", "1", "") for path in paths[:1]]


def _in_unit(row: Word, unit: str) -> Word:
    """Return a row for its word with the unit in it, as ``reset_timeout_ms``."""
    ours = "Nms" if unit.startswith("m") else "Ns"
    return row._replace(peer="a unit", value=_DURATION_FORM.sub(ours, row.value))


# ── which library ───────────────────────────────────────────────────────────────────────────────────────────────

_SPELLINGS = {
    "PascalCase": "Polly, gobreaker, MassTransit, Hangfire",
    "snake_case": "Celery, Sidekiq, tenacity, stamina, pybreaker, circuitbreaker, Envoy, backoff, urllib3, Dramatiq, "
    "Laravel, nginx, Azure",
}
"""The libraries that spell their words so; all others have camelCase."""


_WITH_UNITS = ["Polly", "gobreaker", "MassTransit", "Hangfire", "gRPC", "Envoy", "Istio", "Temporal", "Linkerd", "Akka"]
"""The libraries whose durations have units."""


def spelling_of(library: str) -> str:
    """Return how a library spells its words."""
    return next((each for each, libraries in _SPELLINGS.items() if library in libraries.split(", ")), "camelCase")


def _is_spelt_by(library: str, key: str) -> bool:
    """Tell whether a library spells words as a key is spelt, where that can be seen."""
    shape = "PascalCase" if key[:1].isupper() else "snake_case" if "_" in key else "camelCase"
    return spelling_of(library) == shape or key == key.lower() != key.replace("_", "")


def _library(mapping: Mapping[str, Any], around: Collection[str] = ()) -> str:
    """Return the library that has most of the keys of a mapping, where one that few have counts for more."""
    score = _scores(mapping)
    for peer in around:
        score[peer] += 0.5
    best = max(score, key=lambda each: score[each], default=NO_NAMES[0])
    return best if score[best] > 0.5 or not around else NO_NAMES[0]


def _scores(mapping: Mapping[str, Any]) -> defaultdict[str, float]:
    score: defaultdict[str, float] = defaultdict(float)
    for key, value in islice(_flat(mapping), _INNER_MAX):
        rows = _by_word().get(plain(str(key)[:KEY_MAX]), ())
        peers = {row.peer for row in rows if _is_about(row, value)}.difference(NO_NAMES)
        for peer in sorted(peers):
            score[peer] += 1 / len(peers) + 0.2 + 0.1 * _is_spelt_by(peer, str(key))
    return score


def _flat(mapping: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a mapping with their values, and then those of the mappings in it."""
    yield from mapping.items()
    for value in mapping.values():
        if depth < _DEPTH_MAX and isinstance(value, (Mapping, list, tuple)) and (inner := _block(value)):
            yield from _flat(inner, depth + 1)


def _is_clear(peer: str, beside: Mapping[str, Any]) -> bool:
    score = _scores(beside)
    return score[peer] > _CLEAR and all(2 * score[each] <= score[peer] for each in score if each != peer)


@cache
def _unit_of(library: str) -> str:
    """Return what a library's plain numbers count, ``ms`` or ``s``; empty where that differs or is not known."""
    units = [
        unit for row in words() if row.peer == library not in NO_NAMES for unit in _DURATION_FORM.findall(row.value)
    ]
    return next((unit for unit in ("ms", "s") if units and units.count(unit) >= 0.75 * len(units)), "")


def _applies(row: Word, value: Any) -> bool:
    """Tell whether a value is what a row without a number is about."""
    return bool(AMOUNT.search(row.value)) or not row.example or plain(flow(value)) == plain(row.example)


def _read(written: str) -> Any:
    return data(read(written, Source("", 1, 1)))


def example_of(row: Word) -> tuple[str | None, str]:
    """Return the value of a row's example as it is here, and its note."""
    given = _read(f"{{it: {row.example}}}")
    value = given.pop("it")
    if (block := calls_in(value, is_word) if isinstance(value, str) else _block(value)) is not None:
        tree: Any = translate(row.word, block, WordPlace(row.at.partition(" ")[0], peer=row.peer)).tree
        for part in row.key.split("."):
            tree = tree[part]
        return flow(tree), row.note
    written = filled(row.value, value, given) if row.value else None
    return written, filled(row.note, value, given) or row.note


def also_of(row: Word) -> dict[str, Any]:
    """Return the further settings of a row's example."""
    given = _read(f"{{it: {row.example}}}")
    return _also(row, given.pop("it"), WordPlace(row.at.partition(" ")[0], given))


# ── mappings of other libraries ─────────────────────────────────────────────────────────────────────────────────


def translate(key: str, mapping: Mapping[str, Any], place: WordPlace) -> BlockMeaning:
    """Return what a mapping of another library is here, key by key; its tree is empty where none of them is known.

    The library is the one that has most of the keys, and the word around them.
    """
    outer = [row for row in _rows(key, mapping, place) if row.key and not AMOUNT.search(row.value)]
    peer = place.peer or _named(key) or _library(mapping, {row.peer for row in outer})
    row = next((row for row in outer if row.peer == peer), outer[0] if outer else None)
    prefix = row.key if row else next((each for each in place.known if plain(each) == plain(key)), "")
    firsts = [_first_key(name) for name in islice(mapping, _INNER_MAX)]
    here = next((each for each in MODULES if place.module != "channel" and place.module in MODULES[each].split()), "")
    blocks = []
    for each in dict.fromkeys([prefix] if prefix else [here, max(firsts, key=firsts.count, default="")]):
        block = _Block()
        if row and row.also:
            block.further |= _also(row, mapping, replace(place, beside=mapping))
        block.add(each, key, mapping, replace(place, peer=peer))
        blocks.append(block)
    block = min(blocks, key=lambda each: each.unknown)
    found = block.known >= (1 if prefix else max(1, block.unknown))
    tree = block.settings(row if row and row.peer in (peer, *NO_NAMES) else None) if found else {}
    block.complete()
    note = row.note if row and not row.note.startswith("a mapping") else ""
    return BlockMeaning(key, place, peer, tree, note, tuple(block.said()) if found or prefix else ())


def _named(key: str) -> str:
    """Return the library whose name is a part of a key, such as ``stamina.retry``; empty where there is none."""
    parts = set(map(plain, key.split("."))) - _by_word().keys()
    return next((row.peer for row in words() if plain(row.peer) in parts), "")


class _Block:
    """The settings that the keys of a mapping are here, and what there is to say of the keys."""

    def __init__(self) -> None:
        self.known = 0
        self.unknown = 0
        self._tree: dict[str, Any] = {}
        self.further: dict[str, Any] = {}
        self._remarks: defaultdict[str, list[str]] = defaultdict(list)
        self._open: list[tuple[str, str]] = []
        """The keys that words lead to without a value, and what to say of them if no other word gives one."""

    def add(self, prefix: str, word: str, mapping: Mapping[str, Any], place: WordPlace, depth: int = 0) -> None:
        """Add the keys of a mapping whose word is the key `prefix` here."""
        if len(mapping) > _INNER_MAX:
            self._remarks[f"{len(mapping) - _INNER_MAX:,} further keys of {word} are not translated"] = []
        mapping = dict(islice(mapping.items(), _INNER_MAX))
        module = MODULES.get(prefix.partition(".")[0], "").partition(" ")[0] or place.module
        place = replace(
            place,
            origin=place.origin or place.module,
            module=module,
            beside={**(place.beside if depth else {}), **mapping},
            inside=plain(word),
            group="",
        )
        used = set[str]()
        for key, value in sorted(mapping.items(), key=lambda item: not _takes_others(str(item[0]))):
            name = str(key)[:KEY_MAX]
            if plain(name) in used:
                continue
            value = _unwrapped(name, value, place)
            inner = _block(value)
            rows = [] if inner is None else _rows(name, inner, place)
            if inner is not None and depth < _DEPTH_MAX and not any(row.at and not row.key for row in rows):
                row = min((row for row in rows if row.key), key=lambda row: row.peer != place.peer, default=None)
                if self._add_inner(row, prefix, name, inner, place, depth):
                    continue
            if not self._add_own(prefix, name, value, place):
                used |= set(map(plain, self._add_word(name, value if inner is None else NO_VALUE, place)))

    def settings(self, row: Word | None) -> dict[str, Any]:
        """Return the settings, with what the word around them has by itself, such as a kind."""
        if row and row.value and not AMOUNT.search(row.value):
            fixed = tree_of(row.key, _read(row.value))
            _merge(fixed, self._tree)
            self._tree = fixed
        return self._tree

    def complete(self) -> None:
        """Add what nothing else has given."""
        for path, value in self.further.items():
            if _at(self._tree, path) is None:
                _merge(self._tree, tree_of(path, value))

    def said(self) -> Iterator[str]:
        """Yield what there is to say of the keys, the same of several at once."""
        for text, names in self._remarks.items():
            yield text.replace("*", ", ".join(dict.fromkeys(names)), 1) if names else text
        yield from (text for key, text in self._open if _at(self._tree, key) is None)

    def _add_inner(
        self, row: Word | None, prefix: str, name: str, inner: Mapping[str, Any], place: WordPlace, depth: int
    ) -> bool:
        block = _Block()
        block.add(row.key if row else prefix, name, inner, place, depth + 1)
        if not block.known:
            return False
        self.known, self.unknown = self.known + block.known, self.unknown + block.unknown
        fixed = row if row and row.peer in (place.peer, *NO_NAMES) else None
        self._put("", block.settings(fixed), name)
        for text, names in block._remarks.items():
            self._remarks[text] += names
        self._open += block._open
        self.further |= block.further
        if fixed and fixed.note and not fixed.note.startswith("a mapping"):
            self._remarks[f"*: {fixed.note.lstrip('; ')}"].append(name)
        return True

    def _add_own(self, prefix: str, name: str, value: Any, place: WordPlace) -> bool:
        """Add a key that is one of ours, unless the library means another thing by it."""
        path = next((path for path in place.own_paths(plain(name)) if path.rpartition(".")[0] == prefix), "")
        wants = place.refused(path, value) if path else NO_SUCH_KEY
        forms = [] if wants is None else written_otherwise(value, wants)
        rows = _rows(name, value, place)
        if (wants is not None and not forms) or any(row.peer == place.peer for row in rows if row.at or wants):
            return False
        self.known += 1
        self._put(path, _read(_chosen(forms, value)) if forms else value, name)
        if len(forms) > 1:
            self._remarks[f"*: {either(*forms)}"].append(name)
        return True

    def _add_word(self, name: str, value: Any, place: WordPlace) -> set[str]:
        """Add a word of other libraries; return the words beside it that its value is made of."""
        readings, _ = _readings(name, value, place)
        good = next((each for each in readings if each.is_settled and each.row.value), None)
        if not readings:
            self.unknown += 1
            self._remarks["* is not translated"].append(name)
            return set()
        self.known += bool(good or not readings[0].row.key)
        if good is None or good.value is None:
            if not readings[0].row.key:
                self._remarks[f"leave * out: {readings[0].note}"].append(name)
            else:
                self.unknown += 1
                self._open.append((readings[0].row.key, WordMeaning(name, value, place, readings).text))
            return set()
        chosen = good.value
        if good.milliseconds is not None:
            chosen = _chosen([good.milliseconds, good.value], value)
            self._remarks[f"*: {either(good.milliseconds, good.value)}"].append(name)
        self._put(good.row.key, _read(chosen), name)
        if good.row.peer in (place.peer, *NO_NAMES) or place.peer in NO_NAMES:
            self.further |= good.also
        if "N+1" in good.row.value:
            self._remarks[f"{good.row.key.rpartition('.')[2]} counts the first attempt too"] = []
        if good.note:
            self._remarks[f"*: {good.note.lstrip('; ')}"].append(name)
        others = words_in(good.row.value) | words_in(good.row.also)
        own = good.row.key.rpartition(".")[2]
        return {word for word in others if own in keys_of(word)}

    def _put(self, path: str, value: Any, name: str) -> None:
        there = _at(self._tree, path) if path else self._tree
        if isinstance(there, dict) and isinstance(value, Mapping):
            for key, each in value.items():
                self._put(f"{path}.{key}" if path else key, each, name)
        elif there is None:
            _merge(self._tree, tree_of(path, value))
        elif there != value:
            self._remarks[f"* is {path} too, which has another value already"].append(name)


def _chosen(forms: list[str], value: Any) -> str:
    """Return the likelier one of two values that a plain number may be: from 1000 on it counts milliseconds."""
    return forms[0] if len(forms) == 1 or (foreign_number(value) or 0) >= 1000 else forms[1]


def _at(tree: Any, path: str) -> Any:
    for part in path.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _first_key(word: str) -> str:
    """Return the group of settings of a word, empty where it is unknown."""
    keys = [row.key.partition(".")[0] for row in _by_word().get(plain(str(word)[:KEY_MAX]), ()) if row.key]
    return next((key for key in keys if key in MODULES), "")


def _takes_others(key: str) -> bool:
    """Tell whether a word's value is made of others beside it, which are then spoken for."""
    return any("<" in row.value for row in _by_word().get(plain(key), ()))


NO_SUCH_KEY = "a key that there is"
"""What `WordPlace.refused` returns for a path that leads nowhere."""
