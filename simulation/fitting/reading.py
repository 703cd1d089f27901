"""Reads a log of attempts: any CSV file, the `attempts.parquet` of a run, or a data frame."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from actors.channel_names import A_CHANNEL_NAME, channel_named
from actors.errors import ConfigurationError
from actors.formatting import plain_number
from actors.messages import NotificationChannel, Priority
from actors.settings.channel import PRIMARY
from actors.settings.csv_column import COLUMNS_MAX
from actors.settings.quantities import LONGEST_S
from actors.settings.whole_file import check_is_file
from simulation.fitting.log import AttemptLog, Flags, Floats, OutcomeKind
from simulation.results.files import read_table
from simulation.results.tables import COLUMNS_BEFORE
from simulation.scenario.arguments import check_word, shown

# ── words for outcomes ────────────────────────────────────────────────────────────────────────────────────────────────


NAMES = {
    "sent": OutcomeKind.SENT,
    "transient": OutcomeKind.TRANSIENT,
    "throttled": OutcomeKind.THROTTLED,
    "permanent": OutcomeKind.PERMANENT,
    "dead_destination": OutcomeKind.DEAD_DESTINATION,
    "channel_fault": OutcomeKind.CHANNEL_FAULT,
    "ambiguous": OutcomeKind.AMBIGUOUS,
}
"""The values that an outcome map may have."""

_WORDS = {
    OutcomeKind.SENT: "sent ok okay success successful succeeded delivered accepted true pass passed done 2xx",
    OutcomeKind.TRANSIENT: "transient transienterror failed fail failure error false unavailable serviceunavailable "
    "retry temporary temporaryfailure softbounce deferred connectionerror connectionreset connectionrefused refused "
    "408 425 5xx",
    OutcomeKind.THROTTLED: "throttled throttle ratelimited ratelimit toomanyrequests 429",
    OutcomeKind.PERMANENT: "permanent permanenterror permanentfailure rejected invalid badrequest 4xx",
    OutcomeKind.DEAD_DESTINATION: "dead deaddestination hardbounce bounced unregistered notregistered gone "
    "unsubscribed 410",
    OutcomeKind.CHANNEL_FAULT: "channelfault unauthorized unauthorised forbidden credentials authentication 401 403",
    OutcomeKind.AMBIGUOUS: "ambiguous timeout timedout deadlineexceeded noanswer noreply lost lostreply",
}
_KIND_OF = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_STATUS = re.compile(r"([1-5])[0-9]{2}(?:\.0+)?")


def kind_of(word: str, given: Mapping[str, OutcomeKind]) -> OutcomeKind | None:
    """Return the meaning of a word, or None when it is unknown.

    Case, spaces, hyphens and underscores do not matter. `given` holds words as they are written, and comes first.
    """
    if word in given:
        return given[word]
    plain = re.sub(r"[\s_-]+", "", word).lower()
    if _STATUS.fullmatch(plain):
        code = plain.partition(".")[0]
        return _KIND_OF.get(code) or _KIND_OF.get(f"{code[0]}xx")
    return _KIND_OF.get(plain)


def parse_map(texts: Iterable[str], option: str = "--outcome-map") -> tuple[dict[str, OutcomeKind], list[str]]:
    """Return the meanings of words, from texts such as ``word=transient``, and the problems of the texts."""
    given: dict[str, OutcomeKind] = {}
    problems: list[str] = []
    for text in texts:
        word, equals, name = text.rpartition("=")
        kind = NAMES.get(name.strip().lower().replace("-", "_"))
        if not equals or kind is None:
            problems.append(f"{option} {text}: wanted word=outcome, the outcome one of {', '.join(NAMES)}")
        else:
            given[word] = kind
    return given, problems


Unit = Literal["s", "ms", "us", "ns"]

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_UNIT_WORDS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "millis", "milliseconds"),
    "us": ("us", "µs", "micros", "microseconds"),
    "ns": ("ns", "nanos", "nanoseconds"),
}
_TIMES = (
    "start", "start_s", "started", "started_at", "start_time", "time", "time_s", "time_ms", "timestamp", "timestamp_ms",
    "@timestamp", "ts", "at", "date", "datetime", "event_time", "sent_at", "attempted_at", "begin", "began_at",
)  # fmt: skip
_ARRIVALS = ("requested_at_s", "requested_at", "arrived_at", "created_at", "enqueued_at", "accepted_at")
_SPANS = (("start_s", "end_s"), ("start", "end"))
"""When attempts began and ended, as tables of a run have it; without a unit in files that are older."""
_LATENCIES = (
    "latency", "duration", "elapsed", "response_time", "request_time", "time_taken", "took", "rtt", "seconds", "value",
)  # fmt: skip
_OUTCOMES = (
    "outcome", "result", "status", "status_code", "http_status", "http_status_code", "http_code", "response_code",
    "response_status", "response_status_code", "statuscode", "httpstatus", "responsecode", "sc_status", "code", "state",
    "success", "succeeded", "ok",
)  # fmt: skip
NO_OUTCOMES = "none"
"""The word in place of a column of outcomes for a log without one."""
_NOTIFICATIONS = ("id", "notification_id", "notification", "message_id", "request_id")
_ATTEMPTS = ("attempt", "attempt_number", "try")
PROBLEMS_SHOWN = 20
_DIFFERENT_OUTCOMES = 50
"""A column with more different values than this is none of outcomes."""
_SINCE_1970 = 1e8
"""Numbers from here on are instants; before, seconds from the start of the log. (It was in March 1973.)"""
_YEARS = (1970, 2200)
_LATEST_S = 231 * 365.2425 * 86400.0
"""The end of the last of these years, in seconds since the beginning of 1970."""
_MS_FROM = 10.0
"""A median above this is in milliseconds, where nothing names the unit."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns to read, and how; None: guessed from the names."""

    time: str | None = None
    """When an attempt started: ISO 8601, seconds or milliseconds since 1970, or seconds from the start of the log."""

    latency: str | None = None
    """How long the answer took. None and no such column: the end less the start."""

    latency_unit: Unit | None = None
    """Of the latency; None: by the column's name, as `latency_ms`."""

    outcome: str | None = None
    """How the attempt ended; ``none`` for a log without outcomes, of which the latency alone is fitted."""

    outcome_map: Mapping[str, str | OutcomeKind] | None = None
    """The meanings of unknown words, or other meanings of known ones: ``{"bounced": "permanent"}``."""

    channel: str | None = None
    """The only channel to read; or, for a log without channels, its channel."""


