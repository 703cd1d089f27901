"""Settings from a YAML or JSON file: the settings, or all problems of the file at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from actors.errors import ConfigurationError
from actors.settings.base import Settings
from actors.settings.quantities import FROM_FILE
from actors.settings.whole_file import read_whole
from actors.settings.yaml_tree import (
    CHARACTERS_MAX,
    ListNode,
    MappingNode,
    Node,
    Place,
    Problem,
    Unreadable,
    data,
    read,
    show,
)

M = TypeVar("M", bound=Settings)


def load_settings(
    model: type[M], path: Path, *, context: Mapping[str, Any] | None = None, private: str | None = None
) -> M:
    """Return the settings in a file of YAML, of which JSON is a part; every quantity in it has its unit.

    The `context` is for the model's validators. Below the top-level key `private` a problem shows ``*`` in place of
    keys that must not get into a log.

    Raises:
        ConfigurationError: the file cannot be used. Each problem has a line, in the order of the file:
            ``file.yaml:8:7: users.ann.channels.email: wanted …, got …``.
    """
    return settings_of_tree(model, tree_of(text_of(path), str(path)), context=context, private=private)


def settings_of_tree(
    model: type[M], root: Node, *, context: Mapping[str, Any] | None = None, private: str | None = None
) -> M:
    try:
        return model.model_validate(data(root), context={**FROM_FILE, **(context or {})})
    except ValidationError as error:
        problems = [problem_of(root, detail) for detail in error.errors(include_url=False)]
        raise refusal(_without_keys(problem, private) for problem in problems) from None


def tree_of(text: str, filename: str) -> Node:
    """Return the tree of a file's text, or raise a ConfigurationError with all that is wrong and its place."""
    try:
        return read(text, Place(filename, 1, 1))
    except Unreadable as unreadable:
        raise refusal(unreadable.problems) from None


def text_of(path: Path, bytes_max: int = 4 * CHARACTERS_MAX) -> str:
    try:
        content = read_whole(path, bytes_max)
    except FileNotFoundError:
        raise ConfigurationError([f"{path}: no such file"]) from None
    except ValueError:  # which each Python says in other words
        raise ConfigurationError([f"{path}: no file has a null character in its name"]) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError([f"{path}: {reason[:1].lower()}{reason[1:]}"]) from None
    if len(content) > bytes_max:
        raise ConfigurationError([f"{path}: too long: wanted at most {bytes_max:,} bytes"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        byte = f"0x{content[error.start]:02x}"
        raise ConfigurationError([f"{path}:{line}:{column}: wanted UTF-8 text, got the byte {byte}"]) from None


def _without_keys(problem: Problem, private: str | None) -> Problem:
    if private is None or len(problem.path) < 2 or problem.path[0] != private:
        return problem
    return Problem(problem.place, (private, "*", *problem.path[2:]), problem.text)


def refusal(problems: Iterable[Problem]) -> ConfigurationError:
    """Return the error that lists the problems, in the order in which a reader meets them."""
    ordered = sorted(problems, key=lambda problem: problem.sort_key)
    return ConfigurationError(list(dict.fromkeys(map(str, ordered))))


def problem_of(root: Node, detail: ErrorDetails) -> Problem:
    """Return what a model says is wrong with the document, in plain words and with its place."""
    context = detail.get("ctx", {})
    location = detail["loc"]
    if location[-1:] == ("[key]",) and _at(root, location) is None:  # pydantic's mark of a bad key in a mapping
        key = str(location[-2])
        return located(root, location[:-1], f"wanted {context.get('what', 'another key')}, got {key!r}", at_key=True)
    if detail["type"] == "unknown_key":
        return located(root, location, context["text"], at_key=True)
    if detail["type"] != "wanted":
        return located(root, location, context.get("text", detail["msg"]))
    problem = located(root, location, "")
    got = context.get("got") or show(_at(root, location))
    return Problem(problem.place, problem.path, f"wanted {context['what']}, got {got}")


def _at(root: Node, location: Iterable[str | int]) -> Node | None:
    node: Node | None = root
    for key in location:
        if isinstance(node, MappingNode):
            node = node.entries.get(str(key))
        elif isinstance(node, ListNode) and isinstance(key, int) and key < len(node.items):
            node = node.items[key]
        else:
            return None
    return node


def located(root: Node, location: Sequence[str | int], text: str, *, at_key: bool = False) -> Problem:
    """Return the problem at `location`, placed at the value there or, when it is missing, at what lacks it."""
    path = tuple(str(key) for key in location)
    parent = _at(root, location[:-1])
    if location and at_key and isinstance(parent, MappingNode) and path[-1] in parent.key_places:
        return Problem(parent.key_places[path[-1]], path, text)
    for length in range(len(location), -1, -1):
        node = _at(root, location[:length])
        if node is not None:
            return Problem(node.place, path, text)
    raise AssertionError("the root is always there")
