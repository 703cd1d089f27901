"""Scenarios on a simulated clock: run one, and look at its result.

::

    import simulation

    result = simulation.run("scenarios/provider-outage.yaml", seed=7)
    result.summary["sent_fraction"]
    result.attempts.groupby("outcome").size()

These names are the public ones; deeper paths are private and may change with any release.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulation import invariants as invariants, validation as validation
    from simulation.engine.system import SimulatedSystem as SimulatedSystem
    from simulation.experiments.comparison import Comparison as Comparison, compare as compare
    from simulation.experiments.explaining.explain import Explanation as Explanation, explain as explain
    from simulation.experiments.prediction import predict as predict
    from simulation.experiments.sweeping.result import SweepResult as SweepResult, open_sweep as open_sweep
    from simulation.experiments.sweeping.sweep import sweep as sweep
    from simulation.experiments.tuning.tune import tune as tune
    from simulation.experiments.tuning.tuning import Tuning as Tuning
    from simulation.exploration.explore import Exploration as Exploration, explore as explore
    from simulation.fitting.calibration import Fit as Fit, fit as fit
    from simulation.fitting.whatif import WhatIf as WhatIf, whatif as whatif
    from simulation.reporting import plots as plots
    from simulation.reporting.html import report as report
    from simulation.results.result import Result as Result
    from simulation.results.saved_result import SavedResult as SavedResult, open_result as open_result
    from simulation.running.deciding import decide as decide
    from simulation.running.live_run import run_live as run_live
    from simulation.running.runner import run as run
    from simulation.running.traces.recording import record as record
    from simulation.running.traces.replaying import compare_traces as compare_traces, replay as replay
    from simulation.saving import save as save
    from simulation.scenario import Scenario as Scenario, load as load, parse as parse
    from simulation.testing import strategies as strategies, testkit as testkit
    from simulation.validation.procedure import Validation as Validation, validate as validate

_HOME_OF = {
    name: module
    for module, names in {
        "simulation.engine.system": "SimulatedSystem",
        "simulation.experiments.comparison": "Comparison compare",
        "simulation.experiments.explaining.explain": "Explanation explain",
        "simulation.experiments.prediction": "predict",
        "simulation.experiments.sweeping.result": "SweepResult open_sweep",
        "simulation.experiments.sweeping.sweep": "sweep",
        "simulation.experiments.tuning.tune": "tune",
        "simulation.experiments.tuning.tuning": "Tuning",
        "simulation.exploration.explore": "Exploration explore",
        "simulation.fitting.calibration": "Fit fit",
        "simulation.fitting.whatif": "WhatIf whatif",
        "simulation.reporting.html": "report",
        "simulation.results.result": "Result",
        "simulation.results.saved_result": "SavedResult open_result",
        "simulation.running.deciding": "decide",
        "simulation.running.live_run": "run_live",
        "simulation.running.runner": "run",
        "simulation.running.traces.recording": "record",
        "simulation.running.traces.replaying": "compare_traces replay",
        "simulation.saving": "save",
        "simulation.scenario": "Scenario load parse",
        "simulation.validation.procedure": "Validation validate",
    }.items()
    for name in names.split()
}
"""The module of each public name. The imports above say the same to type checkers; a test holds both equal.

A name here is none of a module of this package: importing that would put the module in its place.
"""

_MODULES = {
    "invariants": "simulation.invariants",
    "plots": "simulation.reporting.plots",
    "strategies": "simulation.testing.strategies",
    "testkit": "simulation.testing.testkit",
    "validation": "simulation.validation",
}
"""Those that are of use as ``simulation.plots``, which are imported where they are first named."""

__all__ = sorted((*_HOME_OF, *_MODULES))

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(_MODULES[name])
        module = _HOME_OF.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__
