"""Independent failures: how many attempts, how long until the end, and how the dead letter queue grows."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from simulation.results.result import Result
from simulation.verification.cases.case import Case, Experiment, scenario
from simulation.verification.cases.measures import attempts, ended, exponential_cdf
from simulation.verification.cases.quantities import RARE, Follows, Frequencies, Mean, Quantity, Variance

MESSAGES = 1000
"""In one replication."""

DRAIN_S = 30 * 86_400
"""How long what is retried still has after the last arrival."""

ENOUGH = 20
"""Of a replication's messages, to average over."""


def mean_attempts(p: float, n: int) -> float:
    """Return how many attempts there are of each, where one fails with probability p and there are n at most."""
    return float(n) if p == 1 else (1 - p**n) / (1 - p)


def doubling(base: float, cap: float, count: int) -> list[float]:
    """Return so many waits, of which each is twice the one before, up to a longest."""
    waits = []
    for _ in range(count):
        waits.append(min(cap, base))
        base = 2 * waits[-1]
    return waits


def _at_once(p: float, retry: str, messages: int = MESSAGES) -> str:
    """Return a scenario of many notifications, which all begin at 0 and each fail with probability p at a time."""
    return f"""
duration: 1s
drain: 30d
workload: [{{channel: push, arrivals: {{burst: {{size: {messages}, every: 1s}}}}}}]
channels:
  push:
    circuit_breaker: {{enabled: false}}
    provider: {{failure_rate: {100 * p}%}}
    retry: {{{retry}}}
"""


# ── how many attempts ───────────────────────────────────────────────────────────────────────────────────────────


def truncated_geometric(p: float, n: int) -> Experiment:
    messages = max(MESSAGES if n < 50 else 100, math.ceil(2 * ENOUGH / (1 - max(_shares(p, n)))))
    return Experiment(
        name=f"p={p:g} N={n}",
        replicate=scenario(_at_once(p, f"max_attempts: {n}, initial_delay: 0s", messages), partial(_counted, n)),
        quantities=_by_chance(p, n, messages),
        full_only=p**n < 0.1 or n >= 10,
    )


def _shares(p: float, n: int) -> list[float]:
    return [p ** (k - 1) * (1 - p) for k in range(1, n)] + [p ** (n - 1)]


def _by_chance(p: float, n: int, messages: int) -> tuple[Quantity, ...]:
    # Of a rare event a replication of the same length says less: 5% of 1 in 1000 takes 10^7 messages.
    rare = 0.02 if p**n > 0.02 else 0.10
    quantities: list[Quantity] = []
    if p**n >= RARE:
        quantities.append(
            Mean(name="share dead-lettered", target=p**n, within=rare, because="2%, or 10% of a rare event")
        )
    shares = _shares(p, n)
    mean = mean_attempts(p, n)
    variance = sum(share * (k - mean) ** 2 for k, share in enumerate(shares, 1))
    varied = max(shares) <= 1 - RARE
    quantities.append(Mean(name="attempts", target=mean, within=0.01))
    if varied:
        within = 0.02 if max(shares) <= 0.98 else 0.10
        quantities.append(Mean(name="variance of attempts", target=variance, within=within))
    if messages * (1 - p**n) >= ENOUGH:
        delivered = 1 / (1 - p) - n * p**n / (1 - p**n)
        quantities.append(Mean(name="attempts of those delivered", target=delivered, within=0.01))
    if varied:
        quantities.append(Frequencies(name="attempts 1 … N", distribution="truncated geometric", shares=tuple(shares)))
    return tuple(quantities)


def _counted(n: int, result: Result) -> dict[str, object]:
    ends = ended(result)
    return {
        "share dead-lettered": 1 - ends.sent.mean(),
        "attempts": ends.attempts.mean(),
        "variance of attempts": ends.attempts.var(ddof=1),
        "attempts of those delivered": ends.attempts[ends.sent].mean() if ends.sent.any() else math.nan,
        "attempts 1 … N": np.bincount(ends.attempts, minlength=n + 1)[1:].tolist(),
    }


