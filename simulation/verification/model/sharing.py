"""A node of a fleet (section 17): it shares the store, breakers and quotas with the others.

Another node may have been faster with the same id, or the same letter; the notifications of a dead node are taken over;
a node that has not reached the store for long has no lease, and starts no attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import ClassVar

from actors.messages import (
    DeadLetterMessage,
    DuplicateIgnored,
    NotificationEvent,
    NotificationRedriven,
    NotificationRequested,
    SendNotification,
)
from actors.settings.rate_limit import QuotaConfig
from simulation.verification.model.breaker_groups import SharedBreaker
from simulation.verification.model.breakers import OPEN, Change
from simulation.verification.model.channel import Way
from simulation.verification.model.durability import News, Side, news_of
from simulation.verification.model.instants import ns
from simulation.verification.model.lane import Lane
from simulation.verification.model.limits import Limit, limit_of
from simulation.verification.model.loop import Loop, Timeline, Timer
from simulation.verification.model.node import Node
from simulation.verification.model.notifications import Notification
from simulation.verification.model.store import History, state_after

_BEGINS = (NotificationRequested, NotificationRedriven)


class SharingNode(Node):
    say: Callable[[int, str, str, int, int], None]
    """Tells the others of a breaker at a host of recipients until when it is open, which takes so many nanoseconds."""
    tell_others: Callable[[int, News], None]
    """Tells the others what this node has done to a letter."""

    def __init__(self, timeline: Timeline, number: int, surroundings: Loop) -> None:
        super().__init__(timeline, number)
        self.number = number
        self.side = Side(surroundings, number)
        self.overtaken: dict[str, SendNotification] = {}
        """By id, what another node has under way, or took first, of what is being accepted or redriven here."""
        self.taken_over: dict[str, Notification] = {}
        """Of those that are being accepted, which this node has taken over meanwhile."""
        self.held: dict[str, Notification] = {}
        """The notifications that are sent when there is a lease."""
        self.starts_when_reached = False
        """Whether it is to start when it reaches the store."""

    def start_process(self) -> None:
        self.overtaken.clear()
        self.taken_over.clear()
        super().start_process()

    def start(self) -> None:
        self.held.clear()
        super().start()

    # ── what another node was faster with, and what is taken over ───────────────────────────────────────────────

    def make_durable(self, kind: str, event: NotificationEvent, command: SendNotification) -> None:
        """Have the store take a change: after `commit_latency`, and not while this node does not reach it."""
        if self.side.takes_time:
            self.side.hand_over(event, command)
            return
        first = self.store.accepted_first(event)
        if first is not None:
            self.overtaken[event.notification_id] = first
            self.at(self.now_ns, "overtaken", event.notification_id)
            return
        self.store.keep(event, command, self.node)
        self.tell_others(self.number, news_of(event, self.store))
        self.fire(kind, event.notification_id)

    def on_overtaken(self, name: str) -> None:
        """Leave a notification to the node that was faster, unless it has come over from there since."""
        commit = self.commits.pop(name)
        event, notification = commit.event, commit.notification
        first, taken_over = self.overtaken.pop(name), self.taken_over.pop(name, None)
        del self.pending[name]
        if taken_over is not None:
            self.pending[name] = taken_over
            self.go_on_with([taken_over])
        else:
            self.take_up_next_redrive()
        is_new = isinstance(event, NotificationRequested) and event.instead_of is None
        conflict = is_new and first != notification.command
        again = self.event(DuplicateIgnored, notification.command, conflict=conflict)
        self.expect(again, "another node was faster with it")

    def take_over(self, histories: Iterable[History]) -> None:
        """ "What a dead node had is taken over" (17), as after a restart."""
        found = []
        for history in histories:
            name = history.command.notification_id
            notification = state_after(history.command, history.events, self.epoch_ns, self.now_ns)
            if name in self.commits and isinstance(self.commits[name].event, _BEGINS):
                self.taken_over[name] = notification
            elif name not in self.pending and name in self.store.open:  # else it has found it in the store since
                self.pending[name] = notification
                found.append(notification)
        self.go_on_with(found)

    def has_letter(self, letter: DeadLetterMessage | str) -> bool:
        name = letter if isinstance(letter, str) else letter.notification_id
        return not self.side.has_taken(name) and super().has_letter(letter)

    def letter_is_gone(self, name: str) -> None:
        """Drop a letter that another node has redriven or discarded, unless it is one again."""
        if not self.has_letter(name):
            self.letters.told.pop(name, None)
        self.letters.look()

    def lose(self) -> None:
        self.record_durable(self.side.is_durable)
        self.side.crash()

    # ── its lease ───────────────────────────────────────────────────────────────────────────────────────────────

    def has_lease(self) -> bool:
        has_lease = self.side.has_lease(self.now_ns)
        self.side.was_refused |= not has_lease
        return has_lease

    def send(self, notification: Notification) -> None:
        """Send an attempt on its way; without a lease it is held until there is one."""
        if self.has_lease():
            super().send(notification)
            return
        if notification.under_way is not None:
            self.end_attempt(notification, None)
        self.held[notification.command.notification_id] = notification

    def lease_is_renewed(self) -> None:
        """Go on with what was held, as after a restart."""
        held, self.held = self.held, {}
        self.go_on_with(
            [each for name, each in held.items() if self.pending.get(name) is each and name not in self.commits]
        )

    # ── breakers and quotas ─────────────────────────────────────────────────────────────────────────────────────

    def says(self, lane: Lane, change: Change) -> None:
        breaker = lane.config.circuit_breaker
        if breaker.shared == "none" or change.cause in ("others-open", "wait-over"):
            return
        until_ns = lane.breaker(change.host).changes_at_ns if change.after == OPEN else self.now_ns
        if until_ns is not None and OPEN in (change.before, change.after):
            self.say(self.number, lane.name, change.host, until_ns, ns(breaker.share_latency))

    def says_pause(self, lane: Lane, host: str, until_ns: int) -> None:
        latency_ns = ns(lane.config.circuit_breaker.share_latency)
        self.say(self.number, f"{lane.name} retry-after", host, until_ns, latency_ns)

    def hear(self, way: Way, breaker: str, host: str, node: int, until_ns: int) -> None:
        """Take in until when another node says that a breaker is open."""
        for lane in way.lanes:
            if breaker == f"{lane.name} retry-after":
                lane.paused_until_ns[host] = max(until_ns, lane.paused_until_ns.get(host, 0))
                return
            if lane.name == breaker:
                shared = lane.breaker(host)
                assert isinstance(shared, SharedBreaker)
                shared.hear(node, until_ns, lane.breakers.living, self.now_ns)
        way.look_after([host])
        way.tenants.let_in()

    def recount(self, way: Way, nodes: Collection[int]) -> None:
        for lane in way.lanes:
            lane.breakers.recount(nodes, self.now_ns)
        way.look_after(list(way.lines))
        way.tenants.let_in()

    def quota_of(self, config: QuotaConfig) -> Limit:
        """Return a quota as it begins: of one of all nodes, an equal part for each that lives."""
        return limit_of(config, self._living) if config.across == "nodes" else super().quota_of(config)

    @property
    def _living(self) -> int:
        return max(1, len(self.side.nodes))

    def divide_quotas(self) -> None:
        """Divide the quotas of all nodes among those that there are now."""
        lanes = [lane for way in self.ways.values() for lane in way.lanes]
        divided = [lane for lane in lanes if lane.config.quota is not None and lane.config.quota.across == "nodes"]
        for lane in divided:
            before, config = lane.quota, lane.config.quota
            assert before is not None
            assert config is not None
            lane.quota = limit_of(config, self._living)
            lane.quota.go_on_from(before, self.now_ns)
        for way in self.ways.values() if divided else ():
            way.follow(self._look_at_room, way)

    def _look_at_room(self, way: Way) -> None:
        way.take_turns()
        way.set_wake()
        way.tenants.let_in()

    TIMERS: ClassVar[Mapping[str, Timer]] = {**Node.TIMERS, "overtaken": Timer(on_overtaken, ("handler", ""))}
