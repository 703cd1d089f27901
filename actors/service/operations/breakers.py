"""The circuit breakers of a running service for people and programs: their current states, and their transitions; and
how operators' overrides stay in force when another pipeline takes over."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias, cast

from actors.instants import since_1970_ns, utc
from actors.kernel.live import LiveSystem
from actors.messages import BreakerState, BreakerTransitioned, NotificationChannel, RecordedEvent
from actors.notifier import Pipeline
from actors.pipeline.lane import Lane
from actors.policies.breaker.breaker import Breaker
from actors.policies.breaker.per_host import recipient_host
from actors.policies.breaker.states import KEYS_MAX
from actors.service.config import ServiceConfig
from actors.settings.channel import PRIMARY, NotifierConfig

HISTORY_KEPT = 500
"""How many transitions are remembered; the log has more."""

RELOAD = "reload"
"""The cause of a transition that the settings made, as they were read again."""

Admits: TypeAlias = Literal["all", "paced", "share", "probe", "none"]
"""Which attempts a breaker lets through now: all of them; all of them behind those that have waited, at a limited rate;
a growing share; the next one, as a probe; or none."""


@dataclass(frozen=True)
class BreakerNow:
    """One breaker as it is now."""

    name: str
    """The channel's name, and for a further provider of the channel ``email/backup``."""
    channel: NotificationChannel
    provider: str
    """The provider's name in overrides: ``primary``, or its name under `failover`."""
    host: str | None
    """The host whose breaker it is, where each host of recipients has one; ``""`` for recipients without a host."""
    state: BreakerState
    since: datetime | None
    """When it came into this state, or if it is open, when it opened first: a probe that fails does not begin it anew;
    None: it is so since the service started, or the host was first seen."""
    retry_at: datetime | None
    """The earliest instant of a probe, while it is open; None where an operator has to override it first."""
    ramping_until: datetime | None
    """The instant until which only a growing share goes through after closing; else None."""
    consecutive_failures: int
    """Failures that count since the last success; while open, how many there were when it tripped."""
    refused: int
    """Requests refused since its last transition."""
    overridden: bool
    """Whether an operator has put it into another state than its settings say. False: it is as they have it, also where
    that is disabled, forced-open or metrics-only."""
    admits: Admits
    probes_left: int
    """How many of the next attempts it lets through as probes."""
    when_open: Literal["wait", "fail"]
    """The fate of an attempt that no provider of the channel takes because of its breaker: it waits, or has failed."""
    instead: str | None = None
    """Another provider of the channel that takes an attempt which this breaker does not let through; None: no other."""


class BreakerWatch:
    """Remembers the latest transitions of all breakers; gets them by :meth:`record`, as metrics and logs do."""

    def __init__(self, kept: int = HISTORY_KEPT) -> None:
        self._history: deque[BreakerTransitioned] = deque(maxlen=kept)
        self._since: OrderedDict[tuple[str, str | None], tuple[datetime, datetime]] = OrderedDict()
        """When each breaker and host came into its state, and when it opened first, however often a probe has failed
        since; also of those that the history has dropped."""

    def record(self, event: RecordedEvent) -> None:
        if type(event) is BreakerTransitioned:
            self._history.append(event)
            _, opened = self._since.pop((event.breaker, event.host), (event.at, event.at))
            is_probed = event.from_state in (BreakerState.OPEN, BreakerState.HALF_OPEN)
            self._since[event.breaker, event.host] = event.at, opened if is_probed else event.at
            if len(self._since) > KEYS_MAX:
                self._since.popitem(last=False)

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
        now_ns, epoch_ns = _present(pipeline)
        found = []
        for channel, lane in _lanes(pipeline):
            for host, breaker in lane.breakers:
                retry_ns, ramping_ns = breaker.reopen_at_ns, breaker.ramping_until_ns
                own_host = None if lane.breaker is not None else host
                since, opened = self._since.get((lane.name, own_host), (None, None))
                now = BreakerNow(
                    name=lane.name,
                    channel=channel,
                    provider=lane.provider_name,
                    host=own_host,
                    state=breaker.state,
                    since=opened if breaker.state is BreakerState.OPEN else since,
                    retry_at=None if retry_ns is None else utc(epoch_ns + retry_ns),
                    ramping_until=None if ramping_ns is None else utc(epoch_ns + ramping_ns),
                    consecutive_failures=breaker.consecutive_failures,
                    refused=breaker.refused,
                    overridden=_is_overridden(channel, lane, settings),
                    admits=_admits(breaker, lane, host, now_ns),
                    probes_left=breaker.probes_left(now_ns),
                    when_open=pipeline.wiring.stages[channel].lanes[0].config.circuit_breaker.when_open,
                )
                found.append(now)
        taking: dict[tuple[NotificationChannel, str | None], list[str]] = {}
        for now in found:
            if now.admits != "none":
                taking.setdefault((now.channel, now.host), []).append(now.provider)
        return [replace(now, instead=_other(taking.get((now.channel, now.host), ()), now.provider)) for now in found]


