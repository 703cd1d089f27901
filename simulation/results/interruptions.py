"""Requests whose answers no one takes: a crash has come between a provider and the handler.

After a crash of its process, or of an actor on the way, a notification is sent again, and the outcome of the new
attempt is recorded. The provider's answer to the attempt before, if any, is in no history; but the request has its
price, and may have reached the person. The same happens where a fault has an attempt come to its channel twice.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from actors.domain.attempts import Attempt, Provider, WrappedProvider
from actors.faults.provider import SimulatedProvider
from actors.instants import ns
from actors.kernel.effects import Effect, Foreseen, Promise
from actors.kernel.system import ActorSystem
from actors.messages import (
    ActorFailed,
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
)
from actors.outcomes import Sent
from actors.pipeline.channel import time_left_ns
from actors.pipeline.wiring import Stages
from actors.settings.channel import PRIMARY, ChannelConfig


class Request:
    """A request to a provider, or the copy of one. Instants are in nanoseconds since the start of the run."""

    __slots__ = ("answered_ns", "attempt", "channel", "is_late", "lost_ns", "provider", "reached_ns", "started_ns")

    def __init__(self, attempt: Attempt, channel: NotificationChannel, provider: str, started_ns: int) -> None:
        self.attempt = attempt
        self.channel = channel
        self.provider = provider
        self.started_ns = started_ns
        self.lost_ns: int | None = None
        """Since when no one takes its answer; None: someone may."""
        self.reached_ns: int | None = None
        """Since when it is sure that its provider delivers it, as the simulated one counts it; None: it is not."""

        self.is_late = False
        """Whether its answer comes too late, so that its attempt has timed out."""

        self.answered_ns: int | None = None
        """When its provider answers, whatever that is; None: that is not known."""

    @property
    def notification_id(self) -> str:
        return self.attempt.command.notification_id

    def answered(self, result: Any, now_ns: int, at_ns: int) -> None:
        """Note the provider's answer at an instant, known from now on, whether someone takes it or not."""
        self.answered_ns = at_ns
        if isinstance(result, Sent):
            self.reached_ns = now_ns


Interrupt: TypeAlias = Callable[[Request], None]
"""Notes that the answer to a request is lost."""


class Interruptions:
    """Finds them, by the requests that providers get and the outcomes that are recorded."""

    def __init__(self, interrupt: Interrupt) -> None:
        """Begin without any; `interrupt` is called with each request when it is sure that its answer is lost."""
        self._interrupt = interrupt
        self._open: dict[str, list[Request]] = {}
        """The requests without an outcome, by notification."""
        self._crashed_ns = 0

    def observed(
        self, providers: Mapping[NotificationChannel, Mapping[str, Provider]]
    ) -> dict[NotificationChannel, dict[str, Provider]]:
        """Return the providers of each channel by name, each so that its requests are noted."""
        return {
            channel: {name: _Asked(provider, channel, name, self._note) for name, provider in by_name.items()}
            for channel, by_name in providers.items()
        }

    def _note(self, request: Request) -> None:
        self._open.setdefault(request.notification_id, []).append(request)

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
        started_ns = None if is_refused else event.started_ns
        begun = [each for each in requests if each.started_ns == started_ns and each.provider == provider]
        attempt = begun[-1].attempt if begun else None  # the latest, where others went together with it
        self._lose([each for each in requests if each.attempt is not attempt])
        own = [each for each in requests if each.attempt is attempt]
        # First those that came to what the event says, then the one that began when it says, and ended at its instant.
        was_sent = isinstance(event, NotificationSent)
        own.sort(
            key=lambda each: (
                was_sent == (each.reached_ns is None),
                each.started_ns != started_ns,
                each.answered_ns != event.at_ns,
            )
        )
        self._lose(own[1 + event.hedges :])

    def lose(self, now_ns: int, nodes: Container[int | None]) -> None:
        """Note that processes have crashed: these nodes of a fleet, or None, the only process."""
        self._crashed_ns = now_ns
        for notification_id, requests in list(self._open.items()):
            self._lose(each for each in requests if each.attempt.node in nodes)
            left = [each for each in requests if each.attempt.node not in nodes]
            if left:
                self._open[notification_id] = left
            else:
                del self._open[notification_id]

    def end(self, processes: Sequence[Mapping[NotificationChannel, Stages]]) -> None:
        """Note that the run has ended: a request that no stage waits for is lost, all others are in flight. Without any
        process it is unknown which are awaited."""
        for requests in self._open.values():
            self._lose(
                each
                for each in requests
                if processes and not any(stages[each.channel].is_awaited(each.attempt) for stages in processes)
            )
        self._open.clear()

    def _lose(self, requests: Iterable[Request]) -> None:
        for request in requests:
            request.lost_ns = max(request.started_ns, self._crashed_ns)
            self._interrupt(request)


