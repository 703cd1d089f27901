"""Pauses that a provider asks for by a Retry-After: until when nothing more goes to it, or to one of its hosts."""

from __future__ import annotations

from typing import Literal

from actors.instants import wait_ns
from actors.policies.retry.backoff import retry_after_ns

_WHOLE = ""


class Pauses:
    """The pauses of one provider. `now_ns` never goes back from one call to the next.

    Args:
        by: whether each host of recipients has its own pause, or one pause holds for the whole channel.
        longest_s: the longest pause, in seconds.
    """

    __slots__ = ("_by_host", "_longest_ns", "_many", "_until_ns")

    def __init__(self, by: Literal["host", "channel"], longest_s: float) -> None:
        self._by_host = by == "host"
        self._longest_ns = wait_ns(longest_s)
        self._until_ns: dict[str, int] = {}
        self._many = 100

    def until_ns(self, host: str, now_ns: int) -> int:
        """Return when the next attempt for a host may start; `now_ns`: there is no pause."""
        return max(now_ns, self._until_ns.get(host if self._by_host else _WHOLE, now_ns))

    def after_hint(self, host: str, hint_s: float | None, now_ns: int) -> tuple[str, int] | None:
        """Pause after a hint in seconds. Return for which host (``""``: all) and until when, for other nodes; None
        where that changes nothing, as the hint is no time to wait, or an earlier pause lasts as long."""
        key, until_ns = host if self._by_host else _WHOLE, now_ns + min(retry_after_ns(hint_s), self._longest_ns)
        if until_ns <= self.until_ns(key, now_ns):
            return None
        self.pause(key, until_ns, now_ns)
        return key, until_ns

    def pause(self, host: str, until_ns: int, now_ns: int) -> None:
        """Pause until an instant, or for longer where an earlier hint says so."""
        self._until_ns[host] = max(until_ns, self._until_ns.get(host, 0))
        if len(self._until_ns) > self._many:
            self._until_ns = {key: end_ns for key, end_ns in self._until_ns.items() if end_ns > now_ns}
            self._many = max(100, 2 * len(self._until_ns))
