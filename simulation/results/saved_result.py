"""The result of a run, opened again from the directory in which it was saved."""

from __future__ import annotations

import json
import os
import warnings
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.errors import ConfigurationError
from actors.settings.csv_column import read_file, reading_by
from actors.settings.file import text_of
from simulation.results.files import read_table
from simulation.results.formatting import line_of_run
from simulation.results.result import INTERRUPTED_TABLE, SCENARIO_FILE, SUMMARY_FILE, UPSTREAM_TABLE
from simulation.results.sheet import run_as_html
from simulation.scenario import Scenario, parse

if TYPE_CHECKING:
    import pandas as pd

STAND_IN = "0\n"
"""In place of a data file that is gone: one number, which is fit for counts and for durations."""


class SavedResult:
    """The result of a run as :func:`simulation.save` left it: the same summary, scenario and tables.

    The history, which a run has in memory only, is missing.
    """

    def __init__(self, directory: Path, summary: dict[str, Any], scenario: Scenario, missing: tuple[str, ...]) -> None:
        self.directory = directory
        self.summary = summary
        """The metrics of the run."""
        self.scenario = scenario
        """The scenario of the run. A `missing` data file has a stand-in in it, so that it cannot be run again."""
        self.missing = missing
        """Data files of the scenario, traces and measured latencies, that are not where they were."""

    def __repr__(self) -> str:
        return line_of_run("SavedResult", self.summary)

    def _repr_html_(self) -> str:
        return run_as_html("SavedResult", self.summary)

    @property
    def holds(self) -> bool:
        """Whether no expectation of the scenario fails; one of a share of runs is undecided by a single one."""
        return all(expectation["holds"] is not False for expectation in self.summary["expectations"])

    @cached_property
    def notifications(self) -> pd.DataFrame:
        """One row a notification; empty with ``record: aggregates``. Older files have no column `entry`."""
        return self._table("notifications")

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row a request that was wanted; empty with ``record: aggregates``.

        `channel` is the one that has delivered it, or has taken it over last; `time_s` is its delivery time, infinite
        where it was never delivered. It is counted from `notifications`, and is in no file.
        """
        from simulation.results.tables import requests_of

        return requests_of(self.notifications, self.attempts)

    @cached_property
    def attempts(self) -> pd.DataFrame:
        """One row an attempt; empty with ``record: aggregates``.

        In older files `provider` is null also where the channel has only one.
        """
        from simulation.results.tables import ATTEMPT_OUTCOMES

        found = self._table("attempts")
        return found.assign(outcome=found["outcome"].replace(ATTEMPT_OUTCOMES))  # older files have "Sent" there

    @cached_property
    def upstream_requests(self) -> pd.DataFrame:
        """One row a request of a provider to its upstream; there is no such file where none has an upstream.

        Empty with ``record: aggregates``.
        """
        return self._table(UPSTREAM_TABLE)

    @cached_property
    def interrupted(self) -> pd.DataFrame:
        """One row a request to a provider whose answer no one took; empty with ``record: aggregates``.

        Empty in older results, too: there is no such file where there is no such row.
        """
        from simulation.results.tables import interrupted_table

        is_there = self.summary.get("interrupted") and (self.directory / f"{INTERRUPTED_TABLE}.parquet").exists()
        return self._table(INTERRUPTED_TABLE) if is_there else interrupted_table((), self.scenario)

    @cached_property
    def deferrals(self) -> pd.DataFrame:
        """One row a wait for a limiter, an open breaker or quiet hours; empty with ``record: aggregates``."""
        return self._table("deferrals")

    @cached_property
    def breaker(self) -> pd.DataFrame:
        """One row a transition of a breaker."""
        return self._table("breaker")

    @cached_property
    def dlq(self) -> pd.DataFrame:
        """One row a dead letter; the first 10,000 with ``record: aggregates``."""
        return self._table("dlq")

    @cached_property
    def series(self) -> pd.DataFrame:
        """One row a bucket of time."""
        return self._table("series")

    def _table(self, name: str) -> pd.DataFrame:
        from simulation.results.tables import COLUMNS_BEFORE

        return read_table(self.directory / f"{name}.parquet").rename(columns=COLUMNS_BEFORE)


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
