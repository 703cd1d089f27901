"""What a plot is drawn from: the result of a run, one that was saved and opened again, or a frame of such."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

import pandas as pd

from actors.errors import WrongType
from actors.instants import NS_PER_S
from simulation.reporting.fault_windows import Window, windows
from simulation.scenario import Scenario


class PlottedRun(Protocol):
    """What plots need of a run: :class:`simulation.Result` has it, and :class:`simulation.SavedResult`."""

    @property
    def scenario(self) -> Scenario: ...
    @property
    def summary(self) -> dict[str, Any]: ...
    @property
    def notifications(self) -> pd.DataFrame: ...
    @property
    def attempts(self) -> pd.DataFrame: ...
    @property
    def deferrals(self) -> pd.DataFrame: ...
    @property
    def breaker(self) -> pd.DataFrame: ...
    @property
    def dlq(self) -> pd.DataFrame: ...
    @property
    def series(self) -> pd.DataFrame: ...


Source: TypeAlias = PlottedRun | pd.DataFrame
"""A run, or one of its frames."""


class Taken(NamedTuple):
    """What was taken from a source: one of its tables, and the run if there is one."""

    frame: pd.DataFrame
    run: PlottedRun | None

    @property
    def scenario(self) -> Scenario | None:
        """The scenario, where it is known."""
        return None if self.run is None else self.run.scenario

    @property
    def end_s(self) -> float | None:
        """When the run ended, where that is known."""
        return None if self.run is None else end_of(self.run)

    def windows(self, end_s: float, channel: str | None = None) -> list[Window]:
        """Return the faults and quiet hours of the run; those of one channel alone, where one is named."""
        return [] if self.run is None else windows(self.run.scenario, end_s, channel)


def end_of(run: PlottedRun) -> float:
    """Return when a run ended, in seconds; one that took no time is shown as long as it was meant to be."""
    return run.summary["simulated_s"] or run.scenario.duration


def why_empty(run: PlottedRun | None) -> str:
    """Return why a run, or a frame of its own, has no notifications to be drawn."""
    kept = run is None or run.scenario.record == "full"
    return "no notifications" if kept else "the run kept no notifications (record: aggregates)"


def arrivals_end_of(run: PlottedRun) -> float | None:
    """Return when arrivals ended, in seconds; None where a trace that would say so is gone."""
    return None if getattr(run, "missing", ()) else run.scenario.arrivals_end_ns / NS_PER_S


def check_run(source: object) -> None:
    """Check that a source is a run, and no file or table.

    Raises:
        WrongType: it is not a run.
    """
    if not hasattr(source, "scenario") or not hasattr(source, "summary"):
        raise WrongType(f"wanted a result, got {type(source).__name__}")


def taken(source: Source, table: str, *needed: str) -> Taken:
    """Return a table of a source.

    Args:
        source: a run, or the table itself.
        table: the table's name, such as ``attempts``.
        needed: the columns that it must have.

    Raises:
        WrongType: it is neither.
    """
    run = None if isinstance(source, pd.DataFrame) else source
    frame = source if isinstance(source, pd.DataFrame) else getattr(source, table, None)
    if not isinstance(frame, pd.DataFrame):
        raise WrongType(f"wanted a result or its frame `{table}`, got {type(source).__name__}")
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        had = ", ".join(map(str, frame.columns)) or "none"
        raise WrongType(f"wanted a frame with the columns of `{table}`; {', '.join(missing)} missing, got {had}")
    return Taken(frame.reset_index(drop=True), run)
