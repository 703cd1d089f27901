"""What the dead letter queue redrives without an operator, once a circuit breaker has closed."""

from __future__ import annotations

from collections.abc import Iterable

from actors.domain.attempts import EXPIRED
from actors.messages import DeadLetterMessage, Message, NotificationChannel
from actors.outcomes import Ambiguous, ChannelFault, Transient
from actors.pipeline.retries import RETRY_TIME_UP
from actors.pipeline.wiring import Stages, Wiring
from actors.policies.redriving import Redriving
from actors.settings.redrive import RedriveReason

BREAKER_CLOSED = "the circuit breaker has closed"
"""Why a letter is redriven without an operator, for the record."""


class BreakerClosed(Message, frozen=True, gc=False):
    """A circuit breaker has closed."""

    channel: NotificationChannel
    host: str
    """Whose breaker it is; ``""`` where one decides about all."""


class NodeGone(Message, frozen=True, gc=False):
    """A node that shares the store is gone, and may have been about to redrive letters."""


class ChannelRedriver:
    """Of one channel: its policy, with what the policy does not know of letters and breakers."""

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


def redrivers_of(wiring: Wiring, letters: Iterable[DeadLetterMessage]) -> dict[NotificationChannel, ChannelRedriver]:
    """Return those of the channels that redrive without an operator, with what is in the queue."""
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
    """Return of what a letter has died, by its latest failure; None: of what no provider that is back changes."""
    if not letter.history or letter.failure_reason == EXPIRED:
        return None
    latest = letter.history[-1]
    if latest.throttled or letter.failure_reason not in (latest.given_up, RETRY_TIME_UP):
        return None
    return _REASONS.get(latest.kind)
