"""A thousand hosts on loopback, of which some are bad, and a clock that does not wait: real connections, no threads.

trio's `MockClock` goes on only when nothing can be read or written and no task can run. What is sent over loopback can
be read at once, so that no time goes by but that which servers and settings ask for.
"""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio
import trio.testing
from http_servers import HANG, HttpServer, Reply, Said, http_server


class Resolver(trio.abc.HostnameResolver):
    """Says that each name is this machine; of a name that begins with ``dead`` it says nothing."""

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        if host.startswith(b"dead"):
            await trio.sleep_forever()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


def clock() -> trio.testing.MockClock:
    """Return a clock that goes on when nothing has come for 2 ms."""
    return trio.testing.MockClock(autojump_threshold=0.002)


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port at which connections are refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


class Hosts:
    def __init__(self, server: HttpServer, refusing: int) -> None:
        self.server = server
        self._refusing = refusing

    def url(self, host: str) -> str:
        """Return a URL at a host: one whose name begins with ``refuses`` takes no connections."""
        return f"http://{host}:{self._refusing if host.startswith('refuses') else self.server.port}/"


@asynccontextmanager
async def hosts_on_loopback(status: int, takes: float) -> AsyncIterator[Hosts]:
    """Serve all hosts; those whose name begins with ``hangs`` never answer, all else after `takes` seconds."""

    def reply(request: Any) -> Said:
        return HANG if request.headers["host"].startswith("hangs") else Reply(status, after=takes)

    trio.socket.set_custom_hostname_resolver(Resolver())
    async with http_server(reply) as server:
        with closed_port() as refusing:
            yield Hosts(server, refusing)
