"""The words of other libraries and what they are called here; ``other_libraries.txt`` is the table.

A row turns a word into a key and a fragment of settings, with the user's own number in it. Any other number comes from
the row or follows "for example", and no fragment is offered that the settings would refuse.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from itertools import islice, takewhile
from operator import getitem
from typing import Any

from actors.settings.foreign_quantities import (
    AMOUNT,
    UNIT_SUFFIX,
    beside_of,
    filled,
    foreign_number,
    words_in,
    written_otherwise,
)
from actors.settings.library_table import (
    DEPTH_MAX,
    DURATION_FORM,
    KEYS_MAX,
    KINDS,
    block_of,
    by_word,
    flat,
    is_clear,
    is_like,
    is_spelt_by,
    is_word,
    keys_of,
    library_of,
    names_of,
    spelling_of,
    unit_of,
    words,
)
from actors.settings.meanings import (
    FIRST_COUNTS,
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
    grown,
    joined,
    plain,
)
from actors.settings.quantities import write_duration
from actors.settings.yaml_tree import Place as Source, data, read


def means_else(key: str, value: Any, place: WordPlace) -> bool:
    """Tell whether a key of ours with its value means another thing in the library whose words surround it."""
    return any("=" in row.at or row.word == key != key.lower() for row in _rows(key, value, place))


def meaning(key: str, value: Any, place: WordPlace) -> Meaning | None:
    """Return the meaning of a word of other libraries, in camelCase, kebab-case or snake_case; None when it is none."""
    key = key[:KEY_MAX]
    first, *inner = key.split(".")
    if inner and (not isinstance(value, (str, int, float)) or not _rows(key, value, place)):
        meant = meaning(first, grown({}, {".".join(inner): value}), place)
        return None if meant is None else meant._replace(word=key)
    if (block := block_of(given := _unwrapped(key, value, place))) is not None:
        translated = translate(key, block, place)
        found, _ = _readings(key, NO_VALUE, place)
        if translated.tree or isinstance(given, str) or all(each.row.key and not each.is_example for each in found):
            tree, said = _in_one_mapping(key, translated.tree, place)
            translated = translated._replace(tree=tree, remarks=(*translated.remarks, *filter(None, [said])))
            return translated if translated.tree or translated.remarks else None
        return WordMeaning(key, NO_VALUE, place, found, remarks=translated.remarks if found[0].row.key else ())
    readings, is_told_apart = _readings(key, given, place)
    if readings and readings[0].row.key and not any(each.is_settled for each in readings):
        readings = _of_sibling(key, place) or readings
    readings = tuple(_joined(key, each, place) if each.is_settled else each for each in readings)
    return WordMeaning(key, value, place, readings, is_told_apart) if readings else None


def _unwrapped(key: str, value: Any, place: WordPlace) -> Any:
    if isinstance(value, Mapping) and "nanos" in value and value.keys() <= {"seconds", "nanos"}:  # Protocol Buffers
        seconds, nanos = foreign_number(value.get("seconds", 0)), foreign_number(value["nanos"])
        return value if seconds is None or nanos is None else write_duration(seconds + nanos / 1e9)
    if not isinstance(value, Mapping) or len(value) != 1:
        return value
    name, inner = next(iter(value.items()))
    is_itself = plain(str(name)) in plain(key) or not is_word(str(name))
    rows = _rows(key, value, place) if is_itself and not isinstance(inner, (Mapping, list, tuple)) else []
    takes = any(AMOUNT.search(row.value) for row in rows) and not any(_EXAMPLE_BLOCK.match(row.example) for row in rows)
    return inner if takes else value


# ── which rows ──────────────────────────────────────────────────────────────────────────────────────────────────


def _readings(key: str, value: Any, place: WordPlace) -> tuple[tuple[Reading, ...], bool]:
    rows = _rows(key, value, place)
    if not rows and (stem := UNIT_SUFFIX.fullmatch(plain(key))) is not None:
        rows = _rows_in_unit(stem[1], stem[2], value, place)
    others = {name: each for name, each in place.beside.items() if plain(str(name)) != plain(key)}
    peer = place.peer or library_of(others)
    if key[:1].isupper() and not place.peer:
        rows = [row for row in rows if row.word == key or spelling_of(row.peer) == "PascalCase"] or rows
    of_peer = [row for row in rows if row.peer == peer]
    if foreign_number(value) is not None:
        with_units = names_of("with units")
        rows = [row for row in rows if row.peer not in with_units or not DURATION_FORM.search(row.value)] or rows
    tells = not place.peer and is_clear(peer, others)
    is_told_apart = tells and 0 < len(of_peer) < len(rows)
    rows = of_peer if is_told_apart else rows
    if tells and not of_peer:
        rows = [row for row in rows if row.peer in NO_NAMES] or rows
    unit = unit_of(peer) if place.peer or tells else ""
    rows.sort(key=lambda row: (row.peer != peer, row.peer in NO_NAMES, not is_spelt_by(row.peer, key)))
    found: list[Reading] = []
    for reading in [_reading(row, value, place, unit) for row in rows]:
        # Equal meanings are said once, in the words of the first library.
        same = next((each for each in found if each.says(reading)), None)
        if same is None:
            found.append(reading)
        else:
            first = reading if same.row.peer in NO_NAMES else same
            found[found.index(same)] = first._replace(libraries=(*same.libraries, *reading.libraries))
    named = {reading.row.key for reading in found if reading.row.peer not in NO_NAMES and reading.is_settled}
    shown = [each for each in found if each.row.peer not in NO_NAMES or each.row.key not in named]
    is_told_apart = is_told_apart or any(each.milliseconds for each in found if each not in shown)
    settled = {reading.row.key for reading in shown if reading.is_settled}
    shown = [each for each in shown if not each.is_example or each.row.key not in settled]
    readings = sorted(shown, key=lambda each: bool(each.row.key) and (each.value is None or each.is_example))
    return tuple([each for each in readings if each.wanted is None] or readings), is_told_apart


def _of_sibling(key: str, place: WordPlace) -> tuple[Reading, ...]:
    for name, value in islice(place.beside.items(), KEYS_MAX):
        for row in _rows(str(name)[:KEY_MAX], value, place) if plain(str(name)) != plain(key) else ():
            parts = words_in(row.value) | {each.partition("=")[0] for each in row.at.split()}
            parts = parts if row.key.rpartition(".")[2] in keys_of(key) else set()
            if plain(key) in map(plain, parts) and (reading := _reading(row, value, place, "")).is_settled:
                return (reading._replace(note=f"one key stands for both {key} and {name}"),)
    return ()


def _joined(key: str, reading: Reading, place: WordPlace) -> Reading:
    tree, said = _in_one_mapping(key, reading.tree, place)
    of_milliseconds, _ = _in_one_mapping(key, reading.tree_of_milliseconds, place)
    note = "; ".join(filter(None, [reading.note, said]))
    return reading._replace(tree=tree, tree_of_milliseconds=of_milliseconds, note=note)


def _in_one_mapping(key: str, tree: Mapping[str, Any], place: WordPlace) -> tuple[Mapping[str, Any], str]:
    own, found, names = dict(_leaves("", tree)), dict[str, Any](), []
    lines = {place.line(path) for path in own} - own.keys()
    if not lines or place.group or len(place.beside) > _SIBLINGS_MAX:
        return tree, ""
    for name, value in place.beside.items():
        if plain(name := str(name)) == plain(key):
            found |= own
            names.append(key)
            continue
        theirs = dict(_leaves("", _tree_of(name, value, place))) if is_word(name) else {}
        taken = [path for path in theirs if place.line(path) in lines and not _conflicts(path, {**own, **found})]
        more = {path: theirs[path] for path in taken}
        if taken and (_is_taken({**own, **found, **more}, lines, place) or not _is_taken(own, lines, place)):
            found |= more
            names.append(name)
    return (grown({}, found), f"{joined(names)} stand in one mapping") if len(names) > 1 else (tree, "")


def _is_taken(paths: Mapping[str, Any], lines: Iterable[str], place: WordPlace) -> bool:
    tree: Any = grown({}, paths)
    return all(place.refused(line, reduce(getitem, line.split("."), tree)) is None for line in lines)


def _tree_of(name: str, value: Any, place: WordPlace) -> Mapping[str, Any]:
    if (block := block_of(_unwrapped(name, value, place))) is not None:
        is_small = sum(1 for _ in islice(flat(block), _SIBLINGS_MAX + 1)) <= _SIBLINGS_MAX
        return translate(name, block, place).tree if is_small else {}
    settled = [each for each in _readings(name, value, place)[0] if each.is_settled]
    return settled[0].tree if len(settled) == 1 and settled[0].milliseconds is None else {}


def _reading(row: Word, value: Any, place: WordPlace, unit: str) -> Reading:
    is_told = not row.example or " =" in f" {row.at}" or is_like(value, row.example)
    applies = row.value and (AMOUNT.search(row.value) or is_told)
    written = filled(row.value, value, place.beside) if applies else None
    if written and row.key in MODULES and written.startswith("{"):
        tree = {key: each for key, each in _read(written).items() if key not in place.beside}
        written = flow(tree)
    milliseconds, of_milliseconds = None, row
    if written and row.peer == "many" and foreign_number(value):
        of_milliseconds = row._replace(also=_SECONDS_IN_ALSO.sub(" ms", row.also))
        milliseconds = filled(_PLAIN_SECONDS.sub("Nms", row.value), value, place.beside, plain_ms=True)
        if unit == "ms":
            row, written = of_milliseconds, milliseconds
        milliseconds = None if unit or milliseconds == written else milliseconds
    wanted = place.refused(row.key, _read(written)) if written and row.key else None
    note = row.note if row.value and written is None else filled(row.note, value, place.beside)
    is_example = written is None and bool(row.key) and (bool(row.value) or bool(_EXAMPLE_BLOCK.match(row.example)))
    example, example_note = example_of(row) if is_example or note is None else (None, "")
    shown, also = example if is_example else written, also_of(row) if is_example else _also(row, value, place)

    def tree_of(written: str | None, also: Mapping[str, Any]) -> Mapping[str, Any]:
        return grown({}, {row.key: _read(written), **also}) if row.key and written else {}

    return Reading(
        row,
        (row.peer,),
        shown,
        milliseconds,
        is_example,
        also,
        wanted,
        example_note if note is None else note,
        tree_of(shown, also),
        tree_of(milliseconds, _also(of_milliseconds, value, place)),
    )


def _also(row: Word, value: Any, place: WordPlace, *, repeated: bool = False) -> dict[str, Any]:
    written = filled(row.also, value, place.beside) or ""
    group = row.key.rpartition(".")[0]
    settings = _read("{" + written.removeprefix("?") + "}").items()
    paths = {key[1:] if key.startswith("^") else f"{group}.{key}": each for key, each in settings}
    if not paths:
        return {}
    others = {str(name)[:KEY_MAX]: each for name, each in islice(place.beside.items(), KEYS_MAX)}
    before = list(takewhile(lambda name: plain(name) != plain(row.word), others))
    others = {name: each for name, each in others.items() if plain(name) != plain(row.word)}
    given = {f"{group}.{name}" for name in others} | {
        f"{name}.{key}" for name, each in others.items() if isinstance(each, Mapping) for key in islice(each, KEYS_MAX)
    }
    given |= {each.key for name in others for each in _rows(name, others[name], place)}
    if not repeated and len(others) < len(place.beside) <= _SIBLINGS_MAX:
        for name in (each for each in before if each not in place.known):
            alike = [each for each in _rows(name, others[name], place) if each.peer == row.peer][:1]
            brought = _also(alike[0], others[name], place, repeated=True) if alike else {}
            given |= {path for path in brought if brought[path] == paths.get(path)}
    taken = (path for path, each in paths.items() if "<" not in row.also or place.refused(path, each) is None)
    above = {path: {path[:at] for at, letter in enumerate(path) if letter == "."} for path in paths}
    given |= {path for path in paths if given & above[path] - {group, row.key}}
    return {path: paths[path] for path in taken if path not in given and paths[path] is not None}


def _rows(key: str, value: Any, place: WordPlace) -> list[Word]:
    found = by_word().get(plain(key)) or by_word().get(plain(key.rpartition(".")[2]), [])
    found = [row for row in found if row.word in (row.word.lower(), key)]
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
    names = [plain(each) for each in row.at.split() if "=" not in each]
    conditions = [each.partition("=") for each in row.at.split() if "=" in each]
    inside = bool(place.inside) and place.inside in names
    if names and not inside and plain(place.module) not in names:
        return None
    if not all(is_like(beside_of(place.beside, word)[0] if word else value, wanted) for word, _, wanted in conditions):
        return None
    return 2 * inside + bool(names), sum(1 + 2 * (wanted not in KINDS) for _, _, wanted in conditions)


_EXAMPLE_BLOCK = re.compile(r"{|\w+\(")
_PLAIN_SECONDS = re.compile(r"\bNs\b")
_SIBLINGS_MAX = 12
_SECONDS_IN_ALSO = re.compile(r" s(?= over|>)")


def _rows_in_unit(key: str, unit: str, value: Any, place: WordPlace) -> list[Word]:
    paths = sorted(place.own_paths(key), key=lambda path: len("".join(place.name(path))))
    own = [Word("many", key, "", path, "Ns", "", "1", "") for path in paths[:1]]
    form = "Nms" if unit.startswith("m") else "Ns"
    rows = _rows(key, value, place) or own
    return [row._replace(peer="a unit", value=DURATION_FORM.sub(form, row.value)) for row in rows]


def _read(written: str) -> Any:
    return data(read(written, Source("", 1, 1)))


def example_of(row: Word) -> tuple[str | None, str]:
    """Return the value of a row's example as it is here, and its note."""
    given = _read(f"{{it: {row.example}}}")
    value = given.pop("it")
    if (block := block_of(value)) is not None:
        tree: Any = translate(row.word, block, WordPlace(row.at.partition(" ")[0], peer=row.peer)).tree
        return flow(reduce(getitem, row.key.split("."), tree)), row.note
    written = filled(row.value, value, given) if row.value else None
    return written, filled(row.note, value, given) or row.note


