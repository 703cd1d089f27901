"""The meanings of other libraries' words as data, and the sentence that each becomes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
"""The place, in words, of a key that is not a channel's."""

_FIRST = re.compile(r"{|\w+")


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
    """Returns the paths of a key of ours, from the channel on or from one of `PLACES`."""
    group: str = ""
    """The key of the settings, when something was given in place of their mapping."""
    origin: str = ""
    """The module that has the `known` keys, where that is another one."""
    inside: str = ""
    """The word of another library whose mapping contains this place."""
    peer: str = ""
    """The library of that mapping."""

    @property
    def is_channel(self) -> bool:
        return self.module == "channel" and not self.origin and ("retry" in self.known or not self.known)

    def name(self, key: str) -> tuple[str, str]:
        if (self.origin or self.module) == "expect":
            return key, ""
        line = self.line(key).split(".")
        *under, last = key.split(".")[len(line) - 1 :]
        is_here = self._has(line) or (self.is_channel and line[0] not in PLACES)
        where = "" if is_here else f" {PLACES.get(line[0], 'of the channel')}"
        return last, (f" under {'.'.join(under)}" if under else "") + where

    def _has(self, path: Sequence[str]) -> bool:
        *groups, last = path
        if self.group:
            return last == self.group
        if not groups:
            return self.is_channel and last not in PLACES
        if last in self.known:
            is_quota = groups[0] != "quota" or "account" in self.known
            return (self.origin or self.module) in MODULES.get(groups[0], "").split() and is_quota
        return self.stands_in(".".join(groups))

    def line(self, path: str) -> str:
        parts = path.split(".")
        first = next((end for end in range(1, len(parts) + 1) if self._has(parts[:end])), 1 + (parts[0] in PLACES))
        return ".".join(parts[:first])

    def stands_in(self, group: str) -> bool:
        """Tell whether the settings at this place are of this group, maybe of another kind than the key's."""
        return "." in group and any(f"{group}.{each}" in self.own_paths(plain(each)) for each in self.known)

    def offered(self, tree: Mapping[str, Any]) -> str:
        """Return settings from the channel on as lines to paste, those elsewhere with their place."""
        found: dict[str, dict[str, Any]] = {"": {}}

        def sort(part: Mapping[str, Any], path: tuple[str, ...]) -> None:
            for key, value in part.items():
                full = (*path, key)
                if self._has(full):
                    is_there = not self.group and isinstance(value, dict) and isinstance(self.beside.get(key), dict)
                    lines = found.setdefault(f" under {key}" * is_there, {})
                    lines.update(value if is_there else {key: value})
                elif isinstance(value, dict) and value:
                    sort(value, full)
                else:
                    where = f" {PLACES.get(full[0], 'of the channel')}"
                    rest = ".".join(full[full[0] in PLACES :])
                    found[where] = grown(found.get(where, {}), {rest: value})

        sort(tree, ())
        return ", with ".join(
            joined([f"`{key}: {flow(value)}`" for key, value in lines.items()]) + where
            for where, lines in found.items()
            if lines
        )


class Reading(NamedTuple):
    """One reading of a word and its value: the key and the value here, as some libraries mean them."""

    row: Word
    libraries: tuple[str, ...]
    value: str | None
    """The value as it is written here; None where the note says it."""
    milliseconds: str | None = None
    """The value if its plain number counts milliseconds, where `value` has seconds and nothing tells which."""
    is_example: bool = False
    """Whether the value is the row's example."""
    also: Mapping[str, Any] = MappingProxyType({})
    """Further settings, by their keys from the channel on."""
    wanted: str | None = None
    """The value that the key wants, if it refuses this one."""
    note: str = ""
    tree: Mapping[str, Any] = MappingProxyType({})
    """The key with its value and the further settings, from the channel on."""
    tree_of_milliseconds: Mapping[str, Any] = MappingProxyType({})

    @property
    def is_settled(self) -> bool:
        """Whether the reading gives a value here for the given one."""
        return bool(self.row.key) and self.value is not None and not self.is_example and self.wanted is None

    def says(self, other: Reading) -> bool:
        mine, its = (
            (each.row.key, each.row.value if each.is_example else each.value or each.row.note) for each in (self, other)
        )
        return mine == its and (not other.also or not self.also or other.also == self.also)

    def text(self, place: WordPlace) -> str:
        """Return what comes after ``word is``."""
        name, where = place.name(self.row.key)
        if self.wanted is not None:
            return f"{name}{where}, which takes {self.wanted}"
        head = name + where if self.value is None else place.offered(self.tree)
        if self.milliseconds is not None:
            head = either(place.offered(self.tree_of_milliseconds), head)
        said = [FIRST_COUNTS] * ("N+1" in self.row.value and "max_attempts" in head) + [self.note] * bool(self.note)
        if self.row.also.startswith("?") and (names := [path.rpartition(".")[2] for path in self.also]):
            are = "they are defaults" if len(names) > 1 else "it is a default"
            named = set(self.libraries).difference(NO_NAMES)
            whose = f"of {named.pop()}" if len(named) == 1 else "there"
            said.append(f"write {joined(names)} too: {are} {whose}, not of retrylab")
        return "; ".join([head, *said])


