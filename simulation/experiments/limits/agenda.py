"""Searches side by side: what each has to know before it goes on is run, each run once, also where several want it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from simulation.running.executors import RunMetrics

K = TypeVar("K", bound=Any)
T = TypeVar("T")

KnownBy = tuple[str, int]
"""The hash of what decides about a run, and its seed."""


@dataclass(eq=False)
class _Search(Generic[K]):
    steps: Iterator[Iterable[K]]
    missing: set[K] = field(default_factory=set)


@dataclass
class SideBySide(Generic[K, T]):
    """Carries out searches."""

    task_of: Callable[[K], tuple[KnownBy, T]]
    """Returns the run that answers a question of a search."""

    kept: Callable[[KnownBy, T], RunMetrics | None]
    """Returns a run that was done before."""

    keep: Callable[[KnownBy, RunMetrics], None]
    answer: Callable[[K, RunMetrics], None]
    tell: Callable[[int], None]
    """Called with how many runs are wanted, at first and after each."""

    def carry_out(
        self,
        searches: Iterable[Iterator[Iterable[K]]],
        do: Callable[[Iterator[T]], Iterator[tuple[int, RunMetrics]]],
    ) -> None:
        """Carry them out; `do` does runs, and asks for more after each."""
        self._waiting: dict[KnownBy, list[tuple[_Search[K], K]]] = {}
        self._begun: list[KnownBy] = []
        self._agenda: Agenda[T] = Agenda()
        for steps in searches:
            self._go_on(_Search(steps))
        self.tell(len(self._waiting))
        for place, run in do(self._agenda):
            known_by = self._begun[place]
            self.keep(known_by, run)
            for search, key in self._waiting.pop(known_by):
                self.answer(key, run)
                search.missing.discard(key)
                if not search.missing:
                    self._go_on(search)
            self.tell(len(self._waiting))

    def _go_on(self, search: _Search[K]) -> None:
        """Ask a search what it has to know, until that has to be run."""
        for keys in search.steps:
            self._ask(search, sorted(set(keys)))
            if search.missing:
                return

    def _ask(self, search: _Search[K], keys: Sequence[K]) -> None:
        for key in keys:
            known_by, task = self.task_of(key)
            run = self.kept(known_by, task)
            if run is not None:
                self.answer(key, run)
                continue
            if known_by not in self._waiting:
                self._waiting[known_by] = []
                self._begun.append(known_by)
                self._agenda.waiting.append(task)
            self._waiting[known_by].append((search, key))
            search.missing.add(key)


class Agenda(Iterator[T], Generic[T]):
    """Tasks in order; there may be more later when there are none."""

    def __init__(self) -> None:
        self.waiting: deque[T] = deque()

    def __next__(self) -> T:
        if not self.waiting:
            raise StopIteration
        return self.waiting.popleft()
