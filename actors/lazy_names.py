"""The public names of a package, which its stub ``__init__.pyi`` declares: each is imported when it is first asked for.

Type checkers read the stub too. A public name must differ from the modules of its package, unless the stub means the
module itself: an import puts the module in the place of the name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def homes(package: str) -> dict[str, str]:
    """Return the module of each public name; ``from package import module`` has the package as its own.

    A stub holds nothing but ``from … import … as …``, so it is split: a syntax tree would take half as long again as
    the whole import of the package.
    """
    spec: Any = sys.modules[package].__spec__
    stub = spec.loader.get_data(f"{spec.origin.removesuffix('.py')}.pyi").decode()
    found: dict[str, str] = {}
    for statement in stub.split("from ")[1:]:
        module, _, names = statement.partition(" import ")
        found |= {name.partition(" as ")[0].strip(" (\n"): module for name in names.strip(" ,)\n").split(",")}
    return found


def lazy_names(package: str) -> tuple[Callable[[str], Any], list[str]]:
    home_of = homes(package)

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = home_of[name]
        if home != package and hasattr(module := importlib.import_module(home), name):
            return getattr(module, name)
        return importlib.import_module(f"{home}.{name}")

    return get, sorted(home_of)
