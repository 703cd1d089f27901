"""The finished runs of a sweep, a search or a comparison, on disk: a line for each run, as soon as it has finished.

A run is known by what decides about it (:mod:`simulation.running.executors`) and its seed. So a sweep that was cut off
goes on where it was, and one with more values or more replicates does only what is new. A process killed in the
middle of a line loses that line, and a line that is damaged is as good as none: its run is done again. Null stands in
a line for what is never, as it does in a summary.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TextIO

import msgspec

from actors.errors import ConfigurationError
from simulation.running.executors import RunMetrics, metric_paths, with_never
from simulation.scenario import Scenario

NAME = "runs.jsonl"


class Journal:
    def __init__(self, path: Path, runs: dict[tuple[str, int], RunMetrics], file: TextIO) -> None:
        self.path = path
        self._runs = runs
        self._file = file

    @classmethod
    @contextlib.contextmanager
    def opened(cls, folder: str | Path | None) -> Iterator[Journal | None]:
        """Give the journal of a folder, which is made if it is not there, for the length of a block; None for none.

        Raises:
            ConfigurationError: another command is at work in the folder.
            OSError: it cannot be written.
        """
        if folder is None:
            yield None
            return
        path = Path(folder) / NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8", errors="replace") as file:
            _lock(file, path)
            file.seek(0)
            text = file.read()
            if text and not text.endswith("\n"):
                file.write("\n")  # the process that wrote the line was killed: what comes is not its end
                file.flush()
            yield cls(path, dict(_runs_in(text)), file)

    def kept(
        self, scenario: Scenario, known_by: str, seed: int, figures: Collection[str] | None = None
    ) -> RunMetrics | None:
        """Return a finished run by the hash of its scenario and its seed, or None; with these figures, or those of its
        summary."""
        run = self._runs.get((known_by, seed))
        wanted = set(metric_paths(scenario) if figures is None else figures)
        return run if run is not None and run.figures.keys() == wanted else None

    def add(self, scenario: str, seed: int, run: RunMetrics) -> None:
        """Keep a run: in the file when this returns, so that it survives the end of this process."""
        self._runs[scenario, seed] = run
        figures = {path: None if value == math.inf else value for path, value in run.figures.items()}
        line = {"scenario": scenario, "seed": seed, "digest": run.digest, "figures": figures}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()


class _Line(msgspec.Struct):
    scenario: str
    seed: int
    digest: str
    figures: dict[str, float | None]


def _runs_in(text: str) -> Iterator[tuple[tuple[str, int], RunMetrics]]:
    for line in text.splitlines():
        try:
            entry = msgspec.json.decode(line, type=_Line)
        except (msgspec.DecodeError, RecursionError):
            continue  # cut off, or damaged
        yield (entry.scenario, entry.seed), RunMetrics(with_never(entry.figures), entry.digest)


def _lock(file: TextIO, path: Path) -> None:
    """Keep others out until the file is closed, also by the end of the process; not where files have no locks."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError([f"--out {path.parent}: another command is at work there"]) from None
