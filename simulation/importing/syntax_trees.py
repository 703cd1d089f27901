"""Source code as syntax trees within bounds, and numbers computed from it: no code of the files is run."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from itertools import islice
from typing import Any

from tree_sitter import Language, Node, Parser, Query, QueryCursor

from actors.errors import ConfigurationError
from actors.formatting import counted
from simulation.importing.policy import Finding, Mark, Policy, PolicyDraft
from simulation.importing.source import Given, SourceFile, check_conflict
from simulation.importing.waits import Drawn

CHARACTERS_MAX = 2**18
"""Of source code: a longer file was made by a bundler or a generator. Such noise is parsed in half a second."""

NESTING_MAX = 1_000
"""Of nodes in one another: a sum of a thousand terms is so deep, code of people some sixty."""

DEPTH_MAX = 60
"""Of expressions that are worked out, counting the constants and functions that they name."""

STEPS = 20_000
STEPS_A_FILE = 3_000
"""The most nodes that are evaluated in all; forty queues in seventy files have some 2,000."""

POLICIES = 400
POLICIES_A_FILE = 100
"""In all; a service with two hundred files of jobs has some two hundred."""

NAMESAKES_MAX = 50
"""Classes, constants or methods of one name among which the one that is meant is looked for."""

BRANCHES_MAX = 20
"""Conditions that are not known and get a policy of their own."""

RETRIES_MAX = 1_000
"""The most retries for which a formula is computed."""

_GRAMMARS = {
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "ruby": ("tree_sitter_ruby", "language"),
    "elixir": ("tree_sitter_elixir", "language"),
}


@cache
def _language(name: str) -> Language:
    module, function = _GRAMMARS[name]
    return Language(getattr(import_module(module), function)())


@cache
def _query(language: str, types: tuple[str, ...]) -> Query:
    return Query(_language(language), "[" + " ".join(f"({each})" for each in types) + "] @found")


@dataclass(frozen=True, eq=False)
class Tree:
    """A file's syntax tree without errors."""

    file: SourceFile
    language: str
    root: Node

    def find(self, *types: str, below: Node | None = None) -> list[Node]:
        """Return the nodes of these types in the order of the text; of the whole file, or below a node."""
        captures = QueryCursor(_query(self.language, types)).captures(below or self.root)
        return sorted(captures.get("found", ()), key=lambda node: (node.start_byte, -node.end_byte))

    def at(self, node: Node, value: Any = None) -> Entry:
        """Return a node as a finding shows it."""
        return Entry(value, node, self.file)

    def head(self, node: Node) -> Entry:
        return Entry(None, node, self.file, is_block=True)


def parse(file: SourceFile, language: str) -> Tree:
    """Return the syntax tree of a file; raise ConfigurationError where it has an error or takes too long."""
    if len(file.text) > CHARACTERS_MAX:
        raise ConfigurationError([f"{file.name}: wanted at most {CHARACTERS_MAX:,} characters of source code"])
    check_conflict(file)
    root = Parser(_language(language)).parse(file.text.encode())
    if not _is_shallow(root.root_node):
        raise ConfigurationError([f"{file.name}: wanted at most {NESTING_MAX:,} expressions and blocks in one another"])
    if root.root_node.has_error:
        raise ConfigurationError([f"{file.name}:{_first_error(root.root_node)}: wanted {language}, got a syntax error"])
    return Tree(file, language, root.root_node)


def _is_shallow(root: Node) -> bool:
    cursor = root.walk()
    while True:
        if cursor.goto_first_child():
            if cursor.depth > NESTING_MAX:
                return False
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return True


def _first_error(node: Node) -> int:
    for _ in range(10_000):
        found = next((each for each in node.children if each.has_error), None)
        if found is None:
            break
        node = found
    return line(node)


@dataclass(frozen=True, slots=True)
class Entry:
    """A value with the node that gives it, and its file; of a node alone the value is None."""

    value: Any
    node: Node
    source: SourceFile
    is_block: bool = False
    """Whether it is shown by its first line, as a function is."""

    assumed = ""

    @property
    def file(self) -> str:
        return self.source.name

    @property
    def line(self) -> int:
        return line(self.node)

    @property
    def text(self) -> str:
        return head(self.node) if self.is_block else shown(self.node)


def line(node: Node) -> int:
    """Return the line in which a node begins, from 1."""
    return node.start_point.row + 1


def part(node: Node | None, name: str) -> Node | None:
    return None if node is None else node.child_by_field_name(name)


def text(node: Node | None, name: str = "") -> str:
    """Return the text of a node, or of a part of it."""
    node = part(node, name) if name else node
    return "" if node is None or node.text is None else node.text.decode()


