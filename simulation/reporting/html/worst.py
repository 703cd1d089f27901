"""The notifications to look at first: dead-lettered, still waiting, or the slowest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from actors.formatting import counted
from simulation.reporting.html.words import shortened
from simulation.results.tables import IN_FLIGHT

if TYPE_CHECKING:
    from simulation.reporting.html.happenings import Broken
    from simulation.results.result import Result

REASONS_MAX = 3
"""The most reasons of dead letters of which one letter is shown each."""

RULES = (
    f"of each of the {REASONS_MAX} most frequent reasons in the dead letter queue, the notification with the most "
    "attempts; of those still in flight at the end, the oldest; of each channel, the one that was delivered latest "
    "after it was first accepted; and of each expectation that broke, the worst that it broke by"
)
"""By which rules they are chosen; among equals, the one that took longest, and then the first."""


class Chosen(NamedTuple):
    notification_id: str
    why: str
    """Why it is here, in a few words."""


def choose(result: Result, found: Sequence[Broken] = ()) -> list[Chosen]:
    """Return the notifications to look at, each once; none where the run kept no rows.

    Args:
        result: of the run.
        found: the expectations that broke, with the notifications that did it.
    """
    chosen: dict[str, Chosen] = {}
    if result.notifications.empty:
        return []
    broke = [
        Chosen(each.breach.ids[0], f"Breaks the expectation {each.text}.")
        for each in found
        if each.breach is not None and each.breach.ids
    ]
    for each in (*_choices(result), *broke):
        chosen.setdefault(each.notification_id, each)
    return list(chosen.values())


def _choices(result: Result) -> Iterator[Chosen]:
    table = result.notifications
    if table.empty:
        return
    table = table.assign(took=table["finished_at_s"].fillna(result.summary["simulated_s"]) - table["waited_since_s"])
    yield from _dead(result, table[table["outcome"] == "dead_lettered"])
    waiting = table[table["outcome"] == IN_FLIGHT]
    if len(waiting):
        rest = "the only one" if len(waiting) == 1 else f"the oldest of {counted(len(waiting), 'notification')}"
        yield Chosen(_first(waiting, "took"), f"Still in flight at the end: {rest}.")
    sent = table[table["outcome"] == "sent"]
    for channel in sent.groupby("channel", sort=False)["took"].max().sort_values(ascending=False, kind="stable").index:
        of_channel = sent[sent["channel"] == channel]
        yield Chosen(
            _first(of_channel, "took"), f"Slowest of {counted(len(of_channel), f'delivered {channel} notification')}."
        )


def _dead(result: Result, dead: pd.DataFrame) -> Iterator[Chosen]:
    if dead.empty:
        return
    last_reasons = result.dlq.drop_duplicates("id", keep="last")[["id", "reason"]]
    dead = dead.merge(last_reasons, on="id", how="left")
    counts = dead["reason"].value_counts().to_dict()
    common = sorted(counts, key=lambda reason: (-counts[reason], reason))
    for reason in common[:REASONS_MAX]:
        letters = dead[dead["reason"] == reason]
        which = "the only one" if len(letters) == 1 else f"the most attempts of {counted(len(letters), 'letter')}"
        yield Chosen(
            _first(letters, "attempts", "took"), f"Dead-lettered, “{shortened(str(reason))}”: {which} with this reason."
        )


def _first(table: pd.DataFrame, *columns: str) -> str:
    return str(table.sort_values(list(columns), ascending=False, kind="stable")["id"].iloc[0])
