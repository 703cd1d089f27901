"""The answer to a text as it is typed: its problems with their places, or the knobs that can be turned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors.errors import ConfigurationError
from actors.instants import NS_PER_S
from actors.settings.faults import FaultConfig
from actors.settings.yaml_tree import place_in
from simulation.reporting.fault_windows import AT_THE_START, fault_label, lasting_s, windows
from simulation.scenario import Scenario, parse
from simulation.studio.knobs import groups_hit, knobs, splice_document
from simulation.studio.rendering import rendered
from simulation.studio.series import nodes_shown
from simulation.studio.splicing import CannotEdit, Path, Splices


def check(text: str, filename: str) -> dict[str, Any]:
    """Return the answer to a text, as plain data.

    With `problems` (each has `line` and `column` from 1, or 0 where there are none, and `text`) there is nothing else;
    without, the `knobs` and the `html` that shows them, the `faults` that can be dragged and the `quiet` hours, `name`,
    `channels`, the same as `searched` with the channels of faults first, and the number of `nodes`.
    """
    try:
        scenario = parse(text, filename)
        splices = Splices(text)
        found = knobs(splices, scenario)
        page = rendered("knobs.html", groups=_grouped(found, scenario))
        turned = [{key: knob[key] for key in _OF_A_KNOB} for knob in found]
        return {"problems": [], "knobs": turned, "html": page, **_drawn(splices, scenario)}
    except ConfigurationError as error:
        return {"problems": [problem_of(each, filename) for each in error.problems]}
    except CannotEdit as error:
        return {"problems": [{"line": 0, "column": 0, "text": str(error)}]}


_OF_A_KNOB = ("path", "kind", "value", "stops", "at", "splice")
"""The attributes of a knob that a page needs."""


def _grouped(found: Iterable[dict[str, Any]], scenario: Scenario) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for knob in found:
        groups.setdefault(knob["group"], []).append(knob)
    hit = groups_hit(scenario)
    return [
        {"name": name, "knobs": groups[name], "is_hit": name in hit or name.startswith("Fault")}
        for name in sorted(groups, key=lambda each: each not in hit)
    ]


def problem_of(problem: str, filename: str) -> dict[str, Any]:
    """Return a problem of a file as plain data, with its line and column apart from the text."""
    place = place_in(problem, filename)
    if place is None:
        return {"line": 0, "column": 0, "text": problem}
    return {"line": place.line, "column": place.column, "text": problem[len(f"{place}: ") :]}


def _drawn(splices: Splices, scenario: Scenario) -> dict[str, Any]:
    used, hit = scenario.channels_used, groups_hit(scenario)
    return {
        "name": scenario.name,
        "channels": [channel.value for channel in used],
        "searched": sorted((channel.value for channel in used), key=lambda each: f"Channel {each}" not in hit),
        "nodes": nodes_shown(scenario),
        "quiet": [
            {"text": each.text, "spans": each.spans}
            for each in windows(scenario, scenario.arrivals_end_ns / NS_PER_S)
            if each.quiet
        ],
        "faults": [
            {"text": fault_label(fault, used), **_band(fault, scenario, splices, ("faults", str(number)))}
            for number, fault in enumerate(scenario.faults)
        ],
    }


def _band(fault: FaultConfig, scenario: Scenario, splices: Splices, path: Path) -> dict[str, Any]:
    once = fault.injects <= AT_THE_START
    return {
        "at_s": fault.at,
        "for_s": lasting_s(fault, scenario),
        "flap": None if fault.flap is None else [fault.flap.up, fault.flap.down],
        "at": splice_document(splices, (*path, "at"))["splice"],
        "for": None if once else splice_document(splices, (*path, "for"))["splice"],
    }
