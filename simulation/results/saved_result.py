"""The result of a run, opened again from the directory in which it was saved."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.errors import ConfigurationError
from actors.settings.csv_column import read_file, reading_by
from actors.settings.file import text_of
from simulation.results.files import read_table
from simulation.results.result import INTERRUPTED_TABLE, SCENARIO_FILE, SUMMARY_FILE, RunResult
from simulation.scenario import Scenario, parse

if TYPE_CHECKING:
    import pandas as pd

STAND_IN = "0\n"
"""In place of a data file that is gone: one number, which is fit for counts and for durations."""


class SavedResult(RunResult):
    """The result of a run as :func:`simulation.save` left it: the same summary, scenario and tables.

    The history, which a run has in memory only, is missing.
    """

    _kind = "SavedResult"

    def __init__(self, directory: Path, summary: dict[str, Any], scenario: Scenario, missing: tuple[str, ...]) -> None:
        self.directory = directory
        self.summary = summary
        self.scenario = scenario
        """The scenario of the run. A `missing` data file has a stand-in in it, so that it cannot be run again."""
        self.missing = missing
        """Data files of the scenario, traces and measured latencies, that are not where they were."""

    def _table(self, name: str) -> pd.DataFrame:
        from simulation.results.tables import ATTEMPT_OUTCOMES, COLUMNS_BEFORE, interrupted_table

        file = self.directory / f"{name}.parquet"
        if name == INTERRUPTED_TABLE and not (self.summary.get(name) and file.exists()):  # nor is it in older results
            return interrupted_table((), self.scenario)
        found = read_table(file).rename(columns=COLUMNS_BEFORE)
        if name == "attempts":  # older files have "Sent" there
            found = found.assign(outcome=found["outcome"].replace(ATTEMPT_OUTCOMES))
        return found


def open_result(directory: str | Path) -> SavedResult:
    """Return the result of a run from the directory that ``result.save`` or ``retrylab run --out`` wrote.

    Warns of data files that the scenario refers to and that are gone; the saved tables can still be plotted.

    Raises:
        ConfigurationError: there is no such result; all that is wrong with the files.
    """
    result = opened(directory)
    if result.missing:
        warnings.warn(f"{directory}: {missing_text(result)}", stacklevel=2)
    return result


def missing_text(result: SavedResult) -> str:
    """Return the data files of a result that are gone, and the consequences, in words."""
    files = ", ".join(result.missing)
    verb = "is" if len(result.missing) == 1 else "are"
    return f"{files} {verb} gone, so plots do not show when arrivals stop, and the scenario cannot be run again"


def opened(directory: str | Path) -> SavedResult:
    """Return a saved result without a warning; see :func:`open_result`."""
    directory = Path(directory)
    if not directory.is_dir():
        raise ConfigurationError([f"{directory}: no such directory"])
    problems: list[str] = []
    summary: dict[str, Any] = {}
    scenario: Scenario | None = None
    missing: tuple[str, ...] = ()
    try:
        summary = summary_kept(directory / SUMMARY_FILE)
    except ConfigurationError as error:
        problems += error.problems
    try:
        scenario, missing = scenario_kept(directory / SCENARIO_FILE)
    except ConfigurationError as error:
        problems += error.problems
    if scenario is None or problems:
        raise ConfigurationError(problems)
    return SavedResult(directory, summary, scenario, missing)


def scenario_kept(path: Path) -> tuple[Scenario, tuple[str, ...]]:
    """Return the scenario that stands beside its result, and which data files it names are gone.

    Raises:
        ConfigurationError: it cannot be read.
    """
    missing: dict[str, None] = {}

    def read(file: Path) -> str:
        if os.path.exists(file):  # and may be seen, which `file.exists()` may raise an error about
            return read_file(file)
        missing[str(file)] = None
        return STAND_IN

    with reading_by(read):
        scenario = parse(text_of(path), str(path))
    return scenario, tuple(missing)


def summary_kept(path: Path) -> dict[str, Any]:
    """Return the summary of a run that was saved.

    Raises:
        ConfigurationError: it cannot be read, or is none.
    """
    try:
        summary = json.loads(text_of(path))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError([f"{path}: wanted JSON ({error})"]) from None
    wanted = ("scenario", "seed", "simulated_s", "dlq", "breaker", "channels", "expectations")
    if not isinstance(summary, dict) or any(key not in summary for key in wanted):
        raise ConfigurationError([f"{path}: wanted the summary of a run"])
    return summary
