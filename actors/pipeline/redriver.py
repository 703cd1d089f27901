"""The letters that the dead letter queue redrives without an operator, once a circuit breaker has closed."""

from __future__ import annotations

from collections.abc import Iterable

from actors.domain.attempts import EXPIRED
from actors.domain.store import Store
from actors.messages import DeadLetterMessage, Message, NotificationChannel
from actors.outcomes import Ambiguous, ChannelFault, Transient
from actors.pipeline.retries import DEADLINE, RETRY_TIME_UP
from actors.pipeline.wiring import Stages, Wiring
from actors.policies.redriving import Redriving
from actors.settings.redrive import RedriveReason

BREAKER_CLOSED = "the circuit breaker has closed"
"""Why a letter is redriven without an operator, for the record."""


class BreakerClosed(Message, frozen=True, gc=False):
    """A circuit breaker has closed."""

    channel: NotificationChannel
    host: str
    """The host of the breaker; ``""`` where one decides about all."""


class NodeGone(Message, frozen=True, gc=False):
    """A node that shares the store is gone, and may have been about to redrive letters."""


class ChannelRedriver:
    """The redriving of one channel: its policy, with the facts about letters and breakers that the policy asks for."""

    def __init__(self, channel: NotificationChannel, stages: Stages, policy: Redriving) -> None:
        self.channel = channel
        self.policy = policy
        self._lanes = stages.lanes

    def host_of(self, letter: DeadLetterMessage) -> str:
        """Return the host whose breakers decide about a letter."""
        return self._lanes[0].host_at(letter.command.recipient)

    def keep(self, letter: DeadLetterMessage) -> None:
        """Keep a letter in mind that has come to the queue."""
        host = self.host_of(letter)
        self.policy.keep(letter.notification_id, host, reason_of(letter), letter.redriven_without_operator)

    def drop(self, letter: DeadLetterMessage) -> None:
        """Forget a letter that leaves the queue."""
        self.policy.drop(letter.notification_id, self.host_of(letter))

    def is_shut(self, host: str, now_ns: int) -> bool:
        """Tell whether no provider can be reached at a host, as far as breakers know."""
        return all(lane.is_shut(host, now_ns) for lane in self._lanes)

    def is_left_to_people(self, letter: DeadLetterMessage, store: Store, since_1970_ns: int) -> bool:
        """Tell whether a letter has been dead for too long, or nothing is sent to its address any more."""
        address = letter.command.recipient
        may_be_disabled = self._lanes[0].config.endpoints is not None
        return (
            self.policy.is_too_old(since_1970_ns - letter.epoch_ns - letter.moved_at_ns)
            or store.suppressions.find(letter.channel, address) is not None
            or (may_be_disabled and store.endpoints.is_disabled(letter.channel, address))
        )


def redrivers_of(wiring: Wiring, letters: Iterable[DeadLetterMessage]) -> dict[NotificationChannel, ChannelRedriver]:
    """Return the redrivers of the channels that have one, which know the letters in the queue."""
    redrivers = {
        channel: ChannelRedriver(channel, stages, Redriving(config))
        for channel, stages in wiring.stages.items()
        if (config := stages.lanes[0].config.redrive) is not None
    }
    for letter in letters if redrivers else ():
        if (redriver := redrivers.get(letter.channel)) is not None:
            redriver.keep(letter)
    return redrivers


_REASONS: dict[str, RedriveReason] = {
    ChannelFault.__name__: "channel_fault",
    Transient.__name__: "outage",
    Ambiguous.__name__: "outage",
}


def reason_of(letter: DeadLetterMessage) -> RedriveReason | None:
    """Return the cause of a letter, by its latest failure; None: no provider that is back would change it."""
    if not letter.history or letter.failure_reason == EXPIRED:
        return None
    latest = letter.history[-1]
    if latest.throttled or letter.failure_reason not in (latest.given_up, RETRY_TIME_UP, DEADLINE):
        return None
    return _REASONS.get(latest.kind)
