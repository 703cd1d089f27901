"""The report on a fit: what was found, what was not, and what was not looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.formatting import counted
from simulation.fitting.bursts import CLUSTERED
from simulation.fitting.setting_lines import lines_of
from simulation.fitting.writing import in_unit_of, per_second
from simulation.reporting.console import stdout
from simulation.results.formatting import duration_text

if TYPE_CHECKING:
    from simulation.fitting.arriving import Arriving
    from simulation.fitting.calibration import Fit
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
    """Print which columns of a log were read as what, and which were not, and what may be wrong with that. Of the table
    of a run, whose columns are known, only the latter."""
    from rich.markup import escape

    if "next_retry_at_s" not in log.unread:
        read = ", ".join(name if name == role else f"{name} as {role}" for name, role in log.used.items())
        text = f"columns read: {read}; not read: {', '.join(log.unread) or 'none'}"
        stdout().print(escape(text))
    for warning in log.warnings:
        stdout().print(f"warning: {escape(warning)}", style="bold yellow")


def print_fit(fit: Fit, written: list[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    console, log = stdout(), fit.log
    console.print(
        f"[bold]{escape(log.source)}[/bold]  {counted(len(log), 'attempt')} in {duration_text(log.duration_s)}",
    )
    print_reading(log)
    for note in fit.notes:
        console.print(f"note: {escape(note)}", style="dim")
    for found in fit.providers.values():
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column(escape(found.name), no_wrap=True)
        table.add_column("value", no_wrap=True)
        table.add_column("95% interval", no_wrap=True)
        table.add_column("evidence", style="dim")
        came: list[tuple[str, Arriving | None]] = [("arrivals", fit.arriving[found.channel])]
        came += [(f"  {priority}", each) for priority, each in fit.classes.get(found.channel, {}).items()]
        for name, arriving in came if found.provider in (None, "primary") else ():
            if arriving is None:
                continue
            low, high, unit = in_unit_of(arriving.rate.value, arriving.rate.low, arriving.rate.high)
            # That of a Poisson process: what comes at even distances is not left to chance.
            ends = "" if arriving.process == "constant" else f"[{low}, {high}]/{unit}"
            evidence = f"{arriving.count:,} first attempts, as {arriving.process}"
            table.add_row(name, per_second(arriving.rate.value), escape(ends), evidence)
        for line in lines_of(found):
            table.add_row(*(escape(cell) for cell in line))
        console.print(table)
        for text in (*(f"note: {note}" for note in found.notes), not_found(found)):
            if text:
                console.print(escape(text), style="dim")
    console.print(NOT_LOOKED_FOR, style="dim")
    if written:
        console.print(f"written to {escape(', '.join(written))}", soft_wrap=True)
