"""Scenario files: YAML to a typed, checked :class:`Scenario`."""

from simulation.scenario.expectations import Expectation
from simulation.scenario.loading import load, parse
from simulation.scenario.model import (
    CHANNELS_OF_EVENT,
    ChannelWorkload,
    ClosedWorkload,
    EventWorkload,
    PreferenceShare,
    QuietHoursShare,
    Scenario,
    Sweep,
    TemplateText,
    WorkloadEntry,
)
from simulation.scenario.schema import json_schema

__all__ = [
    "CHANNELS_OF_EVENT",
    "ChannelWorkload",
    "ClosedWorkload",
    "EventWorkload",
    "Expectation",
    "PreferenceShare",
    "QuietHoursShare",
    "Scenario",
    "Sweep",
    "TemplateText",
    "WorkloadEntry",
    "json_schema",
    "load",
    "parse",
]
