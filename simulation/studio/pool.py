"""The worker processes of studio, as a server on trio uses them: warm, few, and replaced when they die."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

import trio

from actors.errors import WorkerLost
from simulation.running.process_pool import process_context
from simulation.studio.worker import main

PATIENCE_S = 5.0
"""Seconds in which a worker has to end cancelled work; else it is ended itself."""


class Answer:
    """The answer of a worker: an asynchronous iterator over lines."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.has_ended = False
        """Whether all of it has been received."""

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> bytes:
        if self.has_ended:
            raise StopAsyncIteration
        try:
            await trio.lowlevel.wait_readable(self._connection.fileno())
            # The rest of a line that is larger than the pipe takes may still be on its way.
            line = await trio.to_thread.run_sync(self._connection.recv_bytes)
        except (EOFError, OSError):
            raise WorkerLost("The process that ran the scenario ended, or was killed.") from None
        if not line:
            self.has_ended = True
            raise StopAsyncIteration
        return line


class _Worker:
    def __init__(self) -> None:
        context = process_context()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=main, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.last: Any = None
        """The text of its last run, which it may still have."""

    async def has_settled(self, answer: Answer) -> bool:
        """Cancel its current work, if any; return whether it can do other work then."""
        with trio.move_on_after(PATIENCE_S, shield=True), suppress(WorkerLost, OSError):
            if not answer.has_ended:
                await trio.to_thread.run_sync(self.connection.send, None)
            async for _ in answer:
                pass
            return bool(self.process.is_alive())
        return False

    def end(self) -> None:
        self.process.kill()
        self.connection.close()
        self.process.join()


class Workers:
    """Some worker processes. A request waits while none is free."""

    def __init__(self, count: int) -> None:
        self._all = [_Worker() for _ in range(count)]
        self._free = list(self._all)
        self._room = trio.Semaphore(count)

    @property
    def numbers(self) -> list[int]:
        return [each.process.pid for each in self._all if each.process.pid is not None]

    @asynccontextmanager
    async def asked(self, what: Mapping[str, Any]) -> AsyncGenerator[Answer, None]:
        """Send a request to a worker, and give the answer. When the block is left, the rest of the work is cancelled.

        Raises:
            WorkerLost: the process died; another one takes its place.
        """
        async with self._room:
            wanted = what.get("text"), what.get("filename")
            worker = next((each for each in self._free if each.last == wanted), self._free[0])
            self._free.remove(worker)
            if not worker.process.is_alive():  # somebody has killed it meanwhile
                worker = await self._replaced(worker)
            worker.last = wanted
            answer = Answer(worker.connection)
            try:
                with suppress(OSError):  # it has died meanwhile: the answer will say so
                    await trio.to_thread.run_sync(worker.connection.send, dict(what))
                yield answer
            finally:
                with trio.CancelScope(shield=True):
                    if not await worker.has_settled(answer):
                        worker = await self._replaced(worker)
                self._free.append(worker)

    async def _replaced(self, worker: _Worker) -> _Worker:
        with trio.CancelScope(shield=True):
            self._all.remove(worker)
            await trio.to_thread.run_sync(worker.end)
            worker = await trio.to_thread.run_sync(_Worker)
            self._all.append(worker)
        return worker

    def end(self) -> None:
        for each in self._all:
            each.end()
