"""The notifier: runs the pipeline live, inside a service."""

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

from actors.assembly import Pipeline as Pipeline
from actors.domain.attempts import Provider
from actors.domain.notification_state import NotificationState, state_of
from actors.domain.store import Store
from actors.errors import ConfigurationError, NotifierClosed, StoreInUse, UnknownChannel
from actors.faults.build import Providers, enforced_quotas, unreliable_providers
from actors.faults.provider import SimulatedProvider
from actors.instants import ns, since_1970_ns
from actors.kernel.async_handlers import failure, is_async
from actors.kernel.system import ActorSystem
from actors.messages import DeadLetterMessage, NotificationChannel, NotificationSent, RecordedEvent, SendNotification
from actors.pipeline.alert import Notify
from actors.pipeline.circuit_breaker import OperateBreaker
from actors.pipeline.event_bus import check_id, check_timeout
from actors.pipeline.orders import Acceptance
from actors.pipeline.own_actors import OwnActors, problems_of_actors
from actors.pipeline.preferences import Preferences
from actors.pipeline.subscribers import BUILT_IN_SUBSCRIBERS, Subscribers, log_unserved, problems_of_subscribers
from actors.pipeline.templates import Templates
from actors.settings.accounts import AccountConfig
from actors.settings.base import validated
from actors.settings.channel import ChannelConfig, NotifierConfig
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
    """The options that are the same on trio, on asyncio and in a thread; see :meth:`Notifier.open`."""

    preferences: Preferences | None
    templates: Templates | None
    subscribers: Subscribers | None
    actors: OwnActors | None
    on_event: Callable[[RecordedEvent], None] | None
    seed: int | None


class Notifier:
    """The pipeline live, inside a trio service; make one with :meth:`open`."""

    def __init__(self, system: LiveSystem, pipeline: Pipeline, events: Events) -> None:
        self.system = system
        self.pipeline = pipeline
        self.bus = pipeline.bus
        """Subscribe to domain events and notification events here."""
        self.actors = pipeline.own_actors
        """The references to own actors, by their names."""
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
        actors: OwnActors | None = None,
        on_event: Callable[[RecordedEvent], None] | None = None,
        seed: int | None = None,
    ) -> AsyncGenerator[Notifier, None]:
        """Run the pipeline for as long as the block lasts; then drain it for `config.drain` seconds.

        A block that is left by an exception, or cancelled, does not drain: notifications in flight then stay in the
        store, and a notifier that is opened over the same store resumes them.

        Args:
            config: settings, or a mapping of them; all channels with their defaults when None.
            providers: one for each channel or one for all; the unreliable provider of each channel's
                settings when None.
            store: keeps what must survive, and is this notifier's alone while it is open; in memory when None.
            preferences: the users' preferences; None: no user has set any.
            templates: the templates that notifications may name; the built-in ones when None.
            notify: called with the text of each admin alert, plain or ``async``. None: a broken channel is logged; each
                dead letter is in the log anyway.
            subscribers: by type of event the function or functions to call with each such event, plain or ``async``, in
                place of all built-in ones: ``{}`` means none, ``{**BUILT_IN_SUBSCRIBERS, OrderPlaced: order_push}``
                replaces the subscribers to one event. None: the built-in ones whose channel is configured.
            actors: own actors by their names: a subclass of :class:`OwnActor` each, or a `functools.partial` of one
                with its settings.
            on_event: called with every recorded event at once, in order: for metrics and logs. It must not wait for
                anything; an exception it raises is logged, and changes nothing.
            seed: the seed of jitter and of the unreliable provider; a random one when None, so that services do not
                retry in step.

        Raises:
            ConfigurationError: the mapping is no valid configuration, a channel has no provider, or another argument is
                of the wrong kind; the text lists all problems.
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
            actors=actors or {},
        )
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
                    actors=actors,
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

        The pipeline runs on trio, as a guest of the running loop. No signal handler is installed: a program that ends
        has to leave the block. Async subscribers and an async `notify` run on asyncio.

        For the other arguments and errors see :meth:`open`.

        Args:
            providers: functions that open a provider for each channel, or one function for all channels:
                ``lambda: EmailProvider(settings)``. Providers do their I/O in trio. None: the unreliable provider of
                each channel's settings.
            store: a function that opens the store: ``lambda: SqliteStore.open(path)``; in memory when None.

        Raises:
            StoreError: the store cannot be opened.
            ActorSystemError: trio runs in this thread already; also for the notifier of another loop, and after a fork.
            BaseException (where the block is left): the error that ended the notifier, which cancels the block.
        """
        from actors.hosts.asyncio_notifier import open_asyncio  # asyncio takes its time to import
        from actors.hosts.opening import Openers

        return open_asyncio(functools.partial(cls.open, config), Openers(store, providers), notify, dict(options))

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

        For programs that block. The functions given are called in that thread: plain ones must not block, async ones
        are trio's. In a forked process the thread is not there: open the notifier after the fork.

        For the arguments see :meth:`open_asyncio`; for other errors, :meth:`open`.

        Raises:
            StoreError: the store cannot be opened.
            BaseException (where the block is left): what ended the notifier.
        """
        from actors.hosts.opening import Openers
        from actors.hosts.thread_notifier import open_in_thread  # as trio does

        return open_in_thread(functools.partial(cls.open, config, notify=notify, **options), Openers(store, providers))

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
        """Override the breakers of a channel, all or one provider's; awaiting it tells whether any changed.

        A breaker that is forced open admits nothing until the next override, or until this notifier is closed; one that
        was closed may open again by itself.

        Raises (at once):
            UnknownChannel: the channel is not configured.
            ConfigurationError: no such override, or the channel has no such provider; the text lists all problems.
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
        """Wait as :meth:`wait_until_quiet` does, but not for retries, breakers or scheduled notifications that are due
        after more than `timeout` seconds. Nothing more should be sent meanwhile.

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
        """The dead letters, oldest first. The queue's actor, for questions, is in `pipeline`."""
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
        """Release all waiters: notifications in flight now stay so."""
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
        """Wait until nothing is in flight or about to be; tell whether nothing is."""
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
    problems += problems_of_actors(arguments["actors"])
    on_event = arguments["on_event"]
    for method in ("is_enabled", "quiet_until"):
        if is_async(getattr(arguments["preferences"], method, None)):
            problems.append(f"preferences: wanted a plain function {method}, as nothing awaits it, got an async one")
    if is_async(on_event):
        problems.append("on_event: wanted a plain function, as nothing awaits it, got an async one")
    if problems:
        raise ConfigurationError(problems)


_in_use: set[int] = set()


@contextlib.contextmanager
def _held(store: Store) -> Generator[None, None, None]:
    """Keep other notifiers of this process from a store: each would resume, and send, the same notifications."""
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
