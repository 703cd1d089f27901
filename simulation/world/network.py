"""The network of a world: its hosts with their names and certificates, what the service listens on, and connections."""

from __future__ import annotations

import datetime
import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio
import trustme

from simulation.scenario.world import HostConfig
from simulation.world.escape import World, refuse
from simulation.world.host import Host, HttpHost, SmtpHost
from simulation.world.sockets import FIRST_FILENO, Address, WorldSocket, looked_up_for, whose

# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


LOCAL: Final = frozenset({"localhost", "localhost.localdomain", "127.0.0.1", "::1", "0.0.0.0", "::"})


def written(name: str, hosts: Iterable[str]) -> str | None:
    """Return a host as a scenario names it, such as ``*.example``; None: it is none of its hosts."""
    if name in hosts:
        return name
    return next((host for host in hosts if host[:2] == "*." and name.endswith(host[1:])), None)


class Names(trio.abc.HostnameResolver):
    """Resolves the hosts of a world, each to a public address; any other name is an escape.

    Addresses are of 11.0.0.0/16. Guards against requests to private networks let them pass, and no host is there in
    practice that a test could reach by mistake: nothing leaves the process.
    """

    def __init__(self, world: World, hosts: Iterable[str]) -> None:
        self._world = world
        self._hosts = tuple(hosts)
        self._address_of: dict[str, str] = {}
        self.host_at: dict[str, str] = {}
        """The names by their addresses, which they get in the order in which they are asked for."""

    def look_up(self, host: Any) -> str:
        """Return the address of a host.

        Raises:
            Escape: the world has no such host.
        """
        name = host.decode("ascii") if isinstance(host, bytes) else host
        name = name.rstrip(".").lower()
        if name in LOCAL:
            return "127.0.0.1"
        if name in self.host_at:
            return name
        if name not in self._address_of:
            if written(name, self._hosts) is None:
                there = ", ".join(self._hosts) or "none"
                sentence = f"the world has no host {name!r} (it has: {there}); `world: {{{name}: refused}}` has it fail"
                raise refuse(self._world, sentence)
            number = len(self._address_of)
            address = self._address_of[name] = f"11.0.{1 + number // 250}.{1 + number % 250}"
            self.host_at[address] = name
        return self._address_of[name]

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[Any, ...]]:
        await trio.lowlevel.checkpoint()
        looked_up_for.set(whose())
        address = self.look_up(host)
        if family not in (0, socket.AF_INET):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        number = socket.getservbyname(port) if isinstance(port, str) and not port.isdecimal() else int(port or 0)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, number))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        await trio.lowlevel.checkpoint()
        host, port = sockaddr[:2]
        name = host if flags & socket.NI_NUMERICHOST else self.host_at.get(host, host)
        return name, str(port)


SYN_RETRIES_S: Final = 127.0
"""How long, in seconds, Linux tries to connect to a host that is silent."""

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


# ── certificates ──────────────────────────────────────────────────────────────────────────────────────────────────────


_EXPIRED = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class Authority:
    """Signs a certificate for each host of a world; every client in it trusts this authority.

    `SSLContext.wrap_bio` (trio) and `wrap_socket` (threads) load it into a client's context just before a handshake,
    however that context came about. Hostnames are checked as always. Certificates are valid at the real date, since
    OpenSSL has a clock of its own; one that is `expired` was so before.
    """

    def __init__(self) -> None:
        self._trusted, self._other = trustme.CA(), trustme.CA()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._pem = self._trusted.cert_pem.bytes().decode("ascii")

    def context_of(self, host: str, config: HostConfig) -> ssl.SSLContext:
        if host not in self._contexts:
            authority = self._other if config.tls == "untrusted" else self._trusted
            certificate = authority.issue_cert(host, not_after=_EXPIRED if config.tls == "expired" else None)
            context = self._contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
        return self._contexts[host]

    @contextmanager
    def trusted(self) -> Iterator[None]:
        """Have every client in the process trust it meanwhile."""
        pem, told = self._pem, set[int]()
        real = {name: getattr(ssl.SSLContext, name) for name in ("wrap_bio", "wrap_socket")}

        def trusting(name: str) -> Any:
            def wrap(context: ssl.SSLContext, *args: Any, server_side: bool = False, **options: Any) -> Any:
                if not server_side and id(context) not in told:
                    told.add(id(context))
                    kept.append(context)  # so that no other context gets its id
                    context.load_verify_locations(cadata=pem)
                return real[name](context, *args, server_side=server_side, **options)

            return wrap

        kept: list[ssl.SSLContext] = []
        try:
            for name in real:
                setattr(ssl.SSLContext, name, trusting(name))
            yield
        finally:
            for name, function in real.items():
                setattr(ssl.SSLContext, name, function)
