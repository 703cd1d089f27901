"""A YAML document as a tree in which every value knows where it stands.

Composed with PyYAML, which follows YAML 1.1; scalars are read here by the core rules of YAML 1.2 (chapter 10.3), so
that ``on``, ``no`` and ``22:00`` are text and ``1e-3`` is a number. Aliases are expanded, within bounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from actors.formatting import without_passwords
from actors.settings.quantities import WHOLE_NUMBER_MAX

CHARACTERS_MAX = 2**20
DEPTH_MAX = 40
VALUES_MAX = 50_000

FOREIGN_CHARACTERS_MAX = 2**22
FOREIGN_VALUES_MAX = 40_000
FOREIGN_EXPANDED_MAX = 100_000
"""Bounds of a file that is not ours (:func:`read_foreign`), the last one with its aliases written out."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: a line and column in a file, or an override on the command line."""

    source: str
    """The file's name, or ``--set path``."""

    line: int = 0
    """From 1; 0 where there are no lines."""

    column: int = 0
    order: int = 0
    """Sources come in this order: the file first, then the overrides one by one."""

    prefix: tuple[str, ...] = ()
    """The path that the source names already and a problem need not repeat."""

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


def place_in(problem: str, source: str) -> Place | None:
    """Return the place at the beginning of a problem's text, if it is a place in `source`."""
    name = printable(source)
    found = re.match(r":([0-9]{1,9}):([0-9]{1,9}): ", problem[len(name) :]) if problem.startswith(name) else None
    return None if found is None else Place(name, int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a document, with its place."""

    place: Place
    path: tuple[str, ...]
    """The keys and indexes that lead to the value; empty for the document itself."""

    text: str

    def __str__(self) -> str:
        path = self.path
        if self.place.prefix and path[: len(self.place.prefix)] == self.place.prefix:
            path = path[len(self.place.prefix) :]
        return printable(f"{self.place}: {'.'.join(path)}{': ' if path else ''}{self.text}")

    @property
    def sort_key(self) -> tuple[int, int, int]:
        """Orders problems as they are met when reading: the file from the top, then the overrides."""
        return self.place.order, self.place.line, self.place.column


@dataclass(slots=True)
class ScalarNode:
    """Text, a number, true, false or null."""

    place: Place
    value: str | int | float | bool | None
    written: str
    """As it stands in the source, without quotes."""


@dataclass(slots=True)
class ListNode:
    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class MappingNode:
    """Keys, which are always text, and their values."""

    place: Place
    entries: dict[str, Node] = field(default_factory=dict)
    key_places: dict[str, Place] = field(default_factory=dict)


Node: TypeAlias = ScalarNode | ListNode | MappingNode


class Unreadable(Exception):
    """The text is no YAML document that could be used; `problems` says why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


def read(text: str, place: Place) -> Node:
    """Return the one document in `text`; places in it are `place` with a line and a column, if `place` has lines.

    Raises:
        Unreadable: `text` is not a single well-formed document of bounded size.
    """
    return _read(text, _Reading(place), CHARACTERS_MAX)


def read_foreign(text: str, place: Place) -> Node:
    """Return the document as :func:`read` does, of a file of another program: with merge keys and larger bounds.

    The text begins at the line of `place`. Several aliases of one value are one node, which no one may change.
    """
    return _read(text, _ForeignReading(place), FOREIGN_CHARACTERS_MAX)


def _read(text: str, reading: _Reading, characters_max: int) -> Node:
    place = reading.place
    if len(text) > characters_max:
        raise Unreadable([Problem(place, (), f"too long: wanted at most {characters_max:,} characters")])
    try:
        root = composed(text, reading.composer)
    except yaml.reader.ReaderError as error:
        before, character = text[: error.position], error.character if isinstance(error.character, int) else 0
        place = reading.at(before.count("\n"), error.position - (before.rfind("\n") + 1))
        raise Unreadable([Problem(place, (), f"a character that YAML does not allow, U+{character:04X}")]) from None
    except yaml.MarkedYAMLError as error:
        raise Unreadable([_in_plain_words(error, reading)]) from None
    except (ValueError, RecursionError, OverflowError):  # e.g. an escape beyond Unicode, "\UFFFFFFFF"
        raise Unreadable([Problem(reading.at(0, 0), (), "not YAML that can be read")]) from None
    if root is None:
        return ScalarNode(reading.at(0, 0), None, "")
    node = reading.node(root, (), ())
    if reading.problems:
        raise Unreadable(reading.problems)
    return node


def composed(text: str, composer_class: Callable[[str], Any] | None = None) -> yaml.Node | None:
    """Return PyYAML's node of the one document in a text, within the bounds of :func:`read`.

    Aliases are not written out: a node may be in several places, and in itself. A text that is no YAML raises a
    YAMLError; an escape beyond Unicode raises an OverflowError, a ValueError, or a RecursionError.
    """
    composer = (composer_class or _Composer)(text)
    try:
        return composer.get_single_node()
    finally:
        composer.dispose()


def data(node: Node) -> Any:
    if isinstance(node, MappingNode):
        return {key: data(value) for key, value in node.entries.items()}
    if isinstance(node, ListNode):
        return [data(item) for item in node.items]
    return node.value


def show(node: Node | None) -> str:
    """Return a short form of a value as it is written: ``'many'``, ``0.50``, ``{poisson: 20/s}``."""
    if node is None or (isinstance(node, ScalarNode) and node.value is None and not node.written):
        return "nothing"
    if isinstance(node, ScalarNode):
        if isinstance(node.value, str):
            return _shortened(repr(without_passwords(node.value)[:200]), 60)
        return _shortened(node.written, 60)
    return _shortened(without_passwords(_flow(node)), 60)


def _flow(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in node.entries.items()) + "}"
    if isinstance(node, ListNode):
        return "[" + ", ".join(map(_flow, node.items)) + "]"
    return repr(node.value)[1:-1] if isinstance(node.value, str) else node.written


def printable(text: str) -> str:
    """Return a text in which every character can be seen, and none is an order to a terminal: others are escaped."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _shortened(text: str, length: int) -> str:
    text = printable(text[: length + 1])
    return text if len(text) <= length else text[: length - 2] + " …"


# ── scalars by the core rules of YAML 1.2 ───────────────────────────────────────────────────────────────────────


def _whole(text: str) -> int:
    whole = int(text, 0 if text[1:2] in ("o", "x") else 10) if len(text) < 100 else WHOLE_NUMBER_MAX + 1
    if abs(whole) > WHOLE_NUMBER_MAX:
        raise OverflowError
    return whole


_CORE_RULES: list[tuple[re.Pattern[str], Callable[[str], int | float | bool | None]]] = [
    (re.compile(r"(?:null|Null|NULL|~|)"), lambda _: None),
    (re.compile(r"(?:true|True|TRUE)"), lambda _: True),
    (re.compile(r"(?:false|False|FALSE)"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"), _whole),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
]


def plain_scalar(text: str) -> str | int | float | bool | None:
    """Return the value of an unquoted scalar by the core rules of YAML 1.2; beyond 63 bits, an OverflowError."""
    return next((read(text) for pattern, read in _CORE_RULES if pattern.fullmatch(text)), text)


_PLAIN = "plain"
_CORE = "tag:yaml.org,2002:"
_TAGGED: dict[str, type | tuple[type, ...]] = {"null": type(None), "bool": bool, "int": int, "float": (int, float)}


class _Bounded(yaml.composer.Composer, yaml.resolver.BaseResolver):
    """PyYAML's composer without its resolver of scalars, and with bounds on the depth and, at once, on the values."""

    values_max = VALUES_MAX
    _depth = 0
    _values = 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _CORE + "str"
        return _CORE + ("seq" if kind is yaml.SequenceNode else "map")

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        problem = f"wanted at most {DEPTH_MAX} levels" if self._depth > DEPTH_MAX else ""
        self._values += not (index is None and isinstance(parent, yaml.MappingNode))  # a key is no value
        if self._values > self.values_max:
            problem = problem or f"too large: wanted at most {self.values_max:,} values"
        if problem:
            mark = self.peek_event().start_mark  # type: ignore[attr-defined]
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Composer(_Bounded, yaml.BaseLoader):
    pass


_Parser: Any = vars(yaml.cyaml)["CParser"] if yaml.__with_libyaml__ else yaml.BaseLoader


class _ForeignComposer(_Bounded, _Parser):  # type: ignore[misc]
    """Reads with libyaml where it is there, and takes an anchor that is set a second time."""

    values_max = FOREIGN_VALUES_MAX

    def __init__(self, text: str) -> None:
        _Parser.__init__(self, text)
        yaml.composer.Composer.__init__(self)
        yaml.resolver.BaseResolver.__init__(self)

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)
        return super().compose_node(parent, index)


