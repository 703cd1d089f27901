"""What a notebook shows of the result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulation.results.formatting import amplification_text, line_of_run, quantile_text
from simulation.scenario.notebook_html import shown_as_html


def run_as_html(kind: str, summary: Mapping[str, Any]) -> str:
    """Return the summary of a run as a table: a row for each channel and one for all, and what is expected."""
    columns = ("", "offered", "delivered", "dead-lettered", "attempts each", "half within", "99% within")
    groups = dict(summary["channels"]) | ({"all": summary} if len(summary["channels"]) > 1 else {})
    rows = [
        [
            name,
            int(figures.get("offered", figures["accepted"])),
            int(figures.get("delivered", figures["sent"])),
            int(figures["dead_lettered"]),
            amplification_text(figures["retry_amplification"]),
            quantile_text(figures, "p50"),
            quantile_text(figures, "p99"),
        ]
        for name, figures in groups.items()
    ]
    marks = {True: "✓", False: "✗", None: "–"}
    expected = "; ".join(f"{marks[each['holds']]} {each['text']}" for each in summary["expectations"])
    return shown_as_html(line_of_run(kind, summary).strip("<>"), columns, rows, expected)
