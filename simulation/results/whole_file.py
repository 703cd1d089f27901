"""A file that is either there as a whole or as it was before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write into, which takes its place when the block is over; its folder is made if it is not there.

    A symbolic link stays one, and what it points to is written. A device or a pipe, which nothing can take the place
    of, is written through: what has been written into it when the block breaks off is out.

    Raises:
        OSError: it cannot be written.
    """
    place = Path(os.path.realpath(path))
    if path.exists() and not place.is_file():  # of a pipe such as /dev/fd/63 that is a name for people, and no path
        with path.open("wb") as through:
            yield through
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)
