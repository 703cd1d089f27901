"""Traces: the history of a run in a file, with all that it takes to run it again and compare.

A trace is a gzip file of JSON lines, so that ``zcat`` and every language can read it: first a :class:`Header`, then
the recorded events in their order, each with its type, and at last an :class:`Ending`. The header holds the scenario
as text and the data files that it refers to, so that a trace can be replayed where it was not recorded. The same run
gives the same bytes.

::

    simulation.record("scenarios/provider-outage.yaml", "outage.trace", seed=8)
    print(simulation.replay("outage.trace"))
    print(simulation.replay("outage.trace", sets=["channels.email.retry.max_attempts=8"]).difference)
"""

from __future__ import annotations

import gzip
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from actors.csv_column import read_file, reading_by
from actors.errors import ConfigurationError, InvariantBreach
from actors.instants import NS_PER_S
from actors.messages import RecordedEvent
from simulation.folders import is_same
from simulation.result import Result
from simulation.runner import Runtime, run
from simulation.scenario import Scenario, parse
from simulation.scenario.loading import text_at
from simulation.schedules import Deviations, Schedule
from simulation.whole_file import whole_file

if TYPE_CHECKING:
    from simulation.invariants import Choice

FORMAT: Literal[1] = 1
"""Changes when older versions could not replay what newer ones write, or the other way round."""

SHOWN_BEFORE = 3
"""How many common events are kept for what leads to a difference."""

_COMPRESSION = 5


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="trace"):
    """The first line of a trace: what was run."""

    format: Literal[1]
    version: str
    """Of retrylab."""

    scenario: str
    """Its name."""

    seed: int
    runtime: Runtime
    sets: tuple[str, ...]
    """The changes to the file, as with ``--set``."""

    given_seed: int | None
    """The seed given in place of the file's, if one was."""

    filename: str
    """The scenario file, as it was called."""

    text: str
    """What was in it."""

    invariants: str | None = None
    """Which laws were checked, ``"default"`` or ``"all"``; None if they were others."""

    files: dict[str, str]
    """The texts of the data files that it refers to, by their paths from where it is."""


