"""The linter over a scenario: each channel's settings against its arrivals, and the scenario's own settings.

Rates follow from the workload, its users and their preferences, by formula. A consequence of chance, or of a fault that
is there to show something, is no finding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from actors.errors import ConfigurationError
from actors.lint.findings import Finding
from actors.settings.file import located as placed, text_of
from actors.settings.yaml_tree import Node, Place, Problem, ScalarNode, Unreadable, read
from simulation.scenario import Expectation, Scenario, overrides
from simulation.scenario.lint import channels, faults, fleets, workload
from simulation.scenario.lint.pending import pending_rules
from simulation.scenario.lint.workload import arriving, behind_limits, with_arrivals


def lint_scenario(scenario: Scenario) -> list[Finding]:
    """Return the findings about settings of a scenario that cannot have their effect, each once."""
    per_s = dict(arriving(scenario))
    found: list[Finding] = []
    for channel in scenario.channels_used:
        found += channels.channel_rules(scenario, channel, per_s)
    for rules in (
        channels.unused_rules,
        workload.expiry_findings,
        workload.window_rules,
        workload.thinking_rules,
        pending_rules,
        channels.upstream_rules,
    ):
        found += rules(scenario)
    behind = {channel: behind_limits(scenario, channel, coming) for channel, coming in per_s.items()}
    found += fleets.account_rules(scenario, behind)
    found += fleets.fleet_rules(scenario, behind)
    for rules in (
        channels.rules_of_users,
        channels.quiet_rules,
        workload.listed_time_rules,
        faults.fault_rules,
        faults.swallowing_rules,
        workload.few_for_many_rules,
        faults.operation_rules,
        faults.expectation_rules,
    ):
        found += rules(scenario)
    return list(dict.fromkeys(found))


def lint_varied(scenario: Scenario, paths: Collection[str]) -> list[str]:
    """Return which settings are varied to no effect, as nothing arrives on their channel: ``path: …``."""
    if any(path.startswith("workload") or ".fallback" in path for path in paths):
        return []
    idle = {channel.value for channel in scenario.channels.there} - {each.value for each in with_arrivals(scenario)}
    keys = {path: path.split(".") for path in paths}
    return [
        f"{path}: nothing arrives on {channel}: it has no effect"
        for path, (first, *rest) in keys.items()
        if first == "channels" and (channel := rest[0] if rest else "") in idle
    ]


def located(findings: Iterable[Finding], path: str | Path, sets: Sequence[str] = ()) -> list[str]:
    """Return findings with their places in the file of the scenario, in its order: ``file.yaml:8:7: …``.

    A setting that the file does not have, a default, stands at the nearest that is there and that it is part of.
    """
    return [str(problem) for problem, _ in places_of(findings, path, sets)]


def places_of(findings: Iterable[Finding], path: str | Path, sets: Sequence[str] = ()) -> list[tuple[Problem, Finding]]:
    """Return findings, each with its place in the file of the scenario, in its order; see :func:`located`."""
    return places_in(_tree(Path(path), sets), findings)


def places_in(root: Node, findings: Iterable[Finding]) -> list[tuple[Problem, Finding]]:
    """Return findings, each with its place in the tree of a file."""
    found = []
    for finding in findings:
        keys = [int(key) if key.isdigit() else key for key in finding.path]
        found.append((placed(root, keys, finding.text), finding))
    return sorted(found, key=lambda each: each[0].sort_key)


def expectations_at(path: str | Path, expect: Sequence[Expectation], sets: Sequence[str] = ()) -> list[Place]:
    """Return where each expectation of a scenario stands in its file."""
    root = _tree(Path(path), sets)
    return [placed(root, ("expect", *each.at), "").place for each in expect]


def _tree(path: Path, sets: Sequence[str]) -> Node:
    try:
        root = read(text_of(path), Place(str(path), 1, 1))
    except (ConfigurationError, Unreadable):  # it is another one by now, or a pipe
        root = ScalarNode(Place(str(path)), None, "")
    return overrides.apply(root, sets)[0]
