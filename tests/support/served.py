"""A service under test, in this process: its application is asked directly, its providers do what a test says."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from actors.domain.attempts import Attempt, Provider
from actors.outcomes import Outcome, Sent
from actors.service.config import load
from actors.service.serve import Server

SHOP, ANN, OTTO = "shop-0123456789abcdef", "ann-0123456789abcdef", "otto-0123456789abcdef"
TOKENS = [
    {"name": "shop", "role": "ingest", "secret": SHOP},
    {"name": "ann", "role": "reader", "secret": ANN},
    {"name": "otto", "role": "operator", "secret": OTTO},
]
PLACED = {
    "type": "OrderPlaced",
    "order_id": "7",
    "user_id": "ann",
    "customer_email": "ann@example.com",
    "customer_phone": "+4930123456",
    "total_amount": 12.5,
    "placed_at": "2026-01-01T00:00:00Z",
}


def settings(**changes: Any) -> dict[str, Any]:
    """Return the settings of a service with emails and SMS that go nowhere, and with these changes."""
    simulated = {"email": {"simulated": True}, "sms": {"simulated": True}}
    return {"store": "memory", "tokens": TOKENS, "transports": simulated, "drain": "5s"} | changes


def write(path: Path, **changes: Any) -> Path:
    """Write them to a file; JSON is YAML."""
    path.write_text(json.dumps(settings(**changes)))
    return path


def email(number: int | str, **fields: Any) -> dict[str, Any]:
    return {
        "notification_id": f"n-{number}",
        "channel": "email",
        "recipient": "ann@example.com",
        "message": "Hello",
    } | fields


class Scripted(Provider):
    """Does what a function says with each attempt, as a transport with real I/O; takes everything otherwise."""

    def __init__(self, deliver: Callable[[Attempt], Any] | None = None) -> None:
        self.deliver = deliver
        self.taken: list[str] = []
        """The ids of what was sent, in order."""
        self.attempts: list[tuple[str, int]] = []
        """The id and number of each attempt that has come back, in order."""

    def attempt(self, attempt: Attempt, now_ns: int) -> Any:
        async def send() -> Outcome:
            outcome = Sent() if self.deliver is None else await self.deliver(attempt)
            self.attempts.append((attempt.command.notification_id, attempt.number))
            if isinstance(outcome, Sent):
                self.taken.append(attempt.command.notification_id)
            return outcome

        return send


class Served:
    """The service, and a client that asks it."""

    def __init__(self, server: Server, client: httpx2.AsyncClient, path: Path) -> None:
        self.server = server
        self.client = client
        self.path = path

    async def get(self, path: str, token: str | None = OTTO) -> httpx2.Response:
        return await self.client.get(path, headers=_headers(token))

    async def post(self, path: str, content: Any, token: str | None = SHOP) -> httpx2.Response:
        return await self.client.post(path, json=content, headers=_headers(token))

    async def metric(self, name: str) -> float | None:
        """Return the metric that is written like this in ``/metrics``; None: there is none."""
        for line in (await self.get("/metrics", None)).text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return None

    async def change(self, **changes: Any) -> bool:
        """Write other settings to the file, and have them read."""
        write(self.path, **changes)
        return await self.server.reload()


def _headers(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}


@asynccontextmanager
async def service(tmp_path: Path, **changes: Any) -> AsyncIterator[Served]:
    """Run a service with these settings."""
    path = write(tmp_path / "service.yaml", **changes)
    async with (
        Server.open(path, load(path)) as server,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=server.gate), base_url="http://service") as client,
    ):
        root = logging.getLogger()
        level, handlers = root.level, root.handlers[:]
        try:
            yield Served(server, client, path)
        finally:
            root.setLevel(level)
            root.handlers[:] = handlers
