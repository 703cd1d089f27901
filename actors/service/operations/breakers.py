"""The circuit breakers of a running service for people and programs: their current states, and their transitions; and
how operators' overrides stay in force when another pipeline takes over."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from actors.instants import utc
from actors.messages import BreakerState, BreakerTransitioned, NotificationChannel, RecordedEvent
from actors.notifier import Pipeline
from actors.pipeline.lane import Lane
from actors.service.config import ServiceConfig
from actors.settings.channel import PRIMARY, NotifierConfig

HISTORY_KEPT = 500
"""How many transitions are remembered; the log has more."""


@dataclass(frozen=True)
class BreakerNow:
    """One breaker as it is now."""

    name: str
    """The channel's, and for a further provider of the channel ``email/backup``."""
    channel: NotificationChannel
    provider: str
    """The provider's name in overrides: ``primary``, or its name under `failover`."""
    host: str | None
    """Whose breaker it is, where each host of recipients has one; ``""`` for recipients without a host."""
    state: BreakerState
    since: datetime | None
    """When it came into this state; None: it is so since the service started, or the host was first seen."""
    retry_at: datetime | None
    """While open, when a probe may be let through at the earliest; None where an operator has to override it first."""
    ramping_until: datetime | None
    """While only a growing share goes through after closing, when that ends; else None."""
    consecutive_failures: int
    """Failures that count since the last success; while open, how many there were when it tripped."""
    refused: int
    """Requests refused since its last transition."""
    overridden: bool
    """Whether an operator has put it into another state than its settings say. False: it is as they have it, also where
    that is disabled, forced-open or metrics-only."""


class BreakerWatch:
    """Remembers the latest transitions of all breakers; gets them by :meth:`record`, as metrics and logs do."""

    def __init__(self, kept: int = HISTORY_KEPT) -> None:
        self._history: deque[BreakerTransitioned] = deque(maxlen=kept)

    def record(self, event: RecordedEvent) -> None:
        if type(event) is BreakerTransitioned:
            self._history.append(event)

    def history(
        self, *, limit: int | None = None, channel: NotificationChannel | None = None
    ) -> list[BreakerTransitioned]:
        """Return the latest transitions, newest first; at most `limit`, and only those of `channel`, where given."""
        fitting = [event for event in reversed(self._history) if channel in (None, event.breaker.partition("/")[0])]
        return fitting[:limit]

    def now(self, pipeline: Pipeline, settings: NotifierConfig | None = None) -> list[BreakerNow]:
        """Return the breakers of a pipeline as they are now, in the order of its channels and of their providers.

        Where each host has one, only hosts that something was sent to lately have; a channel none of whose hosts is
        known yet has no breaker here. `settings` are those in the file; those that the pipeline began with when None,
        which differ in operators' overrides that were in force then.
        """
        epoch_ns = pipeline.handler.actor.system.epoch_ns
        since = {(event.breaker, event.host): event.at for event in self._history}
        found = []
        for channel, lane in _lanes(pipeline):
            for host, breaker in lane.breakers():
                retry_ns, ramping_ns = breaker.reopen_at_ns, breaker.ramping_until_ns
                own_host = None if lane.breaker is not None else host
                now = BreakerNow(
                    name=lane.name,
                    channel=channel,
                    provider=lane.provider_name,
                    host=own_host,
                    state=breaker.state,
                    since=since.get((lane.name, own_host)),
                    retry_at=None if retry_ns is None else utc(epoch_ns + retry_ns),
                    ramping_until=None if ramping_ns is None else utc(epoch_ns + ramping_ns),
                    consecutive_failures=breaker.consecutive_failures,
                    refused=breaker.refused,
                    overridden=_is_overridden(channel, lane, settings),
                )
                found.append(now)
        return found


def _lanes(pipeline: Pipeline) -> Iterator[tuple[NotificationChannel, Lane]]:
    return ((channel, lane) for channel, stages in pipeline.wiring.stages.items() for lane in stages.lanes)


def _is_overridden(channel: NotificationChannel, lane: Lane, settings: NotifierConfig | None) -> bool:
    own = lane.config if settings is None else settings.channels[channel].by_provider()[lane.provider_name]
    return lane.begins is not own.circuit_breaker.begins


Overrides: TypeAlias = Mapping[tuple[NotificationChannel, str], BreakerState]
"""The operators' overrides: the state in which the breaker of a provider of a channel is to begin."""


def overrides_of(pipeline: Pipeline, config: ServiceConfig) -> Overrides:
    return {
        (channel, lane.provider_name): lane.begins
        for channel, lane in _lanes(pipeline)
        if _is_overridden(channel, lane, config.notifier)
    }


def with_overrides(config: NotifierConfig, overrides: Overrides) -> NotifierConfig:
    channels = dict(config.channels)
    for channel in {channel for channel, _ in overrides} & channels.keys():
        breakers = {
            name: own.circuit_breaker
            if (state := overrides.get((channel, name))) is None
            else own.circuit_breaker.model_copy(update={"enabled": True, "initial_state": state.value})
            for name, own in channels[channel].by_provider().items()
        }
        failover = {
            name: other.model_copy(update={"circuit_breaker": breakers[name]})
            for name, other in channels[channel].failover.items()
        }
        changes = {"circuit_breaker": breakers[PRIMARY], "failover": failover}
        channels[channel] = channels[channel].model_copy(update=changes)
    return config.model_copy(update={"channels": channels})
