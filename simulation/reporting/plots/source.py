"""The source of a plot: the result of a run, one that was saved and opened again, or a frame of either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args
from weakref import WeakKeyDictionary

import pandas as pd

from actors.errors import ConfigurationError, WrongType
from actors.instants import NS_PER_S
from simulation.reporting.fault_windows import Window, windows
from simulation.results.result import RunResult
from simulation.results.series import series_of
from simulation.results.tables import requests_of
from simulation.scenario import Scenario

PlottedRun: TypeAlias = RunResult
"""A run that can be plotted: a :class:`simulation.Result` or a :class:`simulation.SavedResult`."""

Source: TypeAlias = PlottedRun | pd.DataFrame
"""A run, or one of its frames."""


_SERIES: WeakKeyDictionary[PlottedRun, dict[tuple[tuple[str, str], ...], pd.DataFrame]] = WeakKeyDictionary()
"""The series of the parts of a run, which several pictures of a report show."""


_GROUPS = {"channel": "channels", "entry": "workload", "priority": "classes"}
"""By the column of tables that tells parts apart, where the summary has them."""


class Taken(NamedTuple):
    """The data taken from a source: one of its tables, or a part of it, and the run if there is one."""

    frame: pd.DataFrame
    run: PlottedRun | None
    where: Mapping[str, str] = {}
    """The columns of tables that tell the part apart, with their values; empty: it is the whole."""

    label: str = ""
    """The name of the part; empty where no part was asked for."""

    channel: str | None = None
    """The channel that it is of, if it is one."""

    @property
    def scenario(self) -> Scenario | None:
        return None if self.run is None else self.run.scenario

    @property
    def refused(self) -> int:
        """How many arrivals of the part were refused; 0 where that is unknown."""
        return sum(self._figures.get("refused", {}).values())

    @property
    def offered_delivered(self) -> tuple[int, int] | None:
        """How many requests were offered and delivered; None where that is unknown."""
        figures = self._figures
        return (figures["offered"], figures["delivered"]) if "offered" in figures else None

    @property
    def _figures(self) -> Mapping[str, Any]:
        """Its metrics in the summary; empty where there are none: of a table alone, or a channel of an entry."""
        if self.run is None or len(self.where) > 1:
            return {}
        figures: Mapping[str, Any] = self.run.summary
        for column, value in self.where.items():
            figures = figures.get(_GROUPS[column], {}).get(value, {})
        return figures

    @property
    def arriving(self) -> str:
        """The word for the arrivals in series: accepted, where the run refused some."""
        return "accepted" if self.run is not None and any(self.run.summary.get("refused", {}).values()) else "arrivals"

    @property
    def end_s(self) -> float | None:
        return None if self.run is None else end_of(self.run)

    def windows(self, end_s: float) -> list[Window]:
        """Return the faults and quiet hours of the run; only those of one channel, if the part is of one."""
        return [] if self.run is None else windows(self.run.scenario, end_s, self.channel)

    def table(self, name: str) -> pd.DataFrame:
        """Return the rows of the part in another table of the run, which there must be."""
        frame: pd.DataFrame = getattr(self.run, name)
        return rows_where(frame, self.where)

    def series(self) -> pd.DataFrame:
        """Return how the part goes over time; the run must be there."""
        assert self.run is not None
        whole = self.run.series
        if not self.where:
            return whole
        known = _SERIES.setdefault(self.run, {})
        key = tuple(self.where.items())
        if key not in known:
            known[key] = self._series(whole)
        return known[key]

    def _series(self, whole: pd.DataFrame) -> pd.DataFrame:
        assert self.run is not None
        width_s = float(whole["time_s"].iloc[1] - whole["time_s"].iloc[0]) if len(whole) > 1 else end_of(self.run)
        notifications, attempts, dlq = (self.table(name) for name in ("notifications", "attempts", "dlq"))
        return series_of(notifications, attempts, dlq, whole["time_s"], width_s)


def rows_where(frame: pd.DataFrame, where: Mapping[str, str]) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def are_first(attempts: pd.DataFrame) -> pd.Series[bool]:
    """Return which attempts are no retries: the first of a notification, and the first after each redrive of it."""
    if not {"attempt", "outcome"} <= set(attempts.columns):
        return ~attempts["id"].duplicated()
    return (attempts["attempt"] == 1) & (attempts["outcome"] != "channel_fault")  # which has the number of the next


def requests_where(source: Source, where: Mapping[str, str]) -> pd.DataFrame:
    """Return a row for each request of a part of a run, or of its notifications, as `requests_of` does.

    A request is of the channel that has delivered it, or has taken it over last: so the channel is selected after the
    requests of all channels have been put together.
    """
    of_rows = {column: value for column, value in where.items() if column != "channel"}
    if isinstance(source, pd.DataFrame):
        found = requests_of(rows_where(source, of_rows))
    else:  # an address may have been found to be gone in another part
        found = source.requests[source.requests.index.isin(rows_where(source.notifications, of_rows).index)]
    return rows_where(found, {column: value for column, value in where.items() if column == "channel"})


By: TypeAlias = Literal["channel", "entry", "priority"]
"""A division of a run: by its channels, the entries of its workload, or their classes of traffic."""


def parts(
    source: Source, table: str, *needed: str, channel: str | None = None, entry: str | None = None, by: By | None = None
) -> list[Taken]:
    """Return the parts of a table of a source that a plot shows; one where it is not divided.

    Args:
        source: a run, or the table itself.
        table: the table's name, such as ``attempts``.
        needed: the columns that it must have.
        channel: of this channel alone.
        entry: of this entry of the workload alone.
        by: a part for each of these.

    Raises:
        ConfigurationError: there is no such channel or entry; or the run kept no rows that would tell them apart.
        WrongType: it is neither a run nor the table.
    """
    found = taken(source, table, *needed)
    chosen = {name: value for name, value in (("channel", channel), ("entry", entry)) if value is not None}
    problems = []
    for name, value in chosen.items():
        if value not in (known := _values(found, name)):
            listed = ", ".join(known) or "none"
            what = "a channel that the scenario uses" if name == "channel" else "an entry of its workload"
            problems.append(f"{name}: wanted {what} ({listed}), got {value!r}")
    if by is not None and by not in get_args(By):
        problems.append(f"by: wanted {', '.join(get_args(By))}, got {by!r}")
    if problems:
        raise ConfigurationError(problems)
    wanted = [{**chosen, by: value} for value in _values(found, by)] if by is not None else [chosen]
    wanted = [each for each in wanted if chosen.items() <= each.items()]
    return [_part(found, table, each) for each in wanted]


def _values(found: Taken, column: str) -> list[str]:
    if found.scenario is None:
        return list(map(str, found.frame[column].dropna().unique())) if column in found.frame.columns else []
    outline = found.scenario.outline
    names = {"channel": found.scenario.channels_used, "entry": outline.entries, "priority": outline.classes}[column]
    return list(map(str, names))


def _part(found: Taken, table: str, where: Mapping[str, str]) -> Taken:
    label = ", ".join(where.values())
    run = found.run
    if run is None:
        return found._replace(frame=rows_where(found.frame, where).reset_index(drop=True), label=label)
    channel = where.get("channel")
    if channel is None and len(run.scenario.channels_used) == 1:
        channel = str(run.scenario.channels_used[0])
    apart = {name: value for name, value in where.items() if len(_values(found, name)) > 1}
    if apart and run.scenario.record != "full":
        kept = "wanted a run that kept its notifications (record: full), got one of aggregates"
        raise ConfigurationError([f"{next(iter(apart))}: {kept}"])
    part = found._replace(where=apart, label=label, channel=channel)
    if not apart:
        return part
    frame = part.series() if table == "series" else rows_where(found.frame, apart).reset_index(drop=True)
    return part._replace(frame=frame)


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
