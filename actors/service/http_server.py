"""Serves an application over HTTP/1.1: accepts connections, and decides which go when there are too many."""

from __future__ import annotations

import errno
import heapq
import logging
import resource
import socket
from operator import itemgetter

import trio
from starlette.types import ASGIApp

from actors.service.http_connection import Connection, Limits, place_of

logger = logging.getLogger("retrylab.service")

CONNECTIONS_PATIENCE = 3.0
"""Seconds that the end waits for answers."""

ACCEPT_PAUSE = 0.1
"""Seconds until a connection is accepted again where the system has no room for one."""

LIMITS = Limits()

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class HttpServer:
    """Serves one application from `listen` on, until `stop` or the end of the nursery.

    A stranger can open as many connections as there may be. So a new connection does not wait for a free place: the
    connection that has waited longest for its client is closed, be it for a request, for the rest of one, or until the
    client takes an answer. A request being answered is left alone. Bodies share their room in the same way.
    """

    def __init__(self, app: ASGIApp, limits: Limits = LIMITS) -> None:
        self._app = app
        self._limits = limits
        self._connections: set[Connection] = set()
        self._held = 0
        """Bytes of the bodies of unanswered requests."""
        self._changes = trio.lowlevel.ParkingLot()
        self._accepting = trio.CancelScope()
        self._serving = trio.CancelScope()
        self._has_ended = trio.Event()
        self._runs = False

    async def listen(self, at: str | socket.socket, nursery: trio.Nursery) -> list[str]:
        """Serve at an address, or by a socket that listens there, from now on; return the URLs. Raise OSError where the
        address is not available."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound(at) if isinstance(at, str) else at))
        host, port = listener.socket.getsockname()[:2]
        urls = [f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"]
        self._runs = True
        nursery.start_soon(self._serve, listener)
        return urls

    async def stop(self) -> None:
        """Take no more connections and requests, and wait until the present requests have been answered.

        A client that has not finished its request is sent away.
        """
        self._accepting.cancel()
        for connection in self._connections:
            connection.finish()
        if self._runs:
            self._serving.deadline = trio.current_time() + CONNECTIONS_PATIENCE
            await self._has_ended.wait()

    async def _serve(self, listener: trio.SocketListener) -> None:
        try:
            async with listener:
                with self._serving:
                    async with trio.open_nursery() as nursery:
                        with self._accepting:
                            await self._accept(listener, nursery, _connections_max(self._limits.connections))
                        await listener.aclose()
        finally:
            self._has_ended.set()

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery, at_most: int) -> None:
        has_said = False
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:  # whatever the error, the present connections go on
                if not has_said:
                    logger.error("no connection can be accepted: %s", error.strerror)
                    has_said = True
                if error.errno in _NO_ROOM:
                    self._send_away(1)
                await trio.sleep(ACCEPT_PAUSE)
                continue
            connection = Connection(stream, self._app, self._limits, self)
            self._connections.add(connection)
            nursery.start_soon(self._answer, connection, stream)
            while not self._has_room(connection, at_most):
                await self._changes.park()

    def _has_room(self, newest: Connection, at_most: int) -> bool:
        staying = sum(not each.is_sent_away for each in self._connections)
        if staying > at_most and not self._send_away(max(1, at_most // 50), but=newest):
            return False
        return len(self._connections) <= at_most + at_most // 4  # some are still on their way out

    async def _answer(self, connection: Connection, stream: trio.SocketStream) -> None:
        try:
            await connection.serve()
        except Exception as error:
            logger.error("a connection failed: %s", type(error).__name__, extra={"fields": {"at": place_of(error)}})
        finally:
            self._connections.discard(connection)
            stream.socket.close()
            self.changed()

    def _send_away(self, at_most: int, but: Connection | None = None) -> bool:
        waiting = [(each.waits[1], each) for each in self._connections if each.waits is not None and each is not but]
        for _, connection in heapq.nsmallest(at_most, waiting, key=itemgetter(0)):
            connection.send_away()
        return bool(waiting)

    def changed(self) -> None:
        self._changes.unpark_all()

    def hold(self, connection: Connection, size: int) -> bool:
        self._held += size
        if self._held <= self._limits.bodies_bytes:
            return True
        going = sum(each.body_bytes for each in self._connections if each.is_sent_away)
        if self._held - going <= self._limits.bodies_bytes:
            return True
        reading = [
            (each.reads_since, each)
            for each in self._connections
            if each is not connection and each.reads_since is not None
        ]
        if not reading:
            return False
        min(reading, key=itemgetter(0))[1].send_away()
        return True

    def release(self, size: int) -> None:
        self._held -= size


def _connections_max(at_most: int) -> int:
    """Return how many connections there may be: half of the descriptors are for the store, providers and files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return at_most if limit == resource.RLIM_INFINITY else max(1, min(at_most, limit // 2))


def bound(address: str) -> socket.socket:
    """Return a socket that listens at an address; raise OSError where it is not available."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family, _, _, _, place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(place, family=family)
