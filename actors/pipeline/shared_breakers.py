"""The breakers that nodes share: gives the votes of this node's breakers to the others, and takes in theirs.

Each node's breakers are its own, and the votes of other nodes may open them, too; see
:mod:`actors.policies.breaker.sharing`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING

from actors.domain.store import BreakerVote, Store
from actors.kernel.actor import tell_unless_dead
from actors.messages import Message
from actors.pipeline.lane import Lane

if TYPE_CHECKING:
    from actors.kernel.system import ActorSystem
    from actors.pipeline.wiring import Stages


class VoteHeard(Message, frozen=True, gc=False):
    """Another node says that a breaker is open, or that it is not."""

    node: int
    lane: int
    """The number of the provider's lane in its channel."""

    host: str
    until_ns: int | None
    """When that lapses; None: it is not."""


class NodesCounted(Message, frozen=True, gc=False):
    """Other nodes live now than before."""

    nodes: frozenset[int]


class SharedBreakers:
    """The shared breakers of a process."""

    def __init__(self, system: ActorSystem, store: Store, stages: Iterable[Stages]) -> None:
        """Give them the votes so far, and give theirs to the other nodes from now on."""
        self._system = system
        self._store = store
        self._shared = {
            lane.name: (each.circuit_breaker, lane) for each in stages for lane in each.lanes if lane.is_shared
        }
        if not self._shared:
            return
        for _, lane in self._shared.values():
            lane.share(partial(self._say, lane))
            lane.recount(store.living_nodes, system.now_ns)
        for vote in store.said():
            self.hear(vote)

    def hear(self, vote: BreakerVote) -> None:
        """Pass on the vote of another node; a vote on a breaker that is not shared here is passed over."""
        if vote.breaker in self._shared:
            stage, lane = self._shared[vote.breaker]
            assert stage is not None
            until_ns = self._system.now_ns + vote.open_ns if vote.open_ns else None
            tell_unless_dead(stage, VoteHeard(vote.node, lane.number, vote.host, until_ns))

    def count(self, nodes: Collection[int]) -> None:
        for stage in dict.fromkeys(stage for stage, _ in self._shared.values()):
            assert stage is not None
            tell_unless_dead(stage, NodesCounted(frozenset(nodes)))

    def _say(self, lane: Lane, host: str, until_ns: int | None) -> None:
        open_ns = 0 if until_ns is None else max(0, until_ns - self._system.now_ns)
        self._store.say(lane.name, host, open_ns)
