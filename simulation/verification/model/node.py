"""One process of the service, alone or a node of several: how it and its actors start and crash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import ClassVar

import msgspec

from actors.messages import ActorFailed, BreakerState, NotificationEvent
from actors.settings.faults import Crash, FaultConfig
from simulation.verification.model.backlog import Backlog
from simulation.verification.model.backoff import Retrying
from simulation.verification.model.breakers import Change
from simulation.verification.model.budgets import budget_of
from simulation.verification.model.channel import Way
from simulation.verification.model.comparing import timer_that_waits
from simulation.verification.model.hedging import Hedging
from simulation.verification.model.instants import NS_PER_S, ns
from simulation.verification.model.letters import Letters
from simulation.verification.model.loop import Place, Step, Timeline, Timer
from simulation.verification.model.notifications import Notification
from simulation.verification.model.orders import Orders
from simulation.verification.model.redriving import Redriving
from simulation.verification.model.resuming import Arrivals
from simulation.verification.model.store import state_after

CLASSES = {
    "handler": "Handler",
    "limiter": "RateLimiterActor",
    "breaker": "CircuitBreakerActor",
    "channel": "Channel",
    "dlq": "DeadLetterQueue",
    "alert": "AdminAlert",
}
DEDUPLICATING = {"limiter": "DeduplicatingLimiter", "breaker": "DeduplicatingBreaker"}
"""Of those that take their place where messages may come twice."""
PIPELINE = frozenset({*CLASSES.values(), *DEDUPLICATING.values(), "HedgingChannel", "process"})
"""By these names the history has the failures that the model foresees: own actors are no part of it."""
RESTARTS, WINDOW_NS = 5, 60 * 10**9
"""An actor that has failed so often within so long ends the run when it fails once more."""


def _stage(actor: str, rule: Callable[[Way], None]) -> Timer:
    return Timer(lambda node, channel: rule(node.ways[channel]), lambda _, channel: (actor, channel), may_look=True)


class Node(Orders):
    """A process, which is down until it is started."""

    def __init__(self, timeline: Timeline, node: int | None = None) -> None:
        super().__init__(timeline, node)
        self.is_draining = False
        """Whether it is about to end, and gets nothing new."""
        self._failed_ns: dict[Place, list[int]] = {}

    # ── starting, and starting again ────────────────────────────────────────────────────────────────────────────

    def start_process(self) -> None:
        """Start it over what is in the store: what was in memory is as new."""
        self.is_down = self.is_draining = False
        self.starts += 1
        self._failed_ns.clear()
        self.asked.clear()
        self.commits.clear()
        self.mailboxes.clear()
        channels = self.world.channels.items()
        self.accounts.clear()
        self.arrivals = {each: Arrivals() for each, _ in channels}
        self.ways = {each: Way(self, each, config) for each, config in channels}
        self.hedging = Hedging(self)
        self.letters = Letters(self)
        self.redriving = Redriving(self, self.letters, self.ways, self.redrive)
        self.redrives = {}
        self.redrive_places = count()
        self.start()
        self.follow("dlq", "", self.redriving.start)
        self.follow("handler", "", self.resume)

    def start(self) -> None:
        """A handler that starts knows what is in the store; its budgets and the streams of its jitter are as new."""
        channels = self.world.channels.items()
        self.retrying = {each: Retrying(own.retry, self.stream(f"{each}.backoff")) for each, own in channels}
        self.budgets = {each: budget_of(own.retry.budget) for each, own in channels}
        self.backlog = Backlog(self)
        self.pending = {
            name: state_after(entry.command, entry.events, self.epoch_ns, self.now_ns)
            for name, entry in self.store.open_at(self.node).items()
        }
        for name, commit in self.commits.items():
            self.pending[name] = commit.notification
            commit.notification.budget_charge = 0

    def resume(self) -> None:
        """ "After a restart only what is overdue is paced" (19); the rest goes at its time."""
        for way in self.ways.values():
            way.first.follow(way.first.flush)
        self.go_on_with([each for name, each in self.pending.items() if name not in self.commits])
        for _ in range(len(self.redrives)):
            self.take_up_next_redrive()

    def go_on_with(self, notifications: Iterable[Notification]) -> None:
        """Go on with those found in the store: what is overdue in its turn, the rest at its time."""
        notifications = list(notifications)
        for channel, way in self.ways.items():
            out = [
                each for each in notifications if each.command.channel == channel and each.first_start_ns is not None
            ]
            if way.slots.is_on and out:
                way.follow(way.slots.were_out, [(each.command, each.first_provider) for each in out])
        for notification in sorted(notifications, key=lambda each: each.due_since_ns):
            if notification.given_up is None and notification.due_since_ns <= self.now_ns:
                holds = notification.first_start_ns is not None and self.ways[notification.command.channel].slots.is_on
                self.backlog.add(notification, self.starts_until_ns(notification), holds_slot=holds)
            else:
                self.take_up(notification)
        self.look_at_backlog()

    def look_at_backlog(self) -> None:
        """Go on with those of the backlog whose turn it is."""
        for notification in self.backlog.take_due():
            name = notification.command.notification_id
            if self.pending.get(name) is notification and name not in self.commits:  # else it is cancelled
                notification.due_ns = None
                self.prepare(notification)
        self.backlog.set_wake()

    def send_again(self, channel: str) -> None:
        """A stage has lost its state: what was under way there is sent again, and what it answers yet is stale."""
        first = self.ways[channel].first
        first.follow(first.flush)
        for notification in list(self.pending.values()):
            attempt = notification.under_way
            if attempt is None or notification.command.channel != channel:
                continue
            if self.is_wanted(notification.command):
                notification.counted_for_user = attempt.counted_for_user
                self.send(notification)
            else:
                self.requeued(attempt, attempt.counted_for_user)

    # ── an actor crashes ────────────────────────────────────────────────────────────────────────────────────────

    def crash_actors(self, fault: FaultConfig) -> None:
        """Have those crash that a fault says, behind all that follows already."""
        for place in self._places(fault):
            self.follow("", "", self._crash, place, fault.restart_after)

    def _places(self, fault: FaultConfig) -> list[Place]:
        assert isinstance(fault.crash, Crash)
        actor = fault.crash.actor
        ways = [way for channel, way in self.ways.items() if channel in fault.channel]
        match actor:
            case "channel":
                lanes = [lane for way in ways for lane in way.lanes]
                return [(actor, lane.where) for lane in lanes if fault.provider in (None, lane.provider_name)]
            case "breaker":
                return [(actor, way.channel) for way in ways]
            case "limiter":
                return [(actor, way.channel) for way in ways if way.users.limit is not None]
        return [(actor, "")] if actor in CLASSES else []

    def _crash(self, place: Place, restart_after: float | None) -> None:
        """Crash an actor, restarted `restart_after` later, or 0.1 s · 2^k at the k-th crash a minute, at most 10 s."""
        recent = [at_ns for at_ns in self._failed_ns.get(place, []) if at_ns > self.now_ns - WINDOW_NS]
        gives_up = len(recent) >= RESTARTS and restart_after is None and place[0] != "alert"
        error = f"InjectedCrash: injected crash of the {place[0]}"
        decision = "escalate" if gives_up else "restart"
        event = self.event(ActorFailed, None, actor=self._class_at(place), error=error, decision=decision)
        self.expect(event, "a fault of the scenario has it crash")
        self._failed_ns[place] = [*recent, self.now_ns]
        self.mailboxes.setdefault(place, [])
        delay_s = min(0.1 * 2.0 ** len(recent), 10.0) if restart_after is None else restart_after
        self.at(self.now_ns + ns(delay_s), "restart", place)
        if place[0] in ("limiter", "breaker", "channel"):
            self.follow("handler", "", self.send_again, place[1].partition("/")[0])

    def _class_at(self, place: Place) -> str:
        lanes = [lane for way in self.ways.values() for lane in way.lanes if lane.config.hedging is not None]
        hedges = place[0] == "channel" and any(lane.where == place[1] for lane in lanes)
        if self.timeline.goes_astray is not None and place[0] in ("limiter", "breaker"):
            return DEDUPLICATING[place[0]]
        return "HedgingChannel" if hedges else CLASSES[place[0]]

    def _restart(self, place: Place) -> None:
        """An actor starts anew: its state is lost, and its mailbox kept, to be worked off before all else."""
        mailbox = self.mailboxes.pop(place)
        if place[0] in ("limiter", "breaker", "channel"):
            mailbox = [self._looked_at_anew(place, step) for step in mailbox]
        match place[0]:
            case "handler":
                for key in [key for key in self.due if key[0] == "go-on"]:
                    del self.due[key]
                mailbox = [
                    each for each in mailbox if not (each.rule is timer_that_waits and each.args[0][0] == "go-on")
                ]
                self.start()
                self.resume()
            case "limiter":
                self.ways[place[1]].users.start()
            case "breaker":
                self.ways[place[1]].forget_those_that_wait()
                self.ways[place[1]].set_wake()
            case "channel":
                self.hedging.stop_copies(place[1])
            case "dlq":
                self.redriving.start()
            case "alert":
                self.letters.forget_alerts()
        self.timeline.handed_over.extend(mailbox)

    def _looked_at_anew(self, place: Place, step: Step) -> Step:
        """Look at an attempt in a stage's mailbox as in a line: it may have expired, or have come into quiet hours."""
        way = self.ways[place[1].partition("/")[0]]
        stage = way.users if place[0] == "limiter" else way
        if step.rule == stage.enter:
            return msgspec.structs.replace(step, rule=stage.enter_after_waiting)
        return msgspec.structs.replace(step, rule=self.make_after_waiting) if step.rule == self.make else step

    # ── the process crashes ─────────────────────────────────────────────────────────────────────────────────────

    def kill(self) -> None:
        """All that is in memory is gone, with the changes that were not durable."""
        self.is_down = True
        self.lose()
        for steps in (self.timeline.following, self.timeline.handed_over):
            others = [step for step in steps if step.loop is not self]
            steps.clear()
            steps.extend(others)
        self.due.clear()

    def lose(self) -> None:
        """Lose what was not durable, and record what was: here nothing takes time."""

    def record_durable(self, is_durable: Callable[[NotificationEvent], bool]) -> None:
        """Record what is durable and has not been, as the handler, or the queue of dead letters, was down since."""
        of_handler = [(each.event, each.why, each.about) for each in self.commits.values()]
        for event, why, about in (*of_handler, *self.letters.discarding.values()):
            if is_durable(event):
                self.expect(event, why, *about)

    def record_death(self, error: str) -> None:
        """Record that the process has failed; its breakers begin anew."""
        event = self.event(ActorFailed, None, actor="process", error=error, decision="restart")
        self.expect(event, "a fault of the scenario ends the process")
        for way in self.ways.values():
            for lane in way.lanes:
                config = lane.config.circuit_breaker
                begins = BreakerState(config.initial_state) if config.enabled else BreakerState.DISABLED
                for host, breaker in lane.breakers.all():
                    if breaker.state != begins:
                        change = Change(self.now_ns, host, breaker.state, begins, "restart")
                        way.expect_transition(lane, change, "its state was in memory")

    # ── its state in words, and its turns ───────────────────────────────────────────────────────────────────────

    def state_in_words(self, name: str | None) -> str:
        breakers = [
            f"{self.named(lane.name)}{' at ' + host if host else ''} {breaker.state}, "
            f"{lane.slots.count} at the provider"
            for way in self.ways.values()
            for lane in way.lanes
            for host, breaker in lane.breakers.all()[-3:]
        ]
        words = [f"{len(self.pending)} in flight", *breakers]
        notification = None if name is None else self.pending.get(name)
        if notification is not None:
            due_ns = notification.due_ns
            waits = "" if due_ns is None else f", waits until {due_ns / NS_PER_S:.9f} s"
            under_way = ", under way" if notification.under_way is not None else ""
            words.append(f"{name} has used {notification.attempts} attempts{waits}{under_way}")
        return "; ".join(words)

    TIMERS: ClassVar[Mapping[str, Timer]] = {
        **Orders.TIMERS,
        "backlog": Timer(lambda self, _: self.look_at_backlog(), ("handler", ""), may_look=True),
        "limiter": _stage("limiter", lambda way: way.users.look()),
        "breaker": _stage("breaker", lambda way: way.look()),
        "ages": Timer(lambda self, _: self.letters.look_at_bounds(), ("dlq", ""), may_look=True),
        "redrive": Timer(lambda self, channel: self.redriving.look(channel), ("dlq", ""), may_look=True),
        "discarded": Timer(lambda self, name: self.letters.on_discarded(name), ("dlq", "")),
        "restart": Timer(_restart),
    }
