"""The tables in the docstrings of transports, row by row, and the codes that they and the tests of them name."""

import inspect
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

_EXCEPTED = re.compile(r"``?[^`]*``?|\b(?:but(?: for)?|without) \w+")
"""What a row names and is not about."""

_CODE = re.compile(r"\b(?:\d\.\d\.\d+|\d{3}|\d{5}|[A-Z]+_[A-Z_]+|[A-Z]{8,}|[a-z]+_[a-z]+)\b")
_CLASS = re.compile(r"\b([2-5])(?:xx|yz)\b")


class Row(NamedTuple):
    """What is said to a request, and its outcome."""

    answer: str
    outcome: str

    @property
    def kind(self) -> str:
        """The name of the outcome's class, or of the first of several; empty where it is another's."""
        found = re.match(r"[A-Z]\w+", self.outcome)
        return found[0] if found else ""

    def codes(self) -> set[str]:
        """Return the statuses, the codes and the names of errors in it; of ``4xx`` the first digit."""
        text = _EXCEPTED.sub("", self.answer)
        return (set(_CODE.findall(text)) | set(_CLASS.findall(text))) - {"STARTTLS"}  # which is a command

    def untested(self, tests: list[Callable[..., Any]]) -> set[str]:
        """Return its codes that are in no case of these tests with its outcome, nor in the text of one."""
        cases = [repr(case) for test in tests for case in _cases(test)]
        cases = [case for case in cases if self.kind in case and ("throttled=True" in case) == self._is_throttled]
        found = {code for case in cases for code in _CODE.findall(case)}
        found |= {code for test in tests for code in _CODE.findall(inspect.getsource(test))}
        return {code for code in self.codes() if not any(_is_of(each, code) for each in found)}

    @property
    def _is_throttled(self) -> bool:
        return "throttled" in self.outcome


def _is_of(found: str, code: str) -> bool:
    return found == code or (len(code) == 1 and re.fullmatch(code + r"\d\d", found) is not None)


def _cases(test: Callable[..., Any]) -> Iterator[Any]:
    for mark in getattr(test, "pytestmark", ()):
        if mark.name == "parametrize":
            yield from mark.args[1]


def rows_in_table(module: ModuleType) -> list[Row]:
    """Return the rows of the first table in a module's docstring. A row begins where an outcome does."""
    text = module.__doc__ or ""
    rule = re.search(r"^(=+) (=+) =+$", text, re.MULTILINE)
    assert rule is not None
    first, second = len(rule[1]), rule.end(2) - rule.start()
    _, _, lines = text[rule.end() :].partition(f"{rule[0]}\n")
    rows: list[Row] = []
    for line in lines[: lines.index(rule[0])].splitlines():
        answer, outcome = line[:first].strip(), line[first:second].strip()
        if answer and outcome and not (rows and rows[-1].outcome.endswith(",")):
            rows.append(Row(answer, outcome))
        else:
            before = rows.pop()
            rows.append(Row(f"{before.answer} {answer}".strip(), f"{before.outcome} {outcome}".strip()))
    return rows
