"""Values of Elixir, worked out by name within the files given; nothing is run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from tree_sitter import Node

from simulation.importing.syntax_trees import (
    DEPTH_MAX,
    Lookup,
    Tree,
    Unknown,
    above,
    apply,
    arithmetic,
    inner,
    is_nothing,
    is_number,
    number_of,
    of_texts,
    part,
    shown,
    text,
    whole,
)
from simulation.importing.waits import Drawn

NO_MATCH = Unknown("", "no clause that matches")


@dataclass(frozen=True, slots=True)
class Range:
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Clause:
    name: str
    parameters: tuple[Node, ...]
    guard: Node | None
    body: tuple[Node, ...]
    node: Node


@dataclass(eq=False)
class Module:
    name: str
    node: Node
    tree: Tree
    all: Modules
    attributes: dict[str, list[Node]] = field(default_factory=dict)
    functions: dict[str, list[Clause]] = field(default_factory=dict)
    uses: list[Node] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    known: dict[int, Any] = field(default_factory=dict)
    """Values of attributes, by the identity of their nodes."""

    def __post_init__(self) -> None:
        for node in inner(block_of(self.node)):
            operand = part(node, "operand") if node.type == "unary_operator" else None
            if operand is not None and operand.type == "call" and (given := arguments_of(operand)):
                self.attributes.setdefault(target(operand), []).append(given[0])
            if node.type != "call":
                continue
            given = arguments_of(node)
            if target(node) in ("def", "defp") and given and (clause := _clause(node, given)) is not None:
                self.functions.setdefault(clause.name, []).append(clause)
            elif target(node) == "use":
                self.uses.append(node)
            elif target(node) == "alias" and given:
                self.aliases |= _aliases(given)

    def value(self, node: Node | None, bound: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
        """Return the value of an expression; atoms are texts with their colon, keyword lists and maps are dicts."""
        self.all.steps -= 1
        if node is None:
            return None
        if depth > DEPTH_MAX or self.all.steps < 0:
            return Unknown("", "an expression that is too long to be worked out")
        bound, depth, kind = bound if bound is not None else {}, depth + 1, node.type
        if kind in ("integer", "float"):
            number = whole(text(node))
            return Unknown("", shown(node)) if number is None else number
        if kind in ("boolean", "nil"):
            return {"true": True, "false": False, "nil": None}[text(node)]
        if kind == "string":
            return (
                text(node)[1:-1] if all(each.type == "quoted_content" for each in node.named_children) else text(node)
            )
        if kind in ("atom", "keyword"):
            return ":" + text(node).strip(": ").strip('"')
        if kind == "alias":
            return text(node)
        if kind in ("list", "tuple"):
            nodes = node.named_children
            if len(nodes) == 1 and nodes[0].type == "keywords":
                return self.pairs(nodes[0], bound, depth)
            return [self.value(each, bound, depth) for each in inner(node)]
        if kind == "map":
            content = next((each for each in node.named_children if each.type == "map_content"), None)
            words = [each for each in content.named_children if each.type == "keywords"] if content is not None else []
            return self.pairs(words[0], bound, depth) if words else Unknown("", shown(node))
        if kind == "keywords":
            return self.pairs(node, bound, depth)
        if kind == "identifier":
            return self._named(node, bound, depth)
        if kind == "block":
            return self.run(node.named_children, bound, depth)
        if kind == "unary_operator":
            return self._unary(node, bound, depth)
        if kind == "binary_operator":
            return self._binary(node, bound, depth)
        if kind == "call":
            return self.call(node, bound, depth, ())
        return Unknown("", shown(node))

    def pairs(self, node: Node, bound: Mapping[str, Any] | None = None, depth: int = 0) -> dict[str, Any]:
        """Return a keyword list as a dict by its keys without colons."""
        pairs = [each for each in node.named_children if each.type == "pair"]
        return {key_of(each): self.value(part(each, "value"), bound, depth) for each in pairs}

    def of_pair(self, pair: Node) -> Any:
        return self.value(part(pair, "value"))

    def clauses(self, name: str) -> list[Clause]:
        """Return the clauses of a function with one parameter."""
        return [each for each in self.functions.get(name, ()) if len(each.parameters) == 1]

    def run(self, nodes: Sequence[Node], bound: Mapping[str, Any], depth: int) -> Any:
        """Return the value of the last of some lines."""
        names = dict(bound)
        value: Any = None
        for node in nodes:
            if node.type == "comment":
                continue
            left = part(node, "left") if node.type == "binary_operator" else None
            if left is not None and operator(node) == "=":
                value = self.value(part(node, "right"), names, depth)
                unread = {text(each): Unknown("", shown(node)) for each in self.tree.find("identifier", below=left)}
                matches = left.type == "identifier" or isinstance(value, dict)
                found = self.matched(left, value, names, depth) if matches else None
                names = {**names, **unread} if found is None else found
            else:
                value = self.value(node, names, depth)
        return value

    def _named(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        name = text(node)
        if name in bound:
            return bound[name]
        if name in self.functions:
            return self.called(name, (), depth)
        return Unknown(name, name)

    def _unary(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        operand, sign = part(node, "operand"), operator(node)
        if sign == "@" and operand is not None:
            values = self.attributes.get(text(operand), [])
            if len(values) == 1:
                if values[0].id not in self.known:
                    self.known[values[0].id] = Unknown("", f"{shown(node)}, which names itself")
                    self.known[values[0].id] = self.value(values[0], {}, depth)
                return self.known[values[0].id]
            return Unknown("", f"@{text(operand)}, which has no single value here")
        value = self.value(operand, bound, depth)
        if sign in ("not", "!"):
            return value if isinstance(value, Unknown) else is_nothing(value)
        return arithmetic("-", 0, value) if sign == "-" else value

    def _binary(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        sign, left, right = operator(node), part(node, "left"), part(node, "right")
        if sign == "|>" and right is not None and left is not None:
            return self.call(right, bound, depth, (self.value(left, bound, depth),))
        one = self.value(left, bound, depth)
        if sign in ("||", "or"):
            if isinstance(one, Unknown):
                return replace(one, otherwise=self.value(right, bound, depth))
            return self.value(right, bound, depth) if is_nothing(one) else one
        if sign in ("&&", "and"):
            return one if isinstance(one, Unknown) or is_nothing(one) else self.value(right, bound, depth)
        two = self.value(right, bound, depth)
        if sign == "..":
            return Range(one, two) if isinstance(one, int) and isinstance(two, int) else Unknown("", shown(node))
        if sign == "in" and is_number(one) and isinstance(two, (Range, list)):
            return two.first <= one <= two.last if isinstance(two, Range) else one in two
        sign = {"===": "==", "!==": "!="}.get(sign, sign)
        if isinstance(one, str) or isinstance(two, str):
            return of_texts(sign, one, two, shown(node))
        return arithmetic(sign, one, two) if sign != "%" else Unknown("", shown(node))

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────

    def call(self, node: Node, bound: Mapping[str, Any], depth: int, piped: Sequence[Any]) -> Any:
        """Return the value of a call with the values piped into it."""
        name = target(node)
        if name in ("if", "unless", "case", "cond"):
            return self._chosen(node, name, bound, depth, piped)
        name = name.removeprefix("Kernel.")
        nodes = arguments_of(node)
        dot = part(node, "target")
        if dot is not None and dot.type == "dot" and not nodes and not piped and "(" not in text(node):
            around = self.value(part(dot, "left"), bound, depth)
            if isinstance(around, dict):
                key = text(dot, "right")
                return around.get(key, Unknown(key, shown(node)))
        given = [*piped, *(self.value(each, bound, depth) for each in nodes)]
        if name in ("Application.get_env", "Application.compile_env", "Application.fetch_env!", "System.get_env"):
            return self._of_environment(given, node)
        if name in ("raise", "throw"):
            return Unknown("", shown(node))
        if name in ("String.to_integer", "Integer.parse") and given:
            return number_of(given[0])
        local = name in self.functions and "." not in name
        if not local and name in _FUNCTIONS:
            unknown = next((each for each in given if isinstance(each, Unknown)), None)
            try:
                return _FUNCTIONS[name](*given) if unknown is None else unknown
            except (TypeError, IndexError, AttributeError, ValueError):
                return Unknown("", shown(node))
        if name == "super":
            return of_oban("backoff", given) or Unknown("", shown(node))
        if name in ("+", "-", "*") and len(given) == 2:
            return arithmetic(name, *given)
        if self._full(name) in ("Oban.Worker.backoff", "Oban.Backoff.exponential", "Oban.Backoff.jitter"):
            return of_oban(self._full(name).rpartition(".")[2], given) or Unknown("", shown(node))
        module, _, function = name.rpartition(".")
        if not module or module == "__MODULE__":
            return self.called(function, given, depth) if function in self.functions else Unknown("", shown(node))
        other = self.all.module(self._full(module))
        if other is not None and function in other.functions:
            return other.called(function, given, depth)
        return Unknown("", shown(node))

    def _full(self, name: str) -> str:
        first, _, rest = name.partition(".")
        return f"{self.aliases.get(first, first)}.{rest}" if rest else self.aliases.get(first, first)

    def _of_environment(self, given: Sequence[Any], node: Node) -> Any:
        keys = given[:1] if target(node) == "System.get_env" else given[1:2]
        default = given[len(keys) + (target(node) != "System.get_env") :]
        name = str(keys[0]).removeprefix(":") if keys and isinstance(keys[0], str) else shown(node)
        asked = self.all.ask(name, f"{name} of the environment")
        return replace(asked, otherwise=default[0]) if isinstance(asked, Unknown) and default else asked

    def _chosen(self, node: Node, name: str, bound: Mapping[str, Any], depth: int, piped: Sequence[Any]) -> Any:
        nodes, body = arguments_of(node), block_of(node)
        if name in ("if", "unless"):
            condition = nodes[0] if nodes else None
            holds = self.holds(condition, bound, depth) is (name == "if")
            words = next((each for each in nodes[1:] if each.type == "keywords"), None)
            if words is not None:
                chosen = {key_of(each): each for each in words.named_children}
                pair = chosen.get("do" if holds else "else")
                return None if pair is None else self.value(part(pair, "value"), bound, depth)
            lines = inner(body)
            other = next(
                (each for each in (body.named_children if body is not None else ()) if each.type == "else_block"), None
            )
            if holds:
                return self.run([each for each in lines if each.type != "else_block"], bound, depth)
            return self.run(other.named_children, bound, depth) if other is not None else None
        subject = (piped or [self.value(nodes[0], bound, depth)] if nodes or piped else [None])[0]
        for clause in (each for each in inner(body) if each.type == "stab_clause"):
            left, right = part(clause, "left"), part(clause, "right")
            if left is None or right is None:
                continue
            pattern, guard = _guarded(left)
            pattern = pattern.named_children[0] if pattern.type == "arguments" and pattern.named_children else pattern
            if name == "cond":
                names: dict[str, Any] | None = dict(bound) if self.holds(pattern, bound, depth) else None
            else:
                names = self.matched(pattern, subject, dict(bound), depth)
            if names is not None and (guard is None or self.holds(guard, names, depth)):
                return self.run(right.named_children, names, depth)
        return NO_MATCH

    def holds(self, condition: Node | None, bound: Mapping[str, Any], depth: int) -> bool:
        """Return whether a condition holds; for an unknown one, the current assumption about it."""
        value = self.value(condition, bound, depth)
        if isinstance(value, (Unknown, Drawn)):
            return self.all.decide(shown(condition))
        return not is_nothing(value)

    def matched(self, pattern: Node, value: Any, bound: dict[str, Any], depth: int) -> dict[str, Any] | None:
        """Return the names that a pattern binds, None where it does not match."""
        self.all.steps -= 1
        if self.all.steps < 0:
            return None
        if pattern.type == "identifier":
            return bound if text(pattern).startswith("_") else {**bound, text(pattern): value}
        if pattern.type == "binary_operator" and operator(pattern) == "=":
            left, right = part(pattern, "left"), part(pattern, "right")
            found = self.matched(left, value, bound, depth) if left is not None else bound
            return self.matched(right, value, found, depth) if found is not None and right is not None else found
        if pattern.type == "map" and isinstance(value, dict):
            for each in self.all.pairs_of(pattern):
                key, below = key_of(each), part(each, "value")
                if below is None:
                    continue
                if key not in value and below.type != "identifier":
                    if not self.all.decide(shown(each)):
                        return None
                    continue
                matched = self.matched(below, value.get(key, Unknown(key, key)), bound, depth)
                if matched is None:
                    return None
                bound = matched
            return bound
        wanted = self.value(pattern, bound, depth)
        if isinstance(wanted, Unknown) or isinstance(value, (Unknown, Drawn)):
            return bound if self.all.decide(f"{shown(pattern)}") else None
        return bound if wanted == value and isinstance(wanted, bool) == isinstance(value, bool) else None

    def called(self, name: str, given: Sequence[Any], depth: int = 0) -> Any:
        """Return the value of a function of the module, by the first clause that matches."""
        for clause in self.functions.get(name, ()):
            if len(clause.parameters) != len(given):
                continue
            names: dict[str, Any] | None = {}
            for pattern, value in zip(clause.parameters, given, strict=True):
                names = self.matched(pattern, value, names, depth) if names is not None else None
            if names is not None and (clause.guard is None or self.holds(clause.guard, names, depth)):
                return self.run(clause.body, names, depth + 1)
        return NO_MATCH


class Modules(Lookup):
    """All modules of the files; others are parsed when a name leads there."""

    modules: dict[str, Module]

    def add(self, tree: Tree) -> list[Module]:
        found = []
        for node in tree.find("call"):
            given = arguments_of(node)
            if target(node) == "defmodule" and given:
                outer = [arguments_of(each)[0] for each in above(node) if target(each) == "defmodule"]
                name = ".".join(text(each) for each in (*reversed(outer), given[0]))
                found.append(Module(name, node, tree, self))
        self.modules |= {each.name: each for each in found}
        return found

    def module(self, name: str) -> Module | None:
        """Return the module of a name, or the only one with that end."""
        last = name.rpartition(".")[2]
        for file in list(self.others.values()) if last not in self.looked_up else ():
            if f"{last} do" in file.text:
                del self.others[file.name]
                if (tree := self.parse(file, "elixir")) is not None:
                    self.add(tree)
        self.looked_up.add(last)
        fitting = [each for each in self.modules if each == name or each.endswith(f".{last}")]
        return self.modules.get(name) or (self.modules[fitting[0]] if len(fitting) == 1 else None)

    def pairs_of(self, pattern: Node) -> list[Node]:
        """Return the pairs with names as keys of a map's pattern."""
        content = next((each for each in pattern.named_children if each.type == "map_content"), None)
        words = [each for each in content.named_children if each.type == "keywords"] if content is not None else []
        return [each for each in words[0].named_children if each.type == "pair"] if words else []


