"""A gas station: one pump, two kinds of vehicles, and room to wait for one kind only. The example of simmer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from actors.domain.attempts import Attempt
from actors.faults.queue import Load
from actors.instants import NS_PER_S
from actors.messages import NotificationSent
from actors.outcomes import Outcome, Transient
from simulation.results.result import Result
from simulation.verification.cases import settling
from simulation.verification.cases.case import Case, Experiment, one_rule, scenario
from simulation.verification.cases.measures import time_average
from simulation.verification.cases.quantities import RARE, Mean
from simulation.verification.cases.settling import WARM_UP

FULL = Transient(reason="no room", throttled=True)
MOTORCYCLES = "host-0.example"
"""Where the recipients are that stand for motorcycles; cars' have no host."""

CARS = "sms-0-"


class Station:
    """Turns away vehicles that find the pump in use: cars always, motorcycles when the places to wait are taken too."""

    def __init__(self, places: int) -> None:
        self._places = places

    def __call__(self, attempt: Attempt, _now_ns: int, load: Load) -> Outcome | None:
        waiting_places = self._places if attempt.command.recipient.endswith(MOTORCYCLES) else 0
        return FULL if load.under_way > waiting_places else None


def solved(rate: float, cars: float, car_min: float, motorcycle_min: float, places: int) -> dict[str, float]:
    """Return the share of the time in each state, of the chain in continuous time: `rate` vehicles come a minute."""
    busy = [(kind, waiting) for kind in ("car", "motorcycle") for waiting in range(places + 1)]
    number = {state: 1 + index for index, state in enumerate(busy)}
    generator = np.zeros((1 + len(busy), 1 + len(busy)))
    generator[0, number["car", 0]] = rate * cars
    generator[0, number["motorcycle", 0]] = rate * (1 - cars)
    for (kind, waiting), here in number.items():
        if waiting < places:
            generator[here, number[kind, waiting + 1]] = rate * (1 - cars)
        after = number["motorcycle", waiting - 1] if waiting else 0
        generator[here, after] += 1 / (car_min if kind == "car" else motorcycle_min)
    np.fill_diagonal(generator, -generator.sum(axis=1))
    equations = np.vstack([generator.T[:-1], np.ones(1 + len(busy))])
    shares = np.linalg.solve(equations, [0.0] * len(busy) + [1.0])
    return {"idle": float(shares[0])} | {_name(*state): float(shares[number[state]]) for state in busy}


def _name(kind: str, waiting: int) -> str:
    return kind if not waiting else f"{kind}, {waiting} waiting"


def gas_station(
    places: Iterable[int] = (0, 1),
    rate: float = 3 / 20,
    cars: float = 0.75,
    car_min: float = 8,
    motorcycle_min: float = 3,
) -> Case:
    return Case(
        name="gas-station",
        title="A gas station for two kinds of vehicles",
        source="simmer vignette 07, Continuous-Time Markov Chains",
        url="https://r-simmer.org/articles/simmer-07-ctmc.html",
        model="Poisson arrivals of cars and motorcycles at one pump, each with an exponential time of its own; cars go "
        "if it is in use, motorcycles if all places to wait are taken. Two entries of a workload, a provider with "
        "capacity: 1 that is as fast as the recipient's host says, and a failure rule that sees which are there.",
        experiments=tuple(_experiment(each, rate, cars, car_min, motorcycle_min) for each in places),
    )


def _settles_min(rate: float, cars: float, car_min: float, motorcycle_min: float, places: int) -> float:
    """Return after how many minutes it does not show that there was no vehicle: as if all took the longer time."""
    return settling.places(rate, 1 / max(car_min, motorcycle_min), 1, 1 + places)


def _experiment(places: int, rate: float, cars: float, car_min: float, motorcycle_min: float) -> Experiment:
    shares = solved(rate, cars, car_min, motorcycle_min, places)
    present = {"idle": 0} | {_name(kind, n): 1 + n for kind in ("car", "motorcycle") for n in range(places + 1)}
    duration = 60 * settling.duration(rate, 4000, _settles_min(rate, cars, car_min, motorcycle_min, places))
    text = f"""
duration: {duration}s
drain: 30d
workload:
  - {{channel: sms, arrivals: {{poisson: {rate * cars}/min}}}}
  - {{channel: sms, arrivals: {{poisson: {rate * (1 - cars)}/min}}, hosts: 1}}
channels:
  sms:
    circuit_breaker: {{enabled: false}}
    timeout: 30d
    retry: {{max_attempts: 1}}
    provider: {{capacity: 1, latency: {{exponential: {{mean: {car_min}m}}}}}}
faults: [{{channel: sms, host: {MOTORCYCLES}, latency: {{exponential: {{mean: {motorcycle_min}m}}}}}}]
"""
    return Experiment(
        name="no place to wait" if not places else f"places for motorcycles to wait: {places}",
        replicate=scenario(text, partial(_shares, places, duration), partial(one_rule, "sms", Station, places)),
        quantities=(
            Mean(
                name="mean number of vehicles",
                target=sum(present[state] * share for state, share in shares.items()),
                within=0.01,
            ),
            *(
                Mean(
                    name=f"share of the time: {state}",
                    target=share,
                    within=0.02 if share > 0.05 else 0.05 if share > 0.01 else 0.10,
                    because="5 or 10% where it is rare" if share <= 0.05 else "",
                )
                for state, share in shares.items()
                if share >= RARE
            ),
        ),
        full_only=not places,
    )


def _shares(places: int, duration: float, result: Result) -> dict[str, float]:
    since = WARM_UP * duration
    served = [event for event in result.history if type(event) is NotificationSent]
    comes = np.array([event.requested_at_ns for event in served]) / NS_PER_S
    leaves = np.array([event.at_ns for event in served]) / NS_PER_S
    is_car = np.array([event.notification_id.startswith(CARS) for event in served])
    begins = np.maximum(comes, np.concatenate([[0.0], leaves[:-1]]))  # first come, first served

    def share(waiting: int, of_cars: bool) -> float:
        """Return how long at least so many wait behind one of this kind."""
        those = np.flatnonzero(is_car == of_cars)
        those = those[those + waiting < len(served)]
        return time_average(np.maximum(begins[those], comes[those + waiting]), leaves[those], since, duration)

    shares = {"mean number of vehicles": time_average(comes, leaves, since, duration)}
    shares["share of the time: idle"] = 1 - share(0, True) - share(0, False)
    for kind, of_cars in (("car", True), ("motorcycle", False)):
        for waiting in range(places + 1):
            exactly = share(waiting, of_cars) - share(waiting + 1, of_cars)
            shares[f"share of the time: {_name(kind, waiting)}"] = exactly
    return shares


CASES = (gas_station(),)