def also_of(row: Word) -> dict[str, Any]:
    given = _read(f"{{it: {row.example}}}")
    return _also(row, given.pop("it"), WordPlace(row.at.partition(" ")[0], beside=given))


# ── mappings of other libraries ─────────────────────────────────────────────────────────────────────────────────


def translate(key: str, mapping: Mapping[str, Any], place: WordPlace) -> BlockMeaning:
    """Return the meaning of a mapping of the library that has most of its keys; its tree is empty if none is known."""
    outer = [row for row in _rows(key, mapping, place) if row.key and not AMOUNT.search(row.value)]
    place = place._replace(peer=place.peer or _named(key) or library_of(mapping, {row.peer for row in outer}))
    row = min(outer, key=lambda row: row.peer != place.peer, default=None)
    prefix = row.key if row else next((each for each in place.known if plain(each) == plain(key)), "")
    starts = [prefix]
    if not prefix:
        here = [each for each in MODULES if place.module != "channel" and place.module in MODULES[each].split()]
        firsts = [_first_key(name) for name in islice(mapping, KEYS_MAX)]
        starts = [(here or [""])[0], max(firsts, key=firsts.count, default="")]
    block = min([_Block(start, key, mapping, place, row) for start in starts], key=lambda each: each.unknown)
    found = block.known >= (1 if prefix else max(1, block.unknown))
    note = row.note if row and not row.note.startswith("write") else ""
    remarks = tuple(block.said()) if found or prefix else ()
    return BlockMeaning(key, place, place.peer, block.tree() if found else {}, note, remarks, mapping)


