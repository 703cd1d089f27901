"""A fleet simulated, with its figures counted where and as they are counted live."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import simulation
from actors.domain.attempts import Attempt, Provider, WrappedProvider
from actors.faults.build import unreliable_providers
from actors.instants import NS_PER_S, ns
from actors.kernel.effects import Effect, Foreseen
from actors.kernel.randomness import RandomStreams
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    NodeTookOver,
    NotificationChannel,
    NotificationMovedToDeadLetter,
    NotificationSent,
)
from actors.outcomes import Sent
from actors.policies.breaker.breaker import BreakerEvent
from actors.settings.channel import PRIMARY


class Counted(WrappedProvider):
    """A provider of which is counted what it is asked, and what it takes."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self.requests = 0
        self.taken: Counter[str] = Counter()

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        effect = self._provider.attempt(attempt, now_ns)
        assert isinstance(effect, Foreseen)
        self.requests += 1
        if isinstance(effect.result, Sent):
            self.taken[attempt.command.notification_id] += 1
        return effect


def simulated_figures(path: Path, seed: int, sets: Sequence[str] = ()) -> dict[str, float]:
    """Run a scenario of webhooks once; return the figures by name."""
    scenario = simulation.load(path, seed=seed, sets=sets)
    channel = NotificationChannel.WEBHOOK
    own = unreliable_providers(channel, scenario.channel_config(channel), scenario.faults, RandomStreams(seed))
    receiver = Counted(own[PRIMARY])
    result = simulation.run(scenario, providers={channel: receiver})
    killed_ns: dict[int | None, int] = {}
    gone_ns = {
        number: ns(fault.at) for fault in scenario.faults if fault.partition is not None for number in fault.node or ()
    }
    taken_over = takeover_ns = last_end_ns = told = 0
    for event in result.history:
        if isinstance(event, ActorFailed):
            killed_ns[event.node] = gone_ns.get(event.node, event.at_ns)
        elif isinstance(event, NodeTookOver):
            taken_over += len(event.notification_ids)
            takeover_ns = max(takeover_ns, event.at_ns - killed_ns[event.from_node])
        elif isinstance(event, BreakerTransitioned):
            told += event.cause == BreakerEvent.OTHERS_OPEN
        elif isinstance(event, (NotificationSent, NotificationMovedToDeadLetter)):
            last_end_ns = event.at_ns
    accepted = result.summary["accepted"]
    of_sharing = {"told": told} if scenario.shares_breakers else {}
    return of_sharing | {
        "sent": result.summary["sent"] / accepted,
        "requests": receiver.requests / accepted,
        "duplicates": receiver.taken.total() - len(receiver.taken),
        "openings": result.summary["breaker"]["webhook"]["opened"],
        "taken over": taken_over,
        "takeover, s": takeover_ns / NS_PER_S,
        "last end, s": last_end_ns / NS_PER_S,
    }
