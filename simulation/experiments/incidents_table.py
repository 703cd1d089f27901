"""Verdicts of incidents, as a terminal shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from simulation.experiments.incidents import Verdict
from simulation.reporting.console import print_table, stdout
from simulation.results.formatting import NOTHING, metric_text
from simulation.scenario import Expectation
from simulation.scenario.metrics import NEVER, metric_kind


def print_verdicts(verdicts: Sequence[Verdict], settings: str) -> None:
    """Print how settings fared in each incident, on stdout."""
    held = sum(verdict.holds for verdict in verdicts)
    console = stdout()
    console.print(
        f"[bold]{escape(settings)}[/bold]  {held} of {len(verdicts)} incidents hold", highlight=False, soft_wrap=True
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("incident", "", "what decides", "is", "as it happened"):
        table.add_column(column, no_wrap=True)
    for verdict in verdicts:
        table.add_row(
            verdict.incident.name,
            "[green]holds[/green]" if verdict.holds else "[red]breaks[/red]",
            escape(verdict.decisive["text"]),
            _value(verdict),
            escape(verdict.incident.happened),
        )
    print_table(table)


def _value(verdict: Verdict) -> str:
    decisive = verdict.decisive
    value = decisive["value"]
    if decisive.get("never") or (value is not None and math.isinf(value)):
        return NEVER
    if value is None:
        return NOTHING
    path = Expectation.parse(decisive["text"]).text.split()[0]
    return metric_text(value, metric_kind(verdict.result.scenario.outline, path))
