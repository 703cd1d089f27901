"""Retry and circuit breaker as Markov models: one client, one server that fails after every tenth request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import exp

from actors.domain.attempts import Attempt, Provider
from actors.faults.conditions import NEVER_NS
from actors.instants import NS_PER_S, ns
from actors.kernel.effects import Foreseen
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationChannel, NotificationFailed, NotificationSent
from actors.outcomes import Outcome, Sent, Transient
from simulation.results.result import Result
from simulation.verification.cases.case import Case, Experiment, Replicate, one_provider, scenario
from simulation.verification.cases.families.resiliency_chain import (
    Server,
    Step,
    breaking,
    expected_times,
    plain,
    retrying,
)
from simulation.verification.cases.quantities import Mean

WANTED = 100
"""A run ends after so many successful responses."""

SERVICE_S = 5.0
RESPONSE_TIMEOUT_S = 10.0
REQUESTS_TO_FAILURE = 10
UP_S = SERVICE_S * REQUESTS_TO_FAILURE
"""The uptime from which availability is computed: the time to serve so many requests."""


class FailingServer(Provider):
    """Serves one at a time, fails once it is idle after every tenth request, and is then repaired.

    A request during a repair connects as soon as that has ended, or times out. Whether it is served or dropped at the
    response timeout, it counts. What a retry waits is the server's hint: exponential, with a mean that doubles.
    """

    def __init__(self, availability: float, connect_timeout_s: float, longest_backoff_s: float, seed: int) -> None:
        self._random = RandomStreams(seed).stream("server")
        self._repair_s = (1 / availability - 1) * UP_S
        self._connect_timeout_ns = ns(connect_timeout_s)
        self._longest_backoff_s = longest_backoff_s
        self._up_at_ns = 0
        self._accepted = 0
        self._served = 0

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        """Connect, if there is time for it, and be served."""
        if self._served == WANTED:
            return Foreseen(NEVER_NS, Sent())  # the run has ended
        waits_ns = max(0, self._up_at_ns - now_ns)
        if waits_ns > self._connect_timeout_ns:
            return Foreseen(self._connect_timeout_ns, self._failure(attempt, "connect timeout"))
        self._accepted += 1
        service_s = self._random.expovariate(1 / SERVICE_S)
        took_ns = waits_ns + ns(min(service_s, RESPONSE_TIMEOUT_S))
        if self._accepted % REQUESTS_TO_FAILURE == 0 and self._repair_s:
            self._up_at_ns = now_ns + took_ns + ns(self._random.expovariate(1 / self._repair_s))
        if service_s > RESPONSE_TIMEOUT_S:
            return Foreseen(took_ns, self._failure(attempt, "response timeout"))
        self._served += 1
        return Foreseen(took_ns, Sent())

    def _failure(self, attempt: Attempt, reason: str) -> Outcome:
        if not self._longest_backoff_s:
            return Transient(reason=reason)
        mean_s = min(self._longest_backoff_s, SERVICE_S * 2 ** (attempt.number - 1))
        return Transient(reason=reason, retry_after=self._random.expovariate(1 / mean_s))


RETRY = "max_attempts: 6, initial_delay: 0s, max_delay: 0s"
ONCE = "max_attempts: 1"
NO_BREAKER = "enabled: false"
_BREAKER = "failure_threshold: 2, half_open_permits: 2, when_open: fail, timeout: "


@dataclass(frozen=True, kw_only=True)
class Pattern:
    steps: list[Step]

    retry: str = ONCE

    breaker: str = NO_BREAKER
    longest_backoff_s: float = 0.0


def _retries(longest_backoff_s: float) -> Pattern:
    means = [min(longest_backoff_s, SERVICE_S * 2**k) for k in range(5)]
    return Pattern(steps=retrying(means), retry=RETRY, longest_backoff_s=longest_backoff_s)


CONFIGS: dict[str, Pattern] = {
    "SP": Pattern(steps=plain()),
    "RP MBO=10": _retries(10),
    "RP MBO=40": _retries(40),
    "SCB CBTO=10": Pattern(steps=breaking([10]), breaker=_BREAKER + "10s"),
    "SCB CBTO=40": Pattern(steps=breaking([40]), breaker=_BREAKER + "40s"),
    "DCB max 20": Pattern(steps=breaking([10, 20]), breaker=_BREAKER + "10s, open_growth: {multiplier: 2, max: 20s}"),
    "DCB max 40": Pattern(
        steps=breaking([10, 20, 40]), breaker=_BREAKER + "10s, open_growth: {multiplier: 2, max: 40s}"
    ),
}
"""The patterns, with the settings of the paper."""

PUBLISHED: dict[tuple[str, float], tuple[float, float, float, float]] = {
    ("SP", 0.5): (1157.98, 4.22, 864.01, 2.96),
    ("SP", 0.7): (844.24, 2.21, 654.78, 1.71),
    ("SP", 0.9): (669.27, 1.39, 537.80, 1.23),
    ("RP MBO=10", 0.5): (1299.69, 4.62, 623.41, 1.51),
    ("RP MBO=10", 0.7): (978.38, 2.77, 559.04, 1.26),
    ("RP MBO=10", 0.9): (776.28, 2.06, 521.31, 1.19),
    ("RP MBO=40", 0.5): (1481.99, 5.76, 580.42, 1.30),
    ("RP MBO=40", 0.7): (1088.08, 3.89, 548.08, 1.23),
    ("RP MBO=40", 0.9): (795.90, 2.40, 520.97, 1.19),
    ("SCB CBTO=10", 0.5): (1251.53, 4.47, 605.37, 1.36),
    ("SCB CBTO=10", 0.7): (932.66, 2.60, 556.44, 1.22),
    ("SCB CBTO=10", 0.9): (733.87, 1.84, 524.33, 1.18),
    ("SCB CBTO=40", 0.5): (1570.98, 5.68, 552.55, 1.20),
    ("SCB CBTO=40", 0.7): (1245.24, 4.27, 536.48, 1.18),
    ("SCB CBTO=40", 0.9): (965.71, 3.78, 522.75, 1.17),
    ("DCB max 20", 0.5): (1329.92, 4.76, 579.65, 1.26),
    ("DCB max 20", 0.7): (994.09, 3.04, 549.08, 1.19),
    ("DCB max 20", 0.9): (757.50, 2.17, 523.61, 1.18),
    ("DCB max 40", 0.5): (1449.42, 5.64, 570.37, 1.23),
    ("DCB max 40", 0.7): (1059.14, 3.82, 548.33, 1.19),
    ("DCB max 40", 0.9): (771.17, 2.51, 523.88, 1.18),
}
"""Total and contention time with fixed timeouts, each with half of its 99.9% interval, from 20,000 runs of an
independent simulation."""

QUICKLY_PUBLISHED = (("SP", 0.7), ("RP MBO=10", 0.7), ("SCB CBTO=10", 0.7), ("DCB max 20", 0.7))
"""The published figures that the quick slice checks."""

CONNECT_TIMEOUT_S = 2.0
"""In the published figures."""

SOLVED: tuple[tuple[str, float, float], ...] = (
    *((config, availability, CONNECT_TIMEOUT_S) for config in CONFIGS for availability in (0.6, 0.8)),
    ("SP", 0.5, 10.0),
    ("SP", 0.5, 20.0),
    ("SP", 0.5, 40.0),
    ("SP", 0.8, 10.0),
    ("SP", 0.8, 40.0),
)
"""The cases that are compared with the solution of the chain: a configuration of :data:`CONFIGS`, availability, and
connect timeout in seconds."""

QUICKLY_SOLVED = (("SP", 0.5, 10.0), ("RP MBO=10", 0.8, 2.0), ("DCB max 20", 0.8, 2.0))
"""The solved cases that the quick slice checks."""


def _text(retry: str, breaker: str) -> str:
    return f"""
