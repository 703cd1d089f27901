"""The notifier as its hosts know it; stores and providers are opened where it runs, by functions."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from actors.domain.attempts import Provider
from actors.domain.notification_state import NotificationState
from actors.domain.store import Store
from actors.errors import ActorSystemError, ConfigurationError
from actors.faults.build import Providers
from actors.messages import DeadLetterMessage, NotificationChannel, NotificationSent
from actors.pipeline.event_bus import EventBus

StoreOpener: TypeAlias = "Callable[[], AbstractAsyncContextManager[Store]]"
"""Opens a store: ``lambda: SqliteStore.open("web.db")``."""

ProviderOpener: TypeAlias = "Callable[[], Provider | AbstractAsyncContextManager[Provider]]"
"""Opens a provider, or makes one: ``lambda: EmailProvider(settings)``."""

ProviderOpeners: TypeAlias = "Mapping[NotificationChannel, ProviderOpener | Mapping[str, ProviderOpener]]"
"""By channel; where a channel has several, by name in it, its own being called ``primary``."""


class OpenNotifier(Protocol):
    """A notifier on trio, as its hosts know it."""

    @property
    def bus(self) -> EventBus:
        """Where events are published and commands are sent."""

    @property
    def state(self) -> Callable[[str], Awaitable[NotificationState | None]]:
        """Tells where the notification of an id is."""

    @property
    def operate_breaker(self) -> Callable[..., Awaitable[bool]]:
        """Overrides breakers."""

    @property
    def wait_until_quiet(self) -> Callable[[float | None], Awaitable[bool]]:
        """Waits until nothing is in flight, so many seconds at most; None: as long as it takes."""

    @property
    def drain(self) -> Callable[[float | None], Awaitable[bool]]:
        """Waits until nothing is in flight, or due within so many seconds."""

    @property
    def in_flight(self) -> int:
        """How many notifications are accepted and have not ended."""

    @property
    def sent_notifications(self) -> list[NotificationSent]:
        """The latest that were sent."""

    @property
    def dead_letter_queue(self) -> list[DeadLetterMessage]:
        """The dead letters, oldest first."""


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


def check_openers(store: Any, providers: Any) -> None:
    """Report each argument that is no function that opens a store or a provider.

    Raises:
        ConfigurationError: all problems.
    """
    examples = {"store": "SqliteStore.open(path)", "providers": "EmailProvider(settings)"}
    problems = [
        f"{name}: wanted a function that opens it: lambda: {examples[name.split('.')[0]]}, got {opener!r}"
        for name, opener in [("store", store), *_flat("providers", providers)]
        if opener is not None and not _opens(opener)
    ]
    if problems:
        raise ConfigurationError(problems)


def _opens(opener: Any) -> bool:
    return callable(opener) and not isinstance(opener, AbstractAsyncContextManager)  # some are callable, as decorators


def _flat(name: str, openers: Any) -> list[tuple[str, Any]]:
    if not isinstance(openers, Mapping):
        return [(name, openers)]
    return [entry for key, below in openers.items() for entry in _flat(f"{name}.{key}", below)]


async def open_all(
    stack: AsyncExitStack, store: StoreOpener | None, providers: ProviderOpeners | ProviderOpener | None
) -> dict[str, Any]:
    """Open a store and providers until the stack is left, and return them as :meth:`Notifier.open` takes them."""
    opened: dict[str, Any] = {}
    if store is not None:
        opened["store"] = await stack.enter_async_context(store())
    if providers is not None:
        opened["providers"] = await _open_providers(stack, providers)
    return opened


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
