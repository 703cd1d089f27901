"""The circuit breakers of a lane: one for all recipients, or one for each of their hosts.

An operator's override holds for all of them. Nodes that share breakers tell each other when theirs open and close.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from random import Random

from actors.messages import BreakerState
from actors.policies.breaker.breaker import Breaker, BreakerEvent, IllegalTransition, Transition
from actors.policies.breaker.per_host import BreakerGroup
from actors.policies.breaker.sharing import Sharing
from actors.settings.breaker import CircuitBreakerConfig

WHOLE_LANE = ""
"""The host, or the key of a count, that stands for the whole lane."""

_ORDERED = frozenset({BreakerState.FORCED_OPEN, BreakerState.DISABLED, BreakerState.METRICS_ONLY})
"""States that only the settings or an operator lead to."""

_NO_NEWS = frozenset({BreakerEvent.OTHERS_OPEN, BreakerEvent.WAIT_OVER})
"""Transitions that are no news to other nodes: they have caused them, or know since the opening when it ends."""


class LaneBreakers:
    """Iterating gives each breaker, behind its host: :data:`WHOLE_LANE` for the only one. `on_transition` takes a host
    and the transition of each."""

    def __init__(
        self,
        config: CircuitBreakerConfig,
        name: str,
        random: Random | None,
        on_transition: Callable[[str, Transition], None],
    ) -> None:
        self._on_transition = on_transition
        self._say: Callable[[str, int | None], None] | None = None
        self._sharing = None if config.shared == "none" else Sharing(config.shared)
        self._group: BreakerGroup | None = None
        self.only: Breaker | None = None
        """None: each host has one."""
        if config.per == "host":
            self._group = BreakerGroup(
                config, name=name, on_transition=self._transition, random=random, sharing=self._sharing
            )
        else:
            transition = partial(self._transition, WHOLE_LANE)
            self.only = Breaker(config, name=name, on_transition=transition, random=random, sharing=self._sharing)

    def of(self, host: str, now_ns: int) -> Breaker:
        """Return the breaker that decides about recipients at `host`."""
        if self.only is not None:
            return self.only
        assert self._group is not None
        return self._group.breaker(host, now_ns)

    def __iter__(self) -> Iterator[tuple[str, Breaker]]:
        if self._group is not None:
            yield from self._group
        elif self.only is not None:
            yield WHOLE_LANE, self.only

    def override(self, event: BreakerEvent, now_ns: int) -> bool:
        if self._group is not None:
            return self._group.override(event, now_ns)
        assert self.only is not None
        try:
            self.only.override(event, now_ns)
        except IllegalTransition:
            return False  # it is in that state already
        return True

    @property
    def begins(self) -> BreakerState:
        if self._group is not None:
            return self._group.begins
        assert self.only is not None
        return self.only.state if self.only.state in _ORDERED else BreakerState.CLOSED

    @property
    def are_shared(self) -> bool:
        """Whether other nodes have a say in whether they are open."""
        return self._sharing is not None

    def share(self, say: Callable[[str, int | None], None]) -> None:
        """Call a function from now on with a host and until when its breaker is open by its own calls; None: it is not
        any more."""
        self._say = say

    def hear(self, node: int, host: str, until_ns: int | None, now_ns: int) -> None:
        """Take in until when another node says that the breaker of a host is open; None: it does not say so."""
        self.of(host, now_ns).hear(node, until_ns, now_ns)

    def recount(self, nodes: Collection[int], now_ns: int) -> None:
        """Take in which nodes live now, this one included."""
        if self._sharing is not None:
            self._sharing.count(len(nodes))
            for _, breaker in list(self):
                breaker.recount(nodes, now_ns)

    def _transition(self, host: str, transition: Transition) -> None:
        self._on_transition(host, transition)
        if self._say is None or transition.event in _NO_NEWS:
            return
        if transition.to_state is BreakerState.OPEN:
            self._say(host, transition.reopen_at_ns)
        elif transition.from_state is BreakerState.OPEN:
            self._say(host, None)
