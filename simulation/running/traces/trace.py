"""A trace: its lines, and how they are read."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from actors.errors import ConfigurationError, InvariantBreach
from actors.settings.csv_column import read_file, reading_by
from actors.settings.whole_file import check_is_file
from simulation.running.runner import Runtime
from simulation.scenario import Scenario, parse

FORMAT: Literal[1] = 1
"""Changes when an older version could not replay a trace of a newer one, or the other way round."""

_RATIO_MAX = 100
"""The most by which a trace grows when it is unpacked. A run's trace shrinks to a tenth or a thirtieth; zeros alone
shrink to a thousandth."""

_UNPACKED_FREE = 16 * 2**20
"""Bytes that any trace may unpack to."""

_LINE_BYTES_MAX = 256 * 2**20
"""Of a line; the first one holds the scenario and its data files."""


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="trace"):
    """The first line of a trace: the inputs of the run."""

    format: Literal[1]
    version: str
    """Of retrylab."""

    scenario: str
    """The name of the scenario."""

    seed: int
    runtime: Runtime
    sets: tuple[str, ...]
    """The changes to the file, as with ``--set``."""

    given_seed: int | None
    """The seed given in place of the file's, if one was."""

    filename: str
    """The scenario file, as it was called."""

    text: str
    """The text of the file."""

    invariants: str | None = None
    """Which invariants were checked, ``"default"`` or ``"all"``; None if they were others."""

    files: dict[str, str]
    """The texts of the data files that it refers to, by their paths from where it is."""


class Ending(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """The last line of a trace: how the run ended."""

    events: int
    digest: str | None
    """The digest of the summary; None when the run broke off."""

    error: str | None
    """The error with which the run broke off, such as the breach of an invariant."""

    deviations: tuple[tuple[int, int], ...] | None
    """The deviations of the schedule under which it ran; None when it ran in the normal order."""


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
            if not line.startswith(b"{"):
                raise self._refusal("wanted a trace, got something else")
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
        """Yield the recorded events in their order: the fields of each, except those with their defaults."""
        return map(msgspec.json.decode, self._event_lines())

    def entries(self) -> Iterator[bytes]:
        """Yield the lines that a replay compares, in JSON: the events, and the error with which the run broke off."""
        yield from self._event_lines()
        if self.ending.error is not None:
            yield error_line(self.ending.error)

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
            text = files.get(key_of(path, directory))
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
            check_is_file(self.path)
            with self.path.open("rb") as packed, gzip.open(packed) as file:
                allowed = max(_UNPACKED_FREE, _RATIO_MAX * os.fstat(packed.fileno()).st_size)
                while line := file.readline(min(allowed, _LINE_BYTES_MAX) + 1):
                    allowed -= len(line)
                    if allowed < 0 or len(line) > _LINE_BYTES_MAX:
                        raise self._refusal(
                            f"wanted a trace, got one that unpacks to more than {_RATIO_MAX} times its size, "
                            "or has lines as no run writes them"
                        )
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


def key_of(file: Path, directory: Path) -> str:
    """Return the name of a data file in a trace: from the scenario's directory, unless it was given as absolute."""
    return file.relative_to(directory).as_posix() if file.is_relative_to(directory) else str(file)


def error_text(error: Exception) -> str:
    # The text of a breach says besides how to run it again, which is another thing in each run.
    return f"{type(error).__name__}: {error.message if isinstance(error, InvariantBreach) else error}"


def error_line(text: str) -> bytes:
    """Return the line in place of an event where a run broke off, when two runs are compared."""
    return msgspec.json.encode({"type": "broke off", "error": text})


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{reason[:1].lower()}{reason[1:]}"
