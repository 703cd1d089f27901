"""Outages: when what failed in one is delivered, and how those that failed together come back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from itertools import accumulate, pairwise
from statistics import NormalDist

import numpy as np
from scipy.special import gammaln, ndtr

from actors.domain.attempts import Attempt
from actors.faults.queue import Load
from actors.instants import NS_PER_S, ns
from actors.kernel.randomness import RandomStreams
from actors.outcomes import Outcome, Transient
from actors.settings.distributions import Lognormal
from simulation.results.result import Result
from simulation.verification.cases.case import Case, Experiment, Replicate, parsed, scenario
from simulation.verification.cases.families.attempts import doubling
from simulation.verification.cases.measures import attempts, ended
from simulation.verification.cases.quantities import Exactly, Frequencies, Mean, Quantity, Variance

DOWN = Transient(reason="down")

RETRIES = 999
ARRIVALS = 400
"""In an outage of fixed length."""


def _outage(length: float, base: float, cap: float) -> Experiment:
    # In whole nanoseconds, as the waits are.
    offsets = [0.0]
    for offset_ns in accumulate(map(ns, doubling(base, cap, RETRIES))):
        offsets.append(offset_ns / NS_PER_S)
        if offset_ns >= ns(length):
            break
    # Delivered at the k-th offset if what is left of the outage is above the one before, and not above this one.
    shares = [(min(later, length) - min(before, length)) / length for before, later in pairwise(offsets)]
    return Experiment(
        name=f"D={length:g} s base={base:g} s cap={cap:g} s",
        replicate=partial(_in_outage, length, base, cap),
        quantities=(
            Exactly(name="of the first: delivered at, s", target=offsets[-1]),
            Exactly(name="of the first: attempts", target=len(offsets)),
            Mean(
                name="of all: mean delay, s",
                target=sum(share * offset for share, offset in zip(shares, offsets[1:], strict=True)),
                within=0.01,
            ),
            Mean(
                name="of all: mean attempts",
                target=1 + sum(share * number for number, share in enumerate(shares, 1)),
                within=0.01,
            ),
        ),
    )


def _in_outage(length: float, base: float, cap: float, seed: int) -> dict[str, float]:
    def text(duration: float, arrivals: str) -> str:
        return f"""
duration: {duration}s
drain: 30d
workload: [{{channel: webhook, arrivals: {{{arrivals}}}}}]
channels:
  webhook:
    circuit_breaker: {{enabled: false}}
    retry: {{max_attempts: 1000, initial_delay: {base}s, max_delay: {min(cap, 1e6)}s}}
faults: [{{channel: webhook, at: 0s, for: {length}s, outage: true}}]
"""

    first = scenario(text(min(1.0, length), "burst: {size: 1, every: 1h}"), _first)(seed)
    every = scenario(text(length, f"poisson: {ARRIVALS / length}/s"), _means)(seed)
    return {**first, **every}


def _first(result: Result) -> dict[str, float]:
    ends = ended(result)
    return {"of the first: delivered at, s": float(ends.took[0]), "of the first: attempts": int(ends.attempts[0])}


def _means(result: Result) -> dict[str, float]:
    ends = ended(result)
    return {"of all: mean delay, s": ends.took.mean(), "of all: mean attempts": ends.attempts.mean()}


def inspection_paradox(
    length: float = 60,
    up: float = 600,
    wait: float = 5,
    lognormals: Iterable[tuple[float, float, float]] = ((1, 1, 2),),
) -> Case:
    return Case(
        name="residual-outage",
        title="What is left of an outage for those that come into it",
        source="Brooker, 2026; the inspection paradox",
        url="https://brooker.co.za/blog/2026/06/19/waiting.html",
        model="Poisson arrivals, outages again and again, constant waits δ between attempts: a delay is what is left, "
        "E[X²]/2E[X] on average, rounded up to whole δ.",
        experiments=(
            _residual(
                f"fixed {length:g} s",
                f"flap: {{up: {up}s, down: {length}s}}",
                wait * sum(1 - k * wait / length for k in range(math.ceil(length / wait))),
                (length, up, wait),
                CYCLES_OF_FIXED,
                full_only=False,
            ),
            _residual(
                f"exponential, mean {length:g} s",
                f"burst: {{mean_good: {up}s, mean_bad: {length}s, failure_rate: 100%}}",
                wait / _share_up_again(length, up, wait),
                (length, up, wait),
                CYCLES,
                full_only=True,
            ),
            *(_lognormal(*each) for each in lognormals),
        ),
    )


VISITORS = 800
"""Of outages of lognormal length: half of them come into one."""

CYCLES = 500
"""Outages of exponential length in one replication."""

CYCLES_OF_FIXED = 50
"""Outages of fixed length: what is left of them varies less."""


def _visitors(length: float) -> float:
    return max(0.05, 0.2 / length)


def _share_up_again(length: float, up: float, wait: float) -> float:
    """Return the share of retries that find it up, both ends being exponential: some miss a short time between two."""
    return up / (up + length) * -math.expm1(-wait * (1 / length + 1 / up))


def _residual(
    name: str, fault: str, target: float, settings: tuple[float, float, float], cycles: int, *, full_only: bool
) -> Experiment:
    length, up, wait = settings
    duration = cycles * (length + up)
    return Experiment(
        name=f"{name}, δ={wait:g} s",
        replicate=scenario(
            f"""
