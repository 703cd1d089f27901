"""Takeovers: what a node had is the others' when its lease is over, not sooner and not later; and which nodes live."""

from __future__ import annotations

from actors.formatting import seconds_text
from actors.messages import ActorFailed, NodeTookOver
from actors.pipeline.handler import Handler
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import ActorStarted, AttemptMade

_STOPPED = "Stopped: "
"""How the error begins of a node that is stopped in order: it has no lease any more."""


class Leases:
    """Which nodes count as living: those that are there, and those that are gone whose lease is not over."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.up_since_ns: dict[int, int] = {}
        """By node that is there: when it has started."""
        self.ends_ns: dict[int, int] = {}
        """By node that is gone: when its lease is over."""

    def take_in(self, event: ActorFailed | ActorStarted) -> None:
        """Take note of what happens to an actor, which may be the end or the beginning of its node."""
        node = event.node
        if node is None:
            return
        if isinstance(event, ActorStarted):
            if event.kind is Handler and node not in self.up_since_ns:  # else it is the handler alone that is back
                self.up_since_ns[node] = event.at_ns
                self.ends_ns.pop(node, None)
        elif event.actor == PROCESS:
            self.up_since_ns.pop(node, None)
            partition, lease_ns = self._context.partition_at(node, event.at_ns), self._context.takeover_after_ns
            if partition is not None:
                self.ends_ns[node] = max(event.at_ns, partition[0] + lease_ns)
            else:
                self.ends_ns[node] = event.at_ns + (0 if event.error.startswith(_STOPPED) else lease_ns)

    def least(self, now_ns: int) -> int:
        """Return how many live, those not counted whose lease is over at this instant."""
        return len(self.up_since_ns) + sum(end_ns > now_ns for end_ns in self.ends_ns.values())

    def most(self, now_ns: int) -> int:
        """Return how many live, those counted whose lease is over at this instant."""
        return len(self.up_since_ns) + sum(end_ns >= now_ns for end_ns in self.ends_ns.values())


class Takeovers(Invariant):
    """What a node had that has died is taken over `takeover_after` later, and at once what one had that was stopped in
    order: not sooner; not later, if another node is there; and not what one has that is back by then.

    The lease of one that does not reach the store counts from when it was cut off; and such a node takes over nothing.
    """

    name = "takeovers"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._leases = Leases(context)

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.nodes > 1 and super().applies(context)

    @observes(ActorFailed, ActorStarted)
    def on_life(self, event: ActorFailed | ActorStarted) -> None:
        self._leases.take_in(event)

    @observes(NodeTookOver)
    def on_takeover(self, takeover: NodeTookOver) -> Objection:
        gone, now_ns = takeover.from_node, takeover.at_ns
        ends_ns = self._leases.ends_ns.get(gone)
        if ends_ns is None:
            return f"node {takeover.node} takes over what node {gone} has, which is there"
        taken, over = f"node {takeover.node} takes over what node {gone} had", f"is over at {seconds_text(ends_ns)}"
        if now_ns < ends_ns:
            return f"{taken}, whose lease {over}"
        if takeover.node is not None and self.context.partition_at(takeover.node, now_ns) is not None:
            return f"{taken}, and does not reach the store itself"
        up_since_ns = self._leases.up_since_ns.items()
        there = next(
            (node for node, since_ns in up_since_ns if since_ns < ends_ns and self._reaches_ns(node, ends_ns) < now_ns),
            None,
        )
        if there is not None:
            return f"{taken} only now, though its lease {over} and node {there} is there since before that"
        return None

    def _reaches_ns(self, node: int, from_ns: int) -> int:
        """Return the first instant from one on at which a node reaches the store."""
        partition = self.context.partition_at(node, from_ns)
        return from_ns if partition is None else partition[1]


class Fenced(Invariant):
    """A node that does not reach the store starts no attempt when nine tenths of `takeover_after` have passed, since
    others may take over what it has."""

    name = "fenced"

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.has_partitions and super().applies(context)

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        partition = None if made.node is None else self.context.partition_at(made.node, made.at_ns)
        if partition is None:
            return None
        until_ns = partition[0] + self.context.takeover_after_ns * 9 // 10
        if made.at_ns <= until_ns:
            return None
        since = seconds_text(partition[0])
        return (
            f"{made.notification_id} is sent by node {made.node}, which has not reached the store since {since} "
            f"and may have sent until {seconds_text(until_ns)}"
        )
