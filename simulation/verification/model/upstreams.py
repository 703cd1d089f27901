"""The requests behind the providers of a simulation, layer by layer, with retries of failed ones (section 23).

To the model itself the answer is given, as that of any provider. This module predicts which requests lead to it by
itself.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import NamedTuple

from actors.outcomes import Ambiguous, Outcome, Transient
from actors.settings.channel import ProviderConfig, UpstreamConfig
from actors.settings.faults import FaultConfig
from simulation.verification.model.backoff import Progress, Retrying
from simulation.verification.model.budgets import budget_of
from simulation.verification.model.instants import NEVER_NS, ns
from simulation.verification.model.providers import SimulatedProvider
from simulation.verification.model.randomness import Stream

TIMED_OUT = Ambiguous(reason="upstream timed out")


class Request(NamedTuple):
    """One request, by what the history says of it."""

    notification_id: str
    channel: str
    provider: str | None
    node: int | None
    attempt: int
    layer: int = 1
    number: int = 1


class _Due(NamedTuple):
    at_ns: int
    place: int
    rule: Callable[[], None]
    request: Request | None


class Agenda:
    """The timers behind one provider, first come, first served. A request waits until it is seen."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._due: list[_Due] = []
        self._places = count()

    def at(self, at_ns: int, rule: Callable[[], None], request: Request | None = None) -> None:
        """Have a rule applied then; that of a request as it is seen, which at `NEVER_NS` is some time."""
        insort(self._due, _Due(at_ns, next(self._places), rule, request))

    def go_on_until(self, now_ns: int) -> Request | None:
        """Do what is due before an instant; return a request that was, and has not been seen."""
        while self._due and self._due[0].at_ns < now_ns:
            self.now_ns, _, rule, request = self._due.pop(0)
            if request is not None:
                return request
            rule()
        return None

    def see(self, seen: Request, now_ns: int) -> bool:
        """Take a request that is seen now, behind the answers that are due before it; return whether it is due."""
        self.now_ns = now_ns
        while True:
            of_it = (due for due in self._due if due.request in (None, seen) and due.at_ns in (now_ns, NEVER_NS))
            due = next(of_it, None)
            if due is None:
                return False
            self._due.remove(due)
            due.rule()
            if due.request is not None:
                return True


@dataclass(eq=False, slots=True)
class _Errand:
    """The work of a layer on one request of the layer above, until one of its own has succeeded, or it gives up."""

    request: Request
    """The latest one."""
    recipient: str
    answer: Callable[[Outcome], None]
    since_ns: int = 0
    charge: int = 0
    progress: Progress = field(default_factory=dict)
    waits_for: int = 0
    """The number of the request that the next layer has not answered yet; 0: of none."""


class Upstream:
    """The layer of a number behind one provider, and those behind it.

    "The provider does not know that its sender has stopped waiting": nothing ends an errand but its answers.
    """

    def __init__(
        self, config: UpstreamConfig, faults: Sequence[FaultConfig], seed: int, name: str, above: Upstream | None = None
    ) -> None:
        self.agenda: Agenda = Agenda() if above is None else above.agenda
        self._layer: int = 1 if above is None else above._layer + 1
        own = f"{name}.upstream"
        settings = ProviderConfig(latency=config.latency, failure_rate=config.failure_rate, upstream=config.upstream)
        of_layer = [fault for fault in faults if fault.upstream == self._layer]
        self._service = SimulatedProvider(settings, of_layer, seed, own, None)
        self._retrying = Retrying(config.retry, Stream(seed, f"{own}.backoff"))
        self._budget = budget_of(config.retry.budget)
        self._timeout_ns = NEVER_NS if config.timeout is None else ns(config.timeout)
        self._below: Upstream | None = None
        if config.upstream is not None:
            self._below = Upstream(config.upstream, faults, seed, own, self)

    def ask(self, first: Request, recipient: str, at_ns: int, answer: Callable[[Outcome], None]) -> None:
        """Have it asked then, or at `NEVER_NS` some time, and give its answer."""
        self._next(_Errand(first, recipient, answer), at_ns)

    def _next(self, errand: _Errand, at_ns: int) -> None:
        self.agenda.at(at_ns, partial(self._request, errand), errand.request)

    def _request(self, errand: _Errand) -> None:
        now_ns, request, recipient = self.agenda.now_ns, errand.request, errand.recipient
        if request.number == 1:
            errand.since_ns = now_ns
        self._budget.begin(errand.charge, now_ns)
        fate = self._service.judge(recipient, request.node, now_ns)
        until_ns = now_ns + self._timeout_ns
        if self._below is not None and fate.asks_ns is not None:
            errand.waits_for = request.number
            end = partial(self._answered, errand, request.number)
            first = request._replace(layer=request.layer + 1, number=1)
            self._below.ask(first, recipient, now_ns + fate.asks_ns, unheard if fate.outcome is None else end)
            # An answer at that instant counts: the time-out comes behind what is due by then.
            self.agenda.at(until_ns, partial(self.agenda.at, until_ns, partial(end, TIMED_OUT)))
        elif fate.outcome is not None and fate.takes_ns is not None and now_ns + fate.takes_ns <= until_ns:
            self.agenda.at(now_ns + fate.takes_ns, partial(self._answered, errand, 0, fate.outcome))
        else:
            self.agenda.at(until_ns, partial(self._answered, errand, 0, TIMED_OUT))

    def _answered(self, errand: _Errand, number: int, outcome: Outcome) -> None:
        if errand.waits_for != number:
            return  # it comes too late
        errand.waits_for = 0
        now_ns = self.agenda.now_ns
        self._budget.end(errand.charge, outcome, now_ns)
        errand.charge = 0
        wait_ns = self._wait_ns(errand, outcome, now_ns)
        if wait_ns is None:
            errand.answer(outcome)
        else:
            errand.request = errand.request._replace(number=errand.request.number + 1)
            self._next(errand, now_ns + wait_ns)

    def _wait_ns(self, errand: _Errand, outcome: Outcome, now_ns: int) -> int | None:
        retrying = self._retrying
        if not isinstance(outcome, (Transient, Ambiguous)) or retrying.is_final(outcome, outcome is TIMED_OUT):
            return None
        wait_ns, last_ns = retrying.next_wait_ns(outcome, errand.progress), retrying.last_start_ns(errand.since_ns)
        if wait_ns is None or retrying.is_late_to_fail(errand.since_ns, now_ns):
            return None
        if last_ns is not None and now_ns + wait_ns > last_ns:
            return None
        charge = self._budget.ask(outcome, now_ns)
        errand.charge = charge or 0
        return None if charge is None else wait_ns


def unheard(_: Outcome) -> None:
    """Nobody hears of a reply that is lost."""