duration: {duration}s
drain: 30d
workload: [{{channel: webhook, arrivals: {{poisson: {_visitors(length)}/s}}}}]
channels:
  webhook:
    circuit_breaker: {{enabled: false}}
    retry: {{max_attempts: 1000000, backoff: constant, initial_delay: {wait}s, max_delay: {wait}s}}
faults: [{{channel: webhook, at: 0s, for: {duration + 1e6}s, {fault}}}]
""",
            _delayed,
        ),
        quantities=(Mean(name="mean delay of those in an outage, s", target=target, within=0.02),),
        full_only=full_only,
    )


def _delayed(result: Result) -> dict[str, float]:
    ends = ended(result)
    return {"mean delay of those in an outage, s": ends.took[ends.attempts > 1].mean()}


class Outages:
    """Outages of lognormal length again and again; between them it is up for as long as they are on average.

    Always for so long: in a short spell no retry might come.
    """

    def __init__(self, mu: float, sigma: float, seed: int) -> None:
        length = Lognormal(median=math.exp(mu), p99=math.exp(mu + NormalDist().inv_cdf(0.99) * sigma))
        self._draw = length.sampler(RandomStreams(seed).stream("outages"))
        self._up_s = math.exp(mu + sigma**2 / 2)
        self._from_s, self._until_s = self._up_s, self._up_s + self._draw()

    def __call__(self, _attempt: Attempt, now_ns: int, _load: Load) -> Outcome | None:
        now_s = now_ns / NS_PER_S
        while now_s >= self._until_s:
            self._from_s = self._until_s + self._up_s
            self._until_s = self._from_s + self._draw()
        return DOWN if now_s >= self._from_s else None


def lognormal_residual(mu: float, sigma: float, wait: float) -> float:
    """Return the mean of what is left of an outage for those that come into it, each rounded up to whole waits.

    What is left is longer than x with probability E[max(0, X − x)]/E[X].
    """
    ends = np.arange(1, 1 + math.ceil(math.exp(mu + 2 * sigma**2 + 6 * sigma) / wait)) * wait
    logs = np.log(ends)
    longer = ndtr((mu + sigma**2 - logs) / sigma) - ends * np.exp(-mu - sigma**2 / 2) * ndtr((mu - logs) / sigma)
    return wait * (1 + float(longer.sum()))


def _lognormal(mu: float, sigma: float, wait: float) -> Experiment:
    # So few come that hardly two come into the same outage, and so many outages see none: then each of those that
    # come into one sees another one, chosen by its length, and their mean has no bias and a variance far below that of
    # E[X²] over as many outages, in which a single one in thousands decides (the CV² of X² is e^4σ² − 1).
    gap = 30 * math.exp(mu + sigma**2 / 2)
    text = f"""
duration: {VISITORS * gap}s
drain: 365d
workload: [{{channel: webhook, arrivals: {{poisson: {1 / gap}/s}}}}]
channels:
  webhook:
    circuit_breaker: {{enabled: false}}
    retry: {{max_attempts: 1000000, backoff: constant, initial_delay: {wait}s, max_delay: {wait}s}}
