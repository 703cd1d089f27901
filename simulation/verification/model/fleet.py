"""The processes of a run: one, or the nodes of a fleet: which of them gets what arrives, what they tell each other, and
who takes over (section 17).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Generic, TypeVar
from zlib import crc32

from actors.messages import DeadLetterDiscarded, NodeTookOver
from simulation.verification.model.addresses import host_of
from simulation.verification.model.comparing import Difference
from simulation.verification.model.durability import LateNode, News, news_of
from simulation.verification.model.instants import ns
from simulation.verification.model.loop import Loop, Timeline
from simulation.verification.model.node import Node
from simulation.verification.model.randomness import Stream
from simulation.verification.model.sharing import SharingNode

N = TypeVar("N", bound=Node)


class Processes(Generic[N]):
    """All possible processes, in the order of their numbers; the first `count` start."""

    def __init__(self, nodes: Sequence[N], count: int) -> None:
        self.nodes = list(nodes)
        self.surplus = set(self.nodes[count:])
        """The processes beyond the current count."""
        self.start(self.nodes)

    def of(self, numbers: Sequence[int] | None) -> list[N]:
        return self.nodes if numbers is None else [self.nodes[number - 1] for number in numbers]

    @property
    def living(self) -> list[N]:
        return [node for node in self.nodes if not node.is_down]

    def crash(self, error: str, nodes: Sequence[N], *, is_parked: bool = False) -> None:
        """Kill those that are there; one that is stopped in order has parked what it had."""
        for node in nodes:
            node.kill()
        for node in nodes:
            node.record_death(error)

    def start(self, nodes: Sequence[N]) -> None:
        for node in nodes:
            if node.is_down:
                node.start_process()


def alone(timeline: Timeline) -> Processes[Node]:
    return Processes([LateNode(timeline) if timeline.world.commit_latency else Node(timeline)], 1)


LEASE_LOST = "LostLease: another node has taken over what it had"


class Fleet(Processes[SharingNode]):
    def __init__(self, surroundings: Loop) -> None:
        self._surroundings = surroundings
        timeline = self._timeline = surroundings.timeline
        world = self._world = timeline.world
        self._arrived = 0
        self._lease_ns = ns(world.nodes.takeover_after)
        self._random = Stream(world.seed, "nodes.routing")
        self._without_heirs: list[SharingNode] = []
        self._leases: frozenset[int] = frozenset()
        """The nodes that are up, and the ones that are gone and whose lease has not ended."""
        self._to_tell: deque[tuple[int, News]] = deque()
        """The news of letters for the other nodes, each with the node it is from."""
        self.number_told = 0
        self._said: dict[tuple[int, str, str], int] = {}
        """By node, breaker and host, until when a node reports that it is open, as all know."""
        nodes = [SharingNode(timeline, number, surroundings) for number in range(1, world.nodes_at_most + 1)]
        for node in nodes:
            node.say, node.tell_others = self._say, self._tell_others
        super().__init__(nodes, world.nodes.count)

    @property
    def ready(self) -> list[SharingNode]:
        """The nodes that are up and, if there is one, are not about to end, and have a lease."""
        return [
            node for node in self.living if not node.is_draining and node.side.has_lease(self._timeline.now_ns)
        ] or self.living

    # ── who gets what ───────────────────────────────────────────────────────────────────────────────────────────

    def route(self, user: str, recipient: str) -> SharingNode:
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

    def _home_of(self, key: str, ready: Sequence[SharingNode]) -> SharingNode:
        """Always the same for a user or for a host of recipients, while that lives: its home, or, where that is not
        there, the one of the others with the highest hash (rendezvous hashing)."""
        home = self.nodes[crc32(key.encode()) % len(self.nodes)]
        return home if home in ready else max(ready, key=lambda node: crc32(f"{node.number} {key}".encode()))

    # ── what they tell each other ───────────────────────────────────────────────────────────────────────────────

    def _tell_others(self, number: int, news: News) -> None:
        for node in self.nodes if news is not None else ():
            if node.number != number:
                node.side.hear(partial(self._tell_of_letter, node, news))

    @staticmethod
    def _tell_of_letter(node: SharingNode, news: News) -> None:
        if not node.is_down:
            node.follow("dlq", "", node.letter_is_gone if isinstance(news, str) else node.letters.put_back, news)

    def settle(self, number: int, *, all_of_it: bool = False) -> None:
        """ "Durable, and known to the others, so much later": behind all that the node does at that instant."""
        node, timeline = self.nodes[number - 1], self._timeline
        for change in node.side.take_durable(timeline.now_ns, all_of_it=all_of_it):
            name, is_discard = change.event.notification_id, isinstance(change.event, DeadLetterDiscarded)
            actor = "dlq" if is_discard else "handler"
            first = node.side.faster(change)
            if first is None:
                timeline.store.keep(change.event, change.command, number)
                news = news_of(change.event, timeline.store)
                node.follow(actor, "", node.fire, "discarded" if is_discard else "commit", name)
                if news is not None:
                    self._to_tell.append((number, news))
                    self._surroundings.at(timeline.now_ns + 1, "told", self.number_told + len(self._to_tell))
                continue
            node.overtaken[name] = first
            node.follow(actor, "", node.letters.on_not_discarded if is_discard else node.on_overtaken, name)
            if change.letter is not None:
                self._tell_of_letter(node, timeline.store.letter(name) or name)

    def tell(self) -> None:
        """Have the others know of a letter what is durable."""
        self.number_told += 1
        self._tell_others(*self._to_tell.popleft())

    def _say(self, number: int, breaker: str, host: str, until_ns: int, latency_ns: int) -> None:
        """ "News take `share_latency`" (17)."""
        now_ns = self._timeline.now_ns
        side = self.nodes[number - 1].side
        if side.is_cut_off:
            side.unsaid[breaker, host] = until_ns, latency_ns
            return
        self._surroundings.at(now_ns + latency_ns, "known", (number, breaker, host, until_ns, now_ns))

    def on_known(self, number: int, breaker: str, host: str, until_ns: int, _said_ns: int) -> None:
        """Have the others know what a node has said; one that says nothing more, by its lease, is not heard."""
        if number in self._leases:
            self._said[number, breaker, host] = until_ns
            for node in self.nodes:
                if node.number != number:
                    node.side.hear(partial(self._tell_what_stands, node, number, breaker, host))

    def _tell_what_stands(self, node: SharingNode, number: int, breaker: str, host: str) -> None:
        """Have a node know until when another one says that a breaker is open, which may have been later."""
        if not node.is_down:
            self._tell(node, number, breaker, host, self._said.get((number, breaker, host), 0))

    def _tell(self, node: SharingNode, number: int, breaker: str, host: str, until_ns: int) -> None:
        way = node.ways[re.split("[/ ]", breaker)[0]]
        way.follow(node.hear, way, breaker, host, number, until_ns)

    def _lease(self, leases: frozenset[int]) -> None:
        if leases == self._leases:
            return
        self._leases = leases
        self._said = {said: until_ns for said, until_ns in self._said.items() if said[0] in leases}
        for node in self.nodes:
            self._count(node)

    def _count(self, node: SharingNode) -> None:
        side, leases = node.side, self._leases
        if side.is_cut_off or side.nodes == leases:
            return
        is_one_gone, side.nodes = not side.nodes <= leases, leases
        if not node.is_down:
            for way in node.ways.values():
                if any(lane.config.circuit_breaker.shared != "none" for lane in way.lanes):
                    way.follow(node.recount, way, leases)
            node.divide_quotas()
            if is_one_gone and node.redriving.channels:
                node.follow("dlq", "", node.redriving.all_closed)

    def _start(self, node: SharingNode) -> None:
        node.start_process()
        for way in node.ways.values():
            for lane in way.lanes:
                lane.breakers.recount(self._leases, self._timeline.now_ns)
        for (number, breaker, host), until_ns in sorted(self._said.items()):
            if number != node.number and until_ns > self._timeline.now_ns:
                self._tell(node, number, breaker, host, until_ns)

    # ── one is gone ─────────────────────────────────────────────────────────────────────────────────────────────

    def crash(self, error: str, nodes: Sequence[SharingNode], *, is_parked: bool = False) -> None:
        """Kill nodes that are there; what they had is taken over when their leases have ended.

        One that is stopped in order has parked it: what it has handed over is durable, and is taken over at once.
        """
        now_ns = self._timeline.now_ns
        for node in nodes:
            if is_parked:
                self.settle(node.number, all_of_it=True)
        super().crash(error, nodes)
        for node in nodes:
            since_ns = node.side.cut_off_ns if node.side.is_cut_off else now_ns
            is_at_once = is_parked and not node.side.is_cut_off
            ends_ns = now_ns if is_at_once else max(now_ns, since_ns + self._lease_ns)
            self._surroundings.at(ends_ns, "takeover", (node.number, node.starts))

    def start(self, nodes: Sequence[SharingNode]) -> None:
        """Start those that are down and not too many, as soon as they reach the store; and have taken over what nobody
        was there for."""
        for node in nodes:
            node.starts_when_reached = node.is_down and node.side.is_cut_off
        wanted = [node for node in nodes if node not in self.surplus and not node.side.is_cut_off]
        self._lease(self._leases | {node.number for node in wanted})
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

    def _take_over(self, gone: SharingNode) -> None:
        """The nodes that are there share what one had evenly, each every so-many-th in the order in which it got it."""
        heirs = [node for node in self.ready if not node.side.is_cut_off]
        if not gone.is_down:
            return
        self._lease(self._leases - {gone.number})
        if not heirs:
            self._without_heirs.append(gone)
            return
        store = self._timeline.store
        left = list(store.open_at(gone.number))
        for place, heir in enumerate(heirs):
            names = tuple(left[place :: len(heirs)])
            if names:
                heir.follow("handler", "", heir.take_over, store.hand_over(names, heir.number))
                event = heir.event(NodeTookOver, None, from_node=gone.number, notification_ids=names)
                heir.expect(event, "what a dead node had is taken over after takeover_after")

    # ── a node that does not reach the store ────────────────────────────────────────────────────────────────────

    def cut_off(self, nodes: Sequence[SharingNode]) -> None:
        now_ns = self._timeline.now_ns
        for node in nodes:
            node.side.partitions += 1
            if node.side.partitions == 1:
                node.side.cut_off_ns = now_ns
        self._surroundings.at(now_ns + self._lease_ns, "leases", now_ns + self._lease_ns)

    def reconnect(self, nodes: Sequence[SharingNode]) -> None:
        """Have those reach the store again that nothing else keeps from it; they say, and hear, what was to be said."""
        now_ns = self._timeline.now_ns
        for node in nodes:
            side = node.side
            side.partitions -= 1
            if side.is_cut_off:
                continue
            self.settle(node.number)
            unsaid, side.unsaid = side.unsaid, {}
            for (breaker, host), (until_ns, latency_ns) in unsaid.items():
                self._say(node.number, breaker, host, max(until_ns, now_ns), latency_ns)
            self._count(node)
            unheard, side.unheard = side.unheard, []
            for news in unheard:
                news()
            if side.was_refused:
                side.was_refused = False
                if not node.is_down:
                    node.follow("handler", "", node.lease_is_renewed)
        self.start([node for node in nodes if node.starts_when_reached and node not in self.surplus])
        # "A node that has only just come back ends no lease of another node, for a third of its own."
        self._surroundings.at(now_ns + self._lease_ns // 3, "leases", now_ns + self._lease_ns // 3)

    def end_leases(self) -> None:
        """ "When it has passed, and another node reaches the store, the others take over what they had: they end, and
        start again at the end of the window. Else they go on." """
        over_ns = self._timeline.now_ns - self._lease_ns
        over = [node for node in self.living if node.side.is_cut_off and node.side.cut_off_ns <= over_ns]
        if over and any(not node.side.is_cut_off for node in self.living):
            self.crash(LEASE_LOST, over)
            for node in over:
                node.starts_when_reached = True

    def check_route(self, user: str, recipient: str, number: int) -> None:
        expected = self.route(user, recipient).number
        if expected != number:
            raise Difference(
                f"what is for user {user!r} at {recipient!r} goes to node {number}, not to node {expected}\n"
                f"rule: of the nodes that are there, routing is {self._world.nodes.routing}"
            )
