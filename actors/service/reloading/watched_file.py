"""A file, or a directory of files, that is read again when it changes; what cannot be used changes nothing.

It is looked at every few seconds, and not by a notification of the operating system: that would miss files of network
disks, and of a container's volume that is swapped by way of a symbolic link. An editor that writes a file in place
leaves half of it there for a moment, so what has changed is read when it has stayed the same for another moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import trio

from actors.errors import ConfigurationError

logger = logging.getLogger(__name__)

SETTLE_S = 0.2
"""How long a file has to stay the same before it is read."""

_Mark: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""Name, time of the last change in nanoseconds, bytes and inode of each file: what is compared."""

T = TypeVar("T")


class WatchedFile(Generic[T]):
    def __init__(
        self,
        path: Path,
        *,
        read: Callable[[], tuple[T, Sequence[str]]],
        use: Callable[[T], object],
        files: Callable[[Path], Sequence[Path]] = lambda path: [path],
    ) -> None:
        """Watch a file or directory; nothing is read yet.

        Args:
            path: of the file or directory.
            read: called in a thread; returns the content and the problems of parts of it, or raises ConfigurationError.
            use: takes what was read; called in the thread of the event loop.
            files: returns the files that are to be looked at; may raise OSError.
        """
        self.path = path
        self.loaded_at: datetime | None = None
        """When it was last read and used."""
        self.problems: Sequence[str] = ()
        """The problems of the latest reading, a line each."""
        self._read = read
        self._use = use
        self._files = files
        self._mark: _Mark | None = None
        """Of what was read last."""
        self._reading = trio.Lock()

    async def read(self) -> Sequence[str]:
        """Read and use the file; return its problems. If nothing of it can be used, nothing changes."""
        async with self._reading:
            mark = await self._mark_now()
            try:
                content, problems = await trio.to_thread.run_sync(self._read)
            except ConfigurationError as error:
                problems = error.problems
            except Exception as error:
                logger.exception("%s cannot be read", self.path)
                problems = [f"{self.path}: cannot be read: {type(error).__name__}: {error}"]
            else:
                self._use(content)
                self.loaded_at = datetime.now(UTC)
            self._mark, self.problems = mark, tuple(problems)
            return self.problems

    async def reload(self) -> Sequence[str]:
        """Read and use the file, and log how that went; return its problems."""
        problems = await self.read()
        for problem in problems:
            logger.error("%s", problem)
        if problems:
            logger.error("%s: not used; what was read before still holds", self.path)
        else:
            logger.info("%s: read again", self.path)
        return problems

    async def reload_when_changed(self) -> bool:
        """Reload it if it has changed, and has stayed the same for a moment since; tell whether it was read."""
        mark = await self._mark_now()
        if mark == self._mark:
            return False
        while True:
            await trio.sleep(SETTLE_S)
            later = await self._mark_now()
            if later == mark:
                break
            mark = later
        await self.reload()
        return True

    async def _mark_now(self) -> _Mark:
        return await trio.to_thread.run_sync(self._look)

    def _look(self) -> _Mark:
        try:
            return tuple(_mark_of(path) for path in self._files(self.path))
        except OSError:
            return ()


def _mark_of(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return path.name, 0, -1, 0
    return path.name, found.st_mtime_ns, found.st_size, found.st_ino
