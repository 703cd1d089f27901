"""What the figures show, in words and numbers, as a text alternative."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from actors.formatting import counted, plain_number
from actors.settings.channel import ChannelConfig
from actors.settings.retry import RetryConfig
from simulation.reporting.fault_windows import Span, windows
from simulation.reporting.html.words import count, plain_duration, shortened
from simulation.reporting.plots.panels import bins, peak
from simulation.reporting.retry_waits import envelope, policy_text
from simulation.results.tables import transitions_of
from simulation.scenario.metrics import NEVER, WITHIN_S
from simulation.sheets import share_text

if TYPE_CHECKING:
    from simulation.results.result import Result

LISTED_MAX = 5
"""Of more windows or breakers than that only the first are named."""

WAITS_MAX = 9
"""As many retries as the figure shows."""


def of_the_faults(result: Result) -> str:
    """Return the faults and the quiet hours, with their times."""
    found = windows(result.scenario, _end_s(result))
    if not found:
        return "No faults and no quiet hours."
    said = [f"{window.text}, {_spans(window.spans)}" for window in found[:LISTED_MAX]]
    return f"Shaded are: {_listed(said, len(found))}."


def of_the_rates(result: Result) -> str:
    """Return how much arrives, is delivered and fails at most."""
    binned, width_s = bins(result.series, _end_s(result))
    names = {"arrivals": "arrivals", "sent": "deliveries", "failed": "failed attempts"}
    most = [f"{count(int(binned[column].max()))} {name}" for column, name in names.items()]
    return f"In a step of {plain_duration(width_s)} there are at most {most[0]}, {most[1]} and {most[2]}."


def of_in_flight(result: Result) -> str:
    """Return how many are in flight at most, and at the end."""
    binned, width_s = bins(result.series, _end_s(result))
    highest, at_s = peak(binned, width_s, "in_flight")
    if highest == 0:
        return "At the end of each step nothing is in flight."
    left = result.summary["in_flight"]
    at = plain_duration(min(at_s, _end_s(result)))
    return f"At most {counted(highest, 'notification')} in flight, {at} after the start; {count(left)} at the end."


def of_the_dead_letters(result: Result) -> str:
    """Return how the dead letter queue grows."""
    dlq = result.summary["dlq"]
    if dlq["peak"] == 0:
        return "The dead letter queue is empty all the time."
    first_s, last_s = result.dlq["time_s"].min(), result.dlq["time_s"].max()
    counts = result.dlq["reason"].value_counts().to_dict()
    common = sorted(counts, key=lambda reason: (-counts[reason], reason))
    reasons = _listed(
        [f"{shortened(str(reason))} ({count(counts[reason])})" for reason in common[:LISTED_MAX]], len(common)
    )
    return (
        f"The dead letter queue holds at most {counted(dlq['peak'], 'letter')}, and {count(dlq['final'])} at the end; "
        f"letters come in from {plain_duration(first_s)} to {plain_duration(last_s)} after the start. "
        f"Reasons: {reasons}."
    )


def of_the_breakers(result: Result) -> str:
    """Return how often each breaker opened, and for how long it was open."""
    figures = result.summary["breaker"]
    moved = [name for name, breaker in figures.items() if breaker["opened"]]
    if not moved:
        return "No circuit breaker opened." if figures else "There is no circuit breaker."
    said = []
    for name in moved[:LISTED_MAX]:
        transitions = transitions_of(result.breaker, name)
        first_s = transitions[transitions["to"].isin(["open", "forced-open"])]["time_s"].iloc[0]
        opened = figures[name]["opened"]
        times = "once" if opened == 1 else f"{count(opened)} times"
        open_for = plain_duration(figures[name]["open_s"])
        said.append(f"{name} {times}, for {open_for} in all, first {plain_duration(first_s)} after the start")
    others = len(figures) - len(moved)
    rest = f" {count(others)} never opened." if others else ""
    return f"Circuit breakers opened: {_listed(said, len(moved))}.{rest}"


def of_the_delivery_times(result: Result) -> str:
    """Return how long deliveries took."""
    times = result.summary["delivery_time_s"]
    offered, never = result.summary["offered"], times[NEVER]
    if never == offered:
        return "Nothing was delivered."
    known = [(share, times[key]) for share, key in _SHARES.items() if times[key] is not None]
    took = ", ".join(f"{share} {plain_duration(seconds)}" for share, seconds in known)
    slowest = plain_duration(result.summary["sent_time_s"]["max"])
    said = [f"Of all that was offered, {took} at most; the slowest delivery took {slowest}."] if took else []
    if never:
        said.append(f"{share_text(never / offered)} were never delivered ({count(never)} of {count(offered)}).")
    slower = [
        f"{share_text(1 - share)} longer than {plain_duration(WITHIN_S[name])}"
        for name, share in result.summary["delivered_within"].items()
        if name in WITHIN_S and 1 - share > never / offered
    ]
    if slower:
        also = ", those that were never delivered included" if never else ""
        said.append(f"{', '.join(slower)}{also}.")
    return " ".join(said)


_SHARES = {"half took": "p50", "90%": "p90", "99%": "p99"}


def of_the_amplification(result: Result, highest: tuple[float, float] | None) -> str:
    """Return how many attempts the notifications took; `highest` is the ratio of the step that needed the most, and the
    instant at which that began, in seconds."""
    amplification, summary = result.summary["retry_amplification"], result.summary
    if amplification is None:
        return "No attempt was made."
    by_channel = [
        f"{channel} {figures['retry_amplification']:.2f}"
        for channel, figures in summary["channels"].items()
        if figures["retry_amplification"] is not None
    ]
    channels = f" By channel: {', '.join(by_channel)}." if len(by_channel) > 1 else ""
    most = ""
    if highest is not None:
        what = "" if result.scenario.record == "full" else " attempts that ended for each arrival"
        most = f" The most in a step are {plain_number(highest[0])}{what}, from {plain_duration(highest[1])} on."
    return (
        f"Over the whole run {amplification:.2f} attempts for each notification that was tried: "
        f"{counted(summary['attempts'], 'attempt')}, of which {count(summary['retries'])} are retries.{channels}{most}"
    )


def of_the_backoff(policies: Mapping[str, ChannelConfig]) -> str:
    """Return how long channels wait after each failed attempt; the settings are by the names of the channels."""
    return " ".join(_backoff(channels, config.retry) for channels, config in policies.items())


def _backoff(channels: str, retry: RetryConfig) -> str:
    if retry.max_attempts == 1:
        return f"{channels}: one attempt, and no retries."
    retries = retry.max_attempts - 1
    waits = envelope(retry, min(retries, WAITS_MAX))
    said = [_range(low, high) for low, high in zip(waits.shortest, waits.longest, strict=True)]
    more = f", and so on to retry {count(retries)}" if retries > WAITS_MAX else ""
    return f"{channels}: {policy_text(retry)}; waits before each retry: {', '.join(said)}{more}."


def _range(low_s: float, high_s: float) -> str:
    if low_s == high_s:
        return plain_duration(low_s)
    return f"{plain_duration(low_s)} to {plain_duration(high_s)}"


def overview(result: Result) -> str:
    """Return what the overview shows."""
    parts = (of_the_faults, of_the_rates, of_in_flight, of_the_dead_letters, of_the_breakers)
    return " ".join(part(result) for part in parts)


def _end_s(result: Result) -> float:
    return float(result.summary["simulated_s"] or result.scenario.duration)


def _spans(spans: tuple[Span, ...]) -> str:
    if len(spans) > LISTED_MAX:
        return f"{count(len(spans))} times"
    return ", ".join(f"from {plain_duration(start_s)} to {plain_duration(end_s)}" for start_s, end_s in spans)


def _listed(said: list[str], of: int) -> str:
    return "; ".join(said if len(said) == of else [*said, f"and {count(of - len(said))} more"])
