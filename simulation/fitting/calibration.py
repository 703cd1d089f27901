"""``simulation.fit``: a log of real attempts becomes provider and fault settings of a scenario."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
from scipy import stats

from actors.errors import ConfigurationError
from actors.formatting import counted, plain_number
from actors.messages import Priority
from simulation.fitting.estimate import Estimate, per_second, percent, plain, rate, share
from simulation.fitting.failing import Failing, Window, fit_failing
from simulation.fitting.families import Sample
from simulation.fitting.latency import Latency, fit_latency
from simulation.fitting.log import AttemptLog, Flags, OutcomeKind, Whole
from simulation.fitting.provider_fit import ProviderFit, fit_throttling
from simulation.fitting.reading import Columns, Unit, read_log
from simulation.fitting.slowness import Brownout, find_brownouts, slowness
from simulation.results.formatting import duration_text, line
from simulation.sheets import Column, Row, Sheet, notebook

if TYPE_CHECKING:
    import pandas as pd

# ── a line for each setting ───────────────────────────────────────────────────────────────────────────────────────────


class Line(NamedTuple):
    setting: str
    value: str
    interval: str
    evidence: str


def lines_of(found: ProviderFit) -> Iterator[Line]:
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


EVEN = 0.1
"""Gaps whose spread is below this share of their mean are equal."""
STEADY_P = 1e-3
_BUCKETS = 200
_NICE_S = (0.001, 0.01, 0.1, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)


@dataclass(frozen=True, eq=False)
class Arriving:
    channel: str
    count: int
    rate: Estimate
    """Arrivals a second, over the whole log."""

    process: Literal["constant", "poisson", "trace"]
    every_s: float
    """Width of a bucket of the trace."""

    counts: Whole


def fit_arriving(log: AttemptLog, channel: str, priority: str | None = None) -> Arriving | None:
    """Return how notifications of a channel, or of a class of it, arrived; None where nothing can be said, as of a
    single one."""
    at_s = log.arrivals_s(channel, priority)
    duration_s = max(log.duration_s, float(at_s[-1])) if len(at_s) else 0.0
    if len(at_s) < 2 or duration_s <= 0:
        return None
    gaps = np.diff(at_s)
    buckets = min(_BUCKETS, max(2, len(at_s) // 20))
    every_s = next((nice for nice in _NICE_S if nice >= duration_s / buckets), float(math.ceil(duration_s / buckets)))
    counts = np.bincount((at_s / every_s).astype(np.int64), minlength=math.ceil(duration_s / every_s))
    process: Literal["constant", "poisson", "trace"] = "poisson"
    if np.median(np.abs(gaps - np.median(gaps))) < EVEN * gaps.mean() and np.median(gaps) > 0.5 * gaps.mean():
        process = "constant"
    # Whether counts of a Poisson process vary as much (Fisher's index of dispersion).
    elif stats.chisquare(np.histogram(at_s, bins=buckets, range=(0.0, duration_s))[0]).pvalue < STEADY_P:
        process = "trace"
    return Arriving(channel, len(at_s), rate(len(at_s), duration_s), process, every_s, counts)


Timeouts: TypeAlias = Literal["hang", "lost_reply"]
"""The meaning of attempts without an answer."""

RESAMPLES = 200
SAME_LATENCY_P = 1e-3
"""The p-value below which the latencies of failures and of successes differ."""
FEW = 20
"""Of fewer attempts hardly any interval says anything."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A log of attempts, fitted.

    ::

        fit = simulation.fit("attempts.csv")
        fit.providers["email"].latency.fit.parameters["p99"]   # Estimate(value=0.91, low=0.88, high=0.94)
        simulation.save(fit, "calibrated.yaml")                # a scenario
    """

    log: AttemptLog
    providers: dict[str, ProviderFit]
    """By channel, or ``channel/provider``."""

    arriving: dict[str, Arriving | None]

    notes: tuple[str, ...]

    timeouts: Timeouts | None = None
    """The scenario's meaning of attempts without an answer; None: a hang in windows, and lost replies elsewhere."""

    classes: dict[str, dict[str, Arriving | None]] = field(default_factory=dict)
    """The arrivals of each class, by channel; of the channels whose log has other classes of traffic than normal."""

    def __repr__(self) -> str:
        return line("Fit", self.log.source, [counted(len(self.log), "attempt"), *self.providers])

    def _repr_html_(self) -> str:
        rows = [Row((name, *found)) for name, provider in self.providers.items() for found in lines_of(provider)]
        notes = [f"{name}: {said}" for name, provider in self.providers.items() for said in provider.notes]
        columns = [Column(each) for each in ("provider", "setting", "value", "95% interval", "evidence")]
        return notebook(Sheet(repr(self).strip("<>"), columns, rows, [*self.notes, *notes]))