def target(node: Node) -> str:
    """Return the name of the called function; empty if the node is no call."""
    return text(node, "target") if node.type == "call" else ""


def key_of(pair: Node) -> str:
    """Return the key of a pair without its colon."""
    return text(pair, "key").strip(": ")


def operator(node: Node) -> str:
    return text(node, "operator")


def arguments_of(node: Node) -> list[Node]:
    """Return the arguments of a call; its keywords are the last."""
    return inner(next((each for each in node.named_children if each.type == "arguments"), None))


def block_of(node: Node) -> Node | None:
    return next((each for each in node.named_children if each.type == "do_block"), None)


def _guarded(node: Node) -> tuple[Node, Node | None]:
    if node.type == "binary_operator" and operator(node) == "when":
        return part(node, "left") or node, part(node, "right")
    return node, None


def _clause(node: Node, given: Sequence[Node]) -> Clause | None:
    head, guard = _guarded(given[0])
    if head.type not in ("call", "identifier"):
        return None
    name = text(head) if head.type == "identifier" else target(head)
    words = next((each for each in given[1:] if each.type == "keywords"), None)
    body = inner(block_of(node))
    if words is not None:
        pairs = {key_of(each): each for each in words.named_children}
        value = part(pairs["do"], "value") if "do" in pairs else None
        body = [value] if value is not None else []
    return Clause(name, tuple(arguments_of(head)), guard, tuple(body), node)


