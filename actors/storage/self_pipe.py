"""A self-pipe, by which one thread wakes up another that also waits for a socket."""

from __future__ import annotations

import contextlib
import socket


class SelfPipe:
    """Wakes the thread that waits for it up, from another one."""

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)
        self._is_hung = False

    def hang(self) -> None:
        """Arm it to wake the thread when something comes; called with the lock that guards it."""
        self._is_hung = True

    def wake(self) -> None:
        """Wake the thread, if it waits."""
        if self._is_hung:
            self._is_hung = False
            with contextlib.suppress(OSError):
                self._writer.send(b"!")

    def drain(self) -> None:
        """Disarm it."""
        self._is_hung = False
        with contextlib.suppress(BlockingIOError):
            self.reader.recv(4096)

    def close(self) -> None:
        """Close it."""
        self.reader.close()
        self._writer.close()
