"""Something remembered for each key, and forgotten in time: the memory of a limiter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

State = TypeVar("State")


class RecentKeys(ABC, Generic[State]):
    """Keeps the state of each key for at least `horizon_ns` after it was last touched, but not without end.

    Two generations: a touched key moves to the recent one; every horizon the older one is dropped whole and the recent
    one takes its place. So a key is dropped only after a whole horizon without a touch, each key costs a constant, and
    the number of keys is bounded by those active in the last two horizons in which anything happened.
    """

    __slots__ = ("_horizon_ns", "_older", "_recent", "_turn_at_ns")

    def __init__(self, horizon_ns: int) -> None:
        self._horizon_ns = horizon_ns
        self._recent: dict[str, State] = {}
        self._older: dict[str, State] = {}
        self._turn_at_ns = 0

    @property
    def active_keys(self) -> int:
        return len(self._recent) + len(self._older)

    def forget_idle(self, now_ns: int) -> None:
        """Drop every key whose state makes no difference any more. Takes a look at each; never needed for memory."""
        for states in (self._recent, self._older):
            for key in [key for key, state in states.items() if self._is_idle(state, now_ns)]:
                del states[key]

    def _turn(self, now_ns: int) -> None:
        self._older, self._recent = self._recent, {}
        self._turn_at_ns = now_ns + self._horizon_ns

    @abstractmethod
    def _is_idle(self, state: State, now_ns: int) -> bool: ...