class _Reading:
    """Turns PyYAML's nodes into ours and gathers their problems."""

    composer: Callable[[str], Any] = _Composer
    expanded_max = VALUES_MAX
    merges = False

    def __init__(self, place: Place) -> None:
        self.problems: list[Problem] = []
        self.place = place
        self._values = 0

    def at(self, line: int, column: int) -> Place:
        """Return the place of a line and column counted from 0."""
        if not self.place.line:
            return self.place
        return Place(self.place.source, line + 1, column + 1, self.place.order)

    def node(self, node: yaml.Node, path: tuple[str, ...], inside: tuple[int, ...]) -> Node:
        place = self.at(node.start_mark.line, node.start_mark.column)
        self._values += 1
        if self._values > self.expanded_max:
            text = f"too large with its aliases written out: wanted at most {self.expanded_max:,} values"
            raise Unreadable([Problem(place, path[:1], text)])
        if id(node) in inside:
            raise Unreadable([Problem(place, path, "an alias inside the very value that it stands for")])
        if isinstance(node, yaml.ScalarNode):
            return ScalarNode(place, self._scalar(node, place, path), node.value)
        self._only_core_tags(node, place, path, "seq" if isinstance(node, yaml.SequenceNode) else "map")
        inside = (*inside, id(node))
        if isinstance(node, yaml.SequenceNode):
            return ListNode(place, [self.node(each, (*path, str(i)), inside) for i, each in enumerate(node.value)])
        assert isinstance(node, yaml.MappingNode)
        mapping = MappingNode(place)
        merged: list[Node] = []
        for key_node, value_node in node.value:
            key_place = self.at(key_node.start_mark.line, key_node.start_mark.column)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(key_place, path, "wanted text as a key, got a list or a mapping"))
                continue
            key = _joined(key_node.value)
            if key == "<<" and key_node.tag == _PLAIN and self.merges:
                value = self.node(value_node, (*path, key), inside)
                merged += value.items if isinstance(value, ListNode) else [value]
                if not all(isinstance(each, MappingNode) for each in merged):
                    self.problems.append(Problem(key_place, (*path, key), "wanted a mapping, or a list of mappings"))
                continue
            if key == "<<" and key_node.tag == _PLAIN:
                text = "merge keys are not part of YAML 1.2; write the keys out, or alias the whole mapping"
                self.problems.append(Problem(key_place, (*path, key), text))
                continue
            value = self.node(value_node, (*path, key), inside)
            if not _is_unicode(key):
                self.problems.append(Problem(key_place, path, "wanted text as a key, got half a surrogate pair"))
                continue
            if key in mapping.entries:
                first = mapping.key_places[key]
                where = f"line {first.line}, column {first.column}" if first.line else "the same value"
                self.problems.append(Problem(key_place, (*path, key), f"duplicate key; the first is at {where}"))
                continue
            mapping.entries[key] = value
            mapping.key_places[key] = key_place
        for each in merged:
            if isinstance(each, MappingNode):
                mapping.entries = {**each.entries, **mapping.entries}
                mapping.key_places = {**each.key_places, **mapping.key_places}
        return mapping

    def _scalar(self, node: yaml.ScalarNode, place: Place, path: tuple[str, ...]) -> str | int | float | bool | None:
        text: str = node.value
        try:
            if node.tag == _PLAIN:
                return plain_scalar(text)
            kinds = _TAGGED.get(node.tag.removeprefix(_CORE))
            if kinds is not None and node.tag.startswith(_CORE):
                value = plain_scalar(text)
                if isinstance(value, kinds) and not (isinstance(value, bool) and kinds is not bool):
                    return value
                name = node.tag.removeprefix(_CORE)
                self.problems.append(Problem(place, path, f"wanted a value that fits its tag !!{name}, got {text!r}"))
                return None
        except OverflowError:
            self.problems.append(Problem(place, path, f"wanted a number below 2^63, got {_shortened(text, 60)}"))
            return None
        self._only_core_tags(node, place, path, "str")
        text = _joined(text)
        if not _is_unicode(text):
            self.problems.append(Problem(place, path, "wanted text, got half a surrogate pair"))
        return text

    def _only_core_tags(self, node: yaml.Node, place: Place, path: tuple[str, ...], name: str) -> None:
        if node.tag != _CORE + name:
            tag = node.tag.replace(_CORE, "!!") if node.tag.startswith(_CORE) else node.tag
            self.problems.append(Problem(place, path, f"wanted a plain value, got the tag {_shortened(tag, 60)}"))


