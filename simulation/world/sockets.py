"""Sockets in memory for trio: a service's connections to the hosts of its world, and to itself.

They come about by trio's hook for tests, `trio.socket.set_custom_socket_factory`. A connection is two halves, one for
each direction, with a buffer of 64 KiB. Latency is the provider's, so a byte arrives when it is sent.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, NoReturn, Protocol

import trio

from simulation.world.escape import World, refuse

BUFFER_SIZE: Final = 65536
FIRST_FILENO: Final = 1 << 20
"""A number that no real descriptor has: `select` and `poll` refuse it."""

Address = tuple[Any, ...]

origin: ContextVar[str | None] = ContextVar("origin", default=None)
"""The id of the arrival that a task works for; None: no arrival, and then requests are distinguished by their tasks.
The id follows the bytes: a task of the service that reads them from another one works for the same arrival."""

looked_up_for: ContextVar[str | None] = ContextVar("looked_up_for", default=None)
"""The arrival for which the task looked a name up: trio opens connections in tasks of its own, which inherit it."""


def whose() -> str:
    """Return the id of the arrival that the current task works for, or a text that stands for the task."""
    return origin.get() or f"task {trio.lowlevel.current_task()._counter}"


class Wires(Protocol):
    """The network, as sockets use it."""

    world: World

    def next_fileno(self) -> int: ...

    def free_address(self) -> Address: ...

    def bind(self, sock: WorldSocket, address: Any) -> Address: ...

    async def dial(self, sock: WorldSocket, address: Any) -> None: ...

    def closed(self, sock: WorldSocket) -> None: ...


class Half:
    """One direction of a connection."""

    __slots__ = ("data", "ended", "origin", "readers", "reset", "room", "when_ended")

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        """Whether the sender sends no more."""
        self.reset = False
        self.origin: str | None = None
        """The arrival for which the latest bytes were sent."""
        self.readers, self.room = trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()
        self.when_ended: Callable[[], object] | None = None
        """Called once, when the sender closes its socket or the connection is reset."""

    @property
    def is_readable(self) -> bool:
        return bool(self.data or self.ended or self.reset)

    def end(self, *, reset: bool = False) -> None:
        self.ended, self.reset = True, self.reset or reset
        self.wake()
        called, self.when_ended = self.when_ended, None
        if called is not None:
            called()

    def put(self, data: memoryview) -> int:
        """Take the bytes that there is room for; return how many."""
        taken = min(len(data), BUFFER_SIZE - len(self.data))
        self.data += data[:taken]
        self.readers.unpark_all()
        return taken

    def take(self, size: int | None = None) -> bytes:
        found = bytes(self.data[:size])
        del self.data[:size]
        if self.room:
            self.room.unpark_all()
        return found

    def wake(self) -> None:
        self.readers.unpark_all()
        self.room.unpark_all()


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class _Known:
    """Answers libraries that ask the real socket behind trio's for its addresses."""

    def __init__(self, own: WorldSocket) -> None:
        self.getpeername, self.getsockname = own.getpeername, own.getsockname
        self.family = own.family


def _refused(what: str) -> Any:
    def method(sock: WorldSocket, *_: Any) -> NoReturn:
        raise refuse(sock._network.world, f"{what} of a socket is not possible in a world; wanted a stream")

    return method


