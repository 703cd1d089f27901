"""Secrets among settings: passwords, tokens and keys that no log, error or dump shows.

A settings file need not hold the secret itself: ``{env: SMTP_PASSWORD}`` takes it from the environment, and
``{file: /run/secrets/smtp}`` from a file of its own, without the line break at its end; a path is relative to the
settings file.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from actors.settings.base import NOT_SHOWN
from actors.settings.quantities import wanted
from actors.settings.whole_file import read_whole

HIDDEN = "**********"

_LENGTH_MAX = 2**16
"""Bytes of a file that is to hold a secret."""


class Secret:
    """A text that only :meth:`reveal` gives away; as text, in a format string and in a dump it is asterisks."""

    __slots__ = ("_text",)

    wanted_text: ClassVar[str] = "a secret that is not empty"
    """The words for the wanted value in a problem, where something else is given."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({HIDDEN})"

    def __str__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def _is_well_formed(cls, text: str) -> bool:
        return True

    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Self:
        if isinstance(value, cls):
            return value
        place = ""
        if isinstance(value, Mapping):
            place, value = _from_elsewhere(cls.wanted_text, value, str((info.context or {}).get("directory", "")))
        if not isinstance(value, str):
            raise wanted(cls.wanted_text, NOT_SHOWN)
        if not value.strip():
            raise wanted(cls.wanted_text, f"nothing: {place} is empty" if place else "an empty text")
        got = f"another value in {place}, which is not shown" if place else NOT_SHOWN
        if not cls._is_well_formed(value):
            raise wanted(cls.wanted_text, got)
        try:
            value.encode()
        except UnicodeEncodeError:  # a byte of an environment variable that is no UTF-8, whose error would show it
            raise wanted("a secret in UTF-8", got) from None
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._read, serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        name = {"type": "string"}
        elsewhere = [
            {"type": "object", "properties": {key: name}, "required": [key], "additionalProperties": False}
            for key in ("env", "file")
        ]
        return {"anyOf": [{"type": "string", "pattern": r"\S", "writeOnly": True}, *elsewhere]}


def _from_elsewhere(what: str, source: Mapping[Any, Any], directory: str) -> tuple[str, str]:
    match dict(source):
        case {"env": str(name), **others} if not others:
            text = os.environ.get(name)
            if text is None:
                raise wanted(what, f"nothing: the environment variable {name} is not set")
            return f"the environment variable {name}", text
        case {"file": str(name), **others} if not others:
            path = Path(directory, name)
            try:
                text = read_whole(path, _LENGTH_MAX)[:_LENGTH_MAX].decode("utf-8-sig")
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "no UTF-8 text"
                reason = f"{reason[:1].lower()}{reason[1:]}"
                raise wanted(what, f"nothing: the file {path} cannot be read: {reason}") from None
            return f"the file {path}", text.removesuffix("\n").removesuffix("\r")
        case _:
            raise wanted(what, "a mapping that is neither {env: NAME} nor {file: path}")
