"""A result on disk: the summary, the scenario, the tables, a picture, and the report."""

from __future__ import annotations

import json
from pathlib import Path

from simulation.reporting.html import report
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

ROW_GROUP = 100_000
"""So many rows of a table are encoded at once, which takes 600 bytes for each of them."""


def save_result(result: Result, directory: str | Path) -> list[Path]:
    """Write `summary.json`, `scenario.yaml`, tables as Parquet, `overview.png` and `report.html` into a directory.

    Returns the paths; the report is the last. :func:`simulation.open_result` reads the others again. What an
    earlier run left there is replaced.

    Raises:
        ConfigurationError: the directory has the results of another kind of command, or the file of the scenario
            itself under one of these names.
        OSError: the directory or a file in it cannot be written.
    """
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