def _aliases(given: Sequence[Node]) -> dict[str, str]:
    if given[0].type == "alias":
        as_of = next((text(pair, "value") for each in given[1:] if each.type == "keywords"
                      for pair in each.named_children), "")  # fmt: skip
        return {as_of or text(given[0]).rpartition(".")[2]: text(given[0])}
    if given[0].type != "dot":
        return {}
    base, names = part(given[0], "left"), part(given[0], "right")
    listed = [text(each) for each in names.named_children] if names is not None else []
    return {each.rpartition(".")[2]: f"{text(base)}.{each}" for each in listed}


def of_oban(name: str, given: Sequence[Any]) -> Any:
    """Return the value of Oban's own functions: the default back-off of a job, its exponential, its jitter."""
    first = given[0] if given else None
    options = given[1] if len(given) > 1 and isinstance(given[1], dict) else {}
    if name == "backoff" and isinstance(first, dict):
        attempt, most = first.get("attempt", 1), first.get("max_attempts", 20)
        clamped = attempt if most <= 20 else math.floor(attempt / most * 20 + 0.5)
        return of_oban("jitter", [15 + 2**clamped, {"mode": ":inc"}])
    if name == "exponential" and isinstance(first, int):
        power = min(first, options.get("max_pow", 10))
        return arithmetic("+", options.get("min_pad", 0), arithmetic("*", options.get("mult", 1), 2**power))
    share, mode = options.get("mult", 0.1), options.get("mode", ":both")
    if name == "jitter" and is_number(first) and is_number(share):
        wide = share * first
        low, high = first - wide * (mode != ":inc"), first + wide * (mode != ":dec")
        return Drawn(float(low), float(high), mode != ":both")
    return None


