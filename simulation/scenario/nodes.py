"""Nodes: how many processes of the service there are, and which of them gets what arrives."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from actors.settings.base import Settings, plain_or
from actors.settings.faults import NodeCount
from actors.settings.quantities import PositiveDuration

Routing: TypeAlias = Literal["round_robin", "random", "by_user", "by_host"]
"""Which of the living nodes gets an arrival: each in turn, any, always the same for a user, or for a host of
recipients."""


class NodesConfig(Settings):
    """The processes of the service. Each has a handler, breakers, limiters, budgets, adaptive state and random streams
    of its own; they share the providers and the store."""

    wanted_text: ClassVar[str] = "how many, such as 12, or a mapping such as {count: 12, routing: by_user}"

    count: NodeCount = 1
    """How many there are, at most 1,000."""

    routing: Routing = "round_robin"
    """Which of the living ones gets an arrival: each in turn, any of them, or always the same for a user or for a host
    of recipients, while that lives."""

    takeover_after: PositiveDuration = 30.0
    """How long after the death of a node the others take over what it had not brought to an end, unless it is back
    before: its lease on the store."""


ONE_PROCESS = NodesConfig()

Nodes: TypeAlias = Annotated[NodeCount | NodesConfig, plain_or(NodeCount, NodesConfig)]
"""A count, or a mapping."""
