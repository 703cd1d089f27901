"""Verdicts of incidents, as a terminal shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from actors.formatting import plain_number
from simulation.experiments.incidents import Verdict
from simulation.experiments.remedies import Remedy
from simulation.reporting.console import print_table, stdout
from simulation.results.formatting import metric_text, value_text
from simulation.scenario import Expectation
from simulation.scenario.metrics import metric_kind, path_of


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


def print_remedies(remedies: Mapping[str, Remedy]) -> None:
    """Print, by incident, with what each that has not held would have, on stdout."""
    console = stdout()
    for incident, remedy in remedies.items():
        console.print(f"\n[bold]{incident}[/bold] would hold with", highlight=False)
        for line in remedy.lines or ["nothing that is tried: no change by itself, nor all of them together"]:
            console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
        if remedy.has_rates:
            scaled = ", scaled down from what it was" if remedy.is_scaled_down else ""
            load = f"{plain_number(remedy.arrive_per_s, 2)}/s that arrive here on average{scaled}"
            told = f"its rates are of the {load}: multiply them by as many times as your load is larger"
            console.print(f"  [dim]{told}[/dim]", highlight=False, soft_wrap=True)


def _value(verdict: Verdict) -> str:
    path = path_of(Expectation.parse(verdict.decisive["text"]).path)
    kind = metric_kind(verdict.result.scenario.outline, path)
    return value_text(verdict.decisive, lambda value: metric_text(value, kind))
