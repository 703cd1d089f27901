"""Findings about the shape of `actors`, from its syntax trees: ``python tests/structure/findings.py`` prints them.

- **file**: more than 600 lines.
- **class**: more than 300 lines from its first decorator to its end; the two systems and the two stores may have 400.
- **name**: a class name that stands for two classes, private and nested ones included.
- **attribute**: one assigned or deleted from outside of its object's module. An object changes in the methods of its
  class, and in the module that defines its class, where a reader of either sees both. An assignment elsewhere is a
  finding, through `setattr`, `object.__setattr__` and msgspec's `force_setattr` too.

No types are inferred: names tell the class of `x` in ``x.name = …``. The assignment is outside if a class of `actors`
has an attribute of that name, and no such class stands in this module. The class around the assignment counts only
where `x` is its `self` or `cls`, a parameter annotated with the class, or a local that it made. An object of a library,
by the annotation of a parameter or by the call that made a name or an attribute of `self`, does not count.

``--write`` writes the findings to the list of exceptions beside this file. The test fails on any other finding.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
EXCEPTIONS = Path(__file__).with_name("exceptions.txt")
FILE_LINES_MAX = 600
CLASS_LINES_MAX = 300
LARGE_CLASS_LINES_MAX = 400
LARGE_CLASSES = {"ActorSystem", "LiveSystem", "PostgresStore", "SqliteStore"}
SETTERS = {"setattr", "delattr", "__setattr__", "__delattr__", "force_setattr"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Finding(NamedTuple):
    """A breach of one of the rules."""

    rule: str
    place: str
    """The path of the module, and for attributes the function; of all modules for a name."""
    what: str

    def __str__(self) -> str:
        return "  ".join(self)


def findings(package: Path = ROOT / "actors") -> list[Finding]:
    """Return all findings, by rule and place."""
    texts = {
        path.relative_to(package.parent).as_posix(): path.read_text(encoding="utf-8") for path in package.rglob("*.py")
    }
    trees = {module: ast.parse(text) for module, text in sorted(texts.items())}
    long = (Finding("file", module, "") for module, text in texts.items() if text.count("\n") > FILE_LINES_MAX)
    classes = [(module, each) for module in trees for each in ast.walk(trees[module]) if isinstance(each, ast.ClassDef)]
    return sorted({*long, *_long_classes(classes), *_shared_names(classes), *_outside(trees, classes)})


def _long_classes(classes: list[tuple[str, ast.ClassDef]]) -> Iterator[Finding]:
    for module, node in classes:
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        lines = (node.end_lineno or first) - first + 1
        if lines > (LARGE_CLASS_LINES_MAX if node.name in LARGE_CLASSES else CLASS_LINES_MAX):
            yield Finding("class", module, node.name)


def _shared_names(classes: list[tuple[str, ast.ClassDef]]) -> Iterator[Finding]:
    homes: dict[str, list[str]] = defaultdict(list)
    for module, node in classes:
        homes[node.name].append(module)
    return (Finding("name", ", ".join(found), name) for name, found in homes.items() if len(found) > 1)


def _outside(trees: dict[str, ast.Module], classes: list[tuple[str, ast.ClassDef]]) -> Iterator[Finding]:
    owners: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for module, node in classes:
        for name in _attributes(node):
            owners[name].add((module, node.name))
    for module, tree in trees.items():
        yield from _Module(module, owners, {(home, node.name) for home, node in classes}).outside(tree)


def _attributes(node: ast.ClassDef) -> Iterator[str]:
    """Give the names of the attributes that a class has by its body, its slots, or an assignment to `self`."""
    for member in node.body:
        targets = member.targets if isinstance(member, ast.Assign) else [getattr(member, "target", None)]
        names = [each.id for each in targets if isinstance(each, ast.Name)]
        yield from names
        if "__slots__" in names and isinstance(member, ast.Assign):
            yield from (str(each.value) for each in ast.walk(member.value) if isinstance(each, ast.Constant))
        if isinstance(member, FUNCTIONS):
            yield member.name  # a property
            for each in ast.walk(member):
                yield from (
                    name for base, name in _assigned(each) if name and _dotted(base) == _first_parameter(member)
                )


class _Module:
    """One module, and the class of each name in it as far as names tell it."""

    def __init__(self, path: str, owners: dict[str, set[tuple[str, str]]], classes: set[tuple[str, str]]) -> None:
        self._path = path
        self._owners = owners
        self._classes = classes
        self._ours = {name for _, name in classes}

    def outside(self, tree: ast.Module) -> Iterator[Finding]:
        return self._in(tree, "", "", _made(tree, ""))

    def _in(self, node: ast.AST, around: str, where: str, kinds: dict[str, str]) -> Iterator[Finding]:
        """Look through a node inside the class `around`; `kinds` has the classes of the names in view."""
        if isinstance(node, ast.ClassDef):
            around, where = node.name, f"{where}.{node.name}"
            kinds = kinds | {name: kind for name, kind in _made(node, around).items() if "." in name}
        elif isinstance(node, FUNCTIONS):
            where = f"{where}.{node.name}"
            kinds = kinds | _parameters(node, around) | _made(node, around)
        for base, attribute in _assigned(node):
            if self._is_outside(kinds.get(_dotted(base), ""), attribute, around):
                place = f"{self._path}{where.replace('.', '::', 1)}"
                yield Finding("attribute", place, f"{ast.unparse(base)}.{attribute or '?'}")
        for child in ast.iter_child_nodes(node):
            yield from self._in(child, around, where, kinds)

    def _is_outside(self, kind: str, attribute: str | None, around: str) -> bool:
        if kind and (kind == around or kind not in self._ours):
            return False
        if attribute is None:  # its name is computed
            return (self._path, kind) not in self._classes
        owners = self._owners.get(attribute, set())
        return bool(owners) and not any(path == self._path and name != around for path, name in owners)


def _assigned(node: ast.AST) -> Iterator[tuple[ast.expr, str | None]]:
    """Give what a node assigns or deletes: the object, and the attribute's name, None where that is computed."""
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        yield node.value, node.attr
    elif isinstance(node, ast.Call) and len(node.args) > 1 and _dotted(node.func).rpartition(".")[2] in SETTERS:
        name = node.args[1]
        yield node.args[0], str(name.value) if isinstance(name, ast.Constant) else None


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef, around: str) -> dict[str, str]:
    arguments = function.args
    kinds = {
        each.arg: _dotted(each.annotation) for each in arguments.posonlyargs + arguments.args + arguments.kwonlyargs
    }
    own = _first_parameter(function)
    return kinds | ({own: around} if own is not None and not kinds[own] else {})


