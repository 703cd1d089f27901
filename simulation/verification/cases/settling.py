"""How long a queue takes to forget that it began empty, and so how long a run has to be.

A queue forgets how it began in a few relaxation times, which grow as (1 − ρ)⁻² (Cohen, *The Single Server Queue*,
1969; Abate and Whitt, Transient behavior of the M/M/1 queue, 1987): at a utilisation of 0.99 one is some 40,000
services, more than a run of usual length has. What is measured then is not what a formula for the long run says.
"""

from __future__ import annotations

import math

from simulation.verification.cases.quantities import Mean

WARM_UP = 0.1
"""The share of a run that is not looked at, because it begins empty. Arrivals then stop, and the run goes on until the
last has ended, so that none is cut off."""


def servers(rate: float, mu: float, count: int) -> float:
    """Return after how many seconds M/M/c has settled: `rate` arrivals, and `mu` services of each server, a second."""
    return max(4 / mu, 2 / (math.sqrt(count * mu) - math.sqrt(rate)) ** 2)


def places(rate: float, mu: float, count: int, room: int) -> float:
    """Return the same of M/M/c/K with `room` for so many, which may be too many for the servers."""
    working = min(count, room)
    waiting, total = room - working, working * mu
    # Karlin and McGregor's eigenvalues of M/M/1/K; of one with no place to wait it is the services that count.
    turn = 1 - math.cos(math.pi / (waiting + 2))
    gap = (math.sqrt(rate) - math.sqrt(total)) ** 2 + 2 * math.sqrt(rate * total) * turn
    fills = 0.0
    if waiting and rate > total:
        fills = min(waiting / (rate - total), waiting**2 / (rate + total))
    return max(4 / mu, 4 / gap if waiting else 0.0) + 2 * fills


def work(rate: float, mean: float, square: float) -> float:
    """Return the same of M/G/1, by reflected Brownian motion: services of this mean and second moment in seconds."""
    return 4 * max(mean, rate * square / (1 - rate * mean) ** 2)


def duration(rate: float, customers: int, settles: float) -> float:
    """Return how many seconds arrivals last: so many customers, or more where the queue takes longer to settle."""
    return max(customers / rate, settles / WARM_UP)


def precision(rho: float) -> tuple[float, str]:
    """Return how wide half the interval of a mean may be at this utilisation, as a share, and why."""
    if rho <= 0.85:
        return 0.02, ""
    within = 0.05 if rho <= 0.95 else 0.10
    return within, f"{within:.0%}: the variance grows as (1 − ρ)⁻⁴"


def mean(name: str, target: float, rho: float) -> Mean:
    """Return a mean that is as precise as :func:`precision` says."""
    within, because = precision(rho)
    return Mean(name=name, target=target, within=within, because=because)
