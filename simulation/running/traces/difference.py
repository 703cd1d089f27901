"""Where two histories differ, in words."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from actors.formatting import seconds_text

SHOWN_BEFORE = 3
"""How many common events are kept for what leads to a difference."""

_NOT_SHOWN = ("type", "at_ns", "epoch_ns")


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """Where two runs part: the first event that is not the same."""

    index: int
    """How many events before it are the same."""

    events: tuple[dict[str, Any] | None, dict[str, Any] | None]
    """What is there in the one and in the other; None where that run has ended."""

    names: tuple[str, str]
    """What to call the two runs."""

    before: tuple[dict[str, Any], ...]
    """The latest events that they have in common."""

    @property
    def at_ns(self) -> int | None:
        """When it is; None when neither run says."""
        return min((event["at_ns"] for event in self.events if event and "at_ns" in event), default=None)

    def __str__(self) -> str:
        at = "" if self.at_ns is None else f" at {seconds_text(self.at_ns)}"
        lines = [f"first difference{at}, in event {self.index + 1:,}:"]
        width = max(map(len, self.names))
        for name, event in zip(self.names, self.events, strict=True):
            lines.append(f"  {name:{width}}  {'has ended' if event is None else event_text(event)}")
        one, other = self.events
        if one is not None and other is not None and one["type"] == other["type"]:
            parts = [key for key in {**one, **other} if one.get(key) != other.get(key)]
            texts = (f"{_label(key)} ({_value(key, one)} / {_value(key, other)})" for key in parts)
            lines.append(f"  {'':{width}}  differ in {', '.join(texts)}")
        if self.before:
            lines.append("the latest in common:")
            lines += [f"  {event_text(event)}" for event in self.before]
        return "\n".join(lines)


class Follower:
    """Compares the entries of one run with those of another, as they come."""

    def __init__(self, expected: Iterable[bytes], names: tuple[str, str]) -> None:
        self._expected = iter(expected)
        self._names = names
        self._before: deque[bytes] = deque(maxlen=SHOWN_BEFORE)
        self.index = 0
        self.difference: FirstDifference | None = None

    def take(self, got: bytes | None) -> None:
        """Compare the next entry; None is the end."""
        if self.difference is not None:
            return
        expected = next(self._expected, None)
        if got != expected:
            self.difference = FirstDifference(
                self.index,
                (_decoded(expected), _decoded(got)),
                self._names,
                tuple(map(msgspec.json.decode, self._before)),
            )
        elif got is not None:
            self._before.append(got)
            self.index += 1


def _decoded(line: bytes | None) -> dict[str, Any] | None:
    return None if line is None else msgspec.json.decode(line)


def event_text(event: dict[str, Any]) -> str:
    """Return an event of a trace in a line: when, what, and its fields; instants in seconds from the start."""
    fields = [f"{_label(key)}={_value(key, event)}" for key in event if key not in _NOT_SHOWN]
    when = [seconds_text(event["at_ns"])] if "at_ns" in event else []
    return "  ".join([*when, event["type"], *fields])


def _label(key: str) -> str:
    return key.removesuffix("_ns")


def _value(key: str, event: dict[str, Any]) -> str:
    value = event.get(key)
    if value is None:
        return "none"
    if key.endswith("_ns"):
        return seconds_text(value)
    return (
        repr(value) if isinstance(value, str) and (not value or not value.isprintable() or " " in value) else str(value)
    )
