"""Async handlers under trio: each is a task, which takes turns with the dispatcher.

A turn is an event: the dispatcher waits for it, and the task sets it when its handler parks, ends, or begins to await
real I/O. After the I/O the handler comes back through the queue of ready messages.
"""

from __future__ import annotations

import types
from collections.abc import Generator
from typing import Any

import trio

from actors.kernel.async_handlers import HandlerRun, Parked


class HandlerWait:
    """The wait of a task for its next turn."""

    __slots__ = ("event", "in_line", "is_cancelled", "turn")

    def __init__(self, *, in_line: bool) -> None:
        self.event = trio.Event()
        self.in_line = in_line
        """Whether only a turn is missing: the wait for real I/O is over."""
        self.turn: trio.Event | None = None
        self.is_cancelled = False
        """Whether the handler gets the turn to be cancelled."""

    def give_turn(self) -> trio.Event:
        self.turn = trio.Event()
        self.event.set()
        return self.turn


@types.coroutine
def _hand_to_trio(trap: Any) -> Generator[Any, Any, Any]:
    return (yield trap)


async def _cancellation() -> trio.Cancelled | None:
    """Return the Cancelled that is due here, or None when a shield keeps it out."""
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
    except trio.Cancelled as cancelled:
        return cancelled
    return None


class HandlerTask:
    """The task of one async handler; its first turn begins at once."""

    __slots__ = ("_run", "_system", "_wait", "turn")

    def __init__(self, system: Any, run: HandlerRun) -> None:
        self._system = system
        """The :class:`~actors.kernel.live.LiveSystem`."""
        self._run = run
        self._wait: HandlerWait | None = None
        self.turn = trio.Event()

    def go_on(self) -> trio.Event | None:
        """Give the handler a turn; None: it waits for none."""
        return None if self._wait is None or self._wait.turn is not None else self._wait.give_turn()

    def cancel(self) -> trio.Event | None:
        """Give the handler a turn to be cancelled; None: it awaits real I/O, which trio cancels, or a turn after it."""
        if self._wait is None or self._wait.turn is not None or self._wait.in_line:
            return None
        self._wait.is_cancelled = True
        return self._wait.give_turn()

    async def run(self) -> None:
        system, run = self._system, self._run
        error: BaseException | None = None
        value: Any = None
        try:
            with run.whole.trio_scope:
                while (yielded := system._step(run, error, value)) is not None:
                    error, value = None, None
                    if type(yielded) is not Parked:
                        error, value = await self._wait_foreign(yielded)
                    elif run.cancelled is not None and (error := await _cancellation()) is not None:
                        pass
                    elif system.has_ended:
                        error = run.whole.error
                    else:
                        error = await self._wait_parked(yielded)
        except BaseException as raised:
            system._unwound(run.actor, raised)
        finally:
            system._forget(run)
            self.turn.set()

    async def _wait_parked(self, parked: Parked) -> BaseException | None:
        self._system._park(self._run, parked)
        while True:
            wait = self._wait = HandlerWait(in_line=False)
            self.turn.set()
            try:
                await wait.event.wait()
            except trio.Cancelled as cancelled:
                # A scope of trio's, unless the dispatcher has given the handler the turn already.
                if wait.turn is None:
                    await self._come_back_in_line()
                else:
                    self.turn = wait.turn
                return cancelled
            assert wait.turn is not None
            self.turn = wait.turn
            if self._system.has_ended:
                return self._run.whole.error  # in spite of a shield: nothing will ever resume it
            if not wait.is_cancelled:
                return None
            # A shield of the handler's keeps the cancellation out: it waits on.

    async def _wait_foreign(self, trap: Any) -> tuple[BaseException | None, Any]:
        self._system._park(self._run, None)
        error: BaseException | None = None
        value: Any = None
        self.turn.set()
        try:
            value = await _hand_to_trio(trap)
        except GeneratorExit:
            self._run.coroutine.close()
            raise
        except BaseException as raised:
            error = raised
        await self._come_back_in_line()
        return error, value

    async def _come_back_in_line(self) -> None:
        if self._system.has_ended:
            self.turn = trio.Event()
            return
        wait = self._wait = HandlerWait(in_line=True)
        self._system._enqueue(self._run.actor, self._run.resume_anew())
        with trio.CancelScope(shield=True):
            await wait.event.wait()
        assert wait.turn is not None
        self.turn = wait.turn
