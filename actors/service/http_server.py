"""Serves an application over HTTP."""

from __future__ import annotations

import logging
import socket
from functools import partial
from typing import cast

import hypercorn.trio
import trio
from hypercorn import Config
from hypercorn.typing import ASGIFramework
from starlette.types import ASGIApp

logger = logging.getLogger("retrylab.service")

CONNECTIONS_PATIENCE = 3.0
"""Seconds that the end waits for connections."""


class HttpServer:
    """Serves one application from `listen` on, until `stop` or the end of the nursery."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._runs = False
        self._stop, self._stopped = trio.Event(), trio.Event()

    async def listen(self, address: str, nursery: trio.Nursery) -> list[str]:
        """Serve at an address from now on; return the URLs.

        Raises:
            OSError: the address is not available.
        """
        serve = partial(
            hypercorn.trio.serve,
            cast(ASGIFramework, self._app),
            _hypercorn(address),
            shutdown_trigger=self._stop.wait,
            mode="asgi",
        )
        self._runs = True

        async def serve_and_say(task_status: trio.TaskStatus[list[str]]) -> None:
            try:
                await serve(task_status=task_status)
            finally:
                self._stopped.set()

        urls: list[str] = await nursery.start(serve_and_say)
        logger.info("listening", extra={"fields": {"url": ", ".join(urls)}})
        return urls

    async def stop(self) -> None:
        """Take no more connections, and wait until those that there are have ended."""
        self._stop.set()
        if self._runs:
            await self._stopped.wait()


def _hypercorn(address: str) -> Config:
    settings = Config()
    settings.bind = [f"fd://{_bound(address).detach()}"]
    settings.errorlog = logging.getLogger("hypercorn.error")
    settings.include_server_header = False
    settings.graceful_timeout = CONNECTIONS_PATIENCE
    return settings


def _bound(address: str) -> socket.socket:
    """Return a socket that listens at an address; Hypercorn would leave one open where it cannot."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family, _, _, _, place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.create_server(place, family=family)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
