"""Connections over HTTP: kept for the next request unless something is left on them, and shared between hosts.

What a server sends behind its answer would be taken for the answer to the next request, which may be another tenant's
(response desynchronisation). So a connection on which anything is unread, in the socket, in TLS or in the parser, is
closed before it is used again. What comes only after the next request has gone out cannot be told from its answer.
"""

from __future__ import annotations

import ssl
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

import trio

from actors.optional_dependencies import needs

with needs("live"):
    import httpcore2

SPARE = 4
"""A host gets no more connections than so many times the free ones: however many it has, another host gets some."""


class CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects over another network, and looks at each connection before a request goes out over it."""

    def __init__(self, network: httpcore2.AsyncNetworkBackend) -> None:
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        return CheckedStream(await self._network.connect_tcp(host, port, timeout, local_address, socket_options))


class CheckedStream(httpcore2.AsyncNetworkStream):
    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._is_answered = False
        self.is_spoiled = False
        """Whether something was read that no request has asked for."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._is_answered = True
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it; raise ConnectionNotAvailable where a request begins, and something behind the answer before
        it is unread; the pool closes this connection and takes another one."""
        if self._is_answered:
            self._is_answered = False
            if self.is_spoiled or self._has_unread():
                raise httpcore2.ConnectionNotAvailable
        await self._stream.write(buffer, timeout)

    def _has_unread(self) -> bool:
        if self._stream.get_extra_info("is_readable"):
            return True
        tls = self._stream.get_extra_info("ssl_object")
        if tls is None:
            return False
        try:
            tls.read(1)  # bytes received with the answer, in a record of their own; this never waits
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            return True
        return True

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return CheckedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def check_behind(response: httpcore2.Response) -> None:
    """Keep a connection from being used again whose answer, which has been read to its end, has something behind it."""
    stream: Any = response.stream
    try:
        # The library keeps what its parser has left over, and has no other way to ask for it.
        left = stream._stream._connection._h11_state.trailing_data[0]
    except AttributeError:
        left = b"?"  # not to be known: better a new connection each time than another one's answer
    if left:
        response.extensions["network_stream"].is_spoiled = True


class HostShares:
    """The connections that each host may have.

    One host may have all of `connections` at once; a quarter more is there for the others. The number of free ones
    bounds what each host may have (:data:`SPARE`), so that several slow hosts together leave some free, too.
    """

    def __init__(self, connections: int) -> None:
        self.total = self._free = connections + -(-connections // SPARE)
        """The most connections to all hosts together."""
        self._per_host = connections
        self._used: Counter[bytes] = Counter()
        self._waiting: dict[bytes, deque[trio.Event]] = {}

    async def acquire(self, host: bytes) -> None:
        if host not in self._waiting and self._has_room(host):
            self._take(host)
            return
        turn = trio.Event()
        waiting = self._waiting.setdefault(host, deque())
        waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # it was given one in the moment in which it stopped waiting
                self.release(host)
            else:
                waiting.remove(turn)
                if not waiting:
                    del self._waiting[host]
            raise

    def release(self, host: bytes) -> None:
        self._free += 1
        self._used[host] -= 1
        if not self._used[host]:
            del self._used[host]
        for other in list(self._waiting):
            if not self._free:
                break
            waiting = self._waiting[other]
            while waiting and self._has_room(other):
                self._take(other)
                waiting.popleft().set()
            if not waiting:
                del self._waiting[other]

    def _has_room(self, host: bytes) -> bool:
        return self._used[host] < min(self._per_host, SPARE * self._free)

    def _take(self, host: bytes) -> None:
        self._free -= 1
        self._used[host] += 1
