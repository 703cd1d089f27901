"""Sentences about the requests of a run that went wrong; none if all went well."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.formatting import counted, instant_text, plain_number, seconds_text
from actors.instants import NS_PER_S
from actors.messages import (
    ActorFailed,
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.pipeline.readiness import ADDRESS_GONE
from actors.settings.faults import channels_hit
from simulation.reporting.fault_windows import fault_label
from simulation.results.formatting import duration_text, refusals_text
from simulation.scenario.metrics import NEVER, WITHIN
from simulation.scenario.workload import NORMAL, class_of

if TYPE_CHECKING:
    from simulation.results.result import Result

WORTH_SAYING = 0.001
"""The share of all requests from which on it is said that they are late."""

QUEUES_WORTH_SAYING = 0.02
"""The least share of all requests for which a provider's queue did not matter that is worth saying."""

BACKLOG_WORTH_SAYING_S = 10.0
"""From when on it is said how long the backlog of a fault was there."""

NAMED_MAX = 3
"""The most entries, reasons and faults that are named; the others are counted."""

HERD = 5
"""A second is a herd if it has so many times the mean of requests."""

HERD_MIN = 50
"""Fewer requests in a second are no herd."""


def facts(result: Result) -> list[str]:
    """Return sentences that no one should have to look for in tables: on requests lost, late, or delivered twice."""
    return list(_facts(result))


def _facts(result: Result) -> Iterator[str]:
    summary = result.summary
    groups = _groups(result)
    if summary["delivery_time_s"][NEVER]:
        what = "not delivered by the end of the run" if summary["in_flight"] else "never delivered"
        yield _whom(groups, summary, lambda each: int(each["delivery_time_s"][NEVER]), what)
    if refusals := refusals_text(summary["refused"], result.scenario):
        yield f"of these were refused: {refusals}"
    if gone := _suppressed_as_gone(result):
        yield f"of these were suppressed: {gone:,} to addresses of which a provider had said that they are gone"
    yield from _reasons(result)
    yield from _redriven(result)
    yield from _late_ones(groups, summary)
    if summary["reached_twice"]:
        verb = "was" if summary["reached_twice"] == 1 else "were"
        what = f"{verb} carried out by a provider twice or more, answered in time or not"
        yield _whom(groups, summary, lambda each: int(each["reached_twice"]), what)
    yield from _worst_parties(result)
    yield from _other_ways(result)
    yield from _copies(result)
    yield from _queues(result)
    yield from _backlogs(result)
    yield from _herd(result)
    yield from _served(result)
    yield from defaults_at_work(result.summary)


def defaults_at_work(summary: Mapping[str, Any]) -> list[str]:
    """Return the effects of defaults that the file does not name; none for a summary of a version without them."""
    return [each["text"] for each in summary.get("defaults", ())]


# ── whom ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Group(NamedTuple):
    name: str
    figures: Mapping[str, Any]


def _groups(result: Result) -> list[_Group]:
    classes = [class_of(entry) for entry in result.scenario.workload]
    names = [
        f"{name} ({kind})" if kind != NORMAL and len(set(classes)) > 1 else name
        for name, kind in zip(result.scenario.outline.entries, classes, strict=True)
    ]
    return [_Group(name, figures) for name, figures in zip(names, result.summary["workload"].values(), strict=True)]


def _whom(groups: list[_Group], of_all: Mapping[str, Any], count: Callable[[Mapping[str, Any]], int], what: str) -> str:
    text = f"{_of(count(of_all), of_all)} {what}"
    if len(groups) == 1:
        return text
    hit = sorted((each for each in groups if count(each.figures)), key=lambda each: -count(each.figures))
    named = _named_of(len(hit))
    parts = [f"{each.name} {_of(count(each.figures), each.figures, '')}" for each in hit[:named]]
    if rest := sum(count(each.figures) for each in hit[named:]):
        parts.append(f"others {rest:,}")
    return f"{text}: {', '.join(parts)}"


def _named_of(count: int) -> int:
    """Return how many of `count` are named: all, or so few that at least two others remain."""
    return count if count == NAMED_MAX + 1 else NAMED_MAX


def _of(count: int, figures: Mapping[str, Any], what: str = " requests") -> str:
    offered = figures["offered"]
    return f"all {count:,}{what}" if count == offered > 1 else f"{count:,} of {offered:,}{what}"


LATE = {"1m": "a minute", "10s": "10 s"}
"""The times from which on delivery is late, in words: a minute, or 10 s if no one has waited a minute."""