def read_log(source: str | Path | pd.DataFrame, columns: Columns | None = None) -> AttemptLog:
    """Return the attempts in a file, in the directory of a saved run, or in a frame.

    Raises:
        ConfigurationError: it cannot be used; all problems, with the numbers of the lines.
    """
    columns = columns or Columns()
    if columns.latency_unit is not None:
        check_word("latency_unit", columns.latency_unit, get_args(Unit))
    if isinstance(source, pd.DataFrame):
        return _Reader(source.reset_index(drop=True), "frame", columns, first_line=0).log()
    if not isinstance(source, (str, PathLike)):
        wanted = "a file, the directory of a saved run, or a frame such as result.attempts"
        raise ConfigurationError([f"wanted {wanted}, got {shown(source)}"])
    path = Path(source)
    try:
        if path.is_dir():
            path = path / "attempts.parquet"
        check_is_file(path)
        frame = _of_file(path)
        if len(frame.columns) == 1 and _other_separator(path) is not None:
            raise ValueError("one field in each line")
    except FileNotFoundError:
        raise ConfigurationError([f"{path}: wanted a file that exists"]) from None
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror or error}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}: wanted text in UTF-8"]) from None
    except pd.errors.EmptyDataError:
        raise ConfigurationError([f"{path}: wanted a header and a line for each attempt, got an empty file"]) from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error, ValueError) as error:
        text = str(error).strip().splitlines()[-1].removeprefix("Error tokenizing data. C error: ")
        other = _other_separator(path)
        problem = text if other is None else f"one with fields separated by {other}"
        raise ConfigurationError(
            [f"{path}: wanted a CSV file with commas, or a Parquet file of a run, got: {problem}"]
        ) from None
    return _Reader(frame, str(path), columns, first_line=2).log()


