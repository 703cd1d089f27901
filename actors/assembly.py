"""The assembly of the pipeline on any system, in the order of its arrow diagram.

::

    domain event → event bus → subscribers → SendNotification
      → handler → rate limiter → circuit breaker → channel → provider
      → handler: sent · retry after backoff · dead letter queue → admin alert
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from actors.domain.attempts import Provider
from actors.domain.store import BreakerVote, LettersChanged, News, NodesChanged, Store, StoreWaits, listen
from actors.errors import ConfigurationError
from actors.faults.build import Providers, checked_providers, reaches_of, with_defaults
from actors.kernel.actor import ActorRef, tell_unless_dead
from actors.kernel.node import Node
from actors.kernel.runtime import Process
from actors.kernel.system import ActorSystem
from actors.messages import ChannelKind, DeadLetterMessage, NotificationChannel, Priority
from actors.pipeline.alert import AdminAlert, Notify
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.dead_letter_queue import DeadLetterQueue
from actors.pipeline.deduplicating import DeduplicatingBreaker, DeduplicatingLimiter, InFlight
from actors.pipeline.event_bus import EventBus
from actors.pipeline.fallback import problems_of_fallbacks
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.pipeline.held_slots import HeldSlots
from actors.pipeline.isolation import Isolation
from actors.pipeline.lane import lanes_of
from actors.pipeline.own_actors import OwnActors, spawn_own, without_replaced
from actors.pipeline.preferences import Preferences
from actors.pipeline.quotas import QuotaDivided, Quotas
from actors.pipeline.rate_limiter import RateLimiterActor
from actors.pipeline.recipients import recipient_check
from actors.pipeline.redriver import NodeGone
from actors.pipeline.shared_breakers import SharedBreakers
from actors.pipeline.subscribers import BUILT_IN_SUBSCRIBERS, Subscribers, subscribe_all
from actors.pipeline.templates import Templates
from actors.pipeline.tenant_counts import TenantCounts
from actors.pipeline.wiring import Stages, Wiring
from actors.policies.admission import Admission
from actors.policies.rate_limit.limiter import make_limiter
from actors.policies.resuming import Arrivals
from actors.policies.waiting_room import WaitingCounts
from actors.settings.channel import KEEP_ALL_LETTERS, SUBSCRIBER_TIMEOUT, ChannelConfig, DeadLettersConfig

logger = logging.getLogger(__name__)


class Pipeline:
    """All actors of the pipeline, on one system."""

    def __init__(
        self,
        system: ActorSystem,
        channels: Mapping[NotificationChannel, ChannelConfig],
        providers: Providers | Provider,
        *,
        store: Store,
        preferences: Preferences | None = None,
        templates: Templates | None = None,
        notify: Notify | None = None,
        log: bool = True,
        dead_letters: DeadLettersConfig = KEEP_ALL_LETTERS,
        max_pending: int | None = None,
        subscriber_timeout: float = SUBSCRIBER_TIMEOUT,
        subscribers: Subscribers | None = None,
        node: Node | None = None,
        waiting: Mapping[NotificationChannel, WaitingCounts] | None = None,
        actors: OwnActors | None = None,
    ) -> None:
        """Start all actors.

        Args:
            system: the clock to run on.
            channels: the settings of each channel; defaults that follow from its providers are filled in.
            providers: one for all channels, or by channel.
            store: keeps what must survive.
            preferences: the users' preferences; None: no user has set any.
            templates: the templates that notifications may name; None: a template named in metadata is ignored.
            notify: called with the text of each admin alert, plain or ``async``. None: a broken channel is logged;
                `log` writes a line for each dead letter.
            log: whether dead letters are worth an error in the log.
            dead_letters: how many are kept, and for how long; all of them, without limit, by default.
            max_pending: how many notifications may be accepted and not ended, at least 1; None: no bound.
            subscriber_timeout: seconds that an async subscriber may take.
            subscribers: the subscribers by type of event; None: the built-in ones.
            node: the process of these actors, where several processes run on the system; None: it has one.
            waiting: by channel, the counts of attempts that wait; new counts when None.
            actors: own actors beside these, by their names.

        Raises:
            ConfigurationError: a channel lacks a provider, or falls back to nowhere; all problems. Or the constructor
                of an own actor raised.
        """
        by_name = checked_providers(channels, providers)
        self.reaches = {channel: reaches_of(by_name[channel]) for channel in channels}
        """How the providers of each channel reach their servers."""
        channels = self.channels = with_defaults(channels, by_name)
        """The settings of each channel, with the defaults that follow from its providers."""
        if problems := list(problems_of_fallbacks(channels)):
            raise ConfigurationError(problems)
        self._system = system
        process = system if node is None else node
        self.store = store
        self._nodes = store.living_nodes
        self.quotas = Quotas(len(store.living_nodes))
        self.bus = EventBus(system, process, store, subscriber_timeout)
        announce = self.bus.announce
        together = WaitingCounts()
        if waiting is None:
            waiting = {channel: WaitingCounts(together) for channel in channels}
        self.alert = process.spawn(AdminAlert, notify)
        wiring = self.wiring = Wiring(
            announce, self.bus.subscribed, alert=self.alert, waiting=together, admission=Admission(max_pending)
        )
        self.dead_letter_queue = process.spawn(DeadLetterQueue, store, wiring, log, dead_letters)
        for channel, config in channels.items():
            arrivals = Arrivals()
            lanes = lanes_of(channel, config, process.streams.stream, arrivals, self.quotas)
            counts = None if config.tenant is None else TenantCounts(config.tenant)
            wiring.stages[channel] = Stages(
                announce,
                redriver=None if config.redrive is None else self.dead_letter_queue,
                arrivals=arrivals,
                lanes=lanes,
                recipient_problem=recipient_check(
                    tuple(by_name[channel].values()),
                    templates,
                    may_be_empty=not channel.is_own or config.kind is ChannelKind.CALL,
                ),
                waiting=waiting[channel],
                limiter=None if config.rate_limit is None else make_limiter(config.rate_limit),
                tenant_counts=counts,
                held_slots=HeldSlots(lanes, counts) if config.retry.holds_slot else None,
            )
        self.handler: ActorRef[Handler] = process.spawn(Handler, channels, wiring, store, preferences, templates)
        isolation = process.spawn(Isolation, store, wiring.stages) if store.outlives_process else None
        wiring.connect(self.dead_letter_queue, self.handler, isolation)
        for channel, stages in wiring.stages.items():
            self._spawn_stages(process, channel, stages, by_name[channel].values())
        self.shared_breakers = SharedBreakers(system, store, wiring.stages.values())
        self.bus.connect(self.handler, None if max_pending is None else self.has_room)
        listen(store, self._on_news)
        actors = actors or {}
        subscribers = BUILT_IN_SUBSCRIBERS if subscribers is None else subscribers
        subscribe_all(self.bus, channels, without_replaced(subscribers, actors))
        self.own_actors = spawn_own(process, actors, self.bus, store)

    def _spawn_stages(
        self, process: Process, channel: NotificationChannel, stages: Stages, providers: Iterable[Provider]
    ) -> None:
        config, delivers_once = self.channels[channel], self._system.delivers_once
        limiter: ActorRef[Any] | None = None
        breaker: ActorRef[Any]
        if config.rate_limit is not None:
            limiter_class = RateLimiterActor if delivers_once else DeduplicatingLimiter
            limiter = process.spawn(limiter_class, channel, config.rate_limit, stages)
        if delivers_once:
            breaker = process.spawn(CircuitBreakerActor, channel, config, stages)
        else:
            breaker = process.spawn(DeduplicatingBreaker, channel, config, stages, InFlight())
        senders: list[ActorRef[Any]] = []
        for lane, provider in zip(stages.lanes, providers, strict=True):
            provider.on_wired(self._system)
            sender_class = Channel if lane.config.hedging is None else HedgingChannel
            senders.append(process.spawn(sender_class, provider, lane, stages))
        stages.add_stages(limiter, breaker, senders)

    def _on_news(self, news: News) -> None:
        if isinstance(news, BreakerVote):
            self.shared_breakers.hear(news)
            return
        if isinstance(news, NodesChanged):
            self._on_nodes_changed(news.nodes)
            return
        if isinstance(news, StoreWaits):
            self.bus.pending.give_up()
            return
        listener: ActorRef[Any] = self.dead_letter_queue if isinstance(news, LettersChanged) else self.handler
        tell_unless_dead(listener, news)

    def _on_nodes_changed(self, nodes: frozenset[int]) -> None:
        nodes_before, self._nodes = self._nodes, nodes
        self.shared_breakers.count(nodes)
        if self.quotas.divide(max(1, len(nodes)), self._system.now_ns):  # where none has a lease this one is alone
            for stages in self.wiring.stages.values():
                assert stages.circuit_breaker is not None
                tell_unless_dead(stages.circuit_breaker, QuotaDivided())
        if not nodes_before <= nodes and any(stages.redriver for stages in self.wiring.stages.values()):
            tell_unless_dead(self.dead_letter_queue, NodeGone())

    def has_room(self, priority: Priority = Priority.NORMAL) -> bool:
        """Tell whether another notification of this class would be accepted."""
        return self.handler.actor.intake.has_room(priority, besides=self.bus.under_way)

    def kill(self) -> None:
        """Remove all actors at once, as in a crash of their process; everything that is not in the store is lost.

        Another pipeline over the same store, on this system or another one, resumes the notifications in flight.
        """
        stages = [ref for stages in self.wiring.stages.values() for ref in stages.actors]
        for ref in (
            self.handler,
            *stages,
            self.dead_letter_queue,
            self.alert,
            *self.bus.actors,
            *self.own_actors.values(),
        ):
            self._system.kill(ref)
        if self.wiring.isolation is not None:
            self._system.kill(self.wiring.isolation)

    @property
    def in_flight(self) -> int:
        """How many notifications are accepted and have not ended."""
        return self.handler.actor.deliveries.count()

    @property
    def is_busy(self) -> bool:
        """Whether a notification is in flight, or will be once its publication, acceptance or redrive is durable."""
        return self.handler.actor.deliveries.has_any() or self.bus.under_way > 0

    @property
    def is_answering(self) -> bool:
        """Whether the store has not kept something yet, or a caller waits for an answer."""
        return bool(self.wiring.commits.under_way) or self.bus.under_way > 0

    @property
    def dead_letters(self) -> list[DeadLetterMessage]:
        """The dead letters, oldest first."""
        return list(self.dead_letter_queue.actor.letters)
