"""The tables of the page: the counts, per channel, breaker, provider, outcome and reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from actors.event_words import OUTCOMES
from actors.formatting import counted, plain_number
from simulation.reporting.html.words import cell, count, quoted
from simulation.results.formatting import NOTHING, quantile, refusals_text
from simulation.results.sheet import channels_sheet
from simulation.results.tables import ATTEMPT_OUTCOMES, transitions_of
from simulation.scenario.identity import entries_apart
from simulation.scenario.metrics import NEVER
from simulation.sheets import Column, Kind, Row, Sheet, share_text

if TYPE_CHECKING:
    from simulation.results.result import Result

ROWS_MAX = 15
"""Of more reasons than that only the most frequent are listed."""


class Tile(NamedTuple):
    name: str
    value: Any
    more: Any = ""
    kind: str = ""


def tiles(result: Result) -> list[Tile]:
    """Return the key figures; a figure that is mostly 0 only when it is not."""
    summary, simulated_s = result.summary, result.summary["simulated_s"]
    offered, never, dlq = summary["offered"], summary["delivery_time_s"][NEVER], summary["dlq"]
    dead = summary["dead_lettered"]
    found = [
        Tile("offered", count(offered), _rate(offered / simulated_s) if simulated_s else ""),
        Tile("delivered", count(summary["delivered"]), f"{share_text(summary['sent_fraction'])} of those offered"),
        Tile("dead-lettered", count(dead), _queue(dlq["peak"]), "bad" if dead else ""),
    ]
    if summary["unwanted"]:
        found.append(Tile("unwanted", count(summary["unwanted"]), "by the user or an operator; not offered"))
    if summary["reached_twice"]:
        found.append(Tile("reached twice", count(summary["reached_twice"]), "carried out twice or more", "care"))
    if summary["in_flight"]:
        found.append(Tile("still in flight", count(summary["in_flight"]), "at the end of the run", "care"))
    if refused := sum(summary["refused"].values()):
        found.append(Tile("refused", count(refused), refusals_text(summary["refused"], result.scenario), "care"))
    amplification = summary["retry_amplification"]
    attempts = NOTHING if amplification is None else f"×{amplification:.2f}"
    half, most = (cell(quantile(summary, name), Kind.DURATION) for name in ("p50", "p99"))
    found += [
        Tile("retry amplification", attempts, f"{counted(summary['attempts'], 'attempt')} in all"),
        Tile("median delivery time", half),
        Tile(
            "99% delivered within",
            most,
            f"{count(never)} never" if never else "",
        ),
    ]
    return found


def tables(result: Result) -> list[Sheet]:
    return [sheet for sheet in _tables(result) if sheet.rows or sheet.notes]


def _tables(result: Result) -> Iterator[Sheet]:
    yield _channels(result)
    yield _worst(result)
    yield _breakers(result)
    yield _providers(result)
    yield _outcomes(result)
    yield _reasons(result)


def _channels(result: Result) -> Sheet:
    return channels_sheet(result.summary, entries_apart(result.scenario))._replace(
        key="channels",
        title="Channels",
        notes=["dead: dead-lettered. Delivery times are of all that was offered, from first acceptance to delivery."],
    )


def _worst(result: Result) -> Sheet:
    columns = [
        Column("Of"), Column("offered", Kind.COUNT), Column("not within a minute", Kind.COUNT),
        Column("share", Kind.SHARE),
    ]  # fmt: skip
    worst = result.summary["worst"]
    rows = [
        Row([each[key] for key in ("name", "offered", "late", "late_fraction")])
        for kind in ("hosts", "tenants")
        for each in worst.get(kind, ())
    ]
    kinds = " and ".join(kind for kind in ("hosts", "tenants") if worst.get(kind)) or "hosts"
    return Sheet(f"The {kinds} with the most that were not delivered within a minute", columns, rows, key="worst")


def _breakers(result: Result) -> Sheet:
    columns = [
        Column("Breaker"), Column("opened", Kind.COUNT), Column("open for", Kind.DURATION),
        Column("of the run", Kind.SHARE), Column("first opened at", Kind.INSTANT), Column("at the end"),
    ]  # fmt: skip
    simulated_s, transitions = result.summary["simulated_s"], result.breaker
    rows = []
    of_hosts, of_nodes = [], []
    for name, figures in result.summary["breaker"].items():
        own = transitions_of(transitions, name)
        opened = own[own["to"].isin(["open", "forced-open"])]["time_s"]
        has_hosts = bool(own["host"].notna().any())
        of_hosts += [name] if has_hosts else []
        share = None if has_hosts or not simulated_s else figures["open_s"] / simulated_s
        if (first := result.scenario.breakers.get(name)) is None:
            state = share = None
            of_nodes += [name]
        else:
            state = result.series[f"breaker_{name}"].iloc[-1] if len(own) else str(first)
        open_for, share = (figures["open_s"], share) if figures["opened"] else (None, None)
        first_s = opened.iloc[0] if len(opened) else None
        rows.append(Row([name, _times(figures["opened"]), open_for, share, first_s, state]))
    apart = [(of_hosts, "host"), (of_nodes, "node")]
    notes = [f"{', '.join(names)}: one for each {one}, which are counted together." for names, one in apart if names]
    return Sheet("Circuit breakers", columns, rows, notes, key="breakers")


def _providers(result: Result) -> Sheet:
    columns = [
        Column("Provider"), Column("attempts", Kind.COUNT), Column("of the channel's", Kind.SHARE),
        Column("sent", Kind.COUNT), Column("of its attempts", Kind.SHARE),
    ]  # fmt: skip
    rows = []
    for channel, figures in result.summary["channels"].items():
        providers = figures.get("providers", {})
        together = sum(provider["attempts"] for provider in providers.values())
        for name, provider in providers.items():
            attempts, sent = provider["attempts"], provider["sent"]
            of_all, of_own = attempts / together if together else None, sent / attempts if attempts else None
            rows.append(Row([f"{channel}: {name}", attempts, of_all, sent, of_own]))
    return Sheet("Providers", columns, rows, key="providers")


_IN_WORDS = {ATTEMPT_OUTCOMES[kind]: words for kind, words in OUTCOMES.items()}
"""Outcomes of attempts as tables have them, in words."""


def _outcomes(result: Result) -> Sheet:
    columns = [
        Column("Outcome"), Column("channel"), Column("reason"), Column("attempts", Kind.COUNT),
        Column("of the channel's", Kind.SHARE), Column("median time", Kind.DURATION),
    ]  # fmt: skip
    sheet = Sheet("Outcomes of attempts", columns, key="outcomes")
    if result.scenario.record != "full":
        return sheet._replace(notes=["The run kept aggregates only, so there is no row per attempt."])
    attempts = result.attempts
    if attempts.empty:
        return sheet._replace(notes=["No attempt was made."])
    attempts = attempts.assign(took=attempts["end_s"] - attempts["start_s"], reason=attempts["reason"].fillna(""))
    of_channel = attempts["channel"].value_counts()
    grouped = attempts.groupby(["channel", "outcome", "reason"], sort=True)["took"].agg(["size", "median"])
    grouped = grouped.sort_values("size", ascending=False, kind="stable")
    rows = [
        Row([_IN_WORDS.get(outcome, outcome), channel, quoted(reason) or NOTHING, size,
             size / of_channel[channel], median])
        for (channel, outcome, reason), size, median in grouped.head(ROWS_MAX).itertuples()
    ]  # fmt: skip
    return sheet._replace(rows=rows, notes=_rest(len(grouped)))


def _reasons(result: Result) -> Sheet:
    columns = [
        Column("Reason"), Column("channel"), Column("letters", Kind.COUNT), Column("of all", Kind.SHARE),
        Column("median attempts", Kind.NUMBER), Column("first at", Kind.INSTANT), Column("last at", Kind.INSTANT),
    ]  # fmt: skip
    sheet, letters = Sheet("Dead letters by reason", columns, key="reasons"), result.dlq
    if letters.empty:
        return sheet._replace(notes=["The dead letter queue stayed empty."])
    found = pd.DataFrame(letters)
    grouped = found.groupby(["reason", "channel"], sort=True).agg(
        size=("id", "size"), attempts=("attempts", "median"), first=("time_s", "min"), last=("time_s", "max")
    )
    grouped = grouped.sort_values("size", ascending=False, kind="stable")
    rows = [
        Row([quoted(reason), channel, size, size / len(letters), f"{attempts:g}", first, last])
        for (reason, channel), size, attempts, first, last in grouped.head(ROWS_MAX).itertuples()
    ]
    notes = _rest(len(grouped))
    if len(letters) < result.summary["dlq"]["peak"]:
        notes = [f"Of the first {count(len(letters))} letters, as the run kept aggregates only.", *notes]
    return sheet._replace(rows=rows, notes=notes)


def _rest(rows: int) -> list[str]:
    return [f"And {counted(rows - ROWS_MAX, 'row')} more."] if rows > ROWS_MAX else []


def _times(number: int) -> str:
    return "never" if number == 0 else "once" if number == 1 else f"{count(number)} times"


def _queue(peak: int) -> str:
    return f"at most {count(peak)} in the queue" if peak else "the queue stayed empty"


def _rate(per_s: float) -> str:
    for period_s, unit in ((1, "second"), (60, "minute"), (3600, "hour")):
        if per_s * period_s >= 1:
            return f"{plain_number(per_s * period_s)} a {unit}"
    return f"{plain_number(per_s * 86_400)} a day"
