"""Changes single values in the text of a scenario, in place: comments and all that is beside them stay as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from actors.settings.yaml_tree import Place, Unreadable, composed, data, read
from simulation.scenario import overrides

Path: TypeAlias = tuple[str, ...]
"""Keys and numbers of entries that lead to a value; a number behind the last entry of a list means one more."""


class CannotEdit(Exception):
    """A value cannot be changed in place; the text says why."""


@dataclass(frozen=True, slots=True)
class Splice:
    """Where a value stands in a text, or would stand: the characters from `start` to `end` make way for `before`, the
    value and `after`."""

    start: int
    """Characters from the beginning of the text."""

    end: int
    before: str = ""
    after: str = ""

    def apply(self, text: str, value: str) -> str:
        """Return the text with a value put in, as it is written in YAML."""
        return text[: self.start] + self.before + value + self.after + text[self.end :]


class Splices:
    """Finds where values stand in one text."""

    def __init__(self, text: str) -> None:
        """Read a text.

        Raises:
            CannotEdit: it is no YAML.
        """
        self.text = text
        try:
            self._root = composed(text)
        except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
            raise CannotEdit("the text cannot be read") from None
        self._uses = Counter(map(id, _nodes(self._root)))

    def splice(self, path: Path) -> Splice:
        """Return where the value at a path stands, or would stand if it is left out now.

        Raises:
            CannotEdit: the path leads nowhere, to more than a single value, or to one that is used in several places.
        """
        node = self._root
        for depth, key in enumerate(path):
            if node is not None and self._uses[id(node)] > 1:
                raise CannotEdit(f"{_dotted(path[:depth])} is written once and used in several places")
            if isinstance(node, yaml.MappingNode):
                found = next((value for name, value in node.value if name.value == key), None)
                if found is None:
                    return self._new_key(node, path[depth:])
                node = found
            elif isinstance(node, yaml.SequenceNode):
                if not key.isdecimal() or int(key) > len(node.value):
                    raise CannotEdit(f"{_dotted(path[:depth])} has no entry {key}")
                if int(key) == len(node.value):
                    return self._new_entry(node)
                node = node.value[int(key)]
            elif isinstance(node, yaml.ScalarNode) and node.value in ("", "~", "null") and not node.style:
                opening, closing = _nested(path[depth:])
                return self._in_place(node, "{" + opening, closing + "}")
            else:
                raise CannotEdit(f"{_dotted(path[:depth])} is a single value, without a {key} in it")
        if not isinstance(node, yaml.ScalarNode):
            raise CannotEdit(f"{_dotted(path)} is more than a single value")
        if self._uses[id(node)] > 1:
            raise CannotEdit(f"{_dotted(path)} is written once and used in several places")
        return self._in_place(node, "", "")

    def removal(self, path: Path) -> Splice:
        """Return the splice that takes an entry out of a list, with the lines that it stands on; it takes no value.

        Raises:
            CannotEdit: there is no such entry.
        """
        node = self._root
        for key in path[:-1]:
            if isinstance(node, yaml.MappingNode):
                node = next((value for name, value in node.value if name.value == key), None)
            else:
                node = None
        number = int(path[-1])
        if not isinstance(node, yaml.SequenceNode) or not 0 <= number < len(node.value):
            raise CannotEdit(f"{_dotted(path)} is not there")
        entries = node.value
        start, end = entries[number].start_mark.index, self._end_of(entries[number])
        if len(entries) == 1:
            return Splice(node.start_mark.index, end if not node.flow_style else node.end_mark.index, "[", "]")
        if node.flow_style:
            if number + 1 < len(entries):
                return Splice(start, entries[number + 1].start_mark.index)
            return Splice(self._end_of(entries[number - 1]), end)
        return Splice(self.text.rfind("\n", 0, start) + 1, min(self._line_end(end) + 1, len(self.text)))

    def _in_place(self, node: yaml.Node, before: str, after: str) -> Splice:
        start, end = node.start_mark.index, node.end_mark.index
        if start == end and self.text[start - 1 : start] not in ("", " ", "\n"):
            before = f" {before}"
        return Splice(start, end, before, after)

    def _new_key(self, mapping: yaml.MappingNode, path: Path) -> Splice:
        opening, closing = _nested(path)
        return self._new_child(mapping, [value for _, value in mapping.value], opening, closing)

    def _new_entry(self, sequence: yaml.SequenceNode) -> Splice:
        return self._new_child(sequence, sequence.value, "" if sequence.flow_style else "- ", "")

    def _new_child(
        self, parent: yaml.CollectionNode, values: Sequence[yaml.Node], opening: str, closing: str
    ) -> Splice:
        if not values:
            inside = parent.start_mark.index + 1
            return Splice(inside, inside, opening, closing)
        end = self._end_of(values[-1])
        if parent.flow_style:
            return Splice(end, end, f", {opening}", closing)
        line_end = self._line_end(end)
        # A mapping that is an entry of a list begins behind the dash, as its first key does.
        return Splice(line_end, line_end, f"\n{' ' * parent.start_mark.column}{opening}", closing)

    def _end_of(self, node: yaml.Node) -> int:
        """Return where the text of a node ends; PyYAML's own mark is at the next token where the node is a block."""
        while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            node = last[1] if isinstance(node, yaml.MappingNode) else last
        end: int = node.end_mark.index
        if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            return len(self.text[:end].rstrip())
        return end

    def _line_end(self, index: int) -> int:
        found = self.text.find("\n", index)
        return len(self.text) if found < 0 else found


