"""Where a run came from: what it takes to run it again."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Origin(NamedTuple):
    """What a run was started with, beside its seed and its clock."""

    file: Path | None = None
    """The scenario file; None for a scenario that was made in Python."""

    sets: tuple[str, ...] = ()
    """The ``path=value`` changes to the file."""

    only_in_python: tuple[str, ...] = ()
    """The arguments of :func:`simulation.run` that cannot be said at the shell: ``rules``, ``schedule``."""
