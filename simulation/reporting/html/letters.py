"""The dead letters of a run one by one, and the slowest deliveries, by their ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from simulation.reporting.html.words import count, quoted
from simulation.sheets import Column, Kind, Row, Sheet

if TYPE_CHECKING:
    from simulation.results.result import Result

LETTERS_MAX = 2000
"""More rows than that make a page that browsers are slow with."""

SLOWEST = 25


def letters(result: Result, keys: Mapping[str, str]) -> list[Sheet]:
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


def _letters(result: Result, keys: Mapping[str, str]) -> Sheet:
    rows = result.dlq
    columns = [
        Column("Letter"), Column("channel"), Column("reason"), Column("attempts", Kind.COUNT),
        Column("accepted at", Kind.INSTANT), Column("dead-lettered at", Kind.INSTANT), Column("left"),
    ]  # fmt: skip
    shown = [
        Row([linked(str(row["id"]), keys), row["channel"], quoted(str(row["reason"])), row["attempts"],
             row["requested_at_s"], row["time_s"], row["left"] if isinstance(row["left"], str) else None])
        for row in rows.head(LETTERS_MAX).to_dict("records")
    ]  # fmt: skip
    left_out = len(rows) > len(shown)
    notes = [f"The first {count(LETTERS_MAX)} of {count(len(rows))}; all are in dlq.parquet."] if left_out else []
    return Sheet("All dead letters, in order", columns, shown, notes, key="letters")


def _slowest(result: Result, keys: Mapping[str, str]) -> Sheet:
    rows = result.notifications
    columns = [
        Column("Notification"), Column("channel"), Column("took", Kind.DURATION), Column("attempts", Kind.COUNT),
        Column("accepted at", Kind.INSTANT), Column("delivered at", Kind.INSTANT),
    ]  # fmt: skip
    sent = rows[rows["outcome"] == "sent"]
    sent = sent.assign(took=sent["finished_at_s"] - sent["waited_since_s"]).sort_values(
        "took", ascending=False, kind="stable"
    )
    shown = [
        Row([linked(str(row["id"]), keys), *(row[key] for key in
             ("channel", "took", "attempts", "requested_at_s", "finished_at_s"))])
        for row in sent.head(SLOWEST).to_dict("records")
    ]  # fmt: skip
    return Sheet("The slowest deliveries", columns, shown, key="slowest")
