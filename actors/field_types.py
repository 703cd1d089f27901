"""The types of what people put into messages: told where the mistake is made, and not when a store reads it back."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec

_WORDS = {
    "str": "text", "int": "a number", "float": "a number", "decimal": "a number", "bool": "true or false",
    "object": "an object", "array": "a list", "datetime": "a time",
}  # fmt: skip


def check_types(message: msgspec.Struct, *, but: Collection[str] = ()) -> None:
    """See to it that the fields of a message hold what they say.

    msgspec looks at types where it decodes, and not where a message is made: what is wrong would be written, and not
    read again. No value is in what is said, since that may be logged.

    Args:
        message: what has been made.
        but: fields that are not looked at.

    Raises:
        TypeError: one does not; all such fields.
    """
    problems = []
    for name, kind in _fields(type(message)):
        value = getattr(message, name)
        try:
            if name not in but:
                msgspec.convert(value, kind, builtin_types=(datetime, Decimal))
        except msgspec.ValidationError as error:
            problems.append(f"{name}: {_wanted(str(error), value)}")
    if problems:
        raise TypeError(f"{type(message).__name__}: {'; '.join(problems)}")


def in_words(kind: str) -> str:
    """Return what msgspec calls a type, as people say it."""
    return " or ".join(dict.fromkeys(_WORDS.get(part, part) for part in kind.split(" | ")))


@cache
def _fields(kind: type[msgspec.Struct]) -> list[tuple[str, Any]]:
    return [(field.name, field.type) for field in msgspec.structs.fields(kind)]


def _wanted(complaint: str, value: Any) -> str:
    wrong = re.fullmatch(r"Expected `([^`]+)`, got `[^`]+`", complaint)
    if wrong is None:
        return f"there is something in it that does not fit: {complaint}"
    kind = in_words(wrong[1]).replace("null", "None").replace("an object", "a mapping")
    return f"wanted {kind}, got {type(value).__name__}"
