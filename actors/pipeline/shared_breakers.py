"""Nodes share two facts about a provider: the votes of their breakers, and the pauses that the provider asks for.

Each node has its own breakers, which the votes of other nodes may open; see :mod:`actors.policies.breaker.sharing`. A
pause goes the same way, under a name that no breaker has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING

from actors.domain.store import BreakerVote, Store
from actors.kernel.actor import handles, tell_unless_dead
from actors.messages import Message, NotificationChannel
from actors.pipeline.lane import names_among_nodes
from actors.pipeline.stage import Stage
from actors.pipeline.wiring import Stages

if TYPE_CHECKING:
    from actors.kernel.system import ActorSystem


class VoteHeard(Message, frozen=True, gc=False):
    """Another node says that a breaker is open, or that it is not."""

    node: int
    lane: int
    """The number of the provider's lane in its channel."""

    host: str
    until_ns: int | None
    """When that lapses; None: it is not."""


class PauseHeard(Message, frozen=True, gc=False):
    """A provider has asked another node for a pause."""

    lane: int
    host: str
    until_ns: int


class NodesCounted(Message, frozen=True, gc=False):
    """Other nodes live now than before."""

    nodes: frozenset[int]


class SharedStage(Stage):
    """A stage with the breakers of a channel, in which other nodes have a say."""

    def __init__(self, channel: NotificationChannel, stages: Stages) -> None:
        super().__init__(channel, stages)
        self._lanes = stages.lanes

    def _look_after(self, hosts: Collection[str] | None) -> None:
        """Let those go that may by now: by turns, and at these hosts; None: at all."""
        raise NotImplementedError

    @handles(VoteHeard)
    def on_vote_heard(self, heard: VoteHeard) -> None:
        self._lanes[heard.lane].breakers.hear(heard.node, heard.host, heard.until_ns, self.now_ns)
        self._look_after((heard.host,))

    @handles(PauseHeard)
    def on_pause_heard(self, heard: PauseHeard) -> None:
        pauses = self._lanes[heard.lane].pauses
        assert pauses is not None
        pauses.pause(heard.host, heard.until_ns, self.now_ns)

    @handles(NodesCounted)
    def on_nodes_counted(self, counted: NodesCounted) -> None:
        for lane in self._lanes:
            lane.breakers.recount(counted.nodes, self.now_ns)
        self._look_after(None)


class SharedBreakers:
    """The shared breakers of a process."""

    def __init__(self, system: ActorSystem, store: Store, stages: Iterable[Stages]) -> None:
        """Give the breakers the votes so far, and from now on give their votes to the other nodes."""
        self._system = system
        self._store = store
        self._shared = {
            lane.name: (each.circuit_breaker, lane)
            for each in stages
            for lane in each.lanes
            if lane.breakers.are_shared
        }
        self._pausing = {
            names_among_nodes(lane.name)[1]: (each.circuit_breaker, lane)
            for each in stages
            for lane in each.lanes
            if lane.pauses is not None
        }
        if not self._shared and not self._pausing:
            return
        for name, (_, lane) in self._pausing.items():
            lane.share_pauses(partial(self._say, name))
        for _, lane in self._shared.values():
            lane.breakers.share(partial(self._say, lane.name))
            lane.breakers.recount(store.living_nodes, system.now_ns)
        for vote in store.said():
            self.hear(vote)

    def hear(self, vote: BreakerVote) -> None:
        if vote.breaker in self._shared:
            stage, lane = self._shared[vote.breaker]
            assert stage is not None
            until_ns = self._system.now_ns + vote.open_ns if vote.open_ns else None
            tell_unless_dead(stage, VoteHeard(vote.node, lane.number, vote.host, until_ns))
        elif vote.breaker in self._pausing:
            stage, lane = self._pausing[vote.breaker]
            assert stage is not None
            tell_unless_dead(stage, PauseHeard(lane.number, vote.host, self._system.now_ns + vote.open_ns))

    def count(self, nodes: Collection[int]) -> None:
        for stage in dict.fromkeys(stage for stage, _ in self._shared.values()):
            assert stage is not None
            tell_unless_dead(stage, NodesCounted(frozenset(nodes)))

    def _say(self, name: str, host: str, until_ns: int | None) -> None:
        open_ns = 0 if until_ns is None else max(0, until_ns - self._system.now_ns)
        self._store.say(name, host, open_ns)
