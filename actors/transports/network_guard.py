"""Where requests to addresses that other people choose may go: to the internet, not to our own network.

The person who registers a webhook or a push subscription chooses a host, and can change what it resolves to. So it is
the resolved address that is checked, and the connection goes to that very address: what the name resolves to a moment
later no longer matters.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import trio

from actors.optional_dependencies import needs
from actors.transports.http_exchange import TargetRefused

with needs("live"):
    import httpcore2
    import httpx2

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")

# Written out, by the registries of IANA (RFC 6890), since the library's notion of global changed within Python 3.11.
_NOT_PUBLIC: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24",  # Oracle's cloud has its metadata there, at 192.0.0.192
            "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, reserved and broadcast
            "168.63.129.16/32",  # of the internet by number alone: the host of each virtual machine at Azure
            "2001::/23", "2001:db8::/32", "3fff::/20",
        ),
    )
)  # fmt: skip


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the internet: not private, link-local, loopback, multicast or reserved.

    Nor is one public that the hosts of a cloud provider answer at. An IPv6 address that stands for an IPv4 one is as
    public as that: mapped, translated (RFC 2765), 6to4, Teredo, ISATAP, NAT64 (RFC 6052).
    """
    if isinstance(address, ipaddress.IPv6Address):
        if (embedded := _embedded(address)) is not None:
            return is_public(embedded)
        if address not in _GLOBAL_UNICAST:
            return False
    return not any(address in network for network in _NOT_PUBLIC)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    is_isatap = (int(address) >> 32) & 0xFDFFFFFF == 0x00005EFE  # RFC 5214, 6.1
    if is_isatap or address in _NAT64 or address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


LOOKUPS_PER_HOST = 4
"""Lookups of one name at once. Each takes one of trio's forty threads, in which all names are looked up: a name whose
server does not answer must not take all of them."""


class GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses, and to addresses in `allowed` networks.

    It does not handle TLS: certificates are verified against the name that was resolved.
    """

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)
        self._network = httpcore2.TrioBackend()
        self._lookups: dict[str, trio.CapacityLimiter] = {}
        """The limiter of each host that is being looked up."""

    def permits(self, address: Address) -> bool:
        if any(address in network for network in self._allowed):
            return True
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return self.permits(mapped) if mapped is not None else is_public(address)

    def refuses(self, url: str) -> bool:
        """Tell whether the host of a URL is an address to which nothing may go; of a name, only its lookup tells."""
        try:
            address = ipaddress.ip_address(httpx2.URL(url).host)
        except (httpx2.InvalidURL, ValueError):
            return False
        return not self.permits(address)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of this host that is permitted and answers.

        Raises:
            TargetRefused: it has addresses, and none is permitted.
            ConnectError: it has no address, or none answers.
            ConnectTimeout: none has answered in time.
        """
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            found = await self._looked_up(host, port)
            permitted = [address for address in found if self.permits(address)]
            if found and not permitted:
                raise TargetRefused(f"{host} is {', '.join(map(str, found))}")
            for address in permitted:
                try:
                    return await self._network.connect_tcp(
                        str(address), port, local_address=local_address, socket_options=socket_options
                    )
                except httpcore2.ConnectError as error:
                    failure = error
            raise failure
        raise httpcore2.ConnectTimeout(f"no answer from {host}")

    async def _looked_up(self, host: str, port: int) -> list[Address]:
        name = host.lower()
        limiter = self._lookups.setdefault(name, trio.CapacityLimiter(LOOKUPS_PER_HOST))
        try:
            async with limiter:
                try:
                    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                except (OSError, UnicodeError) as error:  # no such name, or one that cannot be a name
                    raise httpcore2.ConnectError(f"{host}: {error}") from None
                return list(dict.fromkeys(ipaddress.ip_address(sockaddr[0]) for *_, sockaddr in found))
        finally:
            use = limiter.statistics()
            if use.borrowed_tokens == 0 and use.tasks_waiting == 0:
                self._lookups.pop(name, None)
