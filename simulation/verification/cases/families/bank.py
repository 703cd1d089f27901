"""A bank with one counter, and customers that leave after waiting too long: SimPy's example, as a trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from operator import itemgetter

from actors.domain.attempts import EXPIRED, Attempt, Provider
from actors.instants import NS_PER_S, ns
from actors.kernel.effects import Foreseen
from actors.messages import NotificationChannel, NotificationMovedToDeadLetter, NotificationRequested, NotificationSent
from actors.outcomes import Sent
from simulation.results.result import Result
from simulation.verification.cases.case import Case, Experiment, one_provider, scenario
from simulation.verification.cases.quantities import Exactly

DRAWN: tuple[tuple[float, float, float], ...] = (
    (0.0, 1.0500215104453339, 3.859488768899587),
    (10.200602872748009, 2.472942428328025, 13.550076105583113),
    (12.726464729449145, 1.1738776652588323, 0.0),
    (34.99934572496295, 1.0595944388761407, 2.960600351517892),
    (40.47980731892786, 1.0530719393677272, 2.6603000299641653),
)
"""When each customer comes, how long it waits at most, and how long it takes, in seconds, as Python's generator draws
them with seed 42: an exponential of mean 10 between two of them, from 1 to 3 evenly, and an exponential of mean 12, in
the order in which the example asks for them. The third never is served."""

DIGITS = 4
"""Behind the point, in what the example prints."""


class Counter(Provider):
    """Serves each customer for as long as that one takes."""

    def __init__(self, services: Sequence[float], _seed: int) -> None:
        self._services = services

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        """Serve the customer with the number in the id of the notification."""
        return Foreseen(ns(self._services[_number(attempt.command.notification_id)]), Sent())


def _number(notification_id: str) -> int:
    return int(notification_id.split("-")[1])


def bank_renege(customers: Iterable[tuple[float, float, float]] = DRAWN) -> Case:
    customers = tuple(sorted(customers, key=itemgetter(0)))
    return Case(
        name="bank-renege",
        title="A bank with customers that leave after waiting too long",
        source="SimPy 4.1.2, examples, bank_renege.out",
        url="https://simpy.readthedocs.io/en/latest/examples/bank_renege.html",
        model="Customers come at the instants that the example draws with its seed, 42, to a bulkhead of one slot; "
        "expires_after is their patience, and a provider takes as long as each of them does.",
        experiments=(
            Experiment(
                name=f"{len(customers)} customers",
                replicate=scenario(
                    _text(customers),
                    _ends,
                    providers=partial(
                        one_provider, NotificationChannel.SMS, Counter, [takes for *_, takes in customers]
                    ),
                ),
                quantities=_expected(customers),
            ),
        ),
    )


def _text(customers: Sequence[tuple[float, float, float]]) -> str:
    entries = "\n".join(
        f"  - {{channel: sms, arrivals: {{times: [{comes!r}s]}}, expires_after: {patience!r}s}}"
        for comes, patience, _ in customers
    )
    return f"""
duration: {max(comes for comes, *_ in customers) + 1}s
drain: 30d
workload:
{entries}
channels: {{sms: {{max_in_flight: 1, timeout: 30d, circuit_breaker: {{enabled: false}}}}}}
"""


def _expected(customers: Sequence[tuple[float, float, float]]) -> tuple[Exactly, ...]:
    free_ns = 0
    finished, left = [], []
    for number, (comes, patience, service) in enumerate(customers):
        begins_ns = max(ns(comes), free_ns)
        if begins_ns - ns(comes) > ns(patience):
            left.append((number, round(patience, DIGITS)))
        else:
            free_ns = begins_ns + ns(service)
            finished.append(round(free_ns / NS_PER_S, DIGITS))
    return (
        Exactly(name="come at, s", target=[round(comes, DIGITS) for comes, *_ in customers]),
        Exactly(name="finish at, s", target=finished),
        Exactly(name="leave unserved", target=[number for number, _ in left]),
        Exactly(name="after, s", target=[patience for _, patience in left]),
    )


def _ends(result: Result) -> dict[str, list[float]]:
    come: list[float] = []
    finish: list[float] = []
    left: list[tuple[int, float]] = []
    for event in result.history:
        if type(event) is NotificationRequested:
            come.append(round(event.at_ns / NS_PER_S, DIGITS))
        elif type(event) is NotificationSent:
            finish.append(round(event.at_ns / NS_PER_S, DIGITS))
        elif type(event) is NotificationMovedToDeadLetter and event.reason == EXPIRED:
            waited_s = (event.at_ns - event.requested_at_ns) / NS_PER_S
            left.append((_number(event.notification_id), round(waited_s, DIGITS)))
    left.sort()
    return {
        "come at, s": come,
        "finish at, s": finish,
        "leave unserved": [number for number, _ in left],
        "after, s": [waited for _, waited in left],
    }


CASES = (bank_renege(),)
