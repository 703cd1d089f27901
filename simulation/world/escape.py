"""An escape: the service did something that leaves its virtual world.

Examples are a name that the scenario's `world` lacks, a real socket, or `time.sleep` on the event loop. An escape
fails the run at its end even if the service catches it, so :func:`refuse` records it before it is raised.
"""

from __future__ import annotations

import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Protocol

import trio

from actors.errors import ConfigurationError, RetrylabError, described
from actors.formatting import counted, seconds_text

_LIBRARIES = tuple(
    {f"{Path(path).resolve()}/" for name, path in sysconfig.get_paths().items() if name.endswith(("lib", "stdlib"))}
)
_PACKAGES = tuple(f"{Path(__file__).resolve().parents[2] / name}/" for name in ("simulation", "actors"))


class Escape(BaseException):
    """The service left its world. `except Exception`, and so a retry decorator, lets it pass.

    ::

        shop/app.py:31: the world has no host 'db.internal' (it has: api.example.com)
    """

    def __init__(self, file: str, line: int, sentence: str) -> None:
        super().__init__(file, line, sentence)
        self.file = file
        """The file of the service; of the caller where no frame is the service's."""
        self.line = line
        """The line in `file`, from 1; 0 where none is known."""
        self.sentence = sentence
        """Says what the service did, and how it can be done instead."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.sentence}"


class ServiceFailed(RetrylabError):
    """The service raised, or its process ended without a result.

    ::

        shop/app.py:31: 12.5 s into the run, charge raised KeyError: 'settings'
          called at shop/app.py:12, in main
    """


def failure_of(error: BaseException, at_ns: int) -> RetrylabError:
    """Return an error with the service's own lines in the traceback; for a group, the lines of its first error.

    Where none of the lines is the service's, the message is the whole traceback.
    """
    whole, others, frames = error, 0, dict[FrameType, int]()
    while True:
        frames.update(each for each in traceback.walk_tb(error.__traceback__) if is_of_service(each[0]))
        if not isinstance(error, BaseExceptionGroup):
            break
        others += len(error.exceptions) - 1
        error = error.exceptions[0]
    if not frames:
        if isinstance(error, ConfigurationError):
            return error
        return ServiceFailed("".join(traceback.format_exception(whole)))
    *callers, innermost = [
        (f"{frame.f_code.co_filename}:{line}", frame.f_code.co_name) for frame, line in frames.items()
    ]
    cause = "" if error.__cause__ is None else f", from {described(error.__cause__)}"
    beside = f", and {counted(others, 'other error')}" if others else ""
    sentence = f"{seconds_text(at_ns)} into the run, {innermost[1]} raised {described(error)}{cause}{beside}"
    lines = [f"{innermost[0]}: {sentence}", *(f"  called at {place}, in {name}" for place, name in reversed(callers))]
    return ServiceFailed("\n".join(lines))


class World(Protocol):
    """The state that all parts of a world share."""

    escapes: list[Escape]
    """The escapes so far, in order; any fails the run at its end."""


def refuse(world: World, sentence: str, frame: FrameType | None = None) -> Escape:
    """Record an escape at the service's line, and return it to be raised.

    `frame` is where the search for the service's line begins; the caller's where it is None.
    """
    escape = Escape(*service_line(sys._getframe(1) if frame is None else frame), sentence)
    world.escapes.append(escape)
    return escape


def service_line(frame: FrameType | None) -> tuple[str, int]:
    """Return file and line of the innermost frame that is neither a library's nor retrylab's.

    Where a task's own stack has none, it is the line of the nursery that started the task; and of `frame` where there
    is none at all.
    """
    innermost = frame
    while frame is not None:
        if is_of_service(frame):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    for parent, line in _frames_of_parents():
        if is_of_service(parent):
            return parent.f_code.co_filename, line
    return ("", 0) if innermost is None else (innermost.f_code.co_filename, innermost.f_lineno)


def is_of_service(frame: FrameType) -> bool:
    """Tell whether a frame is neither a library's nor retrylab's."""
    file = frame.f_code.co_filename
    if "/site-packages/" in file or "/dist-packages/" in file:  # of another environment, or the user's own
        return False
    return not file.startswith(("<", *_LIBRARIES, *_PACKAGES))


def _frames_of_parents() -> Iterator[tuple[FrameType, int]]:
    try:
        nursery = trio.lowlevel.current_task().parent_nursery
    except RuntimeError:  # not in a task
        return
    while nursery is not None:
        parent = nursery.parent_task
        yield from reversed([(frame, line) for frame, line in parent.iter_await_frames() if line is not None])
        nursery = parent.parent_nursery
