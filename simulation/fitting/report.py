"""The report on a fit, and on replays: the findings, the gaps, and the limits of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from actors.formatting import counted
from simulation.fitting.bursts import CLUSTERED
from simulation.fitting.calibration import lines_of
from simulation.fitting.estimate import in_unit_of, per_second
from simulation.fitting.whatif import Replayed, WhatIf
from simulation.reporting.console import print_sheets, stdout
from simulation.results.formatting import NOTHING, duration_text, seeds_text
from simulation.sheets import Column, Kind, Row, Sheet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulation.fitting.calibration import Arriving, Fit
    from simulation.fitting.log import AttemptLog
    from simulation.fitting.provider_fit import ProviderFit

NOT_LOOKED_FOR = (
    "Not looked for: flapping (its bad spells are outages or bursts here), capacity, and failures that depend on load."
)


def not_found(found: ProviderFit) -> str:
    missing = []
    failing = found.failing
    if failing is not None and not failing.outages:
        missing.append("outages")
    if failing is not None and failing.bursts is None:
        few = "" if failing.clustering >= CLUSTERED else f" (clustering {failing.clustering:.1f} standard errors)"
        missing.append(f"bursts{few}")
    if not found.brownouts:
        missing.append("brownouts")
    if failing is not None and found.throttling is None:
        missing.append("a quota")
    return f"None found: {', '.join(missing)}." if missing else ""


def print_reading(log: AttemptLog) -> None:
    """Print the meaning of each column of a log, the unread columns, and doubts about the reading; for the table of a
    run, whose columns are known, only the doubts."""
    if "next_retry_at_s" not in log.unread:
        read = ", ".join(name if name == role else f"{name} as {role}" for name, role in log.used.items())
        text = f"columns read: {read}; not read: {', '.join(log.unread) or 'none'}"
        stdout().print(escape(text))
    for warning in log.warnings:
        stdout().print(f"warning: {escape(warning)}", style="bold yellow")


def print_fit(fit: Fit, written: list[str]) -> None:
    console, log = stdout(), fit.log
    console.print(
        f"[bold]{escape(log.source)}[/bold]  {counted(len(log), 'attempt')} in {duration_text(log.duration_s)}"
    )
    print_reading(log)
    for note in fit.notes:
        console.print(f"note: {escape(note)}", style="dim")
    for found in fit.providers.values():
        columns = [*map(Column, (found.name, "value", "95% interval")), Column("evidence", folds=True)]
        notes = [*(f"note: {note}" for note in found.notes), not_found(found)]
        print_sheets(Sheet(columns=columns, rows=list(_rows(fit, found)), notes=list(filter(None, notes))))
    console.print(NOT_LOOKED_FOR, style="dim")
    if written:
        console.print(f"written to {escape(', '.join(written))}", soft_wrap=True)


def _rows(fit: Fit, found: ProviderFit) -> Iterator[Row]:
    came: list[tuple[str, Arriving | None]] = [("arrivals", fit.arriving[found.channel])]
    came += [(f"  {priority}", each) for priority, each in fit.classes.get(found.channel, {}).items()]
    for name, arriving in came if found.provider in (None, "primary") else ():
        if arriving is None:
            continue
        low, high, unit = in_unit_of(arriving.rate.value, arriving.rate.low, arriving.rate.high)
        # That of a Poisson process: what comes at even distances is not left to chance.
        ends = "" if arriving.process == "constant" else f"[{low}, {high}]/{unit}"
        evidence = f"{arriving.count:,} first attempts, as {arriving.process}"
        yield Row((name, per_second(arriving.rate.value), ends, evidence))
    yield from map(Row, lines_of(found))


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
        f"{runs}"
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
