"""The limit of unknown tokens that may be tried from an address: a bucket for each address.

When the bucket is empty no token from this address is looked at, right or wrong, until there is room again: else the
limit would only bound wrong answers (OWASP's *Authentication Cheat Sheet*, login throttling). The limit must not keep
out rightful callers. So it is on the address and not on the token, and a token that was right at an address before
stays right there, however many other tokens are tried: behind a router that many people share, a stranger keeps out
only bearers who come from there for the first time.

A proxy has one address for all its clients, and names the client in `X-Forwarded-For`. That header counts if the peer
is in `trusted_proxies`: then the last address in it that is no trusted proxy's. From any other peer the header is a
mere claim, and is ignored; loopback and private networks are no exception.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias, TypeVar

logger = logging.getLogger("retrylab.service")

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

PROXIES_MAX = 10
"""Proxies that a request may pass one after the other: the most addresses of `X-Forwarded-For` that are read."""

ADDRESS_LENGTH = 64
"""Characters; the longest address has 45."""

ADDRESSES_PARSED = 1_000
"""How many parsed addresses are remembered: parsing takes longer than all other work for a known token."""

K = TypeVar("K")
V = TypeVar("V")

GUESSES_MAX = 20
"""Wrong tokens from an address, one after the other."""

GUESS_S = 3.0
"""Seconds after which one more may be tried."""

ADDRESSES_MAX = 10_000
"""Addresses, and tokens at addresses, that are remembered; beyond it the one unused for longest is forgotten."""


class Guesses:
    """Counts wrong tokens by address. Instants are in seconds, on any clock that does not go back."""

    def __init__(self) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """When the bucket of an address has all its guesses again."""
        self._proven: OrderedDict[bytes, None] = OrderedDict()
        """Tokens that were right at an address, as a keyed digest of both."""
        self._key = secrets.token_bytes(32)

    def wait(self, address: str, token: str, now: float) -> float:
        """Return for how many seconds a token from an address is not to be looked at; 0: it may be."""
        full_at = self._full_at.get(address)
        if full_at is None:
            return 0.0
        wait = full_at - now - (GUESSES_MAX - 1) * GUESS_S
        return wait if wait > 0 and self._digest(address, token) not in self._proven else 0.0

    def was_wrong(self, address: str, now: float) -> bool:
        """Count a token that is no one's; tell whether it was the last one for a while."""
        full_at = max(now, self._full_at.get(address, now)) + GUESS_S
        _put(self._full_at, address, full_at)
        return full_at - now > (GUESSES_MAX - 1) * GUESS_S

    def was_right(self, address: str, token: str) -> None:
        _put(self._proven, self._digest(address, token), None)

    def _digest(self, address: str, token: str) -> bytes:
        said = f"{address} {token}".encode(errors="replace")
        return hashlib.blake2b(said, key=self._key, digest_size=16).digest()


def _put(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > ADDRESSES_MAX:
        kept.popitem(last=False)


class Proxies:
    """The proxies whose `X-Forwarded-For` counts. The header from another peer is logged, once."""

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self.networks = tuple(networks)
        self._has_warned = False
        self._client_of = lru_cache(ADDRESSES_PARSED)(self._look)

    def address_of(self, peer: str, forwarded_for: str) -> str:
        """Return the address for which guesses are counted; for IPv6 a household's network.

        `peer` is the other end of the connection, and `forwarded_for` the whole `X-Forwarded-For`, in its order.
        """
        passed = forwarded_for.rsplit(",", PROXIES_MAX)[-PROXIES_MAX:] if forwarded_for else ()
        address, is_proxy = self._client_of(_shortened(peer), *map(_shortened, passed))
        if forwarded_for and not is_proxy and not self._has_warned:
            self._has_warned = True
            text = "X-Forwarded-For of a peer that is not in trusted_proxies is not looked at; this is said once"
            logger.warning(text, extra={"fields": {"peer": peer}})
        return address

    def _look(self, peer: str, *passed: str) -> tuple[str, bool]:
        address = _parsed(peer)
        is_proxy = self._has(address)
        for each in reversed(passed):
            if not self._has(address) or (before := _parsed(each)) is None:
                break
            address = before
        if address is None:
            return "?", is_proxy
        if isinstance(address, ipaddress.IPv6Address):  # one household has 2**64 addresses
            return str(ipaddress.ip_network((address, 64), strict=False)), is_proxy
        return str(address), is_proxy

    def _has(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self.networks)


def _shortened(text: str) -> str:
    """Return a text cut to a length at which a text that is too long for an address still is none."""
    return text.strip().partition("%")[0][:ADDRESS_LENGTH]


def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
