"""The meanings of other libraries' words as data, and the sentence that each becomes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, NamedTuple

MODULES = {
    "retry": "retry",
    "circuit_breaker": "breaker",
    "rate_limit": "rate_limit",
    "quota": "rate_limit",
    "max_in_flight": "bulkhead",
    "hedging": "adaptive",
    "concurrency_limit": "adaptive",
    "provider": "channel",
    "workload": "workload",
    "faults": "faults",
    "scenario": "model channel config",
}
"""The modules that have the settings under the first part of a key of the table."""

PLACES = {"workload": "in an entry of the workload", "faults": "in a fault", "scenario": "at the top of the file"}
"""Where a key stands that is not one of a channel."""

_FIRST = re.compile(r"{|\w+")
_GOES_ON = re.compile(r"(?:which|whose|where|how|with|for|of|or|after|below|since|beside|over|such|as|so)\b")
"""Words with which a note goes on with the sentence that says the key."""


class Word(NamedTuple):
    """A word of another library; a row of the table has all words of one meaning."""

    peer: str
    word: str
    at: str
    """Where alone it means this: modules of settings or words of mappings around it, and conditions such as ``=true``
    (its own value) and ``max=*`` (a key beside it). Empty: anywhere."""
    key: str
    """Its key here; empty: there is no such key."""
    value: str
    """How its value is written here, N being the number that was given; empty: the note says it."""
    also: str
    """Settings beside the key that belong to the word where nothing else gives them."""
    example: str
    note: str


class WordPlace(NamedTuple):
    """Where a word stands."""

    module: str
    """The module of the settings; ``expect`` for a metric."""
    known: Collection[str] = ()
    """The keys that there are."""
    beside: Mapping[str, Any] = MappingProxyType({})
    """All that was given there."""
    refused: Callable[[str, Any], str | None] = lambda key, value: None
    """Returns the form that a key, from the channel on, wants when it does not take a value."""
    own_paths: Callable[[str], Iterable[str]] = lambda key: ()
    """Returns where a key of ours stands, from the channel on or from one of `PLACES`."""
    group: str = ""
    """The key of the settings, when something was given in place of their mapping."""
    origin: str = ""
    """The module that has the `known` keys, where that is another one."""
    inside: str = ""
    """The word of another library whose mapping it is in."""
    peer: str = ""
    """The library of that mapping."""

    def path(self, key: str) -> tuple[str, str]:
        """Return a key as it is written where the word stands, and where it belongs if that is elsewhere."""
        parts = key.split(".")
        for number, part in enumerate(parts):
            if part in self.known and (number == 0 or self._is_in(parts[0])) and not self.group:
                return ".".join(parts[number:]), ""
        if parts[0] in PLACES:
            return ".".join(parts[1:]), f" {PLACES[parts[0]]}"
        return key, "" if (self.origin or self.module) == "expect" else " of the channel"

    def _is_in(self, group: str) -> bool:
        """Tell whether the settings there are of this group; those of a quota have an account."""
        is_quota = group != "quota" or "account" in self.known
        return (self.origin or self.module) in MODULES.get(group, "").split() and is_quota

    def tree_text(self, tree: Mapping[str, Any]) -> str:
        """Return settings from the channel on as they are written where the word stands."""
        parts, elsewhere = [], []
        for key, value in tree.items():
            if key == self.group:
                parts.append(flow(value))
            elif key in PLACES:
                elsewhere.append(f"{flow(value)[1:-1]} {PLACES[key]}")
            elif key in self.known and not self.group:
                parts.append(f"{key}: {flow(value)}")
            elif self._is_in(key) and isinstance(value, dict) and not self.group:
                parts.append(flow(value)[1:-1])
            else:
                elsewhere.append(f"{key}: {flow(value)} of the channel")
        return ", ".join(parts + elsewhere)


class Reading(NamedTuple):
    """What a word with its value is here as some libraries mean it."""

    row: Word
    libraries: tuple[str, ...]
    value: str | None
    """The value as it is written here; None where the note says it."""
    milliseconds: str | None = None
    """The value if its plain number counts milliseconds, where `value` has seconds and nothing tells which."""
    is_example: bool = False
    """Whether the value is that of the row's example."""
    also: Mapping[str, Any] = MappingProxyType({})
    """Further settings, by their keys from the channel on."""
    wanted: str | None = None
    """What the key wants, when it refuses that value."""
    note: str = ""
    tree: Mapping[str, Any] = MappingProxyType({})
    """The key with its value, from the channel on."""

    @property
    def is_settled(self) -> bool:
        """Whether the reading gives a value here for the given one."""
        return bool(self.row.key) and self.value is not None and not self.is_example and self.wanted is None

    def says(self, other: Reading) -> bool:
        """Tell whether another reading comes to the same."""
        mine, its = (
            (each.row.key, each.row.value if each.is_example else each.value or each.row.note) for each in (self, other)
        )
        return mine == its and (not other.also or not self.also or other.also == self.also)

    def text(self, place: WordPlace) -> str:
        """Return what comes after ``word is``."""
        row = self.row
        path, elsewhere = place.path(row.key)
        if self.wanted is not None:
            return f"{path}{elsewhere}, which takes {self.wanted}"
        subject = "; max_attempts" if row.value.startswith("{") else ", which"
        after = f"{subject} counts the first attempt too" * ("N+1" in row.value)
        also = {} if place.group and self.tree else self.also
        after += with_also(also, row, place) + remark(row, self.note, is_short=not also)
        if self.value is None:
            return f"{path}{elsewhere}{after}"
        if place.group or (self.value.startswith("{") and "." not in row.key):
            return f"{place.tree_text(grown(self.tree, self.also if place.group else {}))}{after}"
        if self.milliseconds is not None:
            return f"{path}{elsewhere}: {either(self.milliseconds, self.value)}{after}"
        return f"{path}: {self.value}{elsewhere}{after}"


