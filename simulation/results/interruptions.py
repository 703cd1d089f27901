"""Requests whose answers no one takes: a crash has come between a provider and the handler.

After a crash of its process, or of an actor on the way, a notification is sent again, and the outcome of the new
attempt is recorded. What its provider answered to the one before, if it answers at all, is in no history; but it was
asked, and has its price. So it is where a fault has an attempt come to its channel twice.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from actors.domain.attempts import Attempt, Provider, WrappedProvider
from actors.kernel.effects import Effect
from actors.messages import (
    ActorFailed,
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
)
from actors.pipeline.wiring import Stages
from actors.settings.channel import PRIMARY

Interrupt: TypeAlias = Callable[[str, NotificationChannel, str, int, int], None]
"""Notes that the answer to a request is lost: of which notification, at which channel and provider, when it was made,
and when it is lost."""


class _Request(NamedTuple):
    """A request to a provider, or the copy of one."""

    attempt: Attempt
    channel: NotificationChannel
    provider: str
    at_ns: int


class Interruptions:
    """Finds them, by the requests that providers get and the outcomes that are recorded."""

    def __init__(self, interrupt: Interrupt) -> None:
        """Begin without any.

        Args:
            interrupt: called with each, when it is sure that its answer is lost.
        """
        self._interrupt = interrupt
        self._open: dict[str, list[_Request]] = {}
        """By notification: those without an outcome."""
        self._crashed_ns = 0

    def observed(
        self, providers: Mapping[NotificationChannel, Mapping[str, Provider]]
    ) -> dict[NotificationChannel, dict[str, Provider]]:
        """Return the providers of each channel by name, each so that its requests are noted."""
        return {
            channel: {name: _Asked(provider, channel, name, self._note) for name, provider in by_name.items()}
            for channel, by_name in providers.items()
        }

    def _note(self, request: _Request) -> None:
        self._open.setdefault(request.attempt.command.notification_id, []).append(request)

    def follow(self, event: RecordedEvent) -> None:
        """Take in an event, when it is recorded: with an outcome, all else that was asked before is lost; and with an
        end without one, all that was asked."""
        if isinstance(event, ActorFailed):
            self._crashed_ns = event.at_ns
        if isinstance(event, (NotificationMovedToDeadLetter, NotificationSuppressed)):
            self._lose(self._open.pop(event.notification_id, ()))
        if not isinstance(event, (NotificationSent, NotificationFailed)):
            return
        requests, provider = self._open.pop(event.notification_id, ()), event.provider or PRIMARY
        is_refused = isinstance(event, NotificationFailed) and event.refused  # it has not got to any provider itself
        begun = [
            each for each in requests if not is_refused and each.at_ns == event.started_ns and each.provider == provider
        ]
        attempt = begun[-1].attempt if begun else None  # the latest, where others went together with it
        self._lose([each for each in requests if each.attempt is not attempt])
        self._lose([each for each in requests if each.attempt is attempt][1 + event.hedges :])

    def lose(self, now_ns: int, nodes: Container[int | None]) -> None:
        """Take note that processes have crashed.

        Args:
            now_ns: when.
            nodes: which of a fleet; None for one without nodes.
        """
        self._crashed_ns = now_ns
        for notification_id, requests in list(self._open.items()):
            self._lose(each for each in requests if each.attempt.node in nodes)
            left = [each for each in requests if each.attempt.node not in nodes]
            if left:
                self._open[notification_id] = left
            else:
                del self._open[notification_id]

    def end(self, processes: Sequence[Mapping[NotificationChannel, Stages]]) -> None:
        """Take note that the run has ended: what no one waits for is lost, the rest is in flight.

        Args:
            processes: the stages of each that there is; without any it is unknown what is awaited.
        """
        for requests in self._open.values():
            self._lose(
                each
                for each in requests
                if processes and not any(stages[each.channel].is_awaited(each.attempt) for stages in processes)
            )
        self._open.clear()

    def _lose(self, requests: Iterable[_Request]) -> None:
        for attempt, channel, provider, at_ns in requests:
            lost_ns = max(at_ns, self._crashed_ns)
            self._interrupt(attempt.command.notification_id, channel, provider, at_ns, lost_ns)


class _Asked(WrappedProvider):
    """A provider whose requests are noted."""

    def __init__(
        self, provider: Provider, channel: NotificationChannel, name: str, note: Callable[[_Request], None]
    ) -> None:
        super().__init__(provider)
        self.outcomes_are_plain = provider.outcomes_are_plain
        self._channel = channel
        self._name = name
        self._note = note

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        """Return the effect that makes this attempt."""
        self._note(_Request(attempt, self._channel, self._name, now_ns))
        return self._provider.attempt(attempt, now_ns)
