"""The place of a store's file in SQLite: checks that it is a file, private to its owner, locked by us, and still there.

A process that closes any descriptor of a file loses all of SQLite's locks on it (POSIX locks belong to a process and an
inode). So the descriptor here is opened before SQLite opens the file, and closed after SQLite has closed it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from actors.errors import StoreError, StoreInUse

if sys.platform == "linux":
    import fcntl

logger = logging.getLogger(__name__)

OWNERS_ALONE = 0o600

LONGEST_REASON = 200
"""Characters of the reason that an error gives, at the most: SQLite may cite all that a file has."""

_taken: dict[tuple[int, int], int] = {}
"""The files that this process has open as stores, by device and inode, with the descriptor of each."""


def _let_go_in_child() -> None:
    """Close the parent's descriptors in a forked process, as every holder of a descriptor has its lock."""
    for descriptor in _taken.values():
        os.close(descriptor)
    _taken.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


class FilePlace:
    """The place of a file, locked for as long as it is open.

    On Linux the lock is on the file itself: so it stays when the file is renamed, and cannot be removed without the
    file. SQLite does not use this lock, so other processes may read the file.

    Raises (where it is made):
        StoreInUse: another process, or another store of this process, has the file.
        StoreError: the path is no file's, or the file cannot be opened or made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if _identity_at(path) in _taken:  # looked up, since closing a descriptor of it loses SQLite's locks
                raise in_use(path)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
            self._descriptor = os.open(path, flags, OWNERS_ALONE)
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {reason_of(error)}") from error
        try:
            self._file = _identity(os.fstat(self._descriptor))
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise StoreError(f"{path} cannot be opened: wanted a file")
            self._lock()
        except BaseException:
            os.close(self._descriptor)
            raise
        _taken[self._file] = self._descriptor
        self._path, self._log_path = str(path), str(_beside(path, "-wal"))  # looked at often
        self._log: tuple[int, int] | None = None

    def keep_private(self) -> None:
        for suffix in ("", "-wal", "-shm", "-lock", "-lock-journal"):
            _keep_private(_beside(self.path, suffix))

    def close(self) -> None:
        if _taken.pop(self._file, None) is not None:
            os.close(self._descriptor)

    def why_gone(self) -> str | None:
        """Return why a write would be lost now, or None: the file, or its log, is no longer where it was."""
        try:
            log, file = _identity_at(self._log_path), _identity_at(self._path)
        except OSError as error:
            return f"{self.path} cannot be found any more: {reason_of(error)}"
        if file != self._file:
            return f"{self.path} cannot be written: the file was deleted, moved or replaced"
        if self._log is None:
            self._log = log
        elif log != self._log:
            return f"{self.path} cannot be written: its log, {self.path.name}-wal, was deleted or replaced"
        return None

    def _lock(self) -> None:
        if sys.platform != "linux":
            return  # elsewhere it could be in the way of SQLite's locks
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise in_use(self.path) from None
            # A file system without such locks: then the file beside it alone keeps others out.


def in_use(path: Path) -> StoreInUse:
    """Return the error that says of a file that it is in use, and as far as that is known by whom and since when."""
    pid = store_holder(path)
    known = "" if pid is None else f": {_process(pid)}{_since(path)}"
    return StoreInUse(f"{path} is in use by another process, or by another store in this one{known}")


def _since(path: Path) -> str:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0)) as sql:
            return f", since {sql.execute('SELECT since FROM running').fetchone()[0]} UTC"
    except (sqlite3.Error, ValueError, TypeError):
        return ""


def make_private(path: Path) -> None:
    """Make a file if there is none, private to its owner whatever the umask; raise StoreError where the file cannot be
    made, or the path is something else than a file."""
    check_kind(path)
    try:
        # Only a new file, so that closing it loses no lock on an existing one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNERS_ALONE))
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {reason_of(error)}") from error


def check_is_file(path: Path) -> None:
    """Check that there is a file, and nothing else such as a folder or a named pipe, without opening it; raise
    StoreError where there is none."""
    try:
        check_kind(path)
        path.stat()
    except FileNotFoundError:
        raise StoreError(f"{path} cannot be opened: there is no such file") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {reason_of(error)}") from error


def resolved(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a file, without symbolic links; raise StoreError where it is no path, or its links
    lead in a circle."""
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a circle, before Python 3.13
        raise StoreError(f"{os.fspath(path)!r} cannot be opened: {reason_of(error)}") from error


def check_kind(path: Path) -> None:
    """Check that a path is a file's, or free: to open a named pipe could wait for ever; raise StoreError where the path
    is something else, or its folder is missing."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise StoreError(f"{path} cannot be opened: there is no folder {path.parent}") from None
        return
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be opened: {reason_of(error)}") from error
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        raise StoreError(f"{path} cannot be opened: wanted a file, got {kinds.get(stat.S_IFMT(mode), 'a device')}")


def lock_holder(path: Path) -> str:
    """Return who keeps the store in a file from being written, for people: the process that has locked it, where the
    system says so (Linux), else which file is locked."""
    # A writer has a lock on this byte of the log's index; before there is an index, on the file itself, far behind its
    # end. See https://sqlite.org/walformat.html#locks
    for place, first, last in ((_beside(path, "-shm"), 120, 120), (path, 2**30, sys.maxsize)):
        for pid in _lockers(place, ("POSIX", "OFDLCK"), first, last):
            return f"it is locked by {_process(pid)}"
    return f"another process has locked {path}"


def store_holder(path: Path) -> int | None:
    """Return the number of the process that has a file open as a store; None: that is not known here."""
    return next(_lockers(path, ("FLOCK",), 0, sys.maxsize), None)


def _lockers(path: Path, kinds: tuple[str, ...], first: int, last: int) -> Iterator[int]:
    """Yield the processes that have a lock to write on some of these bytes of a file, as Linux knows them."""
    with contextlib.suppress(OSError, ValueError):
        inode = str(path.stat().st_ino)
        for line in Path("/proc/locks").read_text().splitlines():
            match line.split()[1:]:  # a process that only waits has an arrow in front
                case [kind, _, "WRITE", pid, file, begin, end] if kind in kinds and file.rpartition(":")[2] == inode:
                    if int(begin) <= last and (end == "EOF" or first <= int(end)):
                        yield int(pid)


def _process(pid: int) -> str:
    if pid <= 0:
        return "a process that cannot be seen from here"
    try:
        return f"process {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except (OSError, UnicodeError):
        return f"process {pid}"


def _keep_private(path: Path) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            path.chmod(mode & 0o700)
            logger.warning("%s was open to others (mode %04o), and is its owner's alone now", path, mode)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("%s may be open to others, and cannot be made its owner's alone: %s", path, reason_of(error))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _identity_at(path: str | Path) -> tuple[int, int] | None:
    try:
        return _identity(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def reason_of(error: Exception) -> str:
    """Return the text of an error in one line, with SQLite's name of the error."""
    said = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
    if len(said) > LONGEST_REASON:
        said = said[:LONGEST_REASON] + "…"
    name = getattr(error, "sqlite_errorname", None)
    return said if name is None else f"{said} ({name})"
