"""Where the tasks of Celery stand in Python files: functions with a decorator, classes, and their base classes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from actors.errors import ConfigurationError
from simulation.importing.draft import Head, Setting, written
from simulation.importing.python_names import Bound, Function, Module, dotted, name_of, parsed, walked
from simulation.importing.python_source import Program
from simulation.importing.source import SourceFile

_CELERY = re.compile(r"^[ \t]*(?:from|import)[ \t]+[\w.]*celery", re.MULTILINE | re.IGNORECASE)
_OTHERS = re.compile(
    r"^[ \t]*(?:from|import)[ \t]+(?:procrastinate|huey|taskiq|dramatiq|prefect|airflow|invoke|arq|rq|luigi|locust)\b",
    re.MULTILINE,
)
_TASK = re.compile(r"^[ \t]*@[\w.]*(?:\btask|shared_task)\b|\bTask\b|\.Task\)", re.MULTILINE)
_APP = re.compile(r"^(\w+)[ \t]*(?::[^=\n]+)?=[ \t]*(?:celery\.)?Celery\(", re.MULTILINE)
_IMPORT = re.compile(r"^from[ \t]+([\w.]+)[ \t]+import[ \t]+\(?([\w, \t]+|[^()]+(?=\)))", re.MULTILINE)
_ONLY_CELERYS = re.compile(
    r"^[ \t]*@[\w.]+\.task\([^@]*?\b(?:autoretry_for|retry_backoff|default_retry_delay|acks_late)[ \t]*=", re.MULTILINE
)

_DECORATORS = frozenset(
    f"celery.{name}"
    for name in ("shared_task", "app.shared_task", "task", "task.task", "decorators.task", "task.periodic_task")
)
_OF_APP = re.compile(r"\.(?:\w*app|celery)\.Task$", re.IGNORECASE)
"""The class of an app's tasks: ``app.Task``."""
_BASES = frozenset(("celery.Task", "celery.app.task.Task", "celery.task.Task", "celery.task.base.Task"))


def has_tasks(file: SourceFile) -> bool:
    if file.suffix != ".py":
        return False
    if _CELERY.search(file.text) is not None:
        return _TASK.search(file.text) is not None or _APP.search(file.text) is not None
    return _OTHERS.search(file.text) is None and _ONLY_CELERYS.search(file.text) is not None


def of_apps(files: Sequence[SourceFile], others: Sequence[SourceFile]) -> list[SourceFile]:
    """Return the other files whose tasks belong to an app of Celery that is imported from one of all these files.

    One that is no Python is left out.
    """
    apps = {(name_of(each)[0].rpartition(".")[2], app) for each in (*files, *others) for app in _APP.findall(each.text)}
    found = []
    for file in others if apps else ():
        imports = _IMPORT.findall(file.text) if "import" in file.text and ".task" in file.text else []
        named = {
            (source.rpartition(".")[2], name.partition(" as ")[0].strip(), name.rpartition(" as ")[2].strip())
            for source, names in imports
            for name in names.split(",")
        }
        if any((source, app) in apps and f"@{local}.task" in file.text for source, app, local in named):
            with suppress(ConfigurationError):
                parsed(file)
                found.append(file)
    return found


@dataclass(eq=False, slots=True)
class Task:
    """A task: its settings by name, its decorator's before its classes', and its code."""

    name: str
    module: Module
    line: int
    head: str
    """The decorator or the class as it is written."""

    settings: dict[str, Setting]
    own: frozenset[str]
    """The names of settings that stand in the decorator."""

    bodies: list[tuple[Module, Function]]
    is_bound: bool
    calls_itself: str
    """The name under which its code has the task."""

    base: Bound | None = None
    unknown_base: str = ""
    unknown_names: list[Setting] = field(default_factory=list)


def tasks_in(program: Program) -> Iterator[Task]:
    app_base = _base_of_apps(program)
    names: set[str] = set()
    for module in program.modules:
        inside: dict[ast.AST, str] = {}
        for node in walked(module.tree):
            if isinstance(node, ast.ClassDef):
                inside |= dict.fromkeys(node.body, f"{node.name}.")
        nodes = [node for node in walked(module.tree) if isinstance(node, (ast.ClassDef, *_FUNCTIONS))]
        for node in sorted(nodes, key=lambda each: each.lineno):
            if isinstance(node, ast.ClassDef):
                task = _of_class(node, module, program)
            else:
                task = _of_function(node, module, program, app_base, inside.get(node, ""))
            if task is None:
                continue
            if task.name in names:
                task.name += f":{task.line}"
            names.add(task.name)
            yield task


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _of_function(node: Function, module: Module, program: Program, app_base: Bound | None, inside: str) -> Task | None:
    for decorator in node.decorator_list:
        keywords = _decorated(decorator, module, program)
        if keywords is None:
            continue
        settings, unknown = _keywords(keywords, module, program)
        base, unknown_base = app_base, ""
        if "base" in settings:
            name = dotted(settings["base"].node)
            found = None if name is None else program.resolve(name, module)
            base = found if isinstance(found, Bound) else None
            is_celerys = not isinstance(found, Bound) and found is not None and found.name in _BASES
            unknown_base = "" if base or is_celerys else settings["base"].text.partition("=")[2]
        bound = settings.get("bind")
        args = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
        is_bound = bound is not None and isinstance(bound.node, ast.Constant) and bound.node.value is True
        return Task(
            _name_of(settings, f"{inside}{node.name}", module),
            module,
            decorator.lineno,
            f"@{ast.unparse(decorator).partition('(')[0]}",
            _of_classes(base, program) | settings,
            frozenset(settings),
            [(module, node), *_methods(base, program)],
            is_bound,
            args[0] if is_bound and args else "",
            base,
            unknown_base,
            unknown,
        )
    return None


