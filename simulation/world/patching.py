"""Replace functions of the interpreter for the time of a block, also where modules have imported them by name."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import CodeType, FunctionType, ModuleType
from typing import Any

_MISSING = object()
_LEFT_ALONE = (
    "_pytest",
    "_queue",
    "_thread",
    "_time_machine",
    "attr",
    "concurrent",
    "coverage",
    "execnet",
    "hypothesis",
    "logging",
    "multiprocessing",
    "outcome",
    "pluggy",
    "queue",
    "random",
    "selectors",
    "signal",
    "simulation.world",
    "subprocess",
    "threading",
    "time",
    "time_machine",
    "trio",
    "uuid",
    "xdist",
)
"""Modules that keep the real functions: the interpreter's threads, trio and the tools that run tests."""

_OURS = ("actors.", "simulation.")
"""Functions of these modules stay real, such as the clock that measures a run."""

_HOPS_MAX = 4
"""From a function to the class that keeps it: a dataclass's field, its table of fields, the class's dict, the class."""


class Patches(ExitStack):
    """Replacements, taken back in reverse order at the end of the block."""

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute, or delete it again at the end where it did not exist."""
        old = vars(owner).get(name, _MISSING)
        setattr(owner, name, value)
        self.callback(_restore, owner, name, old)

    def rebind(self, replacements: list[tuple[Any, Any]]) -> None:
        """Give modules that imported an original by name its replacement."""
        by_id = {id(original): replacement for original, replacement in replacements}
        for module in _modules():
            if by_id.keys().isdisjoint(map(id, vars(module).values())) or _is_left_alone(module.__name__):
                continue
            for name, value in list(vars(module).items()):
                if id(value) in by_id:
                    self.put(module, name, by_id[id(value)])


def keepers_of(originals: Iterable[Any]) -> list[str]:
    """Name the functions, classes and modules that keep an original where :meth:`Patches.rebind` does not replace it:
    as a default argument, an attribute, in a partial. They go on calling it."""
    dicts = {id(vars(module)): module for module in _modules()}
    asked, found, seen = tuple(originals), set[str](), {id(originals)}
    for hop in range(_HOPS_MAX):
        if not asked:
            break
        keepers = gc.get_referrers(*asked)
        seen |= {id(asked), id(keepers)}
        between: list[Any] = []
        for keeper in keepers:
            if id(keeper) in seen or (hop == 0 and id(keeper) in dicts):
                continue
            seen.add(id(keeper))
            if (module := dicts.get(id(keeper))) is not None:
                found.add(module.__name__)
            elif isinstance(keeper, type | FunctionType):
                found.add(f"{keeper.__module__}.{keeper.__qualname__}")
            elif not _is_standard(type(keeper).__module__):
                found.add(f"{type(keeper).__module__}.{type(keeper).__qualname__}")
            elif not isinstance(keeper, ModuleType):
                between.append(keeper)
        asked = tuple(between)
    return sorted(name for name in found if not (_is_left_alone(name) or _is_standard(name) or name.startswith(_OURS)))


def _modules() -> list[ModuleType]:
    return [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]


def _restore(owner: Any, name: str, old: Any) -> None:
    if old is _MISSING:
        delattr(owner, name)
    else:
        setattr(owner, name, old)


def _is_left_alone(module: str) -> bool:
    return module.startswith(_LEFT_ALONE) and (
        module in _LEFT_ALONE or module.startswith(tuple(f"{name}." for name in _LEFT_ALONE))
    )


def _is_standard(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def packages_of(functions: Iterable[Any]) -> set[str]:
    """Return the packages, by their first names, that the modules of functions import, and their imports, and so on.

    An import inside a function counts, as do all names that its code has and a module of the process bears. The
    standard library, trio, the tools that run tests and this package import nobody's.
    """
    ahead = {_module_of(function) for function in functions}
    modules: set[str] = set()
    while ahead:
        modules |= ahead
        ahead = {found for name in ahead if not _imports_nobodys(name) for found in _imported_by(name)} - modules
    return {name.partition(".")[0] for name in modules}


def _module_of(function: Any) -> str:
    while hasattr(function, "func"):  # a partial
        function = function.func
    return str(getattr(function, "__module__", type(function).__module__))


def _imports_nobodys(name: str) -> bool:
    return _is_standard(name) or _is_left_alone(name) or f"{name}.".startswith(_OURS)


def _imported_by(name: str) -> Iterator[str]:
    module = sys.modules.get(name)
    for value in [] if module is None else list(vars(module).values()):
        if isinstance(value, ModuleType):
            yield value.__name__
            continue
        of_value = value if isinstance(value, type | FunctionType) else type(value)
        if isinstance(of_value.__module__, str):  # a class may have a descriptor there
            yield of_value.__module__
        for function in [value, *vars(value).values()] if isinstance(value, type) else [value]:
            if isinstance(function, FunctionType):
                yield from (each for each in _names_in(function.__code__) if each in sys.modules)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
