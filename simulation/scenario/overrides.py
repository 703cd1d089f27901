"""``--set path=value``: puts a value into the tree of a scenario file, by a path that reaches into lists too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from actors.settings.yaml_tree import ListNode, MappingNode, Node, Place, Problem, ScalarNode, Unreadable, read
from simulation.scenario.arguments import check_texts


class BadPath(Exception):
    """A path that leads nowhere; the text says why."""


def apply(root: Node, sets: Sequence[str]) -> tuple[Node, list[Problem]]:
    """Return the tree with each of `sets` in it, in order, and the problems of the overrides that could not be applied.

    Raises:
        ConfigurationError: `sets` is no list of texts.
    """
    check_texts("sets", sets, "seed=7")
    problems: list[Problem] = []
    for order, text in enumerate(sets, start=1):
        dotted, equals, value = text.partition("=")
        dotted = dotted.strip()
        path = tuple(dotted.split("."))
        place = Place(f"--set {dotted}", order=order, prefix=path)
        if not equals or not all(path):
            problems.append(Problem(place, (), f"wanted path=value such as seed=7, got {text[:60]!r}"))
            continue
        try:
            root = put(root, path, read(value, place), place)
        except BadPath as bad:
            problems.append(Problem(place, (), str(bad)))
        except Unreadable as unreadable:
            problems += [replace(problem, path=path + problem.path) for problem in unreadable.problems]
    return root, problems


def put(root: Node, path: tuple[str, ...], value: Node, place: Place) -> Node:
    """Return a tree with `value` at `path`; all beside the path is shared with the old tree, which stays unchanged.

    Mapping keys that are missing on the way are created, with `place` as theirs; list entries have to be there.

    Raises:
        BadPath: The path goes through a single value, or to a list entry that is not there.
    """
    return _put(root, path, 0, value, place)


def _put(node: Node, path: tuple[str, ...], depth: int, value: Node, place: Place) -> Node:
    if depth == len(path):
        return value
    key = path[depth]
    if isinstance(node, ScalarNode) and node.value is None:
        node = MappingNode(place)  # an empty value, as under a key with nothing behind it
    if isinstance(node, MappingNode):
        child = _put(node.entries.get(key, ScalarNode(place, None, "")), path, depth + 1, value, place)
        key_places = {**node.key_places, key: node.key_places.get(key, place) if depth + 1 < len(path) else place}
        return MappingNode(node.place, {**node.entries, key: child}, key_places)
    if isinstance(node, ListNode):
        entries = len(node.items)
        if not (key.isascii() and key.isdigit() and len(key) < 10 and int(key) < entries):
            numbered = f"has the entries 0 to {entries - 1}" if entries else "is empty"
            raise BadPath(f"wanted an entry of {'.'.join(path[:depth]) or 'the list'}, which {numbered}, got {key!r}")
        index = int(key)
        child = _put(node.items[index], path, depth + 1, value, place)
        return ListNode(node.place, [*node.items[:index], child, *node.items[index + 1 :]])
    where = ".".join(path[:depth])
    raise BadPath(f"wanted a path to a value; {where or 'the file'} is a single value, without a {key!r} in it")
