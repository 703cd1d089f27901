"""Values of JavaScript and TypeScript, worked out by name within the files given; nothing is run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from pathlib import PurePosixPath
from typing import Any

from tree_sitter import Node

from simulation.importing.source import SourceFile
from simulation.importing.syntax_trees import (
    DEPTH_MAX,
    Entry,
    Lookup,
    Tree,
    Unknown,
    above,
    apply,
    arithmetic,
    from_command_line,
    inner,
    is_number,
    number_of,
    of_texts,
    part,
    shown,
    text,
    whole,
)
from simulation.importing.waits import Drawn

# ── syntax ────────────────────────────────────────────────────────────────────────────────────────────────────────────


SUFFIXES = frozenset({".js", ".ts", ".mjs", ".cjs", ".mts", ".cts", ".jsx", ".tsx"})


def language(file: SourceFile) -> str:
    """Return the grammar of a file: angle brackets are types in one and tags in the other."""
    return "typescript" if file.suffix in (".ts", ".mts", ".cts") else "tsx"


def child(node: Node, name: str) -> Node:
    """Return the part of a node with this name; the node itself where it has none."""
    return part(node, name) or node


def declarations(node: Node) -> list[tuple[str, Node]]:
    """Return the names that a statement declares, with the node of each value."""
    found = []
    for each in node.named_children if node.type in ("lexical_declaration", "variable_declaration") else ():
        name, value = part(each, "name"), part(each, "value")
        if name is not None and value is not None and name.type == "identifier":
            found.append((text(name), value))
    if node.type in ("function_declaration", "enum_declaration"):
        value = node if node.type == "function_declaration" else part(node, "body")
        found += [(text(node, "name"), value)] if value is not None else []
    if node.type == "export_statement" and (value := part(node, "value")) is not None:
        found.append(("default", value))
    if node.type == "expression_statement" and node.named_children[0].type == "assignment_expression":
        left, value = (part(node.named_children[0], each) for each in ("left", "right"))
        name_text = text(left)
        if value is not None and name_text.startswith(("exports.", "module.exports.")):
            found.append((name_text.rpartition(".")[2], value))
        if value is not None and name_text == "module.exports":
            found.append(("default", value))
            pairs = [each for each in value.named_children if each.type == "pair"] if value.type == "object" else []
            found += [(text(child(each, "key")), child(each, "value")) for each in pairs]
    return found


def required(node: Node) -> str:
    """Return the module of ``require('bull')`` and ``await import('bullmq')``; empty for any other expression."""
    node = node.named_children[0] if node.type == "await_expression" and node.named_children else node
    node = part(node, "object") or node if node.type == "member_expression" else node
    if node.type != "call_expression" or text(node, "function") not in ("require", "import"):
        return ""
    arguments = part(node, "arguments")
    return string(arguments.named_children[0]) if arguments is not None and arguments.named_children else ""


def string(node: Node | None) -> str:
    if node is None:
        return ""
    return text(node)[1:-1] if node.type == "string" else text(node)


def without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix in SUFFIXES else str(path)


def stem(name: str) -> str:
    return PurePosixPath(without_suffix(name)).name


def joined(folder: PurePosixPath, path: str) -> str:
    """Return the name, without its ending, that a relative import means from a folder."""
    parts = list(folder.parts)
    for each in PurePosixPath(without_suffix(path)).parts:
        if each == "..":
            parts = parts[:-1]
        elif each != ".":
            parts.append(each)
    return str(PurePosixPath(*parts))


@dataclass(frozen=True, slots=True)
class Object:
    """An object literal.

    ``unread`` are the parts of it that are not known (``...options``), each with the keys that are given after it and
    so hold whatever the part says.
    """

    entries: Mapping[str, Entry]
    unread: tuple[tuple[Node, frozenset[str]], ...] = ()

    def over(self, other: Object) -> Object:
        keys = frozenset(self.entries)
        unread = {node.id: (node, after | keys) for node, after in other.unread}
        unread |= {node.id: (node, after) for node, after in self.unread}
        return Object({**other.entries, **self.entries}, tuple(unread.values()))

    def get(self, key: str) -> Any:
        entry = self.entries.get(key)
        return None if entry is None else entry.value


@dataclass(frozen=True, slots=True)
class Function:
    node: Node
    program: Program


@dataclass(frozen=True, slots=True)
class Made:
    """An object made by ``new``, identified by its place in the file."""

    node: Node
    program: Program


@dataclass(eq=False)
class Program:
    tree: Tree
    all: Programs
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By the local name, the module and the name there: ``default`` and ``*`` for the whole."""

    exported: dict[str, Node] = field(default_factory=dict)
    """The declarations at the top of the file, by name."""

    assigned: dict[str, list[Node]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    """Names of variables that are assigned to after they were made, or whose properties are."""

    declared: dict[int, dict[str, Node]] = field(default_factory=dict)
    known: dict[int, Any] = field(default_factory=dict)
    """Values of constants, by the identity of their nodes."""

    def __post_init__(self) -> None:
        for node in self.tree.find("import_statement", "variable_declarator", *_CHANGES):
            if node.type == "import_statement":
                self._import(node)
            elif node.type in _CHANGES:
                left = text(part(node, "left") or part(node, "argument"))
                self.assigned.setdefault(left, []).append(node)
                self.changed.add(re.split(r"[.\[?!]", left)[0])
            elif (value := part(node, "value")) is not None and (path := required(value)):
                self._require(part(node, "name"), path, value)
        for node in self.tree.root.named_children:
            inner = part(node, "declaration") or node if node.type == "export_statement" else node
            for each in declarations(inner):
                self.exported.setdefault(each[0], each[1])

    def _import(self, node: Node) -> None:
        path = string(part(node, "source"))
        for each in self.tree.find("import_clause", "import_specifier", "namespace_import", below=node):
            if each.type == "import_specifier":
                name = text(each, "name")
                self.imports[text(each, "alias") or name] = (path, name)
            elif each.type == "namespace_import":
                self.imports[text(each.named_children[-1])] = (path, "*")
            elif each.named_children and each.named_children[0].type == "identifier":
                self.imports[text(each.named_children[0])] = (path, "default")
        clause = self.tree.find("import_require_clause", below=node)
        if clause:
            source = part(clause[0], "source")
            self.imports[text(clause[0].named_children[0])] = (string(source), "default")

    def _require(self, names: Node | None, path: str, value: Node) -> None:
        if names is None:
            return
        if names.type == "identifier":
            chosen = text(value, "property") if value.type == "member_expression" else "default"
            self.imports[text(names)] = (path, chosen)
        for each in names.named_children if names.type == "object_pattern" else ():
            key = text(each, "key") or text(each)
            self.imports[text(each, "value") or key] = (path, key)

    # ── names ───────────────────────────────────────────────────────────────────────────────────────────────────

    def resolve(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        """Return the value of a name at its place: a constant, a parameter, an import."""
        name = text(node)
        if name in bound:
            return bound[name]
        for around in above(node):
            parameters = part(around, "parameters") or part(around, "parameter")
            if parameters is not None and (found := self._parameter(parameters, name, bound, depth)) is not None:
                return found
            if around.type in ("for_in_statement", "for_statement", "catch_clause"):
                made = next((found for each in _LOOPS if (found := part(around, each)) is not None), around)
                if name in {text(each) for each in self.tree.find("identifier", below=made)}:
                    return Unknown(name, f"{name} of a loop")
            if around.type in ("statement_block", "program", "switch_case") and name not in self.imports:
                value = self._declared_in(around).get(name)
                if value is not None:
                    return self._declared(name, value, bound, depth)
        if name in self.imports:
            return self.imported(*self.imports[name], name, depth)
        return Unknown(name, f"{name}, which these files do not define")

    def _declared_in(self, block: Node) -> dict[str, Node]:
        if block.id not in self.declared:
            inner = [part(each, "declaration") or each for each in block.named_children]
            self.declared[block.id] = dict(pair for each in reversed(inner) for pair in declarations(each))
        return self.declared[block.id]

    def _declared(self, name: str, value: Node, bound: Mapping[str, Any], depth: int) -> Any:
        if name in self.changed:
            return Unknown(name, f"{name}, which is changed later")
        if bound:
            return self.value(value, bound, depth)
        if value.id not in self.known:
            self.known[value.id] = Unknown(name, f"{name}, which names itself")
            self.known[value.id] = self.value(value, bound, depth)
        return self.known[value.id]

    def _parameter(self, parameters: Node, name: str, bound: Mapping[str, Any], depth: int) -> Any:
        for each in (parameters,) if parameters.type == "identifier" else parameters.named_children:
            pattern = part(each, "pattern") or part(each, "left") or each
            default = part(each, "value") or part(each, "right")
            if text(pattern) == name:
                otherwise = None if default is None else self.value(default, bound, depth)
                return Unknown(name, f"{name}, which the caller gives", otherwise)
            inner = self.tree.find(*_NAMES_IN_PATTERNS, below=pattern) if pattern.type.endswith("pattern") else []
            if name in {text(one) for one in inner}:
                return Unknown(name, f"{name}, which the caller gives")
        return None

    def imported(self, path: str, wanted: str, name: str, depth: int) -> Any:
        """Return the value that another of the given files exports under a name."""
        for program in self.all.of_path(self.tree.file, path, wanted if wanted not in ("default", "*") else name):
            if wanted == "*":
                nodes = program.exported.items()
                return Object({key: program.tree.at(each, program.value(each, {}, depth)) for key, each in nodes})
            node = program.exported.get("default" if wanted == "default" else wanted)
            if node is not None:
                return program.value(node, {}, depth)
        return Unknown(name, f"{name}, which comes from {path!r}")

    def member(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        whole_node = part(node, "object")
        index = part(node, "index")
        key = text(node, "property") if index is None else self.value(index, bound, depth)
        if text(whole_node) in ("process.env", "import.meta.env", "Bun.env"):
            return self.all.ask(str(key), f"the environment variable {key}")
        if text(node) in _NUMBERS:
            return _NUMBERS[text(node)]
        if whole_node is None:
            return Unknown(shown(node), shown(node))
        if whole_node.type == "this":
            return self._of_this(node, str(key), bound, depth)
        around = self.value(whole_node, bound, depth)
        if isinstance(around, Object) and not around.unread:
            return around.get(str(key))
        if isinstance(around, Object) and str(key) in around.entries:
            return Unknown(str(key), f"{shown(node)}, which a spread may change", around.get(str(key)))
        if isinstance(around, (list, tuple)) and key == "length":
            return len(around)
        if isinstance(around, (list, tuple)) and isinstance(key, int):
            return around[key] if 0 <= key < len(around) else None
        return self.all.ask(shown(node).replace("?.", "."), shown(node))

    def _of_this(self, node: Node, key: str, bound: Mapping[str, Any], depth: int) -> Any:
        body = next((each for each in above(node) if each.type == "class_body"), None)
        assigned = self.assigned.get(f"this.{key}", [])
        fields = [each for each in body.named_children if each.type in _FIELDS] if body is not None else []
        for each in fields:
            name = part(each, "name") or part(each, "property")
            value = part(each, "value")
            if text(name) == key and value is not None and not assigned:
                return self.value(value, bound, depth)
        if len(assigned) == 1 and (value := part(assigned[0], "right")) is not None:
            return self.value(value, bound, depth)
        return self.all.ask(f"this.{key}", f"this.{key}")

    # ── values ──────────────────────────────────────────────────────────────────────────────────────────────────

    def value(self, node: Node, bound: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
        """Return the value of an expression: number, text, True, None, list, :class:`Object` or `Unknown`."""
        self.all.steps -= 1
        if depth > DEPTH_MAX or self.all.steps < 0:
            return Unknown("", "an expression that is too long to be worked out")
        bound, depth, kind = bound or {}, depth + 1, node.type
        if kind in _WRAPPED:
            return self.value(node.named_children[0], bound, depth) if node.named_children else None
        if kind == "number":
            number = whole(text(node))
            return Unknown("", shown(node)) if number is None else number
        if kind == "string":
            return string(node)
        if kind == "template_string" and not any(each.type == "template_substitution" for each in node.children):
            return text(node)[1:-1]
        if kind in _WORDS:
            return _WORDS[kind]
        if kind in ("identifier", "shorthand_property_identifier"):
            return _NUMBERS[text(node)] if text(node) in _NUMBERS else self.resolve(node, bound, depth)
        if kind in ("member_expression", "subscript_expression"):
            return self.member(node, bound, depth)
        if kind == "object":
            return self._object(node, bound, depth)
        if kind == "array":
            return [self.value(each, bound, depth) for each in inner(node)]
        if kind == "enum_body":
            return self._enumeration(node, bound, depth)
        if kind in _FUNCTIONS:
            return Function(node, self)
        if kind == "new_expression":
            return Made(node, self)
        if kind in ("binary_expression", "unary_expression"):
            return self._operation(node, bound, depth)
        if kind == "ternary_expression":
            condition = truth(self.value(child(node, "condition"), bound, depth))
            if not isinstance(condition, Unknown):
                return self.value(child(node, "consequence" if condition else "alternative"), bound, depth)
            chosen = self.value(child(node, "consequence"), bound, depth)
            if isinstance(chosen, Unknown) and chosen.name == condition.name:
                return replace(condition, otherwise=self.value(child(node, "alternative"), bound, depth))
            return replace(condition, why=f"a condition, {shown(node)}")
        if kind == "call_expression":
            return self._call(node, bound, depth)
        return Unknown("", shown(node))

    def _object(self, node: Node, bound: Mapping[str, Any], depth: int) -> Object:
        found = Object({})
        for each in node.named_children:
            key = ""
            if each.type == "pair":
                name = child(each, "key")
                computed = (
                    self.value(name.named_children[0], bound, depth) if name.type.startswith("computed") else None
                )
                key, value = computed if isinstance(computed, str) else string(name), child(each, "value")
                found = Object({key: self.tree.at(each, self.value(value, bound, depth))}).over(found)
            elif each.type == "shorthand_property_identifier":
                found = Object({text(each): self.tree.at(each, self.value(each, bound, depth))}).over(found)
            elif each.type == "method_definition":
                key = text(each, "name")
                found = Object({key: self.tree.at(each, Function(each, self))}).over(found)
            elif each.type == "spread_element":
                spread = self.value(each.named_children[0], bound, depth)
                known = spread.otherwise if isinstance(spread, Unknown) else spread
                if isinstance(known, Object):
                    found = known.over(found)
                if isinstance(spread, Unknown) or not (isinstance(spread, Object) or spread in (None, False)):
                    found = Object(found.entries, (*found.unread, (each, frozenset())))
        return found

    def _enumeration(self, node: Node, bound: Mapping[str, Any], depth: int) -> Object:
        entries, count = dict[str, Entry](), 0
        for each in node.named_children:
            value = part(each, "value")
            known = count if value is None else self.value(value, bound, depth)
            entries[string(part(each, "name") or each)] = self.tree.at(each, known)
            count = known + 1 if isinstance(known, int) else count + 1
        return Object(entries)

    def _operation(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        sign = text(node, "operator")
        if node.type == "unary_expression":
            value = self.value(child(node, "argument"), bound, depth)
            if sign == "!":
                known = truth(value)
                return known if isinstance(known, Unknown) else not known
            value = from_command_line(value) if isinstance(value, str) else value
            return value if sign == "+" else arithmetic("-", 0, value) if sign == "-" else Unknown("", shown(node))
        left = self.value(child(node, "left"), bound, depth)
        if sign in ("||", "??", "&&"):
            return self._chosen(sign, left, child(node, "right"), bound, depth)
        right = self.value(child(node, "right"), bound, depth)
        sign = {"===": "==", "!==": "!="}.get(sign, sign)
        if isinstance(left, str) or isinstance(right, str):
            return of_texts(sign, left, right, shown(node))
        return arithmetic(sign, left, right)

    def _chosen(self, sign: str, left: Any, right: Node, bound: Mapping[str, Any], depth: int) -> Any:
        if isinstance(left, Unknown):
            if sign == "&&":
                return left
            return replace(left, otherwise=self.value(right, bound, depth))
        known = truth(left)
        if sign == "??":
            return self.value(right, bound, depth) if left is None else left
        return left if bool(known) is (sign == "||") else self.value(right, bound, depth)

    def _call(self, node: Node, bound: Mapping[str, Any], depth: int) -> Any:
        name = text(node, "function")
        given = part(node, "arguments")
        arguments = [self.value(each, bound, depth) for each in (given.named_children if given is not None else ())]
        if (
            name in ("Number", "parseInt", "parseFloat", "Number.parseInt", "Number.parseFloat", "toNumber")
            and arguments
        ):
            return _as_number(arguments[0])
        if name in _ROUNDING and len(arguments) == 1:
            return apply(_ROUNDING[name], arguments[0])
        if name == "Math.random":
            return Drawn(0.0, 1.0)
        if name == "Math.pow" and len(arguments) == 2:
            return arithmetic("**", arguments[0], arguments[1])
        if name in ("Math.min", "Math.max") and arguments:
            return reduce(lambda left, right: arithmetic(name[5:], left, right), arguments)
        if name in ("Object.freeze", "defineConfig", "structuredClone") and arguments:
            return arguments[0]
        if name == "Object.assign":
            found = Object({})
            for each in arguments:
                found = each.over(found) if isinstance(each, Object) else Object(found.entries, ((node, frozenset()),))
            return found
        if name == "ms" and len(arguments) == 1 and self.imports.get("ms", ("",))[0] == "ms":
            return _milliseconds(arguments[0])
        if name.rpartition(".")[2] in ("get", "getOrThrow", "env") and arguments and isinstance(arguments[0], str):
            asked = self.all.ask(arguments[0], f"{arguments[0]} of the configuration")
            is_open = isinstance(asked, Unknown) and len(arguments) > 1
            return replace(asked, otherwise=arguments[1]) if is_open else asked
        function = self.value(child(node, "function"), bound, depth)
        if isinstance(function, Function):
            return function.program.returned(function.node, arguments, depth)
        return Unknown("", shown(node))

    # ── functions ───────────────────────────────────────────────────────────────────────────────────────────────

    def returned(self, node: Node, arguments: Sequence[Any], depth: int = 0) -> Any:
        """Return the value of a function for arguments, if no step of it depends on an unknown value."""
        parameters = part(node, "parameters") or part(node, "parameter")
        bound: dict[str, Any] = {}
        listed = [] if parameters is None else parameters.named_children
        if parameters is not None and parameters.type == "identifier":
            listed = [parameters]
        for place, each in enumerate(listed):
            pattern = part(each, "pattern") or part(each, "left") or each
            if place < len(arguments) and pattern.type == "identifier":
                bound[text(pattern)] = arguments[place]
        body = part(node, "body")
        if body is None or any(each.type in ("async", "*") for each in node.children[:2] if text(each) == "*"):
            return Unknown("", shown(node))
        if body.type != "statement_block":
            return self.value(body, bound, depth)
        done, value = self._run(body.named_children, bound, depth + 1)
        return value if done else None

    def _run(self, statements: Sequence[Node], bound: dict[str, Any], depth: int) -> tuple[bool, Any]:
        for each in statements:
            kind = each.type
            if kind == "return_statement":
                return True, self.value(each.named_children[0], bound, depth) if each.named_children else None
            if kind in ("lexical_declaration", "variable_declaration"):
                for name, value in declarations(each):
                    bound[name] = self.value(value, bound, depth)
            elif kind == "if_statement":
                condition = truth(self.value(child(each, "condition"), bound, depth))
                if isinstance(condition, Unknown) and _only_throws(part(each, "consequence")):
                    condition = False
                if isinstance(condition, Unknown):
                    return True, replace(condition, why=f"a condition, {shown(child(each, 'condition'))}")
                branch = part(each, "consequence" if condition else "alternative")
                branch = branch.named_children[0] if branch is not None and branch.type == "else_clause" else branch
                if branch is not None:
                    inner = branch.named_children if branch.type == "statement_block" else [branch]
                    done, value = self._run(inner, bound, depth + 1)
                    if done:
                        return True, value
            elif kind == "switch_statement":
                done, value = self._switch(each, bound, depth)
                if done:
                    return True, value
            elif kind == "statement_block":
                done, value = self._run(each.named_children, bound, depth + 1)
                if done:
                    return True, value
            elif kind == "throw_statement":
                return True, Unknown("", f"an error, {shown(each)}")
            elif kind not in ("comment", "empty_statement") and not _is_harmless(each):
                return True, Unknown("", shown(each))
        return False, None

    def _switch(self, node: Node, bound: dict[str, Any], depth: int) -> tuple[bool, Any]:
        value = self.value(child(node, "value"), bound, depth)
        if isinstance(value, Unknown):
            return True, replace(value, why=f"a condition, {shown(child(node, 'value'))}")
        cases = [each for each in child(node, "body").named_children if each.type.startswith("switch_")]
        matching = [
            place
            for place, each in enumerate(cases)
            if each.type == "switch_case" and self.value(child(each, "value"), bound, depth) == value
        ] or [place for place, each in enumerate(cases) if each.type == "switch_default"]
        for each in cases[matching[0] :] if matching else ():
            body = [one for one in each.children_by_field_name("body") if one.is_named]
            stops = [place for place, one in enumerate(body) if one.type == "break_statement"]
            done, found = self._run(body[: stops[0]] if stops else body, bound, depth + 1)
            if done or stops:
                return done, found
        return False, None


class Programs(Lookup):
    """All files by their names; files for look-ups alone are parsed when a name leads there."""

    programs: dict[str, Program]

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        """The files by the last part of their names, and by their folders: an import may mean its index."""
        found: dict[str, list[str]] = {}
        for each in {**dict.fromkeys(self.programs), **self.others}:
            for name in dict.fromkeys((stem(each), PurePosixPath(each).parent.name)):
                found.setdefault(name, []).append(each)
        return found

    def of_path(self, file: SourceFile, path: str, name: str) -> list[Program]:
        """Return the programs that an import can mean: the file of this path, else the files of its last part."""
        last = stem(path)
        fitting = self._by_stem.get(last, [])
        if path.startswith("."):
            exact = joined(PurePosixPath(file.name).parent, path)
            below = "/" + "/".join(part for part in PurePosixPath(path).parts if part not in (".", ".."))
            near = [each for each in fitting if below.count("/") > 1 and without_suffix(each).endswith(below)]
            fitting = [each for each in fitting if without_suffix(each) in (exact, f"{exact}/index")] or near
        elif last not in ("", ".") and not path.startswith(("@/", "~/", "src/", "#")):
            fitting = [each for each in fitting if path.startswith("@") or "/" in path]
        found = []
        for each in fitting:
            fresh = each not in self.programs and name in self.others[each].text
            if fresh and (tree := self.parse(self.others[each], language(self.others[each]))) is not None:
                self.programs[each] = Program(tree, self)
            if each in self.programs:
                found.append(self.programs[each])
        return found if len(found) == 1 else [each for each in found if name in each.exported][:1]


_WRAPPED = frozenset(
    {"parenthesized_expression", "as_expression", "satisfies_expression", "non_null_expression", "expression_statement"}
)
_FUNCTIONS = frozenset(
    {"arrow_function", "function_expression", "function_declaration", "method_definition", "function"}
)
_CHANGES = ("assignment_expression", "augmented_assignment_expression", "update_expression")
_LOOPS = ("left", "initializer", "parameter")
_FIELDS = frozenset({"public_field_definition", "field_definition"})
_NAMES_IN_PATTERNS = ("identifier", "shorthand_property_identifier_pattern")
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None, "undefined": None}
_NUMBERS: Mapping[str, Any] = {
    "Infinity": math.inf,
    "Number.POSITIVE_INFINITY": math.inf,
    "Number.MAX_SAFE_INTEGER": 2**53 - 1,
    "Number.MAX_VALUE": 1.7976931348623157e308,
    "undefined": None,
}
_ROUNDING = {
    "Math.round": lambda number: math.floor(number + 0.5),
    "Math.floor": math.floor,
    "Math.ceil": math.ceil,
    "Math.trunc": math.trunc,
    "Math.abs": abs,
}
_HARMLESS = re.compile(r"(?:this\.)?(?:_?logger|_?log|console|winston|debug|Logger|metrics?)\b")
_MS = re.compile(r"\s*(-?[0-9.]+)\s*([a-z]*)\s*", re.IGNORECASE)
_MS_UNITS = {"": 1, "ms": 1, "msec": 1, "s": 1e3, "sec": 1e3, "m": 6e4, "min": 6e4, "h": 3.6e6, "hr": 3.6e6}
_MS_UNITS |= {"d": 8.64e7, "w": 6.048e8, "second": 1e3, "minute": 6e4, "hour": 3.6e6, "day": 8.64e7, "week": 6.048e8}


def truth(value: Any) -> Any:
    """Return whether a value is truthy; an Unknown stays one."""
    if isinstance(value, (Unknown, Drawn)):
        return value if isinstance(value, Unknown) else Unknown("", "a number that is drawn")
    return True if isinstance(value, (Object, list, Function, Made)) else bool(value)


def _only_throws(node: Node | None) -> bool:
    inner = node.named_children if node is not None and node.type == "statement_block" else [node]
    return bool(inner) and inner[-1] is not None and inner[-1].type == "throw_statement"


def _as_number(value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, Unknown) and value.otherwise is not None):
        return number_of(value)
    return value if is_number(value) or isinstance(value, (Drawn, Unknown)) else Unknown("", "a number")


def _milliseconds(value: Any) -> Any:
    found = _MS.fullmatch(value) if isinstance(value, str) else None
    unit = found[2].lower() if found else ""
    unit = unit if unit in _MS_UNITS else unit.removesuffix("s")
    return float(found[1]) * _MS_UNITS[unit] if found and unit in _MS_UNITS else Unknown("", f"ms({value!r})")


def _is_harmless(node: Node) -> bool:
    call = node.named_children[0] if node.type == "expression_statement" and node.named_children else node
    return call.type == "call_expression" and bool(_HARMLESS.match(text(call)))
