"""What replays of a record say, and what they cannot know."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from simulation.fitting.report import print_reading
from simulation.fitting.whatif import Replayed, WhatIf
from simulation.reporting.console import print_table, stdout
from simulation.results.formatting import NOTHING, duration_text, seeds_text

CANNOT_KNOW = (
    "A replay cannot know what the provider would have done under another load: its answers are those of that time, "
    "however many ask. Where no attempt was made, as behind an open breaker, it knows next to nothing, and no interval "
    "here says so: other policies that ask then get the few answers there are. What timed out then never answers, "
    "whatever the timeout is. Without a column requested_at_s an arrival is a recorded first attempt: what waited "
    "before it, as at an open breaker, is taken to come later. What goes on after the end of the record meets the "
    "provider of its last moments."
)

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
    """Print the metrics on stdout."""
    console = stdout()
    seeds = found.seeds
    runs = seeds_text(seeds)
    console.print(
        f"[bold]{escape(found.log.source)}[/bold] under the policies of [bold]{escape(found.scenario.name)}[/bold]  "
        f"{runs}",
        highlight=False,
    )
    print_reading(found.log)
    for note in found.notes:
        console.print(f"note: {escape(note)}", style="dim", highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    for heading in ("recorded", "replayed", "", "difference"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for channel, metrics in found.channels.items():
        table.add_row(f"[bold]{escape(channel)}[/bold]")
        for name, metric in metrics.items():
            table.add_row(f"  {_LABELS[name]}", *_cells(name, metric))
    print_table(table)
    if len(seeds) > 1:
        console.print(
            "± where one more replay lies, in 95 of 100; *: the record does not", style="dim", highlight=False
        )
    console.print(CANNOT_KNOW, style="dim", highlight=False)


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
