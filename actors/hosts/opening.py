"""The notifier as its hosts know it; stores and providers are opened where it runs, by functions."""

from __future__ import annotations

import functools
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import trio

from actors.domain.attempts import Provider
from actors.domain.notification_state import NotificationState
from actors.domain.store import Store
from actors.errors import ActorSystemError, ConfigurationError, NotifierClosed
from actors.faults.build import Providers
from actors.kernel.futures import Future
from actors.messages import DeadLetterMessage, NotificationChannel, NotificationSent
from actors.pipeline.event_bus import EventBus

StoreOpener: TypeAlias = "Callable[[], AbstractAsyncContextManager[Store]]"
"""Opens a store: ``lambda: SqliteStore.open("web.db")``."""

ProviderOpener: TypeAlias = "Callable[[], Provider | AbstractAsyncContextManager[Provider]]"
"""Opens a provider, or makes one: ``lambda: EmailProvider(settings)``."""

_OfChannel: TypeAlias = "ProviderOpener | Mapping[str, ProviderOpener]"
ProviderOpeners: TypeAlias = "Mapping[NotificationChannel, _OfChannel] | Mapping[str, _OfChannel]"
"""By channel; where a channel has several, by name in it, its own being called ``primary``."""


class OpenNotifier(Protocol):
    """A notifier on trio, as its hosts know it; :class:`~actors.notifier.Notifier` says what each of these does."""

    @property
    def bus(self) -> EventBus: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def sent_notifications(self) -> list[NotificationSent]: ...
    @property
    def dead_letter_queue(self) -> list[DeadLetterMessage]: ...

    def operate_breaker(
        self, channel: NotificationChannel | str, override: Any, provider: str | None = None
    ) -> Awaitable[bool]: ...
    async def state(self, notification_id: str) -> NotificationState | None: ...
    async def wait_until_quiet(self, timeout: float | None = ...) -> bool: ...
    async def drain(self, timeout: float | None) -> bool: ...


T = TypeVar("T")
N = TypeVar("N", bound=OpenNotifier)


class Hosted(Generic[N]):
    """The part that the notifiers of all hosts have in common."""

    def __init__(self, inside: N) -> None:
        self.inside = inside
        """The notifier itself, for functions that `run` runs in trio."""
        self._pid = os.getpid()

    @property
    def in_flight(self) -> int:
        return self.inside.in_flight

    @property
    def sent_notifications(self) -> list[NotificationSent]:
        return self.inside.sent_notifications

    @property
    def dead_letter_queue(self) -> list[DeadLetterMessage]:
        return self.inside.dead_letter_queue

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise ActorSystemError(
                "this notifier is open in the process that this one was forked from; open another one here"
            )


class Reply(Generic[T]):
    """The outcome of a call in the notifier's trio, for a caller elsewhere, whom `wake` wakes up."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._value: T
        self._error: BaseException | None = None

    def ask(self, question: Callable[[], Awaitable[T]]) -> None:
        """Ask the notifier, and take its answer; in the notifier's thread."""
        try:
            future = question()
        except Exception as error:
            self.fail(error)
        else:
            assert isinstance(future, Future)
            future.when_done(functools.partial(self._take, future))

    def _take(self, future: Future[T]) -> None:
        try:
            self._value = future.get(timeout=0)
        except Exception as error:
            self._error = error
        self._wake()

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> None:
        try:
            self._value = await function(*args)
        except trio.Cancelled:  # trio ends; no one has cancelled the caller
            self._error = NotifierClosed("the notifier was closed before the outcome of this was known")
        except BaseException as error:  # for the caller; trio itself goes on
            self._error = error
        self._wake()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._wake()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value


class Openers(NamedTuple):
    """The functions that open the store and the providers where the notifier runs; None: the notifier's defaults."""

    store: StoreOpener | None
    providers: ProviderOpeners | ProviderOpener | None

    def check(self) -> None:
        """Report every opener that is no function; raise ConfigurationError with all problems."""
        examples = {"store": "SqliteStore.open(path)", "providers": "EmailProvider(settings)"}
        problems = [
            f"{name}: wanted a function that opens it: lambda: {examples[name.split('.')[0]]}, got {opener!r}"
            for name, opener in [("store", self.store), *_flat("providers", self.providers)]
            if opener is not None and not _opens(opener)
        ]
        if problems:
            raise ConfigurationError(problems)

    async def hold_open(
        self,
        open_notifier: Callable[..., AbstractAsyncContextManager[N]],
        opened: Callable[[N], object],
        leave: trio.Event,
    ) -> None:
        """Open all of it and a notifier, give that to `opened`, and keep it open until `leave` is set."""
        async with AsyncExitStack() as stack:
            resources: dict[str, Any] = {}
            if self.store is not None:
                resources["store"] = await stack.enter_async_context(self.store())
            if self.providers is not None:
                resources["providers"] = await _open_providers(stack, self.providers)
            opened(await stack.enter_async_context(open_notifier(**resources)))
            await leave.wait()


def _opens(opener: Any) -> bool:
    return callable(opener) and not isinstance(opener, AbstractAsyncContextManager)  # some are callable, as decorators


def _flat(name: str, openers: Any) -> list[tuple[str, Any]]:
    if not isinstance(openers, Mapping):
        return [(name, openers)]
    return [entry for key, below in openers.items() for entry in _flat(f"{name}.{key}", below)]


async def _open_providers(
    stack: AsyncExitStack, openers: ProviderOpeners | ProviderOpener | Mapping[str, ProviderOpener]
) -> Providers | Provider:
    if isinstance(openers, Mapping):
        opened: Any = {key: await _open_providers(stack, below) for key, below in openers.items()}
        return opened  # type: ignore[no-any-return]
    provider = openers()
    if isinstance(provider, AbstractAsyncContextManager):
        return await stack.enter_async_context(provider)
    return provider
