"""The dead letters of a run one by one, and the slowest deliveries, by their ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from actors.instants import NS_PER_S
from simulation.reporting.html.tables import Column, Table
from simulation.reporting.html.words import count, duration, instant, quoted

if TYPE_CHECKING:
    from simulation.results.result import Result

LETTERS_MAX = 2000
"""More rows than that make a page that browsers are slow with."""

SLOWEST = 25


def letters(result: Result, keys: Mapping[str, str]) -> list[Table]:
    """Return a table of the dead letters and one of the slowest deliveries.

    Args:
        result: of the run.
        keys: the ids of the elements of the notifications that the page has more about.
    """
    found = [_letters(result, keys), _slowest(result, keys)]
    return [table for table in found if table.rows]


def linked(notification_id: str, keys: Mapping[str, str]) -> Any:
    """Return an id, as a link where the page has more about it."""
    key = keys.get(notification_id)
    shown = quoted(notification_id)
    return shown if key is None else Markup('<a href="#{}">{}</a>').format(key, shown)


def _letters(result: Result, keys: Mapping[str, str]) -> Table:
    rows = result.dlq
    columns = [
        Column("Letter", is_number=False), Column("channel", is_number=False), Column("reason", is_number=False),
        Column("attempts"), Column("accepted at"), Column("dead-lettered at"), Column("left", is_number=False),
    ]  # fmt: skip
    shown = [
        [
            linked(str(row["id"]), keys),
            row["channel"],
            quoted(str(row["reason"])),
            count(row["attempts"]),
            _at(row["requested_at_s"]),
            _at(row["time_s"]),
            row["left"] if isinstance(row["left"], str) else "–",
        ]
        for row in rows.head(LETTERS_MAX).to_dict("records")
    ]
    note = (
        f"The first {count(LETTERS_MAX)} of {count(len(rows))}; all are in dlq.parquet."
        if len(rows) > len(shown)
        else ""
    )
    return Table("letters", "All dead letters, in order", columns, shown, note)


def _slowest(result: Result, keys: Mapping[str, str]) -> Table:
    rows = result.notifications
    columns = [
        Column("Notification", is_number=False), Column("channel", is_number=False), Column("took"),
        Column("attempts"), Column("accepted at"), Column("delivered at"),
    ]  # fmt: skip
    sent = rows[rows["outcome"] == "sent"]
    sent = sent.assign(took=sent["finished_at_s"] - sent["waited_since_s"]).sort_values(
        "took", ascending=False, kind="stable"
    )
    shown = [
        [
            linked(str(row["id"]), keys),
            row["channel"],
            duration(row["took"]),
            count(row["attempts"]),
            _at(row["requested_at_s"]),
            _at(row["finished_at_s"]),
        ]
        for row in sent.head(SLOWEST).to_dict("records")
    ]
    return Table("slowest", "The slowest deliveries", columns, shown)


def _at(seconds: float) -> Markup:
    return instant(round(seconds * NS_PER_S))
