"""One way to save any result of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from simulation.results.files import folder_to_fill
from simulation.results.result import (
    INTERRUPTED_TABLE,
    REPORT_FILE,
    SCENARIO_FILE,
    SUMMARY_FILE,
    TABLES,
    UPSTREAM_TABLE,
    Result,
)
from simulation.scenario.writing import write

if TYPE_CHECKING:
    from simulation.experiments.comparison import Comparison
    from simulation.experiments.sweeping.result import SweepResult
    from simulation.experiments.tuning.tuning import Tuning
    from simulation.fitting.calibration import Fit


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
    if isinstance(found, Result):
        return save_result(found, path)
    from simulation.experiments.comparison import Comparison, save_comparison
    from simulation.experiments.sweeping.result import SweepResult, save_sweep
    from simulation.experiments.tuning.report import save_tuning
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


# ── results of a run ──────────────────────────────────────────────────────────────────────────────────────────────────


ROW_GROUP = 100_000
"""The rows of a table that are encoded at once, which takes 600 bytes for each of them."""


def save_result(result: Result, directory: str | Path) -> list[Path]:
    """Write `summary.json`, `scenario.yaml`, tables as Parquet, `overview.png` and `report.html` into a directory.

    Returns the paths; the report is the last. :func:`simulation.open_result` reads the others again. The files of an
    earlier run are replaced.

    Raises:
        ConfigurationError: the directory has the results of another kind of command, or the file of the scenario
            itself under one of these names.
        OSError: the directory or a file in it cannot be written.
    """
    from simulation.reporting.html import report
    from simulation.reporting.plots import overview

    directory = folder_to_fill(directory, SUMMARY_FILE, result.origin.file)
    written = [directory / SUMMARY_FILE, directory / SCENARIO_FILE]
    more = [UPSTREAM_TABLE] if result.scenario.has_upstreams else []
    more += [INTERRUPTED_TABLE] if result.summary["interrupted"] else []
    for name in (*TABLES, *more):
        written.append(directory / f"{name}.parquet")
        getattr(result, name).to_parquet(written[-1], index=False, row_group_size=ROW_GROUP)
    written.append(directory / "overview.png")
    figure = overview(result)
    figure.savefig(written[-1])
    written.append(directory / REPORT_FILE)
    written[-1].write_text(report(result, overview=figure), encoding="utf-8")
    written[1].write_text(write(result.scenario), encoding="utf-8")
    written[0].write_text(json.dumps(result.summary, indent=2) + "\n", encoding="utf-8")
    return written
