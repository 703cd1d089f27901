"""Effects: what an actor asks its system to do in the outside world, and the message that says it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import msgspec


class Foreseen(msgspec.Struct, frozen=True, gc=False):
    """An effect whose result is known when it begins, as of a simulated provider: it only takes its time."""

    delay_ns: int
    result: Any


Effect: TypeAlias = Foreseen | Callable[[], Awaitable[Any]]
"""Foreseen, or a call that does real I/O (live only)."""


class Performed(msgspec.Struct, frozen=True, kw_only=True):
    """An effect is done.

    The garbage collector looks at it, unlike at other messages: its request may refer to the actor that it waits for.
    """

    request: Any
    """What was handed to `perform` along with it, to know it by."""

    result: Any
    """What it returned, the exception it raised, or what was agreed on for a time-out."""

    started_ns: int
    ended_ns: int


class Cancellable(Protocol):
    """A timer or an effect under way."""

    def cancel(self) -> None:
        """See to it that its message does not come. Once it has come, this does nothing."""
