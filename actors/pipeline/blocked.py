"""Why a provider does not take an attempt now, and whether the attempt ends or waits, and for what."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from actors.domain.attempts import EXPIRED, RATE_LIMIT_EXCEEDED, Attempt, Refused, Rejected, is_too_late
from actors.messages import DeferralCause
from actors.outcomes import Transient
from actors.policies.waiting_room import Waiting, WaitingCounts

BREAKER_OPEN = "circuit breaker is open"
THROTTLED_HERE = "adaptive throttle"
BULKHEAD_FULL = "bulkhead is full"


class BlockReason(IntEnum):
    """The reasons that may block an attempt; whole numbers, as Python compares and hashes them with no call."""

    SLOT = 1
    """All slots are taken, or the free ones are kept for other keys."""

    RATE = 2
    """The quota or the adaptive rate does not allow another one yet."""

    QUOTA = 3
    """The quota does not allow another one, and drops what exceeds it."""

    BREAKER = 4
    """The circuit breaker gives no permit."""

    RAMP = 5
    """The breaker has closed and lets a growing share through; this attempt is not in the share."""

    PACE = 6
    """The breaker has closed, and the instant at which the next one resumes has not come."""

    THROTTLE = 7
    """The adaptive throttle has refused it: it is not to be tried here again."""

    FULL = 8
    """As SLOT, where attempts do not wait for a slot: the attempt is refused."""

    TENANT = 9
    """The attempt could go, but its tenant already has as many under way as it may have."""

    HINT = 10
    """The provider has asked for a pause, which holds for all, or for all of a host."""


class Blocked(NamedTuple):
    """Why a lane does not take an attempt now."""

    reason: BlockReason

    until_ns: int | None = None
    """The earliest instant at which it may, as far as time alone decides; None where something has to happen first."""

    latest_failure: str | None = None
    """The reason of the provider's latest failure, where a breaker opened by failures blocks the attempt."""


Reasons: TypeAlias = frozenset[BlockReason]
"""All that blocks an attempt at any of its providers."""

NO_ROOM = frozenset({BlockReason.SLOT, BlockReason.RATE, BlockReason.QUOTA})
"""The reasons that block every attempt alike, whatever the recipient's host; only a slot may be kept for other keys."""

ONLY_PACED = frozenset({BlockReason.PACE})
_SHUT = frozenset({BlockReason.BREAKER, BlockReason.RAMP})
_SHUT_OR_OVER_QUOTA = _SHUT | {BlockReason.QUOTA}
WAITS_FOR_BREAKER = _SHUT | {BlockReason.PACE, BlockReason.THROTTLE}
"""A breaker, its ramp or its pace; the throttle too, which ends an attempt at once."""

_OVER_A_RATE = frozenset({BlockReason.RATE, BlockReason.QUOTA, BlockReason.HINT})
_WAITS_FOR_SLOT = WAITS_FOR_BREAKER | {BlockReason.SLOT}

_KNOWN: dict[Reasons, Reasons] = {}
"""One object for each set of reasons, as every line keeps one."""


def reasons_of(blocked: Iterable[Blocked]) -> Reasons:
    """Return all reasons that block an attempt at its providers; there is at least one provider."""
    reasons = frozenset([each.reason for each in blocked])
    return _KNOWN.setdefault(reasons, reasons)


def end_of(
    attempt: Attempt, blocked: Collection[Blocked], reasons: Reasons, *, fails_when_open: bool
) -> Refused | Rejected | None:
    """Return the fate of an attempt that is blocked so and is not to wait; None when it is to wait."""
    if BlockReason.THROTTLE in reasons:
        return Refused(attempt=attempt, outcome=Transient(reason=THROTTLED_HERE))
    if BlockReason.FULL in reasons:
        return full(attempt)
    if reasons <= _SHUT:
        if not fails_when_open:
            return None
        said = next((each.latest_failure for each in blocked if each.latest_failure is not None), None)
        return Refused(attempt=attempt, outcome=Transient(reason=BREAKER_OPEN, answer=said))
    if reasons <= WAITS_FOR_BREAKER:
        return None
    if BlockReason.QUOTA in reasons and reasons <= _SHUT_OR_OVER_QUOTA:
        return Rejected(attempt=attempt, reason=RATE_LIMIT_EXCEEDED)
    if attempt.expires_at_ns is None or not is_up_to_time(blocked):
        return None
    expires_first = all(is_too_late(attempt, each.until_ns) for each in blocked)
    return Rejected(attempt=attempt, reason=EXPIRED) if expires_first else None


def full(attempt: Attempt) -> Refused:
    """Return the fate of an attempt that gets no slot."""
    return Refused(attempt=attempt, outcome=Transient(reason=BULKHEAD_FULL))


def is_up_to_time(blocked: Iterable[Blocked]) -> bool:
    """Return whether every reason has an instant at which it ends: then nothing but time makes room."""
    return all(each.until_ns is not None for each in blocked)


def cause_of(reasons: Reasons) -> DeferralCause | None:
    """Return what to call a wait; None: it is for a slot alone, which is not reported."""
    if reasons == {BlockReason.SLOT}:
        return None
    return DeferralCause.CIRCUIT_BREAKER if reasons.isdisjoint(_OVER_A_RATE) else DeferralCause.RATE_LIMIT


def counted_as(reasons: Reasons, waiting: WaitingCounts) -> Waiting:
    if reasons <= WAITS_FOR_BREAKER:
        return waiting.breaker
    return waiting.slots if reasons <= _WAITS_FOR_SLOT else waiting.quota
