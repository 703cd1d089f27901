"""The settings that are broken, as a scenario file has them: ``channels.email.circuit_breaker.timeout = 60s``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from actors.instants import NS_PER_S
from actors.messages import NotificationChannel
from actors.settings.channel import PRIMARY
from actors.settings.quantities import write_duration

if TYPE_CHECKING:
    from simulation.verification.laws.base import Context

Place = tuple[NotificationChannel, str]


def named(context: Context, paths: Iterable[str], place: Place | None) -> list[str]:
    """Return settings with their paths and values; those that are not set are left out.

    Args:
        context: what the run is made of.
        paths: of a channel, such as ``circuit_breaker.timeout``; or of the whole, such as ``dead_letters.keep``.
        place: whose settings are meant; None where no channel's are.
    """
    return list(_named(context, paths, place))


def _named(context: Context, paths: Iterable[str], place: Place | None) -> Iterator[str]:
    whole: dict[str, Any] = {
        "max_pending": context.max_pending,
        "remember_ids": write_duration(context.remember_ids_ns / NS_PER_S),
        **{f"dead_letters.{key}": value for key, value in context.dead_letters.model_dump(mode="json").items()},
    }
    for path in paths:
        if path in whole:
            prefix, value = "", whole[path]
        elif place is not None and place in context.providers:
            prefix, value = f"channels.{place[0]}.", _value(context.providers[place], path)
            provider = context.channels[place[0]].failover.get(place[1])
            if provider is not None and path.partition(".")[0] in provider.model_fields_set:
                prefix += f"failover.{place[1]}."
        else:
            continue
        if value is not None:
            yield f"{prefix}{path} = {_written(value)}"


def place_of(event: Any, context: Context) -> Place | None:
    """Return the channel and provider that something that happened is about; None: no certain one."""
    breakers = {name: place for place, name in context.breaker_names.items()}
    if (name := getattr(event, "breaker", None)) is not None:
        return breakers.get(name)
    message = getattr(event, "message", None)
    for about in (event, message, getattr(message, "request", None)):
        attempt = getattr(about, "attempt", None)
        command = getattr(attempt, "command", None) or getattr(about, "command", None)
        channel = getattr(about, "channel", None) or getattr(command, "channel", None)
        if channel is not None:
            return channel, getattr(about, "provider", None) or PRIMARY
    return None


def _value(config: BaseModel, path: str) -> Any:
    """Return a setting as a file has it; a group without what it has by default."""
    *groups, name = path.split(".")
    for group in groups:
        config = getattr(config, group)
        if config is None:
            return None
    value = getattr(config, name)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    return config.model_dump(mode="json", include={name}, by_alias=False).get(name)


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(each)}" for key, each in value.items() if each is not None) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)