def _of_class(node: ast.ClassDef, module: Module, program: Program) -> Task | None:
    bound = Bound(module, node, f"{module.name}.{node.name}")
    bases = list(program.bases(bound))
    is_run = any(isinstance(each, _FUNCTIONS) and each.name == "run" for each in node.body)
    is_celerys = any(base in _BASES or _OF_APP.search(base) for base in bases)
    unknown = [base for base in bases if base.endswith("Task") and not _OTHERS.search(f"import {base}")]
    if not is_run or not (is_celerys or unknown):
        return None
    settings = _of_classes(bound, program)
    return Task(
        _name_of(settings, node.name, module),
        module,
        node.lineno,
        f"class {node.name}",
        settings,
        frozenset(),
        list(_methods(bound, program)),
        True,
        "self",
        bound,
        "" if is_celerys else unknown[0],
    )


def _decorated(decorator: ast.expr, module: Module, program: Program) -> list[ast.keyword] | None:
    """Return the keywords of a decorator that makes a task; None if it is another one."""
    call = decorator if isinstance(decorator, ast.Call) else None
    function = decorator if call is None else call.func
    keywords = [] if call is None else list(call.keywords)
    name = dotted(function)
    if name is None:
        return None
    found = program.resolve(name, module)
    if isinstance(found, Bound) and isinstance(found.node, ast.Call):
        of = found.node
        if program.qualified(of.func, found.module).endswith("partial") and of.args and found.module is module:
            inner = _decorated(of.args[0], found.module, program)
            return None if inner is None else [*of.keywords, *keywords]
    qualified = found.name if found is not None else name
    if qualified in _DECORATORS or qualified.endswith(".shared_task"):
        return keywords
    owner, _, last = name.rpartition(".")
    if last != "task" or not owner or _OTHERS.search(f"import {qualified}"):
        return None
    app = program.resolve(owner, module)
    if isinstance(app, Bound) and isinstance(app.node, ast.Call):
        made_of = program.qualified(app.node.func, app.module)
        return None if _OTHERS.search(f"import {made_of}") else keywords
    return keywords


def _keywords(
    keywords: list[ast.keyword], module: Module, program: Program
) -> tuple[dict[str, Setting], list[Setting]]:
    """Return settings by their names, ``**DEFAULTS`` included, and the arguments that could not be resolved."""
    found: dict[str, Setting] = {}
    unknown: list[Setting] = []
    for keyword in keywords:
        if keyword.arg is not None:
            found[keyword.arg] = Setting(keyword.arg, keyword.value, module)
            continue
        entries = entries_of(keyword.value, module, program)
        if entries is None:
            unknown.append(Head(f"**{written(keyword.value)}", keyword.value, module))
        else:
            found |= entries
    return found, unknown


def entries_of(node: ast.AST, module: Module, program: Program) -> dict[str, Setting] | None:
    """Return the entries of a dict of the files as settings; None if it is not said there."""
    entries = program.entries(node, module)
    return None if entries is None else {name: Setting(name, *place) for name, place in entries.items()}


def _of_classes(base: Bound | None, program: Program) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for each in program.classes(base) if base is not None else ():
        assert isinstance(each.node, ast.ClassDef)
        for statement in each.node.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found.setdefault(name, Setting(name, value, each.module))
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    found.setdefault(name, Setting(name, value, each.module))
                case _:
                    pass
    return found


def _methods(base: Bound | None, program: Program) -> Iterator[tuple[Module, Function]]:
    for each in program.classes(base) if base is not None else ():
        assert isinstance(each.node, ast.ClassDef)
        yield from ((each.module, node) for node in each.node.body if isinstance(node, _FUNCTIONS))


def _base_of_apps(program: Program) -> Bound | None:
    found = []
    for module in program.having("task_cls"):
        for node in walked(module.tree):
            if isinstance(node, ast.Call) and program.qualified(node.func, module) in (
                "celery.Celery",
                "celery.app.Celery",
            ):
                for keyword in node.keywords:
                    if keyword.arg == "task_cls":
                        value = keyword.value
                        name = dotted(value)
                        if isinstance(value, ast.Constant) and isinstance(value.value, str):
                            owner, _, last = value.value.replace(":", ".").rpartition(".")
                            other = program.module_of(owner)
                            found.append(None if other is None else program.resolve(last, other))
                        else:
                            found.append(None if name is None else program.resolve(name, module))
    return found[0] if len(found) == 1 and isinstance(found[0], Bound) else None


def _name_of(settings: Mapping[str, Setting], function: str, module: Module) -> str:
    given = settings.get("name")
    if given is not None and isinstance(given.node, ast.Constant) and isinstance(given.node.value, str):
        return given.node.value
    return ".".join([*module.name.split(".")[-2:], function])
