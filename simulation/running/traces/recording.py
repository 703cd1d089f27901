"""Records a run in a trace."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from actors.errors import ConfigurationError
from actors.messages import RecordedEvent
from actors.settings.csv_column import read_file, reading_by
from simulation.engine.schedules import Schedule
from simulation.results.files import is_same, whole_file
from simulation.results.reproduce import Origin
from simulation.results.result import Result
from simulation.running.runner import Runtime, run
from simulation.running.traces.trace import FORMAT, Ending, Header, error_text, key_of
from simulation.scenario import parse
from simulation.scenario.loading import text_at

if TYPE_CHECKING:
    from simulation.running.checking import Choice

_COMPRESSION = 5
_BEGINNING = b'{"type":"trace",'
"""The beginning of the first line, a :class:`~simulation.running.traces.trace.Header`."""
_ENCODER = msgspec.json.Encoder()


def record(
    scenario: str | Path,
    trace: str | Path,
    *,
    seed: int | None = None,
    runtime: Runtime = "simpy",
    sets: Sequence[str] = (),
    schedule: Schedule | None = None,
    invariants: Choice = "default",
    **options: Any,
) -> Result:
    """Run a scenario file, write a trace of it, and return its result.

    When the run breaks off, the trace is written too, up to there; unless nothing has happened by then.

    Args:
        scenario: the file.
        trace: the file to write; its directory is made if it is not there.
        seed, runtime, sets, schedule: as for :func:`simulation.run`; they are kept in the trace.
        invariants: as for that; kept if it is a word.
        options: further arguments of it. They are not kept, so a replay has to be given the same rules, for example.

    Raises:
        ConfigurationError: the scenario cannot be used, or the trace would take its place or that of a file which is no
            trace; nothing is written then.
        OSError: the trace cannot be written.
        Exception: the error with which the run broke off.
    """
    text = text_at(scenario)
    path, trace = Path(scenario), Path(trace)
    if is_same(trace, path):
        raise ConfigurationError([f"{trace}: wanted a file for the trace, got the scenario itself"])
    files: dict[str, str] = {}
    directory = path.absolute().parent

    def read_once(file: Path) -> str:
        key = key_of(file, directory)
        if key not in files:
            files[key] = read_file(file)
        return files[key]

    with reading_by(read_once):
        loaded = parse(text, str(path), sets=sets, seed=seed)
    if any(is_same(trace, directory / file) for file in files):
        raise ConfigurationError([f"{trace}: wanted a file for the trace, got one that the scenario needs"])
    _check_place(trace)
    header = Header(
        format=FORMAT,
        version=version("retrylab"),
        scenario=loaded.name,
        seed=loaded.seed,
        runtime=runtime,
        sets=tuple(sets),
        given_seed=seed,
        invariants=invariants if isinstance(invariants, str) else None,
        filename=str(path),
        text=text,
        files=files,
    )
    with reading_by(read_once), _written(trace) as file:
        file.write(_ENCODER.encode_lines([header]))
        events = _Events(file)
        result: Result | None = None
        broke: Exception | None = None
        try:
            result = run(
                loaded, runtime=runtime, schedule=schedule, invariants=invariants, on_events=events.write, **options
            )
        except Exception as error:
            if not events.count:
                raise  # it has not begun
            broke = error
        if events.unwritten is not None:
            raise events.unwritten
        ending = Ending(
            events=events.count,
            digest=None if result is None else result.summary["digest"],
            error=None if broke is None else error_text(broke),
            deviations=None if schedule is None else tuple((step, choice) for step, choice in schedule.deviations),
        )
        file.write(_ENCODER.encode_lines([ending]))
    if broke is not None:
        raise broke
    assert result is not None
    result.origin = Origin(path, tuple(sets), result.origin.only_in_python)  # it was given the text that was read
    return result


class _Events:
    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self.count = 0
        self.unwritten: OSError | None = None
        """Why they could not be written; to be raised when the run has finished, for within it, it would be some
        actor's failure."""

    def write(self, chunk: Sequence[RecordedEvent]) -> None:
        self.count += len(chunk)
        if self.unwritten is None:
            try:
                self._file.write(_ENCODER.encode_lines(chunk))
            except OSError as error:
                self.unwritten = error


def _check_place(path: Path) -> None:
    """Check that a trace replaces another one at the most.

    Raises:
        ConfigurationError: there is a file that is none.
        OSError: that cannot be found out.
    """
    if not path.is_file():
        return
    with path.open("rb") as plain:
        if not plain.read(1):
            return
        plain.seek(0)
        try:
            with gzip.open(plain) as file:
                is_trace = file.read(len(_BEGINNING)) == _BEGINNING
        except (OSError, EOFError, zlib.error):
            is_trace = False
    if not is_trace:
        raise ConfigurationError([f"{path}: wanted a new file for the trace, or another trace, got something else"])


@contextmanager
def _written(path: Path) -> Iterator[gzip.GzipFile]:
    with (
        whole_file(path) as plain,
        # Without a name and a time, so that equal runs have equal traces.
        gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=plain, mtime=0) as file,
    ):
        yield file
