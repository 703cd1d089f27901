"""The notifier: wires the pipeline, in the order of its arrow diagram, on any system; and runs it live.

::

    domain event → event bus → subscribers → SendNotification
      → handler → rate limiter → circuit breaker → channel → provider
      → handler: sent · retry after backoff · dead letter queue → admin alert
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, get_args

from actors.domain.attempts import Provider
from actors.domain.notification_state import NotificationState, state_of
from actors.domain.store import BreakerVote, LettersChanged, News, NodesChanged, Store, StoreWaits
from actors.errors import ConfigurationError, NotifierClosed, StoreInUse, UnknownChannel
from actors.faults.build import (
    Providers,
    checked_providers,
    enforced_quotas,
    reaches_of,
    unreliable_providers,
    with_defaults,
)
from actors.faults.provider import SimulatedProvider
from actors.instants import ns, since_1970_ns
from actors.kernel.actor import ActorRef, tell_unless_dead
from actors.kernel.async_handlers import failure, is_async
from actors.kernel.node import Node
from actors.kernel.system import ActorSystem
from actors.messages import (
    DeadLetterMessage,
    NotificationChannel,
    NotificationSent,
    Priority,
    RecordedEvent,
    SendNotification,
)
from actors.pipeline.alert import AdminAlert, Notify
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor, OperateBreaker
from actors.pipeline.dead_letter_queue import DeadLetterQueue
from actors.pipeline.deduplicating import (
    DeduplicatingBreaker,
    DeduplicatingLimiter,
    DeduplicatingTenantBounds,
    InFlight,
)
from actors.pipeline.event_bus import EventBus, check_id, check_timeout
from actors.pipeline.fallback import problems_of_fallbacks
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.pipeline.isolation import Isolation
from actors.pipeline.lane import lanes_of
from actors.pipeline.orders import Acceptance
from actors.pipeline.preferences import Preferences
from actors.pipeline.quotas import QuotaDivided, Quotas
from actors.pipeline.rate_limiter import RateLimiterActor
from actors.pipeline.recipients import recipient_check
from actors.pipeline.redriver import NodeGone
from actors.pipeline.shared_breakers import SharedBreakers
from actors.pipeline.subscribers import (
    BUILT_IN_SUBSCRIBERS,
    Subscribers,
    log_unserved,
    problems_of_subscribers,
    subscribe_all,
)
from actors.pipeline.templates import Templates
from actors.pipeline.tenants import TenantBounds
from actors.pipeline.waiting_line import WaitingCounts
from actors.pipeline.wiring import Stages, Wiring
from actors.policies.admission import Admission
from actors.settings.accounts import AccountConfig
from actors.settings.base import validated
from actors.settings.channel import (
    KEEP_ALL_LETTERS,
    SUBSCRIBER_TIMEOUT,
    ChannelConfig,
    DeadLettersConfig,
    NotifierConfig,
)
from actors.settings.defaults import with_accounts
from actors.storage.clock_steps import ClockSteps
from actors.storage.memory import MemoryStore

if TYPE_CHECKING:
    import trio

    from actors.hosts.asyncio_notifier import AsyncioNotifier
    from actors.hosts.opening import ProviderOpener, ProviderOpeners, StoreOpener
    from actors.hosts.thread_notifier import ThreadNotifier
    from actors.kernel.live import LiveSystem

logger = logging.getLogger(__name__)

SENT_KEPT = 10_000

BreakerOverride: TypeAlias = Literal["force-open", "disable", "close", "metrics-only"]


class OpenOptions(TypedDict, total=False):
    """What is the same for a notifier on trio, on asyncio and in a thread; see :meth:`Notifier.open`."""

    preferences: Preferences | None
    templates: Templates | None
    subscribers: Subscribers | None
    on_event: Callable[[RecordedEvent], None] | None
    seed: int | None


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
    ) -> None:
        """Start all actors.

        Args:
            system: the clock to run on.
            channels: the settings of each channel there is; what follows from its providers is filled in.
            providers: one for all channels, or those of each channel.
            store: keeps what must survive.
            preferences: of the users; none when None.
            templates: that notifications may name; metadata that names one is ignored when None.
            notify: called with the text of each admin alert, plain or ``async``. When None, that a channel is broken
                is logged; of dead letters `log` has a line each.
            log: whether dead letters are worth an error in the log.
            dead_letters: how many are kept, and for how long; all of them, without limit, by default.
            max_pending: how many notifications may be accepted and not ended, at least 1; None: no bound.
            subscriber_timeout: seconds that an async subscriber may take.
            subscribers: by type of event, in place of the built-in ones; these when None.
            node: which process these actors are, where several run on the system; None: it has one.
            waiting: by channel, what counts those that wait; new counts when None.

        Raises:
            ConfigurationError: a channel lacks a provider, or falls back to nowhere; all problems.
        """
        by_name = checked_providers(channels, providers)
        self.reaches = {channel: reaches_of(by_name[channel]) for channel in channels}
        """How the providers of each channel reach those that they ask."""
        channels = self.channels = with_defaults(channels, by_name)
        """The settings of each channel, with what follows from its providers."""
        if problems := list(problems_of_fallbacks(channels)):
            raise ConfigurationError(problems)
        self._system = system
        process = system if node is None else node
        self.store = store
        self._nodes = store.living_nodes
        self.quotas = Quotas(len(store.living_nodes))
        """The quotas of all channels."""
        self.bus = EventBus(system, process, store, subscriber_timeout)
        announce = self.bus.announce
        together = WaitingCounts()
        if waiting is None:
            waiting = {channel: WaitingCounts(together) for channel in channels}
        wiring = self.wiring = Wiring(
            announce,
            self.bus.subscribed,
            waiting=together,
            stages={channel: Stages(announce, waiting=waiting[channel]) for channel in channels},
            admission=Admission(max_pending),
        )
        self.alert = wiring.alert = process.spawn(AdminAlert, notify)
        self.dead_letter_queue = wiring.dead_letter_queue = process.spawn(
            DeadLetterQueue, store, wiring, log, dead_letters
        )
        self.handler: ActorRef[Handler] = process.spawn(Handler, channels, wiring, store, preferences, templates)
        wiring.handler = self.handler
        if store.outlives_process:
            wiring.isolation = process.spawn(Isolation, store, wiring.stages)
        for channel, config in channels.items():
            stages = wiring.stages[channel]
            stages.isolation = wiring.isolation
            stages.handler = self.handler
            stages.recipient_problem = recipient_check(tuple(by_name[channel].values()), templates)
            stages.lanes = lanes_of(channel, config, process.streams.stream, stages.arrivals, self.quotas)
            if config.redrive is not None:
                stages.redriver = self.dead_letter_queue
            if config.rate_limit is not None:
                limiter_class = RateLimiterActor if system.delivers_once else DeduplicatingLimiter
                stages.rate_limiter = process.spawn(limiter_class, channel, config.rate_limit, stages)
            if config.tenant is not None:
                bounds_class = TenantBounds if system.delivers_once else DeduplicatingTenantBounds
                stages.tenant_bounds = process.spawn(bounds_class, channel, config.tenant, stages)
            if system.delivers_once:
                stages.circuit_breaker = process.spawn(CircuitBreakerActor, channel, config, stages)
            else:
                stages.circuit_breaker = process.spawn(DeduplicatingBreaker, channel, config, stages, InFlight())
            for lane, provider in zip(stages.lanes, by_name[channel].values(), strict=True):
                channel_class = Channel if lane.config.hedging is None else HedgingChannel
                provider.on_wired(system)
                lane.channel = process.spawn(channel_class, provider, lane, stages)
        self.shared_breakers = SharedBreakers(system, store, wiring.stages.values())
        """What other nodes say of the breakers, and are told of them."""
        self.bus.connect(self.handler, None if max_pending is None else self.has_room)
        store.on_news = self._on_news
        subscribe_all(self.bus, channels, BUILT_IN_SUBSCRIBERS if subscribers is None else subscribers)

    def _on_news(self, news: News) -> None:
        """Pass on news from other nodes that share the store."""
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
        """Pass on which nodes share the store now."""
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
        """Remove all actors at once, as in a crash of their process; what is not in the store is lost.

        Another pipeline over the same store, on this system or another one, resumes what has not ended.
        """
        stages = [ref for stages in self.wiring.stages.values() for ref in stages.actors]
        for ref in (self.handler, *stages, self.dead_letter_queue, self.alert, *self.bus.actors):
            self._system.kill(ref)
        if self.wiring.isolation is not None:
            self._system.kill(self.wiring.isolation)

    @property
    def in_flight(self) -> int:
        """How many notifications are accepted and have not ended."""
        return self.handler.actor.count_in_flight()

    @property
    def is_busy(self) -> bool:
        """Whether a notification is in flight, or will be: it is published, sent or redriven, and that is not durable
        yet."""
        return self.handler.actor.has_any() or self.bus.under_way > 0

    @property
    def is_answering(self) -> bool:
        """Whether the store has not kept something yet, or a caller waits for an answer."""
        return bool(self.wiring.commits.under_way) or self.bus.under_way > 0

    @property
    def dead_letters(self) -> list[DeadLetterMessage]:
        """What is in the dead letter queue, oldest first."""
        return list(self.dead_letter_queue.actor.letters)


class Notifier:
    """The pipeline live, inside a trio service; make one with :meth:`open`."""

    def __init__(self, system: LiveSystem, pipeline: Pipeline, events: Events) -> None:
        self.system = system
        self.pipeline = pipeline
        self.bus = pipeline.bus
        """Subscribe to domain events and notification events here."""
        self._events = events

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: NotifierConfig | Mapping[str, Any] | None = None,
        *,
        providers: Providers | Provider | None = None,
        store: Store | None = None,
        preferences: Preferences | None = None,
        templates: Templates | None = None,
        notify: Notify | None = None,
        subscribers: Subscribers | None = None,
        on_event: Callable[[RecordedEvent], None] | None = None,
        seed: int | None = None,
    ) -> AsyncGenerator[Notifier, None]:
        """Run the pipeline for as long as the block lasts; then drain it for `config.drain` seconds.

        A block that is left by an exception, or cancelled, does not drain: what is in flight then stays in the store,
        and a notifier that is opened over the same store resumes it.

        Args:
            config: settings, or a mapping of them; all channels with their defaults when None.
            providers: one for each channel or one for all; the unreliable provider of each channel's
                settings when None.
            store: keeps what must survive, and is this notifier's alone while it is open; in memory when None.
            preferences: of the users; none when None.
            templates: that notifications may name; the built-in ones when None.
            notify: called with the text of each admin alert, plain or ``async``. When None, that a channel is broken
                is logged; each dead letter is in the log anyway.
            subscribers: by type of event the function or functions that are called with each event of it, plain or
                ``async``, in place of all built-in ones: ``{}`` is for none, ``{**BUILT_IN_SUBSCRIBERS, OrderPlaced:
                order_push}`` replaces those to one event. None: the built-in ones whose channel is configured.
            on_event: called with every recorded event at once, in order: for metrics and logs. It must not wait for
                anything; an exception it raises is logged, and changes nothing.
            seed: of jitter and of the unreliable provider; a random one when None, so that services do not retry in
                step.

        Raises:
            ConfigurationError: the mapping is no valid configuration, a channel has no provider, or another argument is
                of the wrong kind; it lists all problems.
            StoreInUse: another notifier has this store.
        """
        from actors.kernel.live import LiveSystem  # here, as the linter: simulated runs make do with the pipeline
        from actors.lint.channel import lint_live

        _check_arguments(
            store=store,
            preferences=preferences,
            templates=templates,
            notify=notify,
            on_event=on_event,
            subscribers=subscribers,
        )
        if not isinstance(config, NotifierConfig):
            config = validated(NotifierConfig, {} if config is None else config)
        channels = {
            channel: with_accounts(config.channels.get(channel, ChannelConfig()), config.accounts)
            for channel in config.channels or NotificationChannel
        }
        if store is None:
            store = MemoryStore(remember_ids_ns=ns(config.remember_ids), ahead_ns=ClockSteps().ahead_ns)
        events = Events(on_event)
        seed = seed if seed is not None else secrets.randbits(64)
        with _held(store), contextlib.closing(events):
            async with LiveSystem(seed=seed, record=events.record) as system:
                pipeline = Pipeline(
                    system,
                    channels,
                    providers if providers is not None else _unreliable(channels, config.accounts, system),
                    store=store,
                    preferences=preferences,
                    templates=templates
                    if templates is not None
                    else Templates(variables={"platform": config.platform}),
                    notify=notify,
                    dead_letters=config.dead_letters,
                    max_pending=config.max_pending,
                    subscriber_timeout=config.subscriber_timeout,
                    subscribers=subscribers,
                )
                log_unserved(pipeline.channels, BUILT_IN_SUBSCRIBERS if subscribers is None else subscribers)
                for finding in lint_live(pipeline.channels, pipeline.reaches, are_simulated=providers is None):
                    logger.warning("%s", finding)
                events.watch(pipeline)
                try:
                    notifier = cls(system, pipeline, events)
                    yield notifier
                    if not await notifier.drain(config.drain):
                        _log_what_is_left(pipeline)
                finally:
                    events.end()

    @classmethod
    def open_asyncio(
        cls,
        config: NotifierConfig | Mapping[str, Any] | None = None,
        *,
        providers: ProviderOpeners | ProviderOpener | None = None,
        store: StoreOpener | None = None,
        notify: Notify | None = None,
        **options: Unpack[OpenOptions],
    ) -> AbstractAsyncContextManager[AsyncioNotifier[Notifier]]:
        """Run the pipeline in an asyncio program for as long as the block lasts; then drain it, as :meth:`open` does.

        Trio, which it runs on, is a guest of the running loop. No signal handler is installed: whoever ends the program
        has the block left. What async subscribers and an async `notify` await is asyncio's.

        Args:
            config: settings, or a mapping of them; all channels with their defaults when None.
            providers: functions that open one for each channel, or one for all: ``lambda: EmailProvider(settings)``.
                They do their I/O in trio. The unreliable provider of each channel's settings when None.
            store: a function that opens it: ``lambda: SqliteStore.open(path)``; in memory when None.
            notify: called with the text of each admin alert, plain or ``async``.
            options: as in :meth:`open`.

        Raises:
            ConfigurationError: as in :meth:`open`.
            StoreError: the store cannot be opened.
            ActorSystemError: trio runs in this thread already; also for the notifier of another loop, and after a fork.
            BaseException (where the block is left): what ended the notifier inside, which cancels the block.
        """
        from actors.hosts.asyncio_notifier import open_asyncio  # asyncio takes its time to import

        return open_asyncio(
            functools.partial(cls.open, config), store=store, providers=providers, notify=notify, options=dict(options)
        )

    @classmethod
    def open_in_thread(
        cls,
        config: NotifierConfig | Mapping[str, Any] | None = None,
        *,
        providers: ProviderOpeners | ProviderOpener | None = None,
        store: StoreOpener | None = None,
        notify: Notify | None = None,
        **options: Unpack[OpenOptions],
    ) -> AbstractContextManager[ThreadNotifier[Notifier]]:
        """Run the pipeline in a thread of its own for as long as the block lasts; then drain it, as :meth:`open` does.

        For programs that block. What is given is called in that thread: plain functions must not block, async ones are
        trio's. In a forked process it is not there: open it after the fork.

        Args:
            config: settings, or a mapping of them; all channels with their defaults when None.
            providers: functions that open one for each channel, or one for all: ``lambda: EmailProvider(settings)``.
                The unreliable provider of each channel's settings when None.
            store: a function that opens it: ``lambda: SqliteStore.open(path)``; in memory when None.
            notify: called with the text of each admin alert, plain or ``async``.
            options: as in :meth:`open`.

        Raises:
            ConfigurationError: as in :meth:`open`.
            StoreError: the store cannot be opened.
            BaseException (where the block is left): what ended the notifier.
        """
        from actors.hosts.thread_notifier import open_in_thread  # as trio does

        return open_in_thread(
            functools.partial(cls.open, config, notify=notify, **options), store=store, providers=providers
        )

    def publish(self, event: Any, *, traceparent: str | None = None) -> Awaitable[None]:
        """Publish an event; awaiting it waits until its notifications are accepted. See :meth:`EventBus.publish`."""
        return self.bus.publish(event, traceparent=traceparent)

    def send(self, command: SendNotification, *, traceparent: str | None = None) -> Awaitable[Acceptance]:
        """Send a command; awaiting it gives its acceptance. See :meth:`EventBus.send`."""
        return self.bus.send(command, traceparent=traceparent)

    def cancel(self, notification_id: str) -> Awaitable[bool]:
        """Cancel a notification that waits; awaiting it tells whether it is cancelled. See :meth:`EventBus.cancel`."""
        return self.bus.cancel(notification_id)

    async def state(self, notification_id: str) -> NotificationState | None:
        """Return where a notification is now, at whichever node; None: its id is unknown, or no longer remembered.

        Raises:
            WrongType: the id is no str.
            StoreError: the store cannot be read.
        """
        check_id(notification_id)
        return await state_of(self.pipeline.store, notification_id, since_1970_ns(self.system.present))

    def operate_breaker(
        self, channel: NotificationChannel | str, override: BreakerOverride, provider: str | None = None
    ) -> Awaitable[bool]:
        """Override the breakers of a channel, all or that of one provider; awaiting it tells whether any changed.

        It lasts until the next override: a breaker that is forced open admits nothing until it is closed.

        Raises (at once):
            UnknownChannel: the channel is not configured.
            ConfigurationError: there is no such override, or the channel has no such provider; it lists all problems.
            NotifierClosed: the notifier is closed.
        """
        stages = next((own for name, own in self.pipeline.wiring.stages.items() if name == channel), None)
        if stages is None:
            raise UnknownChannel(f"wanted a channel that is configured, got {channel!r}")
        names = [lane.provider_name for lane in stages.lanes]
        problems = []
        if override not in get_args(BreakerOverride):
            problems.append(f"override: wanted one of {', '.join(get_args(BreakerOverride))}, got {override!r}")
        if provider is not None and provider not in names:
            problems.append(f"provider: wanted one of {', '.join(names)}, got {provider!r}")
        if problems:
            raise ConfigurationError(problems)
        if not self.bus.is_open():
            raise NotifierClosed
        assert stages.circuit_breaker is not None
        answer: Awaitable[bool] = stages.circuit_breaker.ask(
            OperateBreaker(order=override, provider=provider), block=False
        )
        return answer

    async def wait_until_quiet(self, timeout: float | None = math.inf) -> bool:
        """Wait until nothing is in flight, at most `timeout` seconds or until the end; tell whether it is so.

        Raises:
            WrongType: the time-out is no number.
            ConfigurationError: it is below 0, or nan.
        """
        check_timeout(timeout)
        self.system.when_idle.append(self._events.look)  # as no event says that a redrive is refused
        try:
            return await self._events.wait_until_quiet(math.inf if timeout is None else timeout)
        finally:
            self.system.when_idle.remove(self._events.look)

    async def drain(self, timeout: float | None) -> bool:
        """Wait as :meth:`wait_until_quiet` does, but not for what could end in `timeout` seconds only by an order: a
        retry, a breaker or a scheduled notification that is due later. Nothing more should be sent meanwhile.

        Raises:
            WrongType: the time-out is no number.
            ConfigurationError: it is below 0, or nan.
        """
        import trio

        check_timeout(timeout)
        deadline = math.inf if timeout is None else trio.current_time() + timeout
        with trio.CancelScope() as scope:

            def end_if_idle() -> None:
                if not self.pipeline.is_answering and self.system.is_idle_until(deadline):
                    scope.cancel()

            self.system.when_idle.append(end_if_idle)
            try:
                end_if_idle()
                await self.wait_until_quiet(timeout)
            finally:
                self.system.when_idle.remove(end_if_idle)
        return not self.pipeline.is_busy

    @property
    def in_flight(self) -> int:
        """How many notifications are accepted and have not ended."""
        return self.pipeline.in_flight

    @property
    def sent_notifications(self) -> list[NotificationSent]:
        """The latest that were sent, oldest first."""
        return list(self._events.sent)

    @property
    def dead_letter_queue(self) -> list[DeadLetterMessage]:
        """What is in the dead letter queue, oldest first. Its actor, for questions, is in `pipeline`."""
        return self.pipeline.dead_letters


class Events:
    """Watches every recorded event of a live pipeline: keeps the latest that were sent, and knows when it is idle."""

    def __init__(self, on_event: Callable[[RecordedEvent], None] | None = None) -> None:
        self.sent: deque[NotificationSent] = deque(maxlen=SENT_KEPT)
        self._pipeline: Pipeline | None = None
        self._quiet: list[trio.Event] = []
        self._ended = False
        self._on_event = on_event

    def record(self, event: Any) -> None:
        """Record an event."""
        if type(event) is NotificationSent:
            self.sent.append(event)
        if self._on_event is not None:
            try:
                self._on_event(event)
            except BaseException as error:
                logger.error("on_event raised on %s", type(event).__name__, exc_info=failure(error))
        if self._quiet:
            self.look()

    def watch(self, pipeline: Pipeline) -> None:
        """Watch this pipeline."""
        self._pipeline = pipeline
        pipeline.bus.pending.watch(self.look)

    def end(self) -> None:
        """Release all waiters: what is in flight now stays so."""
        self._ended = True
        self.look()

    def close(self) -> None:
        """Release all who await an answer: all actors are gone."""
        if self._pipeline is not None:
            self._pipeline.bus.pending.end()

    def look(self) -> None:
        """Release all waiters if it is quiet, or the end."""
        if self._quiet and (self._ended or self._is_quiet()):
            for waiting in self._quiet:
                waiting.set()
            self._quiet.clear()

    def _is_quiet(self) -> bool:
        return self._pipeline is None or not self._pipeline.is_busy

    async def wait_until_quiet(self, timeout: float) -> bool:
        """Wait until nothing is in flight or about to be; tell whether it is so."""
        if not self._ended and not self._is_quiet():
            import trio

            with trio.move_on_after(timeout):
                while not self._ended and not self._is_quiet():  # more may have come before this one was woken
                    quiet = trio.Event()
                    self._quiet.append(quiet)
                    await quiet.wait()
        return self._is_quiet()


def _log_what_is_left(pipeline: Pipeline) -> None:
    from actors.storage.on_disk import StoreOnDisk  # here, as simulated runs make do without

    unanswered = pipeline.bus.under_way
    said = f", and not answered yet: {unanswered}" if unanswered else ""
    is_kept = isinstance(pipeline.store, StoreOnDisk) or not isinstance(pipeline.store, MemoryStore)
    where = "kept in the store" if is_kept else "only in memory"
    level = logging.INFO if is_kept and not unanswered else logging.WARNING
    logger.log(level, "still in flight, and %s: %d%s", where, pipeline.in_flight, said)


_WANTED: Mapping[str, tuple[str, str]] = {
    "store": ("commit", "an open store, as in: async with SqliteStore.open(path) as store"),
    "preferences": ("is_enabled", "Preferences"),
    "templates": ("fill_in", "Templates"),
    "notify": ("__call__", "a function of the text of an alert"),
    "on_event": ("__call__", "a function of an event"),
}
"""By argument of :meth:`Notifier.open`: a method that it must have, and its description."""


def _check_arguments(**arguments: Any) -> None:
    """Report wrong arguments here, and not when the first notification comes."""
    problems = [
        f"{name}: wanted {_WANTED[name][1]}, got {given!r}"
        for name, given in arguments.items()
        if name in _WANTED and given is not None and not hasattr(given, _WANTED[name][0])
    ]
    store = arguments["store"]
    if not getattr(store, "is_open", True):
        problems.append(f"store: wanted {_WANTED['store'][1]}, got {type(store).__name__} that is not open")
    if arguments["subscribers"] is not None:
        problems += problems_of_subscribers(arguments["subscribers"])
    on_event = arguments["on_event"]
    if is_async(on_event):
        problems.append("on_event: wanted a plain function, as nothing awaits it, got an async one")
    if problems:
        raise ConfigurationError(problems)


_in_use: set[int] = set()


@contextlib.contextmanager
def _held(store: Store) -> Generator[None, None, None]:
    """Keep other notifiers of this process from a store: each would resume, and send, what has not ended there."""
    if id(store) in _in_use:
        raise StoreInUse(
            "another notifier uses this store; give all channels to one notifier, or each notifier its own store"
        )
    _in_use.add(id(store))
    try:
        yield
    finally:
        _in_use.remove(id(store))


def _unreliable(
    channels: Mapping[NotificationChannel, ChannelConfig], accounts: Mapping[str, AccountConfig], system: ActorSystem
) -> dict[NotificationChannel, dict[str, SimulatedProvider]]:
    enforced = enforced_quotas(accounts)
    return {
        channel: unreliable_providers(channel, config, (), system.streams, accounts=enforced)
        for channel, config in channels.items()
    }
