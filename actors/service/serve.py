"""The service as a process: opens everything, answers signals, and exchanges the pipeline for new settings.

===============  =======================================================================================================
signal           effect
===============  =======================================================================================================
SIGTERM, SIGINT  new requests are refused (503), notifications in flight end within `drain` or are parked in the store;
                 exit code 0. A second signal ends the process at once, which loses nothing either: attempts at a
                 provider are then sent again.
SIGHUP           the settings are read again. If anything is wrong with them the old settings hold.
===============  =======================================================================================================

Settings that are read again take effect like this:

* `tokens`, `trusted_proxies`, `logs` and `drain` at once.
* Every other change, by a new pipeline in place of the running one, over the same store. First attempts at providers
  may come back, while no other goes out; then requests wait for a moment while the pipelines are exchanged.
  Notifications that had not ended go on where they were: nothing is lost or sent twice, and retries keep their times.
  Operators' overrides of breakers stay. The counts of breakers, limits and budgets start again, as after a restart.
  Faults begin at that moment, too.
* `store`, `remember_ids` and `listen` only by a restart.

Edits in the files of preferences, templates and suppressions are used without any signal, and on SIGHUP at once.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import trio
from pydantic import BaseModel
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.domain.store import Store
from actors.errors import ConfigurationError, StoreFailed, StoreInUse
from actors.kernel.randomness import RandomStreams
from actors.lint.channel import lint_live
from actors.messages import RecordedEvent
from actors.notifier import Notifier
from actors.pipeline.dead_letter_queue import Peek
from actors.service.app import Service, make_app
from actors.service.config import ServiceConfig, load
from actors.service.http.access import Access
from actors.service.http.bodies import not_now
from actors.service.http.health import Status
from actors.service.http_server import HttpServer, bound
from actors.service.large_answers import LargeAnswers
from actors.service.observability import logs
from actors.service.observability.metrics import Metrics
from actors.service.observability.overload import OverloadLog
from actors.service.observability.tracing import Tracing
from actors.service.operations.breakers import (
    BreakerWatch,
    Overrides,
    States,
    overrides_of,
    reloaded,
    states_of,
    with_overrides,
)
from actors.service.operations.dead_letters import DeadLetters
from actors.service.operations.delivery_reports import DeliveryReports
from actors.service.own_events import OwnEvents, built_in_beside
from actors.service.reloading.live_settings import LiveSettings
from actors.service.stores import check_store, file_in_use, open_store
from actors.service.swappable_pipeline import ProviderGate, RequestGate
from actors.service.transports import open_transports
from actors.settings.file import located, text_of
from actors.settings.yaml_tree import Place, read
from actors.storage.memory import MemoryStore

logger = logging.getLogger("retrylab.service")

REQUESTS_PATIENCE = 5.0
"""Seconds that a change of the pipeline waits for requests that are being answered."""

COMMITS_PATIENCE = 5.0
"""Seconds that it waits for changes that are being made durable."""

AT_ONCE = frozenset({"tokens", "trusted_proxies", "logs", "drain"})
"""Settings that are the service's and not the pipeline's."""

BY_RESTART = frozenset({"store", "remember_ids", "listen"})


OLDEST_PYTHON = {(3, 11): 15, (3, 12): 13, (3, 13): 12, (3, 14): 3}
"""The oldest patch release of each Python in which the text of one header cannot put another one into a mail
(CVE-2026-1299, and the folding of comments), and the parameters of a header take no quadratic time to read."""


def problem_of_python(version: tuple[int, int, int]) -> str | None:
    """Return the problem of a version of Python for a service that strangers can reach; None: none is known."""
    *release, patch = version
    oldest = OLDEST_PYTHON.get((release[0], release[1]), 0)
    if patch >= oldest:
        return None
    name = ".".join(map(str, release))
    return f"Python {name}.{patch} has known vulnerabilities in what is used here; wanted {name}.{oldest} or later"


class _Incarnation:
    def __init__(self, config: ServiceConfig) -> None:
        self.config = config
        self.gate = ProviderGate()
        self.overrides: Overrides = {}
        self.states_before: States = {}
        self.notifier: Notifier
        self.may_start = trio.Event()
        self.started = trio.Event()
        self.scope = trio.CancelScope()
        self.ended = trio.Event()

    async def end(self) -> None:
        self.scope.cancel()
        await self.ended.wait()

    @property
    def longest_attempt(self) -> float:
        return max(
            own.timeout for config in self.config.notifier.channels.values() for own in config.by_provider().values()
        )


class Front:
    """Serves HTTP from before there is a service: it may have to wait for its store, or for another one to end."""

    PATIENCE = 1.0
    """Seconds that a request waits for the service."""

    def __init__(self) -> None:
        self.http = HttpServer(LargeAnswers(self))
        self._app: ASGIApp | None = None
        self._is_there = trio.Event()

    def has(self, app: ASGIApp) -> None:
        self._app = app
        self._is_there.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_alive = scope["path"] == "/healthz/live"
        if self._app is None and not is_alive:
            with trio.move_on_after(self.PATIENCE):
                await self._is_there.wait()
        if self._app is not None:
            await self._app(scope, receive, send)
        elif is_alive:
            await JSONResponse({"live": True})(scope, receive, send)
        else:
            await not_now("the service is starting")(scope, receive, send)


class Server:
    """The service in a running nursery. Make one with :meth:`open`."""

    def __init__(
        self, path: Path, config: ServiceConfig, store: Store, nursery: trio.Nursery, front: Front | None
    ) -> None:
        self.app = make_app()
        self.gate = RequestGate(self.app)
        self._front = Front() if front is None else front
        self._http = self._front.http
        self.config = config
        self.status = Status(started_at=datetime.now(UTC))
        self.metrics = Metrics()
        self.reports = DeliveryReports(store, self.metrics)
        self.overload = OverloadLog(nursery, lambda: self.notifier.in_flight, lambda: self.notifier.pipeline.has_room())
        self.breakers = BreakerWatch()
        self._dead_letters: DeadLetters | None = None
        """Outlives a pipeline, and so do its bulk runs."""
        self._access = Access(())
        """Remembers sessions and guesses, whatever the tokens are."""
        self._path = path
        self._store = store
        self._nursery = nursery
        self._changing = trio.Lock()
        self._incarnation: _Incarnation

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        config: ServiceConfig,
        *,
        front: Front | None = None,
        replace: bool = False,
        when_replaced: Callable[[str], object] | None = None,
    ) -> AsyncGenerator[Server, None]:
        """Run the pipeline for as long as the block lasts; notifications that have not ended then are parked.

        `path` is the file from which the settings are read again. `front` serves HTTP already; None: nothing does yet.
        For the other arguments and the errors see :func:`open_store`.
        """
        async with (
            open_store(config, replace=replace, when_replaced=when_replaced) as store,
            trio.open_nursery() as nursery,
        ):
            server = cls(path, config, store, nursery, front)
            server.metrics.watch_breakers(lambda: server.notifier.pipeline)
            server._incarnation = await nursery.start(server._live, config)
            await server._start(server._incarnation)
            server._front.has(server.gate)
            yield server
            nursery.cancel_scope.cancel()

    @property
    def notifier(self) -> Notifier:
        return self._incarnation.notifier

    async def listen(self) -> list[str]:
        return await self._http.listen(self.config.listen, self._nursery)

    async def _live(self, config: ServiceConfig, task_status: trio.TaskStatus[_Incarnation]) -> None:
        incarnation = _Incarnation(config)
        async with AsyncExitStack() as stack:
            tracing = None if config.tracing is None else Tracing.to_collector(config.tracing)
            if tracing is not None:
                stack.push_async_callback(partial(trio.to_thread.run_sync, tracing.close, abandon_on_cancel=True))
            channels = config.notifier.channels
            streams = RandomStreams(secrets.randbits(64))
            transports = open_transports(config.transports, channels, config.faults, streams, stack, config.accounts)
            providers = {
                channel: {
                    name: incarnation.gate.guard(provider, channels[channel].by_provider()[name].timeout)
                    for name, provider in by_name.items()
                }
                for channel, by_name in transports.items()
            }
            live_settings = await stack.enter_async_context(_open_live_settings(config, self._store))
            task_status.started(incarnation)
            await incarnation.may_start.wait()
            observe = self._hearing(tracing)
            with incarnation.scope:
                self.metrics.start_from(self._store, channels)
                async with (
                    Notifier.open(
                        with_overrides(config.notifier, incarnation.overrides),
                        providers=providers,
                        store=self._store,
                        preferences=live_settings.preferences,
                        templates=live_settings.templates,
                        subscribers=built_in_beside(config.events),
                        on_event=observe,
                    ) as notifier,
                    trio.open_nursery() as nursery,
                ):
                    incarnation.notifier = notifier
                    for transition in reloaded(notifier.pipeline, incarnation.states_before):
                        observe(transition)
                    self._use(config, notifier, live_settings, nursery)
                    incarnation.started.set()
                    await trio.sleep_forever()
            incarnation.ended.set()

    def _hearing(self, tracing: Tracing | None) -> Callable[[RecordedEvent], None]:
        def observe(event: RecordedEvent) -> None:
            self.metrics.record(event)
            self.breakers.record(event)
            logs.log_event(event)
            if tracing is not None:
                tracing.record(event)

        return observe

    def _use(
        self, config: ServiceConfig, notifier: Notifier, live_settings: LiveSettings, nursery: trio.Nursery
    ) -> None:
        self.config = config
        self._access = self._access.with_settings(config.tokens, config.trusted_proxies)
        self.status.uses_settings(datetime.now(UTC))
        self.metrics.set_faults(len(config.faults))
        own_events = OwnEvents(config.events)
        own_events.subscribe_to(notifier.bus)
        is_first = self._dead_letters is None
        if self._dead_letters is None:
            self._dead_letters = DeadLetters(notifier, nursery)
        else:
            self._dead_letters.use(notifier, nursery)
        service = Service(
            notifier=notifier,
            dead_letters=self._dead_letters,
            access=self._access,
            config=config,
            store=self._store,
            live_settings=live_settings,
            own_events=own_events,
            metrics=self.metrics,
            reports=self.reports,
            overload=self.overload,
            breakers=self.breakers,
            status=self.status,
        )
        self.app.use(service)
        for fault in config.faults:
            logger.warning(
                "FAULTS ARE INJECTED: %s on %s",
                ", ".join(sorted(fault.injects)),
                ", ".join(channel for channel in config.notifier.channels if channel in fault.channel),
                extra={"fields": {"at_s": fault.at, "for_s": fault.for_, "provider": fault.provider}},
            )
        if simulated := config.transports.simulated:
            logger.warning("NOTHING GOES OUT on %s: simulated", ", ".join(simulated))
        if config.store_kind == "memory":
            logger.warning("the store is in memory: what has not ended is lost with this process")
        logger.info(
            "started" if is_first else "going on with other settings",
            extra={"fields": {"channels": ", ".join(config.notifier.channels), "in_flight": notifier.in_flight}},
        )

    async def _start(self, incarnation: _Incarnation) -> None:
        incarnation.may_start.set()
        await incarnation.started.wait()

    async def _come_to_rest(self, incarnation: _Incarnation, at_most: float) -> None:
        cut = await incarnation.gate.close(at_most)
        if cut:
            text = "attempts are cut off at their providers, and will be made again with the same key"
            logger.warning(text, extra={"fields": {"attempts": cut}})
        # At most four actors hand an outcome on, each after the messages that came before it.
        for _ in range(4):
            await incarnation.notifier.pipeline.dead_letter_queue.ask(Peek(), block=False)

    async def reload(self) -> bool:
        async with self._changing:
            if self.status.draining:
                return False
            try:
                if self._path.is_file():
                    config = load(self._path)
                else:  # a pipe, which may keep its reader waiting for seconds, or nothing
                    config = await trio.to_thread.run_sync(load, self._path)
                await self._change(config)
            except ConfigurationError as error:
                self.status.refuses_settings(error.problems)
                self.metrics.count_reload(is_used=False)
                for problem in error.problems:
                    logger.error("settings are not used: %s", problem)
                return False
            self.metrics.count_reload(is_used=True)
            return True

    async def _change(self, config: ServiceConfig) -> None:
        for key in sorted(config.differs_from(self.config) & BY_RESTART):
            fields = {"used": _shown(getattr(self.config, key)), "in_the_file": _shown(getattr(config, key))}
            text = "%s: the change takes effect when the service is restarted"
            logger.warning(text, key, extra={"fields": fields})
        config = config.model_copy(update={key: getattr(self.config, key) for key in BY_RESTART})
        changed = config.differs_from(self.config)
        if changed - AT_ONCE:
            await self._exchange(config)
        else:
            self.config = self._incarnation.config = config
            self._access = self._access.with_settings(config.tokens, config.trusted_proxies)
            service = replace(self.app.service, config=config, access=self._access)
            self.app.use(service)
            self.status.uses_settings(datetime.now(UTC))
            await service.live_settings.reload()
        if "logs" in changed:
            logs.set_up(config.logs)
        logger.info("settings read again", extra={"fields": {"changed": sorted(changed)}})

    async def _exchange(self, config: ServiceConfig) -> None:
        new: _Incarnation = await self._nursery.start(self._live, config)
        old = self._incarnation
        await self._come_to_rest(old, old.longest_attempt + 1)
        async with self.gate.closed(REQUESTS_PATIENCE):
            with trio.move_on_after(COMMITS_PATIENCE):
                while old.notifier.pipeline.wiring.commits.under_way:
                    await trio.sleep(0.005)
            new.overrides = overrides_of(old.notifier.pipeline, old.config)
            new.states_before = states_of(old.notifier.pipeline)
            await old.end()
            await self._start(new)
            self._incarnation = new

    async def shut_down(self) -> int:
        """Accept nothing more, and end or park the notifications in flight; return how many are parked."""
        self.status.drains()
        async with self._changing:
            incarnation, drain = self._incarnation, self.config.drain
            self.status.drains(drain)
            logger.info("draining", extra={"fields": {"in_flight": incarnation.notifier.in_flight, "for_s": drain}})
            # Attempts shortly before the end get the time to come back, so that they are not sent twice.
            coming_back = min(incarnation.longest_attempt, drain / 2)
            if not await incarnation.notifier.drain(drain - coming_back):
                await self._come_to_rest(incarnation, coming_back)
            await self._http.stop()
            self.overload.end()
            left = incarnation.notifier.in_flight
            await incarnation.end()
        parked = "lost with the store in memory" if self.config.store_kind == "memory" else "parked in the store"
        if left:
            logger.warning("stopped; still in flight and %s: %d", parked, left)
        else:
            logger.info("stopped; nothing was in flight")
        return left


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        return ", ".join(f"{key}: {getattr(value, key)}" for key in sorted(value.model_fields_set))
    return str(value)


def _open_live_settings(config: ServiceConfig, store: Store) -> AbstractAsyncContextManager[LiveSettings]:
    return LiveSettings.open(
        store,
        preferences=config.preferences,
        templates=config.templates,
        suppressions=config.suppressions,
        variables={"platform": config.platform},
        channels=config.notifier.channels,
    )


async def check(path: Path, config: ServiceConfig) -> list[str]:
    """Check whether all files that the settings name can be used, and whether a DSN can be read. The check connects to
    nothing, and opens no store.

    Returns:
        The settings that cannot do what they say, each with its place in the file.

    Raises:
        ConfigurationError: some files cannot be used.
    """
    check_store(config)
    async with AsyncExitStack() as stack:
        open_transports(
            config.transports, config.notifier.channels, config.faults, RandomStreams(0), stack, config.accounts
        )
        live_settings = await stack.enter_async_context(_open_live_settings(config, MemoryStore()))
    channels = config.notifier.channels
    reaches = {channel: config.transports.reaches(channel, own) for channel, own in channels.items()}
    root = read(text_of(path), Place(str(path), 1, 1))
    problems = [
        located(root, finding.path, finding.text) for finding in lint_live(channels, reaches, are_simulated=False)
    ]
    templates = live_settings.templates.languages()
    problems += [
        located(root, ("events", name, number, "template"), f"wanted an existing template, got {rule.template!r}")
        for name, rules in config.events.items()
        for number, rule in enumerate(rules)
        if rule.template not in templates
    ]
    return [str(problem) for problem in sorted(problems, key=lambda problem: problem.sort_key)]


async def serve(path: Path, config: ServiceConfig, announce: Callable[[str], Any], *, replace: bool = False) -> int:
    """Run the service until a signal ends it; return the exit code.

    It takes its port first, then its store: by then nothing is changed where another one listens there already.

    Args:
        path: of the settings.
        config: the settings.
        announce: called with the URL as soon as it answers.
        replace: whether a living service with the same store, or node of the same name, is to drain and end first.

    Raises:
        ConfigurationError, StoreInUse, StoreError: as :func:`open_store` does; or the store has failed.
        OSError: the address to listen at is not available.
    """
    logs.set_up(config.logs)
    if (problem := problem_of_python(sys.version_info[:3])) is not None:
        logger.warning("%s, or a build with their fixes", problem)
    try:
        return await _serve(path, config, announce, replace)
    except* StoreFailed as group:
        logs.log_end(group)
        raise


async def _serve(path: Path, config: ServiceConfig, announce: Callable[[str], Any], replace: bool) -> int:
    code, is_told, ending, front = 0, False, trio.Event(), Front()
    server: Server | None = None

    async def obey(scope: trio.CancelScope) -> None:
        nonlocal code, is_told
        async for number in signals:
            if number == signal.SIGHUP:
                if server is not None:
                    nursery.start_soon(server.reload)
            elif server is None or is_told:
                code = 0 if server is None else 128 + number
                logger.warning("stopped at once")
                scope.cancel()
            else:
                is_told = True
                server.status.drains()
                ending.set()

    def replaced(by: str) -> None:
        logger.warning("another service takes over: %s", by)
        ending.set()

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(obey, nursery.cancel_scope)
            try:
                urls = await front.http.listen(bound(config.listen), nursery)
            except OSError as error:
                if not (replace and error.errno == errno.EADDRINUSE):
                    holder = file_in_use(config)
                    if holder is not None:
                        port = f"listen: {config.listen}: {os.strerror(error.errno or 0)}"
                        raise StoreInUse(f"{holder}; {port}") from None
                    raise
                urls = []  # the service to be replaced may have the address
            async with Server.open(path, config, front=front, replace=replace, when_replaced=replaced) as server:
                for url in urls or await front.http.listen(bound(config.listen), nursery):
                    logger.info("listening", extra={"fields": {"url": url}})
                    announce(url)
                await ending.wait()
                await server.shut_down()
            nursery.cancel_scope.cancel()
    return code
