"""The reference of the scenario language, as Markdown: a text by hand, with tables that the models fill in.

The text beside this module is the reference but for its tables. A line ``{keys: FaultConfig}`` in it stands for the
sentence and the keys of that model, and ``{metrics}`` for every metric that `expect` knows. So a key that is added,
renamed or described anew is in the reference as well, and a test reports a model that is missing there.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from actors.messages import NotificationChannel
from actors.settings.base import NotEmpty, Settings, known_keys
from actors.settings.channel import UPSTREAM_LAYERS_MAX
from actors.settings.quantities import Wanted
from simulation.scenario.expectations import Expectation, RunsExpectation, WindowExpectation
from simulation.scenario.metrics import (
    BREAKER,
    CHANNEL,
    ENDPOINTS,
    FAULT,
    MEANINGS,
    METRICS,
    NODE,
    OWN_ACTORS,
    PEAKS,
    PROVIDER,
    QUEUE,
    SHARED_BREAKER,
    UPSTREAM,
    VERSION,
    WINDOWS,
    WITHIN,
    MetricKind,
    Outline,
    Shape,
    metric_keys,
    path_of,
    summary_shape,
)
from simulation.scenario.model import Scenario
from simulation.scenario.ranges import Range
from simulation.scenario.schema import json_schema

_TEXT = Path(__file__).with_name("reference_text.md")

_MARKER = re.compile(r"^\{(?:keys: (\w+)(?:, left out: (.*))?|metrics)\}$", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_EXAMPLES = re.compile(r",? such as .*$")

_UNIT_OF = {
    MetricKind.COUNT: "a whole number",
    MetricKind.SHARE: "a share",
    MetricKind.RATIO: "a number",
    MetricKind.SECONDS: "seconds, or a duration",
    MetricKind.QUANTILE: "seconds, or a duration",
    MetricKind.MONEY: "a number",
    MetricKind.PER_SECOND: "a number a second, or a rate",
    MetricKind.PER_MINUTE: "a number a minute",
}


def reference() -> str:
    text = _TEXT.read_text(encoding="utf-8")
    places = dict(_places(text))
    schema = json_schema()

    def table(marker: re.Match[str]) -> str:
        if marker[1] is None:
            return _metrics()
        return _keys(_models()[marker[1]], schema, places, left_out=marker[2] or "none")

    return _MARKER.sub(table, text)


def models_described() -> set[str]:
    """Return the names of the models whose keys are in the reference."""
    return {marker[1] for marker in _MARKER.finditer(_TEXT.read_text(encoding="utf-8")) if marker[1]}


# ── the keys of a model ─────────────────────────────────────────────────────────────────────────────────────────


def _places(text: str) -> Iterator[tuple[str, str]]:
    """Yield each model that the reference describes, and the heading that it stands under."""
    heading = ""
    for line in text.splitlines():
        if found := _HEADING.match(line):
            heading = found[1]
        elif (marker := _MARKER.match(line)) and marker[1]:
            yield marker[1], heading


def _models() -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    todo: list[Any] = [Scenario, RunsExpectation, WindowExpectation]  # which are read into what is no model
    while todo:
        annotation = todo.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if annotation.__name__ not in found:
                found[annotation.__name__] = annotation
                annotation.model_rebuild()  # one that names a model further down is only complete when it is used
                todo += known_keys(annotation).values()
        else:
            todo += [part for part in get_args(annotation) if not isinstance(part, str)]
    return {**found, Range.__name__: Range}  # which only the free keys of a sweep name


def _keys(model: type[BaseModel], schema: Mapping[str, Any], places: Mapping[str, str], left_out: str) -> str:
    """Return the sentence and the table of a model; `left_out` is the text for a key without a default."""
    described = _object(schema if model is Scenario else schema["$defs"][model.__name__], model.__name__)
    required = described.get("required", [])
    lines = [_one_line(described.get("description", "")), "", "| key | value | default | |", "|---|---|---|---|"]
    for key, annotation in known_keys(model).items():
        about = described["properties"][key]
        default = "required" if key in required else _default(about, left_out)
        text = _one_line(about.get("description", ""))
        lines.append(f"| `{key}` | {_value(annotation, places)} | {default} | {_in_a_cell(text)} |")
    return "\n".join(lines).strip("\n")


def _object(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the part of a schema that has the keys: a model may have a short form beside them."""
    if "properties" in schema:
        return schema
    found: Mapping[str, Any] = next(part for part in schema["anyOf"] if part.get("title") == name)
    return found


def _default(about: Mapping[str, Any], left_out: str) -> str:
    if "default" not in about:
        return ""
    default = about["default"]
    if default is None:
        return left_out
    if default == "":
        return "empty"
    if isinstance(default, list):
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        share = any(part.get("maximum") == 1 for part in about.get("anyOf", []))
        return f"`{default * 100:g}%`" if share else f"`{default:g}`"
    return f"`{default}`"


