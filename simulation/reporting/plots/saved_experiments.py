"""Comparisons and searches for settings that were saved, opened again as far as pictures need them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from actors.errors import ConfigurationError
from simulation.reporting.plots.experiments import SearchedSettings
from simulation.results.files import read_table
from simulation.scenario.space import settings_of

COMPARISON, SEARCH = "comparison.json", "tuning.json"
"""The documents of both, by which their folders are known."""


class SavedComparison(NamedTuple):
    table: pd.DataFrame


def saved_comparison(directory: Path) -> SavedComparison:
    """Return the comparison that was saved in a folder.

    Raises:
        ConfigurationError: its table is not there, or cannot be read.
    """
    return SavedComparison(_table(directory, "comparison.parquet", "a comparison"))


def saved_search(directory: Path) -> SearchedSettings:
    """Return the search that was saved in a folder.

    Raises:
        ConfigurationError: a file of it is not there, or cannot be read.
    """
    table = _table(directory, "trials.parquet", "a search")
    try:
        document: dict[str, Any] = json.loads((directory / SEARCH).read_text(encoding="utf-8"))
        objectives = {each["figure"]: each["direction"] == "maximize" for each in document["objectives"]}
        paths = list(document["vary"])
        numbers = [each["trial"] for each in document["trials"]]
        settings = settings_of(paths, [[str(each["setting"][path]) for path in paths] for each in document["trials"]])
        labels = {number: setting.label if number else "" for number, setting in zip(numbers, settings, strict=True)}
        found = tuple(each["trial"] for each in document["found"])
        return SearchedSettings(objectives, float(document["probability"]), table, labels, found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        wanted = "wanted the folder of a search"
        raise ConfigurationError([f"{directory}: {wanted}, got one that cannot be read: {error}"]) from None


def _table(directory: Path, name: str, what: str) -> pd.DataFrame:
    if not (directory / name).is_file():
        raise ConfigurationError([f"{directory}: wanted the folder of {what}, got one without {name}"])
    return read_table(directory / name)
