"""The settings that were found for a provider, line by line: each with its interval and the evidence for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from simulation.fitting.estimate import Estimate, per_second, percent, plain
from simulation.results.formatting import duration_text

if TYPE_CHECKING:
    from simulation.fitting.latency import Latency
    from simulation.fitting.provider_fit import ProviderFit
    from simulation.fitting.slowness import Brownout


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