def _other_separator(path: Path) -> str | None:
    """Return the separator of the fields of the header where that is no comma."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    names = {";": "semicolons", "\t": "tabs", "|": "bars"}
    return next((name for mark, name in names.items() if mark in header and "," not in header), None)


def _of_file(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1" or path.suffix == ".parquet"
    if is_parquet:
        return _with_arrivals(read_table(path), path.with_name("notifications.parquet"))
    _check_width(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a line with more fields than the header
        return pd.read_csv(
            path, dtype="str", keep_default_na=False, skip_blank_lines=False, index_col=False, encoding="utf-8-sig"
        )


def _check_width(path: Path) -> None:
    """Check that a header has no more columns than pandas reads within a second.

    Raises:
        csv.Error: it has, or is none.
    """

    def pieces() -> Iterator[str]:
        left = COLUMNS_MAX
        while piece := file.readline(2**16):
            left -= piece.count(",")
            if left <= 0:
                raise csv.Error(f"a header of more than {COLUMNS_MAX:,} columns")
            yield piece

    with path.open(encoding="utf-8-sig", newline="") as file:
        next(csv.reader(pieces()), None)


def _with_arrivals(frame: pd.DataFrame, notifications: Path) -> pd.DataFrame:
    known = {"requested_at", "requested_at_s"}
    if "id" not in frame or known & set(frame.columns) or not notifications.is_file():
        return frame
    requested = read_table(notifications).rename(columns=COLUMNS_BEFORE)[["id", "requested_at_s"]]
    return frame.merge(requested.drop_duplicates("id"), on="id", how="left")


def _span(frame: pd.DataFrame) -> tuple[str, str] | None:
    return next((span for span in _SPANS if set(span) <= set(frame.columns)), None)


def _asked(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[tuple[str, str], Floats]]:
    """Return the attempts that reached the provider; and by channel and class, when notifications arrived whose
    attempts the sender refused all itself, as at an open breaker.

    A notification of which only the first attempts were refused arrived with the first of these.
    """
    refused = frame["refused"].astype("str").str.lower().isin(("true", "1"))
    asked = frame[~refused].copy()
    start = next((start for start, _ in _SPANS if start in frame.columns), None)
    if not refused.any() or start is None or not {"id", "attempt"} <= set(frame.columns):
        return asked, {}
    arrived = next((name for name in _ARRIVALS[:2] if name in frame.columns), None)
    times = pd.to_numeric(frame[arrived or start], errors="coerce")
    number = pd.to_numeric(frame["attempt"], errors="coerce")
    of = {"channel": frame.get("channel", "email"), "priority": _classes(frame)[0]}
    first = pd.DataFrame({"id": frame["id"], "at": times} | of)
    first = first[refused & (number == 1) & times.notna()].drop_duplicates("id").set_index("id")
    if not len(first):
        return asked, {}
    starts = pd.to_numeric(asked[start], errors="coerce")
    earliest = asked.loc[starts.sort_values(kind="stable").index].drop_duplicates("id")
    earliest = earliest[earliest["id"].isin(first.index)]
    asked["attempt"] = number[~refused]
    asked.loc[earliest.index, "attempt"] = 1
    if arrived is None:
        asked["requested_at_s"] = starts
        asked.loc[earliest.index, "requested_at_s"] = first.loc[earliest["id"], "at"].to_numpy()
    never = first[~first.index.isin(asked["id"])]
    groups = never.groupby(["channel", "priority"])
    return asked, {
        (str(name), str(priority)): np.sort(these["at"].to_numpy(dtype="float64")) for (name, priority), these in groups
    }


def _classes(frame: pd.DataFrame) -> tuple[np.ndarray[Any, Any], str | None]:
    """Return the class of traffic of each, ``normal`` where none is named; and a value that is no class."""
    usual = np.full(len(frame), Priority.NORMAL.value, dtype=object)
    if "priority" not in frame:
        return usual, None
    named = frame["priority"].astype("object").fillna("").astype("str").str.strip().str.lower()
    named = named.where(named != "", Priority.NORMAL.value)
    known = [each.value for each in Priority]
    others = named[~named.isin(known)]
    return (usual, str(others.iat[0])) if len(others) else (named.to_numpy(dtype=object), None)


class _Reader:
    def __init__(self, frame: pd.DataFrame, name: str, columns: Columns, first_line: int) -> None:
        frame = frame.rename(columns=lambda column: str(column).strip())
        if first_line and len(frame):
            empty = frame.isna().all(axis=1) | (frame.astype("object").fillna("") == "").all(axis=1)
            frame = frame[~empty]
        self._unasked_s: dict[tuple[str, str], Floats] = {}
        if "refused" in frame:
            frame, self._unasked_s = _asked(frame)
        self._frame, self._name, self._columns, self._first_line = frame, name, columns, first_line
        self._lines = frame.index.to_numpy() + first_line
        self._problems: list[str] = []
        self._further = 0
        """Problems beside these, which would not be shown."""
        self._notes: list[str] = []
        self._warnings: list[str] = []
        self._used: dict[str, str] = {}
        """The meaning with which each column is read, by the column's name."""

    def log(self) -> AttemptLog:
        start_s, arrived_s, origin = self._times()
        latency_s = self._latencies()
        kind = self._kinds()
        channel = self._channels()
        notification, knows = self._notifications()
        attempts = self._attempt_numbers(start_s, notification)
        priority, no_class = _classes(self._frame)
        if no_class is not None:
            words = ", ".join(Priority)
            self._notes.append(f"priority has {no_class!r}, which is no class of traffic ({words}): left out")
        if self._problems:
            shown = self._problems[:PROBLEMS_SHOWN]
            if more := len(self._problems) - len(shown) + self._further:
                shown.append(f"{self._name}: and {more:,} more")
            raise ConfigurationError(shown)
        order = np.argsort(start_s, kind="stable")
        if "hedges" in self._frame and (pd.to_numeric(self._frame["hedges"]) > 0).any():
            self._notes.append("some attempts were hedged: their latency is that of the first answer")
        log = AttemptLog(
            start_s[order],
            latency_s[order],
            kind[order],
            channel[order],
            self._providers(channel)[order],
            (attempts == 1)[order],
            notification[order],
            np.where(np.isfinite(arrived_s), arrived_s, start_s)[order],
            priority[order],
            knows_notifications=knows,
            notes=tuple(self._notes),
            warnings=tuple(self._warnings),
            used=self._used,
            unread=self._unread(),
            source=Path(self._name).name,
            origin=origin,
            unasked_s=self._unasked_s if origin is None else {},
        )
        wanted = self._columns.channel
        return log.where(log.channel == wanted) if wanted is not None else log

    def _refuse(self, wrong: Flags, column: str, wanted: str) -> None:
        """Note that a column has unfit values in these rows."""
        rows = np.flatnonzero(wrong)
        for row in rows[:PROBLEMS_SHOWN].tolist():
            line, got = int(self._lines[row]), str(self._frame[column].iat[row])[:40]
            place = f"{self._name}:{line}" if self._first_line else f"{self._name}, row {line}"
            self._problems.append(f"{place}: {column}: wanted {wanted}, got {got!r}")
        self._further += max(0, len(rows) - PROBLEMS_SHOWN)

    def _column(self, given: str | None, guesses: Sequence[str], option: str, *, needed: bool) -> str | None:
        """Return the name of a column: the given one, or the first of the guesses that is there."""
        there, role = list(self._frame.columns), option.strip("-") or guesses[0]
        if given is not None:
            if given in there:
                self._used[given] = role
                return given
            self._problems.append(f"{option} {given}: wanted a column of {self._name}, which has {_names(there)}")
            return None
        by_plain = {_plain(column): column for column in reversed(there)}
        for guess in guesses:
            if (column := by_plain.get(guess)) is not None:
                self._used[column] = role
                return column
        if needed:
            self._problems.append(
                f"{self._name}: wanted a column such as {guesses[0]} (or {option} NAME), got {_names(there)}"
            )
        return None

    def _unread(self) -> tuple[str, ...]:
        others = {"channel", "provider", "priority", "throttled", "refused", "hedges", *self._used}
        span = _span(self._frame) if self._columns.latency is None else None
        return tuple(column for column in self._frame.columns if column not in others.union(span or ()))

    def _warn_of_other_outcomes(self, column: str) -> None:
        for other in self._frame.columns:
            if (
                other != column
                and _plain(other) in _OUTCOMES
                and other not in self._used
                and _tells_outcomes(self._frame[other])
            ):
                self._warnings.append(f"{column} is read as outcome, and {other} is not (--outcome {other} reads it)")

    # ── when ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _times(self) -> tuple[Floats, Floats, str | None]:
        """Return when each attempt started, when its notification arrived (NaN: unknown), and the origin of time."""
        nothing = np.full(len(self._frame), np.nan)
        column = self._column(self._columns.time, _TIMES, "--time", needed=True)
        if column is None or not len(self._frame):
            return nothing, nothing, None
        start_s, since_1970 = self._instants(column, needed=True)
        arrived_s = nothing
        asked = self._column(None, _ARRIVALS, "", needed=False)
        if asked not in (None, column):
            arrived_s, same = self._instants(asked, needed=False)
            arrived_s = arrived_s if same == since_1970 else nothing
        if not since_1970:
            return start_s, arrived_s, None
        known = np.concatenate([start_s, arrived_s])
        known = known[np.isfinite(known)]
        if not len(known):
            return nothing, nothing, None  # each is a problem by now
        first = float(known.min())
        origin = pd.Timestamp(first, unit="s", tz="UTC").isoformat()
        return start_s - first, arrived_s - first, origin

    def _instants(self, column: str, *, needed: bool) -> tuple[Any, bool]:
        """Return the instants of a column in seconds, and whether they count from 1970 or from the start of the log."""
        values = self._frame[column]
        numbers = None if pd.api.types.is_datetime64_any_dtype(values) else _numbers(values)
        if numbers is None or np.isfinite(numbers).mean() < 0.5:
            texts = values if numbers is None else values.astype("str")
            instants = pd.to_datetime(texts, utc=True, format=None if numbers is None else "ISO8601", errors="coerce")
            there = instants.dt.year.between(*_YEARS)  # as a scenario may start; further ones leave 64 bits
            wrong = ~there.to_numpy()
            seconds = (instants.where(there) - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(dtype="float64")
            since_1970 = True
            wanted = f"an instant from {_YEARS[0]} to {_YEARS[1]} such as 2026-01-01T12:00:00Z"
        else:
            wanted = "a time: seconds from the start, seconds since 1970, or ISO 8601"
            usual = float(np.nanmedian(numbers))
            unit = "s" if usual < 1e11 else "ms" if usual < 1e14 else "us" if usual < 1e17 else "ns"
            seconds = np.asarray(numbers * _SECONDS[unit], dtype=np.float64)
            since_1970 = usual >= _SINCE_1970
            wrong = ~((seconds >= 0) & (seconds <= (_LATEST_S if since_1970 else LONGEST_S)))
        if needed:
            self._refuse(wrong, column, wanted)
        return np.where(wrong, np.nan, seconds), since_1970

    # ── how long ────────────────────────────────────────────────────────────────────────────────────────────────

    def _latencies(self) -> Floats:
        columns = self._columns
        if columns.latency is None and (span := _span(self._frame)) is not None:
            start_s, end_s = (_numbers(self._frame[name]) for name in span)
            seconds = end_s - start_s
            if np.isfinite(seconds).all():
                return np.round(seconds, 9)  # whole nanoseconds, which the difference of two floats is not
        endings = ["", *(f"_{word}" for words in _UNIT_WORDS.values() for word in words)]
        guesses = [f"{name}{ending}" for name in _LATENCIES for ending in endings]
        column = self._column(columns.latency, guesses, "--latency", needed=True)
        if column is None:
            return np.zeros(len(self._frame))
        values = self._frame[column]
        numbers = _numbers(values)
        given = values.astype("object").notna().to_numpy() & (values.astype("str") != "").to_numpy()
        seconds = numbers * _SECONDS[self._latency_unit(column, numbers)]
        self._refuse(given & ~((seconds >= 0) & (seconds <= LONGEST_S)), column, "a latency, a number of at least 0")
        if missing := int((~given).sum()):
            self._notes.append(f"{missing:,} attempts have no latency")
        return seconds

    def _latency_unit(self, column: str, numbers: Floats) -> Unit:
        if self._columns.latency_unit is not None:
            return self._columns.latency_unit
        ending = _plain(column).rpartition("_")[2]
        for unit, words in _UNIT_WORDS.items():
            if ending in words:
                return unit  # type: ignore[return-value]
        usual = float(np.nanmedian(numbers)) if np.isfinite(numbers).any() else 0.0
        guessed: Unit = "ms" if usual > _MS_FROM else "s"
        self._notes.append(
            f"{column} names no unit and has a median of {plain_number(usual, 4)}: read as {guessed} "
            "(--latency-unit says otherwise)"
        )
        return guessed

    # ── outcomes ────────────────────────────────────────────────────────────────────────────────────────────────

    def _kinds(self) -> np.ndarray[Any, np.dtype[np.int8]]:
        given = self._columns.outcome
        if given == NO_OUTCOMES and given not in self._frame:
            self._warnings.append("--outcome none: the latency alone is fitted, and no failures are looked for")
            return np.full(len(self._frame), OutcomeKind.UNKNOWN, dtype=np.int8)
        column = self._column(given, _OUTCOMES, "--outcome", needed=False)
        if column is None:
            if given is None:
                like = [f"--outcome {name}" for name in self._unread() if _tells_outcomes(self._frame[name])]
                those = " or ".join(like) or "--outcome NAME"
                self._problems.append(
                    f"{self._name}: wanted a column of outcomes such as status_code (or {those}; "
                    f"--outcome {NO_OUTCOMES} fits the latency alone), got {_names(self._frame.columns)}"
                )
            return np.full(len(self._frame), OutcomeKind.UNKNOWN, dtype=np.int8)
        if given is None:
            self._warn_of_other_outcomes(column)
        meant = {word: _kind(value) for word, value in (self._columns.outcome_map or {}).items()}
        codes, words = pd.factorize(self._frame[column].astype("str"))
        kinds = [kind_of(str(word), meant) for word in words]
        counts = np.bincount(codes, minlength=len(words)).tolist()
        unknown = [
            f"{str(word)!r} ({count:,})" for word, kind, count in zip(words, kinds, counts, strict=True) if kind is None
        ]
        if unknown:
            self._problems.append(
                f"{self._name}: {column}: unknown outcomes {', '.join(unknown[:PROBLEMS_SHOWN])}; say what they mean "
                f"with --outcome-map {str(words[kinds.index(None)]) or 'word'}=…, one of {', '.join(NAMES)}"
            )
        kind = np.array([OutcomeKind.UNKNOWN if each is None else each for each in kinds], dtype=np.int8)[codes]
        if "throttled" in self._frame:
            kind[self._frame["throttled"].astype("str").str.lower().isin(("true", "1")).to_numpy()] = (
                OutcomeKind.THROTTLED
            )
        return kind

    def _channels(self) -> np.ndarray[Any, Any]:
        wanted = self._columns.channel
        if wanted is not None and channel_named(wanted) is None:
            self._problems.append(f"--channel {wanted}: wanted {A_CHANNEL_NAME}")
        if "channel" not in self._frame or not len(self._frame):
            if wanted is None:
                self._notes.append("the file names no channel: taken as email (--channel says otherwise)")
            return np.full(len(self._frame), wanted or "email", dtype=object)
        there = self._frame["channel"].astype("str")
        counts = there.value_counts()
        if wanted is not None and not any(name in set(NotificationChannel) for name in counts.index):
            return np.full(len(self._frame), wanted, dtype=object)
        if wanted is not None:
            if wanted not in counts.index:
                self._problems.append(
                    f"--channel {wanted}: wanted one in {self._name}, which has {_names(counts.index)}"
                )
            return there.to_numpy(dtype=object)
        if unknown := [f"{name!r} ({count:,})" for name, count in counts.items() if channel_named(name) is None]:
            self._problems.append(
                f"{self._name}: channel: wanted {A_CHANNEL_NAME}; got "
                f"{', '.join(unknown[:PROBLEMS_SHOWN])}; "
                "--channel NAME says what all of them are"
            )
        return there.to_numpy(dtype=object)

    def _providers(self, channel: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if "provider" not in self._frame:
            return np.full(len(self._frame), None, dtype=object)
        there = self._frame["provider"].astype("object")
        names = there.where(there.notna() & (there != ""), None).to_numpy(dtype=object, copy=True)
        for each in dict.fromkeys(channel.tolist()):
            of_channel: Flags = channel == each
            if set(names[of_channel].tolist()) == {PRIMARY}:  # a run's name for the only provider of a channel
                names[of_channel] = None
        return names

    def _notifications(self) -> tuple[np.ndarray[Any, np.dtype[np.int64]], bool]:
        column = self._column(None, _NOTIFICATIONS, "", needed=False)
        if column is None:
            return np.arange(len(self._frame)), False
        return pd.factorize(self._frame[column].astype("str"))[0].astype(np.int64), True

    def _attempt_numbers(self, start_s: Floats, notification: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
        column = self._column(None, _ATTEMPTS, "", needed=False)
        if column is not None:
            numbers = _numbers(self._frame[column])
            self._refuse(~np.isfinite(numbers), column, "a whole number of at least 1")
            return numbers
        order = np.lexsort((np.arange(len(start_s)), start_s, notification))
        is_first: Flags = np.ones(len(start_s), dtype=bool)
        is_first[order[1:]] = notification[order][1:] != notification[order][:-1]
        return np.where(is_first, 1, 2)


def _kind(value: str | OutcomeKind) -> OutcomeKind:
    if isinstance(value, OutcomeKind):
        return value
    try:
        return NAMES[value]
    except KeyError:
        raise ConfigurationError([f"outcome_map: wanted one of {', '.join(NAMES)}, got {value!r}"]) from None


def _numbers(values: pd.Series[Any]) -> Floats:
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)


def _tells_outcomes(values: pd.Series[Any]) -> bool:
    words = values.astype("str").unique()
    return 0 < len(words) <= _DIFFERENT_OUTCOMES and all(kind_of(str(word), {}) is not None for word in words)


def _plain(column: str) -> str:
    """Return a column's name as guesses are written: ``latency_ms`` for ``Latency (ms)`` and ``latencyMs``."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column)
    return re.sub(r"[\s()\[\]._-]+", "_", apart.lower()).strip("_")


def _names(there: Iterable[str]) -> str:
    return ", ".join(list(there)[:PROBLEMS_SHOWN]) or "none"
