"""Settings of which `kind` says what the other keys are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationInfo, WrapValidator

from actors.settings.base import Settings, at_key
from actors.settings.quantities import wanted


def by_kind(kinds: Mapping[str, type[Settings]], default: str) -> WrapValidator:
    """Return the validator that takes a mapping as the one of `kinds` that it names, or else as the default one.

    So the problems of a mapping are those of one model alone, and not of all that it could have been.
    """

    def read(value: Any, _handler: Any, info: ValidationInfo) -> Any:
        if isinstance(value, tuple(kinds.values())):
            return value
        if not isinstance(value, dict):
            raise wanted("a mapping")
        kind = value.get("kind", default)
        if not isinstance(kind, str) or kind not in kinds:
            raise at_key("kind", wanted("one of " + ", ".join(kinds)), kind)
        return kinds[kind].model_validate(value, context=info.context)

    return WrapValidator(read)
