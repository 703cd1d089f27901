"""The finished runs of a sweep, on disk: a line for each run, as soon as it has finished.

A run is known by what decides about it (:mod:`simulation.running.cache_key`) and its seed. So a sweep that was cut off
goes on where it was, and one with more values or more replicates does only what is new. A process killed in the
middle of a line loses that line. Null stands in a line for what is never, as it does in a summary.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from actors.errors import ConfigurationError
from simulation.running.executors import RunMetrics, with_never

NAME = "runs.jsonl"


class Journal:
    """The finished runs of a folder."""

    def __init__(self, path: Path, runs: dict[tuple[str, int], RunMetrics], file: TextIO) -> None:
        self.path = path
        self._runs = runs
        self._file = file

    @classmethod
    @contextlib.contextmanager
    def opened(cls, directory: Path) -> Iterator[Journal]:
        """Give the journal of a folder, which is made if it is not there, for the length of a block.

        Raises:
            ConfigurationError: another sweep is at work in the folder.
            OSError: it cannot be written.
        """
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / NAME
        with path.open("a+", encoding="utf-8") as file:
            _lock(file, path)
            file.seek(0)
            text = file.read()
            if text and not text.endswith("\n"):
                file.write("\n")  # the process that wrote the line was killed: what comes is not its end
                file.flush()
            yield cls(path, dict(_runs_in(text)), file)

    def __getitem__(self, run: tuple[str, int]) -> RunMetrics | None:
        """Return a finished run by the hash of its scenario and its seed, or None."""
        return self._runs.get(run)

    def add(self, scenario: str, seed: int, run: RunMetrics) -> None:
        """Keep a run: in the file when this returns, so that it survives the end of this process."""
        self._runs[scenario, seed] = run
        figures = {path: None if value == math.inf else value for path, value in run.figures.items()}
        line = {"scenario": scenario, "seed": seed, "digest": run.digest, "figures": figures}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()


def _runs_in(text: str) -> Iterator[tuple[tuple[str, int], RunMetrics]]:
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            yield (entry["scenario"], entry["seed"]), RunMetrics(with_never(entry["figures"]), entry["digest"])
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # cut off


def _lock(file: TextIO, path: Path) -> None:
    """Keep others out until the file is closed, also by the end of the process; not where files have no locks."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError([f"--out {path.parent}: another sweep is at work there"]) from None