def fit(
    source: str | Path | pd.DataFrame,
    *,
    time: str | None = None,
    latency: str | None = None,
    outcome: str | None = None,
    latency_unit: Unit | None = None,
    outcome_map: Mapping[str, str | OutcomeKind] | None = None,
    channel: str | None = None,
    timeouts: Timeouts | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Fit:
    """Fit provider and fault settings to a log of attempts.

    Args:
        source: a CSV file, an `attempts.parquet`, the directory of a saved run, or a frame such as `result.attempts`.
        time: the column with the start of each attempt; guessed when None, as the next two.
        latency: the column with the latency.
        outcome: the column with the outcome.
        latency_unit: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``; by the column's name when None.
        outcome_map: the meanings of unknown words, as ``{"bounced": "permanent"}``.
        channel: look at this channel alone; or, for a log without channels, its channel.
        timeouts: the meaning of attempts without an answer in the scenario, which a log cannot tell: ``"hang"``,
            nothing was delivered or much later, or ``"lost_reply"``, it was. None: a hang in windows, else lost
            replies.
        resamples: how many samples the p-values of the goodness of fit are made with; 0 for none of them.
        seed: of these samples.

    Example:
        >>> result = simulation.run("scenarios/flapping-provider.yaml", sets=["duration=30s"])
        >>> found = simulation.fit(result.attempts, resamples=0)
        >>> median = found.providers["sms"].latency.fit.parameters["median"]
        >>> median.low < 0.1 < median.high  # the 100ms of the file
        True

    Raises:
        ConfigurationError: the log cannot be used; all problems, with the numbers of the lines.
    """
    columns = Columns(
        time=time, latency=latency, outcome=outcome, latency_unit=latency_unit, outcome_map=outcome_map, channel=channel
    )
    if timeouts not in (None, "hang", "lost_reply"):
        raise ConfigurationError([f"timeouts: wanted hang or lost_reply, got {timeouts!r}"])
    log = read_log(source, columns)
    if not len(log):
        raise ConfigurationError([f"{log.source}: wanted at least one attempt, got none"])
    random = np.random.default_rng(seed)
    fits = [_provider(log.of(*pair), *pair, resamples=resamples, random=random) for pair in log.groups()]
    channels = dict.fromkeys(each.channel for each in fits)
    return Fit(
        log,
        {each.name: each for each in fits},
        {name: fit_arriving(log, name) for name in channels},
        (*log.notes, *_notes(log)),
        timeouts,
        {
            name: {each: fit_arriving(log, name, each) for each in classes}
            for name in channels
            if (classes := log.classes(name)) != [Priority.NORMAL]
        },
    )


def _notes(log: AttemptLog) -> list[str]:
    notes = []
    if not log.knows_notifications and log.has_outcomes:
        notes.append("no column says which attempts are of one notification: each counts as an arrival")
    gaps = np.diff(log.start_s)
    if not log.has_outcomes and len(gaps) > 10 and float(np.mean(gaps == np.median(gaps))) > 0.9:
        notes.append(
            f"the rows are {plain_number(np.median(gaps), 4)} s apart: if each is a mean over that time, single "
            "attempts vary more than what is fitted here"
        )
    if len(log) < FEW:
        notes.append(f"{counted(len(log), 'attempt')}: too few to say anything of bursts, outages or a distribution")
    elif log.has_outcomes and not (log.kind == OutcomeKind.SENT).any():
        notes.append("no attempt succeeded: a failure rate or one long outage, which the log cannot distinguish")
    return notes


def _provider(
    log: AttemptLog, channel: str, provider: str | None, *, resamples: int, random: np.random.Generator
) -> ProviderFit:
    failing = fit_failing(log) if log.has_outcomes else None
    usable = np.isfinite(log.latency_s)
    if failing is not None:
        usable &= ~failing.inside(log.start_s)
    calm = log.where(usable)
    slow = [each.window for each in find_brownouts(calm.latency_s, calm.start_s)]
    stalls = [] if failing is None else [each.window for each in failing.outages if _STALL in each.rates]
    apart = []
    for window in _apart([*slow, *stalls]):
        apart.append((window, log.where(usable & window.holds(log.start_s))))
        calm = calm.where(~window.holds(calm.start_s))
    sample, is_of, notes = _sample(calm)
    found = fit_latency(sample, is_of, resamples=resamples, random=random)
    brownouts = [
        brownout
        for window, there in apart
        if (brownout := _brownout(window, there, sample, resamples=resamples, random=random)) is not None
    ]
    if failing is not None:
        failing = _without_stalls(failing)
    lost = None
    if found is None and failing is not None and not failing.counts["answered"]:
        lost = share(
            int(np.count_nonzero(log.kind == OutcomeKind.AMBIGUOUS)),
            int(np.count_nonzero(log.kind != OutcomeKind.THROTTLED)),
        )
        lost = lost if lost.value else None
    if found is not None and found.fit.lost > 0:
        lost = _lost(found)
        if failing is not None:  # the other shares are of all attempts, not of those that are answered
            scaled = {name: estimate.times(1.0 - lost.value) for name, estimate in failing.rates.items()}
            failing = replace(failing, rates=scaled)
    return ProviderFit(
        channel,
        provider,
        len(log),
        found,
        failing,
        tuple(sorted(brownouts, key=lambda each: each.window.start_s.value)),
        fit_throttling(log),
        lost,
        tuple(notes + _unsaid(failing, brownouts, lost)),
    )


_STALL = "lost_reply_rate"
"""The rate of a partial outage in which attempts get no answer."""


def _apart(windows: Sequence[Window]) -> list[Window]:
    """Return the windows that do not overlap: of two at about the same time the one with more evidence.

    A brownout shows in slow answers, and in timeouts as well; which of them say more depends on how slow it is.
    """
    kept: list[Window] = []
    for window in sorted(windows, key=lambda each: each.log10_chance):
        if not any(_overlaps(window, other) for other in kept):
            kept.append(window)
    return kept


def _overlaps(one: Window, other: Window) -> bool:
    both = min(one.end_s.value, other.end_s.value) - max(one.start_s.value, other.start_s.value)
    return both > 0.5 * min(one.duration_s, other.duration_s)


def _without_stalls(failing: Failing) -> Failing:
    outages = []
    for outage in failing.outages:
        rates = {name: each for name, each in outage.rates.items() if name != _STALL}
        if rates or not outage.is_partial:
            outages.append(replace(outage, rates=rates))
    return replace(failing, outages=tuple(outages))


def _brownout(
    window: Window, there: AttemptLog, usual: Sample, *, resamples: int, random: np.random.Generator
) -> Brownout | None:
    """Return what the latency is like in a window; None where that is nothing out of the usual."""
    sample, is_of, _notes = _sample(there)
    if not len(sample.seen) or not len(usual.seen) or not np.median(usual.seen) > 0:
        unanswered = share(len(sample.censored), sample.size)
        return Brownout(window, Estimate(1.0, 1.0, 1.0), None, unanswered) if unanswered.value else None
    factor = slowness(sample.seen, usual.seen)
    found = fit_latency(sample, f"{is_of} in the window", resamples=resamples, random=random)
    brownout = Brownout(window, factor, None, None if found is None or found.fit.lost <= 0 else _lost(found))
    if found is None or not (brownout.is_slow or brownout.unanswered is None):
        return brownout
    # A stretched latency is the simpler thing to say, where it is all that there is.
    p = float(stats.ks_2samp(sample.seen / factor.value, usual.seen, method="asymp").pvalue)
    return replace(brownout, latency=found) if p < SAME_LATENCY_P or len(sample.censored) else brownout


def _unsaid(failing: Failing | None, brownouts: Sequence[Brownout], lost: Estimate | None) -> list[str]:
    notes = []
    if failing is not None and failing.is_unexplained:
        notes.append(
            f"failures are still nearer to each other than chance has them, by {failing.clustering:.1f} standard "
            "errors: something here is not explained"
        )
    hangs = failing is not None and any(each.kind == "hang" for each in failing.outages)
    if hangs or lost is not None or any(each.unanswered is not None for each in brownouts):
        notes.append(
            "what timed out either hung, or was delivered and its reply lost, which no log can tell; --timeouts hang "
            "and --timeouts lost_reply give the scenarios of both"
        )
    return notes


def _sample(log: AttemptLog) -> tuple[Sample, str, list[str]]:
    """Return the latencies to fit: of all answers, or of successes alone if failures have another latency."""
    timed_out: Flags = log.kind == OutcomeKind.AMBIGUOUS
    sent: Flags = (log.kind == OutcomeKind.SENT) | (log.kind == OutcomeKind.UNKNOWN)
    others: Flags = ~timed_out & ~sent
    notes: list[str] = []
    censored = log.latency_s[timed_out]
    if sent.sum() >= 2 and others.sum() >= 2:
        p = float(stats.ks_2samp(log.latency_s[sent], log.latency_s[others], method="asymp").pvalue)
        if p < SAME_LATENCY_P:
            usual, other = (plain_number(np.median(log.latency_s[these]), 4) for these in (sent, others))
            notes.append(
                f"failures take another time than successes (median {other} s, not {usual} s): the "
                "latency is that of successes, and a simulation has it for failures too"
            )
            others = np.zeros(len(log), dtype=bool)
    answered = sent | others
    count = int(answered.sum())
    if others.any():
        is_of = counted(count, "answer")
    else:
        is_of = counted(count, "success", "successes") if log.has_outcomes else counted(count, "value")
    if timed_out.any():
        is_of += f" and {counted(int(timed_out.sum()), 'timeout')}, longer than was waited"
    return Sample(log.latency_s[answered], censored), is_of, notes


def _lost(latency: Latency) -> Estimate:
    """Return the share of replies that never come: timeouts that the latency does not explain."""
    sample = latency.sample
    above = 0.0
    if latency.fit.family != "constant":
        above = float(1.0 - latency.fit.cdf(np.array([sample.last_limit]))[0])
    timed_out = share(len(sample.censored), sample.size)

    def beyond(part: float) -> float:
        return max(0.0, (part - above) / (1.0 - above))

    return Estimate(beyond(timed_out.value), beyond(timed_out.low), beyond(timed_out.high))