"""
    left = math.exp(mu + 1.5 * sigma**2) / 2
    return Experiment(
        name=f"lognormal({mu:g}, {sigma:g}) s, δ={wait:g} s",
        replicate=partial(_among_outages, text, mu, sigma),
        quantities=(
            Mean(
                name="mean delay of those in an outage, s",
                target=lognormal_residual(mu, sigma, wait),
                within=0.02,
                because=f"E[X²]/2E[X] = {left:.7g} s, rounded up to whole δ",
            ),
            Mean(name="share who come into one", target=0.5, within=0.02, because="up and down are as long"),
        ),
    )


def _among_outages(text: str, mu: float, sigma: float, seed: int) -> dict[str, float]:
    from simulation.running.runner import run

    result = run(parsed(text), seed=seed, rules={"webhook": [Outages(mu, sigma, seed)]})
    return {**_delayed(result), "share who come into one": (ended(result).attempts > 1).mean()}


# ── the herd ────────────────────────────────────────────────────────────────────────────────────────────────────

HERD = 1000
HERD_WAIT_S = 10
BINS = 100
BINS_APART = 10
"""The bins whose variance is compared."""


def expected_largest(size: int, bins: int) -> float:
    """Return how many of so many balls are in the fullest bin on average, when each is thrown into any of them.

    Bins are independent Poisson variables, given their sum. Each is at most m, and the sum of all is the number of
    balls, with a probability that is a coefficient of a power, and so got by Fourier transforms.
    """
    mean = size / bins
    total = 0.0
    for most in range(size):
        at_most = 0.0
        if most * bins >= size:
            counts = np.arange(most + 1)
            pmf = np.exp(counts * math.log(mean) - mean - gammaln(counts + 1))
            sums = np.fft.irfft(np.fft.rfft(pmf, bins * most + 1) ** bins, bins * most + 1)
            at_most = sums[size] / math.exp(size * math.log(size) - size - math.lgamma(size + 1))
        total += 1 - at_most
        if 1 - at_most < _NEGLIGIBLE:
            break
    return float(total)


_NEGLIGIBLE = 1e-9


def _spread(bins: int) -> tuple[Quantity, ...]:
    share = 1 / bins
    return (
        Frequencies(name="retries in each bin", distribution="uniform", shares=(share,) * bins),
        Variance(
            name=f"variance of every {BINS_APART}th of them",
            target=HERD * share * (1 - share),
            within=0.2,
            because="independent, but for a correlation of −1/(bins − 1)",
        ),
        Mean(name="retries in the fullest bin", target=expected_largest(HERD, bins), within=0.02),
    )


def _herd(jitter: str) -> Replicate:
    return scenario(
        f"""
duration: 1s
drain: 1d
workload: [{{channel: push, arrivals: {{burst: {{size: {HERD}, every: 1s}}}}}}]
channels:
  push:
    circuit_breaker: {{enabled: false}}
    retry: {{max_attempts: 2, initial_delay: {HERD_WAIT_S}s, jitter: {jitter}, max_delay: 10h}}
faults: [{{channel: push, at: 0s, for: {HERD_WAIT_S}s, fail_first: {HERD}}}]
""",
        partial(_bins, BINS if jitter == "full" else BINS // 2),
    )


def _bins(bins: int, result: Result) -> dict[str, object]:
    tried = attempts(result)
    retries = tried.started[tried.number == 2]
    counts, _ = np.histogram(retries, bins=bins, range=(HERD_WAIT_S * (BINS - bins) / BINS, HERD_WAIT_S))
    return {
        "retries at the very end": int((retries == ns(HERD_WAIT_S) / NS_PER_S).sum()),
        "retries in the first half": int((retries < HERD_WAIT_S / 2).sum()),
        "retries in each bin": counts.tolist(),
        f"variance of every {BINS_APART}th of them": counts[::BINS_APART].tolist(),
        "retries in the fullest bin": int(counts.max()),
    }


CASES = (
    Case(
        name="outage",
        title="An outage of fixed length, and backoff without jitter",
        source="closed form",
        model="The retries of a notification are at fixed offsets o_k after it; one that comes as the outage of length "
        "D begins is delivered at the first o_k ≥ D, and Poisson arrivals in it see what is left of it.",
        experiments=tuple(_outage(*each) for each in ((60, 1, 30), (60, 1, math.inf), (300, 1, 60), (10, 0.5, 4))),
    ),
    inspection_paradox(),
    Case(
        name="herd",
        title="How jitter spreads a thundering herd",
        source="balls into bins; Brooker, AWS Architecture Blog, 2015",
        url="https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/",
        model="1000 notifications fail at once and have one retry, after 10 s with jitter; their retries are "
        "counted in 100 bins of that time.",
        experiments=(
            Experiment(
                name="jitter none",
                replicate=_herd("none"),
                quantities=(Exactly(name="retries at the very end", target=HERD),),
            ),
            Experiment(name="jitter full", replicate=_herd("full"), quantities=_spread(BINS)),
            Experiment(
                name="jitter equal",
                replicate=_herd("equal"),
                quantities=(Exactly(name="retries in the first half", target=0), *_spread(BINS // 2)),
            ),
        ),
    ),
)
