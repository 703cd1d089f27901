"""Python files as syntax trees, and names: where they lead, also from file to file and through base classes."""

from __future__ import annotations

import ast
import builtins
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from actors.errors import ConfigurationError
from simulation.importing.python_values import Symbol
from simulation.importing.source import Given, SourceFile, check_conflict

CHARACTERS_MAX = 200_000
"""A longer file would take more than a second."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


_WITHOUT_BRACKETS = re.compile(
    r"^([ \t]*except\*?[ \t]+)([\w.]+(?:[ \t]*,[ \t]*(?:\w+\.)*[A-Z]\w*)+)([ \t]*:)", re.MULTILINE
)
"""Several exceptions without brackets, as from Python 3.14 on; a small letter would be the name of Python 2's."""


def parsed(file: SourceFile) -> ast.Module:
    """Return the syntax tree of a file; raise ConfigurationError if it is no Python 3, or too long."""
    if len(file.text) > CHARACTERS_MAX:
        raise ConfigurationError([f"{file.name}: wanted at most {CHARACTERS_MAX:,} characters of Python"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return ast.parse(file.text)
            except SyntaxError:
                return ast.parse(_WITHOUT_BRACKETS.sub(r"\1(\2)\3", file.text))
    except SyntaxError as error:
        check_conflict(file)
        place = f"{file.name}:{error.lineno or 1}:{error.offset or 1}"
        version = ".".join(map(str, sys.version_info[:2]))
        raise ConfigurationError([f"{place}: wanted Python {version}, which reads it: {error.msg}"]) from None
    except (ValueError, RecursionError, MemoryError):
        raise ConfigurationError([f"{file.name}: wanted Python that is not nested so deeply"]) from None


def walked(node: ast.AST) -> tuple[ast.AST, ...]:
    """Return a node and all that are below it, as `ast.walk` does, which is slow, once for each node."""
    found: tuple[ast.AST, ...] | None = node.__dict__.get("_walked")
    if found is None:
        found = node._walked = tuple(ast.walk(node))  # type: ignore[attr-defined]
    return found


def name_of(file: SourceFile) -> tuple[str, bool]:
    """Return the name of a module by the path of its file, with dots, and whether it is a package."""
    path = PurePath(file.name).with_suffix("")
    parts = [part.strip("/\\") for part in path.parts if part not in (".", "..", "/")]
    is_package = parts[-1:] == ["__init__"]
    return ".".join(parts[:-1] if is_package else parts), is_package


@dataclass(eq=False, slots=True)
class Module:
    """A file: the names that its top level binds, and their values. None: several values, or under a condition."""

    file: SourceFile
    tree: ast.Module
    name: str
    """By its path, with dots."""

    is_package: bool
    bindings: dict[str, ast.AST | None] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, file: SourceFile) -> Module:
        """Return the module in a file; raise ConfigurationError if it cannot be parsed."""
        name, is_package = name_of(file)
        module = cls(file, parsed(file), name, is_package)
        module._bind(module.tree.body, is_certain=True)
        module._import(walked(module.tree))
        for node in walked(module.tree):
            if isinstance(node, ast.Global):
                module.bindings |= dict.fromkeys(node.names)
        return module

    def _bind(self, body: Iterable[ast.stmt], *, is_certain: bool) -> None:
        for node in body:
            match node:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._bind_target(target, value, is_certain)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._bind_target(target, value, is_certain)
                case ast.AugAssign(target=ast.Name(id=name)):
                    self.bindings[name] = None
                case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                    self._bind_name(node.name, node, is_certain)
                case ast.If() | ast.For() | ast.While() | ast.With() | ast.Try():
                    if isinstance(node, ast.For):
                        self._bind_target(node.target, node.iter, False)
                    for part in ("body", "orelse", "finalbody"):
                        self._bind(getattr(node, part, ()), is_certain=is_certain and isinstance(node, ast.With))
                    for handler in getattr(node, "handlers", ()):
                        self._bind(handler.body, is_certain=False)
                case _:
                    pass

    def _bind_target(self, target: ast.expr, value: ast.expr, is_certain: bool) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            values: Sequence[ast.expr | None] = [None] * len(target.elts)
            if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts):
                values = value.elts
            for each, one in zip(target.elts, values, strict=True):
                if one is None:
                    self.bindings |= {each.id: None} if isinstance(each, ast.Name) else {}
                else:
                    self._bind_target(each, one, is_certain)
        elif isinstance(target, ast.Name):
            self._bind_name(target.id, value, is_certain)

    def _bind_name(self, name: str, node: ast.AST, is_certain: bool) -> None:
        self.bindings[name] = node if is_certain and name not in self.bindings else None

    def _import(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                base = self._base_of(node)
                for alias in node.names:
                    if alias.name == "*":
                        self.stars.append(base)
                    else:
                        self.imports[alias.asname or alias.name] = f"{base}.{alias.name}".strip(".")

    def _base_of(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        kept = len(parts) - node.level + self.is_package
        return ".".join([*parts[: max(0, kept)], *([node.module] if node.module else [])])


def dotted(node: ast.AST) -> str | None:
    """Return a name with dots as it is written; None for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)) is not None:
        return f"{base}.{node.attr}"
    return None


DEPTH_MAX = 40


@dataclass(frozen=True, slots=True)
class Bound:
    module: Module
    node: ast.AST
    name: str
    """Qualified by its module's name."""


class Names:
    """Modules that import each other, and where their names lead.

    Raises:
        ConfigurationError: files are no Python 3; a line for each.
    """

    def __init__(self, files: Sequence[SourceFile], given: Given) -> None:
        self.given = given
        self.modules: list[Module] = []
        problems: list[str] = []
        for file in files:
            try:
                self.modules.append(Module.of(file))
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(problems)
        self._by_end: dict[str, list[tuple[str, Module | SourceFile]]] = {}
        """Modules, and the files beside them that have not been parsed, by the last part of their name."""
        both: list[Module | SourceFile] = [*self.modules, *given.others]
        for each in both:
            name = each.name if isinstance(each, Module) else name_of(each)[0]
            self._by_end.setdefault(name.rpartition(".")[2], []).append((name, each))
        self._further: dict[SourceFile, Module | None] = {}

    def _module(self, of: Module | SourceFile) -> Module | None:
        if isinstance(of, Module):
            return of
        if of not in self._further:
            try:
                self._further[of] = Module.of(of)
            except ConfigurationError:  # what stands in it is asked for
                self._further[of] = None
        return self._further[of]

    def having(self, word: str) -> Iterator[Module]:
        """Yield the modules whose text has a word, modules beside the library's files too."""
        both: list[Module | SourceFile] = [*self.modules, *self.given.others]
        for each in both:
            text = each.file.text if isinstance(each, Module) else each.text
            if word in text and (module := self._module(each)) is not None:
                yield module

    def module_of(self, name: str) -> Module | None:
        """Return the module that an import means; None if none or several could be meant."""
        named: list[tuple[str, Module | SourceFile]] = self._by_end.get(name.rpartition(".")[2], [])
        exact = [each for full, each in named if full == name]
        found = exact or [each for full, each in named if full.endswith(f".{name}")]
        return self._module(found[0]) if len(found) == 1 else None

    def resolve(self, name: str, module: Module, depth: int = 0) -> Bound | Symbol | None:
        """Return the meaning of a name with dots in a module; a Symbol is outside of the files, None is undecided."""
        head, _, rest = name.partition(".")
        if depth > DEPTH_MAX:
            return None
        if head in module.bindings:
            self.given.used.add(module.file.name)
            node = module.bindings[head]
            return None if node is None else self._within(Bound(module, node, f"{module.name}.{head}"), rest, depth)
        target = module.imports.get(head)
        if target is None:
            for star in module.stars:
                other = self.module_of(star)
                if other is not None and head in {**other.bindings, **other.imports}:
                    return self.resolve(name, other, depth + 1)
            outside = [star for star in module.stars if self.module_of(star) is None]
            is_theirs = len(outside) == 1 and not hasattr(builtins, head)
            return Symbol(f"{outside[0]}.{name}" if is_theirs else name)
        return self._imported(f"{target}.{rest}" if rest else target, depth)

    def _imported(self, target: str, depth: int) -> Bound | Symbol | None:
        parts = target.split(".")
        for length in range(len(parts) - 1, 0, -1):
            other = self.module_of(".".join(parts[:length]))
            if other is not None:
                found = self.resolve(".".join(parts[length:]), other, depth + 1)
                is_outside = isinstance(found, Symbol) and "." not in found.name
                return Symbol(target) if is_outside else found
        return Symbol(target)

    def _within(self, bound: Bound, rest: str, depth: int) -> Bound | Symbol | None:
        if not rest:
            if isinstance(bound.node, (ast.Name, ast.Attribute)) and (name := dotted(bound.node)):
                found = self.resolve(name, bound.module, depth + 1)
                return bound if isinstance(found, Symbol) and found.name == name else found
            return bound
        if isinstance(bound.node, ast.ClassDef):
            head, _, further = rest.partition(".")
            found = self.attribute(bound, head, depth)
            return None if found is None else self._within(found, further, depth + 1)
        if (name := dotted(bound.node)) is not None:
            return self.resolve(f"{name}.{rest}", bound.module, depth + 1)
        return Symbol(f"{bound.name}.{rest}")

    def attribute(self, of: Bound, name: str, depth: int = 0) -> Bound | None:
        """Return an attribute of a class or of the classes that it is made of; None if there is none or several."""
        for each in self.classes(of, depth):
            assert isinstance(each.node, ast.ClassDef)
            scope = Module(each.module.file, each.module.tree, each.name, False)
            scope._bind(each.node.body, is_certain=True)
            if name in scope.bindings:
                node = scope.bindings[name]
                return None if node is None else Bound(each.module, node, f"{each.name}.{name}")
        return None

    def classes(self, of: Bound, depth: int = 0) -> Iterator[Bound]:
        """Yield a class and the classes of the files that it is made of, the nearest first."""
        if depth > DEPTH_MAX or not isinstance(of.node, ast.ClassDef):
            return
        yield of
        for base in of.node.bases:
            name = dotted(base)
            found = None if name is None else self.resolve(name, of.module, depth + 1)
            if isinstance(found, Bound):
                yield from self.classes(found, depth + 1)

    def bases(self, of: Bound) -> Iterator[str]:
        """Yield the qualified names of the classes outside of the files that a class is made of."""
        for each in self.classes(of):
            assert isinstance(each.node, ast.ClassDef)
            for base in each.node.bases:
                name = dotted(base)
                found = None if name is None else self.resolve(name, each.module)
                if isinstance(found, Symbol):
                    yield found.name
                elif found is None:
                    yield ast.unparse(base)

    def qualified(self, node: ast.AST, module: Module) -> str:
        """Return the name of an expression's object, as it is called outside of the files; empty if it has none."""
        name = dotted(node)
        if name is None:
            return ""
        found = self.resolve(name, module)
        return name if found is None else found.name
