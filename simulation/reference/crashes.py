"""Crashes and restarts, of actors and of the whole process, and how what they leave behind is resumed (10, 19)."""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from actors.instants import ns, sooner
from actors.messages import ActorFailed, BreakerState, BreakerTransitioned
from actors.settings.faults import FaultConfig
from simulation.reference.limits import Pace
from simulation.reference.notifications import Notification

if TYPE_CHECKING:
    from simulation.reference.model import Key, Model

Place = tuple[str, str]
"""An actor: what it does, and on which channel (``email``; ``email/backup`` of one that asks a provider)."""

CLASSES = {
    "handler": "Handler",
    "limiter": "RateLimiterActor",
    "breaker": "CircuitBreakerActor",
    "channel": "Channel",
    "dlq": "DeadLetterQueue",
    "alert": "AdminAlert",
}
RESTARTS, WINDOW_NS = 5, 60 * 10**9
"""After so many failures within so long an actor is not restarted by itself."""


class Crashes:
    """Which actors are down, and what has come for them meanwhile."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.mailboxes: dict[Place, deque[tuple[Any, ...]]] = {}
        """Of those that are down."""
        self._failed_ns: dict[Place, list[int]] = {}

    def place_of(self, key: Key) -> Place:
        """Return the actor that something on the agenda is for."""
        kind, what = key
        match kind:
            case "answer":
                return "breaker", self.model.asked[what].command.channel
            case "limiter" | "breaker":
                return kind, what
            case "go-on" | "commit" | "backlog":
                return "handler", ""
            case "ages" | "discarded":
                return "dlq", ""
            case _:
                return "", ""

    # ── actors ──────────────────────────────────────────────────────────────────────────────────────────────────

    def of_actors(self, fault: FaultConfig) -> None:
        """An actor raises, "in its turn, behind the messages sent before"."""
        assert fault.crash is not None and fault.crash != "process"
        actor = fault.crash.actor
        places: list[Place] = [(actor, "")]
        if actor in ("limiter", "breaker", "channel"):
            ways = [way for channel, way in self.model.ways.items() if channel in fault.channel]
            if actor == "channel":
                places = [
                    (actor, f"{way.channel}/{lane.provider_name}")
                    for way in ways
                    for lane in way.lanes
                    if fault.provider in (None, lane.provider_name)
                ]
            else:
                places = [(actor, way.channel) for way in ways if actor == "breaker" or way.limit is not None]
        for place in places:
            self.model.follow("", "", self._fail, place, fault.restart_after)

    def _fail(self, place: Place, restart_after: float | None) -> None:
        """It is restarted `restart_after` later, or after 0.1 s · 2^k at the k-th time in a minute, at most 10 s."""
        model, now_ns = self.model, self.model.now_ns
        recent = self._failed_ns[place] = [
            at_ns for at_ns in self._failed_ns.get(place, []) if at_ns > now_ns - WINDOW_NS
        ]
        decision = "restart"
        if len(recent) >= RESTARTS and restart_after is None and place[0] != "alert":
            decision = "escalate"
        event = ActorFailed(
            at_ns=now_ns,
            epoch_ns=model.epoch_ns,
            actor=CLASSES[place[0]],
            error=f"InjectedCrash: injected crash of the {place[0]}",
            decision=decision,
        )
        model.expect(event, "a fault of the scenario has it crash")
        delay_ns = ns(min(0.1 * 2.0 ** len(recent), 10.0) if restart_after is None else restart_after)
        recent.append(now_ns)
        self.mailboxes.setdefault(place, deque())
        model.at(now_ns + delay_ns, "restart", place)
        if place[0] in ("limiter", "breaker", "channel"):
            model.follow("handler", "", model.send_again, place[1].partition("/")[0])

    def restart(self, place: Place) -> None:
        """An actor starts anew: its state is lost, and its mailbox kept, to be worked off before all else."""
        model, mailbox = self.model, self.mailboxes.pop(place)
        kind, channel = place
        match kind:
            case "handler":
                for key in [key for key in model.due if key[0] == "go-on"]:
                    del model.due[key]
                mailbox = deque(step for step in mailbox if not is_turn(step, "go-on"))
                model.forget_what_the_handler_had()
                model.resume()
            case "limiter":
                model.ways[channel].users.clear()
                model.wake("limiter", channel, None)
            case "breaker":
                model.ways[channel].forget_those_that_wait()
                model.ways[channel].set_wake()
            case "dlq":
                model.letters.begin()
            case "alert":
                model.letters.forget_alerts()
        model.first(mailbox)

    # ── the process ─────────────────────────────────────────────────────────────────────────────────────────────

    def of_process(self, fault: FaultConfig) -> None:
        """All that is in memory is gone, and the changes that were not durable; breakers begin anew."""
        model = self.model
        model.is_down = True
        model.store.crash(model.now_ns)
        event = ActorFailed(
            at_ns=model.now_ns,
            epoch_ns=model.epoch_ns,
            actor="process",
            error="InjectedCrash: injected crash of the process",
            decision="restart",
        )
        model.expect(event, "a fault of the scenario has the process crash")
        for way in model.ways.values():
            for lane in way.lanes:
                config = lane.config.circuit_breaker
                begins = BreakerState(config.initial_state) if config.enabled else BreakerState.DISABLED
                for host, breaker in lane.breakers():
                    if breaker.state != begins:
                        event_of_breaker = BreakerTransitioned(
                            at_ns=model.now_ns,
                            epoch_ns=model.epoch_ns,
                            breaker=lane.name,
                            host=host if way.is_per_host else None,
                            from_state=breaker.state,
                            to_state=begins,
                            cause="restart",
                        )
                        model.expect(event_of_breaker, "its state was in memory")
        model.drop_what_follows()
        for key in [key for key in model.due if key[0] not in ("inject", "operate")]:
            del model.due[key]
        if fault.restart_after:
            model.at(model.now_ns + ns(fault.restart_after), "back", "")
        else:
            self.start_process()

    def start_process(self) -> None:
        """Another process starts over the store."""
        self.model.is_down = False
        self.model.boot()


def turn_that_waits(_key: Key) -> None:
    """Stand in a mailbox for something that fell due while its actor was down."""


def is_turn(step: tuple[Any, ...], kind: str) -> bool:
    """Tell whether this in a mailbox stands for something of a kind that fell due."""
    return step[2] is turn_that_waits and step[3][0][0] == kind


class _Line:
    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.waiting: OrderedDict[str, Notification] = OrderedDict()
        self.expiries: list[tuple[int, str]] = []


class Backlog:
    """What is overdue when a handler starts: it goes at the pace of what resumes, by channel; newcomers pass."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.lines: dict[str, _Line] = {}

    def add(self, notification: Notification, until_ns: int | None) -> None:
        """Let one wait for its turn."""
        channel, name = notification.command.channel, notification.command.notification_id
        if channel not in self.lines:
            config = self.model.ways[channel].lanes[0].config.circuit_breaker
            self.lines[channel] = _Line(Pace(config, self.model.now_ns))
        self.lines[channel].waiting[name] = notification
        if until_ns is not None:
            heapq.heappush(self.lines[channel].expiries, (until_ns, name))

    def look(self) -> None:
        """Go on with those whose time is up, and with one of each channel whose turn it is."""
        now_ns = self.model.now_ns
        self.lines = {
            channel: line for channel, line in self.lines.items() if line.waiting or line.pace.next_ns > now_ns
        }
        due: list[Notification] = []
        for line in self.lines.values():
            while line.expiries and line.expiries[0][0] < now_ns:
                expired = line.waiting.pop(heapq.heappop(line.expiries)[1], None)
                due += [] if expired is None else [expired]
            if line.waiting and line.pace.next_ns <= now_ns:
                line.pace.go(now_ns, math.inf)
                due.append(line.waiting.popitem(last=False)[1])
        for notification in due:
            notification.due_ns = None
            self.model.prepare(notification)
        wake_ns = None
        for line in self.lines.values():
            while line.expiries and line.expiries[0][1] not in line.waiting:
                heapq.heappop(line.expiries)
            wake_ns = sooner(wake_ns, line.pace.next_ns)
            wake_ns = sooner(wake_ns, line.expiries[0][0] + 1 if line.expiries else None)
        self.model.wake("backlog", "", wake_ns)

    def pass_by(self, channel: str) -> None:
        """Count one that sets out, from here or not: the ceiling is for all together."""
        if channel in self.lines:
            self.model.ways[channel].lanes[0].pass_backlog(self.lines[channel].pace)
