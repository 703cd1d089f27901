"""The tables of the page: what was counted, per channel, breaker, provider, outcome and reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from actors.event_words import OUTCOMES
from actors.formatting import counted, plain_number
from actors.instants import NS_PER_S
from simulation.reporting.html.words import count, duration, instant, percent, quoted
from simulation.results.formatting import NOTHING, refusals_text
from simulation.results.tables import ATTEMPT_OUTCOMES, transitions_of
from simulation.scenario.identity import entries_apart
from simulation.scenario.metrics import NEVER

if TYPE_CHECKING:
    from simulation.results.result import Result

ROWS_MAX = 15
"""Of more reasons than that only the most frequent are listed."""


class Column(NamedTuple):
    """A column of a table."""

    heading: str
    is_number: bool = True


class Table(NamedTuple):
    """A table; the first cell of each row says what the row is about."""

    key: str
    caption: str
    columns: list[Column]
    rows: list[list[Any]]
    note: str = ""
    """A note on the table as a whole."""

    total: bool = False
    """Whether the last row is about all the others together."""


class Tile(NamedTuple):
    """One of the key figures."""

    name: str
    value: Any
    more: Any = ""
    kind: str = ""


def tiles(result: Result) -> list[Tile]:
    """Return the key figures; those that are mostly 0 only when they are not."""
    summary, simulated_s = result.summary, result.summary["simulated_s"]
    offered, never, dlq = summary["offered"], summary["delivery_time_s"][NEVER], summary["dlq"]
    dead = summary["dead_lettered"]
    found = [
        Tile("offered", count(offered), _rate(offered / simulated_s) if simulated_s else ""),
        Tile("delivered", count(summary["delivered"]), f"{percent(summary['sent_fraction'])} of those offered"),
        Tile("dead-lettered", count(dead), _queue(dlq["peak"]), "bad" if dead else ""),
    ]
    if summary["unwanted"]:
        found.append(Tile("unwanted", count(summary["unwanted"]), "by the user or an operator; not offered"))
    if summary["reached_twice"]:
        found.append(
            Tile("reached twice", count(summary["reached_twice"]), "one request, at its recipient twice", "care")
        )
    if summary["in_flight"]:
        found.append(Tile("still in flight", count(summary["in_flight"]), "at the end of the run", "care"))
    if refused := sum(summary["refused"].values()):
        found.append(Tile("refused", count(refused), refusals_text(summary["refused"], result.scenario), "care"))
    amplification = summary["retry_amplification"]
    attempts = NOTHING if amplification is None else f"×{amplification:.2f}"
    found += [
        Tile("attempts per notification", attempts, f"{counted(summary['attempts'], 'attempt')} in all"),
        Tile("median delivery time", _quantile(summary, "p50")),
        Tile("99% delivered within", _quantile(summary, "p99"), f"{count(never)} never" if never else ""),
    ]
    return found


def tables(result: Result) -> list[Table]:
    """Return the tables that have something to say about a run."""
    return [table for table in _tables(result) if table.rows or table.note]


def _tables(result: Result) -> Iterator[Table]:
    yield _channels(result)
    yield _worst(result)
    yield _breakers(result)
    yield _providers(result)
    yield _outcomes(result)
    yield _reasons(result)


_COUNTS = {
    "offered": "offered",
    "delivered": "delivered",
    "dead": "dead_lettered",
    "unwanted": "unwanted",
    "handed on": "handed_on",
    "in flight": "in_flight",
    "deferred": "deferred",
    "hedges": "hedges",
    "duplicates": "duplicates",
}
_ALWAYS = {"offered", "delivered", "dead"}
_TIMES = ("p50", "p90", "p99")


def _channels(result: Result) -> Table:
    summary = result.summary
    counts = {name: key for name, key in _COUNTS.items() if name in _ALWAYS or summary[key]}
    headings = [*counts, "attempts", "per notification", *_TIMES]
    rows = [[channel, *_figures(figures, counts)] for channel, figures in summary["channels"].items()]
    rows += [[name, *_figures(summary["workload"][name], counts)] for name in entries_apart(result.scenario)]
    several = len(rows) > 1
    if several:
        rows.append(["all", *_figures(summary, counts)])
    columns = [Column("Channel", is_number=False), *map(Column, headings)]
    return Table(
        "channels",
        "Channels",
        columns,
        rows,
        "dead: dead-lettered. Delivery times are of all that was offered, from the first acceptance to the delivery. "
        "What the workload calls an entry is listed below the channels, where a channel has several.",
        several,
    )


def _figures(figures: dict[str, Any], counts: dict[str, str]) -> list[Any]:
    amplification = figures["retry_amplification"]
    return [
        *(count(figures[key]) for key in counts.values()),
        count(figures["attempts"]),
        NOTHING if amplification is None else f"×{amplification:.2f}",
        *(_quantile(figures, key) for key in _TIMES),
    ]


def _quantile(figures: dict[str, Any], name: str) -> Any:
    times = figures["delivery_time_s"]
    return NEVER if times[name] is None and times[NEVER] else duration(times[name])


def _worst(result: Result) -> Table:
    """Return the hosts and tenants with the most that were late; the table is left out where there are none."""
    columns = [Column("Of", is_number=False), Column("offered"), Column("not within a minute"), Column("share")]
    worst = result.summary["worst"]
    rows = [
        [each["name"], count(each["offered"]), count(each["late"]), percent(each["late_fraction"])]
        for kind in ("hosts", "tenants")
        for each in worst.get(kind, ())
    ]
    kinds = " and ".join(kind for kind in ("hosts", "tenants") if worst.get(kind)) or "hosts"
    return Table("worst", f"The {kinds} with the most that were not delivered within a minute", columns, rows)


def _breakers(result: Result) -> Table:
    columns = [
        Column("Breaker", is_number=False), Column("opened"), Column("open for"), Column("of the run"),
        Column("first opened at"), Column("at the end", is_number=False),
    ]  # fmt: skip
    simulated_s, transitions = result.summary["simulated_s"], result.breaker
    rows = []
    of_hosts = []
    for name, figures in result.summary["breaker"].items():
        own = transitions_of(transitions, name)
        opened = own[own["to"].isin(["open", "forced-open"])]["time_s"]
        has_hosts = bool(own["host"].notna().any())
        of_hosts += [name] if has_hosts else []
        share = NOTHING if has_hosts or not simulated_s else percent(figures["open_s"] / simulated_s)
        if (first := result.scenario.breakers.get(name)) is None:
            state = NOTHING  # that of all nodes together
        else:
            state = result.series[f"breaker_{name}"].iloc[-1] if len(own) else str(first)
        rows.append(
            [
                name,
                _times(figures["opened"]),
                duration(figures["open_s"]) if figures["opened"] else NOTHING,
                share if figures["opened"] else NOTHING,
                instant(round(opened.iloc[0] * NS_PER_S)) if len(opened) else NOTHING,
                state,
            ]
        )
    note = f"{', '.join(of_hosts)}: one for each host, which are counted together." if of_hosts else ""
    return Table("breakers", "Circuit breakers", columns, rows, note)


def _providers(result: Result) -> Table:
    columns = [
        Column("Provider", is_number=False), Column("attempts"), Column("of the channel's"), Column("sent"),
        Column("of its attempts"),
    ]  # fmt: skip
    rows = []
    for channel, figures in result.summary["channels"].items():
        providers = figures.get("providers", {})
        together = sum(provider["attempts"] for provider in providers.values())
        for name, provider in providers.items():
            rows.append(
                [
                    f"{channel}: {name}",
                    count(provider["attempts"]),
                    percent(provider["attempts"] / together) if together else NOTHING,
                    count(provider["sent"]),
                    percent(provider["sent"] / provider["attempts"]) if provider["attempts"] else NOTHING,
                ]
            )
    return Table("providers", "Providers", columns, rows)


_IN_WORDS = {ATTEMPT_OUTCOMES[kind]: words for kind, words in OUTCOMES.items()}
"""Outcomes of attempts as tables have them, in words."""


def _outcomes(result: Result) -> Table:
    columns = [
        Column("Outcome", is_number=False), Column("channel", is_number=False), Column("reason", is_number=False),
        Column("attempts"), Column("of the channel's"), Column("median time"),
    ]  # fmt: skip
    caption = "Outcomes of attempts"
    if result.scenario.record != "full":
        return Table("outcomes", caption, columns, [], "The run kept aggregates only, so there is no row per attempt.")
    attempts = result.attempts
    if attempts.empty:
        return Table("outcomes", caption, columns, [], "No attempt was made.")
    attempts = attempts.assign(took=attempts["end_s"] - attempts["start_s"], reason=attempts["reason"].fillna(""))
    of_channel = attempts["channel"].value_counts()
    grouped = attempts.groupby(["channel", "outcome", "reason"], sort=True)["took"].agg(["size", "median"])
    grouped = grouped.sort_values("size", ascending=False, kind="stable")
    rows = [
        [_IN_WORDS.get(outcome, outcome), channel, quoted(reason) or NOTHING, count(size),
         percent(size / of_channel[channel]), duration(median)]
        for (channel, outcome, reason), size, median in grouped.head(ROWS_MAX).itertuples()
    ]  # fmt: skip
    return Table("outcomes", caption, columns, rows, _rest(len(grouped)))


def _reasons(result: Result) -> Table:
    columns = [
        Column("Reason", is_number=False), Column("channel", is_number=False), Column("letters"), Column("of all"),
        Column("median attempts"), Column("first at"), Column("last at"),
    ]  # fmt: skip
    caption, letters = "Dead letters by reason", result.dlq
    if letters.empty:
        return Table("reasons", caption, columns, [], "The dead letter queue stayed empty.")
    found = pd.DataFrame(letters)
    grouped = found.groupby(["reason", "channel"], sort=True).agg(
        size=("id", "size"), attempts=("attempts", "median"), first=("time_s", "min"), last=("time_s", "max")
    )
    grouped = grouped.sort_values("size", ascending=False, kind="stable")
    rows = [
        [quoted(reason), channel, count(size), percent(size / len(letters)), f"{attempts:g}", _at(first), _at(last)]
        for (reason, channel), size, attempts, first, last in grouped.head(ROWS_MAX).itertuples()
    ]
    note = _rest(len(grouped))
    if len(letters) < result.summary["dlq"]["peak"]:
        note = f"Of the first {count(len(letters))} letters, as the run kept aggregates only. {note}".strip()
    return Table("reasons", caption, columns, rows, note)


def _rest(rows: int) -> str:
    return f"And {counted(rows - ROWS_MAX, 'row')} more." if rows > ROWS_MAX else ""


def _at(seconds: float) -> Markup:
    return instant(round(seconds * NS_PER_S))


def _times(number: int) -> str:
    return "never" if number == 0 else "once" if number == 1 else f"{count(number)} times"


def _queue(peak: int) -> str:
    return f"at most {count(peak)} in the queue" if peak else "the queue stayed empty"


def _rate(per_s: float) -> str:
    for period_s, unit in ((1, "second"), (60, "minute"), (3600, "hour")):
        if per_s * period_s >= 1:
            return f"{plain_number(per_s * period_s)} a {unit}"
    return f"{plain_number(per_s * 86_400)} a day"
