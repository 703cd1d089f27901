"""What sets the channels of a scenario apart from each other, in a few words for each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from actors.formatting import plain_number
from simulation.results.formatting import duration_text
from simulation.scenario import Scenario

_SECONDS = re.compile(r"\d+(?:\.\d+)?s")
_GROUPS = {"circuit_breaker": "breaker"}
"""What groups of settings are called; the others as they are."""

BREAKER = "circuit_breaker"


def set_apart(scenario: Scenario) -> dict[str, str]:
    """Return for each channel that is used those of its settings in which they differ; empty where none do.

    Only what the file sets is compared, so that defaults that differ by channel are not told.
    """
    written = {
        str(channel): scenario.channel_as_given(channel).model_dump(mode="json", by_alias=True, exclude_unset=True)
        for channel in scenario.channels_used
    }
    leaves = {channel: dict(_leaves(settings)) for channel, settings in written.items()}
    paths = list(dict.fromkeys(path for own in leaves.values() for path in own))
    differ = {path for path in paths if len({str(own.get(path)) for own in leaves.values()}) > 1}
    have = Counter(path for own in leaves.values() for path in own)
    some_off = (BREAKER, "enabled") in differ and any(own.get((BREAKER, "enabled")) is False for own in leaves.values())
    found = {}
    for channel, own in leaves.items():
        # What all have can be compared, and comes first; then what few have.
        told = sorted((path for path in own if path in differ), key=lambda path: (have[path] < len(leaves), have[path]))
        found[channel] = _text({path: own[path] for path in told}, some_off)
    return found


def _leaves(settings: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the settings by their paths; what has a kind is told by that alone, and a breaker that is off by that."""
    for key, value in settings.items():
        own = (*path, key)
        if isinstance(value, Mapping) and own == (BREAKER,) and value.get("enabled") is False:
            yield (*own, "enabled"), False
        elif isinstance(value, Mapping) and "kind" in value:
            yield own, value["kind"]
        elif isinstance(value, Mapping):
            yield from _leaves(value, own)
        else:
            yield own, value


def _text(own: Mapping[tuple[str, ...], Any], some_off: bool) -> str:
    groups: dict[str, list[str]] = {}
    for path, value in own.items():
        if path == (BREAKER, "enabled"):
            continue
        words = " ".join(path[1:]).replace("_", " ") if len(path) > 1 else ""
        groups.setdefault(path[0], []).append(f"{words} {_value(path[-1], value)}".strip())
    found = []
    if own.get((BREAKER, "enabled")) is False:
        found.append("no breaker")
    elif some_off and BREAKER not in groups:
        found.append("breaker")
    for group, settings in groups.items():
        name = _GROUPS.get(group, group.replace("_", " "))
        found.append(f"{name}: {', '.join(settings)}" if name else ", ".join(settings))
    return "; ".join(found)


def _value(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float) and 0 < value < 1 and ("rate" in key or "share" in key):
        return f"{100 * value:.3g}%"
    if isinstance(value, (int, float)):
        return plain_number(value)
    if isinstance(value, str) and _SECONDS.fullmatch(value):
        return duration_text(float(value[:-1]))
    return str(value)
