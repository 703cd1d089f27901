"""The tables of ``retrylab dlq`` for people. No text from elsewhere can control their terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from simulation.reporting.console import print_table, stdout
from simulation.results.formatting import NOTHING
from simulation.sheets import Column, Kind, Lines, Row, Sheet, printable

Document = Mapping[str, Any]


def at(text: str | None) -> str:
    """Return an instant to the second, in UTC as all of them are."""
    return NOTHING if text is None else text[:19].replace("T", " ")


def print_letters(letters: Sequence[Document], after: str | None) -> None:
    rows = [
        (
            each["id"],
            each["channel"],
            each["recipient"],
            each["reason"],
            f"{each['attempts']}",
            at(each["moved_at"]),
            _served(each),
        )
        for each in letters
    ]
    console = stdout()
    headings = ("id", "channel", "recipient", "reason", ">attempts", "dead-lettered, UTC", "served")
    _print(console, headings, rows, "no dead letters")
    if after is not None:
        console.print(Text.assemble("more: --after ", printable(after)), style="dim", soft_wrap=True)


def _served(letter: Document) -> str | None:
    return "served" if letter.get("served") else None


def print_groups(by: str, groups: Sequence[Document]) -> None:
    rows = [(f"{each['count']:,}", each["key"], at(each["oldest"]), at(each["newest"])) for each in groups]
    _print(stdout(), (">letters", by, "oldest, UTC", "newest, UTC"), rows, "no dead letters")


def print_audit(entries: Sequence[Document]) -> None:
    rows = [
        (at(each["at"]), each["by"] or "the system", each["action"], each["about"] or each["id"], _why(each))
        for each in entries
    ]
    _print(stdout(), ("at, UTC", "who", "what", "to what", "why"), rows, "no operator has done anything")


def print_endpoints(endpoints: Sequence[Document], total: int, everything: bool) -> None:
    """Print endpoints whose attempts all fail; only the disabled ones, unless `everything`."""
    rows = [
        (
            *(each[name] for name in ("channel", "address", "state")),
            at(each["since"]),
            at(each["disabled_at"]) if each["disabled_at"] else None,
            each["reason"],
        )
        for each in endpoints
    ]
    headings = ("channel", "address", "state", "all fail since, UTC", "disabled, UTC", "latest failure")
    none = "no endpoint of which every attempt fails" if everything else "no endpoint is disabled"
    _print(stdout(), headings, rows, none)
    if total > len(endpoints):
        stdout().print(f"and {total - len(endpoints):,} more", style="dim")


def _why(entry: Document) -> str | None:
    edited = f"edited {', '.join(entry['edit'])}" if entry["edit"] else ""
    return "; ".join(filter(None, (entry["why"], edited))) or None


def print_bulks(bulks: Sequence[Document], came: Callable[[Document], str]) -> None:
    rows = [
        (
            each["bulk"],
            each["action"],
            each["state"],
            *(f"{each.get(name, 0):,}" for name in ("total", "done", "skipped", "left_out", "failed")),
            came(each) or None,
            each["by"],
            at(each["started_at"]),
        )
        for each in bulks
    ]
    counts = (">total", ">done", ">skipped", ">left out", ">failed")
    headings = ("run", "what", "state", *counts, "came of them", "who", "started, UTC")
    _print(stdout(), headings, rows, "no bulk runs since the service started")


def print_dry_run(action: str, dry_run: Document) -> None:
    console = stdout()
    left_out = dry_run.get("left_out", 0)
    others = f", and leave out {left_out:,} that {'is' if left_out == 1 else 'are'} served" if left_out else ""
    letters = "dead letter" if dry_run["count"] == 1 else "dead letters"
    console.print(f"would {action} [bold]{dry_run['count']:,}[/bold] {letters}{others}")
    if dry_run["count"]:
        rows = [
            (f"{each['count']:,}", each["key"], at(each["oldest"]), at(each["newest"])) for each in dry_run["groups"]
        ]
        _print(console, (">letters", "reason", "oldest, UTC", "newest, UTC"), rows, "")
        ids = [each["id"] for each in dry_run["sample"]]
        console.print(Text.assemble("such as ", printable(", ".join(ids))), soft_wrap=True)


def print_notification(shown: Document) -> None:
    console, command = stdout(), shown["command"]
    served = ", served" if _served(shown["dead_letter"] or {}) else ""
    console.print(Text.assemble((printable(shown["id"]).plain, "bold"), "  ", shown["state"], served), soft_wrap=True)
    facts = {name: command[name] for name in ("channel", "recipient", "user", "subject", "message")}
    facts["metadata"] = json.dumps(command["metadata"], ensure_ascii=False) if command["metadata"] else None
    facts["expires after"] = None if command["expires_after"] is None else f"{command['expires_after']:g} s"
    facts["priority"] = command.get("priority")
    rows: list[tuple[Any, ...]] = []
    for name, value in facts.items():
        if value is not None:
            accepted = shown["accepted"].get(name, value)
            rows.append((name, str(value)))
            rows += [("", f"accepted as {accepted}")] if accepted != value else []
    _print(console, ("", ""), rows, "")
    console.print()
    rows = [(at(event["at"]), _words(event["event"]), _details(event)) for event in shown["events"]]
    _print(console, ("at, UTC", "what happened", ""), rows, "its events are not kept")
    if shown["audit"]:
        console.print()
        print_audit(shown["audit"])


_SHOWN_OF_EVENTS = {
    **{name: name for name in ("attempt", "provider", "kind", "reason", "answer", "cause", "by", "why")},
    "next_retry_at": "next attempt due at",
    "resumes_at": "resumes at",
}


def _details(event: Document) -> Lines:
    names = _SHOWN_OF_EVENTS
    if event.get("refused"):
        names = names | {"answer": "refused on our side; the provider's latest failure"}
    lines = [f"{words}: {event[name]}" for name, words in names.items() if event.get(name) is not None]
    if event.get("edit"):
        lines.append(f"edited: {json.dumps(event['edit'], ensure_ascii=False)}")
    return Lines(lines)


def _words(name: str) -> str:
    words = "".join(f" {char.lower()}" if char.isupper() else char for char in name.removeprefix("Notification"))
    return words.strip()


def _print(console: Console, headings: Sequence[str], rows: Sequence[Sequence[Any]], nothing: str) -> None:
    """Print a table; a heading that begins with ``>`` is of numbers."""
    if not rows:
        console.print(nothing, style="dim")
        return
    columns = [Column(each.removeprefix(">"), Kind.NUMBER if each[:1] == ">" else Kind.TEXT, True) for each in headings]
    print_table(Sheet(columns=columns, rows=list(map(Row, rows))))
