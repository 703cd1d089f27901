"""Watches a run while it goes on: tells how it stands, and ends it when it is cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from actors.errors import RunCancelled, RunTooLarge
from actors.instants import NS_PER_S
from actors.messages import BreakerState, RecordedEvent
from simulation.results.formatting import duration_text
from simulation.results.progress import Listener, RunSnapshot
from simulation.results.recorder import Recorder
from simulation.running.memory import Memory, Room

PUBLISHED_EVERY_S = 0.1
"""By the wall clock: so often is `progress` called at most."""

MEMORY_EVERY_S = 0.2
"""So often is it looked how much memory is left, at most. A run takes some 50 MB a second."""


def too_large(recorder: Recorder, room: Room | None = None) -> RunTooLarge:
    ended = f"memory: the run was ended after {duration_text(recorder.latest_ns / NS_PER_S)} of it"
    if room is not None:
        ended += f", with {room.left / 1e9:.2g} GB left of {room.of / 1e9:.2g} and {room.own / 1e9:.2g} taken by it"
    if recorder.history is None:
        less = "a shorter remember_ids"
    else:
        ended, less = f"{ended} (its tables would take as much again)", "record: aggregates"
    return RunTooLarge([f"{ended}; {less}, a shorter duration, fewer arrivals or fewer --workers take less"])


class Watch:
    """The functions that a caller has given to observe a run; their errors end it."""

    def __init__(
        self,
        recorder: Recorder,
        breakers: Mapping[str, BreakerState],
        *,
        on_events: Callable[[Sequence[RecordedEvent]], None] | None,
        progress: Callable[[RunSnapshot], None] | None,
        cancelled: Callable[[], bool] | None,
        until: Callable[[RunSnapshot], bool] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Watch the records of a recorder from now on; `breakers` are by name, with the states in which they begin.
        `on_events` is given the history in chunks, `progress` the state of the run; the wall clock is in seconds."""
        self._recorder = recorder
        self._breakers = breakers
        self._clock = clock
        self._due_s = clock() + PUBLISHED_EVERY_S
        self._is_cancelled = False
        self._error: Exception | None = None
        self._memory, self._memory_due_s = Memory(), clock()
        recorder.when_grown = self._when_grown
        self._listeners: list[Listener[Any, Any]] = []
        self._publish = None if progress is None else self._listener(progress)
        self._cancelled = None if cancelled is None else self._listener(cancelled)
        self._until = None if until is None else self._listener(until)
        if on_events is not None:
            recorder.on_events = self._listener(on_events)
        if progress is not None or cancelled is not None:
            recorder.watch(self.look)

    def _listener(self, function: Callable[..., Any]) -> Listener[Any, Any]:
        listener = Listener(function, lambda: self._recorder.stop())
        self._listeners.append(listener)
        return listener

    def fail(self, error: Exception) -> None:
        """End the run, which then raises this, unless something else has ended it before."""
        self._error = self._error or error
        self._recorder.stop()

    def _when_grown(self) -> None:
        self._look_at_memory()
        if self._until is not None and not self._is_cancelled:
            recorder = self._recorder
            if self._until(RunSnapshot(recorder, self._breakers, recorder.latest_ns)):
                self._is_cancelled = True
                recorder.stop()

    def _look_at_memory(self) -> None:
        now_s = self._clock()
        if now_s < self._memory_due_s:
            return
        if (room := self._memory.short(as_much_again=self._recorder.history is not None)) is not None:
            self.fail(too_large(self._recorder, room))
        self._memory_due_s = now_s + MEMORY_EVERY_S

    def begin(self) -> None:
        """See whether the run is to begin at all; raises what :meth:`check` does."""
        self._ask()
        self.check()

    def look(self) -> None:
        """End the run if it is cancelled, and tell how it stands if it is time to."""
        self._ask()
        if self._publish is not None and not self._is_cancelled and self._clock() >= self._due_s:
            self._tell()
            self._due_s = self._clock() + PUBLISHED_EVERY_S

    def _ask(self) -> None:
        if self._cancelled is not None and not self._is_cancelled and self._cancelled():
            self._is_cancelled = True
            self._recorder.stop()

    def check(self) -> None:
        """Raise the error that ended the run before its time.

        Raises:
            RunCancelled: it was cancelled.
            Exception: one of the functions has raised it.
        """
        if self._error is not None:
            raise self._error
        for listener in self._listeners:
            listener.check()
        if self._is_cancelled:
            self._recorder.count()
            at_s = self._recorder.latest_ns / NS_PER_S
            cancelled = RunCancelled(f"cancelled after {duration_text(at_s)} of the run")
            cancelled.so_far = RunSnapshot(self._recorder, self._breakers, self._recorder.latest_ns)
            raise cancelled

    def end(self) -> None:
        if self._publish is not None:
            self._tell()
        self.check()

    def _tell(self) -> None:
        assert self._publish is not None
        self._recorder.count()
        self._publish(RunSnapshot(self._recorder, self._breakers, self._recorder.latest_ns))
