"""What replays of a record say, and what they cannot know."""

from __future__ import annotations

from rich.markup import escape

from simulation.fitting.report import print_reading
from simulation.fitting.whatif import Replayed, WhatIf
from simulation.reporting.console import print_sheets, stdout
from simulation.results.formatting import NOTHING, duration_text, seeds_text
from simulation.sheets import Column, Kind, Row, Sheet

CANNOT_KNOW = (
    "A replay cannot know what the provider would have done under another load: its answers are those of that time, "
    "however many ask. Where no attempt was made, as behind an open breaker, it knows next to nothing, and no interval "
    "here says so: other policies that ask then get the few answers there are. What timed out then never answers, "
    "whatever the timeout is. Without a column requested_at_s an arrival is a recorded first attempt: what waited "
    "before it, as at an open breaker, is taken to come later. What goes on after the end of the record meets the "
    "provider of its last moments."
)

HEADINGS = ("", "recorded", "replayed", "", "difference")

_LABELS = {
    "notifications": "notifications",
    "attempts": "attempts",
    "failures": "failed attempts",
    "retry_amplification": "amplification",
    "sent_fraction": "sent at last",
    "p50_s": "time until sent, p50",
    "p99_s": "time until sent, p99",
    "max_s": "time until sent, longest",
}


def print_whatif(found: WhatIf) -> None:
    console = stdout()
    seeds = found.seeds
    runs = seeds_text(seeds)
    console.print(
        f"[bold]{escape(found.log.source)}[/bold] under the policies of [bold]{escape(found.scenario.name)}[/bold]  "
        f"{runs}",
    )
    print_reading(found.log)
    for note in found.notes:
        console.print(f"note: {escape(note)}", style="dim")
    rows = []
    for channel, metrics in found.channels.items():
        rows.append(Row((channel, "", "", "", ""), "heading"))
        rows += [Row((_LABELS[name], *_cells(name, metric)), "part") for name, metric in metrics.items()]
    columns = [Column(heading, Kind.NUMBER if heading else Kind.TEXT) for heading in HEADINGS]
    notes = ["± where one more replay lies, in 95 of 100; *: the record does not"] if len(seeds) > 1 else []
    print_sheets(Sheet(columns=columns, rows=rows, notes=[*notes, CANNOT_KNOW]))


def _cells(name: str, metric: Replayed) -> tuple[str, str, str, str]:
    def text(value: float | None) -> str:
        if value is None:
            return NOTHING
        if name.endswith("_s"):
            return duration_text(value)
        if name == "sent_fraction":
            return f"{100 * value:.2f}%"
        return f"×{value:.3f}" if name == "retry_amplification" else f"{value:,.0f}"

    half, difference = metric.half_width, metric.difference
    if difference is None:
        return text(metric.recorded), text(metric.mean), "", NOTHING
    beyond = half is not None and abs(difference) > half
    spread = "" if not half else f"± {text(half).lstrip('×')}{' *' if beyond else ''}"
    sign = "-" if difference < 0 else "+"
    changed = "same" if difference == 0 else f"{sign}{text(abs(difference)).lstrip('×')}"
    return text(metric.recorded), text(metric.mean), spread, changed
