"""The data of a sweep plot: the means or medians of one metric by cell, and the settings that were varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import pandas as pd

from actors.errors import ConfigurationError, WrongType
from actors.formatting import plain_number
from actors.settings.hints import nearest
from actors.settings.quantities import parse_duration, parse_rate
from simulation.scenario import Expectation
from simulation.scenario.arguments import check_metric
from simulation.scenario.metrics import path_of
from simulation.scenario.space import Setting, number_of, short_names

HOLDS = "expectations_hold"
"""The metric of a sweep's cell that is 1 where every run of it is as expected."""

OF_A_CELL = ("cell", "figure", "n", "never", "mean", "median", "sd", "low", "high")
"""The columns beside the varied settings."""


class SweepCells(Protocol):
    """The attributes of a sweep that plots need."""

    @property
    def cells(self) -> pd.DataFrame: ...


SweepSource: TypeAlias = "SweepCells | pd.DataFrame"
"""A sweep, or its frame `cells`."""


class Cells(NamedTuple):
    """The frame `cells` of a sweep, and the settings that were varied in it."""

    frame: pd.DataFrame
    varied: tuple[str, ...]
    written: Mapping[str, Mapping[Any, str]]
    """For each setting its values as a person wrote them, as far as that is known: ``10s`` for 10."""

    expect: tuple[Expectation, ...] = ()
    """The expectations of each run, as far as they are known."""

    runs: pd.DataFrame | None = None
    """A row for each run, where there are any."""

    def expected(self, figure: str) -> list[Expectation]:
        """Return the bounds that the scenario has for a metric."""
        return [each for each in self.expect if path_of(each.path) == figure]

    def meets(self) -> set[int] | None:
        """Return the cells in which every run is as expected; None where nothing is expected, or that is not known."""
        rows = self.frame[self.frame["figure"] == HOLDS]
        return None if rows.empty else set(rows.loc[rows["mean"] >= 1.0, "cell"])

    def text(self, path: str, value: Any) -> str:
        """Return a value of a setting as a person would write it."""
        return self.written.get(path, {}).get(value) or value_text(value)

    def axis_label(self, path: str) -> str:
        """Return what stands at an axis of a setting, with its unit where that is known."""
        texts = self.written.get(path, {}).values()
        if any(parse_duration(text, unit_required=True) is not None for text in texts):
            return f"{path} (s)"
        return f"{path} (a second)" if any(parse_rate(text, unit_required=True) is not None for text in texts) else path

    def of(self, figure: str) -> pd.DataFrame:
        """Return the rows of one metric of the summary: `middle` is its mean, or its median where it may be never, and
        infinite where that is.

        Raises:
            ConfigurationError: the sweep has no such metric.
        """
        rows = self.frame[self.frame["figure"] == figure]
        if rows.empty:
            check_metric(figure, dict.fromkeys(self.frame["figure"]))
        rows = rows.reset_index(drop=True)
        if "median" not in rows.columns:  # as in the frame of an older sweep
            return rows.assign(middle=rows["mean"], never=0)
        return rows.assign(middle=rows["mean"].fillna(rows["median"]))

    def setting(self, role: str, path: str | None, taken: Sequence[str] = ()) -> str:
        """Return which of the varied settings plays a role in a plot: the one that is asked for, or the first left.

        A number is preferred for an axis.

        Raises:
            ConfigurationError: it was not varied, or none is left.
        """
        if path is not None:
            if path not in self.varied:
                near = nearest(path, self.varied)
                choice = f"such as {near}" if near else f"({', '.join(self.varied) or 'none'})"
                raise ConfigurationError([f"{role}: wanted a setting that was varied, {choice}, got {path!r}"])
            return path
        left = [name for name in self.varied if name not in taken]
        if not left:
            raise ConfigurationError([f"{role}: wanted a sweep of {len(taken) + 1} settings or more, got {len(taken)}"])
        return next((name for name in left if is_number(self.frame[name])), left[0])


def cells_of(sweep: SweepSource) -> Cells:
    """Return the cells of a sweep.

    Raises:
        WrongType: it is neither a sweep nor its frame `cells`.
    """
    frame = sweep if isinstance(sweep, pd.DataFrame) else getattr(sweep, "cells", None)
    if not isinstance(frame, pd.DataFrame):
        raise WrongType(f"wanted a sweep or its frame `cells`, got {type(sweep).__name__}")
    missing = [column for column in ("cell", "figure", "n", "mean", "low", "high") if column not in frame.columns]
    if missing:
        had = ", ".join(map(str, frame.columns)) or "none"
        raise WrongType(f"wanted the frame `cells` of a sweep; {', '.join(missing)} missing, got {had}")
    named = getattr(sweep, "varied", None)
    varied = [column for column in frame.columns if column not in OF_A_CELL] if named is None else named
    runs = getattr(sweep, "runs", None)
    expect = tuple(getattr(getattr(sweep, "scenario", None), "expect", ()))
    frame = frame.assign(**{path: _numbers(frame[path]) for path in varied if path in frame.columns})
    return Cells(frame, tuple(map(str, varied)), _written(getattr(sweep, "settings", ())), expect, runs)


def _numbers(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return quantities as numbers, ``10s`` as 10, where all are; else the values as they are."""
    if is_number(values) or not all(isinstance(value, str) for value in values.unique()):
        return values
    numbers = {text: number_of(text) for text in values.unique()}
    return values if None in numbers.values() else values.map(numbers).astype("float64")


def _written(settings: Sequence[Setting]) -> dict[str, dict[Any, str]]:
    written: dict[str, dict[Any, str]] = {}
    for setting in settings:
        for path, text in setting.values:
            number = number_of(text)
            written.setdefault(path, {})[text if number is None else number] = text
    return written


def is_number(values: pd.Series[Any]) -> bool:
    """Return whether the values of a setting are numbers; true and false are not."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def value_text(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (int, float, np.number)):
        return plain_number(float(value), 6).replace(",", "")  # which stands between settings
    return str(value)


def setting_text(row: pd.Series[Any], cells: Cells) -> str:
    """Return the settings of a cell: ``max_attempts=5, jitter=full``."""
    names = short_names(cells.varied)
    return ", ".join(f"{names[path]}={cells.text(path, row[path])}" for path in cells.varied)


def error_bars(rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return how far the 95% intervals reach below and above the middle; NaN where that is not known."""
    middle = rows["middle"].to_numpy(float)
    return np.array([middle - rows["low"].to_numpy(float), rows["high"].to_numpy(float) - middle]).clip(0.0)