class _Observed(WrappedProvider):
    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self.outcomes_are_plain = provider.outcomes_are_plain
        self._system: ActorSystem | None = None

    def on_wired(self, system: ActorSystem) -> None:
        super().on_wired(system)
        self._system = system


class _Asked(_Observed):
    def __init__(
        self, provider: Provider, channel: NotificationChannel, name: str, note: Callable[[Request], None]
    ) -> None:
        super().__init__(provider)
        self._channel = channel
        self._name = name
        self._note = note

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        request = Request(attempt, self._channel, self._name, now_ns)
        self._note(request)
        effect = self._provider.attempt(attempt, now_ns)
        if isinstance(effect, Foreseen):
            request.answered(effect.result, now_ns, now_ns + effect.delay_ns)
        elif isinstance(effect, Promise) and (system := self._system) is not None:
            effect.when_kept(lambda result: request.answered(result, system.now_ns, system.now_ns))
        return effect


class LateAnswers:
    """Finds the requests that were delivered, and whose answers come later than their attempts wait, or never."""

    def __init__(self, reach: Callable[[Request], None], first_start_ns: Callable[[Attempt], int | None]) -> None:
        """Find none yet.

        Args:
            reach: gets each request.
            first_start_ns: returns when the first attempt of an attempt's notification began; None: it is the first.
        """
        self._reach = reach
        self._first_start_ns = first_start_ns

    def observed(
        self,
        providers: Mapping[NotificationChannel, Mapping[str, Provider]],
        settings: Mapping[NotificationChannel, ChannelConfig],
    ) -> dict[NotificationChannel, dict[str, Provider]]:
        """Return the providers of each channel by name, each so that such requests are noted, by its settings."""
        lanes = {channel: config.by_provider() for channel, config in settings.items()}
        return {
            channel: {
                name: self._observed(provider, channel, name, lanes[channel][name])
                for name, provider in by_name.items()
            }
            for channel, by_name in providers.items()
        }

    def _observed(self, provider: Provider, channel: NotificationChannel, name: str, config: ChannelConfig) -> Provider:
        timeout_ns, deadline_ns = ns(config.timeout), None if config.deadline is None else ns(config.deadline)

        def waits_ns(attempt: Attempt, now_ns: int) -> int:
            if deadline_ns is None:
                return timeout_ns
            return min(timeout_ns, time_left_ns(deadline_ns, self._first_start_ns(attempt), now_ns))

        def note(attempt: Attempt, started_ns: int, reached_ns: int | None = None) -> None:
            request = Request(attempt, channel, name, started_ns)
            request.is_late, request.reached_ns = True, started_ns if reached_ns is None else reached_ns
            self._reach(request)

        if type(provider) is SimulatedProvider and provider.foresees and deadline_ns is None:
            provider.fault_rules.watch_late(timeout_ns, note)  # a wrapper would be asked for each attempt of a run
            return provider
        return _Timed(provider, waits_ns, note)


class _Timed(_Observed):
    def __init__(
        self,
        provider: Provider,
        waits_ns: Callable[[Attempt, int], int],
        note: Callable[[Attempt, int, int], None],
    ) -> None:
        """Observe a provider; `waits_ns` returns how long an attempt that starts now waits for its answer."""
        super().__init__(provider)
        self._waits_ns = waits_ns
        self._note = note

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        effect = self._provider.attempt(attempt, now_ns)
        if isinstance(effect, Foreseen):
            if effect.delay_ns > self._waits_ns(attempt, now_ns) and isinstance(effect.result, Sent):
                self._note(attempt, now_ns, now_ns)
        elif isinstance(effect, Promise):
            until_ns = now_ns + self._waits_ns(attempt, now_ns)
            effect.when_kept(lambda result: self._kept(attempt, now_ns, until_ns, result))
        return effect

    def _kept(self, attempt: Attempt, started_ns: int, until_ns: int, result: Any) -> None:
        assert self._system is not None
        if self._system.now_ns > until_ns and isinstance(result, Sent):
            self._note(attempt, started_ns, self._system.now_ns)
