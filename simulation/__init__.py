"""Scenarios on a simulated clock: run one, and look at what came of it.

::

    import simulation

    result = simulation.run("scenarios/provider-outage.yaml", seed=7)
    result.summary["sent_fraction"]
    result.attempts.groupby("outcome").size()
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME_OF = {
    "Comparison": "simulation.experiments.comparison",
    "Result": "simulation.results.result",
    "SavedResult": "simulation.results.saved_result",
    "Scenario": "simulation.scenario",
    "SimulatedSystem": "simulation.engine.system",
    "SweepResult": "simulation.experiments.sweeping.result",
    "Tuning": "simulation.experiments.tuning.tuning",
    "compare": "simulation.experiments.comparison",
    "compare_traces": "simulation.running.traces.replaying",
    "explore": "simulation.exploration.explore",
    "fit": "simulation.fitting.calibration",
    "load": "simulation.scenario",
    "open_result": "simulation.results.saved_result",
    "open_sweep": "simulation.experiments.sweeping.result",
    "parse": "simulation.scenario",
    "predict": "simulation.experiments.prediction",
    "record": "simulation.running.traces.recording",
    "replay": "simulation.running.traces.replaying",
    "run": "simulation.running.runner",
    "run_live": "simulation.running.live_run",
    "sweep": "simulation.experiments.sweeping.sweep",
    "tune": "simulation.experiments.tuning.tune",
    "validate": "simulation.validation.procedure",
    "whatif": "simulation.fitting.whatif",
}
"""A name here is none of a module of this package: importing that would put the module in its place."""

_MODULES = {
    "invariants": "simulation.invariants",
    "plots": "simulation.reporting.plots",
    "strategies": "simulation.testing.strategies",
    "testkit": "simulation.testing.testkit",
    "validation": "simulation.validation",
}
"""Those that are of use as ``simulation.reporting.plots``, which are imported where they are first named."""

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted((*__all__, *_MODULES))