def _value(annotation: Any, places: Mapping[str, str]) -> str:
    """Return the possible values of a key, in words, with links to the models."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        texts = [part.text for part in annotation.__metadata__ if isinstance(part, Wanted)]
        within = _EXAMPLES.sub("", texts[0]) if texts else _value(arguments[0], places)
        filled = any(isinstance(part, NotEmpty) for part in annotation.__metadata__)
        return within.replace("a list of", "a list, not empty, of", 1) if filled else within
    if origin in (Union, types.UnionType):
        parts = (_value(part, places) for part in arguments if part is not types.NoneType)
        return " or ".join(dict.fromkeys(parts))
    if origin is Literal:
        return ", ".join(f"`{str(choice).lower() if isinstance(choice, bool) else choice}`" for choice in arguments)
    if origin is tuple:
        return f"a list of {_value(arguments[0], places)}"
    if origin is dict:
        return f"a mapping from {_value(arguments[0], places)} to {_value(arguments[1], places)}"
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        heading = places[annotation.__name__]
        return f"[{heading.replace('`', '')}](#{_anchor(heading)})"
    if isinstance(annotation, type) and issubclass(annotation, Enum) and annotation not in _PLAIN:
        return ", ".join(f"`{member.value}`" for member in annotation)
    return _PLAIN.get(annotation, "text")


_PLAIN: dict[Any, str] = {
    bool: "`true`, `false`",
    NotificationChannel: "the name of a channel, such as `email`",
    Expectation: "[expectations](#expect)",
}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _one_line(text: str) -> str:
    text = re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split()))
    return re.sub(r"\bNone: ", "Left out: ", text)  # which it is in Python


def _in_a_cell(text: str) -> str:
    return text.replace("|", r"\|")


# ── the metrics ─────────────────────────────────────────────────────────────────────────────────────────────────


def _metrics() -> str:
    run: Shape = {"simulated_s": MetricKind.SECONDS, **METRICS, **OWN_ACTORS, **UPSTREAM, **ENDPOINTS, "peaks": PEAKS}
    channel: Shape = {f"channels.<channel>.providers.<provider>.{key}": kind for key, kind in PROVIDER.items()}
    fault: Shape = {f"faults.<n>.{key}": kind for key, kind in FAULT.items()}
    breaker: Shape = {f"breaker.<breaker>.{key}": kind for key, kind in (BREAKER | SHARED_BREAKER).items()}
    lines = ["| metric | value | |", "|---|---|---|"]
    node: Shape = {f"nodes.<node>.{key}": kind for key, kind in NODE.items()}
    queue: Shape = {f"channels.<channel>.{key}": kind for key, kind in QUEUE.items()}
    for path, kind in _flat({**run, **breaker, **node, **fault, **channel, **queue}):
        lines.append(f"| `{path}` | {_UNIT_OF[kind]} | {meaning_of(path)} |")
    return "\n".join(lines)


def _flat(shape: Shape, above: str = "") -> Iterator[tuple[str, MetricKind]]:
    for key, part in shape.items():
        if key == WITHIN:
            yield f"{above}{key}(30s)", MetricKind.SHARE
        elif isinstance(part, dict):
            yield from _flat(part, f"{above}{key}.")
        else:
            yield f"{above}{key}", part


def meaning_of(path: str) -> str:
    """Return the sentence about the metric at a path of the summary.

    Raises:
        KeyError: there is none.
    """
    *above, key = metric_keys(path)
    group = next((name for name in reversed(above) if name in _GROUPS), None)
    if group in (WITHIN, "requests_by_layer"):
        return MEANINGS[group]
    if key in _STATISTIC and group is not None:
        return f"{_STATISTIC[key]}: {MEANINGS[group]}"
    return MEANINGS[key if group is None else f"{group}.{key}"]


_GROUPS = (
    "delivery_time_s",
    "sent_time_s",
    "retry_delay_s",
    "refused",
    WITHIN,
    "dlq",
    "peaks",
    "waiting",
    "breaker",
    "nodes",
    "faults",
    "providers",
    "queue",
    "requests_by_layer",
)

_STATISTIC = {
    "mean": "the mean",
    "p50": "the median",
    "p90": "9 in 10 are at most this",
    "p95": "19 in 20 are at most this",
    "p99": "99 in 100 are at most this",
    "p99_9": "999 in 1,000 are at most this",
    "max": "the longest",
}


# ── the schema of a summary ───────────────────────────────────────────────────────────────────────────────────────────


_TYPES: Mapping[MetricKind, dict[str, Any]] = {
    MetricKind.COUNT: {"type": "integer"},
    MetricKind.SHARE: {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    MetricKind.RATIO: {"type": ["number", "null"]},
    MetricKind.SECONDS: {"type": ["number", "null"]},
    MetricKind.QUANTILE: {"type": ["number", "null"]},
    MetricKind.PER_SECOND: {"type": ["number", "null"]},
    MetricKind.PER_MINUTE: {"type": ["number", "null"]},
    MetricKind.MONEY: {"type": "number", "minimum": 0},
    MetricKind.TEXT: {"type": "string"},
    MetricKind.SEED: {"type": "integer"},
    MetricKind.VERSION: {"const": VERSION},
}

_PARTY = {
    "name": {"type": "string"},
    "offered": {"type": "integer", "description": "requests for recipients at this host, or of this tenant"},
    "late": {"type": "integer", "description": "those that were not delivered within a minute, or never"},
    "late_fraction": {"type": "number", "description": "late / offered"},
}

_DEFAULT = {
    "setting": {
        "type": "string",
        "description": "a setting that the file does not name, and whose default did something",
    },
    "counts": {"type": "object", "description": "what it did", "additionalProperties": {"type": "integer"}},
    "text": {"type": "string", "description": "the same in words"},
}

_EXPECTATION = {
    "text": {"type": "string", "description": "the expectation, as it was written"},
    "value": {"type": ["number", "null"], "description": "the metric; null where there is nothing to measure"},
    "holds": {"type": ["boolean", "null"], "description": "null: undecided, since it is of a share of runs"},
    "never": {"const": True, "description": "the metric is a quantile that is longer than any time"},
    "runs": {"type": "integer", "description": "with replicates: how many runs there were"},
    "held": {"type": "integer", "description": "with replicates: in how many of them it held"},
    "interval": {
        "type": "array",
        "items": {"type": "number"},
        "description": "with replicates: of the probability that it holds",
    },
}


def summary_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `summary.json` and of a run in `retrylab run --json`."""
    shape = summary_shape(Outline(providers=()))
    breaker = _summary_object(_properties({**BREAKER, **SHARED_BREAKER}, "breaker"))
    metrics = {**_properties({**METRICS, **OWN_ACTORS}), **_properties(UPSTREAM), **_properties(ENDPOINTS)}
    part = {**metrics, "breaker": _by_name(breaker), **_told_apart(metrics, breaker)}
    channel = {
        **_properties({**CHANNEL, **OWN_ACTORS, **UPSTREAM, **ENDPOINTS, **QUEUE}),
        "breaker": breaker,
        "providers": _by_name(_summary_object({**_properties(PROVIDER, "providers", "name"), **_properties(QUEUE)})),
    }
    properties = {
        **{key: _TYPES[kind] for key, kind in shape.items() if isinstance(kind, MetricKind) and kind in _TYPES},
        **metrics,
        "peaks": _summary_object(_properties(PEAKS, "peaks")),
        "breaker": _by_name(breaker),
        "nodes": _by_name(_summary_object(_properties(NODE, "nodes")), "each node of a fleet, by its number"),
        "faults": _by_name(_summary_object(_properties(FAULT, "faults")), "each fault that ends, by its number"),
        **_told_apart(metrics, breaker),
        "channels": _by_name(_summary_object(channel, optional=("providers",))),
        WINDOWS: _by_name(_summary_object(part), "parts of the run that expectations are about, as 5m,10m"),
        "worst": _summary_object(
            {kind: {"type": "array", "items": _summary_object(_PARTY)} for kind in ("hosts", "tenants")}
        ),
        "defaults": {"type": "array", "items": _summary_object(_DEFAULT)},
        "expectations": {
            "type": "array",
            "items": _summary_object(_EXPECTATION, optional=("never", "runs", "held", "interval")),
        },
        "replicates": {"type": "object", "description": "with replicates: the first seed and the last"},
    }
    properties["simulated_s"] = {**_TYPES[MetricKind.SECONDS], "description": meaning_of("simulated_s")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The summary of a run of retrylab",
        **_summary_object(properties, optional=(WINDOWS, "nodes", "replicates")),
    }


