"""A provider that injects faults round a real one: chaos experiments with the same faults as in a simulation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from actors.domain.attempts import TIMED_OUT, Attempt, Provider, WrappedProvider
from actors.errors import ConfigurationError
from actors.faults.conditions import NEVER_NS
from actors.faults.rules import SENT, FailureRule, Fate, FaultRules
from actors.instants import NS_PER_S
from actors.kernel.effects import Effect, Foreseen, Promise
from actors.kernel.randomness import RandomStreams
from actors.kernel.system import ActorSystem
from actors.settings.channel import ProviderConfig
from actors.settings.faults import FaultConfig


class FaultyProvider(WrappedProvider):
    """Decides the fate of each attempt as the unreliable provider does, and passes on the attempts that may succeed.

    Equal seeds, names and faults give the fates of a :class:`~actors.faults.provider.SimulatedProvider`. What
    differs is what the wrapped provider does in its own time:

    * An attempt that is to succeed is delayed for the `latency` of the faults, and for its wait where they set a
      `capacity`; then the wrapped provider makes it, and its outcome counts, whatever it is.
    * `latency_factor` makes that provider slower as well: its time is stretched by as much.
    * A lost reply: the attempt is made, its outcome is dropped, and no answer ever comes.
    * All other faults answer, or hang, without asking the wrapped provider.

    ::

        outage = FaultConfig(channel="email", at=60.0, **{"for": 180.0}, outage=True)
        providers = {NotificationChannel.EMAIL: FaultyProvider(SmtpProvider(...), [outage])}

    The instants of the faults are from the start of the system on. It has state, so it serves one run.
    """

    def __init__(
        self,
        provider: Provider,
        faults: Sequence[FaultConfig],
        *,
        settings: ProviderConfig = ProviderConfig(),  # noqa: B008  # frozen
        rules: Sequence[FailureRule] = (),
        streams: RandomStreams | None = None,
        name: str = "provider",
    ) -> None:
        """Wrap a provider.

        Args:
            provider: makes the attempts that may succeed.
            faults: the faults; their `channel` and `provider` are not looked at.
            settings: its behaviour when nothing goes wrong: the latency comes on top of the wrapped provider's.
            rules: what decides by the current state; see :data:`~actors.faults.rules.FailureRule`.
            streams: its random streams; a seed of 0 when None.
            name: of its random streams; providers of the same name and seed have the same seeds.

        Raises:
            ConfigurationError: a rule cannot be called, or settings or a fault are of an upstream, which only the
                wrapped provider can have.
        """
        if settings.upstream is not None or any(fault.upstream for fault in faults):
            raise ConfigurationError(
                [f"{name}: wanted no upstream beside a provider of its own kind, whose upstream is not known, got one"]
            )
        super().__init__(provider)
        streams = streams if streams is not None else RandomStreams(0)
        self.fault_rules = FaultRules(settings, faults, rules, streams, name)

    def on_wired(self, system: ActorSystem) -> None:
        self._system = system
        self.fault_rules.on_wired(system)
        super().on_wired(system)

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        fate = self.fault_rules.judge(attempt, now_ns)
        if not fate.delivers:
            if fate.outcome is None:
                return Foreseen(NEVER_NS, TIMED_OUT)
            return Foreseen(fate.delay_ns, fate.outcome) if fate.finished is None else fate.finished
        effect = self._provider.attempt(attempt, now_ns)
        if fate.outcome is not None and fate.delay_ns == 0 and fate.latency_factor == 1:
            return effect
        if isinstance(effect, Foreseen):
            if fate.outcome is None:
                return Foreseen(NEVER_NS, SENT)
            delay_ns = round(effect.delay_ns * fate.latency_factor)
            if fate.finished is not None:
                return self._later(fate.finished, delay_ns, effect.result)
            return Foreseen(fate.delay_ns + delay_ns, effect.result)
        return _delayed(fate, effect) if callable(effect) else effect

    def _later(self, finished: Promise, delay_ns: int, result: Any) -> Promise:
        system, later = self._system, Promise()
        finished.when_kept(lambda _: system.call_at(system.now_ns + delay_ns, lambda: later.keep(result)))
        return later


def _delayed(fate: Fate, call: Callable[[], Awaitable[Any]]) -> Effect:
    async def attempt() -> Any:
        await (trio.sleep(fate.delay_ns / NS_PER_S) if fate.finished is None else fate.finished())
        started = trio.current_time()
        try:
            return await call()
        finally:  # an error is an answer too, and as late or as lost
            if fate.outcome is None:
                await trio.sleep_forever()
            await trio.sleep((trio.current_time() - started) * max(0.0, fate.latency_factor - 1))

    return attempt
