"""The actions of a scenario on the service from outside: its faults, and the orders of its operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from actors.settings.faults import Deploy, FaultConfig
from simulation.verification.model.fleet import Fleet, alone
from simulation.verification.model.instants import Window, ns
from simulation.verification.model.letters import Redrive, can_be_edited
from simulation.verification.model.loop import Loop, Step, Timeline, Timer
from simulation.verification.model.node import Node
from simulation.verification.model.notifications import Admitted, Attempt, Send
from simulation.verification.model.randomness import Stream

_OF_MESSAGES = {"duplicate_rate", "reorder"}


class _Straying(Window):
    def __init__(self, fault: FaultConfig, seed: int, name: str) -> None:
        super().__init__(fault)
        self.rate = fault.duplicate_rate
        self.draw = Stream(seed, f"{name}.duplicate").draw
        delay = None if fault.reorder is None else fault.reorder.delay
        self.delay_s = None if delay is None else delay.sampler(Stream(seed, f"{name}.reorder").random)


class Astray:
    """Messages that come twice, or late, where they carry an attempt (faults `duplicate_rate` and `reorder`).

    These go from handler to limiter to breaker to channel to breaker to handler. What else actors tell each other comes
    once and in order. What the stages make of it: each takes an attempt once, and settles a permit once; a copy that
    they cannot tell from a new one reaches the provider. The handler takes the first answer to the attempt that is
    under way.
    """

    def __init__(self, surroundings: Loop) -> None:
        self._surroundings = surroundings
        self._windows: dict[str, list[_Straying]] = {}
        for number, fault in enumerate(surroundings.world.faults):
            hit = [channel for channel in surroundings.world.channels if channel in fault.channel]
            for channel in hit if fault.injects & _OF_MESSAGES else ():
                window = _Straying(fault, surroundings.world.seed, f"{channel}.messages.fault.{number}")
                self._windows.setdefault(channel, []).append(window)
        self._late: dict[int, tuple[Step, int]] = {}
        """By number, and with the how-many-th life of its process that it is of."""
        self._late_count = 0

    def takes(self, step: Step) -> bool:
        """Have a message come, and perhaps a copy, if it carries an attempt; return whether it does."""
        attempt = _attempt_of(step.args[0]) if step.args else None
        if attempt is None:
            return False
        now_ns = step.loop.now_ns
        open_ = [window for window in self._windows.get(attempt.command.channel, ()) if window.is_open(now_ns)]
        copies = sum(window.draw() < window.rate for window in open_ if window.rate is not None)
        for _ in range(1 + copies):
            delay_ns = sum(ns(window.delay_s()) for window in open_ if window.delay_s is not None)
            if delay_ns:
                self._late_count += 1
                self._late[self._late_count] = step, step.loop.starts
                self._surroundings.at(now_ns + delay_ns, "late", self._late_count)
            else:  # what is late by nothing comes as any other
                step.loop.timeline.following.append(step)
        return True

    def comes(self, number: int) -> None:
        """Bring what is late; its process may be gone."""
        step, starts = self._late.pop(number)
        if not step.loop.is_down and step.loop.starts == starts:
            step.loop.timeline.following.append(step)


def _attempt_of(what: Any) -> Attempt | None:
    admitted = what.admitted if isinstance(what, Send) else what
    attempt = admitted.attempt if isinstance(admitted, Admitted) else admitted
    return attempt if isinstance(attempt, Attempt) else None


CRASHED, STOPPED = "InjectedCrash: injected crash of the process", "Stopped: stopped"


@dataclass(eq=False, slots=True)
class Later:
    """Something that is done with nodes at its time."""

    nodes: Sequence[Node]
    more: tuple[Any, ...]
    """Further arguments."""

    def __repr__(self) -> str:
        return f"nodes {[node.node for node in self.nodes]}"


class Surroundings(Loop):
    """The timers outside of all processes."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        if any(fault.injects & _OF_MESSAGES for fault in self.world.faults):
            self.astray = Astray(self)
            timeline.goes_astray = self.astray.takes
        self.fleet: Any = Fleet(self) if self.world.nodes_at_most > 1 else alone(timeline)
        for number, fault in enumerate(self.world.faults):
            if fault.injects & {"crash", "clock_step", "deploy", "scale", "partition"}:
                self.at(ns(fault.at), "inject", number)
        for number, operation in enumerate(self.world.operations):
            self.at(ns(operation.at), "operate", number)

    # ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _inject(self, number: int) -> None:
        """ "Clock steps in wall time" (10): instants and waits stay, the calendar moves. Then what crashes."""
        fault = self.world.faults[number]
        if fault.clock_step is not None:
            self.timeline.step_clock(ns(fault.clock_step))
        nodes = self.fleet.of(fault.node)
        if fault.partition is not None:
            self.fleet.cut_off(nodes)
            if fault.for_ is not None:
                self.at(ns(fault.at + fault.for_), "reconnect", Later(nodes, ()))
        hit = [node for node in nodes if not node.is_down]
        if fault.crash == "process" and hit:
            self.fleet.crash(CRASHED, hit)
            if fault.restart_after:
                self._later(fault.restart_after, "back", hit)
            else:
                self.fleet.start(hit)
        elif fault.crash is not None:
            for node in hit:
                node.crash_actors(fault)
        if fault.deploy is not None:
            for place, node in enumerate(self.fleet.living):
                self._later(place * fault.deploy.every, "stop", [node], fault.deploy)
        if fault.scale is not None:
            self._scale(fault.scale.to, fault.scale.drain)

    def _scale(self, to: int, drain: float) -> None:
        """ "Scaling": new ones are started, or those of the highest numbers stopped for good."""
        fleet = self.fleet
        wanted = [node for node in fleet.nodes[:to] if node in fleet.surplus]
        fleet.surplus = set(fleet.nodes[to:])
        for node in fleet.nodes[to:]:
            self._drain(node, drain, None)
        fleet.start(wanted)

    def _stop(self, nodes: Sequence[Node], deploy: Deploy) -> None:
        """A deploy "stops and starts one after the other (drained or parked, as live)" (17)."""
        self._drain(nodes[0], deploy.drain, deploy.each_down)

    def _drain(self, node: Node, drain: float, back_after: float | None) -> None:
        """Give a node nothing new for a while, then end it; None: for good, unless it is wanted again by then."""
        if not node.is_down:
            node.is_draining = True
            self._later(drain, "drained", [node], node.starts, back_after)

    def _on_drained(self, nodes: Sequence[Node], starts: int, back_after: float | None) -> None:
        """Park the unfinished notifications of a drained node in the store; they are taken over at once."""
        node = nodes[0]
        if not node.is_down and node.starts == starts:  # else it has crashed meanwhile
            self.fleet.crash(STOPPED, nodes, is_parked=True)
            if back_after is None:
                self.fleet.start(nodes)
            else:
                self._later(back_after, "back", nodes)

    def _later(self, after: float, kind: str, nodes: Sequence[Node], *more: Any) -> None:
        self.at(self.now_ns + ns(after), kind, Later(nodes, more))

    def due_now(self, kind: str, numbers: Sequence[int | None], now_ns: int) -> Later | None:
        """Return what falls due at an instant with these nodes; of several, what was put on the agenda first."""
        for (of_kind, what), instant_ns in self.due.items():
            if of_kind == kind and instant_ns == now_ns and [node.node for node in what.nodes] == list(numbers):
                assert isinstance(what, Later)
                return what
        return None

    # ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _operate(self, number: int) -> None:
        """Do what an operator orders: of dead letters, at one node that is there, of all else, at each of them."""
        operation = self.world.operations[number]
        for node in self.fleet.living:
            if operation.breaker is not None:
                for channel in operation.channel:
                    if channel in node.ways:
                        override = node.ways[channel].operate
                        node.follow("breaker", channel, override, operation.breaker, operation.provider)
            elif operation.cancel is not None:
                priority = None if operation.cancel == "all" else operation.cancel.priority
                node.follow("handler", "", node.cancel_waiting, operation.channel, priority)
            else:
                self._clear_dead_letters(node, operation)
                return

    def _clear_dead_letters(self, node: Node, operation: Any) -> None:
        which = operation.redrive or operation.discard
        edit = {} if operation.edit is None else operation.edit.changes()
        for name in node.letters.names():
            letter = node.letters.letter(name)
            if operation.channel is not None and letter.command.channel not in operation.channel:
                continue
            if which != "all" and which.reason not in letter.failure_reason:
                continue
            if operation.redrive is None:
                node.follow("dlq", "", node.letters.order_discard, name)
            else:
                node.follow("dlq", "", order_redrive, node, name, operation.served, edit)

    TIMERS: ClassVar[Mapping[str, Timer]] = {
        "other": Timer(lambda self, _: None, may_look=True),
        "inject": Timer(_inject),
        "stop": Timer(lambda self, what: self._stop(what.nodes, *what.more)),
        "drained": Timer(lambda self, what: self._on_drained(what.nodes, *what.more)),
        "back": Timer(lambda self, what: self.fleet.start(what.nodes)),
        "takeover": Timer(lambda self, death: self.fleet.lease_ends(*death)),
        "known": Timer(lambda self, said: self.fleet.on_known(*said)),
        "reconnect": Timer(lambda self, what: self.fleet.reconnect(what.nodes)),
        "leases": Timer(lambda self, _: self.fleet.end_leases(), may_look=True),
        "settle": Timer(lambda self, number: self.fleet.settle(number), may_look=True),
        "told": Timer(lambda self, _: self.fleet.tell()),
        "operate": Timer(_operate),
        "late": Timer(lambda self, number: self.astray.comes(number)),
    }


def order_redrive(
    node: Node, name: str, served: str, edit: Mapping[str, Any], by: str | None = None, why: str | None = None
) -> None:
    """Redrive a letter by an operator's order, if it is one still, may be taken, and can be edited so."""
    letters = node.letters
    may_be_taken = letters.is_one(name) and (served == "include" or not letters.is_served(name))
    if may_be_taken and can_be_edited(edit):
        edited = msgspec.structs.replace(letters.letter(name).command, **edit)
        if "recipient" in edit and node.world.recipient_problem(edited) is not None:
            return
        redrive = Redrive(letters.take(name), served, edit, by=by, why=why)
        node.follow("handler", "", node.redrive, redrive)
