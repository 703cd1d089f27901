"""What becomes of attempts at simulated providers: no more and no less goes wrong there than their settings say."""

from __future__ import annotations

from actors.formatting import seconds_text
from actors.messages import NotificationChannel
from actors.settings.channel import PRIMARY
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.observations import AttemptMade
from simulation.verification.model.instants import NEVER_NS
from simulation.verification.model.providers import Fate, Quota, SimulatedProvider
from simulation.verification.model.world import World


class Fates(Invariant):
    """Each attempt fares at its simulated provider as that one's settings and the faults say, with the same draws.

    Of a provider with a discipline of its own it is known how an attempt ends, and not when; of what one asks behind
    its API, neither. Where providers follow failure rules nothing is.
    """

    name = "fates"
    settings = ("provider",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        assert context.world is not None
        self._providers = _providers_of(context.world)
        self._promised: list[tuple[AttemptMade, Fate]] = []

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.world is not None and context.world.simulates_providers and not context.has_rules

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        provider = self._providers[made.channel, made.provider]
        fate = provider.judge(made.attempt.command.recipient, made.node, made.at_ns)
        if made.is_promised:
            if fate.takes_ns is not None:
                return _objection(made, fate, "it has promised an answer")
            if fate.is_known:
                self._promised.append((made, fate))
            return None
        if made.outcome is None or made.foreseen_ns is None:
            return _objection(made, fate, "there is no answer to be seen")
        is_answered = made.foreseen_ns < NEVER_NS
        if (made.outcome if is_answered else None) != fate.outcome:
            return _objection(
                made, fate, f"it is answered with {made.outcome}" if is_answered else "it is not answered"
            )
        if fate.takes_ns not in (None, made.foreseen_ns):
            return _objection(made, fate, f"it takes {seconds_text(made.foreseen_ns)}")
        if made.delivered != fate.delivers:
            return _objection(made, fate, "it is delivered" if made.delivered else "it is not delivered")
        return None

    def at_end(self, now_ns: int) -> Objection:
        for made, fate in self._promised:
            if made.answered and made.outcome != fate.outcome:
                return _objection(made, fate, f"it is answered with {made.outcome}")
        return None


def _objection(made: AttemptMade, fate: Fate, what: str) -> str:
    takes = "" if fate.takes_ns in (None, NEVER_NS) else f" after {seconds_text(fate.takes_ns or 0)}"
    wanted = "no answer" if fate.outcome is None else f"{fate.outcome}{takes}"
    return (
        f"of attempt {made.attempt.number} of {made.notification_id} at {made.provider} {what}, and wanted is "
        f"{wanted}{', and it is delivered' if fate.delivers else ''}: {fate.why}"
    )


def _providers_of(world: World) -> dict[tuple[NotificationChannel, str], SimulatedProvider]:
    accounts = {name: Quota(own.throttle) for name, own in world.accounts.items() if own.throttle is not None}
    return {
        (channel, name): SimulatedProvider(
            config.provider,
            [
                fault
                for fault in world.faults
                if channel in fault.channel and fault.provider in (None, name) and not fault.upstream
            ],
            world.seed,
            f"{channel}.provider" if name == PRIMARY else f"{channel}.{name}.provider",
            accounts.get(config.provider.account or ""),
        )
        for channel, of_channel in world.channels.items()
        for name, config in of_channel.by_provider().items()
    }
