"""The text above the panels: name, description, whether the run is as expected, its main metrics, and
what sets its channels apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from actors.formatting import plain_number
from simulation.reporting.expectations import ExpectationResult, in_words
from simulation.reporting.plots.looks import FAILS, GREY, HOLDS, TEXT_SIZE, TITLE_SIZE, TOP, WIDTH
from simulation.reporting.plots.source import PlottedRun
from simulation.reporting.plots.text import cut, drawable, wrap
from simulation.results.formatting import duration_text, quantile_text
from simulation.scenario import Scenario

INDENT = 0.3
ROOM = WIDTH - 2 * INDENT
LINE = 0.185
NAME_LINES_MAX, DESCRIPTION_LINES_MAX, FAILURES_MAX = 2, 5, 3


class Line(NamedTuple):
    text: str
    height: float = LINE
    size: float = TEXT_SIZE
    color: str = "#222222"
    weight: str = "normal"


def header(result: PlottedRun) -> list[Line]:
    scenario, summary = result.scenario, result.summary
    result_text, color = _result_text(summary["expectations"])
    return [
        *(
            Line(text, 0.3, TITLE_SIZE, weight="bold")
            for text in wrap(scenario.name, ROOM, TITLE_SIZE, NAME_LINES_MAX, "bold")
        ),
        *(Line(text, color=GREY) for text in wrap(scenario.description, ROOM, TEXT_SIZE, DESCRIPTION_LINES_MAX)),
        Line(f"{result_text}  ·  seed {summary['seed']}", LINE + 0.07, color=color, weight="bold"),
        *(Line(cut(drawable(text), ROOM, TEXT_SIZE), color=FAILS) for text in _failures(in_words(result))),
        Line(_counts(summary)),
    ]


def write_header(figure: Figure, lines: list[Line], height: float) -> None:
    bottom = height - TOP
    for line in lines:
        bottom -= line.height
        figure.text(
            INDENT / WIDTH,
            (bottom + 0.04) / height,
            line.text,
            size=line.size,
            color=line.color,
            weight=line.weight,
            va="bottom",
        )


def _failures(expectations: list[ExpectationResult]) -> list[str]:
    failed = [each for each in expectations if each.holds is False]
    lines = [f"does not hold: {each.text} — it {each.decided or each.words}" for each in failed[:FAILURES_MAX]]
    return lines if len(failed) <= FAILURES_MAX else [*lines, f"and {len(failed) - FAILURES_MAX} more"]


def _result_text(expectations: list[dict[str, Any]]) -> tuple[str, str]:
    holding = sum(expectation["holds"] is True for expectation in expectations)
    undecided = sum(expectation["holds"] is None for expectation in expectations)
    if not expectations:
        return "no expectations", GREY
    noun, verb = ("expectation", "holds") if len(expectations) == 1 else ("expectations", "hold")
    if undecided:
        mark, color = ("–", GREY) if holding + undecided == len(expectations) else ("✗", FAILS)
        return f"{mark} {holding} of {len(expectations)} {noun} {verb}, {undecided} undecided", color
    mark, color = ("✓", HOLDS) if holding == len(expectations) else ("✗", FAILS)
    return f"{mark} {holding} of {len(expectations)} {noun} {verb}", color


def _counts(summary: dict[str, Any]) -> str:
    parts = [f"{summary['offered']:,} offered", f"{summary['delivered']:,} delivered"]
    parts += [f"{refused:,} refused"] if (refused := sum(summary["refused"].values())) else []
    names = (("dead_lettered", "dead-lettered"), ("unwanted", "unwanted"), ("in_flight", "still in flight"))
    parts += [f"{summary[key]:,} {name}" for key, name in names if summary[key] or key == "dead_lettered"]
    if summary["offered"]:
        p50, p99 = (quantile_text(summary, key) for key in ("p50", "p99"))
        parts.append(f"delivery time p50 {p50}, p99 {p99}")
    return "  ·  ".join(parts)


# ── what sets channels apart ──────────────────────────────────────────────────────────────────────────────────────────


_SECONDS = re.compile(r"\d+(?:\.\d+)?s")
_GROUPS = {"circuit_breaker": "breaker"}
"""Short names of groups of settings; the others stay as they are."""

BREAKER = "circuit_breaker"


def set_apart(scenario: Scenario) -> dict[str, str]:
    """Return, for each used channel, the settings in which the channels differ; empty if there are none.

    Only settings in the file are compared, so that defaults that differ by channel are left out.
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
    """Yield the settings by their paths; a setting with a kind by that alone, and a breaker that is off as off."""
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
