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
    "Comparison": "simulation.comparison",
    "Result": "simulation.result",
    "SavedResult": "simulation.saved_result",
    "Scenario": "simulation.scenario",
    "SimulatedSystem": "simulation.system",
    "SweepResult": "simulation.sweeping.result",
    "Tuning": "simulation.tuning.tuning",
    "compare": "simulation.comparison",
    "compare_traces": "simulation.traces.replaying",
    "explore": "simulation.exploration",
    "fit": "simulation.fitting.calibration",
    "load": "simulation.scenario",
    "open_result": "simulation.saved_result",
    "open_sweep": "simulation.sweeping.result",
    "parse": "simulation.scenario",
    "predict": "simulation.prediction",
    "record": "simulation.traces.recording",
    "replay": "simulation.traces.replaying",
    "run": "simulation.runner",
    "run_live": "simulation.live_run",
    "sweep": "simulation.sweeping.sweep",
    "tune": "simulation.tuning.tune",
    "validate": "simulation.validation.procedure",
    "whatif": "simulation.fitting.whatif",
}
"""A name here is none of a module of this package: importing that would put the module in its place."""

_MODULES = ("invariants", "plots", "strategies", "testkit", "validation")
"""Those that are of use as ``simulation.plots``, which are imported where they are first named."""

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted((*__all__, *_MODULES))
