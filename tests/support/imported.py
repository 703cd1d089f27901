"""Policies that readers find in texts, and the starts of attempts that their channels give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

from actors.channel_names import channel_named
from simulation.experiments.explaining import schedule as explained
from simulation.experiments.explaining.schedule import retries_of, schedules
from simulation.importing.policy import Mark, Policy
from simulation.importing.source import KINDS, Given, SourceFile
from simulation.scenario import parse


def read(
    kind: str,
    *texts: str,
    names: Sequence[str] = (),
    given: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
    profiles: Sequence[str] = (),
    others: Mapping[str, str] | None = None,
) -> dict[str, Policy]:
    """Return the policies of texts by name; `names` are those of the files, `others` texts beside them by name."""
    files = [SourceFile(names[place] if names else f"file{place}.yaml", text) for place, text in enumerate(texts)]
    beside = [SourceFile(*each) for each in (others or {}).items()]
    found = KINDS[kind].read(files, Given(given or {}, versions or {}, profiles, beside))
    return {policy.name: policy for policy in found}


def one(kind: str, *texts: str, **arguments: Any) -> Policy:
    (policy,) = read(kind, *texts, **arguments).values()
    return policy


def marks(policy: Policy) -> dict[str, tuple[int, Mark]]:
    """Return the line and the mark of each setting by the key before its colon."""
    return {each.text.split(":")[0]: (each.line, each.mark) for each in policy.findings}


def reason(policy: Policy, key: str) -> str:
    return "; ".join(each.reason for each in policy.findings if each.text.split(":")[0] == key)


def starts(policy: Policy | Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the earliest and the latest start of each attempt of a call that always fails at once, in seconds.

    Of the failures without a rule of their own; the scenario is read as from a file, so that the channel is checked.
    """
    channel = policy.channel if isinstance(policy, Policy) else policy
    assert channel is not None
    retry = {"retry_after": "ignore", **channel.get("retry", {})}
    whole = {"kind": "call", "timeout": "1d", "circuit_breaker": {"enabled": False}, **channel, "retry": retry}
    scenario = {
        "duration": "1m",
        "workload": [{"channel": "x", "arrivals": {"constant": "1/s"}}],
        "channels": {"x": whole},
    }
    name = channel_named("x")
    assert name is not None
    config = parse(json.dumps(scenario)).channels.of(name)
    with mock.patch.object(explained, "DRAWS", 10):  # medians are not looked at
        schedule = schedules(retries_of(config), shown=60)[0]
    return [(each.start.shortest, each.start.longest) for each in schedule.attempts]
