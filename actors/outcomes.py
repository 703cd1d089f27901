"""The outcome of one attempt: a closed set of six.

A transport maps every answer of its protocol to one of these; everything behind it (retry, breaker, dead letter
queue) asks only which of the six it was. A ``match`` over :data:`Outcome` ends in ``assert_never``.

============== ======== ============== ============================== ===================================
outcome        retried  uses an        to the breaker                 meaning
                        attempt
============== ======== ============== ============================== ===================================
Sent           –        yes            success                        the provider took it
Transient      yes      yes            failure; neutral if throttled  worth another attempt
Permanent      no       yes            neutral; a probe proves reach  this message can never be delivered
DeadDestination no      yes            neutral; a probe proves reach  the address is gone for good
ChannelFault   yes      no             trips at once                  credentials or configuration broken
Ambiguous      yes      yes            failure                        perhaps sent: reply lost or timed out
============== ======== ============== ============================== ===================================
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class _Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=True):
    reason: str = ""
    """The cause of the outcome, in words for people; stable enough to group by."""

    answer: str | None = None
    """The provider's answer as it came, where there was one."""


class Sent(_Outcome, frozen=True, kw_only=True, gc=False):
    """The provider accepted the notification."""


class Transient(_Outcome, frozen=True, kw_only=True, gc=False):
    """The attempt failed, another one may not."""

    reason: str = "transient failure"

    retry_after: float | None = None
    """Seconds the provider asked us to wait: a lower bound. None when it did not say."""

    throttled: bool = False
    """The provider is healthy and says that we are too fast; never counts for the breaker."""

    connection: bool = False
    """There was no connection, so that no byte of the notification was sent."""


class Permanent(_Outcome, frozen=True, kw_only=True, gc=False):
    """The notification itself cannot be delivered."""

    reason: str = "permanent failure"

    unwritten: bool = False
    """No request could be written of the notification, and none was made: that says nothing of its endpoint."""


class DeadDestination(_Outcome, frozen=True, kw_only=True, gc=False):
    """The address is gone: dead-letter this notification, suppress later ones to the address."""

    reason: str = "dead destination"


class ChannelFault(_Outcome, frozen=True, kw_only=True, gc=False):
    """The channel is broken, not the message: credentials, configuration."""

    reason: str = "channel fault"


class Ambiguous(_Outcome, frozen=True, kw_only=True, gc=False):
    """Perhaps sent: the reply was lost, or did not come in time."""

    reason: str = "timed out"


Outcome: TypeAlias = Sent | Transient | Permanent | DeadDestination | ChannelFault | Ambiguous
