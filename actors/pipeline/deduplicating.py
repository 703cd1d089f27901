"""Stages for a system that may deliver a message twice, or late: they recognise a copy of an attempt that they have.

An actor system delivers each message once, and messages from one actor to another in order, so the usual stages do not
look for copies, which would slow them down. Where messages may be repeated and overtake each other, as between
processes, these stages take their place. The handler needs no such check: an answer counts only for the attempt under
way, and the first answer ends it. :class:`~actors.pipeline.isolation.Isolation` has no such check either, and does not
recognise copies reliably: it is used where a store outlives its process, and no message is repeated there.

With these stages a breaker's permit is settled once, and the attempts in flight at a provider are those admitted and
not settled. A user's limit is charged once for a notification, as far back as the limiter's memory goes. A copy of an
attempt that has already left the breaker, and a copy of a message from the breaker to the channel, look like a new
attempt: they reach the provider, with the same id. So a notification is tried there no more often than it has attempts
and its messages have copies, together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from actors.domain.attempts import Admitted, Attempt, FlushQueue
from actors.kernel.actor import handles
from actors.kernel.effects import Performed
from actors.kernel.turns import takes_turn
from actors.messages import DeferralCause, NotificationChannel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.rate_limiter import RateLimiterActor
from actors.pipeline.stage import Stage
from actors.pipeline.wiring import Stages
from actors.settings.channel import ChannelConfig, RateLimitConfig

REMEMBERED_MAX = 10_000
"""The attempts that a limiter has passed on."""


class _QuietOfCopies(Stage):
    """Publishes nothing of a copy that waits after the attempt has ended."""

    def publish_deferred(self, attempt: Attempt, cause: DeferralCause, resumes_at_ns: int | None) -> None:
        if self._stages.is_awaited(attempt):
            super().publish_deferred(attempt, cause, resumes_at_ns)


class DeduplicatingLimiter(_QuietOfCopies, RateLimiterActor):
    """Passes on each attempt once, of the latest ten thousand."""

    def __init__(self, channel: NotificationChannel, config: RateLimitConfig, stages: Stages) -> None:
        super().__init__(channel, config, stages)
        self._seen: OrderedDict[int, Attempt] = OrderedDict()
        """By identity; each is kept, so that no other one can have its identity."""

    @handles(Attempt)
    def on_attempt(self, attempt: Attempt) -> None:
        if id(attempt) in self._seen:
            return
        self._seen[id(attempt)] = attempt
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
        super().on_attempt(attempt)


class InFlight:
    """The attempts that a breaker has, waiting or under way. It outlives a restart of the breaker."""

    __slots__ = ("_admissions", "_attempts")

    def __init__(self) -> None:
        self._attempts: dict[int, tuple[Attempt, int | None]] = {}
        """The attempts by identity, each with the number of its admission, or None while it waits."""
        self._admissions = 0

    def take(self, attempt: Attempt) -> bool:
        """Take an attempt in; return False for a copy of an attempt in flight."""
        if id(attempt) in self._attempts:
            return False
        self._attempts[id(attempt)] = (attempt, None)
        return True

    def admit(self, admitted: Admitted) -> Admitted:
        """Record that an attempt is on its way to the provider; return its admission with a number of its own.

        A copy of an attempt that has ended may be admitted anew, and an answer to the first admission is then none to
        this one.
        """
        self._admissions += 1
        self._attempts[id(admitted.attempt)] = (admitted.attempt, self._admissions)
        return msgspec.structs.replace(admitted, number=self._admissions)

    def settle(self, admitted: Admitted) -> bool:
        """Remove an attempt that has its outcome; return False for a copy of a settled one."""
        _, number = self._attempts.get(id(admitted.attempt), (None, None))
        if number is None or number != admitted.number:
            return False
        del self._attempts[id(admitted.attempt)]
        return True

    def drop(self, attempt: Attempt) -> None:
        self._attempts.pop(id(attempt), None)

    def flush(self) -> None:
        self._attempts = {key: entry for key, entry in self._attempts.items() if entry[1] is not None}


class DeduplicatingBreaker(_QuietOfCopies, CircuitBreakerActor):
    """Takes no attempt that it has already, and settles each permit once."""

    def __init__(
        self, channel: NotificationChannel, config: ChannelConfig, stages: Stages, in_flight: InFlight
    ) -> None:
        super().__init__(channel, config, stages)
        self._in_flight = in_flight
        take_on = self._plain[Attempt]

        def take_once(attempt: Attempt) -> None:
            if in_flight.take(attempt):
                take_on(attempt)

        self._plain[Attempt] = take_once
        in_flight.flush()

    def on_start(self) -> None:
        super().on_start()
        in_flight, tell_handler = self._in_flight, self.tell_handler

        def tell(message: Any) -> None:
            tell_handler(message)
            if type(message) is not Performed:
                in_flight.drop(message.attempt)

        self.tell_handler = tell
        self._to_channels = [self._numbering(to_channel) for to_channel in self._to_channels]

    def _numbering(self, to_channel: Callable[[Admitted], None]) -> Callable[[Admitted], None]:
        return lambda admitted: to_channel(self._in_flight.admit(admitted))

    @handles(Performed)
    @takes_turn("answer", lambda *_: None)  # that was when it came to the relay
    def on_performed(self, performed: Performed) -> None:
        if self._in_flight.settle(performed.request):
            super().on_performed(performed)

    @handles(FlushQueue)
    def on_flush_queue(self, message: FlushQueue) -> None:
        self._in_flight.flush()
        super().on_flush_queue(message)