def _late_ones(groups: list[_Group], summary: Mapping[str, Any]) -> Iterator[str]:
    for name, words in LATE.items():
        late = partial(_late, within=name)
        if late(summary) > WORTH_SAYING * summary["offered"]:
            what = f"took over {words}, at most {duration_text(summary['sent_time_s']['max'])}"
            yield _whom(groups, summary, late, what)
            return


def _late(figures: Mapping[str, Any], within: str = "1m") -> int:
    share = figures[WITHIN][within]
    return 0 if share is None else int(figures["delivered"]) - round(share * figures["offered"])


# ── what else ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _reasons(result: Result) -> Iterator[str]:
    summary, failed, raised, first_ns = result.summary, Counter[str](), Counter[str](), math.inf
    dead: dict[str, str] = {}
    for event in result.history:
        if isinstance(event, NotificationFailed):
            failed["throttled by the provider" if event.throttled else event.reason] += 1
        elif isinstance(event, NotificationMovedToDeadLetter):
            dead[event.notification_id] = event.reason
        elif isinstance(event, NotificationRedriven):
            dead.pop(event.notification_id, None)
        elif isinstance(event, ActorFailed) and not event.error.startswith("InjectedCrash"):
            raised[f"{event.actor}: {event.error}"] += 1
            first_ns = min(first_ns, event.at_ns)
    if raised and result.scenario.actors:
        yield f"own actors raised: {_most_common(raised)}; the first at {seconds_text(int(first_ns))}"
    if failed:
        yield f"failed attempts: {_most_common(failed)}"
    if dead and len(dead) == summary["dead_lettered"]:  # aggregates keep the first ones only
        yield f"dead letters: {_most_common(Counter(dead.values()))}"


def _redriven(result: Result) -> Iterator[str]:
    became: dict[str, str] = {}
    times: list[float] = []
    history: Sequence[Any] = result.history if result.scenario.record == "full" else ()
    for event in history:
        if isinstance(event, NotificationRedriven):
            became[event.notification_id] = "in flight"
            times.append(event.at_ns / NS_PER_S)
        elif (end := _ENDS.get(type(event))) and event.notification_id in became:
            became[event.notification_id] = end
    if not became:
        return
    first, last = instant_text(min(times)), instant_text(max(times))
    ends = Counter(became.values())
    parts = [f"{ends[end]:,} {end}" for end in (*_ENDS.values(), "in flight") if ends[end]]
    when = f"at {first}" if first == last else f"from {first} to {last}"
    yield (
        f"redriven {when}: {counted(len(became), 'dead letter')}, of them {', '.join(parts)}; the first attempt after "
        "it is no retry"
    )


_ENDS: dict[type, str] = {
    NotificationSent: "delivered",
    NotificationMovedToDeadLetter: "dead again",
    NotificationSuppressed: "suppressed",
}
"""How a redriven notification ended."""


def _suppressed_as_gone(result: Result) -> int:
    """Return how many requests end with an address that is known to be gone, where the whole history is known."""
    gone, handed_on = set[str](), set[str | None]()
    for event in result.history:
        if isinstance(event, NotificationSuppressed) and event.reason == ADDRESS_GONE:
            gone.add(event.notification_id)
        elif isinstance(event, NotificationRequested):
            handed_on.add(event.instead_of)
    return len(gone - handed_on)


def _most_common(reasons: Counter[str]) -> str:
    each = reasons.most_common()
    named = _named_of(len(each))
    parts = [f"{count:,} {reason}" for reason, count in each[:named]]
    if rest := sum(count for _, count in each[named:]):
        parts.append(f"{rest:,} for other reasons")
    return ", ".join(parts)


def _worst_parties(result: Result) -> Iterator[str]:
    for kind, preposition in (("hosts", "at"), ("tenants", "of")):
        yield from _worst_party(result, kind, preposition)


def _worst_party(result: Result, kind: str, preposition: str) -> Iterator[str]:
    parties = result.summary["worst"].get(kind)
    if not parties or parties[0]["late"] <= WORTH_SAYING * result.summary["offered"]:
        return
    worst = parties[0]
    with_them = [
        result.summary["workload"][name]
        for name, entry in zip(result.scenario.outline.entries, result.scenario.workload, strict=True)
        if getattr(entry, kind, None) is not None
    ]
    others = sum(figures["offered"] for figures in with_them) - worst["offered"]
    late = sum(_late(figures) + figures["delivery_time_s"][NEVER] for figures in with_them) - worst["late"]
    if others <= 0 or late / others > worst["late_fraction"] / 2:
        return
    yield (
        f"{worst['name']}: {worst['late']:,} of {counted(worst['offered'], 'request')} not delivered within a minute; "
        f"{preposition} all other {kind} {max(late, 0):,} of {others:,}"
    )


