"""What a notebook shows of an object, as HTML: a caption and a small table, everything in it escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

Cell = str | int | float | None


def shown_as_html(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], note: str = "") -> str:
    """Return a table of a few rows.

    Args:
        caption: what it is about.
        columns: the headings; the first column says what a row is about.
        rows: texts as they are, whole numbers with their thousands apart; None stands for nothing.
        note: below the table.
    """
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr><th align=left>{_text(first)}</th>{''.join(f'<td>{_text(one)}</td>' for one in others)}</tr>"
        for first, *others in rows
    )
    below = f"<p>{escape(note)}</p>" if note else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    return f"<div><p><b>{escape(caption)}</b></p>{table}{below}</div>"


def scenario_as_html(scenario: Any) -> str:
    """Return what happens in a scenario, in a few rows."""
    called = [(entry.called, entry.name) for entry in scenario.workload]
    rows = [
        ("lasts", f"{scenario.duration:g} s, then a drain"),
        ("workload", ", ".join(what if name is None else f"{name} ({what})" for what, name in called)),
        ("channels", ", ".join(map(str, scenario.channels_used))),
        ("faults", "; ".join(", ".join(sorted(map(str, fault.injects))) for fault in scenario.faults) or "none"),
        ("expects", "; ".join(each.text for each in scenario.expect) or "nothing"),
        ("seed", str(scenario.seed)),
    ]
    return shown_as_html(scenario.name, ("", ""), rows, scenario.description)


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    return escape(cell) if isinstance(cell, str) else f"{cell:,}" if isinstance(cell, int) else f"{cell:.4g}"
