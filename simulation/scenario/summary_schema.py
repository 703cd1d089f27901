"""The JSON Schema of the summary of a run, from the shape that the summary is built and checked by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.settings.channel import UPSTREAM_LAYERS_MAX
from simulation.scenario.metrics import (
    BREAKER,
    CHANNEL,
    ENDPOINTS,
    FAULT,
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
    path_of,
    summary_shape,
)
from simulation.scenario.reference import meaning_of

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
    breaker = _object(_properties({**BREAKER, **SHARED_BREAKER}, "breaker"))
    metrics = {**_properties({**METRICS, **OWN_ACTORS}), **_properties(UPSTREAM), **_properties(ENDPOINTS)}
    part = {**metrics, "breaker": _by_name(breaker), **_told_apart(metrics, breaker)}
    channel = {
        **_properties({**CHANNEL, **OWN_ACTORS, **UPSTREAM, **ENDPOINTS, **QUEUE}),
        "breaker": breaker,
        "providers": _by_name(_object({**_properties(PROVIDER, "providers", "name"), **_properties(QUEUE)})),
    }
    properties = {
        **{key: _TYPES[kind] for key, kind in shape.items() if isinstance(kind, MetricKind) and kind in _TYPES},
        **metrics,
        "peaks": _object(_properties(PEAKS, "peaks")),
        "breaker": _by_name(breaker),
        "nodes": _by_name(_object(_properties(NODE, "nodes")), "each node of a fleet, by its number"),
        "faults": _by_name(_object(_properties(FAULT, "faults")), "each fault that ends, by its number"),
        **_told_apart(metrics, breaker),
        "channels": _by_name(_object(channel, optional=("providers",))),
        WINDOWS: _by_name(_object(part), "parts of the run that expectations are about, as 5m,10m"),
        "worst": _object({kind: {"type": "array", "items": _object(_PARTY)} for kind in ("hosts", "tenants")}),
        "defaults": {"type": "array", "items": _object(_DEFAULT)},
        "expectations": {
            "type": "array",
            "items": _object(_EXPECTATION, optional=("never", "runs", "held", "interval")),
        },
        "replicates": {"type": "object", "description": "with replicates: the first seed and the last"},
    }
    properties["simulated_s"] = {**_TYPES[MetricKind.SECONDS], "description": meaning_of("simulated_s")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The summary of a run of retrylab",
        **_object(properties, optional=(WINDOWS, "nodes", "replicates")),
    }


def _told_apart(metrics: dict[str, Any], breaker: dict[str, Any]) -> dict[str, Any]:
    part = {**metrics, "breaker": breaker}
    return {
        "workload": _by_name(_object(metrics), "each entry of the workload, by its name"),
        "classes": _by_name(_object(metrics), "each class of traffic"),
        "channels": _by_name(_object(part), "each channel"),
    }


def _properties(shape: Shape, *above: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, part in shape.items():
        if key == WITHIN and isinstance(part, dict):
            described = {"description": meaning_of(path_of((*above, WITHIN, "30s")))}
            found[key] = {**_by_name(_TYPES[MetricKind.SHARE]), **described}
        elif isinstance(part, dict):
            found[key] = _object(_properties(part, *above, key))
        else:
            found[key] = {**_TYPES[part], "description": meaning_of(path_of((*above, key)))}
    return found


_NOT_OF_EACH_RUN = frozenset(
    {*UPSTREAM, *map(str, range(UPSTREAM_LAYERS_MAX + 1)), *ENDPOINTS, *SHARED_BREAKER, *QUEUE, "unhandled"}
)
"""Metrics that only runs have in which there is something to count."""


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional and name not in _NOT_OF_EACH_RUN],
        "additionalProperties": False,
    }


def _by_name(values: dict[str, Any], description: str = "") -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {"type": "object", **described, "additionalProperties": values}
