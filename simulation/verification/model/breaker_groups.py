"""Breakers that belong together: one for each host of recipients, and those that the nodes of a fleet share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from actors.messages import BreakerState
from actors.settings.breaker import CircuitBreakerConfig
from simulation.verification.model.breakers import CLOSED, HALF_OPEN, OPEN, Breaker, Change
from simulation.verification.model.instants import NS_PER_S, wait_ns
from simulation.verification.model.randomness import Stream


class SharedBreaker(Breaker):
    """One that heeds what other nodes say of theirs (`shared: any` or `quorum`)."""

    _told_until_ns: int | None = None
    """While it opens as others say so, until when."""
    _own_until_ns: int | None = None
    """While its own calls have it open, until when."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._others: dict[int, int] = {}
        """By other nodes, until when they say that it is open."""

    def hear(self, node: int, until_ns: int, living: int, now_ns: int) -> None:
        """Take in until when another node says that it is open; an instant that has come: it does not."""
        self.advance(now_ns)
        self._others[node] = until_ns
        self._heed_others(living, now_ns)

    def recount(self, nodes: Collection[int], now_ns: int) -> None:
        """Drop what nodes said that do not live any more."""
        self.advance(now_ns)
        self._others = {node: until_ns for node, until_ns in self._others.items() if node in nodes}
        self._heed_others(len(nodes), now_ns)

    def _heed_others(self, living: int, now_ns: int) -> None:
        """ "Open when one, or more than half, of the living nodes say so" (17), at least for one's own open time."""
        needed = 1 if self._config.shared == "any" else living // 2 + 1
        standing = sorted(until_ns for until_ns in self._others.values() if until_ns > now_ns)
        until_ns = standing[-needed] if len(standing) >= needed else None
        if self.state == OPEN:
            ends_ns = [each for each in (until_ns, self._own_until_ns) if each is not None]
            self.changes_at_ns = max(ends_ns, default=now_ns)
        elif until_ns is not None and self.state in (CLOSED, HALF_OPEN):
            self._told_until_ns = until_ns
            self._change(now_ns, "others-open", OPEN)
            self._told_until_ns = None

    def override(self, order: str, now_ns: int) -> None:
        generation = self.generation
        super().override(order, now_ns)
        if self.generation != generation:
            self._others.clear()

    def _change(self, now_ns: int, cause: str, after: BreakerState) -> None:
        self._own_until_ns = None
        super()._change(now_ns, cause, after)

    def _opens_until(self, now_ns: int) -> int:
        if self._told_until_ns is not None:
            return self._told_until_ns
        self._own_until_ns = super()._opens_until(now_ns)
        return self._own_until_ns


class BreakersByHost:
    """A breaker for each host of recipients, made when first asked for; one for all is that of the host ``""``.

    Overrides hold for those that come later too.

    When one is made, those are forgotten for which nobody has asked in an hour (or twice the longest open time, if that
    is more), and the longest unused beyond 10,000.
    """

    KEYS_MAX = 10_000

    def __init__(
        self, config: CircuitBreakerConfig, stream: Stream, on_change: Callable[[Change], None] = lambda change: None
    ) -> None:
        self._config = config
        self._kind = Breaker if config.shared == "none" else SharedBreaker
        self._stream = stream
        self._on_change = on_change
        self._breakers: dict[str, tuple[Breaker, int]] = {}
        """The longest unused first, and when each was last asked for."""
        self.living = 1
        """How many nodes live that share them."""
        self._generation = 1
        self._order: str | None = None
        longest = config.timeout if config.open_growth is None else config.open_growth.max
        self._idle_ns = max(3600 * NS_PER_S, 2 * wait_ns(longest))

    def of(self, host: str, now_ns: int) -> Breaker:
        if (kept := self._breakers.pop(host, None)) is not None:
            self._breakers[host] = kept[0], now_ns
            return kept[0]
        for other, (breaker, used_ns) in list(self._breakers.items()):
            if len(self._breakers) < self.KEYS_MAX and now_ns - used_ns < self._idle_ns:
                break
            self._generation = max(self._generation, breaker.generation + 1)
            del self._breakers[other]
        new = self._kind(self._config, self._stream, self._on_change, host=host, generation=self._generation)
        self._breakers[host] = new, now_ns
        if self._order is not None:
            new.override(self._order, now_ns)
        return new

    def all(self) -> list[tuple[str, Breaker]]:
        return [(host, breaker) for host, (breaker, _) in self._breakers.items()]

    def override(self, order: str, now_ns: int) -> None:
        self._order = order
        for _, breaker in self.all():
            breaker.override(order, now_ns)

    def recount(self, nodes: Collection[int], now_ns: int) -> None:
        self.living = len(nodes)
        for _, breaker in self.all():
            if isinstance(breaker, SharedBreaker):
                breaker.recount(nodes, now_ns)
