"""Hints for an unknown key: it is another library's word, or a misspelt key; else the hint lists all keys.

``key_subjects.txt`` gives the subjects by which the keys of a large group are listed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

from actors.settings.foreign_quantities import written_otherwise
from actors.settings.library_table import is_word, near_word, rows_of, units_of
from actors.settings.meanings import KEY_MAX, MODULES, PLACES, WordPlace, either, flow, grown, plain
from actors.settings.other_libraries import meaning, means_else

_SHORT = 4
"""A key of fewer characters than this has no near key: p75 is no misspelt p95."""


def unknown(key: str, known: Iterable[str], what: str = "key", subjects: str = "") -> str:
    """Return the text of the problem of an unknown `key`: the nearest known key, else all known keys by subjects."""
    known = list(known)
    near = nearest(key, known)
    return f"unknown {what}; " + (f"did you mean {near}?" if near else f"known are {listed(known, subjects)}")


def unknown_setting(
    model: str,
    known: Mapping[str, Callable[[Any], bool]],
    key: str,
    value: Any,
    place: WordPlace,
    refused: Callable[[str, Any], str | None],
) -> str:
    """Return the text of the problem of an unknown `key` in the group of settings `model`.

    Each of the `known` keys has a function that tells whether the key could take a value; `refused` returns the value
    that a known key wants, if it does not take the given one from a file. A `value` of None is not shown.
    """
    if value is not None and "." in key and len(key) <= KEY_MAX and all(key.split(".")):
        ((group, nested),) = grown({}, {key: value}).items()
        if group in known and known[group](nested):
            shown = flow(nested)
            return f"unknown key; write it nested: `{group}: {shown if len(shown) <= _SHOWN_MAX else '{…}'}`"
    if of_kind := _of_another_kind(key, value, place):
        return f"unknown key; {of_kind}"
    near = nearest(key, known)
    same = near is not None and plain(near) == plain(key)
    if near is not None and distance(key, near) > 1 and not same and value is not None and not known[near](value):
        near = None
    wants = None if near is None or value is None else refused(near, value)
    asks = wants is not None or means_else(key, value, place) if same else near is None or is_word(key)
    meant = meaning(key, value, place) if asks else None
    moves = meant is not None and meant.only_moves
    if near is None and (moves or meant is None or not meant.decides or not is_word(key)):
        places = [_belongs(key, value, place, only_fitting=not moves)]
        if (meant is None or not meant.decides) and (places[0] is None or is_word(key)):
            places.insert(0, _in_group(key, value, place))
        if any(places):
            return f"unknown key; {'; or '.join(filter(None, places))}"
    if near is None and meant is not None and not meant.keys and not meant.is_settled:
        near = next((each for each in known if each.endswith(f"_{key}")), None)
        meant = meant if near is None else None
    instead = said_otherwise(near, value, wants, f"`{near}: {{}}`".format) if near and wants else ""
    if meant is not None and (not same or (meant.is_settled and (not instead or meant.is_told_apart))):
        return f"unknown key; {meant.text}"
    if near is None and (elsewhere := _belongs(key, value, place)):
        return f"unknown key; {elsewhere}"
    if near is None and (word := near_word(key, lambda one, other: distance(one, other, 1) == 1, 2 * _SHORT)):
        meant = meaning(word, value, place)
        return f"unknown key; {meant.text if meant else 'known are ' + listed(known, model)}"
    if near is None:
        return f"unknown key; known are {listed(known, model)}"
    return f"unknown key; did you mean {instead or near}?"


def said_otherwise(key: str, value: Any, wants: str, show: Callable[[str], str] = str) -> str:
    """Return how to write a value that a key does not take as it is; empty where that is not known.

    `show` turns each way to write it into words.
    """
    forms = [*map(show, written_otherwise(value, wants))]
    if len(forms) < 2:
        return "".join(forms)
    if wants.startswith("a rate"):
        return f"{forms[0]} if it is for each second, {forms[1]} if for each minute"
    libraries = units_of(key)
    return either(forms[0], forms[1], libraries["ms"], libraries["s"])


_REFUSED = 2
_SHOWN_MAX = 200
_NO_DIGIT = re.compile(r"[^0-9]")


def _belongs(key: str, value: Any, place: WordPlace, *, only_fitting: bool = False) -> str | None:
    """Return the right place of a key of ours; None for other keys, and with `only_fitting` if none takes the value."""
    found: list[tuple[int, str, str]] = []
    itself = "a channel" if place.module == "model" else "the channel itself"
    for path in place.own_paths(plain(key)):
        group, _, name = path.rpartition(".")
        if group == place.module and (name in place.known or group in PLACES):
            continue
        if place.stands_in(group):
            continue  # the key stands there, beside another kind
        wants = place.refused(path, value)

        def line(value: Any, path: str = path) -> str:
            return place.offered(grown({}, {path: value}))

        shown = "" if value is None else line(value) if wants is None else said_otherwise(name, value, wants, line)
        where = place.name(path)[1] if group else f"to {itself}, not here"
        for each in (" of the channel", *map(" {}".format, PLACES.values())):  # which `where` says already
            shown = shown.replace(each, "")
        instead = f": {shown}" if 0 < len(shown) <= _SHOWN_MAX else ""
        needs_more = bool(group) and wants is None and place.refused(group, {name: value}) is not None
        found.append(
            (
                _REFUSED if wants is not None and (only_fitting or not shown) else needs_more,
                path,
                f"{where.strip()}{instead}",
            )
        )

    def rank_of(each: tuple[int, str, str]) -> tuple[bool, int, int]:
        is_beside = place.module != "channel" and MODULES.get(each[1].partition(".")[0]) == place.module
        return not is_beside, each[0], each[1].count(".")

    found.sort(key=rank_of)  # keys in the same group of settings first
    if not found or (only_fitting and found[0][0] == _REFUSED):
        return None
    rank, path, _ = found[0]
    module = MODULES.get(path.partition(".")[0], "channel").split()[0] if "." in path else "channel"
    there = place._replace(module=module, origin=place.origin or place.module)
    if rank == _REFUSED and value is not None and (meant := meaning(key, value, there)) and meant.is_settled:
        return meant.text
    alike = [each[2] for each in found if rank_of(each) == rank_of(found[0])]
    return f"{key} belongs {', or '.join(alike[:2])}"


def _of_another_kind(key: str, value: Any, place: WordPlace) -> str:
    for path in place.own_paths(plain(key)):
        group, _, name = path.rpartition(".")
        if name not in place.known and place.stands_in(group):
            kinds = (place.refused(group, {"kind": ""}) or "").removeprefix("one of ").split(", ")
            if having := [f"`kind: {each}`" for each in kinds if not place.refused(group, {"kind": each, name: value})]:
                its_name = "a key" if key == name else f"{name}, a key"
                return f"{key} is {its_name} of {' or '.join(having)}; the kind here has {', '.join(place.known)}"
    return ""


def _in_group(key: str, value: Any, place: WordPlace) -> str | None:
    """Return the meaning of a word of another group, whose name may be a part of it: ``circuit_breaker_threshold``."""
    whole, groups = plain(key), [group for group in MODULES if group not in PLACES]
    parts = [(group, whole.removeprefix(plain(group))) for group in groups]
    for group, word in [part for part in parts if part[1] not in ("", whole)] + [(group, whole) for group in groups]:
        there = place._replace(module=MODULES[group].split()[0], origin=place.origin or place.module)
        own = [path for path in place.own_paths(word) if path.rpartition(".")[0] == group and word != whole]
        if own and (text := _belongs(word, value, there._replace(own_paths=partial(_only, own)))):
            return text.replace(word, key, 1)
        meant = meaning(word, value, there)
        if meant is not None and meant.is_settled and not meant.keys & set(place.own_paths(whole)):
            return meant._replace(word=key).text
    return None


def _only(paths: list[str], _key: str) -> list[str]:
    return paths


def nearest(key: str, known: Iterable[str]) -> str | None:
    """Return the known key that `key` is a misspelling of, by edit distance; None when it is of none."""
    key = key[:KEY_MAX]
    candidates = []
    for each in map(str, known):
        shorter, longer = sorted((len(key), len(each)))
        if plain(key) == plain(each) or (longer > _SHORT and sorted(key.split("_")) == sorted(each.split("_"))):
            candidates.append((0, each))
        elif longer >= _SHORT and _NO_DIGIT.sub("", key) == _NO_DIGIT.sub("", each):
            most = max(1, shorter // 5)
            if (far := distance(key, each, most)) <= most:
                candidates.append((far, each))
    return min(candidates, key=lambda each: each[0])[1] if candidates else None


def distance(one: str, other: str, most: int = KEY_MAX) -> int:
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
    left, groups = list(known), []
    for subject, keys in _subjects().get(subjects, ()):
        if there := [key for key in keys if key in left]:
            groups.append(f"{subject} ({', '.join(there)})")
            left = [key for key in left if key not in there]
    return ", ".join([*groups, *left])


@cache
def _subjects() -> dict[str, list[tuple[str, list[str]]]]:
    found: defaultdict[str, list[tuple[str, list[str]]]] = defaultdict(list)
    for model, subject, keys in rows_of("key_subjects.txt"):
        found[model].append((subject, keys.split()))
    return dict(found)