class WordMeaning(NamedTuple):
    """What a word is here, by each reading of it."""

    word: str
    given: Any
    place: WordPlace
    readings: tuple[Reading, ...]
    is_told_apart: bool = False
    """Whether the words beside it have told its library apart from others."""
    remarks: tuple[str, ...] = ()
    """What there is to say of the keys of its mapping, of which none is translated."""

    @property
    def is_settled(self) -> bool:
        return any(reading.is_settled for reading in self.readings)

    @property
    def keys(self) -> set[str]:
        """The keys, from the channel on, that the word may mean."""
        return {reading.row.key for reading in self.readings}

    @property
    def decides(self) -> bool:
        """Whether the sentence says what to do with the given value."""
        return any(reading.is_settled or not reading.row.key for reading in self.readings)

    @property
    def only_moves(self) -> bool:
        """Whether the word is a key of ours with a value that it takes, at the wrong place."""
        keys = {reading.row.key.rpartition(".")[2] for reading in self.readings if not reading.also}
        return keys == {self.word} and not any(reading.also for reading in self.readings)

    def repeats(self, key: str) -> bool:
        """Tell whether it only says that a key with the given value is what it is."""
        first = self.readings[0]
        return self.place.path(first.row.key) == (key, "") and first.value == flow(self.given)

    @property
    def text(self) -> str:
        is_named = len(self.readings) > 1 or self.is_told_apart or bool(self.place.group)
        texts, has_head = [], False
        for reading in self.readings:
            row, whose = reading.row, owners(reading.libraries, self.word) if is_named else ""
            if not row.key:
                texts.append(f"leave {whose + self.word if whose else 'it'} out: {reading.note}")
                continue
            word, text = self.word, reading.text(self.place)
            if reading.is_example:
                word = f"for example {whose}{word}: {row.example}"
            else:
                shown = reading.value is not None and self.given is not NO_VALUE
                word = f"{whose}{word}: {flow(self.given)}" if shown else f"{whose}{word}"
                word, has_head = whose.strip() if has_head else word, True
            here = " here" * (_FIRST.findall(text)[0].lower() in ("{", self.word.lower()))
            texts.append(f"{word} is{here} {text}" if word else text)
        return "; ".join(["; or ".join(texts), *self.remarks])


