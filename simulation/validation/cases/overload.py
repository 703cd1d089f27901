"""Overload: metastable failure, a pool of threads that hang, and customers who come again until they are served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from actors.effects import Foreseen
from actors.instants import ns
from actors.messages import NotificationChannel
from actors.outcomes import Sent, Transient
from actors.pipeline.attempts import Attempt, Provider
from actors.randomness import RandomStreams
from actors.verdicts import FailureRule
from simulation.result import Result
from simulation.validation.case import Case, Experiment, scenario
from simulation.validation.cases.queues import WARM_UP, Room, erlang_b
from simulation.validation.domains import COUNT, POSITIVE, PROBABILITY, RARE, checking, real, whole
from simulation.validation.measures import attempts, ended, time_average
from simulation.validation.quantities import Exactly, Mean, Quantity

# ── metastable failure ──────────────────────────────────────────────────────────────────────────────────────────


def metastable(rates: Iterable[int] = (100, 140, 160, 280), capacity: int = 300, outage: float = 10) -> Case:
    """Return the case.

    Args:
        rates: λ, requests a second, from 1; fewer than the capacity, and not just half of it.
        capacity: what the database does a second, from 2.
        outage: how many seconds it is frozen: 2 at least, so that a storm begins at all, and at most an hour.

    Raises:
        ConfigurationError: a parameter is out of its domain; all of them.
    """
    with checking("metastable") as check:
        check.row(
            (capacity, outage),
            {"capacity": whole(2, 100_000), "outage": real("a number from 2 to 3600", low=2, high=3600)},
        )
        rates = check.values(
            rates,
            "λ",
            COUNT,
            (f"λ below the capacity, {capacity}", lambda rate: rate < capacity),
            (f"2λ other than {capacity}, where it is not decided", lambda rate: 2 * rate != capacity),
        )
    return Case(
        name="metastable",
        title="A retry storm that outlives its trigger",
        source="Bronson et al., Metastable Failures in Distributed Systems, HotOS 2021",
        url="https://sigops.org/s/conferences/hotos/2021/papers/hotos21-s11-bronson.pdf",
        model=f"A provider with capacity 1 that takes 1/{capacity} s and is frozen for {outage:g} s; timeout 1 s, two "
        f"attempts. What was given up is worked on all the same: stuck for ever iff 2λ > {capacity}.",
        experiments=tuple(_storm(rate, capacity, outage) for rate in rates),
    )


def _storm(rate: int, capacity: int, outage: float) -> Experiment:
    stuck = 2 * rate > capacity
    # Just under the threshold the backlog of the outage, at most all that came twice, takes long to be worked off.
    after = 60 + outage + (60 if stuck else 30 + 2 * rate * outage / (capacity - 2 * rate))
    until = after + 30
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


def bimodal_latency(
    parameters: Iterable[tuple[float, int, float, float, float]] = (
        (100, 100, 0.1, 0.05, 100),
        (1000, 1000, 0.1, 0.05, 100),
    ),
) -> Case:
    """Return the case.

    Args:
        parameters: λ, requests a second; c, threads, from 1; the usual time in seconds; the share that hangs, from 0 to
            1; and the deadline in seconds, the mean of how long these hang. One in a thousand or more finds no thread.

    Raises:
        ConfigurationError: parameters are out of their domain; all of them.
    """
    with checking("bimodal_latency") as check:
        parameters = check.rows(
            parameters,
            {
                "λ": POSITIVE,
                "threads": whole(1, 100_000),
                "usual": POSITIVE,
                "share": PROBABILITY,
                "deadline": POSITIVE,
            },
            (
                "a share of errors of 0.001 or more",
                lambda rate, threads, usual, share, deadline: (
                    erlang_b(threads, rate * ((1 - share) * usual + share * deadline)) >= RARE
                ),
            ),
        )
    return Case(
        name="bimodal-latency",
        title="Five per cent that hang take all threads",
        source="Site Reliability Engineering, ch. 22, 'Bimodal latency'",
        url="https://sre.google/sre-book/addressing-cascading-failures/",
        model="A provider with so many threads that refuses whoever finds them all busy; most requests take 100 ms, "
        "some hang for 100 s on average. Errors are Erlang's B, whatever the law of the times: 19.6% are served.",
        experiments=tuple(_hanging(*each) for each in parameters),
    )


def _hanging(rate: float, threads: int, usual: float, share: float, deadline: float) -> Experiment:
    # Exponential: with a fixed deadline all threads that hung together are free together again, for hours.
    warm_up, duration = 3 * deadline, 8 * deadline
    usually = f"{{weight: {1 - share}, constant: {usual}s}}"
    else_it_hangs = f"{{weight: {share}, exponential: {{mean: {deadline}s}}}}"
    latency = f"{{mixture: [{usually}, {else_it_hangs}]}}"
    if share in (0, 1):
        latency = f"{{exponential: {{mean: {deadline}s}}}}" if share else f"{usual}s"
    return Experiment(
        name=f"{rate:g}/s, {threads} threads",
        replicate=scenario(
            f"""
