"""Scenario files: YAML to a typed, checked :class:`Scenario`."""

from simulation.scenario.expectations import Expectation
from simulation.scenario.loading import load, load_each, parse
from simulation.scenario.model import Scenario
from simulation.scenario.operations import DeadLettersOf, Operation
from simulation.scenario.people import PreferenceShare, QuietHoursShare, TemplateText
from simulation.scenario.ranges import Sweep
from simulation.scenario.schedule import PctConfig, ScheduleConfig
from simulation.scenario.schema import json_schema
from simulation.scenario.workload import (
    CHANNELS_OF_EVENT,
    ChannelWorkload,
    ClosedWorkload,
    EventWorkload,
    WorkloadEntry,
)

__all__ = [
    "CHANNELS_OF_EVENT",
    "ChannelWorkload",
    "ClosedWorkload",
    "DeadLettersOf",
    "EventWorkload",
    "Expectation",
    "Operation",
    "PctConfig",
    "PreferenceShare",
    "QuietHoursShare",
    "Scenario",
    "ScheduleConfig",
    "Sweep",
    "TemplateText",
    "WorkloadEntry",
    "json_schema",
    "load",
    "load_each",
    "parse",
]