class BlockMeaning(NamedTuple):
    """What a mapping of another library is here: settings from the channel on, and remarks on some of its keys."""

    word: str
    place: WordPlace
    library: str
    tree: Mapping[str, Any]
    note: str
    remarks: tuple[str, ...]
    given: Mapping[str, Any]
    is_told_apart: bool = True
    keys: frozenset[str] = frozenset()

    @property
    def decides(self) -> bool:
        return bool(self.tree or self.remarks)

    @property
    def only_moves(self) -> bool:
        return self.tree == {self.word: self.given}

    @property
    def is_settled(self) -> bool:
        return bool(self.tree)

    def repeats(self, key: str) -> bool:
        return False

    @property
    def text(self) -> str:
        problems = [
            f"{top} wants {problem}"
            for top, part in self.tree.items()
            if top not in PLACES and (problem := self.place.refused(top, part))
        ]
        said = [self.note] * bool(self.note) + [*self.remarks, *problems]
        word = owners((self.library,), self.word) + self.word
        head = f"{word} is here {self.place.tree_text(self.tree)}" if self.tree else f"leave {word} out"
        return "; ".join([head, *dict.fromkeys(said)])


Meaning = WordMeaning | BlockMeaning

NO_VALUE = object()
"""What stands for a value that is not shown."""

NO_NAMES = ("many", "a unit")
"""What stands for a library in the table and is none."""


def either(milliseconds: str, seconds: str, ms_of: Collection[str] = (), s_of: Collection[str] = ()) -> str:
    """Return the two values that a plain number of an unknown unit may be; `ms_of` and `s_of` are libraries."""
    return f"{milliseconds} if {owners(ms_of)}milliseconds were meant, {seconds} if {owners(s_of)}seconds"


def remark(row: Word, note: str, *, is_short: bool = True) -> str:
    """Return a note as it goes on after the key and the value of its word, or after a list of further settings."""
    if not note or note.startswith(";"):
        return note
    is_sentence = " is " in note.partition(";")[0]
    goes_on = _GOES_ON.match(note) or (row.value and is_short and not is_sentence)
    stop = "," if goes_on else ";" if row.value or is_sentence else ":"
    return f"{stop} {note}"


def with_also(also: Mapping[str, Any], row: Word, place: WordPlace) -> str:
    """Return the further settings of a row as they go on after its key."""
    group, parts = row.key.rpartition(".")[0], []
    for name, value in also.items():
        path, elsewhere = (name.removeprefix(f"{group}."), "") if name.startswith(f"{group}.") else place.path(name)
        parts.append(f"{path}: {flow(value)}{elsewhere}")
    there = " by default there" if row.also.startswith("?") else ""
    return f", with {_listed(parts)}{there}" if parts else ""


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1])] * (len(parts) > 1) + parts[-1:])


def owners(libraries: Collection[str], word: str = "") -> str:
    """Return whose a word is, such as ``Polly's`` and a space; empty for a word that has the name of its library."""
    named = [each for each in libraries if each not in NO_NAMES and each.lower() not in word.lower()]
    return _listed([f"{each}'s" for each in named]) + " " if named else ""


def grown(tree: Mapping[str, Any], paths: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with values at further paths from the channel on."""
    whole = deepcopy(dict(tree))
    for path, value in paths.items():
        *groups, last = path.split(".")
        group = whole
        for each in groups:
            group = group.setdefault(each, {})
        group[last] = value
    return whole


def flow(value: Any) -> str:
    """Return settings on one line, as YAML has them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)[:KEY_MAX]


KEY_MAX = 100
"""Characters of a key that are looked at: a request may have a very long one."""
