"""What a system recorded, as a list that can be asked."""

from __future__ import annotations

from typing import Any

from actors.instants import NS_PER_S


class Recorded(list[Any]):
    """The events of a history, in order; give its `record` to a system."""

    def record(self, event: Any) -> None:
        """Take an event into the history."""
        self.append(event)

    def of(self, *kinds: type) -> list[Any]:
        """Return the events of these types (exactly these), in order."""
        return [event for event in self if type(event) in kinds]

    def times(self, *kinds: type) -> list[float]:
        """Return when events of these types were recorded, in seconds from the start."""
        return [event.at_ns / NS_PER_S for event in self.of(*kinds)]
