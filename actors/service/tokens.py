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
    """What the bearer of a token may do."""

    INGEST = "ingest"
    """Hand in events and notifications; see nothing."""

    READER = "reader"
    """See everything, change nothing."""

    OPERATOR = "operator"
    """All that the others may, and redrive, discard, and override breakers."""


class Token(Secret):
    """What is shown as ``Authorization: Bearer …`` (RFC 6750, section 2.1): at least 16 characters of a header."""

    __slots__ = ()

    wanted_text: ClassVar[str] = "a token of at least 16 letters, digits or -._~+/="

    @classmethod
    def _is_well_formed(cls, text: str) -> bool:
        return re.fullmatch(r"[A-Za-z0-9._~+/-]{16,}=*", text) is not None


class TokenConfig(Settings):
    """One token. Its bearer is called by its name in logs and in the audit trail."""

    model_config = ConfigDict(hide_input_in_errors=True)

    wanted_text: ClassVar[str] = "a token such as {name: shop, role: ingest, secret: {env: SHOP_TOKEN}}"
    name: Text
    """Who has it. Several tokens may have one name, such as the old and the new one while one is replaced."""
    role: Role
    """What it allows."""
    secret: Token
    """The token itself, or where it is: {env: NAME} or {file: path}."""
