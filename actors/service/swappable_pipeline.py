"""The two gates of a service whose pipeline is exchanged while it runs: one to the providers, one for requests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.domain.attempts import Attempt, Provider, WrappedProvider
from actors.kernel.effects import Effect, Foreseen, Promise
from actors.outcomes import Outcome
from actors.service.http.bodies import not_now

PATIENCE = 0.9
"""The share of its time limit after which an attempt behind the closed gate becomes urgent."""


class ProviderGate:
    """The gate of attempts on their way to the providers of one pipeline. Once closed it stays closed.

    Attempts at a provider may come back. Later attempts wait, unsent, until their pipeline is gone, and the next
    pipeline takes them up: so nothing is sent twice. A waiting attempt's time limit goes on; when the first waiting
    attempt nears its limit, the attempts at providers have no more time.
    """

    def __init__(self) -> None:
        self.under_way = 0
        self._closed = False
        self._changed = trio.Event()
        self._urgent = trio.Event()

    def guard(self, provider: Provider, timeout: float) -> Provider:
        """Return a provider that is asked through this gate; `timeout` is the time limit of an attempt, in seconds."""
        return _Guarded(provider, self, timeout)

    async def close(self, at_most: float) -> int:
        """Let nothing pass any more, and wait `at_most` seconds for the attempts at providers; return how many are left
        there."""
        self._closed = True
        with trio.move_on_after(at_most):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_urgent, nursery.cancel_scope)
                while self.under_way > 0:
                    await self._changed.wait()
                nursery.cancel_scope.cancel()
        return self.under_way

    async def _until_urgent(self, scope: trio.CancelScope) -> None:
        await self._urgent.wait()
        scope.cancel()

    async def passing(self, call: Callable[[], Awaitable[Outcome]], timeout: float) -> Outcome:
        """Make an attempt, unless the gate is closed; then wait until its pipeline has ended."""
        if self._closed:
            await trio.sleep(timeout * PATIENCE)
            self._urgent.set()
            await trio.sleep_forever()
        self.under_way += 1
        try:
            return await call()
        finally:
            self.under_way -= 1
            self._changed.set()
            self._changed = trio.Event()


class _Guarded(WrappedProvider):
    def __init__(self, provider: Provider, gate: ProviderGate, timeout: float) -> None:
        super().__init__(provider)
        self._attempt = provider.attempt
        self._gate = gate
        self._timeout = timeout

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        effect = self._attempt(attempt, now_ns)
        if isinstance(effect, (Foreseen, Promise)) or not callable(effect):
            return effect  # such an effect needs no gate
        call: Callable[[], Awaitable[Any]] = effect
        return lambda: self._gate.passing(call, self._timeout)


class RequestGate:
    """ASGI middleware: requests wait while the pipeline is exchanged, and the exchange waits for requests inside.

    A request whose body is still being read is not inside: its client decides how long that takes. It goes in when
    the body is complete, perhaps to a newer pipeline than at its beginning. Requests to `open_paths`, which only read,
    are always let in.
    """

    def __init__(self, app: ASGIApp, open_paths: tuple[str, ...] = ("/healthz", "/metrics")) -> None:
        self.app = app
        self._open_paths = open_paths
        self._inside: set[trio.CancelScope] = set()
        self._opened: trio.Event | None = None
        """Set when requests may go in again; None: they may."""
        self._emptied = trio.Event()

    @asynccontextmanager
    async def closed(self, patience: float) -> AsyncGenerator[None, None]:
        """Keep all requests out for as long as the block lasts; first wait until none is inside. After `patience`
        seconds those inside are sent away, with the advice to come again."""
        self._opened = trio.Event()
        try:
            with trio.move_on_after(patience):
                await self._until_empty()
            for scope in list(self._inside):
                scope.cancel()
            await self._until_empty()
            yield
        finally:
            self._opened.set()
            self._opened = None

    async def _until_empty(self) -> None:
        while self._inside:
            self._emptied = trio.Event()
            await self._emptied.wait()

    async def _enter(self, inside: trio.CancelScope) -> None:
        while self._opened is not None:
            await self._opened.wait()
        self._inside.add(inside)

    def _leave(self, inside: trio.CancelScope) -> None:
        self._inside.discard(inside)
        if not self._inside:
            self._emptied.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self._open_paths):
            await self.app(scope, receive, send)
            return
        has_answered = has_body = False
        inside = trio.CancelScope()

        async def send_and_note(message: Any) -> None:
            nonlocal has_answered
            has_answered = True
            await send(message)

        async def receive_outside() -> Any:
            nonlocal has_body
            if has_body or has_answered:
                return await receive()
            self._leave(inside)
            message = await receive()
            has_body = not message.get("more_body", False)
            await self._enter(inside)
            return message

        await self._enter(inside)
        try:
            with inside:
                await self.app(scope, receive_outside, send_and_note)
        finally:
            self._leave(inside)
        if inside.cancelled_caught and not has_answered:
            await not_now("the service was reading its settings")(scope, receive, send)