def inner(node: Node | None) -> list[Node]:
    return [each for each in node.named_children if each.type != "comment"] if node is not None else []


def arguments_of(call: Node) -> list[Node]:
    return inner(part(call, "arguments"))


def shown(node: Node | None) -> str:
    """Return a node's text in one line of at most 200 characters, as a finding has it."""
    words = " ".join(text(node).split())
    return words if len(words) <= 200 else words[:199] + "…"


def head(node: Node) -> str:
    """Return the first line of a node's text, as a finding has a function or a block."""
    first, *more = text(node).split("\n")
    return f"{first[:199].strip()}{' …' if more else ''}"


def above(node: Node) -> Iterator[Node]:
    """Yield the nodes around a node, the nearest first."""
    while (parent := node.parent) is not None:
        node = parent
        yield node


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that the files do not have.

    ``name`` is its name there: an environment variable, a key of a configuration, a parameter. ``otherwise`` is the
    value where none is given (``process.env.ATTEMPTS || 3``).
    """

    name: str
    why: str
    otherwise: Any = None


_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": lambda left, right: type(left)(math.fmod(left, right)),
    "**": lambda left, right: left**right if abs(right) * math.log2(abs(left) + 2) < 64 else math.inf,
    "min": min,
    "max": max,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_MONOTONE = frozenset({"+", "-", "*", "/", "**", "min", "max"})


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_nothing(value: Any) -> bool:
    """Return whether a value is false in Ruby and Elixir, where 0 and an empty text are true."""
    return value is None or value is False


def of_texts(sign: str, left: Any, right: Any, shown: str) -> Any:
    """Return whether two values, one of which is a text, are equal or not; an :class:`Unknown`, said as `shown`, for
    any other operator."""
    for value in (left, right):
        if isinstance(value, Unknown):
            return replace(value, otherwise=None)
    return (left == right) is (sign == "==") if sign in ("==", "!=") else Unknown("", shown)


def arithmetic(sign: str, left: Any, right: Any) -> Any:
    """Return the result of an operator on numbers and spans; an :class:`Unknown` where there is none."""
    for value in (left, right):
        if isinstance(value, Unknown):
            return replace(value, otherwise=None)
    if sign in ("==", "!=") and not isinstance(left, Drawn) and not isinstance(right, Drawn):
        same = left == right and isinstance(left, bool) == isinstance(right, bool)
        return same is (sign == "==")
    spans = [value for value in (left, right) if isinstance(value, Drawn)]
    numbers = all(is_number(value) or isinstance(value, Drawn) for value in (left, right))
    if sign not in _OPERATORS or not numbers or (spans and sign not in _MONOTONE):
        return Unknown("", f"the value of {sign!r}")
    try:
        if not spans:
            return _finite(_OPERATORS[sign](left, right))
        ends = [_finite(_OPERATORS[sign](one, two)) for one in _ends(left) for two in _ends(right)]
    except (ArithmeticError, ValueError):
        return Unknown("", "a number that is too large or none")
    if any(isinstance(end, Unknown) for end in ends):
        return Unknown("", "a number that is too large or none")
    if sign in ("min", "max") and len(spans) == 1 and (min(ends), max(ends)) == (spans[0].low, spans[0].high):
        return spans[0]
    is_scaled = sign in ("+", "-", "*") or (sign == "/" and isinstance(left, Drawn))
    return Drawn(min(ends), max(ends), is_scaled and len(spans) == 1 and spans[0].is_even)


def _ends(value: Any) -> tuple[float, ...]:
    return (value.low, value.high) if isinstance(value, Drawn) else (value,)


def _finite(value: Any) -> Any:
    if isinstance(value, complex) or (is_number(value) and abs(value) > 1e15):
        return Unknown("", "a number that is too large or none")
    return value if isinstance(value, bool) or is_number(value) else Unknown("", "a number that is too large or none")


def apply(function: Callable[[float], float], value: Any) -> Any:
    """Return a rising function's value of a number or a span."""
    if isinstance(value, Drawn):
        return Drawn(function(value.low), function(value.high), value.is_even)
    return function(value) if is_number(value) else value if isinstance(value, Unknown) else Unknown("", "a number")


def whole(written: str) -> int | float | None:
    """Return a literal such as ``28_800``, ``0x10``, ``1.5e3``; None if it is none."""
    plain = written.replace("_", "").removesuffix("n")
    try:
        return int(plain, 0) if not plain.startswith("0") or plain == "0" or plain[1:2].isalpha() else float(plain)
    except ValueError:
        try:
            return float(plain)
        except ValueError:
            return None