def edited(text: str, path: Path, value: str) -> str:
    """Return the text with another value, in one line of YAML, at a path, and nothing else changed.

    Raises:
        CannotEdit: it cannot be put there without changing anything else.
    """
    place = Place("text", 1, 1)
    changed = Splices(text).splice(path).apply(text, value)
    try:
        wanted = overrides.put(read(text, place), path, read(value, place), place)
        holds = data(wanted) == data(read(changed, place))
    except (Unreadable, overrides.BadPath):
        holds = False
    if not holds:
        raise CannotEdit(f"{_dotted(path)} cannot be changed in place")
    return changed


def with_entry(text: str, key: str, entry: str) -> str:
    """Return the text with one more entry, in one line of YAML, in a list at its top, which may be left out now.

    Raises:
        CannotEdit: it cannot be put there without changing anything else.
    """
    there = _plain(text)
    if not isinstance(entries := there.get(key), list):
        return edited(text, (key,), f"[{entry}]")
    changed = Splices(text).splice((key, str(len(entries)))).apply(text, entry)
    last = _plain(changed)[key][-1:]
    return _checked(changed, {**there, key: [*entries, *last]})


def without_entry(text: str, key: str, number: int) -> str:
    """Return the text without an entry of a list at its top, and nothing else changed but for comments in its lines.

    Raises:
        CannotEdit: it is not there, or cannot be taken out without changing anything else.
    """
    there = _plain(text)
    changed = Splices(text).removal((key, str(number))).apply(text, "")
    return _checked(changed, {**there, key: [*there[key][:number], *there[key][number + 1 :]]})


def _checked(changed: str, wanted: dict[str, Any]) -> str:
    if _plain(changed) != wanted:
        raise CannotEdit("it cannot be changed in place")
    return changed


def _plain(text: str) -> dict[str, Any]:
    try:
        found = data(read(text, Place("text", 1, 1)))
    except Unreadable:
        raise CannotEdit("the text cannot be read") from None
    if not isinstance(found, dict):
        raise CannotEdit("the text is no mapping")
    return found


def _nested(path: Path) -> tuple[str, str]:
    return "".join(f"{key}: {{" for key in path[:-1]) + f"{path[-1]}: ", "}" * (len(path) - 1)


def _nodes(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """Yield every node each time that it is used; nodes below one that was met before are skipped."""
    seen: set[int] = set()
    todo = [node] if node is not None else []
    while todo:
        each = todo.pop()
        yield each
        if id(each) in seen or isinstance(each, yaml.ScalarNode):
            continue
        seen.add(id(each))
        todo += [part for pair in each.value for part in pair] if isinstance(each, yaml.MappingNode) else each.value


def _dotted(path: Path) -> str:
    return ".".join(path) or "the text"
