"""The states of an endpoint at which every attempt fails, in the words that events and settings share."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class EndpointState(StrEnum):
    """The state of an endpoint while all attempts at it fail; a success makes it forgotten."""

    SUSPECTED = "suspected"
    """An attempt has failed, and none has succeeded since: the clock has not started."""

    FAILING = "failing"
    """A second attempt has failed a good while later: the clock runs, from the first failure on."""

    DISABLED = "disabled"
    """All attempts have failed for too long: nothing is sent to the endpoint."""


class EndpointMark(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of an endpoint after a failed attempt. Instants are in nanoseconds since 1970."""

    state: EndpointState

    since_ns: int
    """The instant of the first failure since the last success."""

    until_ns: int
    """The instant at which the failures are forgotten, unless the endpoint is disabled by then."""
