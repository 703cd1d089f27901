"""A notifier in an asyncio program: trio, which it runs on, is a guest of the program's loop."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import trio

from actors.domain.notification_state import NotificationState
from actors.errors import ActorSystemError, NotifierClosed
from actors.hosts.guest import Guest, on_asyncio, running_loop, set_done, trio_guest
from actors.hosts.opening import Hosted, N, Openers, Reply
from actors.kernel.async_handlers import is_async
from actors.messages import NotificationChannel, Priority, SendNotification
from actors.pipeline.event_bus import Subscriber
from actors.pipeline.orders import Acceptance

T = TypeVar("T")
S = TypeVar("S", bound=Subscriber)


class AsyncioNotifier(Hosted[N]):
    """A notifier in an asyncio loop, for the tasks of that loop; make one with :meth:`Notifier.open_asyncio`.

    A task that is cancelled while it waits for an answer loses nothing: its command is on its way.

    Each method raises the errors of the method of :class:`Notifier` with its name, and ActorSystemError in any loop,
    thread or process but the one that has opened the notifier.
    """

    def __init__(self, inside: N, guest: Guest) -> None:
        super().__init__(inside)
        self._guest = guest
        self._loop = guest.loop
        self._is_closed = False

    async def publish(self, event: Any, *, traceparent: str | None = None) -> None:
        """Publish an event, and wait until its notifications are accepted."""
        await self._ask(functools.partial(self.inside.bus.publish, event, traceparent=traceparent))

    async def send(self, command: SendNotification, *, traceparent: str | None = None) -> Acceptance:
        """Send a command, and return its acceptance once that is durable."""
        return await self._ask(functools.partial(self.inside.bus.send, command, traceparent=traceparent))

    async def cancel(self, notification_id: str) -> bool:
        """Cancel a notification that waits, and tell whether it is cancelled, once that is durable."""
        return await self._ask(functools.partial(self.inside.bus.cancel, notification_id))

    async def state(self, notification_id: str) -> NotificationState | None:
        return await self.run(self.inside.state, notification_id)

    async def operate_breaker(
        self, channel: NotificationChannel | str, override: Any, provider: str | None = None
    ) -> bool:
        return await self.run(self.inside.operate_breaker, channel, override, provider)

    async def wait_until_quiet(self, timeout: float | None = math.inf) -> bool:
        return await self.run(self.inside.wait_until_quiet, timeout)

    async def drain(self, timeout: float | None) -> bool:
        """Wait as :meth:`wait_until_quiet` does, but not for retries and the like after more than `timeout` seconds."""
        return await self.run(self.inside.drain, timeout)

    def subscribe(self, *event_types: type, priority: Priority | str | None = None) -> Callable[[S], S]:
        """Have a function called with each event of these types; see :meth:`EventBus.subscribe`.

        An async one runs in asyncio, as a task of its own.
        """
        self._check_host()
        subscribe = self.inside.bus.subscribe(*event_types, priority=priority)

        def subscribe_here(function: S) -> S:
            subscribe(in_asyncio(self._loop, function))
            return function

        return subscribe_here

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run an async function in trio, such as one that needs the notifier `inside`, and return its result.

        A caller that is cancelled cancels the function, and waits for its end. The function is cancelled, too, if it
        still runs when the last notifier of the loop is closed; then the caller gets NotifierClosed.
        """
        self._check_task()
        if self._is_closed:
            raise NotifierClosed
        return await self._guest.spawn(function, *args).wait()

    def _check_host(self) -> None:
        self._check_process()
        if running_loop() is not self._loop:
            raise ActorSystemError("this notifier is open in another event loop; open another one here")

    def _check_task(self) -> None:
        self._check_host()
        if trio.lowlevel.in_trio_task():
            raise ActorSystemError("this is a task of trio's: await the notifier `inside` there")

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        self._check_task()
        answered: asyncio.Future[None] = self._loop.create_future()
        answer: Reply[T] = Reply(functools.partial(set_done, answered))
        answer.ask(question)
        await answered
        return answer.result()


def in_asyncio(loop: asyncio.AbstractEventLoop, function: Any) -> Any:
    """Return a function for trio to call: an async function runs in asyncio, a plain one stays as it is."""
    if not is_async(function):
        return function

    @functools.wraps(function)
    async def run(*args: Any) -> Any:
        return await on_asyncio(loop, function, *args)

    return run


@asynccontextmanager
async def open_asyncio(
    open_notifier: Callable[..., AbstractAsyncContextManager[N]], openers: Openers, notify: Any, options: dict[str, Any]
) -> AsyncGenerator[AsyncioNotifier[N], None]:
    """Open a notifier on trio as a guest of the running loop; see :meth:`Notifier.open_asyncio`."""
    openers.check()
    owner = asyncio.current_task(running_loop())
    assert owner is not None
    async with trio_guest() as guest:
        opened: asyncio.Future[N] = guest.loop.create_future()
        leave = trio.Event()
        open_with = functools.partial(open_notifier, notify=in_asyncio(guest.loop, notify), **options)
        task = guest.spawn(openers.hold_open, open_with, opened.set_result, leave)
        try:
            await asyncio.wait((opened, task.ended), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            await task.wait_for_end()
            raise
        if not opened.done():
            task.result()
        notifier = AsyncioNotifier(opened.result(), guest)
        has_failed = False

        def fail(_: object) -> None:
            nonlocal has_failed
            has_failed = True
            owner.cancel("the notifier has failed")  # as a TaskGroup does

        task.ended.add_done_callback(fail)
        raised: BaseException | None = None
        try:
            yield notifier
            leave.set()
        except BaseException as error:
            raised = error
            task.cancel()
        task.ended.remove_done_callback(fail)
        try:
            await task.wait_for_end()
        finally:
            notifier._is_closed = True
        if has_failed:
            owner.uncancel()
        if task.failure is not None:
            raise task.failure from (None if isinstance(raised, asyncio.CancelledError) else raised)
        if raised is not None:
            raise raised
