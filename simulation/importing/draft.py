"""A policy while its settings in a Python file are read."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

from actors.settings.yaml_tree import printable
from simulation.importing.policy import Line, Mark, Policy, PolicyDraft, Said
from simulation.importing.python_names import Module
from simulation.importing.python_source import Program, given_value
from simulation.importing.python_values import Called, Combined, Symbol, Undecided, seconds

T = TypeVar("T")

TEXT_MAX = 200
UNREAD = object()
"""Stands for a value that is asked for."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as a file has it: an argument, or an attribute of a class."""

    name: str
    node: ast.AST
    module: Module
    local: Mapping[str, Any] = field(default_factory=dict)

    assumed = ""

    @property
    def file(self) -> str:
        return self.module.file.name

    @property
    def line(self) -> int:
        return getattr(self.node, "lineno", 0)

    @property
    def text(self) -> str:
        """The setting as it is written, without line breaks."""
        return f"{self.name}={written(self.node)}"[:TEXT_MAX]


class Head(Setting):
    """The decorator, class or call to which settings belong, as it is written: its name."""

    @property
    def text(self) -> str:
        return self.name[:TEXT_MAX]


def written(node: ast.AST) -> str:
    """Return an expression in a line, as Python itself would write it."""
    try:
        return ast.unparse(node)
    except (RecursionError, ValueError):
        return "…"


class Draft(PolicyDraft):
    def __init__(self, name: str, kind: str, program: Program, file: str = "") -> None:
        super().__init__(name, kind, file, [file])
        self.program = program

    def say(self, of: Said, mark: Mark, reason: str = "", path: str = "") -> None:
        assumed = dict.fromkeys(self.program.assumed or ()) if of.line else ()
        super().say(Line(of.file, of.line, of.text, "; ".join(assumed)), mark, reason, path)

    def read(
        self, setting: Setting, wanted: str, fitting: Callable[[Any], T | None], path: str = "", *, decides: bool = True
    ) -> T | Any:
        """Return a setting's value as `fitting` converts it, or UNREAD: then it is an open question, or refused.

        Args:
            setting: the setting.
            wanted: the kind of value, in words: ``a number of seconds``.
            fitting: converts a value; returns None if it is of another kind.
            path: of the channel's setting, for a finding.
            decides: whether the channel cannot be written without it.
        """
        own = f"{self.name}.{setting.name}"
        try:
            if own in self.program.given.values:
                value = given_value(self.program.given.values[own])
            else:
                value = self.program.value(setting.node, setting.module, setting.local)
        except Undecided as undecided:
            return self.ask(setting, undecided.name or own, wanted, path, decides=decides)
        found = fitting(value)
        if found is not None:
            return found
        if isinstance(value, (Symbol, Called, Combined)) and (not isinstance(value, Symbol) or value.written):
            return self.ask(setting, getattr(value, "written", own), wanted, path, decides=decides)
        self.refuse(setting, f"wanted {wanted}", path)
        return UNREAD

    def ask(self, setting: Setting, name: str, wanted: str, path: str = "", *, decides: bool = True) -> Any:
        """Add a question; return UNREAD. Unless it decides nothing of the channel, that cannot be said without it."""
        self.is_open |= decides
        if name not in {each.name for each in self.questions}:
            self.ask_for(name, setting, wanted)
        self.unsaid(setting, f"is decided elsewhere: --given {printable(name)}=…", path)
        return UNREAD

    def note_of(self, is_nested: bool, module: Module, function: str) -> None:
        """Note other causes of a decorated function's attempts: another decorator, or code that sets it anew."""
        if is_nested:
            self.note("The function has another such decorator: their attempts multiply.")
        if function in _set_anew(module.file.text):
            self.note(f"Code sets stop or wait of {function} anew, which is not followed.")

    @property
    def policy(self) -> Policy:
        """The policy; it has a channel unless one of its questions decides it."""
        found = super().policy
        return found if self.is_open else replace(found, channel=self.channel)


@lru_cache(maxsize=64)
def _set_anew(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\b(\w+)\.(?:retry_with\(|retry\.(?:stop|wait)\s*=)", text))


def whole(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and value == value // 1 else None


def wait(value: Any) -> float | None:
    """Return seconds that are no less than 0; None if the value is something else."""
    found = seconds(value)
    return found if found is not None and found >= 0 else None