def _named(key: str) -> str:
    parts = set(map(plain, key.split("."))) - by_word().keys()
    return next((row.peer for row in words() if plain(row.peer) in parts), "")


class _Block:
    """The settings that a mapping becomes, and the remarks on its keys; it is `prefix` here and `word` there."""

    def __init__(self, prefix: str, word: str, mapping: Mapping[str, Any], place: WordPlace, row: Word | None) -> None:
        self.known = self.unknown = 0
        # By paths: the settings that words bring along, before and after those given.
        self._fixed: dict[str, Any] = {}
        self._given: dict[str, Any] = {}
        self._further: dict[str, Any] = {}
        self._remarks: defaultdict[str, list[str]] = defaultdict(list)
        self._open: list[tuple[str, str]] = []
        """The keys that words lead to without a value, and the sentence if no other word gives one."""
        self._add(prefix, word, mapping, place, row, 0)

    def tree(self) -> dict[str, Any]:
        paths = self._fixed | self._given
        paths |= {path: value for path, value in self._further.items() if not _conflicts(path, paths)}
        return grown({}, paths)

    def said(self) -> Iterator[str]:
        """Yield what there is to say of the keys, the same of several at once."""
        for text, names in self._remarks.items():
            yield text.replace("*", ", ".join(dict.fromkeys(names)), 1) if names else text
        there = self._fixed | self._given | self._further
        yield from (text for key, text in self._open if not _conflicts(key, there))

    def _add(
        self, prefix: str, word: str, mapping: Mapping[str, Any], place: WordPlace, row: Word | None, depth: int
    ) -> None:
        if row and row.peer in (place.peer, *NO_NAMES):
            if row.value and not AMOUNT.search(row.value):
                self._fixed |= dict(_leaves(row.key, _read(row.value)))
            self._further |= _also(row, mapping, place._replace(beside=mapping))
        if len(mapping) > KEYS_MAX:
            self._remarks[f"{len(mapping) - KEYS_MAX:,} further keys of {word} are not translated"] = []
        mapping = dict(islice(mapping.items(), KEYS_MAX))
        place = place._replace(
            origin=place.origin or place.module,
            module=MODULES.get(prefix.partition(".")[0], "").partition(" ")[0] or place.module,
            beside={**place.beside, **mapping},
            inside=plain(word),
            group="",
        )
        used = set[str]()
        made_of_others = [key for key in mapping if any("<" in row.value for row in by_word().get(plain(str(key)), ()))]
        for key, value in ({key: mapping[key] for key in made_of_others} | mapping).items():
            name = str(key)[:KEY_MAX]
            if plain(name) in used:
                continue
            value = _unwrapped(name, value, place)
            inner = block_of(value)
            names = (str(each) for each, _ in islice(flat(inner or {}), KEYS_MAX))
            leads = any(is_word(each) or place.own_paths(plain(each)) for each in names)
            if inner is not None and leads and depth < DEPTH_MAX:
                rows = _rows(name, inner, place)
                if not any(row.at and not row.key for row in rows):
                    rows = [row for row in rows if row.key and not AMOUNT.search(row.value)]
                    row = min(rows, key=lambda row: row.peer != place.peer, default=None)
                    own = [path for path in place.own_paths(plain(name)) if path.rpartition(".")[0] == prefix]
                    start = row.key if row else next(iter(own), prefix)
                    self._add(start, name, inner, place, row, depth + 1)
                    if row and row.note and row.peer in (place.peer, *NO_NAMES) and not row.note.startswith("write"):
                        self._remarks[f"*: {row.note}"].append(name)
                    continue
            if not self._add_own(prefix, name, value, place):
                used |= set(map(plain, self._add_word(name, value if inner is None else NO_VALUE, place)))

    def _add_own(self, prefix: str, name: str, value: Any, place: WordPlace) -> bool:
        path = next((path for path in place.own_paths(plain(name)) if path.rpartition(".")[0] == prefix), "")
        wants = place.refused(path, value) if path else NO_SUCH_KEY
        forms = [] if wants is None else written_otherwise(value, wants)
        if wants is not None and not forms:
            return False
        if any(row.peer == place.peer not in NO_NAMES for row in _rows(name, value, place) if row.at or wants):
            return False
        self.known += 1
        if len(forms) > 1 and forms[0].endswith("ms") and (unit := unit_of(place.peer)):
            forms = [forms[unit == "s"]]
        self._put(path, _read(_chosen(forms, value)) if forms else value, name)
        if len(forms) > 1:
            self._remarks[f"*: {either(*forms)}"].append(name)
        return True

    def _add_word(self, name: str, value: Any, place: WordPlace) -> set[str]:
        readings, _ = _readings(name, value, place)
        if not readings:
            self.unknown += 1
            self._remarks["* is not translated"].append(name)
            return set()
        good = next((each for each in readings if each.is_settled and each.row.value), None)
        if good is None or good.value is None:
            if key := readings[0].row.key:
                self.unknown += 1
                self._open.append((key, WordMeaning(name, value, place, readings).text))
            else:
                self.known += 1
                self._remarks[f"leave * out: {readings[0].note}"].append(name)
            return set()
        self.known += 1
        chosen = good.value
        if good.milliseconds is not None:
            chosen = _chosen([good.milliseconds, good.value], value)
            self._remarks[f"*: {either(good.milliseconds, good.value)}"].append(name)
        self._put(good.row.key, _read(chosen), name)
        if good.row.peer in (place.peer, *NO_NAMES) or place.peer in NO_NAMES:
            self._further |= good.also
        if "N+1" in good.row.value:
            self._remarks[FIRST_COUNTS] = []
        if good.note:
            self._remarks[f"*: {good.note}"].append(name)
        others = words_in(good.row.value) | words_in(good.row.also)
        return {word for word in others if good.row.key.rpartition(".")[2] in keys_of(word)}

    def _put(self, path: str, value: Any, name: str) -> None:
        for leaf, each in _leaves(path, value):
            if self._given.get(leaf, each) != each or _conflicts(leaf, self._given.keys() - {leaf}):
                self._remarks[f"* is {leaf} too, which has another value already"].append(name)
            else:
                self._given[leaf] = each


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), each)
    else:
        yield path, value


def _conflicts(path: str, paths: Iterable[str]) -> bool:
    return any(f"{path}.".startswith(f"{each}.") or each.startswith(f"{path}.") for each in paths)


def _chosen(forms: list[str], value: Any) -> str:
    """Return the likelier of two values that a plain number may mean: from 1000 on it counts milliseconds."""
    return forms[0] if len(forms) == 1 or (foreign_number(value) or 0) >= 1000 else forms[1]


def _first_key(word: str) -> str:
    keys = [row.key.partition(".")[0] for row in by_word().get(plain(str(word)[:KEY_MAX]), ())]
    return next((key for key in keys if key in MODULES), "")


NO_SUCH_KEY = "an existing key"
"""The answer of `WordPlace.refused` for a path that leads nowhere."""
