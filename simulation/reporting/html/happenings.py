"""The events of a run in words and in order: faults, breakers, the first dead letters, breaches of expectations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from actors.formatting import counted
from actors.instants import NS_PER_S
from simulation.reporting.fault_windows import windows
from simulation.reporting.html.steps import Tone
from simulation.reporting.html.words import count, plain_duration
from simulation.reporting.plots.breaches import Breach, breach_of
from simulation.reporting.plots.breakers import openings
from simulation.reporting.plots.source import arrivals_end_of, end_of
from simulation.results.waiting import in_flight_most

if TYPE_CHECKING:
    from simulation.results.result import Result

EACH_MAX = 8
"""The most faults, and the most openings of one breaker, that are listed."""


class Happening(NamedTuple):
    at_ns: int
    text: str
    kind: Tone = ""


class Broken(NamedTuple):
    """An expectation that does not hold, with where and when it broke."""

    number: int
    text: str
    breach: Breach | None


def broken(result: Result) -> list[Broken]:
    outcomes = zip(result.scenario.expect, result.summary["expectations"], strict=True)
    return [
        Broken(number, expectation.text, breach_of(result, number))
        for number, (expectation, outcome) in enumerate(outcomes)
        if outcome["holds"] is False
    ]


def happenings(result: Result, found: list[Broken]) -> list[Happening]:
    """Return the events of a run in order; `found` are the expectations that broke."""
    return sorted([*_faults(result), *_breakers(result), *_levels(result), *_broke(found)], key=lambda each: each.at_ns)


def _faults(result: Result) -> Iterator[Happening]:
    end_s = end_of(result)
    found = windows(result.scenario, end_s)
    for window in found[:EACH_MAX]:
        start_s, stop_s = window.spans[0]
        more = f", and {count(len(window.spans) - 1)} times more" if len(window.spans) > 1 else ""
        yield Happening(_ns(start_s), f"{window.text}: begins{more}", "care")
        if stop_s < end_s:
            yield Happening(_ns(stop_s), f"{window.text}: ends, after {plain_duration(stop_s - start_s)}")
    arrivals_end_s = arrivals_end_of(result)
    if arrivals_end_s is not None and arrivals_end_s < end_s:
        yield Happening(_ns(arrivals_end_s), "Arrivals stop")
    yield Happening(_ns(end_s), "End of the run")


def _breakers(result: Result) -> Iterator[Happening]:
    """Yield when breakers opened; of one that opens again and again, how often between the first and the last time."""
    transitions = result.breaker
    for name, own in transitions.groupby("channel", sort=False):
        opened = openings(own)
        for place, (at_s, cause, host) in enumerate(
            zip(opened["time_s"], opened["cause"], opened["host"], strict=True)
        ):
            of_host = f" for {host}" if own["host"].nunique() > 1 else ""
            if place == 0:
                times = len(opened) - 1
                again = f"; {counted(times, 'time')} again later" if times else ""
                yield Happening(
                    _ns(at_s), f"Breaker {name}{of_host} opens: {str(cause).replace('_', ' ')}{again}", "bad"
                )
        closed = own[own["to"] == "closed"]
        if len(opened) and len(closed):
            yield Happening(_ns(closed["time_s"].iloc[-1]), f"Breaker {name} closes for the last time", "fine")


def _levels(result: Result) -> Iterator[Happening]:
    most, at_s = in_flight_most(result.notifications, result.dlq)
    if most:  # of aggregates there are no rows
        yield Happening(_ns(at_s), f"{counted(most, 'notification')} in flight, the most")
    letters = result.dlq
    if len(letters):
        first = letters.iloc[0]
        yield Happening(_ns(float(first["time_s"])), f"First dead letter, {first['id']}: {first['reason']}", "bad")
        if len(letters) > 1 and len(letters) >= result.summary["dlq"]["peak"]:
            last = float(letters["time_s"].iloc[-1])
            yield Happening(_ns(last), f"Last of {counted(len(letters), 'dead letter')}", "bad")


def _broke(found: list[Broken]) -> Iterator[Happening]:
    for each in found:
        if each.breach is not None and each.breach.spans:
            text = f"Expectation {each.text} breaks: {each.breach.text}"
            yield Happening(_ns(each.breach.spans[0][0]), text, "bad")


def _ns(seconds: float) -> int:
    return round(float(seconds) * NS_PER_S)