# ── how long it takes ───────────────────────────────────────────────────────────────────────────────────────────

JITTERS = {"none": "none", "full": "full", "equal": "equal", "±20%": "proportional, cap_before_jitter: true"}


def moments_of_wait(jitter: str, wait: float) -> tuple[float, float]:
    match jitter:
        case "none":
            return wait, 0.0
        case "full":
            return wait / 2, wait**2 / 12
        case "equal":
            return 3 * wait / 4, wait**2 / 48
        case _:
            return wait, (0.4 * wait) ** 2 / 12


def delays(p: float, n: int, base: float, cap: float, jitter: str) -> Experiment:
    moments = [moments_of_wait(jitter, wait) for wait in doubling(base, cap, n - 1)]
    # After k failures: the sum of the first k waits.
    means = [sum(mean for mean, _ in moments[:k]) for k in range(n)]
    variances = [sum(variance for _, variance in moments[:k]) for k in range(n)]
    quantities: list[Quantity] = []
    messages = max(MESSAGES, round(40 / p**n)) if p**n >= RARE else MESSAGES
    messages = max(messages, math.ceil(2 * ENOUGH / p))
    if messages * (1 - p**n) >= ENOUGH:
        weights = [p**k * (1 - p) / (1 - p**n) for k in range(n)]
        mean = sum(w * m for w, m in zip(weights, means, strict=True))
        variance = sum(w * (v + m * m) for w, v, m in zip(weights, variances, means, strict=True)) - mean**2
        quantities += [
            Mean(
                name="mean until delivered, s",
                target=mean,
                within=0.02 if p >= 0.05 else 0.05,
                because="" if p >= 0.05 else "5% where hardly any waits",
            ),
            Mean(name="variance of that, s²", target=variance, within=0.05 if p >= 0.05 else 0.20),
        ]
    if p**n >= RARE:
        quantities.append(Mean(name="mean until dead-lettered, s", target=means[-1], within=0.02))
        if variances[-1]:
            quantities.append(Mean(name="its variance, s²", target=variances[-1], within=0.05))
    return Experiment(
        name=f"p={p:g} N={n} base={base:g} s cap={cap:g} s jitter {jitter}",
        replicate=scenario(
            _at_once(
                p, f"max_attempts: {n}, initial_delay: {base}s, max_delay: {cap}s, jitter: {JITTERS[jitter]}", messages
            ),
            _times,
        ),
        quantities=tuple(quantities),
        pilot=10,
        full_only=not 0.1 <= p**n < 0.5,
    )


def _decorrelated(base: float, count: int) -> Experiment:
    """Return the means of decorrelated waits without a cap: each is U(base, 3·before), so base·(2·1.5^n − 1)."""
    retry = f"max_attempts: {count + 1}, initial_delay: {base}s, max_delay: 300d, jitter: decorrelated"
    return Experiment(
        name=f"base={base:g} s jitter decorrelated",
        replicate=scenario(_at_once(1, retry, 500), partial(_mean_waits, count)),
        quantities=tuple(
            Mean(name=f"wait {number}, s", target=base * (2 * 1.5**number - 1)) for number in range(1, count + 1)
        ),
    )


def _mean_waits(count: int, result: Result) -> dict[str, float]:
    tried = attempts(result)
    starts = [tried.started[tried.number == number].mean() for number in range(1, count + 2)]
    return {f"wait {number}, s": starts[number] - starts[number - 1] for number in range(1, count + 1)}


def _times(result: Result) -> dict[str, float]:
    ends = ended(result)
    sent, lost = ends.took[ends.sent], ends.took[~ends.sent]
    return {
        "mean until delivered, s": sent.mean() if len(sent) else math.nan,
        "variance of that, s²": sent.var(ddof=1) if len(sent) > 1 else math.nan,
        "mean until dead-lettered, s": lost.mean() if len(lost) else math.nan,
        "its variance, s²": lost.var(ddof=1) if len(lost) > 1 else math.nan,
    }


