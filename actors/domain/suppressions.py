"""Suppressions: addresses that nothing is sent to, as after a bounce, a complaint or an unsubscription.

A provider causes one when it says that an address is gone; operators add and remove them; others stand in a file
that a team edits. Nothing passes them, nothing critical either. Redriving a notification lifts what a provider has said
of its address, since a person has decided that; what people have said stays until they take it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

import msgspec

from actors.instants import utc
from actors.messages import Message, NotificationChannel, NotificationEvent, NotificationFailed
from actors.outcomes import DeadDestination

Key: TypeAlias = tuple[NotificationChannel, str]
"""A channel, and an address in its normal form."""

_PHONE_NUMBER = re.compile(r"\+?[0-9 ./()\u00a0\u2011-]+")
_NO_DIGIT = re.compile(r"[^+0-9]")
_URL = re.compile(r"(https?)://(\[[^\s\]/?#@]*\]|[^\s\[\]/?#@:\\]+)(?::([0-9]*))?(?![^/?#])", re.IGNORECASE)
_DEFAULT_PORT = {"http": "80", "https": "443"}

REASON_MAX = 500
"""How many characters of a provider's answer are kept."""

_DEAD = DeadDestination.__name__


def normal_address(channel: NotificationChannel, address: str) -> str:
    """Return the normal form of an address, in which addresses are compared.

    Email addresses ignore case and the display name: RFC 5321, section 2.4, lets the receiver decide about case, but no
    one uses mailboxes that differ in nothing else. Phone numbers ignore spaces, dashes, dots, slashes and brackets. In
    a URL the case of scheme and host and the default port are ignored, and an empty path equals ``/``; the rest stays
    as it is (RFC 3986, sections 6.2.2.1 and 6.2.3). A Web Push subscription is in normal form already, as browsers
    write it. On a channel beside the four the address itself shows which of these kinds it is.
    """
    address, channel = address.strip(), NotificationChannel(channel)
    if channel.is_own and _URL.match(address) is None:
        channel = NotificationChannel.EMAIL if "@" in address else NotificationChannel.SMS
    if channel is NotificationChannel.EMAIL:
        return _without_name(address).casefold()
    if channel is NotificationChannel.SMS:
        return _NO_DIGIT.sub("", address) if _PHONE_NUMBER.fullmatch(address) else address
    return _normal_url(address)


def _without_name(mailbox: str) -> str:
    if not mailbox.endswith(">"):
        return mailbox
    _, begins, address = mailbox[:-1].rpartition("<")
    address = address.strip()
    return address if begins and address and ">" not in address else mailbox


def _normal_url(address: str) -> str:
    found = _URL.match(address)
    if found is None:
        return address
    scheme, host, port = found[1].lower(), found[2].lower(), found[3]
    authority = f"{host}:{port}" if port and port != _DEFAULT_PORT[scheme] else host
    rest = address[found.end() :]
    return f"{scheme}://{authority}{rest if rest.startswith('/') else f'/{rest}'}"


class SuppressionSource(StrEnum):
    """The source of a suppression."""

    PROVIDER = "provider"
    """The provider has said that the address is gone."""

    OPERATOR = "operator"
    FILE = "file"


class Suppression(Message, frozen=True, kw_only=True, gc=False):
    """Nothing is sent to this address."""

    channel: NotificationChannel
    address: str
    """In its normal form."""

    reason: str
    """The reason, such as ``complaint`` or ``unsubscribed``, or the provider's answer."""

    source: SuppressionSource
    since_ns: int
    """Since when, in nanoseconds since 1970."""

    by: str | None = None
    """The operator who asked for the suppression; None when not given."""

    def __post_init__(self) -> None:
        normal = normal_address(self.channel, self.address)
        if normal != self.address:
            msgspec.structs.force_setattr(self, "address", normal)

    @property
    def since(self) -> datetime:
        """Since when, in UTC."""
        return utc(self.since_ns)

    @property
    def key(self) -> Key:
        return self.channel, self.address


class Suppressions:
    """Every suppression in force: first the stored ones, and behind them those in a file."""

    def __init__(self) -> None:
        self._stored: dict[Key, Suppression] = {}
        self._of_file: Mapping[Key, Suppression] = {}
        self.any = False
        """Whether there are any at all: mostly there are none, and each attempt asks."""

    def __iter__(self) -> Iterator[Suppression]:
        return iter({**self._of_file, **self._stored}.values())

    def __len__(self) -> int:
        return len(self._of_file.keys() | self._stored.keys())

    def find(self, channel: NotificationChannel, address: str) -> Suppression | None:
        key = channel, normal_address(channel, address)
        return self._stored.get(key) or self._of_file.get(key)

    def copy(self) -> Suppressions:
        copy = Suppressions()
        copy._stored, copy._of_file, copy.any = self._stored.copy(), self._of_file, self.any
        return copy

    # ── what the store keeps ────────────────────────────────────────────────────────────────────────────────────

    @property
    def stored(self) -> Iterable[Suppression]:
        return self._stored.values()

    def stored_at(self, key: Key) -> Suppression | None:
        return self._stored.get(key)

    def add(self, suppression: Suppression) -> None:
        """Keep one; it takes the place of an earlier one, but a provider's of none that people have said."""
        earlier = self._stored.get(suppression.key)
        if earlier is not None and suppression.source is SuppressionSource.PROVIDER:
            return
        self._stored[suppression.key] = suppression
        self.any = True

    def add_all(self, suppressions: Mapping[Key, Suppression]) -> dict[Key, Suppression]:
        """Keep many at once, as `add` keeps one; return the ones kept."""
        stored, provider = self._stored, SuppressionSource.PROVIDER
        # Without a call for each, as there may be hundreds of thousands.
        kept = {key: each for key, each in suppressions.items() if each.source is not provider or key not in stored}
        stored |= kept
        self._count()
        return kept

    def remove(self, key: Key) -> None:
        self._stored.pop(key, None)
        self._count()

    def lift(self, channel: NotificationChannel, address: str) -> None:
        """Drop the suppression of an address by a provider."""
        key = channel, normal_address(channel, address)
        stored = self._stored.get(key)
        if stored is not None and stored.source is SuppressionSource.PROVIDER:
            self.remove(key)

    def restore(self, stored: Iterable[Suppression]) -> None:
        self._stored = {suppression.key: suppression for suppression in stored}
        self._count()

    # ── what a file says ────────────────────────────────────────────────────────────────────────────────────────

    def replace_file(self, suppressions: Mapping[Key, Suppression]) -> None:
        """Have these of a file, by address, in place of all that it had before."""
        self._of_file = suppressions
        self._count()

    def _count(self) -> None:
        self.any = bool(self._stored or self._of_file)


def printable_reason(text: str) -> str:
    """Return what a provider has said as a reason: it may be anything, and some stores hold no NUL and none half a
    character."""
    return "".join(character if character.isprintable() else " " for character in text[:REASON_MAX])


def suppression_from(event: NotificationEvent, address: str) -> Suppression | None:
    """Return the suppression of a notification's address that a provider's answer causes, or None."""
    if type(event) is not NotificationFailed or event.kind != _DEAD or not address:
        return None
    return Suppression(
        channel=event.channel,
        address=address,
        reason=printable_reason(event.reason),
        source=SuppressionSource.PROVIDER,
        since_ns=event.epoch_ns + event.at_ns,
    )
