"""What is known of an endpoint of which every attempt fails, in the words that events and settings share."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class EndpointState(StrEnum):
    """What becomes of an endpoint while all attempts at it fail; by one that succeeds nothing is known of it."""

    SUSPECTED = "suspected"
    """An attempt has failed, and none has succeeded since: the clock has not started."""

    FAILING = "failing"
    """So has one a good while later: the clock runs, from the first of them on."""

    DISABLED = "disabled"
    """All of them have failed for too long: nothing is sent to it."""


class EndpointMark(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a failed attempt makes of its endpoint. Instants are in nanoseconds since 1970."""

    state: EndpointState

    since_ns: int
    """When the first of the attempts failed since which none has succeeded."""

    until_ns: int
    """When that is forgotten, unless the endpoint is disabled by then."""
