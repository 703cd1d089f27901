"""The settings of a policy alone: given as arguments, or as a scenario has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from actors.errors import ConfigurationError
from actors.settings.base import Settings, validated

M = TypeVar("M", bound=Settings)


def given_settings(model: type[M], config: M | Mapping[str, Any] | None, arguments: Mapping[str, Any]) -> M:
    """Return the settings that `config` or the arguments say; an argument that is None is not given. Raise
    ConfigurationError, with all problems, where a setting cannot be, or both are given."""
    given = {key: value for key, value in arguments.items() if value is not None}
    if config is None:
        return validated(model, given)
    if given:
        raise ConfigurationError([f"wanted {' and '.join(given)} or config, got both"])
    if not isinstance(config, (model, Mapping)):
        raise ConfigurationError([f"config: wanted a {model.__name__} or a mapping, got {config!r}"])
    return validated(model, config)
