"""The sheet of a run: the ends of the requests of each channel and of each entry of the workload, and of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulation.results.formatting import line_of_run, quantile
from simulation.sheets import Column, Kind, Row, Sheet, notebook

_COUNTS = {
    "offered": "offered",
    "delivered": "delivered",
    "dead": "dead_lettered",
    "unwanted": "unwanted",
    "handed on": "handed_on",
    "in flight": "in_flight",
    "deferred": "deferred",
    "hedges": "hedges",
    "duplicates": "duplicates",
}
_ALWAYS = {"offered", "delivered", "dead"}
TIMES = ("p50", "p90", "p99")

COUNTED = ("channel", "offered", "delivered", "dead", "unwanted", "in flight", "attempts")
"""The columns that tell most, also before a run has ended."""

IN_SHORT = (*COUNTED, "p50", "p99")
"""The columns that tell most of a run that has ended."""

_COLUMNS = (
    Column("attempts in all", Kind.COUNT),
    Column("attempts", Kind.TIMES),
    *(Column(name, Kind.DURATION) for name in TIMES),
)


def channels_sheet(summary: Mapping[str, Any], entries: Mapping[str, str] = {}) -> Sheet:
    """Return the sheet of a summary, without the columns in which all is 0.

    Args:
        summary: of a run; one of an older version may lack keys.
        entries: the names of entries of the workload that have a row of their own, each with the channel below whose
            row it stands; below all of them where that is empty.
    """
    counts = {heading: key for heading, key in _COUNTS.items() if heading in _ALWAYS or summary.get(key)}
    columns = [Column("channel"), *(Column(heading, Kind.COUNT) for heading in counts), *_COLUMNS]
    rows = []
    for channel, figures in (*summary["channels"].items(), ("", None)):
        rows += [Row([channel, *_cells(figures, counts)])] if figures is not None else []
        own = [name for name, of_channel in entries.items() if of_channel == channel]
        rows += [Row([name, *_cells(summary["workload"][name], counts)], "part") for name in own]
    of_channels = sum(figures.get("offered", 0) for figures in summary["channels"].values())
    if len(rows) > 1 or of_channels < summary.get("offered", 0):  # as own actors may have sent on any
        rows.append(Row(["all", *_cells(summary, counts)], "total"))
    return Sheet(columns=columns, rows=rows)


def _cells(figures: Mapping[str, Any], counts: Mapping[str, str]) -> list[Any]:
    older = {"offered": "accepted", "delivered": "sent"}
    return [
        *(figures.get(key, figures.get(older.get(key, key))) for key in counts.values()),
        figures["attempts"],
        figures["retry_amplification"],
        *(quantile(figures, name) for name in TIMES),
    ]


def run_as_html(kind: str, summary: Mapping[str, Any]) -> str:
    """Return the HTML of a run's summary for a notebook: its sheet, and its expectations."""
    marks = {True: "✓", False: "✗", None: "–"}
    expected = [f"{marks[each['holds']]} {each['text']}" for each in summary["expectations"]]
    sheet = channels_sheet(summary).only(*IN_SHORT)
    return notebook(sheet._replace(title=line_of_run(kind, summary).strip("<>"), said=["; ".join(expected)]))
