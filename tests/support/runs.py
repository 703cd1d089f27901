"""Runs of scenarios as tests look at them."""

from typing import Any, TypeVar

import simulation
from simulation.scenario import parse

E = TypeVar("E")


def on_both_clocks(text: str) -> simulation.Result:
    """Return a simulated run in which no law is broken, and of which a run under trio has the digest."""
    simulated = simulation.run(parse(text), invariants="all")
    live = simulation.run(parse(text), runtime="trio")
    assert simulated.summary["digest"] == live.summary["digest"]
    return simulated


def events_of(result: Any, kind: type[E]) -> list[E]:
    """Return the events of one kind in the history of a run."""
    return [event for event in result.history if type(event) is kind]
