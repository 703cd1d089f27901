"""The nodes: which of them gets what arrives, and who takes over from one that is gone (section 17).

A run with one process has a fleet of one, of which nobody asks who gets what.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from actors.messages import DeadLetterDiscarded, NodeTookOver
from simulation.reference.addresses import host_of
from simulation.reference.durability import Durability
from simulation.reference.instants import ns
from simulation.reference.loop import Difference, Timeline
from simulation.reference.node import Node
from simulation.reference.notifications import News
from simulation.reference.randomness import Stream


class Fleet:
    """All nodes that there may be, in the order of their numbers."""

    def __init__(
        self, timeline: Timeline, at: Callable[[int, str, Any], None], wake: Callable[[str, Any, int | None], None]
    ) -> None:
        """Start those that are there from the beginning.

        Args:
            timeline: the time.
            at: puts on the agenda that something falls due.
            wake: does so in place of what was to fall due before.
        """
        self._timeline = timeline
        self._at = at
        world = self._world = timeline.world
        is_one = world.nodes_at_most == 1
        self.nodes = [Node(timeline, None if is_one else number) for number in range(1, world.nodes_at_most + 1)]
        count = 1 if world.nodes is None else world.nodes.count
        self.surplus = set(self.nodes[count:])
        """Those that there are too many."""
        self._arrived = 0
        self._random = Stream(world.seed, "nodes.routing")
        self._without_heirs: list[Node] = []
        self._leases: frozenset[Any] = frozenset()
        """Those that are there, and those that are gone and whose lease has not ended."""
        self._to_tell: deque[tuple[int, News]] = deque()
        """What others are to know of letters, and by which node."""
        self.number_told = 0
        """How often they were told."""
        self._said: dict[tuple[int, str, str], int] = {}
        """By node, breaker and host, until when a node says that it is open, as all know."""
        if not is_one:
            timeline.tell_others = self._tell_others
            timeline.durability = Durability(timeline.store, ns(world.commit_latency), wake)
        timeline.say = self._say
        self.start(self.nodes)

    def of(self, numbers: Sequence[int] | None) -> list[Node]:
        """Return the nodes with these numbers, or all."""
        return self.nodes if numbers is None else [self.nodes[number - 1] for number in numbers]

    @property
    def living(self) -> list[Node]:
        """Those that are there."""
        return [node for node in self.nodes if not node.is_down]

    @property
    def ready(self) -> list[Node]:
        """Those that are there and, if there is one that is not, are not about to end."""
        return [node for node in self.living if not node.is_draining] or self.living

    # ── who gets what ───────────────────────────────────────────────────────────────────────────────────────────

    def route(self, user: str, recipient: str) -> Node:
        """Return which node gets an arrival: of those that are there, if possible one that is not about to end."""
        ready = self.ready
        if not ready:
            return self.nodes[0]  # whose sender sees an error
        match self._world.nodes.routing:
            case "round_robin":
                place, self._arrived = self._arrived, self._arrived + 1
                return ready[place % len(ready)]
            case "random":
                return ready[int(self._random.draw() * len(ready))]
            case "by_user":
                return self._home_of(user, ready)
        return self._home_of(host_of(recipient), ready)

    def _home_of(self, key: str, ready: Sequence[Node]) -> Node:
        """Always the same for a user or for a host of recipients, while that lives: its home, or, where that is not
        there, the one of the others with the highest hash (rendezvous hashing)."""
        home = self.nodes[crc32(key.encode()) % len(self.nodes)]
        return home if home in ready else max(ready, key=lambda node: crc32(f"{node.node} {key}".encode()))

    # ── what they tell each other ───────────────────────────────────────────────────────────────────────────────

    def _tell_others(self, number: int | None, news: News) -> None:
        for node in self.living if news is not None else ():
            if node.node != number:
                self._tell_of_letter(node, news)

    @staticmethod
    def _tell_of_letter(node: Node, news: News) -> None:
        node.follow("dlq", "", node.letters.is_gone if isinstance(news, str) else node.letters.put_back, news)

    def settle(self, number: int, *, all_of_it: bool = False) -> None:
        """ "Durable, and known to the others, so much later": behind all that the node does at that instant."""
        node, timeline = self.nodes[number - 1], self._timeline
        for change in timeline.durability.take_durable(number, timeline.now_ns, all_of_it=all_of_it):
            name, is_discard = change.event.notification_id, isinstance(change.event, DeadLetterDiscarded)
            actor = "dlq" if is_discard else "handler"
            first = timeline.durability.faster(change, number)
            if first is None:
                news = timeline.store.keep(change.event, change.command, number)
                node.follow(actor, "", node.take_turn, "discarded" if is_discard else "commit", name)
                if news is not None:
                    self._to_tell.append((number, news))
                    self._at(timeline.now_ns + 1, "told", self.number_told + len(self._to_tell))
                continue
            node.overtaken[name] = first
            node.follow(actor, "", node.letters.is_not_discarded if is_discard else node.is_overtaken, name)
            if change.letter is not None:
                self._tell_of_letter(node, timeline.store.letter(name) or name)

    def tell(self) -> None:
        """Have the others know of a letter what is durable."""
        self.number_told += 1
        self._tell_others(*self._to_tell.popleft())

    def _say(self, number: int | None, breaker: str, host: str, until_ns: int, latency_ns: int) -> None:
        """ "News take `share_latency`" (17)."""
        now_ns = self._timeline.now_ns
        self._at(now_ns + latency_ns, "known", (number, breaker, host, until_ns, now_ns))

    def is_known(self, number: int, breaker: str, host: str, until_ns: int, _said_ns: int) -> None:
        """Have the others know what a node has said; one that says nothing more, by its lease, is not heard."""
        if number in self._leases:
            self._said[number, breaker, host] = until_ns
            for node in self.living:
                if node.node != number:
                    self._tell(node, number, breaker, host, until_ns)

    def _tell(self, node: Node, number: int, breaker: str, host: str, until_ns: int) -> None:
        way = node.ways[breaker.partition("/")[0]]
        node.follow("breaker", way.channel, way.hear, breaker, host, number, until_ns)

    def _lease(self, leases: frozenset[Any]) -> None:
        """Have these and no others count as living."""
        if leases == self._leases:
            return
        is_one_gone, self._leases = not self._leases <= leases, leases
        self._timeline.store.living = len(leases)
        self._said = {said: until_ns for said, until_ns in self._said.items() if said[0] in leases}
        for node in self.living:
            for way in node.ways.values():
                if any(lane.is_shared for lane in way.lanes):
                    node.follow("breaker", way.channel, way.recount, leases)
            node.divide_quotas()
            if is_one_gone and node.redriving.channels:
                node.follow("dlq", "", node.redriving.all_closed)

    def _start(self, node: Node) -> None:
        """Start a node, which learns what the others say."""
        node.start_process()
        for way in node.ways.values():
            for lane in way.lanes:
                lane.recount(self._leases)
        for (number, breaker, host), until_ns in sorted(self._said.items()):
            if number != node.node and until_ns > self._timeline.now_ns:
                self._tell(node, number, breaker, host, until_ns)

    # ── one is gone ─────────────────────────────────────────────────────────────────────────────────────────────

    def crash(self, error: str, nodes: Sequence[Node], takeover_after: float, *, is_parked: bool = False) -> None:
        """Kill nodes that are there; what they had is taken over so many seconds later.

        One that is stopped in order has parked it: what it has handed over is durable.
        """
        for node in nodes:
            if is_parked and node.node is not None:
                self.settle(node.node, all_of_it=True)
            node.kill()
        for node in nodes:
            node.record_death(error)
            if node.node is not None:
                self._at(self._timeline.now_ns + ns(takeover_after), "takeover", (node.node, node.starts))

    def start(self, nodes: Sequence[Node]) -> None:
        """Start those that are down and not too many; and have taken over what nobody was there for."""
        wanted = [node for node in nodes if node not in self.surplus]
        self._lease(self._leases | {node.node for node in wanted})
        for node in wanted:
            if node.is_down:
                self._start(node)
        left, self._without_heirs = self._without_heirs, []
        for node in left:
            self._take_over(node)

    def lease_ends(self, number: int, starts: int) -> None:
        """ "Taken over … as a lease runs out", unless it is back."""
        gone = self.nodes[number - 1]
        if gone.starts == starts:
            self._take_over(gone)

    def _take_over(self, gone: Node) -> None:
        """The nodes that are there share what one had evenly, each every so-many-th in the order in which it got it."""
        heirs = self.ready
        if not gone.is_down:
            return
        self._lease(self._leases - {gone.node})
        if not heirs:
            self._without_heirs.append(gone)
            return
        store = self._timeline.store
        left = list(store.open_at(gone.node))
        for place, heir in enumerate(heirs):
            names = tuple(left[place :: len(heirs)])
            if names:
                assert heir.node is not None
                heir.follow("handler", "", heir.take_over, store.hand_over(names, heir.node))
                event = heir.event(NodeTookOver, None, from_node=gone.node, notification_ids=names)
                heir.expect(event, "what a dead node had is taken over after takeover_after")

    def check_route(self, user: str, recipient: str, number: int) -> None:
        """Compare which node gets an arrival."""
        expected = self.route(user, recipient).node
        if expected != number:
            raise Difference(
                f"what is for user {user!r} at {recipient!r} goes to node {number}, not to node {expected}\n"
                f"rule: of the nodes that are there, routing is {self._world.nodes.routing}"
            )
