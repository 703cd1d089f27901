"""What the tables in the docstrings of transports name, so that each answer of a table is known to be tested."""

from __future__ import annotations

import re
from types import ModuleType

WORD = re.compile(r"\b(?:\d{3}|\d{5}|[A-Z]+_[A-Z_]+|[A-Z]{8,}|[a-z]+_[a-z]+)\b")
"""A status, a code, or the name of an error."""


def words_of(*texts: object) -> set[str]:
    """Return the statuses, codes and names of errors in these."""
    return {word for text in texts for word in WORD.findall(str(text))}


def answers_in_table(module: ModuleType) -> set[str]:
    """Return the statuses, codes and names of errors in the first column of the table in a module's docstring."""
    text = module.__doc__ or ""
    rule = re.search(r"^(=+) =+ =+$", text, re.MULTILINE)
    assert rule is not None
    table = text[rule.start() : text.rindex("\n" + rule[0])]
    column = " ".join(line[: len(rule[1])] for line in table.splitlines())
    return words_of(column)