# ── the dead letter queue ───────────────────────────────────────────────────────────────────────────────────────


def _growth(rate: float, p: float, n: int, duration: float, base: float) -> Experiment:
    total = base * (2 ** (n - 1) - 1)
    letters = rate * p**n
    window = 10 / letters
    return Experiment(
        name=f"λ={rate:g}/s p={p:g} N={n} T={duration:g} s D={total:g} s",
        replicate=scenario(
            f"""
duration: {duration}s
drain: 1d
workload: [{{channel: email, arrivals: {{poisson: {rate}/s}}}}]
channels:
  email:
    circuit_breaker: {{enabled: false}}
    provider: {{failure_rate: {100 * p}%}}
    retry: {{max_attempts: {n}, initial_delay: {base}s, max_delay: 10h}}
""",
            partial(_letters, duration, total, window),
        ),
        quantities=(
            Mean(name="dead letters by T", target=letters * (duration - total), within=0.02),
            Variance(name="counts in windows of 10 on average", target=10.0, within=0.10),
            Follows(
                name="gaps between dead letters",
                distribution=f"exponential, mean {1 / letters:.4g} s",
                cdf=partial(exponential_cdf, letters),
                within=0.02,
            ),
        ),
        pilot=10,
        full_only=rate * duration > 10_000,
    )


def _letters(duration: float, total: float, window: float, result: Result) -> dict[str, object]:
    ends = ended(result)
    times = ends.ended[~ends.sent]
    times = times[times < duration]
    edges = np.arange(total, duration, window)
    return {
        "dead letters by T": len(times),
        "counts in windows of 10 on average": np.histogram(times, edges)[0].tolist(),
        "gaps between dead letters": np.diff(times).tolist(),
    }


CASES = (
    Case(
        name="attempts",
        title="Attempts are truncated geometric",
        source="closed form",
        model="Each attempt fails with probability p, independently; N at most. Dead-lettered p^N, attempts "
        "(1 − p^N)/(1 − p) on average. A scenario with a failure_rate and no wait.",
        experiments=tuple(
            truncated_geometric(*each)
            for each in ((0.1, 3), (0.3, 5), (0.5, 4), (0.5, 6), (0.8, 10), (0.9, 5), (0.99, 100))
        ),
    ),
    Case(
        name="delays",
        title="Time to delivery and to the dead letter queue",
        source="closed form; jitter after Brooker, AWS Architecture Blog, 2015",
        url="https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/",
        model="Waits min(cap, base·2^j) with jitter, no service time. The moments are sums over the number of "
        "failures, each weighted with its probability.",
        experiments=(
            *(
                delays(p, n, base, cap, jitter)
                for p, n, base, cap in (
                    (0.3, 5, 1, 60),
                    (0.5, 6, 1, 10),
                    (0.5, 8, 0.1, 5),
                    (0.9, 6, 1, 10),
                    (0.7, 10, 0.5, 30),
                    (0.7, 3, 1, 10),
                )
                for jitter in tuple(JITTERS)
            ),
            _decorrelated(base=1, count=5),
        ),
    ),
    Case(
        name="dlq-growth",
        title="The dead letter queue grows as a thinned and shifted Poisson process",
        source="closed form (thinning and displacement of a Poisson process)",
        model="Poisson arrivals λ and independent failures p. With a fixed total wait D, those dead-lettered by T are "
        "Poisson with mean λ·p^N·(T − D), and independent in disjoint windows.",
        experiments=tuple(
            _growth(*each)
            for each in ((100, 0.4, 4, 1000, 1), (20, 0.5, 6, 3600, 1), (50, 0.9, 5, 100, 1), (5, 0.2, 3, 7200, 1))
        ),
    ),
)
