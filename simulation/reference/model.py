"""The reference model: what happens to notifications, event by event, as the specification says.

It is told what comes from outside: arrivals, what a provider makes of an attempt, crashes, operators' orders; and of
several things that are due at one instant, whose turn it is. Everything else it knows: which event comes next, at which
instant, and with what in it. The first that differs is a `Difference`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from actors.instants import NS_PER_S, ns
from actors.messages import ActorFailed, BreakerState, BreakerTransitioned, SendNotification
from actors.outcomes import Ambiguous, Outcome
from actors.settings.faults import Crash, FaultConfig
from simulation.reference.handler import Asked, Handler
from simulation.reference.loop import Place, turn_that_waits
from simulation.reference.world import World

TIMED_OUT = Ambiguous(reason="timed out")
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


class Model(Handler):
    """The service, what surrounds it, and what is expected next."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.is_down = False
        """Whether the process is."""
        self._answers: dict[int, Outcome | None] = {}
        self._failed_ns: dict[Place, list[int]] = {}
        for number, fault in enumerate(world.faults):
            if fault.crash is not None or fault.clock_step is not None:
                self.at(ns(fault.at), "inject", number)
        for number, operation in enumerate(world.operations):
            self.at(ns(operation.at), "operate", number)

    # ── what comes from outside ─────────────────────────────────────────────────────────────────────────────────

    def arrives(self, command: SendNotification, asks_for_room: bool) -> None:
        """Take a command that is sent to the service."""
        self.follow("handler", "", self.accept, command, asks_for_room)

    def is_asked(self, asked: Asked, outcome: Outcome | None, delay_ns: int | None) -> int:
        """Compare an attempt at a provider with the one expected; return a number that it has until its answer comes.

        Args:
            asked: the attempt.
            outcome: what the provider answers. None: that is not known yet.
            delay_ns: after how long. None: that is not known yet.
        """
        self.compare(asked)
        number = self.number_of_asked
        attempt = self.asked[number]
        timeout_ns = self.ways[attempt.command.channel].lanes[attempt.lane].timeout_ns
        if delay_ns is None or delay_ns > timeout_ns:  # an answer at the instant of the time-out counts
            delay_ns, outcome = timeout_ns, TIMED_OUT
        self._ends(number, outcome, self.now_ns + delay_ns)
        return number

    def answers_now(self, number: int, outcome: Outcome, now_ns: int) -> None:
        """Take the answer of a provider that could not be foreseen."""
        if ("answer", number) in self.due and self._answers[number] is TIMED_OUT:  # else nobody waits for it
            self._ends(number, outcome, now_ns)

    def _ends(self, number: int, outcome: Outcome | None, instant_ns: int) -> None:
        self._answers[number], self.asked[number].ended_ns = outcome, instant_ns
        self.at(instant_ns, "answer", number)

    def _answer(self, number: int) -> None:
        attempt, outcome = self.asked.pop(number), self._answers.pop(number)
        assert outcome is not None
        self.ways[attempt.command.channel].answered(attempt, outcome)

    def take_turn(self, kind: str, what: Any) -> None:
        """Do what is due."""
        if kind != "other":
            self._TURNS[kind](self, what)

    # ── faults and orders of the scenario ───────────────────────────────────────────────────────────────────────

    def _inject(self, number: int) -> None:
        """ "Clock steps in wall time" (10): instants and waits stay, the calendar moves. Then the crash."""
        fault = self.world.faults[number]
        if fault.clock_step is not None:
            self.epoch_ns += ns(fault.clock_step)
        if fault.crash is None or self.is_down:
            return
        if fault.crash == "process":
            self._crash_process(fault)
            return
        for place in self._places(fault):
            self.follow("", "", self._crash, place, fault.restart_after)

    def _operate(self, number: int) -> None:
        """Do what an operator of the scenario orders; while the process is down it is lost."""
        operation = self.world.operations[number]
        if self.is_down:
            return
        if operation.breaker is not None:
            for channel in operation.channel:
                if channel in self.ways:
                    self.follow("breaker", channel, self.ways[channel].operate, operation.breaker, operation.provider)
            return
        if operation.cancel is not None:
            priority = None if operation.cancel == "all" else operation.cancel.priority
            self.follow("handler", "", self.cancel_waiting, operation.channel, priority)
            return
        which = operation.redrive or operation.discard
        edit = {} if operation.edit is None else operation.edit.changes()
        for name, letter in self.letters.kept.items():
            if not self.letters.is_one(name):
                continue
            if operation.channel is not None and letter.command.channel not in operation.channel:
                continue
            if which != "all" and which.reason not in letter.failure_reason:
                continue
            if operation.redrive is None:
                self.follow("dlq", "", self.letters.order_discard, name)
            else:
                self.follow("dlq", "", self._order_redrive, name, operation.served, edit)

    def _order_redrive(self, name: str, served: str, edit: Mapping[str, Any]) -> None:
        letters = self.letters
        if letters.is_one(name) and (served == "include" or not letters.is_served(name)):
            self.follow("handler", "", self.redrive, letters.kept.pop(name), served, edit)

    # ── crashes ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _places(self, fault: FaultConfig) -> list[Place]:
        """Return which actors a fault has crash."""
        assert isinstance(fault.crash, Crash)
        actor = fault.crash.actor
        ways = [way for channel, way in self.ways.items() if channel in fault.channel]
        match actor:
            case "channel":
                names = [(way, lane.provider_name) for way in ways for lane in way.lanes]
                return [(actor, f"{way.channel}/{name}") for way, name in names if fault.provider in (None, name)]
            case "breaker":
                return [(actor, way.channel) for way in ways]
            case "limiter":
                return [(actor, way.channel) for way in ways if way.limit is not None]
        return [(actor, "")]

    def _crash(self, place: Place, restart_after: float | None) -> None:
        """It starts again `restart_after` later, or after 0.1 s · 2^k at the k-th time in a minute, at most 10 s."""
        recent = [at_ns for at_ns in self._failed_ns.get(place, []) if at_ns > self.now_ns - WINDOW_NS]
        gives_up = len(recent) >= RESTARTS and restart_after is None and place[0] != "alert"
        error = f"InjectedCrash: injected crash of the {place[0]}"
        decision = "escalate" if gives_up else "restart"
        event = self.event(ActorFailed, None, actor=CLASSES[place[0]], error=error, decision=decision)
        self.expect(event, "a fault of the scenario has it crash")
        self._failed_ns[place] = [*recent, self.now_ns]
        self.mailboxes.setdefault(place, [])
        delay_s = min(0.1 * 2.0 ** len(recent), 10.0) if restart_after is None else restart_after
        self.at(self.now_ns + ns(delay_s), "restart", place)
        if place[0] in ("limiter", "breaker", "channel"):
            self.follow("handler", "", self.send_again, place[1].partition("/")[0])

    def _restart(self, place: Place) -> None:
        """An actor starts anew: its state is lost, and its mailbox kept, to be worked off before all else."""
        mailbox = self.mailboxes.pop(place)
        match place[0]:
            case "handler":
                for key in [key for key in self.due if key[0] == "go-on"]:
                    del self.due[key]
                mailbox = [
                    each for each in mailbox if not (each.rule is turn_that_waits and each.args[0][0] == "go-on")
                ]
                self.start()
                self.resume()
            case "limiter":
                self.ways[place[1]].restart_limiter()
            case "breaker":
                self.ways[place[1]].forget_those_that_wait()
                self.ways[place[1]].set_wake()
            case "dlq":
                self.letters.begin()
            case "alert":
                self.letters.forget_alerts()
        self.hand_over(mailbox)

    def _crash_process(self, fault: FaultConfig) -> None:
        """All that is in memory is gone, with the changes that were not durable; breakers begin anew."""
        self.is_down = True
        for event, _, _, why, about in self.commits.values():
            if event.at_ns + self.store.latency_ns < self.now_ns:  # it is durable, and the handler was down since
                self.expect(event, why, *about)
        self.store.crash(self.now_ns)
        error = "InjectedCrash: injected crash of the process"
        event = self.event(ActorFailed, None, actor="process", error=error, decision="restart")
        self.expect(event, "a fault of the scenario has the process crash")
        for way in self.ways.values():
            for lane in way.lanes:
                config = lane.config.circuit_breaker
                begins = BreakerState(config.initial_state) if config.enabled else BreakerState.DISABLED
                for host, breaker in lane.breakers():
                    if breaker.state != begins:
                        fields = {"from_state": breaker.state, "to_state": begins, "cause": "restart"}
                        of = host if way.is_per_host else None
                        change = self.event(BreakerTransitioned, None, breaker=lane.name, host=of, **fields)
                        self.expect(change, "its state was in memory")
        self.forget_what_follows()
        for key in [key for key in self.due if key[0] not in ("inject", "operate")]:
            del self.due[key]
        if fault.restart_after:
            self.at(self.now_ns + ns(fault.restart_after), "back", "")
        else:
            self._start_process()

    def _start_process(self) -> None:
        self.is_down = False
        self._failed_ns.clear()
        self._answers.clear()
        self.boot()

    # ── in words ────────────────────────────────────────────────────────────────────────────────────────────────

    def state_of(self, name: str | None) -> str:
        """Return the state that model and product were in until now, with that of a notification where it is of one."""
        breakers = [
            f"{lane.name}{' at ' + host if host else ''} {breaker.state}, {lane.slots.held.total()} at the provider"
            for way in self.ways.values()
            for lane in way.lanes
            for host, breaker in lane.breakers()[-3:]
        ]
        words = [f"{len(self.admitted)} in flight", *breakers]
        notification = None if name is None else self.admitted.get(name)
        if notification is not None:
            due_ns = notification.due_ns
            waits = "" if due_ns is None else f", waits until {due_ns / NS_PER_S:.9f} s"
            under_way = ", under way" if notification.under_way is not None else ""
            words.append(f"{name} has used {notification.attempts} attempts{waits}{under_way}")
        return "; ".join(words)

    _TURNS: ClassVar[dict[str, Callable[[Any, Any], None]]] = {
        "answer": _answer,
        "go-on": lambda self, name: self.go_on(name),
        "commit": lambda self, name: self.is_durable(name),
        "backlog": lambda self, _: self.look_at_backlog(),
        "limiter": lambda self, channel: self.ways[channel].look_at_users(),
        "tenants": lambda self, channel: self.ways[channel].look_at_tenants(),
        "breaker": lambda self, channel: self.ways[channel].look(),
        "ages": lambda self, _: self.letters.look_at_ages(),
        "discarded": lambda self, name: self.letters.is_discarded(name),
        "inject": _inject,
        "operate": _operate,
        "restart": _restart,
        "back": lambda self, _: self._start_process(),
    }
