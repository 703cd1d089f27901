"""The processes of a run: here one, and what becomes of it when it crashes or is stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from simulation.verification.model.durability import LateNode
from simulation.verification.model.loop import Timeline
from simulation.verification.model.node import Node

N = TypeVar("N", bound=Node)


class Processes(Generic[N]):
    """Those that there may be, in the order of their numbers, of which those start that are not too many."""

    def __init__(self, nodes: Sequence[N], count: int) -> None:
        self.nodes = list(nodes)
        self.surplus = set(self.nodes[count:])
        """Those that there are too many."""
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
