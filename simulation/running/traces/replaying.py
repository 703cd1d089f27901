"""Runs a trace again, or compares it with another: is all that happened the same, and where do they part?"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from actors.errors import RunTooLarge
from actors.formatting import seconds_text
from actors.messages import RecordedEvent
from simulation.engine.schedules import Deviations
from simulation.running.runner import Runtime, run
from simulation.running.traces.trace import Trace, error_line, error_text

if TYPE_CHECKING:
    from simulation.running.checking import Choice

SHOWN_BEFORE = 3
"""The number of common events that are shown before a difference."""

_NOT_SHOWN = ("type", "at_ns", "epoch_ns")


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """Where two runs part: the first event that is not the same."""

    index: int
    """The number of equal events before it."""

    events: tuple[dict[str, Any] | None, dict[str, Any] | None]
    """The differing event of each run; None where the run has ended."""

    names: tuple[str, str]
    """The names of the two runs in texts."""

    before: tuple[dict[str, Any], ...]
    """The latest events that they have in common."""

    @property
    def at_ns(self) -> int | None:
        """When it is; None when neither run says."""
        return min((event["at_ns"] for event in self.events if event and "at_ns" in event), default=None)

    def __str__(self) -> str:
        at = "" if self.at_ns is None else f" at {seconds_text(self.at_ns)}"
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


class Follower:
    """Compares the entries of one run with the other run's, as they come."""

    def __init__(self, expected: Iterable[bytes], names: tuple[str, str]) -> None:
        self._expected = iter(expected)
        self._names = names
        self._before: deque[bytes] = deque(maxlen=SHOWN_BEFORE)
        self.index = 0
        self.difference: FirstDifference | None = None

    def take(self, got: bytes | None) -> None:
        """Compare the next entry; None is the end."""
        if self.difference is not None:
            return
        expected = next(self._expected, None)
        if got != expected:
            self.difference = FirstDifference(
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


def event_text(event: dict[str, Any]) -> str:
    """Return an event of a trace in a line: its time, its type and its fields; instants in seconds from the start."""
    fields = [f"{_label(key)}={_value(key, event)}" for key in event if key not in _NOT_SHOWN]
    when = [seconds_text(event["at_ns"])] if "at_ns" in event else []
    return "  ".join([*when, event["type"], *fields])


def _label(key: str) -> str:
    return key.removesuffix("_ns")


def _value(key: str, event: dict[str, Any]) -> str:
    value = event.get(key)
    if value is None:
        return "none"
    if key.endswith("_ns"):
        return seconds_text(value)
    return (
        repr(value) if isinstance(value, str) and (not value or not value.isprintable() or " " in value) else str(value)
    )


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of running a trace again, or of comparing it with another."""

    events: int
    """The number of equal events from the start on."""

    difference: FirstDifference | None
    """The first that are not; None when all are the same."""

    digest: str | None
    """The digest of the whole history; None when the runs broke off."""

    error: str | None
    """The error with which the (second) run broke off."""

    other: tuple[str, ...]
    """Other differences, in the way the two were run."""

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
    """Run a recorded trace again, and compare event by event.

    Args:
        trace: the file.
        sets: further changes to the scenario: to see what they change first.
        seed: another seed.
        runtime: another clock; None is the one that it was recorded on. A trace recorded under a schedule can only be
            replayed on SimPy's.
        invariants: which to check; None is those of the recorded run, as far as they are kept.
        options: further arguments of :func:`simulation.run`; those of the recorded run have to be given again.

    Raises:
        ConfigurationError: the trace cannot be read, or its scenario be used.
        ValueError: arguments that do not go together.
    """
    if not isinstance(trace, Trace):
        trace = Trace(trace)
    header, ending = trace.header, trace.ending
    scenario = trace.scenario(sets=sets, seed=seed)
    schedule = None if ending.deviations is None else Deviations(ending.deviations)
    follower = Follower(trace.entries(), ("recorded", "replayed"))
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
        if not has_begun or isinstance(broke, RunTooLarge):
            raise
        error = error_text(broke)
        follower.take(error_line(error))
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
    follower = Follower(first.entries(), names)
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


def _events_of(index: int, error: str | None, difference: FirstDifference | None) -> int:
    """Return how many of the equal entries are events: all except the error with which both broke off."""
    return index - 1 if difference is None and error is not None else index


def _differing(*settings: tuple[str, Any, Any]) -> tuple[str, ...]:
    return tuple(f"{name}: {one or 'none'} / {other or 'none'}" for name, one, other in settings if one != other)


def _differing_lines(one: str, other: str) -> Iterator[tuple[str, str, str]]:
    """Yield the first line of the scenario file that differs."""
    for number, (a, b) in enumerate(zip_longest(one.splitlines(), other.splitlines(), fillvalue=""), start=1):
        if a != b:
            yield f"line {number} of the file", a.strip(), b.strip()
            return
