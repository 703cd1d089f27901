"""Calls of a library's functions in Python files: as decorators of functions, bound to names, and in their bodies."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from simulation.importing.draft import Head, written
from simulation.importing.python_names import Bound, Function, Module, dotted, walked
from simulation.importing.python_source import Program
from simulation.importing.python_values import UNKNOWN, Called, Default, Later, Symbol

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Use:
    """A call of a library's function, or the function without a call, and the code for which it is made."""

    name: str
    """Of the function that is decorated, of the variable, or of the function in which it stands."""

    module: Module
    node: ast.expr
    """The decorator or the call."""

    call: Called

    is_nested: bool = False
    """Whether the function has another such decorator: the attempts of one are calls of the other."""

    @property
    def line(self) -> int:
        return self.node.lineno

    @property
    def head(self) -> Head:
        return Head(written(self.node), self.node, self.module)

    def assumed(self, keyword: str) -> tuple[str, ...]:
        """Return the assumptions of the value of a keyword, as sentences."""
        return (*self.call.assumed.get(keyword, ()), *self.call.assumed.get("*", ()))


def uses(program: Program, names: Collection[str]) -> Iterator[Use]:
    """Yield each use of the functions of these qualified names, in order; names that come twice get their line."""
    readings = [_Uses(module, program, frozenset(names)) for module in program.modules]
    taken: set[str] = set()
    claimed = {each for module in readings for each in module.claimed}
    for use in (use for module in readings for use in module.found):
        if id(use.node) not in claimed:
            yield replace(use, name=use.name if use.name not in taken else f"{use.name}:{use.line}")
            taken.add(use.name)


class _Uses:
    def __init__(self, module: Module, program: Program, names: frozenset[str]) -> None:
        self.module = module
        self.program = program
        self.names = names
        self.found: list[Use] = []
        self._seen: set[int] = set()
        self.claimed: set[int] = set()
        """Calls that belong to the call they were an argument of, or to the decorator that they are made for."""

        self._look(module.tree, "", {})
        self.found.sort(key=lambda each: each.line)

    def _look(self, node: ast.AST, inside: str, local: dict[str, Any]) -> None:
        waiting: list[tuple[ast.AST, str, dict[str, Any]]] = [(node, inside, local)]
        while waiting:
            node, inside, local = waiting.pop()
            within, scope = inside, local
            if isinstance(node, ast.Call) and id(node) not in self._seen:
                call = self._called(node, self.module, local)
                if call is not None:
                    self._add(inside or "retry", node, call)
            if isinstance(node, (ast.ClassDef, *_FUNCTIONS)):
                within = f"{inside}.{node.name}".strip(".")
                self._decorate(node, within, local)
                if isinstance(node, ast.ClassDef):
                    bound = Bound(self.module, node, f"{self.module.name}.{node.name}")
                    scope = {**local, **attributes_of(bound, self.program)}
                else:
                    outer = {name: each for name, each in local.items() if not isinstance(each, _OfClass)}
                    scope = locals_of(node, self.program, self.module, outer)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                name = dotted(targets[0]) if len(targets) == 1 else None
                within = f"{inside}.{name.removeprefix('self.')}".strip(".") if name else inside
            waiting += [(each, within, scope) for each in ast.iter_child_nodes(node)]

    def _add(self, inside: str, node: ast.expr, call: Called) -> None:
        name = ".".join([*self.module.name.split(".")[-2:], inside])
        self.found.append(Use(name, self.module, node, call))

    def _decorate(self, node: ast.ClassDef | Function, inside: str, local: dict[str, Any]) -> None:
        first = len(self.found)
        for decorator in node.decorator_list:
            call = self._of(decorator, self.module, local, 0)
            if call is not None:
                self._add(inside, decorator, call)
                self.claimed.update(id(each) for each in walked(decorator) if each is not decorator)
                self._seen.add(id(decorator))
        if len(self.found) > first + 1:
            self.found[first:] = [replace(each, is_nested=True) for each in self.found[first:]]

    def _called(self, node: ast.Call, module: Module, local: Mapping[str, Any]) -> Called | None:
        if self.program.qualified(node.func, module) not in self.names:
            return None
        value = self.program.value_or(node, module, local, None)
        return value if isinstance(value, Called) and value.name in self.names else None

    def _of(self, node: ast.AST, module: Module, local: Mapping[str, Any], depth: int) -> Called | None:
        """Return the call that a decorator is in the end; None if it is of something else."""
        if depth > 10:
            return None
        name = dotted(node)
        if name is not None:
            later = local.get(name)
            if isinstance(later, Later):
                self._claim(later.node)
                return self._of(later.node, later.module or module, later.local or local, depth + 1)
            found = None if name in local else self.program.resolve(name, module)
            if isinstance(found, Symbol) and found.name in self.names:
                return Called(found.name, (), {})
            if isinstance(found, Bound) and isinstance(found.node, ast.Call):
                self._claim(found.node)
                return self._of(found.node, found.module, {}, depth + 1)
            if isinstance(found, Bound) and isinstance(found.node, _FUNCTIONS):  # a decorator without arguments
                return self._within(found.node, found.module, {}, depth)
            return None
        if not isinstance(node, ast.Call):
            return None
        if (call := self._called(node, module, local)) is not None:
            return call
        name = dotted(node.func)
        bound = None if name is None or name in local else self.program.resolve(name, module)
        if self.program.qualified(node.func, module) in ("functools.partial", "partial") and node.args:
            inner = self._of(node.args[0], module, local, depth + 1)
            return None if inner is None else self._with_more(inner, node, module, local)
        if isinstance(bound, Bound) and isinstance(bound.node, ast.Call):  # of a partial
            inner = self._of(bound.node, bound.module, {}, depth + 1)
            return None if inner is None else self._with_more(inner, node, module, local)
        if isinstance(bound, Bound) and isinstance(bound.node, _FUNCTIONS):
            with self.program.assumptions() as assumed:
                value = self.program.value_or(node, module, local, None)
            if isinstance(value, Called) and value.name in self.names:
                self._claim(bound.node)
                return replace(value, assumed={**value.assumed, "*": tuple(dict.fromkeys(assumed))})
            return self._within(bound.node, bound.module, self.program.arguments(bound, node, module, local), depth)
        return None

    def _within(self, function: Function, module: Module, given: Mapping[str, Any], depth: int) -> Called | None:
        """Return the first use in a function that wraps another one, such as a decorator with its own arguments."""
        scope = {**locals_of(function, self.program, module, {}), **given}
        for node in walked(function):
            if node is not function and isinstance(node, _FUNCTIONS):
                for decorator in node.decorator_list:
                    if (call := self._of(decorator, module, scope, depth + 1)) is not None:
                        self._claim(function)
                        return call
            if isinstance(node, ast.Call) and (call := self._called(node, module, scope)) is not None:
                self._claim(function)
                return call
        return None

    def _claim(self, node: ast.AST) -> None:
        self.claimed.update(id(each) for each in walked(node) if isinstance(each, ast.expr))

    def _with_more(self, inner: Called, node: ast.Call, module: Module, local: Mapping[str, Any]) -> Called | None:
        further = ast.Call(ast.Name("further", ast.Load()), [], node.keywords, lineno=node.lineno)
        more = self.program.value_or(further, module, local, None)
        if not isinstance(more, Called):
            return None
        return Called(
            inner.name,
            inner.args,
            {**inner.keywords, **more.keywords},
            {**inner.nodes, **more.nodes},
            {**inner.assumed, **more.assumed},
            inner.unread or more.unread,
        )


