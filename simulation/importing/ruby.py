"""Values of Ruby, worked out by name within the files given; nothing is run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from tree_sitter import Node

from simulation.importing.syntax_trees import (
    DEPTH_MAX,
    NAMESAKES_MAX,
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


@dataclass(frozen=True, slots=True)
class Block:
    """A lambda or a method of the files, in its file."""

    node: Node
    program: Program


@dataclass(frozen=True, slots=True)
class Raised:
    """A place where Ruby raises an error, such as a `return` within a block of a class."""

    why: str


@dataclass(frozen=True, slots=True)
class _Left:
    """A value with which a block or a method ends before its last line."""

    value: Any


@dataclass(eq=False)
class Program:
    tree: Tree
    all: Programs
    constants: dict[str, list[Node]] = field(default_factory=dict)
    classes: dict[str, list[Node]] = field(default_factory=dict)
    methods: dict[str, list[Node]] = field(default_factory=dict)
    known: dict[int, Any] = field(default_factory=dict)
    """Values of constants, by the identity of their nodes."""

    def __post_init__(self) -> None:
        for node in self.tree.find("assignment", "class", "module", "method", "singleton_method"):
            if node.type == "assignment":
                left, right = part(node, "left"), part(node, "right")
                if left is not None and right is not None and left.type == "constant":
                    self.constants.setdefault(text(left), []).append(right)
            else:
                of = self.classes if node.type in ("class", "module") else self.methods
                of.setdefault(text(node, "name").rpartition("::")[2], []).append(node)

    def value(self, node: Node | None, bound: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
        """Return the value of an expression; symbols are texts with their colon, and None is nil."""
        self.all.steps -= 1
        if node is None:
            return None
        if depth > DEPTH_MAX or self.all.steps < 0:
            return Unknown("", "an expression that is too long to be worked out")
        bound, depth, kind = bound if bound is not None else {}, depth + 1, node.type
        if kind in _WORDS:
            return _WORDS[kind]
        if kind in ("integer", "float"):
            number = whole(text(node))
            return Unknown("", shown(node)) if number is None else number
        if kind in ("string", "simple_symbol", "hash_key_symbol", "delimited_symbol"):
            return _text_of(node)
        if kind in ("parenthesized_statements", "body_statement", "block_body", "then", "else", "begin"):
            return self._sequence(node.named_children, bound, depth)
        if kind == "array":
            return [self.value(each, bound, depth) for each in inner(node)]
        if kind in ("string_array", "symbol_array"):
            return [text(each) for each in node.named_children]
        if kind in ("hash", "argument_list"):
            return self.pairs(node, bound, depth)
        if kind in ("identifier", "constant", "scope_resolution", "instance_variable"):
            return self._named(node, bound, depth)
        if kind == "binary":
            return self._binary(node, bound, depth)
        if kind == "unary":
            operand = self.value(part(node, "operand"), bound, depth)
            if text(node).startswith("-"):
                return arithmetic("-", 0, operand)
            if not text(node).startswith(("!", "not")):
                return Unknown("", shown(node))
            return operand if isinstance(operand, Unknown) else is_nothing(operand)
        if kind in ("lambda", "method", "singleton_method"):
            return Block(node, self)
        if kind == "element_reference":
            return self._element(node, bound, depth)
        if kind in ("conditional", "if", "elsif", "unless", "if_modifier", "unless_modifier"):
            return self._conditional(node, bound, depth)
        if kind == "case":
            return self._case(node, bound, depth)
        if kind in ("assignment", "operator_assignment"):
            return self._assigned(node, bound, depth)
        if kind in ("return", "next", "break"):
            value = self.value(node.named_children[0].named_children[0], bound, depth) if node.named_children else None
            if kind == "return" and "&block" in bound:
                value = Raised("a return in a block raises LocalJumpError")
            return _Left(value)
        if kind == "call":
            return self._call(node, bound, depth)
        return Unknown("", shown(node))

    def _sequence(self, nodes: Sequence[Node], bound: Mapping[str, Any], depth: int) -> Any:
        value: Any = None
        for node in nodes:
            if node.type in ("comment", "rescue", "ensure"):
                continue
            if node is not nodes[-1] and node.type not in _FOLLOWED and self.tree.find(*_ASSIGNED, below=node):
                return Unknown("", shown(node))
            value = self.value(node, bound, depth)
            if isinstance(value, (_Left, Raised)):
                return value
        return value

    def _assigned(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        left, value = part(node, "left"), self.value(part(node, "right"), bound, depth)
        if node.type == "operator_assignment":
            sign = text(node, "operator").removesuffix("=")
            before = bound.get(text(left), Unknown("", shown(node)))
            value = arithmetic(sign, before, value) if sign not in ("||", "&&") else Unknown("", shown(node))
        if isinstance(bound, dict) and left is not None:
            for each in self.tree.find("identifier", below=left):
                bound[text(each)] = value if each == left else Unknown("", shown(node))
        return value

    def pairs(self, node: Node, bound: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """Return the pairs of a hash or of arguments by their keys as texts; `**` stands for unknown ones."""
        found: dict[str, Any] = {}
        for each in node.named_children:
            if each.type == "pair":
                value = part(each, "value")
                key = self.value(part(each, "key"), bound, depth)
                found[str(key).removeprefix(":")] = self.value(value, bound, depth)
            elif each.type == "hash_splat_argument":
                splat = self.value(each.named_children[0], bound, depth) if each.named_children else None
                found |= splat if isinstance(splat, dict) else {"**": Unknown("", shown(each))}
        return found

    def keyed(self, nodes: Sequence[Node]) -> dict[str, Node]:
        pairs = (each for each in nodes if each.type == "pair")
        return {str(self.value(part(each, "key"))).removeprefix(":"): each for each in pairs}

    def _named(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        name = text(node)
        if name in bound:
            return bound[name]
        if node.type in ("constant", "scope_resolution"):
            return self.constant(node, depth)
        if node.type == "identifier" and (found := self._method(node, name)) is not None:
            return found.program.called(found.node, (), depth)
        if name == "rand":
            return Drawn(0.0, 1.0)
        return self.all.ask(name, name)

    def constant(self, node: Node, depth: int) -> Any:
        """Return the value of a constant: of the class around, of the file, else of the one file that has it."""
        name = text(node).rpartition("::")[2]
        if text(node) in ("Float::INFINITY", "INFINITY"):
            return math.inf
        own = self.constants.get(name, [])[: NAMESAKES_MAX + 1]
        if 1 < len(own) <= NAMESAKES_MAX:
            inside = [
                each for each in own if any(one in list(above(each)) for one in above(node) if one.type == "class")
            ]
            own = inside or own
        places = [(self, each) for each in own] or [
            place for place in self.all.constants(name) if _names_around(place[1])[:1] in self._scopes(node)
        ]
        if len(places) != 1:
            return self.all.ask(text(node), text(node))
        ((program, value),) = places
        if value.id not in program.known:
            program.known[value.id] = Unknown(name, f"{name}, which names itself")
            program.known[value.id] = program.value(value, {}, depth)
        return program.known[value.id]

    def _scopes(self, node: Node) -> list[list[str]]:
        """Return the classes and modules whose constants a name can mean; none around it is the empty list."""
        scope = text(node, "scope") if node.type == "scope_resolution" else ""
        if scope:
            return [[scope.rpartition("::")[2]]]
        around = next((each for each in above(node) if each.type == "class"), None)
        bases = text(around, "superclass").lstrip("< ").split() if around is not None else []
        body = part(around, "body") if around is not None else None
        for each in body.named_children if body is not None else ():
            if each.type == "call" and text(each, "method") in ("include", "extend"):
                bases += re.findall(r"[\w:]+", text(each, "arguments"))
        return [[], *([each.rpartition("::")[2]] for each in (*_names_around(node), *bases))]

    def _method(self, node: Node, name: str) -> Block | None:
        around = {each.id for each in above(node) if each.type in ("class", "module")}
        found = [
            each
            for each in self.methods.get(name, [])[: NAMESAKES_MAX + 1]
            if next((one.id in around for one in above(each) if one.type in ("class", "module")), True)
        ]
        return Block(found[0], self) if len(found) == 1 else None

    def _binary(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        sign = text(node, "operator")
        left, right = self.value(part(node, "left"), bound, depth), part(node, "right")
        if sign in ("||", "or"):
            if isinstance(left, Unknown):
                return replace(left, otherwise=self.value(right, bound, depth))
            return self.value(right, bound, depth) if is_nothing(left) else left
        if sign in ("&&", "and"):
            if isinstance(left, Unknown):
                return replace(left, why=shown(node))
            return left if is_nothing(left) else self.value(right, bound, depth)
        value = self.value(right, bound, depth)
        if isinstance(left, str) or isinstance(value, str):
            return of_texts(sign, left, value, shown(node))
        if sign == "/" and isinstance(left, int) and isinstance(value, int):
            return left // value if value else Raised("a division by zero")
        return arithmetic(sign, left, value)

    def _element(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        around, *keys = node.named_children
        key = self.value(keys[0], bound, depth) if keys else None
        if text(around) == "ENV":
            return self.all.ask(str(key), f"the environment variable {key}")
        value = self.value(around, bound, depth)
        if isinstance(value, (list, tuple)) and isinstance(key, int):
            return value[key] if -len(value) <= key < len(value) else None
        if isinstance(value, dict) and isinstance(key, (str, int)):
            return value.get(str(key).removeprefix(":"))
        return self.all.ask(shown(node), shown(node))

    def _decided(self, condition: Node | None, value: Any) -> bool:
        """Return whether a condition holds; for an unknown one, the current assumption about it."""
        if isinstance(value, (Unknown, Drawn, Block)):
            return self.all.decide(shown(condition))
        return not is_nothing(value)

    def _conditional(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        condition = part(node, "condition")
        holds = self._decided(condition, self.value(condition, bound, depth))
        if node.type in ("if_modifier", "unless_modifier"):
            chosen = part(node, "body")
            return self.value(chosen, bound, depth) if holds is (node.type == "if_modifier") else None
        name = "consequence" if holds is (node.type != "unless") else "alternative"
        return self.value(part(node, name), bound, depth)

    def _case(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        subject = part(node, "value")
        value = self.value(subject, bound, depth) if subject is not None else True
        for each in node.named_children:
            if each.type == "else":
                return self.value(each, bound, depth)
            if each.type != "when":
                continue
            patterns = [one.named_children[0] for one in each.children_by_field_name("pattern") if one.named_children]
            known = [self.matches(one, value, bound, depth) for one in patterns]
            if any(one is True for one in known):
                return self.value(part(each, "body"), bound, depth)
            if any(isinstance(one, Unknown) for one in known):
                named = ", ".join(shown(one) for one in patterns)
                words = named if subject is None else f"{shown(subject)} is {named}"
                if self.all.decide(words):
                    return self.value(part(each, "body"), bound, depth)
        return None

    def matches(self, pattern: Node, value: Any, bound: Mapping[str, Any], depth: int) -> Any:
        """Return whether `pattern === value`."""
        if pattern.type == "range" and is_number(value):
            low, high = (self.value(part(pattern, each), bound, depth) for each in ("begin", "end"))
            if any(isinstance(each, Unknown) for each in (low, high)):
                return Unknown("", shown(pattern))
            below = high is None or (value < high if "..." in text(pattern) else value <= high)
            return (low is None or low <= value) and below
        wanted = self.value(pattern, bound, depth)
        if isinstance(wanted, (Unknown, Drawn, Block)) or isinstance(value, (Unknown, Drawn)):
            return Unknown("", shown(pattern))
        return wanted == value

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        name, receiver = text(node, "method"), part(node, "receiver")
        given = part(node, "arguments")
        nodes = [each for each in given.named_children if each.type not in ("comment", "pair")] if given else []
        if name in ("rand", "random_number"):
            return self._drawn(nodes, bound, depth)
        if name in ("raise", "fail") and receiver is None:
            return Raised(shown(node))
        if name in ("lambda", "proc") and (block := part(node, "block")) is not None:
            return Block(block, self)
        arguments = [self.value(each, bound, depth) for each in nodes]
        if text(receiver) == "ENV" and name == "fetch" and arguments:
            asked = self.all.ask(str(arguments[0]), f"the environment variable {arguments[0]}")
            return replace(asked, otherwise=(arguments[1:] or [None])[0]) if isinstance(asked, Unknown) else asked
        if name in ("Integer", "Float") and receiver is None and arguments:
            return number_of(arguments[0])
        if receiver is None or receiver.type == "self":
            if (found := self._method(node, name)) is not None:
                return found.program.called(found.node, arguments, depth)
            return Unknown("", shown(node))
        around = self.value(receiver, bound, depth)
        if name in ("call", "()") and isinstance(around, Block):
            return around.program.called(around.node, arguments, depth)
        if isinstance(around, Unknown) or receiver.type in ("constant", "scope_resolution", "call"):
            if name in _KEEPS or name in _SECONDS:
                return self._of_value(around, name, arguments, node)
            if isinstance(around, Unknown):
                return self.all.ask(shown(node).replace("&.", "."), shown(node))
        return self._of_value(around, name, arguments, node)

    def _drawn(self, nodes: Sequence[Node], bound: Mapping[str, Any], depth: int) -> Any:
        if not nodes:
            return Drawn(0.0, 1.0)
        if nodes[0].type == "range":
            ends = [self.value(part(nodes[0], each), bound, depth) for each in ("begin", "end")]
            if all(is_number(each) for each in ends):
                short = "..." in text(nodes[0]) and all(isinstance(each, int) for each in ends)
                return Drawn(float(ends[0]), float(ends[1]) - short)
            return Unknown("", shown(nodes[0]))
        most = self.value(nodes[0], bound, depth)
        return Drawn(0.0, float(most) - 1) if is_number(most) and most >= 1 else Unknown("", shown(nodes[0]))

    def _of_value(self, around: Any, name: str, arguments: Sequence[Any], node: Node) -> Any:
        if isinstance(around, Unknown):
            if around.otherwise is not None:
                return replace(around, otherwise=self._of_value(around.otherwise, name, arguments, node))
            return around
        if name in ("to_i", "to_f", "to_r", "Integer") and isinstance(around, str):
            return number_of(around)
        if name in _ROUNDING and not arguments:
            return apply(_ROUNDING[name], 0 if around is None else around)
        if name in _KEEPS:
            return around
        if name in _SECONDS and (is_number(around) or isinstance(around, Drawn)):
            return arithmetic("*", around, _SECONDS[name])
        if isinstance(around, (list, tuple)):
            return self._of_list(around, name, arguments, node)
        if isinstance(around, dict) and name in ("size", "length", "count"):
            return len(around)
        if isinstance(around, dict) and name in ("merge", "fetch", "[]", "dig", "except"):
            if name == "merge":
                return {**around, **self.pairs(part(node, "arguments") or node, {}, 0)}
            key = str(arguments[0]).removeprefix(":") if arguments else ""
            return around.get(key, (arguments[1:] or [None])[0]) if name != "except" else Unknown("", shown(node))
        if name == "clamp" and len(arguments) == 2:
            return arithmetic("min", arithmetic("max", around, arguments[0]), arguments[1])
        if name == "pow" and len(arguments) == 1:
            return arithmetic("**", around, arguments[0])
        if is_number(around) and name in ("zero?", "positive?"):
            return around == 0 if name == "zero?" else around > 0
        if name == "nil?":
            return around is None
        return self.all.ask(shown(node), shown(node))

    def _of_list(self, around: Sequence[Any], name: str, arguments: Sequence[Any], node: Node) -> Any:
        if name in ("fetch", "at", "dig", "[]") and arguments and isinstance(arguments[0], int):
            place = arguments[0]
            if -len(around) <= place < len(around):
                return around[place]
            return arguments[1] if len(arguments) > 1 else None if name != "fetch" else Raised("an IndexError")
        if name in ("first", "last") and around and not arguments:
            return around[0 if name == "first" else -1]
        if name in ("size", "length", "count") and not arguments:
            return len(around)
        if name in ("min", "max", "sum") and not arguments and around:
            return reduce(lambda left, right: arithmetic("+" if name == "sum" else name, left, right), around)
        if name == "include?" and arguments and not any(isinstance(each, Unknown) for each in (*around, *arguments)):
            return arguments[0] in around
        if name == "sample" and around and all(is_number(each) for each in around):
            return Drawn(float(min(around)), float(max(around)), False)
        return Unknown("", shown(node))

    def called(self, node: Node, arguments: Sequence[Any], depth: int = 0, *, of_class: bool = False) -> Any:
        """Return the value of a block, a lambda or a method for arguments.

        Args:
            node: its definition.
            arguments: in their order; missing ones are unknown.
            depth: how deep the call stands in others.
            of_class: it is a block that a class passes on, which a `return` cannot leave.
        """
        parameters = part(node, "parameters")
        bound: dict[str, Any] = {"&block": True} if of_class else {}
        for place, each in enumerate(parameters.named_children if parameters is not None else ()):
            name = text(each, "name") or text(each)
            default = part(each, "value")
            known = self.value(default, {}, depth) if default is not None else Unknown(name, name)
            bound[name] = arguments[place] if place < len(arguments) else known
        if parameters is None and arguments:
            bound |= {"_1": arguments[0], "it": arguments[0]}
        body = part(node, "body")
        if body is not None and body.type in ("block", "do_block"):
            body = part(body, "body")
        if node.type == "block" or node.type == "do_block":
            body = part(node, "body")
        value = self.value(body, bound, depth + 1)
        return value.value if isinstance(value, _Left) else value


class Programs(Lookup):
    """All files; files for look-ups alone are parsed when a constant or a class may stand there."""

    programs: dict[str, Program]

    def with_name(self, name: str) -> list[Program]:
        """Return the programs that may define a name."""
        defined = re.compile(rf"\b(?:class|module) (?:\w+::)*{re.escape(name)}\b|\b{re.escape(name)} *=[^=~>]")
        for file in list(self.others.values()) if name not in self.looked_up else ():
            if name in file.text and defined.search(file.text):
                del self.others[file.name]
                if (tree := self.parse(file, "ruby")) is not None:
                    self.programs[file.name] = Program(tree, self)
        self.looked_up.add(name)
        return list(self.programs.values())

    def constants(self, name: str) -> list[tuple[Program, Node]]:
        return [(each, node) for each in self.with_name(name) for node in each.constants.get(name, ())[:NAMESAKES_MAX]]

    def classes(self, name: str) -> list[tuple[Program, Node]]:
        """Return where a class or a module is opened."""
        last = name.rpartition("::")[2]
        return [(each, node) for each in self.with_name(last) for node in each.classes.get(last, ())[:NAMESAKES_MAX]]


_WORDS: Mapping[str, Any] = {"true": True, "false": False, "nil": None}
_ASSIGNED = ("assignment", "operator_assignment")
_FOLLOWED = frozenset(
    {*_ASSIGNED, "if", "unless", "if_modifier", "unless_modifier", "case", "return", "next", "parenthesized_statements"}
)
_KEEPS = frozenset(
    {"freeze", "to_i", "to_f", "seconds", "second", "dup", "in_seconds", "symbolize_keys", "to_h", "value"}
)
_SECONDS: Mapping[str, int] = {
    **dict.fromkeys(("minute", "minutes"), 60),
    **dict.fromkeys(("hour", "hours"), 3600),
    **dict.fromkeys(("day", "days"), 86400),
    **dict.fromkeys(("week", "weeks"), 604800),
}
_ROUNDING: Mapping[str, Callable[[float], float]] = {
    "to_i": math.trunc,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": lambda number: math.floor(number + 0.5),
    "truncate": math.trunc,
    "abs": abs,
}


def _names_around(node: Node) -> list[str]:
    around = (each for each in above(node) if each.type in ("class", "module"))
    return [text(each, "name").rpartition("::")[2] for each in around]


def _text_of(node: Node) -> str:
    if node.type == "string":
        is_plain = all(each.type in ("string_content", "escape_sequence") for each in node.named_children)
        return "".join(text(each) for each in node.named_children) if is_plain else text(node)
    words = text(node)
    return f":{words}" if node.type == "hash_key_symbol" else words