def _told_apart(metrics: dict[str, Any], breaker: dict[str, Any]) -> dict[str, Any]:
    part = {**metrics, "breaker": breaker}
    return {
        "workload": _by_name(_summary_object(metrics), "each entry of the workload, by its name"),
        "classes": _by_name(_summary_object(metrics), "each class of traffic"),
        "channels": _by_name(_summary_object(part), "each channel"),
    }


def _properties(shape: Shape, *above: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, part in shape.items():
        if key == WITHIN and isinstance(part, dict):
            described = {"description": meaning_of(path_of((*above, WITHIN, "30s")))}
            found[key] = {**_by_name(_TYPES[MetricKind.SHARE]), **described}
        elif isinstance(part, dict):
            found[key] = _summary_object(_properties(part, *above, key))
        else:
            found[key] = {**_TYPES[part], "description": meaning_of(path_of((*above, key)))}
    return found


_NOT_OF_EACH_RUN = frozenset(
    {*UPSTREAM, *map(str, range(UPSTREAM_LAYERS_MAX + 1)), *ENDPOINTS, *SHARED_BREAKER, *QUEUE, "unhandled"}
)
"""Metrics that only runs have in which there is something to count."""


def _summary_object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional and name not in _NOT_OF_EACH_RUN],
        "additionalProperties": False,
    }


def _by_name(values: dict[str, Any], description: str = "") -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {"type": "object", **described, "additionalProperties": values}