duration: {duration}s
workload: [{{channel: webhook, arrivals: {{poisson: {rate}/s}}}}]
channels:
  webhook:
    circuit_breaker: {{enabled: false}}
    timeout: 1d
    retry: {{max_attempts: 1}}
    provider: {{capacity: {threads}, latency: {latency}}}
""",
            partial(_errors, warm_up),
            partial(_threads, threads),
        ),
        quantities=(
            Mean(
                name="share of errors",
                target=erlang_b(threads, rate * ((1 - share) * usual + share * deadline)),
                within=0.005,
            ),
        ),
        pilot=10,
        full_only=rate > 200,
    )


def _threads(count: int) -> Mapping[str, Sequence[FailureRule]]:
    return {"webhook": [Room(count)]}


def _errors(warm_up: float, result: Result) -> dict[str, float]:
    return {"share of errors": 1 - ended(result).since(warm_up).sent.mean()}


# ── retrial queue ───────────────────────────────────────────────────────────────────────────────────────────────


class Counter(Provider):
    """Serves one at a time; who finds it busy is told so at once, and comes again after an exponential time."""

    def __init__(self, seed: int, mu: float, theta: float) -> None:
        self._luck = RandomStreams(seed).stream("counter")
        self._mu, self._theta = mu, theta
        self._free_at_ns = 0

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        """Be served, or be told when to come again."""
        if now_ns < self._free_at_ns:
            again_s = self._luck.expovariate(self._theta)
            return Foreseen(0, Transient(reason="busy", throttled=True, retry_after=again_s))
        service_ns = ns(self._luck.expovariate(self._mu))
        self._free_at_ns = now_ns + service_ns
        return Foreseen(service_ns, Sent())


def _counter(mu: float, theta: float, seed: int) -> Mapping[NotificationChannel, Provider]:
    return {NotificationChannel.SMS: Counter(seed, mu, theta)}


def retrial_queue(
    parameters: Iterable[tuple[float, float, float]] = ((0.5, 1, 1), (0.7, 1, 0.5), (0.8, 1, 0.2), (0.6, 1, 5)),
) -> Case:
    """Return the case; of each triple, arrivals, services and returns a second: λ, μ and θ, more than 0, with λ < μ.

    Raises:
        ConfigurationError: a triple is out of its domain; all of them.
    """
    with checking("retrial_queue") as check:
        parameters = check.rows(
            parameters,
            {"λ": POSITIVE, "μ": POSITIVE, "θ": POSITIVE},
            ("λ < μ, or no queue is stable", lambda rate, mu, theta: rate < mu),
        )
    return Case(
        name="retrial-queue",
        title="Customers who find it busy come again until they are served",
        source="Artalejo and Falin, Rev. Mat. Complut. 15, 2002",
        model="M/M/1/1 with retrials: a provider of a few lines that says busy, with a Retry-After that is "
        "exponential. Orbit ρ/(1 − ρ)·(λ/θ + ρ), busy ρ, retries of each ρ/(1 − ρ)·(1 + θ/μ).",
        experiments=tuple(_retrials(*each) for each in parameters),
    )


def _retrials(rate: float, mu: float, theta: float) -> Experiment:
    rho = rate / mu
    duration = 5000 / rate if rho < 0.75 else 20_000 / rate
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
            providers=partial(_counter, mu, theta),
        ),
        quantities=(
            Mean(
                name="mean number in orbit",
                target=rho / (1 - rho) * (rate / theta + rho),
                within=within,
                because=because,
            ),
            Mean(name="P(busy)", target=rho, within=0.02),
            Mean(name="retries of each", target=rho / (1 - rho) * (1 + theta / mu), within=within, because=because),
        ),
        full_only=rho >= 0.7,
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


CASES = (metastable(), bimodal_latency(), retrial_queue())
