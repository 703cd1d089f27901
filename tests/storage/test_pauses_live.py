"""Pauses after hints where several nodes share PostgreSQL: what one is told by a provider, the others know soon."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from shelves import until

from actors import NotificationFailed, NotificationSent, Notifier, SendNotification
from actors.storage.postgres.store import PostgresStore
from actors.transports.webhook import WebhookProvider

pytestmark = pytest.mark.integration

HINT_S = 8.0
KEY = "whsec_" + "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"


class Receiver:
    """Answers 429 with a Retry-After while it is busy, and counts."""

    def __init__(self) -> None:
        self.came_at: list[float] = []
        self.busy_until: float | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        async with trio.open_nursery() as nursery:
            (listener, *_) = await nursery.start(partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1"))
            yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/hook"
            nursery.cancel_scope.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        now = trio.current_time()
        self.came_at.append(now)
        if self.busy_until is None:
            self.busy_until = now + HINT_S
        answer = b"429 Too Many" if now < self.busy_until else b"200 OK"
        await stream.send_all(
            b"HTTP/1.1 %s\r\nRetry-After: %d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % (answer, HINT_S)
        )
        await stream.aclose()


async def test_the_other_nodes_start_nothing_until_the_hint_is_over(dsn):
    """Each attempt that comes before all three nodes know of the hint is listed as failed; none comes after that."""
    receiver, events = Receiver(), []
    settings = {"channels": {"webhook": {"retry": {"max_attempts": 9, "after_retry_after": "host"}}}, "drain": 0}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(receiver.listening())
        nodes = []
        for name in ("one", "two", "three"):
            provider: Any = WebhookProvider(
                {"signing_keys": [KEY], "allow_networks": ["127.0.0.0/8"], "allow_http": True}
            )
            await stack.enter_async_context(provider)
            store = await stack.enter_async_context(PostgresStore.open(dsn, node=name))
            opened = Notifier.open(settings, providers={"webhook": provider}, store=store, on_event=events.append)
            nodes.append(await stack.enter_async_context(opened))
        lanes = [node.pipeline.wiring.stages["webhook"].lanes[0] for node in nodes]  # type: ignore[attr-defined]
        await nodes[0].send(_hook(url, "first"))
        await until(lambda: receiver.came_at)
        answered_at = receiver.came_at[0]

        def all_know() -> bool:
            return all(lane.pauses.until_ns("127.0.0.1", 0) for lane in lanes)

        number, listed = 0, None
        while trio.current_time() < answered_at + HINT_S - 1:
            for node in nodes:
                await node.send(_hook(url, f"n{number}"))
                number += 1
            await trio.sleep(0.3)
            if listed is None and all_know():
                await until(lambda: not any(lane.in_flight for lane in lanes))
                listed = len(receiver.came_at)
        assert len(receiver.came_at) == listed
        failed = [event for event in events if isinstance(event, NotificationFailed)]
        assert len(failed) == listed
        await until(lambda: sum(isinstance(event, NotificationSent) for event in events) == number + 1)


def _hook(url: str, name: str) -> SendNotification:
    return SendNotification(notification_id=name, channel="webhook", recipient=url, message="Hi")
