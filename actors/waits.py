"""A wait in seconds, from settings or from a provider, as nanoseconds: always finite, never negative."""

from __future__ import annotations

from actors.instants import ns

LONGEST_WAIT_NS = 2**62
"""About 146 years: an instant of this century plus this wait still fits into 64 bits, which is what a database has."""

NEVER_NS = 2**63 - 1
"""The instant at which that fits which never will; after every instant that a wait leads to."""

_LONGEST_WAIT_S = LONGEST_WAIT_NS / 1e9


def wait_ns(seconds: float) -> int:
    """Return `seconds` (at least 0, not NaN) as the nearest nanosecond, or :data:`LONGEST_WAIT_NS` if that is less."""
    return ns(seconds) if seconds < _LONGEST_WAIT_S else LONGEST_WAIT_NS


def sooner(one_ns: int | None, other_ns: int | None) -> int | None:
    """Return the earlier of two instants, either of which may be None: never."""
    if one_ns is None or other_ns is None:
        return other_ns if one_ns is None else one_ns
    return min(one_ns, other_ns)