class _ForeignReading(_Reading):
    composer = _ForeignComposer
    expanded_max = FOREIGN_EXPANDED_MAX
    merges = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._shared: dict[int, tuple[Node, int]] = {}

    def at(self, line: int, column: int) -> Place:
        return Place(self.place.source, self.place.line + line, column + 1, self.place.order)

    def node(self, node: yaml.Node, path: tuple[str, ...], inside: tuple[int, ...]) -> Node:
        if id(node) in self._shared:
            known, size = self._shared[id(node)]
            self._values += size - 1  # 1 is counted below, where too many are refused
            if self._values < self.expanded_max:
                self._values += 1
                return known
        before = self._values
        read = super().node(node, path, inside)
        self._shared[id(node)] = read, self._values - before
        return read


def _joined(text: str) -> str:
    r"""Return `text` with surrogate pairs, as JSON escapes them (``\ud83d\ude00``), made into characters."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


# ── syntax errors in plain words ────────────────────────────────────────────────────────────────────────────────

_PLAIN_WORDS = (
    (r"mapping values are not allowed .*", "a ':' that starts no key here; put text that contains ': ' in quotes"),
    (r"found character '\\t' that cannot start any token", "a tab; indent with spaces"),
    (r"found character '(.+)' that cannot start any token", r"text cannot start with \1; put it in quotes"),
    (r"found character that cannot start any token", "a tab, or a character that no text begins with: use quotes"),
    (r"did not find expected (?:key|'-' indicator)", "does not line up with what is before it, or a quote too many"),
    (r"did not find expected (.+)", r"wanted \1"),
    (r"could not find expected ':'", "wanted ': ' after a key"),
    (r"found unexpected end of stream", "the text ends inside quotes"),
    (r"found undefined alias '(.*)'", r"no anchor &\1 before this alias"),
    (r"found duplicate anchor.*", "an anchor with this name exists already"),
    (r"but found another document", "wanted one document, got a second one"),
    (r"expected <block end>, but found '-'", "a '-' that does not line up with the list or mapping before it"),
    (r"expected <block end>, but found .*", "does not line up with what is before it, or a quote or bracket too many"),
    (r"expected ',' or '(.)', but got '<stream end>'", r"the text ends before a closing '\1'"),
    (r"expected ',' or '(.)', but got .*", r"wanted ',' or '\1'"),
    (r"expected the node content, but found .*", "wanted a value"),
    (
        r"expected '<document start>', but found .*",
        "does not line up with the first line, or is behind the end of the document",
    ),
    (r"(?:sequence|block sequence) entries are not allowed here", "a list entry '- ' cannot start here"),
    (r"mapping keys are not allowed here", "a key cannot start here"),
    (r"found unknown escape character '(.*)'", r"no such escape \\\1 in double quotes; use single quotes"),
    (r"expected (.+), but found '\\x00'", r"the text ends where \1 was wanted"),
    (r"found undefined tag handle '(.*)'", r"wanted a plain value, got the tag \1"),
)


def _in_plain_words(error: yaml.MarkedYAMLError, reading: _Reading) -> Problem:
    problem = error.problem or error.context or "not YAML that can be read"
    mark = error.problem_mark or error.context_mark
    text = _shortened(problem, 120)
    for pattern, words in _PLAIN_WORDS:
        if match := re.fullmatch(pattern, problem):
            text = _shortened(match.expand(words), 120)
            break
    start = error.context_mark
    inside = start is not None and mark is not None and start.line != mark.line and reading.at(0, 0).line
    if inside and start is not None and "document" not in text:
        text += f" (in what starts at line {reading.at(start.line, 0).line}, column {start.column + 1})"
    return Problem(reading.at(mark.line, mark.column) if mark else reading.at(0, 0), (), text)