class _OfClass(Later):
    """A name that the body of a class binds: its methods do not see it without ``self``."""


def attributes_of(of: Bound, program: Program) -> dict[str, Any]:
    """Return the attributes of a class and its bases, as ``self.name`` where none sets them anew.

    An attribute that ``__init__`` alone sets has its value there. The names of the body stand beside them.
    """
    stores: dict[str, list[Any]] = {}
    found: dict[str, Any] = {}
    for each in program.classes(of):
        assert isinstance(each.node, ast.ClassDef)
        for method in each.node.body:
            if isinstance(method, _FUNCTIONS):
                for node in walked(method):
                    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and (name := dotted(node)):
                        stores.setdefault(name, []).append(method)
    for each in program.classes(of):
        assert isinstance(each.node, ast.ClassDef)
        for node in each.node.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            value = getattr(node, "value", None)
            for target in targets:
                if isinstance(target, ast.Name) and isinstance(value, ast.expr):
                    found.setdefault(f"self.{target.id}", Later(value, each.module))
                    if each.node is of.node:
                        found.setdefault(target.id, _OfClass(value, each.module))
            if isinstance(node, _FUNCTIONS) and node.name == "__init__":
                for name, value in _set_in(node):
                    if stores[name] == [node]:
                        found.setdefault(
                            name, Later(value, each.module, locals_of(node, program, each.module, {}, each.node.name))
                        )
    return found | {name: UNKNOWN for name in stores if not isinstance(found.get(name), Later) or len(stores[name]) > 1}


def _set_in(function: Function) -> Iterator[tuple[str, ast.expr]]:
    for node in walked(function):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(value, ast.expr) and len(targets) == 1:
            name = dotted(targets[0]) if targets[0] is not None else None
            if name is not None and name.startswith("self."):
                yield name, value


def locals_of(
    function: Function, program: Program, module: Module, known: Mapping[str, Any], owner: str = ""
) -> dict[str, Any]:
    """Return the names that a function binds: names bound once have a value, callers decide the others."""
    local: dict[str, Any] = dict(known)
    args = function.args
    for each in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
        if each is not None:
            local[each.arg] = UNKNOWN
    with_default = list(zip(reversed([*args.posonlyargs, *args.args]), reversed(args.defaults), strict=False))
    with_default += [(each, value) for each, value in zip(args.kwonlyargs, args.kw_defaults, strict=True) if value]
    for each, default in with_default:
        with program.assumptions():
            value = program.value_or(default, module, {}, None)
        if value is not None:
            local[each.arg] = Default(f"{owner or function.name}.{each.arg}", value)
    bound: dict[str, list[ast.expr | None]] = {}
    for node in walked(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            bound.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.setdefault(node.id, []).append(None)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.setdefault(node.name, []).append(None)
    local |= dict.fromkeys(bound, UNKNOWN)
    for name, values in bound.items():
        assigned = [value for value in values if value is not None]
        if len(assigned) == 1 and len(values) == 2:  # the assignment, and the name that it stores
            local[name] = Later(assigned[0])
    return local
