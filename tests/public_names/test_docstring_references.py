"""What a docstring refers to with a role, such as ``:func:`simulation.save```, is there."""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROLE = re.compile(r":(?:mod|func|meth|class|data|attr|exc):`~?([\w.]+)`")
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text(encoding="utf-8")
    for package in ("actors", "simulation")
    for path in sorted((ROOT / package).glob("**/*.py"))
}
CLASSES: dict[str, list[str]] = defaultdict(list)
"""The modules that define a class of this name."""
for module, text in SOURCES.items():
    for name in re.findall(r"^class (\w+)", text, re.MULTILINE):
        CLASSES[name].append(module)


def is_there(path: str) -> bool:
    """Tell whether an absolute path leads to a module, or to something in one."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            if part in getattr(found, "__annotations__", {}) or part in getattr(found, "model_fields", {}):
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("package", ["actors", "simulation"])
def test_what_docstrings_refer_to_is_there(package: str) -> None:
    missing = []
    for module, text in SOURCES.items():
        if module.partition(".")[0] != package:
            continue
        here = [module, *(f"{module}.{node.name}" for node in ast.parse(text).body if isinstance(node, ast.ClassDef))]
        for name in dict.fromkeys(ROLE.findall(text)):
            head = name.partition(".")[0]
            places = [name, *(f"{place}.{name}" for place in here), *(f"{home}.{name}" for home in CLASSES[head])]
            if not any(map(is_there, places)):
                missing.append(f"{module}: {name}")
    assert missing == []
