"""Imported policies as channels of a scenario: their names, the tree with the place of each setting, and the file; also
where a file of another library is given as a scenario, or as settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.channel_names import NotificationChannel, channel_named
from actors.errors import ConfigurationError
from actors.settings.yaml_tree import ListNode, MappingNode, Node, Place, ScalarNode
from simulation.importing.files import Imported, import_files, recognised_kinds
from simulation.importing.policy import Policy
from simulation.importing.source import Given, read_source
from simulation.scenario import Scenario
from simulation.scenario.loading import channels_in, load_channels
from simulation.scenario.writing import write

NO_TIMEOUT = "1d"
"""Stands for no limit of an attempt's time."""

NO_TIMEOUT_S = 86_400.0
"""The same time in seconds."""

_UNSAID: Mapping[str, Any] = {"circuit_breaker": {"enabled": False}, "timeout": NO_TIMEOUT}
"""The settings of a channel that its policy leaves open: libraries have none of a channel's defaults."""


def channel_names(policies: Sequence[Policy]) -> list[str]:
    """Return a channel's name for each policy: the end of its own name, as long as need be to tell it from others."""
    names: list[str] = []
    for policy in policies:
        parts = [part for part in map(_plain, re.split(r"[.:/ ]+", policy.name)) if part]
        tried = ["-".join(parts[place:]) for place in range(len(parts) - 1, -1, -1)]
        tried += [f"{policy.kind}-{name}" for name in tried] or [policy.kind]
        fine = next(filter(_is_fine, tried), policy.kind)
        tried += [fine, *(f"{fine[:50]}-{number}" for number in range(2, len(policies) + 3))]
        names.append(next(name for name in tried if name not in names and _is_fine(name)))
    return names


def _plain(part: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", part).lower()
    return re.sub(r"[^a-z0-9_-]+", "-", words).strip("-_")


def _is_fine(name: str) -> bool:
    return name not in list(NotificationChannel) and channel_named(name) is not None


def channels_of(policies: Sequence[Policy]) -> dict[str, dict[str, Any]]:
    return {
        name: _completed(policy, policy.channel)
        for name, policy in zip(channel_names(policies), policies, strict=True)
        if policy.channel is not None
    }


def _completed(policy: Policy, channel: Mapping[str, Any]) -> dict[str, Any]:
    retry = channel.get("retry", {})
    if retry.get("max_attempts") != 1:  # else no hint matters
        retry = {"retry_after": "ignore", **retry}
    elif "per_outcome" not in retry:
        said = dict(_places(policy))
        retry = {key: each for key, each in retry.items() if key == "max_attempts" or f"retry.{key}" in said}
    return {"kind": "call", **_UNSAID, **channel, "retry": retry}


def without_timeout(policies: Sequence[Policy]) -> frozenset[str]:
    """Return the names of the channels whose policy does not limit an attempt's time."""
    named = zip(channel_names(policies), policies, strict=True)
    return frozenset(name for name, policy in named if policy.channel is not None and "timeout" not in policy.channel)


def root_of(policies: Sequence[Policy]) -> MappingNode:
    """Return the tree of a file with these channels, in which each setting stands where its policy found it."""
    channels: dict[str, Node] = {}
    for name, policy in zip(channel_names(policies), policies, strict=True):
        if policy.channel is not None:
            channels[name] = _node(_completed(policy, policy.channel), "", dict(_places(policy)), place_of(policy))
    place = place_of(policies[0]) if policies else Place("import")
    return MappingNode(
        place, {"channels": MappingNode(place, channels, dict.fromkeys(channels, place))}, {"channels": place}
    )


def place_of(policy: Policy) -> Place:
    """Return where a policy stands: the first line with a finding of it."""
    return next(
        (Place(each.file, each.line, 1) for each in policy.findings if each.line),
        Place(policy.findings[0].file if policy.findings else policy.name),
    )


def _places(policy: Policy) -> Iterator[tuple[str, Place]]:
    for finding in policy.findings:
        if finding.path and finding.line:
            yield finding.path, Place(finding.file, finding.line, 1)


def _node(value: Any, path: str, places: Mapping[str, Place], around: Place) -> Node:
    place = places.get(path, around)
    if isinstance(value, Mapping):
        below = {key: f"{path}.{key}" if path else str(key) for key in value}
        return MappingNode(
            place,
            {str(key): _node(each, below[key], places, place) for key, each in value.items()},
            {str(key): places.get(below[key], place) for key in value},
        )
    if isinstance(value, (list, tuple)):
        return ListNode(place, [_node(each, path, places, place) for each in value])
    return ScalarNode(place, value, str(value))


def scenario_text(policies: Sequence[Policy], name: str, drain: str, comment: str) -> str:
    """Return the text of a scenario: a channel for each policy, a steady load on it, and an outage of five minutes."""
    channels = channels_of(policies)
    return write(
        {
            "name": name,
            "duration": "10m",
            "drain": drain,
            "workload": [{"channel": channel, "arrivals": {"constant": "1/s"}} for channel in channels],
            "channels": channels,
            "faults": [{"channel": "all", "at": "1m", "for": "5m", "outage": True}],
        },
        comment,
    )


_OURS = re.compile(r"""^["' \t{]*(?:channels|workload|duration)["']?[ \t]*:""", re.MULTILINE)
"""A key of a scenario, or of settings, at the beginning of a line."""
_SCENARIOS = (".yaml", ".yml", ".json")


def imported_from(path: str | Path, given: Given | None = None) -> Imported | None:
    """Return the policies in a file of another library, or in the files of a folder; None for any other file.

    Raises:
        ConfigurationError: it is of a library, and cannot be read.
    """
    if not isinstance(path, (str, Path)):
        return None
    path = Path(path)
    if path.is_dir():
        return import_files([path], given)
    if not path.is_file():  # a pipe can be read only once
        return None
    try:
        source = read_source(path)
    except ConfigurationError:
        return None
    is_ours = path.suffix.lower() in _SCENARIOS and _OURS.search(source.text)
    return None if is_ours or not recognised_kinds(source) else import_files([path], given)


def channels_root(imported: Imported) -> MappingNode:
    """Return the tree of a file with the channels of policies.

    Raises:
        ConfigurationError: none has settings, and what they ask for.
    """
    if any(policy.channel is not None for policy in imported.policies):
        return root_of(imported.policies)
    asked = dict.fromkeys(each.asked for policy in imported.policies for each in policy.questions)
    what = "no policy can be said" if imported.policies else "no policy"
    raise ConfigurationError(list(asked) or [f"{', '.join(imported.files)}: {what}"])


def load_foreign(path: str | Path, sets: Sequence[str] = (), given: Given | None = None) -> tuple[Scenario, bool]:
    """Return the result of :func:`simulation.scenario.loading.load_channels`; for files of other libraries, with their
    policies as channels."""
    imported = imported_from(path, given)
    return load_channels(path, sets) if imported is None else channels_in(channels_root(imported), path, sets)