class WordMeaning(NamedTuple):
    """The meanings of another library's word here, one for each reading."""

    word: str
    given: Any
    place: WordPlace
    readings: tuple[Reading, ...]
    is_told_apart: bool = False
    """Whether the words beside it have identified its library."""
    remarks: tuple[str, ...] = ()
    """Remarks on the keys of its mapping, none of which is translated."""

    @property
    def is_settled(self) -> bool:
        return any(reading.is_settled for reading in self.readings)

    @property
    def keys(self) -> set[str]:
        """The keys, from the channel on, that the word may mean."""
        return {reading.row.key for reading in self.readings}

    @property
    def decides(self) -> bool:
        return self.is_settled or not all(self.keys)

    @property
    def only_moves(self) -> bool:
        """Whether the word is a key of ours with a value that it takes, at the wrong place."""
        keys = {reading.row.key.rpartition(".")[2] for reading in self.readings if not reading.also}
        return keys == {self.word} and not any(reading.also for reading in self.readings)

    def repeats(self, key: str) -> bool:
        """Tell whether the meaning only repeats the given key and value."""
        first = self.readings[0]
        return self.place.name(first.row.key) == (key, "") and first.value == flow(self.given)

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
    """The meaning of another library's mapping here: settings from the channel on, and remarks on some of its keys."""

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
        remarks = [each for each in self.remarks if not self.note or not each.endswith(f": {self.note}")]
        said = [self.note] * bool(self.note) + [*remarks, *problems]
        word = owners((self.library,), self.word) + self.word
        head = f"{word} is here {self.place.offered(self.tree)}" if self.tree else f"leave {word} out"
        return "; ".join([head, *dict.fromkeys(said)])


Meaning = WordMeaning | BlockMeaning

NO_VALUE = object()
"""Stands for a value that is not shown."""

FIRST_COUNTS = "max_attempts counts the first attempt too"

NO_NAMES = ("many", "a unit")
"""Words that stand in the table in place of a library."""


def either(milliseconds: str, seconds: str, ms_of: Collection[str] = (), s_of: Collection[str] = ()) -> str:
    """Return the two values that a plain number of an unknown unit may be; `ms_of` and `s_of` are libraries."""
    return f"{milliseconds} if {owners(ms_of)}milliseconds were meant, {seconds} if {owners(s_of)}seconds"


def joined(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1])] * (len(parts) > 1) + parts[-1:])


def owners(libraries: Collection[str], word: str = "") -> str:
    """Return the owners of a word, such as ``Polly's`` and a space; empty for a word that contains its library's
    name."""
    named = [each for each in libraries if each not in NO_NAMES and each.lower() not in word.lower()]
    return joined([f"{each}'" if each.endswith("ns") else f"{each}'s" for each in named]) + " " if named else ""


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
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)[:KEY_MAX]


def plain(word: str) -> str:
    """Return a word without what tells camelCase, kebab-case and snake_case apart."""
    return re.sub(r"[^a-z0-9]", "", word.lower())


KEY_MAX = 100
"""Characters of a key that are looked at: a request may have a very long one."""
