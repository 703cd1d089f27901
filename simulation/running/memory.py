"""The memory that is left to this process: of the machine, of its control groups, and by its own limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

SHARE_LEFT = 0.1
"""The share of a limit that must stay free for other processes; a run ends when less is left."""


class Room(NamedTuple):
    """The memory left under one limit, in bytes."""

    limit: str
    left: int
    of: int
    own: int
    """The bytes under the limit that this process uses."""


class Memory:
    """Checks whether there is room for data that takes more and more memory from now on."""

    def __init__(self) -> None:
        self._before = {room.limit: room.own for room in rooms()}

    def short(self, *, as_much_again: bool) -> Room | None:
        """Return a limit that has less left than this process has taken since the start; a busy machine is no one's
        fault.

        Args:
            as_much_again: whether the data will take as much memory again. Else there is room until little is left.
        """
        for room in rooms():
            grown = room.own - self._before.get(room.limit, 0)
            if room.left < grown and (as_much_again or room.left < SHARE_LEFT * room.of):
                return room
        return None


def left() -> int | None:
    """Return how many bytes are left by all limits; None: that is not known."""
    return min((room.left for room in rooms()), default=None)


def rooms() -> Iterator[Room]:
    """Yield the memory left under each limit of this process. Takes 0.1 ms on Linux."""
    try:
        virtual, resident, *_, data, _ = (int(pages) * _PAGE for pages in Path("/proc/self/statm").read_text().split())
        machine = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines()[:5])
        left, of = (int(machine[key].split()[0]) * 1024 for key in ("MemAvailable", "MemTotal"))
    except (OSError, ValueError, KeyError):  # another system, which tells less
        yield from _elsewhere()
        return
    yield Room("machine", left, of, resident)
    for limit, usage, cache_key in _groups():
        try:
            of = int(limit.read_text())
            if of > _NO_LIMIT:
                continue
            cached = dict(line.split() for line in (usage.parent / "memory.stat").read_text().splitlines())
            yield Room(str(limit), of - int(usage.read_text()) + int(cached[cache_key]), of, resident)
        except (OSError, ValueError, KeyError):
            continue  # "max": it has none
    for name, own in (("RLIMIT_AS", virtual), ("RLIMIT_DATA", data)):
        if (most := _limit(name)) is not None:
            yield Room(name, most - own, most, own)


_NO_LIMIT = 2**60
"""Version 1 of control groups has a number for none."""

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def _elsewhere() -> Iterator[Room]:
    try:
        import resource

        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes, on macOS
        of = os.sysconf("SC_PHYS_PAGES") * _PAGE
    except (ImportError, AttributeError, ValueError, OSError):
        return
    yield Room("machine", of - own, of, own)


def _limit(name: str) -> int | None:
    import resource

    of = resource.getrlimit(getattr(resource, name))[0]
    return None if of == resource.RLIM_INFINITY else of


@cache
def _groups() -> list[tuple[Path, Path, str]]:
    """Return the files of the limit and the use of each control group of this process, and the name in its statistics
    of the files that the kernel would drop. Version 2 has one hierarchy, version 1 one for memory."""
    found = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = Path("/sys/fs/cgroup"), ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = Path("/sys/fs/cgroup/memory")
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if (folder / names[0]).is_file():
                found.append((folder / names[0], folder / names[1], names[2]))
            if folder == root:
                break
    return found
