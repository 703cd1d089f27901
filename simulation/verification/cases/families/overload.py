"""Overload: metastable failure, a pool of threads that hang, and customers that come again until they are served."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from actors.domain.attempts import Attempt, Provider
from actors.instants import ns
from actors.kernel.effects import Foreseen
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationChannel
from actors.outcomes import Sent, Transient
from simulation.results.result import Result
from simulation.verification.cases import settling
from simulation.verification.cases.case import Case, Experiment, one_provider, one_rule, scenario
from simulation.verification.cases.families.queues import Room, erlang_b
from simulation.verification.cases.measures import attempts, ended, time_average
from simulation.verification.cases.quantities import Exactly, Mean, Quantity
from simulation.verification.cases.settling import WARM_UP

# ── metastable failure ──────────────────────────────────────────────────────────────────────────────────────────


def metastable(rates: Iterable[int] = (100, 140, 160, 280), capacity: int = 300, outage: float = 10) -> Case:
    return Case(
        name="metastable",
        title="A retry storm that outlives its trigger",
        source="Bronson et al., Metastable Failures in Distributed Systems, HotOS 2021",
        url="https://sigops.org/s/conferences/hotos/2021/papers/hotos21-s11-bronson.pdf",
        model=f"A provider with capacity 1 that takes 1/{capacity} s and is frozen for {outage:g} s; timeout 1 s, two "
        f"attempts. What has timed out is still worked on: stuck for good iff 2λ > {capacity}.",
        experiments=tuple(_storm(rate, capacity, outage) for rate in rates),
    )


LOOKED_AT_S = 30
"""How long the run goes on when it is decided, in seconds."""


def _long_after(rate: int, capacity: int, outage: float) -> float:
    """Return when it is decided whether the storm goes on."""
    # Just under the threshold the backlog of the outage, at most all that came twice, takes long to be worked off.
    stuck = 2 * rate > capacity
    return 60 + outage + (60 if stuck else 30 + 2 * rate * outage / (capacity - 2 * rate))


def _storm(rate: int, capacity: int, outage: float) -> Experiment:
    stuck = 2 * rate > capacity
    after = _long_after(rate, capacity, outage)
    until = after + LOOKED_AT_S
    quantities: tuple[Quantity, ...] = (
        Exactly(name="sent a second before", target=rate),
        Exactly(name="requests a second long after", target=2 * rate if stuck else rate),
        Exactly(name="sent a second long after", target=0 if stuck else rate),
    )
    return Experiment(
        name=f"λ={rate}/s of {capacity}/s",
        replicate=scenario(
            f"""
duration: {until}s
drain: 0s
workload: [{{channel: webhook, arrivals: {{constant: {rate}/s}}}}]
channels:
  webhook:
    circuit_breaker: {{enabled: false}}
    timeout: 1s
    retry: {{max_attempts: 2, initial_delay: 0s}}
    provider: {{latency: {1 / capacity!r}s, capacity: 1}}
# What the server is at when it freezes takes as long as the outage.
faults: [{{channel: webhook, at: 60s, for: {1 / rate!r}s, latency: {outage}s}}]
""",
            partial(_before_and_after, after),
        ),
        quantities=quantities,
    )


def _before_and_after(after: float, result: Result) -> dict[str, int]:
    tried = attempts(result)
    # Attempts that time out have ended a second later: the last seconds are left out.
    started = tried.started[(tried.started >= after) & (tried.started < after + 20)]
    sent = tried.ended[tried.succeeded]
    return {
        "sent a second before": round(((sent >= 20) & (sent < 40)).sum() / 20),
        "requests a second long after": round(len(started) / 20),
        "sent a second long after": round(((sent >= after) & (sent < after + 20)).sum() / 20),
    }


# ── threads that hang ───────────────────────────────────────────────────────────────────────────────────────────


def _hanging(rate: float, threads: int, usual: float, share: float, deadline: float) -> Experiment:
    # Exponential: with a fixed deadline all threads that hung together are free together again, for hours.
    longer = max(usual, deadline)
    load = rate * ((1 - share) * usual + share * deadline)
    refused = erlang_b(threads, load)
    within = 0.005 if refused > 0.5 else 0.02 if refused > 0.1 else 0.05 if refused > 0.01 else 0.10
    # Those that have far too few threads have none to spare at once; others forget slowly that none hung.
    warm_up = (3 if load > 2 * threads else 6) * longer
    duration = warm_up + max(5 * longer, 2000 / rate)
    usually = f"{{weight: {1 - share}, constant: {usual}s}}"
    else_it_hangs = f"{{weight: {share}, exponential: {{mean: {deadline}s}}}}"
    latency = f"{{mixture: [{usually}, {else_it_hangs}]}}"
    return Experiment(
        name=f"{rate:g}/s, {threads} threads",
        replicate=scenario(
            f"""
duration: {duration}s
workload: [{{channel: webhook, arrivals: {{poisson: {rate}/s}}}}]
channels:
  webhook:
    circuit_breaker: {{enabled: false}}
    timeout: 30d
    retry: {{max_attempts: 1}}
    provider: {{capacity: {threads}, latency: {latency}}}
