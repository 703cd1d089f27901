"""The expected times of the resiliency patterns, solved: with fixed timeouts, for any availability.

Thinking, service, repair and backoff are exponential, and no two fixed delays ever run at once; so what goes on from
the beginning of one wait of the client to that of its next is a Markov chain, in which a fixed delay is an integral
over an exponential and no chain of stages. (The paper has Erlang-100 stages in place of fixed delays, and is up to 0.7%
higher; to this the stages come as there are more and more of them.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np

from simulation.verification.cases.measures import Array

THINK_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server: it fails once it is idle after every so many requests that it has accepted."""

    service_s: float
    """Mean."""

    repair_s: float
    """Mean; 0 where it never fails."""

    connect_timeout_s: float
    response_timeout_s: float
    requests_to_failure: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where the client is: it waits, then makes an attempt, and what comes next depends on how that ends."""

    wait_s: float
    """Mean of the exponential wait before the attempt."""

    success: int
    """The step after a success, by its place in the list."""

    failure: int

    open_s: float = 0.0
    """How long the breaker is open between a failure and the step after it: fixed."""


def plain() -> list[Step]:
    return [Step(wait_s=THINK_S, success=0, failure=0)]


def retrying(backoffs_s: Sequence[float]) -> list[Step]:
    """Return the steps of one that retries after waits of these means, and then stops and thinks again."""
    waits = [THINK_S, *backoffs_s]
    return [Step(wait_s=wait, success=0, failure=(k + 1) % len(waits)) for k, wait in enumerate(waits)]


def breaking(opens_s: Sequence[float]) -> list[Step]:
    """Return the steps with a breaker.

    Two failures in a row open it; half-open, one failure opens it again and two successes close it.

    Args:
        opens_s: how long it is open the first time, the second, …; and every time after the last of them.
    """
    steps = [Step(wait_s=THINK_S, success=0, failure=1), Step(wait_s=THINK_S, success=0, failure=2, open_s=opens_s[0])]
    for number in range(len(opens_s)):
        here, later = 2 + 2 * number, min(number + 1, len(opens_s) - 1)
        for success in (here + 1, 0):
            steps.append(Step(wait_s=THINK_S, success=success, failure=2 + 2 * later, open_s=opens_s[later]))
    return steps


def expected_times(server: Server, steps: Sequence[Step], responses: int) -> tuple[float, float]:
    """Return the expected total and contention time in seconds until there are so many successful responses."""
    # A state is a step and a phase of the server: how many it has accepted since it failed, or, the last, in repair.
    phases = server.requests_to_failure + 1
    size = phases * len(steps)
    failing, succeeding, rewards = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, 2))
    for number, step in enumerate(steps):
        for phase in range(phases):
            here = number * phases + phase
            rewards[here, 0] += step.wait_s
            _attempt(server, step, phase, failing[here], succeeding[here], rewards[here])
    times: Array = np.zeros((size, 2))
    for _ in range(responses):
        times = np.linalg.solve(np.eye(size) - failing, rewards + succeeding @ times)
    return float(times[0, 0]), float(times[0, 1])


def _attempt(server: Server, step: Step, phase: int, failing: Array, succeeding: Array, reward: Array) -> None:
    phases = server.requests_to_failure + 1
    repair, repair_s = phases - 1, server.repair_s
    down = 0.0
    if phase == repair and repair_s:
        down = repair_s / (repair_s + step.wait_s)  # it is still in repair when the wait ends
        reward += down * repair_s * (1 - exp(-server.connect_timeout_s / repair_s))
        down *= exp(-server.connect_timeout_s / repair_s)  # … and when the client stops connecting
        _fail(server, step, repair, down, failing, reward)
    accepted = 1 - down
    served = 1 - exp(-server.response_timeout_s / server.service_s)
    reward += accepted * server.service_s * served
    count = (0 if phase == repair else phase) + 1
    after = count if count < server.requests_to_failure else repair if repair_s else 0
    succeeding[step.success * phases + after] += accepted * served
    _fail(server, step, after, accepted * (1 - served), failing, reward)


def _fail(server: Server, step: Step, phase: int, share: float, failing: Array, reward: Array) -> None:
    """Add a failure that leaves the server in a phase, which may change while the breaker is open."""
    phases = server.requests_to_failure + 1
    reward[0] += share * step.open_s
    still = exp(-step.open_s / server.repair_s) if phase == phases - 1 else 1.0
    failing[step.failure * phases + phase] += share * still
    failing[step.failure * phases] += share * (1 - still)
