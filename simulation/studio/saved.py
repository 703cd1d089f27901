"""Opening saved runs: a folder of ``retrylab run --out``, or a trace of ``--record``.

They are run again, which gives the same history; the digest confirms it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from actors.errors import ConfigurationError
from simulation.results.result import SCENARIO_FILE, SUMMARY_FILE
from simulation.results.saved_result import summary_kept
from simulation.running.traces.trace import Trace
from simulation.scenario.loading import text_at
from simulation.scenario.writing import write
from simulation.studio.splicing import CannotEdit, edited

TRACES = (".trace", ".trace.gz")
"""The endings of the names of traces."""


def is_trace(path: str | Path) -> bool:
    return str(path).endswith(TRACES)


def saved_text(path: Path) -> str:
    """Return the text of a scenario, or of the one that a trace is of, as it was changed and seeded for its run.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if not is_trace(path):
        return text_at(path)
    header = _trace(path).header
    text, sets = header.text, list(header.sets)
    if header.given_seed is not None:
        sets.append(f"seed={header.given_seed}")
    try:
        for each in sets:
            key, _, value = each.partition("=")
            text = edited(text, tuple(key.split(".")), value)
    except CannotEdit:  # then without its comments
        return write(_trace(path).scenario())
    return text


@contextmanager
def read_as(path: str) -> Iterator[str]:
    """Inside the ``with`` block, data files that a trace holds are read from it. Gives the name of its scenario's file.

    Raises:
        ConfigurationError: it is a trace that cannot be read.
    """
    if not is_trace(path):
        yield path
        return
    trace = _trace(Path(path))
    with trace.reading():
        yield trace.header.filename


def digest_kept(path: Path, text: str) -> str | None:
    """Return the digest of the run that was saved of a text; None: none was, or not of this text."""
    try:
        if saved_text(path) != text:
            return None
        if is_trace(path):
            return _trace(path).ending.digest
        if path.name != SCENARIO_FILE:
            return None
        return summary_kept(path.with_name(SUMMARY_FILE)).get("digest")
    except ConfigurationError:
        return None


def _trace(path: Path) -> Trace:
    try:
        status = path.stat()
    except OSError:
        return Trace(path)  # which says what is wrong
    return _read_once(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read_once(path: Path, _changed_ns: int, _size: int) -> Trace:
    return Trace(path)
