"""The tokens that people and programs show to the service, and what each may do."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import ClassVar

from pydantic import ConfigDict

from actors.settings.base import Settings
from actors.settings.quantities import Text
from actors.settings.secret import Secret


class Role(StrEnum):
    """The rights of a token's bearer."""

    INGEST = "ingest"
    """Hand in events and notifications; see nothing."""

    READER = "reader"
    """See everything, change nothing."""

    OPERATOR = "operator"
    """All rights of the others; besides, to redrive and discard dead letters, and to override breakers."""


class Token(Secret):
    """The text after ``Authorization: Bearer`` (RFC 6750, section 2.1): at least 16 characters allowed in a header."""

    __slots__ = ()

    wanted_text: ClassVar[str] = "a token of at least 16 letters, digits or -._~+/="

    @classmethod
    def _is_well_formed(cls, text: str) -> bool:
        return re.fullmatch(r"[A-Za-z0-9._~+/-]{16,}=*", text) is not None


class TokenConfig(Settings):
    """One token. Its name stands for its bearer in logs and in the audit trail."""

    model_config = ConfigDict(hide_input_in_errors=True)

    wanted_text: ClassVar[str] = "a token such as {name: shop, role: ingest, secret: {env: SHOP_TOKEN}}"
    name: Text
    """The bearer. Several tokens may have one name, such as the old and the new token during a replacement."""
    role: Role
    """The rights of the bearer."""
    secret: Token
    """The token itself, or its place: {env: NAME} or {file: path}."""