""",
            partial(_errors, warm_up),
            partial(one_rule, "webhook", Room, threads),
        ),
        quantities=(
            Mean(
                name="share of errors",
                target=refused,
                within=within,
                because="" if within == 0.005 else f"{within:.0%} where it is rarer",
            ),
        ),
        pilot=10,
        full_only=rate > 20,
    )


def _errors(warm_up: float, result: Result) -> dict[str, float]:
    return {"share of errors": 1 - ended(result).since(warm_up).sent.mean()}


# ── retrial queue ───────────────────────────────────────────────────────────────────────────────────────────────


class Counter(Provider):
    """Serves one at a time, and refuses others at once; these come again after an exponential time."""

    def __init__(self, mu: float, theta: float, seed: int) -> None:
        self._random = RandomStreams(seed).stream("counter")
        self._mu, self._theta = mu, theta
        self._free_at_ns = 0

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        """Be served, or get the time to come again."""
        if now_ns < self._free_at_ns:
            again_s = self._random.expovariate(self._theta)
            return Foreseen(0, Transient(reason="busy", throttled=True, retry_after=again_s))
        service_ns = ns(self._random.expovariate(self._mu))
        self._free_at_ns = now_ns + service_ns
        return Foreseen(service_ns, Sent())


def _mean_retries(rho: float, returns: float) -> float:
    return rho / (1 - rho) * (1 + returns)


def _orbit_settles(rate: float, mu: float, theta: float) -> float:
    """Return after how many seconds the orbit has settled: as a queue, and as slowly as those in it come back.

    If that is slowly, they come back so often that as many are served as come: where n come back, and a share ρ finds
    the server busy, that goes on at the rate θ(1 − ρ)².
    """
    return settling.servers(rate, mu, 1) + 4 / (theta * (1 - rate / mu) ** 2)


def _retrials(rate: float, mu: float, theta: float) -> Experiment:
    rho = rate / mu
    duration = settling.duration(rate, 3000 if rate / mu < 0.75 else 20_000, _orbit_settles(rate, mu, theta))
    within, because = (0.02, "") if rho < 0.75 else (0.05, "5%: the variance grows as (1 − ρ)⁻⁴")
    return Experiment(
        name=f"λ={rate:g} μ={mu:g} θ={theta:g}",
        replicate=scenario(
            f"""
duration: {duration}s
drain: 30d
workload: [{{channel: sms, arrivals: {{poisson: {rate}/s}}}}]
channels:
  sms:
    circuit_breaker: {{enabled: false}}
    timeout: 30d
    retry: {{max_attempts: 1000000, initial_delay: 0s}}
""",
            partial(_orbit, duration),
            providers=partial(one_provider, NotificationChannel.SMS, Counter, mu, theta),
        ),
        quantities=(
            Mean(
                name="mean number in orbit",
                target=rho / (1 - rho) * (rate / theta + rho),
                within=within,
                because=because,
            ),
            Mean(name="P(busy)", target=rho, within=0.02),
            Mean(name="retries of each", target=_mean_retries(rho, theta / mu), within=within, because=because),
        ),
        full_only=rho > 0.4,
    )


def _orbit(duration: float, result: Result) -> dict[str, float]:
    since = WARM_UP * duration
    tried = attempts(result)
    served = tried.succeeded
    late = served & (tried.requested >= since)
    return {
        "mean number in orbit": time_average(tried.requested[served], tried.started[served], since, duration),
        "P(busy)": time_average(tried.started[served], tried.ended[served], since, duration),
        "retries of each": (tried.number[late] - 1).mean(),
    }


CASES = (
    metastable(),
    Case(
        name="bimodal-latency",
        title="Five per cent that hang take all threads",
        source="Site Reliability Engineering, ch. 22, 'Bimodal latency'",
        url="https://sre.google/sre-book/addressing-cascading-failures/",
        model="A provider with so many threads that refuses requests when all are busy; most requests take 100 ms, "
        "some hang for 100 s on average. Errors are Erlang's B, whatever the law of the times: 19.6% are served.",
        experiments=tuple(
            _hanging(*each)
            for each in ((100, 100, 0.1, 0.05, 100), (1000, 1000, 0.1, 0.05, 100), (10, 5, 0.1, 0.05, 100))
        ),
    ),
    Case(
        name="retrial-queue",
        title="Customers that find it busy come again until they are served",
        source="Artalejo and Falin, Rev. Mat. Complut. 15, 2002",
        model="M/M/1/1 with retrials: a provider of a few lines that says busy, with a Retry-After that is "
        "exponential. Orbit ρ/(1 − ρ)·(λ/θ + ρ), busy ρ, retries of each ρ/(1 − ρ)·(1 + θ/μ).",
        experiments=tuple(
            _retrials(*each) for each in ((0.5, 1, 1), (0.7, 1, 0.5), (0.8, 1, 0.2), (0.6, 1, 5), (0.3, 1, 1))
        ),
    ),
)
