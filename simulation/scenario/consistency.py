"""What must fit together across a scenario file, checked on whatever of it can be read.

On the plain data, not on the finished model: a file with a misspelt key and a fault on an unused channel has two
problems, and both are to be said at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import PydanticCustomError

from actors.config import PRIMARY
from actors.messages import NotificationChannel
from simulation.scenario.expectations import Expectation
from simulation.scenario.model import CHANNELS_OF_EVENT
from simulation.summary_shape import summary_shape

Finding = tuple[tuple[str | int, ...], str]
"""The path of a value, and what is wrong with it."""

NOT_YET: dict[tuple[str, ...], str] = {
    ("faults", "*", "duplicate_rate"): "duplicate_rate",
    ("faults", "*", "reorder"): "reorder",
}
"""Keys that the schema has and the simulator does not act on yet, with what to call each; ``*`` is any key or index."""


def findings(scenario: Any) -> Iterator[Finding]:
    """Yield what does not fit together in the plain data of a scenario file."""
    if not isinstance(scenario, dict):
        return
    for pattern, name in NOT_YET.items():
        for path in _matches(scenario, pattern):
            yield path, f"{name} is not supported yet"
    used = _providers_used(scenario)
    if used is not None:
        yield from _elsewhere("faults", scenario.get("faults"), used)
        yield from _elsewhere("operations", scenario.get("operations"), used)
        yield from _crashes_of_nobody(scenario.get("faults"), scenario.get("channels"))
        yield from _expectations(scenario.get("expect"), used)
    yield from _fallbacks_in_a_circle(scenario.get("channels"))


def _matches(value: Any, pattern: tuple[str, ...], path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if len(path) == len(pattern):
        if value is not None:
            yield path
        return
    key = pattern[len(path)]
    children: Iterator[tuple[str | int, Any]] = iter(())
    if isinstance(value, dict):
        children = iter(value.items())
    elif isinstance(value, list):
        children = iter(enumerate(value))
    for name, child in children:
        if key in ("*", name):
            yield from _matches(child, pattern, (*path, name))


def _providers_used(scenario: dict[str, Any]) -> dict[NotificationChannel, list[str]] | None:
    """Return the channels that the file uses and each one's providers, in order.

    None when what it says of them is wrong and so nobody knows.
    """
    used: set[NotificationChannel] = set()
    workload, channels = scenario.get("workload"), scenario.get("channels", {})
    if not isinstance(workload, list) or not isinstance(channels, dict):
        return None
    for entry in workload:
        if not isinstance(entry, dict):
            return None
        event, name = entry.get("event"), entry.get("channel")
        if isinstance(event, str) and event in CHANNELS_OF_EVENT:
            used.update(CHANNELS_OF_EVENT[event])
        elif (channel := _channel(name)) is not None:
            used.add(channel)
        else:
            return None
    for name, settings in channels.items():
        if (channel := _channel(name)) is None:
            return None
        used.add(channel)
        if (fallback := _channel(_within(settings, "fallback", "channel"))) is not None:
            used.add(fallback)
    return {
        channel: [PRIMARY, *map(str, _within(channels, channel.value, "failover") or {})]
        for channel in NotificationChannel
        if channel in used
    }


def _within(value: Any, *path: str) -> Any:
    """Return what stands there in plain data; None if nothing does."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _channel(name: Any) -> NotificationChannel | None:
    return NotificationChannel(name) if isinstance(name, str) and name in set(NotificationChannel) else None


def _elsewhere(key: str, entries: Any, used: Mapping[NotificationChannel, Sequence[str]]) -> Iterator[Finding]:
    """Yield the channels and providers of faults or operations that are none of this file."""
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        named = _within(entry, "channel")
        provider = _within(entry, "provider")
        for place, name in enumerate(named) if isinstance(named, list) else [(None, named)]:
            channel = _channel(name)
            if channel is not None and channel not in used:
                path: tuple[str | int, ...] = (key, index, "channel")
                text = f"wanted a channel that this file uses ({', '.join(used)}), got {name!r}"
                yield (path if place is None else (*path, place)), text
            elif channel is not None and isinstance(provider, str) and provider not in used[channel]:
                text = f"wanted a provider of {channel} ({', '.join(used[channel])}), got {provider!r}"
                yield (key, index, "provider"), text


def _crashes_of_nobody(faults: Any, channels: Any) -> Iterator[Finding]:
    for index, fault in enumerate(faults if isinstance(faults, list) else ()):
        if _within(fault, "crash", "actor") != "limiter":
            continue
        named = _within(fault, "channel")
        hit = list(NotificationChannel) if named == "all" else named if isinstance(named, list) else [named]
        if all(isinstance(name, str) and _within(channels, name, "rate_limit") is None for name in hit):
            text = f"wanted an actor that there is: without a rate_limit no limiter on {', '.join(hit)}"
            yield ("faults", index, "crash", "actor"), text


def _fallbacks_in_a_circle(channels: Any) -> Iterator[Finding]:
    for start in channels if isinstance(channels, dict) else ():
        way = [start]
        while (following := _within(channels, way[-1], "fallback", "channel")) not in (None, *way):
            way.append(following)
        if following == start:
            circle = " to ".join([*way, start])
            yield ("channels", start, "fallback", "channel"), f"wanted fallbacks that end somewhere, got {circle}"


def _expectations(expect: Any, used: Mapping[NotificationChannel, Sequence[str]]) -> Iterator[Finding]:
    shape = summary_shape(used)
    for index, text in enumerate(expect if isinstance(expect, list) else ()):
        try:
            problem = Expectation.parse(text).problem(shape)
        except PydanticCustomError:
            continue  # the model says so
        if problem is not None:
            yield ("expect", index), problem