duration: 100000s
drain: 0s
workload: [{{channel: webhook, clients: 1, think: {{exponential: {{mean: 1s}}}}}}]
channels: {{webhook: {{timeout: 30d, retry: {{{retry}}}, circuit_breaker: {{{breaker}}}}}}}
"""


def _replicate(config: str, availability: float, connect_timeout_s: float) -> Replicate:
    pattern = CONFIGS[config]
    return scenario(
        _text(pattern.retry, pattern.breaker),
        _times,
        providers=partial(
            one_provider,
            NotificationChannel.WEBHOOK,
            FailingServer,
            availability,
            connect_timeout_s,
            pattern.longest_backoff_s,
        ),
    )


def _pattern(config: str, availability: float, figures: Sequence[float]) -> Experiment:
    total, total_half, contention, contention_half = figures
    z = 3.2905
    return Experiment(
        name=f"{config} AV={availability:g}",
        replicate=_replicate(config, availability, CONNECT_TIMEOUT_S),
        quantities=(
            Mean(name="total time, s", target=total, error=total_half / z, within=0.01),
            Mean(name="contention time, s", target=contention, error=contention_half / z, within=0.01),
        ),
        at_most=20_000,
        full_only=(config, availability) in set(PUBLISHED) - set(QUICKLY_PUBLISHED),
    )


def _chain(config: str, availability: float, connect_timeout_s: float) -> Experiment:
    total, contention = _times_solved(config, availability, connect_timeout_s)
    return Experiment(
        name=f"{config} AV={availability:g} connect timeout {connect_timeout_s:g} s",
        replicate=_replicate(config, availability, connect_timeout_s),
        quantities=(
            Mean(name="total time, s", target=total, within=0.01, because="solved"),
            Mean(name="contention time, s", target=contention, within=0.01, because="solved"),
        ),
        at_most=20_000,
        full_only=(config, availability, connect_timeout_s) in set(SOLVED) - set(QUICKLY_SOLVED),
    )


@cache
def _times_solved(config: str, availability: float, connect_timeout_s: float) -> tuple[float, float]:
    return expected_times(server(availability, connect_timeout_s), CONFIGS[config].steps, WANTED)


def server(availability: float, connect_timeout_s: float) -> Server:
    return Server(
        service_s=SERVICE_S,
        repair_s=(1 / availability - 1) * UP_S,
        connect_timeout_s=connect_timeout_s,
        response_timeout_s=RESPONSE_TIMEOUT_S,
        requests_to_failure=REQUESTS_TO_FAILURE,
    )


def _perfect() -> Experiment:
    success = 1 - exp(-RESPONSE_TIMEOUT_S / SERVICE_S)
    return Experiment(
        name="SP AV=1",
        replicate=_replicate("SP", 1.0, CONNECT_TIMEOUT_S),
        quantities=(
            Mean(name="total time, s", target=WANTED * (SERVICE_S + 1 / success), within=0.01, because="closed form"),
            Mean(name="contention time, s", target=WANTED * SERVICE_S, within=0.01, because="closed form"),
        ),
    )


def _times(result: Result) -> dict[str, float]:
    contention_ns = sent = 0
    for event in result.history:
        if type(event) is NotificationSent or type(event) is NotificationFailed:
            contention_ns += event.at_ns - event.started_ns
            sent += type(event) is NotificationSent
            if sent == WANTED:
                return {"total time, s": event.at_ns / NS_PER_S, "contention time, s": contention_ns / NS_PER_S}
    raise AssertionError("the run was too short for so many responses")


CASES = (
    Case(
        name="resiliency-patterns",
        title="Markov models of retry and circuit breaker",
        source="Mendonça, Aderaldo, Cámara and Garlan, ICSA 2020",
        url="https://github.com/ppgia-unifor/resiliency-patterns",
        model="A closed client thinks Exp(1 s) before each request until it has 100 responses; service Exp(5 s), given "
        "up after 10 s; after every 10th request a repair, Exp(50(1/AV − 1) s). SP none, RP 5 retries, SCB and DCB "
        "breakers of fixed and doubling open time. Expected is what an independent simulation gave, or the chain, "
        "solved with fixed timeouts (the paper has Erlang-100 stages in their place, and is up to 0.7% higher).",
        experiments=(
            _perfect(),
            *(_pattern(*key, figures) for key, figures in PUBLISHED.items()),
            *(_chain(*setting) for setting in SOLVED),
        ),
    ),
)