def _first_parameter(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    return next((each.arg for each in function.args.posonlyargs + function.args.args), None)


def _made(scope: ast.AST, around: str) -> dict[str, str]:
    """Return the classes of the names that calls of classes are assigned to, and of exceptions that are caught."""
    made = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.ExceptHandler) and node.name is not None:
            made[node.name] = _dotted(node.type)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            called = _dotted(node.value.func)
            kind = around if called == "cls" or called.endswith(".__new__") else called
            is_class = kind.rpartition(".")[2][:1].isupper()
            made |= {_dotted(each): kind for each in node.targets if is_class and _dotted(each)}
    return made


def _dotted(node: ast.expr | None) -> str:
    """Return a name with its dots: of ``X | None`` and of ``X[int]`` it is ``X``; empty for what tells no class."""
    match node:
        case ast.BinOp():
            return _dotted(node.left)
        case ast.Subscript():
            return _dotted(node.value)
        case ast.Name() if node.id not in ("Any", "object"):
            return node.id
        case ast.Attribute():
            return f"{_dotted(node.value)}.{node.attr}"
    return ""


if __name__ == "__main__":
    found = "".join(f"{each}\n" for each in findings())
    print(found, end="")
    if "--write" in sys.argv:
        EXCEPTIONS.write_text(found, encoding="utf-8")