class Ending(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """The last line of a trace: how the run ended."""

    events: int
    digest: str | None
    """That of the summary; None when the run broke off."""

    error: str | None
    """What the run broke off with: an invariant that did not hold, for one."""

    deviations: tuple[tuple[int, int], ...] | None
    """Those of the schedule that it ran under; None when it ran in the normal order."""


class Trace:
    """A trace in a file."""

    def __init__(self, path: str | Path) -> None:
        """Look through a trace.

        Raises:
            ConfigurationError: it cannot be read, is no trace, is not complete, or of another format.
        """
        self.path = Path(path)
        first = last = b""
        count = -2  # neither the header nor the ending is an event
        for line in self._lines():
            first = first or line
            last = line
            count += 1
        try:
            form = msgspec.json.decode(first, type=dict[str, Any])
        except msgspec.DecodeError:
            raise self._refusal("wanted a trace, got something else") from None
        if form.get("type") == "trace" and form.get("format") != FORMAT:
            raise self._refusal(
                f"wanted a trace of format {FORMAT}, got {form.get('format')!r} of retrylab {form.get('version')}"
            )
        try:
            self.header = msgspec.json.decode(first, type=Header)
        except msgspec.DecodeError:
            raise self._refusal("wanted a trace, got something else") from None
        try:
            self.ending = msgspec.json.decode(last, type=Ending)
        except msgspec.DecodeError:
            raise self._refusal("wanted a whole trace, got one without its end") from None
        if self.ending.events != count:
            raise self._refusal(f"wanted a whole trace of {self.ending.events:,} events, got {count:,}")

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the recorded events in their order: the fields of each, those with their defaults left out."""
        return map(msgspec.json.decode, self._event_lines())

    def entries(self) -> Iterator[bytes]:
        """Yield what two runs are compared by, a line of JSON each: the events, and what the run broke off with."""
        yield from self._event_lines()
        if self.ending.error is not None:
            yield _error_line(self.ending.error)

    def scenario(self, *, sets: Sequence[str] = (), seed: int | None = None) -> Scenario:
        """Return the scenario that was run, with these further changes to it.

        Raises:
            ConfigurationError: it cannot be used, with these changes or in this version.
        """
        header = self.header
        with self.reading():
            return parse(
                header.text,
                header.filename,
                sets=(*header.sets, *sets),
                seed=seed if seed is not None else header.given_seed,
            )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Inside the ``with`` block, data files that the trace holds are read from it; the scenario is run in one too.

        Models read their files whenever they are validated, which they are once more as a run is built.
        """
        files, directory = self.header.files, Path(self.header.filename).absolute().parent

        def read(path: Path) -> str:
            text = files.get(_key(path, directory))
            return read_file(path) if text is None else text

        with reading_by(read):
            yield

    def _event_lines(self) -> Iterator[bytes]:
        lines = self._lines()
        next(lines)
        for _ in range(self.ending.events):
            yield next(lines)

    def _lines(self) -> Iterator[bytes]:
        try:
            with gzip.open(self.path) as file:
                for line in file:
                    yield line.rstrip(b"\n")
        except gzip.BadGzipFile:
            raise self._refusal("wanted a trace, got something else") from None
        except EOFError:
            raise self._refusal("wanted a whole trace, got one without its end") from None
        except zlib.error:
            raise self._refusal("wanted a trace, got one that is damaged") from None
        except OSError as error:
            raise self._refusal(_reason(error)) from None

    def _refusal(self, text: str) -> ConfigurationError:
        return ConfigurationError([f"{self.path}: {text}"])


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
        options: what else that takes. It is not kept, so a replay has to be given the same rules, for one.

    Raises:
        ConfigurationError: the scenario cannot be used, or the trace would take its place; nothing is written then.
        OSError: the trace cannot be written.
        Exception: what the run broke off with.
    """
    path, trace = Path(scenario), Path(trace)
    text = text_at(path)
    if is_same(trace, path):
        raise ConfigurationError([f"{trace}: wanted a file for the trace, got the scenario itself"])
    files: dict[str, str] = {}
    directory = path.absolute().parent

    def read_once(file: Path) -> str:
        key = _key(file, directory)
        if key not in files:
            files[key] = read_file(file)
        return files[key]

    with reading_by(read_once):
        loaded = parse(text, str(path), sets=sets, seed=seed)
    if any(is_same(trace, directory / file) for file in files):
        raise ConfigurationError([f"{trace}: wanted a file for the trace, got one that the scenario needs"])
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
    encoder = msgspec.json.Encoder()
    events = 0
    unwritten: OSError | None = None
    with reading_by(read_once), _written(trace) as file:

        def write(chunk: Sequence[RecordedEvent]) -> None:
            nonlocal events, unwritten
            events += len(chunk)
            if unwritten is None:
                try:
                    file.write(encoder.encode_lines(chunk))
                except OSError as error:
                    unwritten = error  # raised when the run is over: here it would be some actor's failure

        file.write(encoder.encode_lines([header]))
        result: Result | None = None
        broke: Exception | None = None
        try:
            result = run(loaded, runtime=runtime, schedule=schedule, invariants=invariants, on_events=write, **options)
        except Exception as error:
            if not events:
                raise  # it has not begun
            broke = error
        if unwritten is not None:
            raise unwritten
        ending = Ending(
            events=events,
            digest=None if result is None else result.summary["digest"],
            error=None if broke is None else _error_text(broke),
            deviations=None if schedule is None else tuple((step, choice) for step, choice in schedule.deviations),
        )
        file.write(encoder.encode_lines([ending]))
    if broke is not None:
        raise broke
    assert result is not None
    return result


@contextmanager
def _written(path: Path) -> Iterator[gzip.GzipFile]:
    """Open a file to write a trace into."""
    with (
        whole_file(path) as plain,
        # Without a name and a time, so that equal runs have equal traces.
        gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=plain, mtime=0) as file,
    ):
        yield file


def _key(file: Path, directory: Path) -> str:
    """Return the name of a data file in a trace: from the scenario's directory, unless it was given as absolute."""
    return file.relative_to(directory).as_posix() if file.is_relative_to(directory) else str(file)


def _error_text(error: Exception) -> str:
    # The text of a breach says besides how to run it again, which is another thing in each run.
    return f"{type(error).__name__}: {error.message if isinstance(error, InvariantBreach) else error}"


def _error_line(text: str) -> bytes:
    return msgspec.json.encode({"type": "broke off", "error": text})


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{reason[:1].lower()}{reason[1:]}"


# ── comparing ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two runs part: the first event that is not the same."""

    index: int
    """How many events before it are the same."""

    events: tuple[dict[str, Any] | None, dict[str, Any] | None]
    """What is there in the one and in the other; None where that run has ended."""

    names: tuple[str, str]
    """What to call the two runs."""

    before: tuple[dict[str, Any], ...]
    """The latest events that they have in common."""

    @property
    def at_ns(self) -> int | None:
        """When it is; None when neither run says."""
        return min((event["at_ns"] for event in self.events if event and "at_ns" in event), default=None)

    def __str__(self) -> str:
        at = "" if self.at_ns is None else f" at {_seconds(self.at_ns)}"
        lines = [f"first difference{at}, in event {self.index + 1:,}:"]
        width = max(map(len, self.names))
        for name, event in zip(self.names, self.events, strict=True):
            lines.append(f"  {name:{width}}  {'has ended' if event is None else event_text(event)}")
        one, other = self.events
        if one is not None and other is not None and one["type"] == other["type"]:
            parts = [key for key in {**one, **other} if one.get(key) != other.get(key)]
            texts = (f"{_label(key)} ({_value(key, one)} / {_value(key, other)})" for key in parts)
            lines.append(f"  {'':{width}}  differ in {', '.join(texts)}")
        if self.before:
            lines.append("the latest in common:")
            lines += [f"  {event_text(event)}" for event in self.before]
        return "\n".join(lines)


class _Follower:
    """Compares the entries of one run with those of another, as they come."""

    def __init__(self, expected: Iterable[bytes], names: tuple[str, str]) -> None:
        self._expected = iter(expected)
        self._names = names
        self._before: deque[bytes] = deque(maxlen=SHOWN_BEFORE)
        self.index = 0
        self.difference: Difference | None = None

    def take(self, got: bytes | None) -> None:
        """Compare the next entry; None is the end."""
        if self.difference is not None:
            return
        expected = next(self._expected, None)
        if got != expected:
            self.difference = Difference(
                self.index,
                (_decoded(expected), _decoded(got)),
                self._names,
                tuple(map(msgspec.json.decode, self._before)),
            )
        elif got is not None:
            self._before.append(got)
            self.index += 1


def _decoded(line: bytes | None) -> dict[str, Any] | None:
    return None if line is None else msgspec.json.decode(line)


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of running a trace again, or of comparing it with another."""

    events: int
    """How many events are the same, from the start on."""

    difference: Difference | None
    """The first that are not; None when all are the same."""

    digest: str | None
    """That of the whole history; None when the runs broke off."""

    error: str | None
    """What the (second) run broke off with."""

    other: tuple[str, ...]
    """What is different about how they were run."""

    @property
    def exact(self) -> bool:
        """Whether all that happened is the same."""
        return self.difference is None

    def __str__(self) -> str:
        lines = [str(self.difference)] if self.difference is not None else []
        if self.exact and self.error is None:
            lines.append(f"exact: {self.events:,} events, digest {self.digest}")
        elif self.exact:
            lines.append(f"exact: {self.events:,} events, and then both break off with {self.error}")
        if self.other and not self.exact:
            lines.append("run with other settings:")
            lines += [f"  {line}" for line in self.other]
        return "\n".join(lines)


def replay(
    trace: str | Path | Trace,
    *,
    sets: Sequence[str] = (),
    seed: int | None = None,
    runtime: Runtime | None = None,
    invariants: Choice | None = None,
    **options: Any,
) -> Replay:
    """Run again what a trace was recorded of, and compare event by event.

    Args:
        trace: the file.
        sets: further changes to the scenario: to see what they change first.
        seed: another seed.
        runtime: another clock; None is the one that it was recorded on. A trace recorded under a schedule can only be
            replayed on SimPy's.
        invariants: the laws to check; None is those of the recorded run, as far as they are kept.
        options: what else :func:`simulation.run` takes; what the recorded run was given has to be given again.

    Raises:
        ConfigurationError: the trace cannot be read, or its scenario be used.
        ValueError: arguments that do not go together.
    """
    if not isinstance(trace, Trace):
        trace = Trace(trace)
    header, ending = trace.header, trace.ending
    scenario = trace.scenario(sets=sets, seed=seed)
    schedule = None if ending.deviations is None else Deviations(ending.deviations)
    follower = _Follower(trace.entries(), ("recorded", "replayed"))
    encode = msgspec.json.Encoder().encode

    has_begun = False

    def compare(chunk: Sequence[RecordedEvent]) -> None:
        nonlocal has_begun
        has_begun = True
        for event in chunk:
            follower.take(encode(event))

    digest = error = None
    used = runtime if runtime is not None else header.runtime
    checked = invariants if invariants is not None else header.invariants or "default"
    try:
        with trace.reading():
            result = run(scenario, runtime=used, schedule=schedule, invariants=checked, on_events=compare, **options)
        digest = result.summary["digest"]
    except Exception as broke:
        if not has_begun:
            raise
        error = _error_text(broke)
        follower.take(_error_line(error))
    follower.take(None)
    other = _differing(
        ("version", header.version, version("retrylab")),
        ("seed", header.seed, scenario.seed),
        ("runtime", header.runtime, used),
        ("set", " ".join(header.sets), " ".join((*header.sets, *sets))),
    )
    return Replay(_events_of(follower.index, error, follower.difference), follower.difference, digest, error, other)


def compare_traces(one: str | Path | Trace, other: str | Path | Trace) -> Replay:
    """Compare two traces event by event, without running anything.

    Raises:
        ConfigurationError: one of them cannot be read.
    """
    first, second = (each if isinstance(each, Trace) else Trace(each) for each in (one, other))
    names = (str(first.path), str(second.path))
    follower = _Follower(first.entries(), names)
    for line in second.entries():
        follower.take(line)
    follower.take(None)
    a, b = first.header, second.header
    settings = _differing(
        ("version", a.version, b.version),
        ("scenario", a.scenario, b.scenario),
        ("seed", a.seed, b.seed),
        ("runtime", a.runtime, b.runtime),
        ("set", " ".join(a.sets), " ".join(b.sets)),
        *_differing_lines(a.text, b.text),
        *(
            (f"data file {file}", "one text", "another")
            for file in {**a.files, **b.files}
            if a.files.get(file) != b.files.get(file)
        ),
    )
    error = second.ending.error
    events = _events_of(follower.index, error, follower.difference)
    return Replay(events, follower.difference, second.ending.digest, error, settings)


def _events_of(index: int, error: str | None, difference: Difference | None) -> int:
    """Return how many of the entries that are the same are events: all but what both broke off with."""
    return index - 1 if difference is None and error is not None else index


def _differing(*settings: tuple[str, Any, Any]) -> tuple[str, ...]:
    return tuple(f"{name}: {one or 'none'} / {other or 'none'}" for name, one, other in settings if one != other)


def _differing_lines(one: str, other: str) -> Iterator[tuple[str, str, str]]:
    """Yield the first line of the scenario file that differs."""
    for number, (a, b) in enumerate(zip_longest(one.splitlines(), other.splitlines(), fillvalue=""), start=1):
        if a != b:
            yield f"line {number} of the file", a.strip(), b.strip()
            return


# ── for people ──────────────────────────────────────────────────────────────────────────────────────────────────

_NOT_SHOWN = ("type", "at_ns", "epoch_ns")


def event_text(event: dict[str, Any]) -> str:
    """Return an event of a trace in a line: when, what, and its fields; instants in seconds from the start."""
    fields = [f"{_label(key)}={_value(key, event)}" for key in event if key not in _NOT_SHOWN]
    when = [_seconds(event["at_ns"])] if "at_ns" in event else []
    return "  ".join([*when, event["type"], *fields])


def _label(key: str) -> str:
    return key.removesuffix("_ns")


def _value(key: str, event: dict[str, Any]) -> str:
    value = event.get(key)
    if value is None:
        return "none"
    if key.endswith("_ns"):
        return _seconds(value)
    return (
        repr(value) if isinstance(value, str) and (not value or not value.isprintable() or " " in value) else str(value)
    )


def _seconds(instant_ns: int) -> str:
    whole, rest = divmod(instant_ns, NS_PER_S)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".") + " s"