def _at(around: Any, place: Any, default: Any = None) -> Any:
    inside = isinstance(around, list) and isinstance(place, int) and -len(around) <= place < len(around)
    return around[place] if inside else default


def _random(around: Any) -> Any:
    if isinstance(around, Range):
        return Drawn(float(around.first), float(around.last))
    return Drawn(float(min(around)), float(max(around)), False)


def _timeout(value: Mapping[str, Any]) -> Any:
    units = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
    return sum(units.get(each, 1) * number for each, number in value.items())


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "trunc": lambda value: apply(math.trunc, value),
    "round": lambda value: apply(lambda number: math.floor(number + 0.5), value),
    "floor": lambda value: apply(math.floor, value),
    "ceil": lambda value: apply(math.ceil, value),
    "abs": lambda value: apply(abs, value),
    "min": lambda left, right: arithmetic("min", left, right),
    "max": lambda left, right: arithmetic("max", left, right),
    "div": lambda left, right: arithmetic("-", left, left % right) // right,
    "rem": lambda left, right: arithmetic("%", left, right),
    "Integer.pow": lambda left, right: arithmetic("**", left, right),
    ":math.pow": lambda left, right: apply(float, arithmetic("**", left, right)),
    ":rand.uniform": lambda most=None: Drawn(0.0, 1.0) if most is None else Drawn(1.0, float(most)),
    ":timer.seconds": lambda number: arithmetic("*", number, 1_000),
    ":timer.minutes": lambda number: arithmetic("*", number, 60_000),
    ":timer.hours": lambda number: arithmetic("*", number, 3_600_000),
    "to_timeout": _timeout,
    "Enum.at": _at,
    "Enum.random": _random,
    "Enum.min": lambda around: reduce(lambda left, right: arithmetic("min", left, right), around),
    "Enum.max": lambda around: reduce(lambda left, right: arithmetic("max", left, right), around),
    "List.last": lambda around: around[-1],
    "List.first": lambda around: around[0],
    "hd": lambda around: around[0],
    "length": len,
    "elem": _at,
    "Map.get": lambda around, key, default=None: around.get(str(key).removeprefix(":"), default),
    "Keyword.get": lambda around, key, default=None: around.get(str(key).removeprefix(":"), default),
}
