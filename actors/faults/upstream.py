"""The upstream that a provider asks behind its API, with retries: the lower of two layers that both retry.

With r1 attempts at the sender and r2 requests for each at the provider, the bottom is asked up to r1 · r2 times; and so
on where that asks one more. The provider does not know that its sender has stopped waiting: it goes on with its
retries, while the sender's next attempt begins with a set of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from actors.domain.attempts import Attempt
from actors.faults.conditions import NEVER_NS
from actors.faults.rules import Fate, FaultRules
from actors.faults.station import Clocked
from actors.instants import ns
from actors.kernel.effects import Promise
from actors.kernel.randomness import RandomStreams
from actors.kernel.system import ActorSystem
from actors.messages import UpstreamRequested
from actors.outcomes import Ambiguous, Outcome, Sent, Transient
from actors.pipeline.retries import succeeded
from actors.policies.retry.budgets import make_budget
from actors.policies.retry.policy import Progress, RetryPolicy, failure_kind
from actors.settings.channel import ProviderConfig, UpstreamConfig
from actors.settings.faults import FaultConfig

UPSTREAM_TIMED_OUT = Ambiguous(reason="upstream timed out")


@dataclass(slots=True, eq=False)
class _Errand:
    """The requests to the upstream for one attempt, until one succeeds or the last has failed."""

    attempt: Attempt
    since_ns: int
    done: Callable[[Outcome], object]
    number: int = 0
    """Of the latest request."""
    charge: int = 0
    """What its retry has cost of the budget."""
    progress: Progress = field(default_factory=Progress)
    waits_for: int = 0
    """The number of the request that waits for the next layer; an answer to an earlier one comes too late."""


class Upstream(Clocked):
    """The upstream of one provider. It has state, so it serves one run."""

    def __init__(
        self,
        config: UpstreamConfig,
        faults: Sequence[FaultConfig],
        streams: RandomStreams,
        name: str,
        provider: str | None,
        layer: int = 1,
    ) -> None:
        """Make the layer of a number, and those behind it; `faults` are those of all of them."""
        super().__init__("an upstream")
        own = f"{name}.upstream"
        settings = ProviderConfig(latency=config.latency, failure_rate=config.failure_rate)
        self._rules = FaultRules(settings, [fault for fault in faults if fault.upstream == layer], (), streams, own)
        self._below: Upstream | None = None
        if config.upstream is not None:
            self._below = Upstream(config.upstream, faults, streams, own, provider, layer + 1)
        self._layer = layer
        self._policy = RetryPolicy(config.retry, streams.stream(f"{own}.backoff"))
        self._budget = None if config.retry.budget is None else make_budget(config.retry.budget)
        self._timeout_ns = NEVER_NS if config.timeout is None else ns(config.timeout)
        self._provider = provider

    def on_wired(self, system: ActorSystem) -> None:
        super().on_wired(system)
        if self._below is not None:
            self._below.on_wired(system)

    def ask(self, attempt: Attempt, fate: Fate, now_ns: int, delivered: Callable[[], object]) -> Promise:
        """Ask for an attempt that the provider itself would send; return the promise of its outcome. `delivered` is
        called when a request has succeeded.

        Raises:
            ActorSystemError: it has no clock.
        """
        system, answer = self.system, Promise()

        def done(outcome: Outcome) -> None:
            if type(outcome) is Sent:
                delivered()
            if fate.outcome is not None:  # else its reply is lost
                answer.keep(outcome)

        if fate.finished is None:
            system.call_at(now_ns + fate.delay_ns, partial(self._begin, attempt, done))
        else:
            fate.finished.when_kept(lambda _: self._begin(attempt, done))
        return answer

    def _begin(self, attempt: Attempt, done: Callable[[Outcome], object]) -> None:
        self._request(_Errand(attempt, self.system.now_ns, done))

    def _request(self, errand: _Errand) -> None:
        system = self.system
        now_ns, attempt = system.now_ns, errand.attempt
        errand.number += 1
        if self._budget is not None:
            self._budget.start(errand.charge, now_ns)
        system.record(
            UpstreamRequested(
                at_ns=now_ns,
                epoch_ns=system.epoch_ns,
                node=attempt.node,
                notification_id=attempt.command.notification_id,
                channel=attempt.command.channel,
                attempt=attempt.number,
                number=errand.number,
                provider=self._provider,
                layer=self._layer,
            )
        )
        fate = self._rules.judge(attempt, now_ns)
        if fate.delivers and self._below is not None:
            self._ask_below(self._below, errand, fate, now_ns)
            return
        takes_ns, outcome = fate.delay_ns, fate.outcome
        if outcome is None or takes_ns > self._timeout_ns:
            takes_ns, outcome = self._timeout_ns, UPSTREAM_TIMED_OUT
        if takes_ns < NEVER_NS:
            system.call_at(now_ns + takes_ns, partial(self._answered, errand, outcome))

    def _ask_below(self, below: Upstream, errand: _Errand, fate: Fate, now_ns: int) -> None:
        """Have a request wait for what the next layer says, until its own time is up."""
        system, number = self.system, errand.number

        def end(outcome: Outcome) -> None:
            if errand.waits_for == number:
                errand.waits_for = 0
                self._answered(errand, outcome)

        errand.waits_for = number
        below.ask(errand.attempt, fate, now_ns, lambda: None).when_kept(end)  # only the provider counts deliveries
        if self._timeout_ns < NEVER_NS:
            # Behind what is due at that instant, whose answer counts, and before the time-out of the sender.
            until_ns = now_ns + self._timeout_ns
            system.call_at(until_ns, lambda: system.call_at(until_ns, partial(end, UPSTREAM_TIMED_OUT)))

    def _answered(self, errand: _Errand, outcome: Outcome) -> None:
        system = self.system
        now_ns = system.now_ns
        if self._budget is not None:
            self._budget.end(errand.charge, succeeded(outcome), now_ns)
            errand.charge = 0
        retry_at_ns = self._retry_at_ns(errand, outcome, now_ns)
        if retry_at_ns is None:
            errand.done(outcome)
        else:
            system.call_at(retry_at_ns, partial(self._request, errand))

    def _retry_at_ns(self, errand: _Errand, outcome: Outcome, now_ns: int) -> int | None:
        if not isinstance(outcome, Transient | Ambiguous):
            return None
        if self._policy.gives_up(outcome, timed_out=outcome is UPSTREAM_TIMED_OUT):
            return None
        wait_ns = self._policy.next_wait_ns(outcome, errand.progress)
        if wait_ns is None:
            return None
        if self._policy.is_out_of_time(errand.since_ns, now_ns, now_ns + wait_ns):
            return None
        if self._budget is not None:
            charge = self._budget.try_retry(failure_kind(outcome), now_ns)
            if charge is None:
                return None
            errand.charge = charge
        return now_ns + wait_ns