class WorldSocket(trio.socket.SocketType):
    """A stream socket of the world, as trio's own in all that clients and servers call."""

    def __init__(self, network: Wires, family: int = socket.AF_INET) -> None:
        self._network = network
        self._family = socket.AddressFamily(family)
        self._fileno = network.next_fileno()
        self._own: Address | None = None
        self._peer: Address | None = None
        self.rx: Half | None = None
        """The bytes that the peer has sent; None: not connected."""
        self.tx: Half | None = None
        self._backlog: list[WorldSocket] | None = None
        """Connections that wait to be accepted; None: it does not listen."""
        self._arrived = trio.lowlevel.ParkingLot()
        self._did_shutdown_SHUT_WR = False
        self._sock = _Known(self)

    # ── facts ───────────────────────────────────────────────────────────────────────────────────────────────────

    family = property(lambda self: self._family)
    type = property(lambda _: socket.SOCK_STREAM)
    proto = property(lambda _: socket.IPPROTO_TCP)
    did_shutdown_SHUT_WR = property(lambda self: self._did_shutdown_SHUT_WR)  # noqa: N815  # trio's name

    def __enter__(self) -> WorldSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._fileno

    def getsockname(self) -> Address:
        return self._own or ("0.0.0.0", 0)

    def getpeername(self) -> Address:
        if self._peer is None:
            raise _error(errno.ENOTCONN)
        return self._peer

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        if (level, optname) == (socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return int(self._backlog is not None)
        return 0

    def setsockopt(self, *_: Any) -> None:
        self._check_open()

    def is_readable(self) -> bool:
        return self._backlog is not None or (self.rx is not None and self.rx.is_readable)

    # ── connecting ──────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, peer: WorldSocket) -> None:
        self.rx = peer.tx = Half()
        self.tx = peer.rx = Half()
        assert peer._own is not None
        self._own = self._own or self._network.free_address()
        self._peer, peer._peer = peer._own, self._own

    async def connect(self, address: Any) -> None:
        self._check_open()
        await self._network.dial(self, address)

    async def bind(self, address: Any) -> None:
        await trio.lowlevel.checkpoint()
        self._own = self._network.bind(self, address)

    def listen(self, _backlog: int = 128) -> None:
        if self._own is None:
            self._own = self._network.bind(self, ("0.0.0.0", 0))
        self._backlog = []

    def arrive(self, peer: WorldSocket) -> None:
        """Take a connection that another socket has opened to this one, which listens."""
        assert self._backlog is not None
        self._backlog.append(peer)
        self._arrived.unpark()

    async def accept(self) -> tuple[WorldSocket, Address]:
        if self._backlog is None:
            raise _error(errno.EINVAL)
        await trio.lowlevel.checkpoint()
        while not self._backlog:
            await self._arrived.park()
            self._check_open()
        peer = self._backlog.pop(0)
        return peer, peer.getpeername()

    # ── bytes ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def recv(self, size: int, _flags: int = 0) -> bytes:
        half = self.rx
        if half is None or half.is_readable:  # trio's own takes no step before one that waits
            await trio.lowlevel.checkpoint()
        self._check_open()
        if half is None:
            raise _error(errno.ENOTCONN)
        while not half.is_readable:
            await half.readers.park()
            self._check_open()
        if half.reset:
            raise _error(errno.ECONNRESET)
        found = half.take(size)
        if found and half.origin is not None:
            origin.set(half.origin)
        return found

    async def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer).cast("B")
        found = await self.recv(size or len(view), flags)
        view[: len(found)] = found
        return len(found)

    async def send(self, data: Any, _flags: int = 0) -> int:
        await trio.lowlevel.checkpoint()
        view = memoryview(data).cast("B")
        await self.wait_for_room()
        assert self.tx is not None
        self.tx.origin = whose()
        return self.tx.put(view)

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        await self.wait_for_room()

    async def wait_for_room(self) -> None:
        while True:
            self._check_open()
            if self.tx is None:
                raise _error(errno.ENOTCONN)
            assert self.rx is not None
            if self._did_shutdown_SHUT_WR:
                raise _error(errno.EPIPE)
            if self.rx.reset or self.tx.reset:
                raise _error(errno.ECONNRESET)
            if len(self.tx.data) < BUFFER_SIZE:
                return
            await self.tx.room.park()

    def shutdown(self, how: int) -> None:
        self._check_open()
        if self.tx is None:
            raise _error(errno.ENOTCONN)
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self._did_shutdown_SHUT_WR = True
            self.tx.end()

    def reset(self) -> None:
        for half in (self.rx, self.tx):
            if half is not None:
                half.end(reset=True)

    def close(self) -> None:
        if self._fileno == -1:
            return
        self._fileno = -1
        self._network.closed(self)
        if self.tx is not None and self.rx is not None:
            self.tx.end()
            self.rx.reset = True  # what the peer sends from now on is answered with a reset
            self.rx.wake()
        self._arrived.unpark_all()
        for waiting in self._backlog or ():
            waiting.reset()

    def _check_open(self) -> None:
        if self._fileno == -1:
            raise _error(errno.EBADF)

    dup, detach, sendto, recvfrom = map(_refused, ("dup()", "detach()", "sendto()", "recvfrom()"))
