"""The report on a fit, line by line: each setting, its interval, and the evidence for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from actors.formatting import counted
from simulation.fitting.bursts import CLUSTERED
from simulation.fitting.estimate import Estimate
from simulation.fitting.writing import in_unit_of, per_second, percent, plain
from simulation.reporting.console import stdout
from simulation.results.formatting import duration_text
from simulation.scenario.notebook_html import shown_as_html

if TYPE_CHECKING:
    from simulation.fitting.calibration import Fit, ProviderFit
    from simulation.fitting.latency import Latency
    from simulation.fitting.slowness import Brownout

NOT_LOOKED_FOR = (
    "Not looked for: flapping (its bad spells are outages or bursts here), capacity, and failures that depend on load."
)


class Line(NamedTuple):
    """One setting of a provider."""

    setting: str
    value: str
    interval: str
    evidence: str


def fit_as_html(fit: Fit) -> str:
    """Return what was found, as a notebook shows it: the settings with their intervals and the evidence."""
    rows = [
        (name, found.setting, found.value, found.interval, found.evidence)
        for name, provider in fit.providers.items()
        for found in lines_of(provider)
    ]
    notes = [f"{name}: {said}" for name, provider in fit.providers.items() for said in provider.notes]
    columns = ("provider", "setting", "value", "95% interval", "evidence")
    return shown_as_html(repr(fit).strip("<>"), columns, rows, " ".join([*fit.notes, *notes]))


def lines_of(found: ProviderFit) -> Iterator[Line]:
    """Yield the settings that were found for a provider."""
    if found.latency is not None:
        yield from _latency_lines(found.latency)
    if found.lost_reply_rate is not None:
        lost = found.lost_reply_rate
        yield Line(
            "lost_reply_rate", percent(lost.value), _shares(lost), "more time out than the latency's tail explains"
        )
    failing = found.failing
    if failing is not None:
        answered, bursts = failing.counts["answered"], failing.bursts
        for name, estimate in failing.rates.items():
            count = failing.counts[name]
            if name == "failure_rate" or count:
                outside = " outside of outages" if failing.outages else ""
                evidence = f"{count:,} of {answered:,} answers{outside}"
                if name == "failure_rate" and bursts is not None:
                    evidence += ", bad spells included"
                yield Line(name, percent(estimate.value), _shares(estimate), evidence)
        if bursts is not None:
            yield from _burst_lines(found)
        for outage in failing.outages:
            window = outage.window
            evidence = f"{window.hits:,} of {window.attempts:,} failed; by chance: below {_power(window.log10_chance)}"
            kind = "partial outage" if outage.is_partial else "hang or lost" if outage.kind == "hang" else outage.kind
            yield Line(f"{kind} at", _at(window.start_s.value), _ats(window.start_s), evidence)
            yield Line("  until", _at(window.end_s.value), _ats(window.end_s), "between neighbouring attempts")
            for name, estimate in outage.rates.items():
                yield Line(f"  {name}", percent(estimate.value), _shares(estimate), "in it, besides the usual")
    for brownout in found.brownouts:
        yield from _brownout_lines(brownout)
    if found.throttling is not None:
        quota = found.throttling
        yield Line(
            "throttle rate",
            per_second(quota.rate.value),
            f"[{plain(quota.rate.low)}, {plain(quota.rate.high)}]/s",
            f"let through between {quota.refusals:,} refusals, from {_at(quota.start_s)} to {_at(quota.end_s)}",
        )


def _brownout_lines(brownout: Brownout) -> Iterator[Line]:
    window, unanswered = brownout.window, brownout.unanswered
    chance = f"{window.attempts:,} attempts; by chance: below {_power(window.log10_chance)}"
    yield Line("brownout at", _at(window.start_s.value), _ats(window.start_s), chance)
    yield Line("  until", _at(window.end_s.value), _ats(window.end_s), "between neighbouring attempts")
    if brownout.is_slow:
        factor = brownout.factor
        ends = f"[{plain(factor.low)}, {plain(factor.high)}]"
        yield Line("  latency_factor", plain(factor.value), ends, "ratio of medians, of what is answered")
    if brownout.latency is not None:
        yield from (line._replace(setting=f"  {line.setting}") for line in _latency_lines(brownout.latency))
    if unanswered is not None:
        evidence = "hang, or are delivered and their reply lost: no log can tell"
        yield Line("  unanswered", percent(unanswered.value), _shares(unanswered), evidence)


def _latency_lines(latency: Latency) -> Iterator[Line]:
    fit = latency.fit
    margin = "" if latency.margin is None else f"; BIC {plain(abs(latency.margin))} below {latency.others[0].family}"
    if latency.margin is not None and latency.margin < 0:
        margin = f"; BIC {plain(-latency.margin)} above {latency.others[0].family}, too little for what that is more"
    name = "empirical" if latency.is_empirical else fit.family
    evidence = f"of {latency.is_of}{margin}" if not latency.is_empirical else f"of {latency.is_of}; no family fits"
    yield Line("latency", name, "", evidence)
    if latency.is_empirical:
        yield Line("  nearest", fit.family, "", f"{latency.goodness.words}; {_statistics(latency)}")
    for number, (parameter, estimate) in enumerate(fit.parameters.items()):
        is_time = parameter not in ("alpha",) and not parameter.startswith("weight")
        value = duration_text(estimate.value) if is_time else plain(estimate.value)
        ends = [duration_text(end) if is_time else plain(end) for end in (estimate.low, estimate.high)]
        yield Line(f"  {parameter}", value, f"[{ends[0]}, {ends[1]}]", fit.intervals if number == 0 else "")
    if not latency.is_empirical:
        yield Line("  fit", latency.goodness.degree, "", f"{latency.goodness.words}; {_statistics(latency)}")


def _statistics(latency: Latency) -> str:
    goodness = latency.goodness
    parts = [f"KS {plain(goodness.distance, 3)}{_p(goodness.distance_p)}"]
    if goodness.anderson_darling is not None:
        parts.append(f"AD {plain(max(0.0, goodness.anderson_darling), 3)}{_p(goodness.anderson_darling_p)}")
    if goodness.resamples:
        parts.append(f"{goodness.resamples} resamples" + (f" of {goodness.thinned:,}" if goodness.thinned else ""))
    return ", ".join(parts)


def _p(p: float | None) -> str:
    return "" if p is None else f" p {plain(p, 2)}"


def _burst_lines(found: ProviderFit) -> Iterator[Line]:
    assert found.failing is not None
    bursts, bic = found.failing.bursts, found.failing.evidence
    assert bursts is not None
    with_, without = (
        min((b for name, b in bic.items() if ("bursts" in name) is w), default=0.0) for w in (True, False)
    )
    evidence = f"some {bursts.spells:,.0f} bad spells; BIC {plain(without - with_)} below independent failures"
    yield Line("burst", "", "", evidence)
    yield Line(
        "  failure_rate", percent(bursts.failure_rate.value), _shares(bursts.failure_rate), "in bad spells, besides"
    )
    for name, estimate in (("mean_good", bursts.mean_good), ("mean_bad", bursts.mean_bad)):
        interval = f"[{duration_text(estimate.low)}, {duration_text(estimate.high)}]"
        yield Line(f"  {name}", duration_text(estimate.value), interval, "")


def _shares(estimate: Estimate) -> str:
    return f"[{percent(estimate.low)}, {percent(estimate.high)}]"


def _at(seconds: float) -> str:
    return f"{plain(seconds, 6)} s"


def _ats(estimate: Estimate) -> str:
    return f"[{plain(estimate.low, 6)}, {plain(estimate.high, 6)}] s"


def _power(log10: float) -> str:
    return f"1e{math.ceil(log10)}"


def not_found(found: ProviderFit) -> str:
    """Return what was looked for and not found."""
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


def print_fit(fit: Fit, written: list[str]) -> None:
    """Print a fit on stdout."""
    from rich.markup import escape
    from rich.table import Table

    console, log = stdout(), fit.log
    console.print(
        f"[bold]{escape(log.source)}[/bold]  {counted(len(log), 'attempt')} in {duration_text(log.duration_s)}",
        highlight=False,
    )
    for note in fit.notes:
        console.print(f"note: {escape(note)}", style="dim", highlight=False)
    for found in fit.providers.values():
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column(escape(found.name), no_wrap=True)
        table.add_column("value", no_wrap=True)
        table.add_column("95% interval", no_wrap=True)
        table.add_column("evidence", style="dim")
        arriving = fit.arriving[found.channel]
        if arriving is not None and found.provider in (None, "primary"):
            low, high, unit = in_unit_of(arriving.rate.value, arriving.rate.low, arriving.rate.high)
            # That of a Poisson process: what comes at even distances is not left to chance.
            ends = "" if arriving.process == "constant" else f"[{low}, {high}]/{unit}"
            evidence = f"{arriving.count:,} first attempts, as {arriving.process}"
            table.add_row("arrivals", per_second(arriving.rate.value), escape(ends), evidence)
        for line in lines_of(found):
            table.add_row(*(escape(cell) for cell in line))
        console.print(table)
        for text in (*(f"note: {note}" for note in found.notes), not_found(found)):
            if text:
                console.print(escape(text), style="dim", highlight=False)
    console.print(NOT_LOOKED_FOR, style="dim", highlight=False)
    if written:
        console.print(f"written to {escape(', '.join(written))}", highlight=False, soft_wrap=True)
