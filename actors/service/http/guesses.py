"""How many tokens that are no one's may be tried from an address: a bucket for each.

When it is empty no other token is looked at that comes from there, right or wrong, until there is room again: else the
limit would only be on wrong answers (OWASP's *Authentication Cheat Sheet*, login throttling). That must not keep out
those who belong here. So it is the address that is limited and not the token, and a token that was right at an address
before stays so there, however many others are tried beside it: behind a router that many share, a stranger keeps out
only who comes from there for the first time.

A proxy has one address for everybody. Where the peer's is one of a private network, which no stranger on the internet
can have, the last one in `X-Forwarded-For` counts, which is what that proxy saw. From elsewhere that header is
anybody's claim, and is not looked at.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections import OrderedDict
from functools import lru_cache
from typing import TypeVar

ADDRESS_LENGTH = 64
"""Characters; the longest address has 45."""

ADDRESSES_PARSED = 1_000
"""So many are remembered: to read one takes longer than all else that is done for a known token."""

K = TypeVar("K")
V = TypeVar("V")

GUESSES_MAX = 20
"""Wrong tokens from an address, one after the other."""

GUESS_S = 3.0
"""Seconds after which one more may be tried."""

ADDRESSES_MAX = 10_000
"""Addresses, and tokens at addresses, that are remembered; then the one that was last used longest ago is forgotten."""


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
        """Remember a token that is someone's."""
        _put(self._proven, self._digest(address, token), None)

    def _digest(self, address: str, token: str) -> bytes:
        said = f"{address} {token}".encode(errors="replace")
        return hashlib.blake2b(said, key=self._key, digest_size=16).digest()


def _put(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > ADDRESSES_MAX:
        kept.popitem(last=False)


def address_of(peer: str, forwarded_for: str) -> str:
    """Return the address that guesses are counted for.

    Args:
        peer: the other end of the connection.
        forwarded_for: what `X-Forwarded-For` says; empty where it is not there.
    """
    return _address_of(_shortened(peer), _shortened(forwarded_for.rpartition(",")[2]))


def _shortened(text: str) -> str:
    """Return what may be an address; of what is longer than any, only so much that it is still none."""
    return text.strip().partition("%")[0][:ADDRESS_LENGTH]


@lru_cache(ADDRESSES_PARSED)
def _address_of(peer: str, last_forwarded: str) -> str:
    address = _parsed(peer)
    if address is not None and not address.is_global and (last := _parsed(last_forwarded)) is not None:
        address = last
    if address is None:
        return "?"
    if isinstance(address, ipaddress.IPv6Address):  # of which one household has 2**64
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
