"""Reads a file as a whole, whatever is at its path: never for ever, and never more bytes than wanted."""

from __future__ import annotations

import errno
import os
import select
import stat
from pathlib import Path
from typing import Final

PIPE_PATIENCE_S: Final = 5.0
"""How long a pipe may say nothing, in seconds of the machine's clock."""


def check_is_file(path: Path) -> None:
    """Raise an OSError unless a path is a regular file's, which can be opened without a wait, more than once."""
    _check_mode(os.stat(path).st_mode)


def _check_mode(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is no regular file")


def read_whole(path: Path, bytes_max: int) -> bytes:
    """Return the content of a file or a pipe, at most one byte more than `bytes_max`.

    A pipe, such as a shell makes of ``<(…)``, is read until its writers have closed it. Opened in the usual way, a pipe
    that nobody writes to would never be ready; a device may have no end.

    Raises:
        OSError: the file is missing, cannot be read, or is neither a file nor a pipe; or the pipe says nothing for
            PIPE_PATIENCE_S.
        ValueError: there is a NUL in the path.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        is_pipe = stat.S_ISFIFO(mode)
        if not is_pipe:
            _check_mode(mode)
        content = bytearray()
        while len(content) <= bytes_max:
            if is_pipe and not select.select([descriptor], [], [], PIPE_PATIENCE_S)[0]:
                raise TimeoutError(errno.ETIMEDOUT, f"is a pipe, to which nothing is written in {PIPE_PATIENCE_S:g} s")
            try:
                chunk = os.read(descriptor, min(2**20, bytes_max + 1 - len(content)))
            except BlockingIOError:
                continue
            if not chunk:
                break
            content += chunk
        return bytes(content)
    finally:
        os.close(descriptor)
