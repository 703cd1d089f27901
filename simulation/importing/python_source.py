"""Python files as syntax trees: where their names are bound, also by imports from each other, and their values."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from actors.settings.yaml_tree import printable
from simulation.importing.python_names import DEPTH_MAX, Bound, Module, Names, dotted
from simulation.importing.python_values import (
    FUNCTIONS,
    ITEMS_MAX,
    UNKNOWN,
    Called,
    Default,
    Incalculable,
    Later,
    Open,
    Symbol,
    Undecided as Undecided,
    applied,
    combined,
)
from simulation.importing.source import Given, SourceFile
from simulation.importing.waits import Drawn

_STEPS_MAX = 20_000


class Program(Names):
    """Modules whose expressions have values, and values from the command line for names that none of them has.

    Raises:
        ConfigurationError: files are no Python 3; a line for each.
    """

    def __init__(self, files: Sequence[SourceFile], given: Given) -> None:
        super().__init__(files, given)
        self.assumed: list[str] | None = None
        """The assumptions of values read in a block of `assumptions`, as sentences; None outside of one."""
        self._steps = 0

    @contextmanager
    def assumptions(self) -> Iterator[list[str]]:
        """Give the list of the assumptions of values that are read in the block."""
        before, self.assumed = self.assumed, []
        try:
            yield self.assumed
        finally:
            self.assumed = before

    def _assume(self, text: str) -> None:
        if self.assumed is not None:
            self.assumed.append(text)

    def value(self, node: ast.AST, module: Module, local: Mapping[str, Any] | None = None) -> Any:
        """Return the value of an expression: a number, a text, a list, a timedelta, or something of `python_values`.

        Raises:
            Undecided: it does not stand in the files, and is not given.
        """
        self._steps = 0
        return self._value(node, module, local or {}, 0)

    def value_or(self, node: ast.AST, module: Module, local: Mapping[str, Any], other: Any) -> Any:
        """Return the value of an expression, or something else where it does not stand in the files."""
        try:
            return self.value(node, module, local)
        except Undecided:
            return other

    def _value(self, node: ast.AST, module: Module, local: Mapping[str, Any], depth: int) -> Any:
        self._steps += 1
        if depth > DEPTH_MAX or self._steps > _STEPS_MAX:
            raise Undecided(node)

        def of(each: ast.AST) -> Any:
            return self._value(each, module, local, depth + 1)

        match node:
            case ast.Constant(value=value):
                return value
            case ast.Attribute(value=of_what, attr="days" | "seconds" | "microseconds" as part):
                holder = self._or_unknown(of_what, module, local, depth)
                is_part = isinstance(holder, timedelta)
                return getattr(holder, part) if is_part else self._named(node, module, local, depth)
            case ast.Name() | ast.Attribute():
                return self._named(node, module, local, depth)
            case ast.UnaryOp(op=sign, operand=operand):
                value = of(operand)
                if isinstance(sign, ast.Not):
                    return not self._plain(value, node)
                return self._combine("Mult", -1 if isinstance(sign, ast.USub) else 1, value, node)
            case ast.BinOp(left=left, op=sign, right=right):
                return self._combine(type(sign).__name__, of(left), of(right), node)
            case ast.BoolOp(op=sign, values=values):
                for each in values:
                    value = self._plain(of(each), node)
                    if bool(value) is isinstance(sign, ast.Or):
                        break
                return value
            case ast.Compare(left=left, ops=[sign], comparators=[right]):
                one, other = self._plain(of(left), node), self._plain(of(right), node)
                return self._combine(type(sign).__name__, one, other, node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return of(body if self._plain(of(test), node) else orelse)
            case ast.Tuple(elts=elts) | ast.List(elts=elts) | ast.Set(elts=elts):
                return self._items(elts, of, node)
            case ast.Dict(keys=keys, values=values):
                found: dict[Any, Any] = {}
                for key, each in zip(keys, values, strict=True):
                    name, value = None if key is None else of(key), of(each)
                    if key is None:
                        found |= value if isinstance(value, dict) else self._refuse(node)
                    else:
                        found[name if isinstance(name, (str, int, float)) else self._refuse(node)] = value
                return found
            case ast.Subscript(value=of_what, slice=at):
                return self._item(node, of_what, of(at), of, module)
            case ast.ListComp(elt=elt, generators=[ast.comprehension(target=ast.Name(id=name), iter=over, ifs=[])]):
                values = of(over)
                if not isinstance(values, (list, tuple)):
                    raise Undecided(node)
                return [self._value(elt, module, {**local, name: each}, depth + 1) for each in values]
            case ast.Call():
                return self._call(node, module, local, depth)
            case ast.Lambda():
                return Symbol("lambda", "", Bound(module, node, "lambda"))
        raise Undecided(node)

    def _or_unknown(self, node: ast.AST, module: Module, local: Mapping[str, Any], depth: int) -> Any:
        with self.assumptions():
            try:
                return self._value(node, module, local, depth + 1)
            except Undecided:
                return UNKNOWN

    def _plain(self, value: Any, node: ast.AST) -> Any:
        if isinstance(value, (Drawn, Symbol, Called)):
            raise Undecided(node, _named_in([value]))
        return value

    def _refuse(self, node: ast.AST) -> Any:
        raise Undecided(node)

    def _combine(self, sign: str, left: Any, right: Any, node: ast.AST) -> Any:
        try:
            return combined(sign, left, right)
        except Incalculable:
            raise Undecided(node, _named_in([left, right])) from None

    def _items(self, elts: Sequence[ast.expr], of: Any, node: ast.AST) -> list[Any]:
        found: list[Any] = []
        for each in elts:
            if isinstance(each, ast.Starred):
                values = of(each.value)
                found += values if isinstance(values, (list, tuple)) else self._refuse(node)
            else:
                found.append(of(each))
        if len(found) > ITEMS_MAX:
            raise Undecided(node)
        return found

    def _item(self, node: ast.Subscript, of_what: ast.expr, key: Any, of: Any, module: Module) -> Any:
        if self.qualified(of_what, module) == "os.environ" and isinstance(key, str):
            return self._given(key, node)
        values = of(of_what)
        try:
            return values[key]
        except (TypeError, KeyError, IndexError):
            raise Undecided(node) from None

    def _named(self, node: ast.Name | ast.Attribute, module: Module, local: Mapping[str, Any], depth: int) -> Any:
        name = dotted(node)
        if name is None:
            raise Undecided(node)
        if name in self.given.values:
            return self._given(name, node)
        if name in local:
            value = local[name]
            if isinstance(value, Default):
                return self._with_default(value.name, value.value, node)
            if isinstance(value, Later):
                around = {**local, name: UNKNOWN} if value.module is None else value.local
                return self._value(value.node, value.module or module, around, depth + 1)
            return self._refuse(node) if value is UNKNOWN else value
        head = name.partition(".")[0]
        if head in local:
            raise Undecided(node)
        found = self.resolve(name, module, depth)
        if isinstance(found, Bound):
            if isinstance(found.node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                return Symbol(found.name, name, found)
            return self._value(found.node, found.module, {}, depth + 1)
        if (of_object := self._of_object(name, module, node, depth)) is not None:
            return of_object[0]
        if found is None:
            raise Undecided(node, name)
        if found.name.startswith("django.conf.settings."):
            return self._django(found.name.rpartition(".")[2], name, node, depth)
        is_known = head in module.bindings or head in module.imports or hasattr(builtins, head)
        if not is_known and found.name == name:
            raise Undecided(node, name)
        return Symbol(found.name, name)

    def _of_object(self, name: str, module: Module, node: ast.AST, depth: int) -> tuple[Any] | None:
        """Return, in a tuple, the default of an attribute of an object of the files, such as ``Settings().tries``."""
        head, _, rest = name.partition(".")
        made = self.resolve(head, module, depth)
        if not rest or not isinstance(made, Bound) or not isinstance(made.node, ast.Call):
            return None
        of = self.resolve(dotted(made.node.func) or "", made.module, depth)
        found = self.attribute(of, rest) if isinstance(of, Bound) and isinstance(of.node, ast.ClassDef) else None
        if found is None or isinstance(found.node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return None
        value = self._value(found.node, found.module, {}, depth + 1)
        if isinstance(value, Called) and value.name.rpartition(".")[2] in ("Field", "field"):
            value = value.keywords.get("default", value.args[0] if value.args else None)
        return (self._with_default(name, value, node),)

    def _django(self, key: str, name: str, node: ast.AST, depth: int) -> Any:
        places = [
            module
            for module in self.having(key)
            if "settings" in module.name.split(".")[-2:] and key in module.bindings
        ]
        if len(places) != 1 or places[0].bindings[key] is None:
            raise Undecided(node, name)
        bound = places[0].bindings[key]
        assert bound is not None
        self._assume(printable(f"{name} as {places[0].file.name} has it"))
        return self._value(bound, places[0], {}, depth + 1)

    def _given(self, name: str, node: ast.AST) -> Any:
        if name not in self.given.values:
            raise Undecided(node, name)
        return given_value(self.given.values[name])

    def _with_default(self, name: str, default: Any, node: ast.AST) -> Any:
        if name in self.given.values:
            return self._given(name, node)
        self._assume(printable(f"the default, where nothing sets {name} (--given {name}=…)"))
        return default

    def _call(self, node: ast.Call, module: Module, local: Mapping[str, Any], depth: int) -> Any:
        def of(each: ast.AST) -> Any:
            return self._value(each, module, local, depth + 1)

        name = dotted(node.func)
        found = None if name is None else self.resolve(name, module, depth)
        is_local = name is not None and name.partition(".")[0] in local
        if self._is_of_value(node, module, local):
            return self._method(node, of)
        if (outside := self._from_outside(node, found, of)) is not None:
            return outside[0]
        if isinstance(found, Bound) and isinstance(found.node, (ast.FunctionDef, ast.Lambda)) and not is_local:
            args = self._items(node.args, of, node)
            named = {each.arg: of(each.value) for each in node.keywords if each.arg is not None}
            return self._returned(found, args, named, node, depth)
        if isinstance(node.func, ast.Attribute) and (is_local or not isinstance(found, Symbol)):
            return self._method(node, of)
        if not isinstance(found, (Symbol, Bound)) or is_local:
            raise Undecided(node)
        if found.name in FUNCTIONS:
            args = self._items(node.args, of, node)
            named = {each.arg: of(each.value) for each in node.keywords if each.arg is not None}
            try:
                return applied(found.name, args, named)
            except Incalculable:
                raise Undecided(node, _named_in([*args, *named.values()])) from None
        return self._opaque(node, found.name, module, local, depth)

    def _is_of_value(self, node: ast.Call, module: Module, local: Mapping[str, Any]) -> bool:
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in ("get", "total_seconds"):
            return False
        name = dotted(node.func.value)
        if name is None or name in local:
            return True
        found = self.resolve(name, module)
        return isinstance(found, Bound) and isinstance(found.node, (ast.Dict, ast.Call, ast.BinOp))

    def _opaque(self, node: ast.Call, name: str, module: Module, local: Mapping[str, Any], depth: int) -> Called:
        assumed: dict[str, tuple[str, ...]] = {}

        def of(each: ast.AST, where: Module = module, key: str = "") -> Any:
            with self.assumptions() as told:
                try:
                    return self._value(each, where, local if where is module else {}, depth + 1)
                except Undecided as undecided:
                    return Open(undecided.name, getattr(each, "lineno", node.lineno))
                finally:
                    assumed[key] = tuple(dict.fromkeys((*assumed.get(key, ()), *told)))

        args: list[Any] = []
        for each in node.args:
            values = of(each.value) if isinstance(each, ast.Starred) else [of(each)]
            args += values if isinstance(values, (list, tuple)) else self._refuse(node)
        keywords: dict[str, Any] = {}
        nodes: dict[str, tuple[ast.AST, Module]] = {}
        unread = None
        for keyword in node.keywords:
            if keyword.arg is not None:
                given: dict[str, tuple[ast.AST, Module]] | None = {keyword.arg: (keyword.value, module)}
            else:
                given = self.entries(keyword.value, module, local)
                if given is None and isinstance(values := of(keyword.value, key="*"), dict):
                    keywords |= values
                    nodes |= dict.fromkeys(values, (keyword.value, module))
                elif given is None:
                    unread = Open(ast.unparse(keyword.value), keyword.value.lineno)
            for key, (value, where) in (given or {}).items():
                keywords[key], nodes[key] = of(value, where, key), (value, where)
        return Called(name, tuple(args), keywords, nodes, assumed, unread)

    def entries(
        self, node: ast.AST, module: Module, local: Mapping[str, Any] | None = None, depth: int = 0
    ) -> dict[str, tuple[ast.AST, Module]] | None:
        """Return the expressions of a dict with texts as keys, each with its module; None if it is not in the files."""
        if depth > DEPTH_MAX:
            return None
        found: dict[str, tuple[ast.AST, Module]] = {}
        if self.given.values and (text := self.given.values.get(ast.unparse(node))) is not None:
            try:
                node, module, local = ast.parse(text, mode="eval").body, module, {}
            except (SyntaxError, ValueError):
                return None
        name = dotted(node)
        if name is not None:
            later = (local or {}).get(name)
            if isinstance(later, Later):
                return self.entries(later.node, later.module or module, later.local, depth + 1)
            bound = None if name in (local or {}) else self.resolve(name, module)
            if not isinstance(bound, Bound) or dotted(bound.node) is not None:
                return None
            return self.entries(bound.node, bound.module, None, depth + 1)
        pairs: list[tuple[Any, ast.AST]] = []
        if isinstance(node, ast.Call) and dotted(node.func) == "dict" and not node.args:
            pairs = [(each.arg, each.value) for each in node.keywords]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            pairs = [(None, node.left), (None, node.right)]
        elif isinstance(node, ast.Dict):
            keys = [None if key is None else getattr(key, "value", 0) for key in node.keys]
            pairs = list(zip(keys, node.values, strict=True))
        else:
            return None
        for key, value in pairs:
            further = self.entries(value, module, local, depth + 1) if key is None else {key: (value, module)}
            if further is None or not all(isinstance(each, str) for each in further):
                return None
            found |= further
        return found

    def arguments(self, function: Bound, call: ast.Call, module: Module, local: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by a function's parameters; its defaults where the call has none."""
        assert isinstance(function.node, (ast.FunctionDef, ast.AsyncFunctionDef))
        args = function.node.args
        names = [each.arg for each in (*args.posonlyargs, *args.args)]
        defaults = dict(zip(names[len(names) - len(args.defaults) :], args.defaults, strict=True))
        defaults |= {each.arg: value for each, value in zip(args.kwonlyargs, args.kw_defaults, strict=True) if value}
        found: dict[str, Any] = dict.fromkeys((*names, *(each.arg for each in args.kwonlyargs)), UNKNOWN)
        found |= {name: Later(value, function.module) for name, value in defaults.items()}
        found |= {name: Later(each, module, local) for name, each in zip(names, call.args, strict=False)}
        return found | {each.arg: Later(each.value, module, local) for each in call.keywords if each.arg in found}

    def _from_outside(self, node: ast.Call, found: Bound | Symbol | None, of: Any) -> tuple[Any] | None:
        """Return, in a tuple, a value that the environment or a settings object decides; None if it is another call."""
        name = found.name if isinstance(found, Symbol) else ""
        if name == "getattr" and len(node.args) in (2, 3) and isinstance(node.args[1], ast.Constant):
            holder = dotted(node.args[0])
            key = f"{holder}.{node.args[1].value!s}"
            if holder is None or (key not in self.given.values and len(node.args) == 2):
                raise Undecided(node, key if holder else "")
            return (self._with_default(key, of(node.args[2]) if len(node.args) == 3 else None, node),)
        key_node = node.args[0] if node.args else None
        if not isinstance(key_node, ast.Constant) or not isinstance(key_node.value, str) or isinstance(found, Bound):
            is_reader = isinstance(found, Bound) and isinstance(found.node, ast.Call)
            if not (is_reader and isinstance(key_node, ast.Constant) and isinstance(key_node.value, str)):
                return None
        assert isinstance(key_node, ast.Constant)
        keywords = {each.arg: each.value for each in node.keywords}
        holder, _, called = (dotted(node.func) or "").rpartition(".")
        is_of_holder = holder.rpartition(".")[2].lower() in _HOLDERS
        takes_second = name in ("os.environ.get", "os.getenv") or (called == "get" and is_of_holder)
        default = keywords.get("default") or (node.args[1] if takes_second and len(node.args) > 1 else None)
        is_read = {called, name.rpartition(".")[2]} & {"config", "env", "getenv"}
        if not takes_second and not is_read and not (called in ("int", "float", "bool", "str") and is_of_holder):
            return None
        if not takes_second and name in FUNCTIONS:
            return None
        if default is None:
            return (self._given(key_node.value, node),)
        value = self._with_default(key_node.value, of(default), node)
        cast = keywords.get("cast")
        return (applied(cast.id, [value], {}) if isinstance(cast, ast.Name) and cast.id in FUNCTIONS else value,)

    def _method(self, node: ast.Call, of: Any) -> Any:
        assert isinstance(node.func, ast.Attribute)
        holder = of(node.func.value)
        if isinstance(holder, timedelta) and node.func.attr == "total_seconds":
            return holder.total_seconds()
        if isinstance(holder, dict) and node.func.attr == "get" and node.args:
            key, *default = map(of, node.args)
            return holder.get(key, default[0] if default else None)
        raise Undecided(node)

    def _returned(
        self, function: Bound, args: Sequence[Any], keywords: Mapping[str, Any], node: ast.AST, depth: int
    ) -> Any:
        definition = function.node
        assert isinstance(definition, (ast.FunctionDef, ast.Lambda))
        names = [each.arg for each in (*definition.args.posonlyargs, *definition.args.args)]
        known = {*names, *(each.arg for each in definition.args.kwonlyargs)}
        if len(args) > len(names) or set(keywords) - known:
            raise Undecided(node)
        local: dict[str, Any] = {}
        defaults = definition.args.defaults
        for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
            local[name] = self._value(default, function.module, {}, depth + 1)
        for each, default_or_none in zip(definition.args.kwonlyargs, definition.args.kw_defaults, strict=True):
            if default_or_none is not None:
                local[each.arg] = self._value(default_or_none, function.module, {}, depth + 1)
        local |= dict(zip(names, args, strict=False)) | dict(keywords)
        if isinstance(definition, ast.Lambda):
            return self._value(definition.body, function.module, local, depth + 1)
        found = self._run(definition.body, function.module, local, depth + 1)
        if found is None:
            raise Undecided(node)
        return found[0]

    def called(self, function: Bound, known: Mapping[str, Any]) -> Any:
        """Return the result of a function of the files for an argument with these known attributes.

        Raises:
            Undecided: it does more than work out a value.
        """
        definition = function.node
        if not isinstance(definition, (ast.FunctionDef, ast.Lambda)) or not definition.args.args:
            raise Undecided(definition)
        self._steps = 0
        names = [each.arg for each in definition.args.args]
        local = dict.fromkeys(names, UNKNOWN) | {f"{names[-1]}.{name}": value for name, value in known.items()}
        if isinstance(definition, ast.Lambda):
            return self._value(definition.body, function.module, local, 0)
        found = self._run(definition.body, function.module, local, 0)
        if found is None:
            raise Undecided(definition)
        return found[0]

    def _run(self, body: Sequence[ast.stmt], module: Module, local: dict[str, Any], depth: int) -> tuple[Any] | None:
        """Return in a tuple the value that statements return; None if they come to their end."""
        for each in body:
            match each:
                case ast.Return(value=ast.expr() as value):
                    return (self._value(value, module, local, depth + 1),)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    local[name] = self._value(value, module, local, depth + 1)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    local[name] = self._value(value, module, local, depth + 1)
                case ast.AugAssign(target=ast.Name(id=name), op=sign, value=value):
                    change = self._value(value, module, local, depth + 1)
                    local[name] = self._combine(type(sign).__name__, local.get(name), change, each)
                case ast.If(test=test, body=then, orelse=orelse):
                    chosen = then if self._plain(self._value(test, module, local, depth + 1), each) else orelse
                    if (found := self._run(chosen, module, local, depth + 1)) is not None:
                        return found
                case ast.Try(body=tried):
                    if (found := self._run(tried, module, local, depth + 1)) is not None:
                        return found
                case ast.Expr() | ast.Pass() | ast.Import() | ast.ImportFrom():  # which change no value
                    continue
                case _:
                    raise Undecided(each)
        return None


_HOLDERS = frozenset(("env", "environ", "config", "conf", "cfg", "settings"))
"""Names of objects that read the environment, or a file of settings."""


def _named_in(values: Sequence[Any]) -> str:
    """Return the name of the one thing outside of the files among values; empty if there is none, or several."""
    names = [value.written for value in values if isinstance(value, Symbol)]
    return names[0] if len(names) == 1 else ""


def given_value(text: str) -> Any:
    """Return a value of the command line as a value of Python; words that are none are texts."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {"true": True, "false": False, "none": None, "null": None}.get(text.lower(), text)
