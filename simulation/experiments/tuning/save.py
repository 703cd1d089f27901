"""A search on disk: its document, its tables, and the scenarios with what was found."""

from __future__ import annotations

import json
import re
from pathlib import Path

from simulation.experiments.tuning.report import origin
from simulation.experiments.tuning.trial import Trial
from simulation.experiments.tuning.tuning import DOCUMENT, RUNS, TRIALS, Tuning
from simulation.results.files import folder_to_fill
from simulation.scenario.writing import write

_FOUND = re.compile(r"tuned(-[0-9]+)?\.yaml")
"""The names of the scenarios with what was found."""


def save_tuning(tuning: Tuning, directory: str | Path) -> list[Path]:
    """Write `tuning.json`, the tables of trials and runs as Parquet, and the scenario with the setting that was
    found as `tuned.yaml` into a folder; return the paths.

    Where several were found they are `tuned-1.yaml` and so on. Those of an earlier search are removed. Equal
    searches are equal byte by byte.

    Raises:
        ConfigurationError: the folder has the results of another kind of command, or the file of the scenario
            itself under one of these names.
        OSError: it, or a file in it, cannot be written.
    """
    directory = folder_to_fill(directory, DOCUMENT, tuning.path)
    for stale in directory.glob("tuned*.yaml"):
        if _FOUND.fullmatch(stale.name):  # and not a file that a user has called tuned-by-hand.yaml
            stale.unlink()
    written = [directory / name for name in (DOCUMENT, TRIALS, RUNS)]
    tuning.table.to_parquet(written[1], index=False)
    tuning.runs.to_parquet(written[2], index=False)
    for number, trial in enumerate(tuning.found, start=1):
        written.append(directory / ("tuned.yaml" if len(tuning.found) == 1 else f"tuned-{number}.yaml"))
        written[-1].write_text(tuned_yaml(tuning, trial), encoding="utf-8")
    written[0].write_text(json.dumps(tuning.document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return written


def tuned_yaml(tuning: Tuning, trial: Trial) -> str:
    """Return the scenario with the setting of a trial, as the text of a file."""
    return write(trial.scenario, origin(tuning, trial))