def _other_ways(result: Result) -> Iterator[str]:
    for channel, figures in result.summary["channels"].items():
        config = result.scenario.channel_config(NotificationChannel(channel))
        providers = figures.get("providers", {})
        further = [f"{each['sent']:,} by {name}" for name, each in list(providers.items())[1:] if each["sent"]]
        if further:
            yield f"{channel}: of {figures['sent']:,} sent {', '.join(further)}"
        if config.fallback is not None and figures["handed_on"]:
            yield f"{channel} handed {counted(figures['handed_on'], 'request')} on to {config.fallback.channel}"


def _copies(result: Result) -> Iterator[str]:
    for channel, figures in result.summary["channels"].items():
        if copies := figures["hedges"]:
            yield f"{channel}: {copies:,} of {figures['requests']:,} requests to the provider were hedged copies"


def _queues(result: Result) -> Iterator[str]:
    for channel, figures in result.summary["channels"].items():
        whole = {"": figures} if "queue" in figures and "providers" not in figures else {}
        parts = {f" {name}": each for name, each in figures.get("providers", {}).items() if "queue" in each}
        for name, each in (whole | parts).items():
            queue, requests = each["queue"], each.get("requests", each["attempts"])
            if queue["abandoned"] + queue["turned_away"] <= QUEUES_WORTH_SAYING * requests:
                continue
            yield (
                f"{channel}: at most {queue['peak']:,} waited at the provider{name}; of {requests:,} requests "
                f"{queue['abandoned']:,} were begun when their sender had stopped waiting, and "
                f"{queue['turned_away']:,} found the queue full"
            )


def _backlogs(result: Result) -> Iterator[str]:
    times = {}
    for key, each in result.summary["faults"].items():
        ends_at, cleared_s = result.scenario.faults[int(key)].ends_at, each["backlog_cleared_s"]
        is_over = ends_at is not None and ends_at <= result.summary["simulated_s"]
        if is_over and (cleared_s is None or cleared_s >= BACKLOG_WORTH_SAYING_S):
            times[int(key)] = cleared_s
    longest = sorted(times, key=lambda number: -(times[number] or float("inf")))[:NAMED_MAX]
    for number in sorted(longest):
        fault, cleared_s = result.scenario.faults[number], times[number]
        when = "not cleared by the end" if cleared_s is None else f"cleared {duration_text(cleared_s)} after its end"
        label = fault_label(fault, result.scenario.channels_used)
        yield f"backlog of «{label}» at {instant_text(fault.at)}: {when}"
    if rest := len(times) - len(longest):
        yield f"backlogs of {counted(rest, 'other fault')} cleared sooner"


def _herd(result: Result) -> Iterator[str]:
    scenario = result.scenario
    lasts_s = max(scenario.duration, 1.0)
    most = [
        (figures["peaks"]["requests_per_s"] * lasts_s / figures["requests"], name, figures)
        for name, figures in result.summary["channels"].items()
        if any(name in channels_hit(fault) for fault in scenario.faults)
        and figures["peaks"]["requests_per_s"] >= HERD_MIN
    ]
    if most and (herd := max(most, key=lambda each: each[0]))[0] >= HERD:
        times, name, figures = herd
        yield (
            f"{name}: {figures['peaks']['requests_per_s']:,} requests to the provider in the busiest second, "
            f"{plain_number(times)} times the mean over {duration_text(lasts_s)} of arrivals"
        )


def _served(result: Result) -> Iterator[str]:
    if served := _left_out_as_served(result):
        what = "1 dead letter is" if served == 1 else f"{served:,} dead letters are"
        yield f"{what} served, and left out of redrives: the fallback was delivered or is under way"


def _left_out_as_served(result: Result) -> int:
    """Return how many dead letters are in the queue at the end since redrives have left them out as served."""
    scenario = result.scenario
    if not any(each.redrive is not None and each.served == "exclude" for each in scenario.operations):
        return 0
    if not any(config.fallback is not None for _, config in scenario.channels):
        return 0  # the table takes its time
    return int((result.dlq["served"] & result.dlq["left_at_s"].isna()).sum())
