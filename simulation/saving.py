"""One way to save any result of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.experiments.comparison import Comparison
    from simulation.experiments.sweeping.result import SweepResult
    from simulation.experiments.tuning.tuning import Tuning
    from simulation.fitting.calibration import Fit
    from simulation.results.result import Result


def save(found: Result | Comparison | SweepResult | Tuning | Fit, path: str | Path) -> list[Path]:
    """Write the result of a run, a comparison, a sweep, a search or a fit to disk; return the paths.

    Args:
        found: what :func:`simulation.run`, `compare`, `sweep`, `tune` or `fit` returned.
        path: of a folder, which holds the results of one kind of command alone; for a fit, of a scenario file. What an
            earlier one left there is replaced.

    Raises:
        ConfigurationError: the folder has the results of another kind of command, or one of the files to be written is
            the scenario itself, or a file that no fit has written.
        TypeError: `found` is none of these.
        OSError: a file cannot be written.
    """
    from simulation.results.result import Result

    if isinstance(found, Result):
        from simulation.reporting.save import save_result

        return save_result(found, path)
    from simulation.experiments.comparison import Comparison, save_comparison
    from simulation.experiments.sweeping.result import SweepResult, save_sweep
    from simulation.experiments.tuning.save import save_tuning
    from simulation.experiments.tuning.tuning import Tuning

    match found:
        case Comparison():
            return save_comparison(found, path)
        case SweepResult():
            return save_sweep(found, path)
        case Tuning():
            return save_tuning(found, path)
    from simulation.fitting.calibration import Fit
    from simulation.fitting.document import save_fit

    if isinstance(found, Fit):
        return save_fit(found, path)
    raise TypeError(f"wanted the result of a run, a comparison, a sweep, a search or a fit, got {type(found).__name__}")
