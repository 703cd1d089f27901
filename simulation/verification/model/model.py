"""The reference model: what happens to notifications, event by event, as the specification says.

What it is made of, and in which order to read that, stands in the text of the package; how its rules are written, in
`loop`. Here is what it is told: what comes from outside (arrivals, what a provider makes of an attempt, faults,
operators' orders), and of several things that are due at one instant, whose turn it is. Everything else it knows:
which event comes next, at which instant, and with what in it. The first that differs is a `Difference`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from actors.messages import SendNotification
from actors.outcomes import Outcome
from simulation.verification.model.comparing import Comparison, Difference
from simulation.verification.model.node import Node
from simulation.verification.model.surroundings import Surroundings, order_redrive
from simulation.verification.model.unrecorded import Asked
from simulation.verification.model.world import World

NODES_SHOWN = 5


class Model:
    """The service, what surrounds it, and what is expected next.

    A `node` is the number of one of several, and None where there is one process alone.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.timeline = Comparison(world)
        self.compare = self.timeline.compare
        self.settle = self.timeline.settle
        self.surroundings = Surroundings(self.timeline)
        self.fleet = self.surroundings.fleet
        self._nodes: dict[int | None, Node] = {node.node: node for node in self.fleet.nodes}

    # ── what comes from outside ─────────────────────────────────────────────────────────────────────────────────

    def arrives(self, command: SendNotification, asks_for_room: bool, node: int | None) -> None:
        """Take a command that is sent to the handler of a node."""
        at = self._nodes[node]
        if at.is_down:
            raise Difference(f"{command.notification_id} has come to node {node}, which is down")
        at.follow("handler", "", at.accept, command, asks_for_room)

    def calls_subscriber(self, commands: Sequence[tuple[SendNotification, bool]], node: int | None) -> None:
        """Take note that a subscriber is called with an event, which leads to commands: by then it is known to which.

        With each it is said whether it is asked for room.
        """
        at = self._nodes[node]

        def lead_to_commands() -> None:
            for command, asks_for_room in commands:
                at.follow("handler", "", at.accept, command, asks_for_room)

        at.follow("", "", lead_to_commands)

    def cancels(self, name: str, node: int | None) -> None:
        at = self._nodes[node]
        at.follow("handler", "", at.cancel, [name])

    def redrives(
        self, name: str, served: str, edit: Mapping[str, Any], by: str | None, why: str | None, node: int | None
    ) -> None:
        at = self._nodes[node]
        at.follow("dlq", "", order_redrive, at, name, served, edit, by, why)

    def discards(self, name: str, reason: str, by: str | None, though_taken: bool, node: int | None) -> None:
        at = self._nodes[node]
        at.follow("dlq", "", at.letters.order_discard, name, reason, by, though_taken)

    def overrides(self, channel: str, override: str, provider: str | None, node: int | None) -> None:
        at = self._nodes[node]
        at.follow("breaker", channel, at.ways[channel].operate, override, provider)

    def on_asked(self, asked: Asked, outcome: Outcome | None, delay_ns: int | None) -> int:
        """Compare an attempt with the one expected; return a number that it has until its answer comes."""
        self.compare(asked)
        return self._nodes[asked.node].on_asked(outcome, delay_ns)

    def answers_now(self, node: int | None, number: int, outcome: Outcome, now_ns: int) -> None:
        self._nodes[node].answers_now(number, outcome, now_ns)

    def ends_at(self, number: int) -> int:
        """Return when the answer to a send comes, as far as is known; -1: nobody waits for it."""
        ends = (node.asked[number].ended_ns for node in self.fleet.nodes if number in node.asked)
        return next(ends, -1)

    def outcome_of(self, number: int) -> Outcome | None:
        """Return what comes back of a send, as far as is known; None: that it was not made, or nobody waits for it."""
        outcomes = (node.asked[number].outcome for node in self.fleet.nodes if number in node.asked)
        return next(outcomes, None)

    # ── whose turn it is ────────────────────────────────────────────────────────────────────────────────────────

    def turn(self, kind: str, what: Any, node: int | None, now_ns: int, is_first: bool) -> None:
        """Take note that it is the turn of something that is due now; see `Comparison.turn`."""
        loop = self.surroundings if kind in Surroundings.TIMERS else self._nodes[node]
        self.timeline.turn(loop, (kind, what), now_ns, is_first)

    def falls_due(self, kind: str, what: Any, node: int | None, now_ns: int, is_first: bool) -> None:
        """Take note that something is due now whose actor is down; see `Comparison.falls_due`."""
        self.timeline.falls_due(self._nodes[node], (kind, what), now_ns, is_first)

    # ── in words ────────────────────────────────────────────────────────────────────────────────────────────────

    def state_of(self, name: str | None) -> str:
        """Return the state that model and product were in until now, with that of a notification where it is of one."""
        living = self.fleet.living
        of_it = [node for node in living if name in node.pending] or living[:NODES_SHOWN]
        return "; ".join(node.state_in_words(name) for node in of_it) or "no process is there"
