"""The unreliable provider: delivers with a delay, and fails as configured; on any clock.

The fate of an attempt is decided by :class:`~actors.faults.rules.FaultRules`, in the order described
there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from actors.domain.attempts import TIMED_OUT, Attempt, Provider
from actors.errors import ConfigurationError
from actors.faults.conditions import NEVER_NS, EnforcedQuota
from actors.faults.rules import SENT, FailureRule, FaultRules, on_the_ladder
from actors.faults.upstream import Upstream
from actors.kernel.effects import Foreseen, Promise
from actors.kernel.randomness import RandomStreams
from actors.kernel.system import ActorSystem
from actors.outcomes import Outcome
from actors.settings.base import validated
from actors.settings.channel import Discipline, OneAtATimeConfig, ProviderConfig, QueueConfig, UpstreamConfig
from actors.settings.distributions import Distribution
from actors.settings.faults import FaultConfig, QuotaFault
from actors.settings.script import ScriptedAnswer

_SETTINGS = (
    "failure_rate", "latency", "capacity", "discipline", "queue", "throttle", "one_at_a_time", "connections",
    "upstream", "script",
)  # fmt: skip
"""The arguments that are called as a setting of the provider's is."""


class SimulatedProvider(Provider):
    """A provider that fails as configured, for the live pipeline and the simulated one alike.

    It goes by the clock of its system from 0 on, and has state; so it serves one run.

    ::

        SimulatedProvider(failure_rate=0.3)                 # 30% of the attempts fail
        SimulatedProvider(fail_count=2)                     # the first two fail, all others succeed
        SimulatedProvider(latency=Distribution(exponential={"mean": 0.2}))
        SimulatedProvider(latency=0.2, capacity=10)         # at most 50 a second; the others queue
        SimulatedProvider(latency=0.2, capacity=10, discipline="processor_sharing")   # the others slow all down
        SimulatedProvider(latency=0.2, per_in_flight=0.01)  # slower the more it has to do
        SimulatedProvider(upstream={"failure_rate": 0.3})   # asks in its turn, and retries there
        SimulatedProvider(script=[{"outcome": "hang"}, {}])     # as it is written
        SimulatedProvider(rules=[collapses])                # as a function of yours says
    """

    def __init__(
        self,
        failure_rate: float = 0.0,
        fail_count: int | None = None,
        latency: Distribution | float = 0.0,
        *,
        capacity: int | None = None,
        discipline: Discipline = "fifo",
        queue: QueueConfig | Mapping[str, Any] | None = None,
        throttle: QuotaFault | Mapping[str, Any] | None = None,
        one_at_a_time: OneAtATimeConfig | Mapping[str, Any] | None = None,
        connections: int | None = None,
        per_in_flight: float = 0.0,
        upstream: UpstreamConfig | Mapping[str, Any] | None = None,
        script: Sequence[ScriptedAnswer | Mapping[str, Any]] = (),
        rules: Sequence[FailureRule] = (),
        faults: Sequence[FaultConfig] = (),
        streams: RandomStreams | None = None,
        name: str = "provider",
        called: str | None = None,
        account: EnforcedQuota | None = None,
    ) -> None:
        """Make a provider.

        Args:
            failure_rate: share of attempts that fail transiently, between 0 and 1.
            fail_count: the first so many attempts fail transiently; at least 0.
            latency: seconds, or a distribution of durations. With a capacity: how long it works on each.
            capacity: how many attempts it works on at once, at least 1; the others queue. No bound when None.
            discipline: which is next, or how they share, where there are more than that.
            queue: how many may wait, where there is a capacity, and what becomes of the others; no bound when None.
            throttle: the quota that it enforces; none when None.
            one_at_a_time: the hosts or users of whom it works on one attempt at a time; of none when None.
            connections: how many attempts there are at once at most, at least 1; a channel holds the others back. No
                bound when None.
            per_in_flight: seconds that an attempt takes longer for each other one that is under way when it starts.
            upstream: which it asks before it answers, and retries there; it delivers by itself when None.
            script: its answers to the first attempts; see
                :attr:`~actors.settings.channel.ProviderConfig.script`.
            rules: what decides by the current state.
            faults: its faults and its upstream's; their `channel` is not looked at.
            streams: its random streams; a seed of 0 when None.
            name: of its random streams; providers of the same name and seed have the same seeds.
            called: its name in its channel, for the events of its upstream; None where the channel has only one.
            account: the quota of its account, which others share that are given it too; None: it has none.

        Raises:
            ConfigurationError: one of the settings is out of its range, or a rule cannot be called.
        """
        given = {
            "failure_rate": failure_rate,
            "latency": latency,
            "capacity": capacity,
            "discipline": discipline,
            "queue": queue,
            "throttle": throttle,
            "one_at_a_time": one_at_a_time,
            "connections": connections,
            "latency_by_load": {"per_in_flight": per_in_flight} if per_in_flight else None,
            "upstream": upstream,
            "script": tuple(script),
        }
        config = validated(ProviderConfig, given)
        self._connections_max = config.connections
        if fail_count:
            faults = (_failing_first(fail_count), *faults)
        streams = streams if streams is not None else RandomStreams(0)
        own, behind = parted(faults)
        self.fault_rules = FaultRules(config, own, rules, streams, name, account)
        """Decides the fates of its attempts."""
        self._upstream = None if config.upstream is None else Upstream(config.upstream, behind, streams, name, called)
        self._draw = self.fault_rules.draw
        self.outcomes_are_plain = type(self) is SimulatedProvider and not rules
        self.delivered = 0
        """How many notifications it has delivered, those whose reply was lost included; each from the start of its
        attempt on, when its fate is fixed, or from the answer of its upstream."""
        self.foresees = self._upstream is None and self.fault_rules.foresees
        """Whether the end of each attempt is known when it starts."""

    @classmethod
    def from_config(
        cls,
        config: ProviderConfig,
        faults: Sequence[FaultConfig],
        streams: RandomStreams,
        name: str,
        *,
        rules: Sequence[FailureRule] = (),
        called: str | None = None,
        account: EnforcedQuota | None = None,
    ) -> SimulatedProvider:
        given: dict[str, Any] = {key: getattr(config, key) for key in _SETTINGS}
        if config.latency_by_load is not None:
            given["per_in_flight"] = config.latency_by_load.per_in_flight
        return cls(**given, rules=rules, faults=faults, streams=streams, name=name, called=called, account=account)

    @property
    def connections_max(self) -> int | None:
        return self._connections_max

    def on_wired(self, system: ActorSystem) -> None:
        self.fault_rules.on_wired(system)
        if self._upstream is not None:
            self._upstream.on_wired(system)

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen | Promise:
        """Return the fate of an attempt that starts now, and after how long; a promise where it is not known yet."""
        conditions = self.fault_rules.conditions
        outcome: Outcome | None
        if now_ns < conditions.calm_until_ns:
            # What judge() would come to, with fewer calls: the way of nearly every attempt.
            latency, draw = conditions.latency, self._draw
            delay_ns = round(latency() * conditions.latency_factor * 1e9)
            drawn = draw()
            outcome = SENT if drawn >= conditions.top else on_the_ladder(conditions, drawn)
            delivers = outcome is SENT or outcome is None
        else:
            upstream = None if self.fault_rules.has_script else self._upstream  # what is written is the whole answer
            fate = self.fault_rules.judge(attempt, now_ns)
            delay_ns, outcome, delivers = fate.delay_ns, fate.outcome, fate.delivers
            if delivers and upstream is not None:
                return upstream.ask(attempt, fate, now_ns, self._deliver)
            if outcome is not None and fate.finished is not None:
                self.delivered += delivers
                return fate.finished
        if outcome is None:
            delay_ns, outcome = NEVER_NS, SENT if delivers else TIMED_OUT
        if delivers:
            self.delivered += 1
            if delay_ns > self.fault_rules.late_after_ns:
                self.fault_rules.report_late(attempt, now_ns)
        return Foreseen(delay_ns, outcome)

    def _deliver(self) -> None:
        self.delivered += 1


def parted(faults: Sequence[FaultConfig]) -> tuple[list[FaultConfig], list[FaultConfig]]:
    return [fault for fault in faults if not fault.upstream], [fault for fault in faults if fault.upstream]


def _failing_first(count: Any) -> FaultConfig:
    if type(count) is not int or count < 0:
        raise ConfigurationError([f"fail_count: wanted a whole number of at least 0, got {count!r}"])
    return FaultConfig.model_validate({"channel": "all", "fail_first": count})


NotificationService = SimulatedProvider
"""Its name in the specification."""
