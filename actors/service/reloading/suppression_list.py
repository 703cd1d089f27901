"""Suppressions as a table of comma-separated values (RFC 4180), in UTF-8, for a spreadsheet or another service.

The first line names the columns, in any order: `channel`, `address` and `reason` are needed, `source`, `since` (a date
and time with its offset from UTC, ISO 8601) and `by` may be there. What is written here can be read here::

    channel,address,reason,source,since,by
    email,ann@example.com,complaint,operator,2026-03-01T09:30:00+00:00,otto
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime

from actors.domain.suppressions import Key, Suppression, SuppressionSource
from actors.errors import ConfigurationError
from actors.instants import since_1970_ns
from actors.messages import NotificationChannel
from actors.settings.hints import unknown

NEEDED = ("channel", "address", "reason")
COLUMNS = (*NEEDED, "source", "since", "by")
PROBLEMS_MAX = 100
"""How many problems are reported of one table; a wrong column would give as many as there are lines."""

CHARACTERS_MAX = 1_000
YEARS = (1970, 2262)
"""Between them is what 63 bits hold of nanoseconds since 1970."""


def read_suppressions(
    text: str,
    name: str,
    channels: Collection[str] = tuple(NotificationChannel),
    *,
    now_ns: int,
    source: SuppressionSource | None = None,
    by: str | None = None,
) -> dict[Key, Suppression]:
    """Return the suppressions in a table, by address; of two for one address the later one.

    Args:
        text: the table.
        name: what to call it in problems.
        channels: those that there are.
        now_ns: since when they are, in nanoseconds since 1970, where the table does not say it.
        source: of all of them, whatever the table says; None: as it says, and where it does not, a file.
        by: who asks for them, where the table does not say it.

    Raises:
        ConfigurationError: what is wrong, a line each: ``list.csv:3: channel: wanted one of email, …, got 'mail'``.
    """
    problems: list[str] = []
    left_out = 0
    found: dict[Key, Suppression] = {}
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    columns: list[str] | None = None
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if columns is None:
                columns = [cell.strip().lower() for cell in row]
                if wrong := list(_wrong_columns(columns)):
                    raise ConfigurationError([f"{name}:{rows.line_num}: {problem}" for problem in wrong])
                continue
            cells = {column: cell.strip() for column, cell in zip(columns, row, strict=False)}
            is_cut = len(row) != len(columns)
            wrong = [f"wanted {len(columns)} values, got {len(row)}"] if is_cut else list(_wrong_cells(cells, channels))
            kept = wrong[: PROBLEMS_MAX - len(problems)]
            problems += [f"{name}:{rows.line_num}: {problem}" for problem in kept]
            left_out += len(wrong) - len(kept)
            if not wrong:
                suppression = Suppression(
                    channel=NotificationChannel(cells["channel"]),
                    address=cells["address"],
                    reason=cells["reason"],
                    source=source or SuppressionSource(cells.get("source") or SuppressionSource.FILE),
                    since_ns=since_1970_ns(_instant(cells["since"])) if cells.get("since") else now_ns,
                    by=cells.get("by") or by,
                )
                found[suppression.key] = suppression
    except csv.Error as error:
        problems.append(f"{name}:{rows.line_num}: wanted comma-separated values: {error}")
    if columns is None and not problems:
        problems.append(f"{name}:1: wanted a first line with the columns {', '.join(COLUMNS)}, got nothing")
    if left_out:
        problems.append(f"{name}: and {left_out} more")
    if problems:
        raise ConfigurationError(problems)
    return found


def write_suppressions(suppressions: Iterable[Suppression]) -> str:
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for each in suppressions:
        row = (each.channel, each.address, each.reason, each.source, each.since.isoformat(), each.by or "")
        writer.writerow(row)
    return table.getvalue()


def _wrong_columns(columns: list[str]) -> Iterator[str]:
    if len(columns) > len(COLUMNS):
        yield f"wanted at most {len(COLUMNS)} columns, got {len(columns):,}"
        return
    for column in columns:
        if column not in COLUMNS:
            yield f"{column}: {unknown(column, COLUMNS, 'column')}"
        elif columns.count(column) > 1:
            yield f"{column}: wanted each column once, got it {columns.count(column)} times"
    for column in NEEDED:
        if column not in columns:
            yield f"{column}: wanted this column, got nothing"


def _wrong_cells(cells: Mapping[str, str], channels: Collection[str]) -> Iterator[str]:
    sources = list(SuppressionSource)
    if cells["channel"] not in channels:
        yield f"channel: wanted one of {', '.join(channels)}, got {cells['channel'][:60]!r}"
    for column in ("address", "reason", "by"):
        if column in cells and (problem := wrong_text(cells[column], may_be_empty=column == "by")):
            yield f"{column}: {problem}"
    if cells.get("source") and cells["source"] not in sources:
        yield f"source: wanted one of {', '.join(sources)}, got {cells['source'][:60]!r}"
    if cells.get("since"):
        try:
            _instant(cells["since"])
        except ValueError:
            example = "a date and time such as 2026-03-01T09:30:00Z"
            yield f"since: wanted {example}, got {cells['since'][:60]!r}"


def wrong_text(text: str, *, may_be_empty: bool = False) -> str | None:
    """Return the problem with a text for a store, or None: some hold no NUL, none half a character."""
    if not text.strip():
        return None if may_be_empty else "wanted text that is not empty, got nothing"
    if len(text) > CHARACTERS_MAX or not text.isprintable():
        return f"wanted at most {CHARACTERS_MAX:,} printable characters on one line"  # not what: it may be an address
    return None


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None or not YEARS[0] <= instant.year < YEARS[1]:
        raise ValueError("no offset from UTC, or long ago, or far ahead")
    return instant
