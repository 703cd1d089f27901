"""The network of a world: its hosts, what the service listens on, and connections between them."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Final

import trio

from simulation.world.escape import World, refuse
from simulation.world.host import Host
from simulation.world.http_provider import HttpHost
from simulation.world.names import LOCAL, Names
from simulation.world.smtp_provider import SmtpHost
from simulation.world.sockets import FIRST_FILENO, Address, WorldSocket

SYN_RETRIES_S: Final = 127.0
"""How long Linux tries to connect to a host that is silent."""

SMTP_PORTS: Final = frozenset({25, 465, 587, 2525})
"""At these a host takes mails; at any other it speaks HTTP."""

_EPHEMERAL: Final = 40_000


class Network(trio.abc.SocketFactory):
    """Makes the sockets of a world and connects them."""

    def __init__(
        self, world: World, nursery: trio.Nursery, make: Callable[[type[Host], str], Host], names: Names
    ) -> None:
        """Make a network; `nursery` is for the tasks of the hosts, and `make` makes a host when it is first called."""
        self.world = world
        self._nursery = nursery
        self._make = make
        self._hosts: dict[tuple[str, type[Host]], Host] = {}
        self._names = names
        self._filenos, self._ports = FIRST_FILENO, _EPHEMERAL
        self._listeners: dict[int, WorldSocket] = {}
        self._listening = trio.lowlevel.ParkingLot()

    def next_fileno(self) -> int:
        self._filenos += 1
        return self._filenos

    def free_address(self) -> Address:
        self._ports += 1
        return ("11.0.0.1", self._ports)

    def socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM, proto: int = 0) -> WorldSocket:
        if type & 0xF != socket.SOCK_STREAM or family not in (socket.AF_INET, socket.AF_INET6):
            kind = f"{socket.AddressFamily(family).name}, {socket.SocketKind(type & 0xF).name}"
            raise refuse(self.world, f"a world has no sockets of {kind}; wanted TCP")
        return WorldSocket(self, family)

    def bind(self, sock: WorldSocket, address: Any) -> Address:
        host, port = address[:2]
        if host not in LOCAL and host != "":
            raise refuse(self.world, f"the service listens on {host!r}; wanted localhost or any address")
        if not port:
            self._ports += 1
            port = self._ports
        taken = self._listeners.get(port)
        if taken is not None and taken.family == sock.family:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        if taken is None:
            self._listeners[port] = sock
        self._listening.unpark_all()
        return (host or "0.0.0.0", port, *address[2:])

    def closed(self, sock: WorldSocket) -> None:
        for port in [port for port, listener in self._listeners.items() if listener is sock]:
            del self._listeners[port]

    async def connect_to_service(self, port: int) -> WorldSocket:
        """Return a connection to a port of the service, as soon as it listens there."""
        while port not in self._listeners:
            await self._listening.park()
        sock = WorldSocket(self)
        await self.dial(sock, ("127.0.0.1", port))
        return sock

    def name_of(self, address: Address) -> str:
        return self._names.host_at.get(address[0], f"{address[0]}:{address[1]}")

    def _host(self, name: str, port: int) -> Host:
        kind = SmtpHost if port in SMTP_PORTS else HttpHost
        if (name, kind) not in self._hosts:
            self._hosts[name, kind] = self._make(kind, name)
        return self._hosts[name, kind]

    async def dial(self, sock: WorldSocket, address: Any) -> None:
        """Connect a socket of the service.

        Raises:
            Escape: the world has no such address.
            OSError: the host refuses, or cannot be reached.
        """
        await trio.lowlevel.checkpoint()
        host, port = address[0], int(address[1])
        if host in LOCAL:
            listener = self._listeners.get(port)
            if listener is None:
                raise refuse(
                    self.world, f"nothing of the service listens at {host}:{port}, and the world has no host there"
                )
            peer = WorldSocket(self, listener.family)
            peer._own = listener.getsockname()
            sock.join(peer)
            listener.arrive(peer)
            return
        name = self._names.host_at[self._names.look_up(host)]
        there = self._host(name, port)
        always = there.config.always
        if always == "silence":
            await trio.sleep(SYN_RETRIES_S)
        if always is not None or not await there.lets_in():
            number = {"refused": errno.ECONNREFUSED, "unreachable": errno.EHOSTUNREACH, "silence": errno.ETIMEDOUT}[
                always or there.refusal
            ]
            raise OSError(number, os.strerror(number))
        peer = WorldSocket(self)
        peer._own = (host, port)
        sock.join(peer)
        self._nursery.start_soon(there.serve, peer, name=f"{name}:{port}")