def number_of(value: Any) -> Any:
    """Return the number that a text is, also where it only holds as nothing else is given."""
    if isinstance(value, Unknown) and value.otherwise is not None:
        return replace(value, otherwise=number_of(value.otherwise))
    number = whole(value) if isinstance(value, str) else value
    return Unknown("", f"the number {value!r}") if number is None and value is not None else number


def from_command_line(written: str) -> Any:
    """Return the value of ``--given NAME=VALUE``: a number, a truth value or a text."""
    named = {"true": True, "false": False, "null": None, "nil": None}
    number = whole(written.strip())
    return named.get(written.strip(), written) if number is None else number


# ── policies ────────────────────────────────────────────────────────────────────────────────────────────────────


def settled(draft: PolicyDraft, entry: Entry, wanted: str, path: str) -> tuple[Any, str] | None:
    """Return a value and the size of its approximation: its default where none is given; None if it is a question."""
    value = entry.value
    if not isinstance(value, Unknown):
        return value, ""
    if value.otherwise is not None and not isinstance(value.otherwise, Unknown):
        number = f"{value.otherwise:g}" if isinstance(value.otherwise, float) else value.otherwise
        return value.otherwise, f"{number} unless {value.why} says otherwise"
    if value.name:
        draft.ask_for(value.name, entry, wanted)
    draft.refuse(entry, f"{value.why} decides" if value.name else f"worked out by code: {value.why}", path)
    return None


class Lookup:
    """The values that the command line gives, and conditions that neither it nor the files decide."""

    def __init__(self, given: Given, files: int) -> None:
        self.given = given.values
        self.others = {file.name: file for file in given.others}
        self.used = given.used
        self.looked_up: set[str] = set()
        self.steps = STEPS + STEPS_A_FILE * files
        self.assumed: dict[str, bool] = {}
        self.asked: list[str] = []

    def ask(self, name: str, why: str) -> Any:
        """Return the command line's value for a name, else an unknown."""
        return from_command_line(self.given[name]) if name in self.given else Unknown(name, why)

    def parse(self, file: SourceFile, language: str) -> Tree | None:
        """Return the tree of a file that is only looked up; None if it has none."""
        try:
            tree = parse(file, language)
        except ConfigurationError:
            return None
        self.used.add(file.name)
        return tree

    def decide(self, words: str) -> bool:
        """Return the assumption about an unknown condition, and note that it was asked."""
        self.asked += [words] if words not in self.asked else []
        return self.assumed.get(words, False)

    def branches(self, name: str, make: Callable[[str], Policy]) -> Iterator[Policy]:
        """Yield the policy in which no unknown condition holds, then the policies in which one of them holds.

        Args:
            name: the name of the policy; a condition is put behind it in brackets.
            make: returns the policy under the current assumption.
        """
        waiting: list[dict[str, bool]] = [{}]
        seen: set[str] = set()
        for number in range(BRANCHES_MAX):
            if number == len(waiting):
                break
            self.asked, self.assumed = [], waiting[number]
            policy = make(f"{name} ({' and '.join(waiting[number])})" if waiting[number] else name)
            asked = [each for each in self.asked if each not in waiting[number]]
            if asked:
                words = f"this holds where none of these does: {'; '.join(asked)}"
                policy = replace(policy, notes=(*policy.notes, words))
            waiting += [{**waiting[number], each: True} for each in asked if each not in seen]
            seen |= set(asked)
            yield policy
        self.assumed = {}


def bounded(policies: Iterable[Policy], files: Sequence[SourceFile]) -> list[Policy]:
    """Return policies; raise ConfigurationError where there are more than files of people have."""
    most = POLICIES + POLICIES_A_FILE * len(files)
    found = list(islice(policies, most + 1))
    if len(found) > most:
        name = found[-1].findings[0].file if found[-1].findings else files[0].name
        raise ConfigurationError([f"{name}: wanted at most {most:,} policies in {counted(len(files), 'file')}"])
    return found


def parsed(
    files: Sequence[SourceFile], kind: str, language: Callable[[SourceFile], str]
) -> tuple[list[Tree], list[Policy]]:
    """Return the trees of files, and a policy that cannot be said for each file without one.

    Raises:
        ConfigurationError: no file can be read.
    """
    trees, refused, problems = list[Tree](), list[Policy](), list[str]()
    for file in files:
        try:
            trees.append(parse(file, language(file)))
        except ConfigurationError as error:
            problems += error.problems
            place, _, reason = error.problems[0].removeprefix(file.name).partition(": ")
            at = int(place[1:]) if place[1:].isdigit() else 0
            finding = Finding(file.name, at, "", Mark.CANNOT_BE_SAID, "", f"the file is not read: {reason}")
            refused.append(Policy(file.name, kind, None, (finding,)))
    if problems and not trees:
        raise ConfigurationError(problems)
    return trees, refused
