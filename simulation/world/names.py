"""The names of a world: each host of the scenario has a public address, and there are no others. ``*.example`` stands
for every host below `example`.

Addresses are of 11.0.0.0/16. Guards against requests to private networks let them pass, and no host is there in
practice that a test could reach by mistake: nothing leaves the process.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, Final

import trio

from simulation.world.escape import World, refuse
from simulation.world.sockets import looked_up_for, whose

LOCAL: Final = frozenset({"localhost", "localhost.localdomain", "127.0.0.1", "::1", "0.0.0.0", "::"})


def written(name: str, hosts: Iterable[str]) -> str | None:
    """Return a host as a scenario names it, such as ``*.example``; None: it is none of its hosts."""
    if name in hosts:
        return name
    return next((host for host in hosts if host[:2] == "*." and name.endswith(host[1:])), None)


class Names(trio.abc.HostnameResolver):
    """Resolves the hosts of a world; any other name is an escape."""

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
