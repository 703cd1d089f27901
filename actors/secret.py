"""Secrets among settings: passwords, tokens and keys that no log, error or dump shows."""

from __future__ import annotations

import hmac
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from actors.quantities import wanted
from actors.settings import NOT_SHOWN

HIDDEN = "**********"


class Secret:
    """A text that only :meth:`reveal` gives away; as text, in a format string and in a dump it is asterisks."""

    __slots__ = ("_text",)

    wanted_text: ClassVar[str] = "a secret that is not empty"
    """What to say was wanted where something else is given."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the one place that uses it."""
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
        return bool(text.strip())

    @classmethod
    def _read(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str) or not cls._is_well_formed(value):
            raise wanted(cls.wanted_text, NOT_SHOWN)
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._read, serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": r"\S", "writeOnly": True}
