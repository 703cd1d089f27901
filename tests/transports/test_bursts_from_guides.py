"""A burst to a healthy server, with the defaults: no failed attempt, no breaker moves, nothing lost."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from effort import sliced
from http_servers import HANG, Reply, http_server
from smtp_servers import Script, mail_server

from actors import EmailProvider, Notifier, SendNotification, WebhookProvider
from actors.messages import (
    BreakerTransitioned,
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
)

EMAIL, WEBHOOK = NotificationChannel.EMAIL, NotificationChannel.WEBHOOK
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class SlowScript(Script):
    """Takes its time for every mail; knows how many it works on at once."""

    def __init__(self, takes: float) -> None:
        super().__init__()
        self._takes = takes
        self._under_way = self.most_at_once = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        await asyncio.sleep(self._takes)
        self._under_way -= 1
        return await super().handle_DATA(server, session, envelope)


async def burst(
    channel: NotificationChannel, provider: Any, settings: Mapping[str, Any], recipients: list[str]
) -> list[Any]:
    """Send one to each recipient at once; return what went wrong."""
    wrong: list[Any] = []

    def hear(event: Any) -> None:
        if isinstance(event, (NotificationFailed, NotificationMovedToDeadLetter, BreakerTransitioned)):
            wrong.append(event)
        sent.extend([event] if isinstance(event, NotificationSent) else [])

    sent: list[NotificationSent] = []
    async with Notifier.open(
        {"channels": {str(channel): settings}, "drain": 0}, providers={channel: provider}, on_event=hear
    ) as notifier:
        for number, recipient in enumerate(recipients):
            await notifier.send(
                SendNotification(notification_id=str(number), channel=channel, recipient=recipient, message="Hello")
            )
        with trio.move_on_after(500):
            await notifier.wait_until_quiet()
    if not wrong:
        assert len(sent) == len(recipients)
    return wrong


@pytest.mark.parametrize(
    ("size", "takes", "patience", "settings"),
    sliced(
        [
            (100, 0.1, 0.5, {}),
            (100, 0.1, 0.5, {"max_in_flight": 40, "timeout": 2}),
            (100, 0.1, 0.5, {"max_in_flight": None, "circuit_breaker": {"failure_threshold": 1}}),
            pytest.param(2000, 0.05, 5, {}, marks=pytest.mark.slow),
        ],
        6,
    ),
)
async def test_mails_at_once_to_a_server_with_four_connections(size, takes, patience, settings):
    """Each case has to wait for longer than the `connect_timeout`, which was a failure of the provider."""
    assert size * takes / 4 > patience
    with mail_server(SlowScript(takes)) as server:
        async with EmailProvider(server.settings(connect_timeout=patience)) as provider:
            wrong = await burst(EMAIL, provider, settings, [f"u{number}@example.com" for number in range(size)])
        assert wrong == []
        assert len(server.script.mails) == size
        assert server.script.most_at_once == 4


@pytest.mark.parametrize(
    ("size", "connections", "takes", "patience", "settings"),
    [
        (60, 6, 0.1, 0.5, {}),
        (60, 6, 0.1, 0.5, {"max_in_flight": None, "circuit_breaker": {"failure_threshold": 1}}),
        pytest.param(2500, 100, 0.5, 5, {}, marks=pytest.mark.slow),
    ],
)
async def test_webhooks_at_once(size, connections, takes, patience, settings):
    assert size * takes / connections > patience
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(http_server([Reply(200, after=takes)]))
        transport = {
            "signing_keys": [KEY],
            "allow_networks": ["127.0.0.0/8"],
            "allow_http": True,
            "connections": connections,
            "connect_timeout": patience,
        }
        provider = await stack.enter_async_context(WebhookProvider(transport))
        wrong = await burst(WEBHOOK, provider, settings, [server.url] * size)
        assert wrong == []
        assert len(server.requests) == size
        assert server.connections <= connections


async def test_an_endpoint_that_hangs_keeps_nobody_elses_webhook_waiting():
    """Its webhooks come first, and more than there are connections; they end long after those of others."""
    ended: list[str] = []

    def hear(event: Any) -> None:
        if isinstance(event, (NotificationFailed, NotificationSent)):
            ended.append(event.notification_id)

    def command(number: int, url: str) -> SendNotification:
        return SendNotification(notification_id=f"{url}/{number}", channel=WEBHOOK, recipient=url, message="Hello")

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            http_server(lambda request: HANG if "localhost" in request.headers["host"] else Reply(200))
        )
        hanging = f"http://localhost:{server.port}"
        provider = await stack.enter_async_context(
            WebhookProvider(
                {
                    "signing_keys": [KEY],
                    "allow_networks": ["127.0.0.0/8", "::1/128"],
                    "allow_http": True,
                    "connections": 12,
                }
            )
        )
        settings = {"channels": {"webhook": {"timeout": "10m"}}, "drain": 0}
        notifier = await stack.enter_async_context(
            Notifier.open(settings, providers={WEBHOOK: provider}, on_event=hear)
        )
        for number in range(40):
            await notifier.send(command(number, hanging))
        await server.hangs.wait()
        for number in range(40):
            await notifier.send(command(number, server.url))
        with trio.move_on_after(30):
            while len(ended) < 40:
                await trio.sleep(0.01)
        assert sorted(ended) == sorted(f"{server.url}/{number}" for number in range(40))