States: TypeAlias = Mapping[tuple[str, str | None], BreakerState]
"""The state of each breaker, by its name and its host."""


def states_of(pipeline: Pipeline) -> States:
    return {
        (lane.name, None if lane.breaker is not None else host): breaker.state
        for _, lane in _lanes(pipeline)
        for host, breaker in lane.breakers
    }


def reloaded(pipeline: Pipeline, before: States) -> list[BreakerTransitioned]:
    """Return the transitions from the states of one pipeline to those in which the next begins: no breaker records
    them."""
    lanes = {lane.name: lane for _, lane in _lanes(pipeline)}
    at_ns, epoch_ns = _present(pipeline)
    return [
        BreakerTransitioned(
            at_ns=at_ns,
            epoch_ns=epoch_ns,
            breaker=name,
            host=host,
            from_state=state,
            to_state=lanes[name].breakers.begins,
            cause=RELOAD,
        )
        for (name, host), state in before.items()
        if name in lanes and state is not lanes[name].breakers.begins
    ]


def deciding(breakers: list[BreakerNow], channel: NotificationChannel, recipient: str) -> BreakerNow | None:
    """Return the breaker that decides now about an attempt to a recipient; None: no provider's keeps it back."""
    host = recipient_host(recipient)
    own = [each for each in breakers if each.channel == channel and each.host in (None, host)]
    return own[0] if own and all(each.admits == "none" for each in own) else None


def _present(pipeline: Pipeline) -> tuple[int, int]:
    system = cast(LiveSystem, pipeline.handler.actor.system)
    return since_1970_ns(system.present) - system.epoch_ns, system.epoch_ns


def _admits(breaker: Breaker, lane: Lane, host: str, now_ns: int) -> Admits:
    match breaker.state:
        case BreakerState.CLOSED if breaker.ramping_until_ns is not None and breaker.ramping_until_ns > now_ns:
            return "share"
        case BreakerState.OPEN | BreakerState.HALF_OPEN if breaker.probes_left(now_ns) > 0:
            return "probe"
        case BreakerState.OPEN | BreakerState.HALF_OPEN | BreakerState.FORCED_OPEN:
            return "none"
        case _:
            return "paced" if host in lane.paces.running else "all"


def _other(providers: Sequence[str], than: str) -> str | None:
    return next((each for each in providers if each != than), None)


def _lanes(pipeline: Pipeline) -> Iterator[tuple[NotificationChannel, Lane]]:
    return ((channel, lane) for channel, stages in pipeline.wiring.stages.items() for lane in stages.lanes)


def _is_overridden(channel: NotificationChannel, lane: Lane, settings: NotifierConfig | None) -> bool:
    own = lane.config if settings is None else settings.channels[channel].by_provider()[lane.provider_name]
    return lane.breakers.begins is not own.circuit_breaker.begins


Overrides: TypeAlias = Mapping[tuple[NotificationChannel, str], BreakerState]
"""The operators' overrides: the state in which the breaker of a provider of a channel is to begin."""


def overrides_of(pipeline: Pipeline, config: ServiceConfig) -> Overrides:
    return {
        (channel, lane.provider_name): lane.breakers.begins
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
