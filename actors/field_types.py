"""Checks that the fields of a message hold values of their types, and names the wanted types in plain English."""

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
    """Check that each field of a message holds a value of its type.

    msgspec checks types only when it decodes, not when a message is made: a wrong value would be written, and could not
    be read again. The error contains no values, since it may be logged.

    Args:
        message: the new message.
        but: fields that are not checked.

    Raises:
        TypeError: fields hold a wrong type; the text names all of them.
    """
    if not but and _holds_its_types(message):
        return
    problems = []
    for name, kind in _fields(type(message)):
        value = getattr(message, name)
        try:
            if name not in but:
                msgspec.convert(value, kind, builtin_types=_BUILTIN)
        except msgspec.ValidationError as error:
            problems.append(f"{name}: {_wanted(str(error), value)}")
    if problems:
        raise TypeError(f"{type(message).__name__}: {'; '.join(problems)}")


def in_words(kind: str) -> str:
    """Return a type's name in msgspec in plain English."""
    return " or ".join(dict.fromkeys(_WORDS.get(part, part) for part in kind.split(" | ")))


_BUILTIN = (datetime, Decimal)


def _holds_its_types(message: msgspec.Struct) -> bool:
    try:
        msgspec.convert(message, _plain_struct(type(message)), builtin_types=_BUILTIN, from_attributes=True)
    except msgspec.ValidationError:
        return False
    return True


@cache
def _fields(kind: type[msgspec.Struct]) -> list[tuple[str, Any]]:
    return [(field.name, field.type) for field in msgspec.structs.fields(kind)]


@cache
def _plain_struct(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return a type with the fields of a message; msgspec checks them as it converts a message to that type. It
    analyses the type once, but the type of a single field each time."""
    return msgspec.defstruct(kind.__name__, _fields(kind), gc=False)


@cache
def quantities(kind: type[msgspec.Struct]) -> list[str]:
    """Return the fields of such a message that may hold a number."""
    return [name for name, of_field in _fields(kind) if of_field not in (str, datetime)]


def _wanted(complaint: str, value: Any) -> str:
    wrong = re.fullmatch(r"Expected `([^`]+)`, got `[^`]+`", complaint)
    if wrong is None:
        return f"an item in it has the wrong type: {complaint}"
    kind = in_words(wrong[1]).replace("null", "None").replace("an object", "a mapping")
    return f"wanted {kind}, got {type(value).__name__}"
