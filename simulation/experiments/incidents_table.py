"""The verdicts of incidents as a sheet, and the changes with which they would be others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.markup import escape

from actors.formatting import plain_number
from actors.messages import NotificationChannel
from actors.settings.channel import NotifierConfig
from simulation.experiments.incidents import INCIDENTS, Verdict
from simulation.experiments.remedies import Remedy
from simulation.reporting.console import stdout
from simulation.reporting.expectations import with_unit
from simulation.results.formatting import value_text
from simulation.scenario import Expectation
from simulation.scenario.metrics import metric_kind, path_of
from simulation.sheets import Column, Row, Sheet, Word


def verdicts_sheet(verdicts: Sequence[Verdict], called: str, settings: NotifierConfig) -> Sheet:
    """Return how settings fared in each incident."""
    held = sum(verdict.holds for verdict in verdicts)
    rows = [
        Row(
            (
                verdict.incident.name,
                Word("holds", "fine") if verdict.holds else Word("breaks", "bad"),
                verdict.decisive["text"],
                _value(verdict),
                verdict.incident.happened,
            )
        )
        for verdict in verdicts
    ]
    columns = [Column(heading) for heading in ("incident", "", "what decides", "is", "as it happened")]
    said = [f"{name}: not judged, for the file has no {' and no '.join(each)}" for name, each in not_judged(settings)]
    return Sheet(called, columns, rows, said=said, about=f"{held} of {len(verdicts)} incidents hold")


def not_judged(settings: NotifierConfig) -> list[tuple[str, list[NotificationChannel]]]:
    """Return the names of the incidents that are not judged, with the channels that settings lack."""
    return [(each.name, missing) for each in INCIDENTS if (missing := each.missing(settings))]


def print_remedies(remedies: Mapping[str, Remedy]) -> None:
    """Print, by incident, with what each that has not held would have, on stdout."""
    console = stdout()
    for incident, remedy in remedies.items():
        console.print(f"\n[bold]{incident}[/bold] would hold with")
        for line in remedy.lines or ["nothing that is tried: no change by itself, nor all of them together"]:
            console.print(f"  {escape(line)}", soft_wrap=True)
        if remedy.has_rates:
            scaled = ", scaled down from what it was" if remedy.is_scaled_down else ""
            load = f"{plain_number(remedy.arrive_per_s, 2)}/s that arrive here on average{scaled}"
            told = f"its rates are of the {load}: multiply them by as many times as your load is larger"
            console.print(f"  [dim]{told}[/dim]", soft_wrap=True)


def _value(verdict: Verdict) -> str:
    path = path_of(Expectation.parse(verdict.decisive["text"]).path)
    kind = metric_kind(verdict.result.scenario.outline, path)
    return value_text(verdict.decisive, lambda value: with_unit(value, kind))
