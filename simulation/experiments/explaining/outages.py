"""The effect of a total outage on one call and on a steady load: by a closed form where there is one, else by a run."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import fmean, median
from typing import Any

from actors.formatting import plain_number
from actors.instants import NS_PER_S, ns
from actors.lint.traffic import trips
from actors.messages import (
    BreakerTransitioned,
    NotificationChannel,
    NotificationFailed,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.settings.channel import ChannelConfig
from actors.settings.distribution_moments import limited_mean
from actors.settings.faults import FaultConfig
from actors.settings.quantities import FROM_FILE
from simulation.experiments.explaining.schedule import FOLLOWED_MAX, By, Reach, drawn_starts, marked, retries_of
from simulation.results.formatting import duration_text, mean_count_text
from simulation.results.result import Result
from simulation.running.runner import run
from simulation.scenario import ChannelWorkload, EventWorkload, Scenario, WorkloadEntry
from simulation.scenario.metrics import NEVER
from simulation.sheets import Column, Kind, Row, Sheet

OUTAGES_S = (1.0, 10.0, 60.0, 600.0, 3600.0)
BEFORE_S = 30.0
"""Seconds before the outage, in which a window of the breaker fills."""
AFTER_S = 60.0
"""Seconds for which calls go on coming after the outage."""
DRAIN_S = 3600.0
"""The least time, in seconds, for which a run goes on until all calls have ended."""
CALLS_MAX = 6_000
"""Calls of a run; more would take too long, so fewer come a second."""
CALLS_COUNTED_MAX = 200_000
"""Of more calls whose schedules are drawn, only each second, third, … is followed."""
_SEED = 0
_HALF_NS = 5e-10
"""Instants are in whole nanoseconds, as the simulated clock has them."""

_IN_RUNS_ONLY = (
    "rate_limit",
    "tenant",
    "quota",
    "max_in_flight",
    "adaptive_rate",
    "concurrency_limit",
    "adaptive_throttle",
    "hedging",
    "fallback",
    "endpoints",
)

_OF_PROVIDERS = ("capacity", "latency_by_load", "throttle", "account", "one_at_a_time", "upstream", "script")

_OF_EVENTS = ("users",)
_OF_NOTIFICATIONS = ("hosts", "tenants", "expires_after", "critical", "priority")
"""The keys of the scenario's notifications that the load takes over: its recipients, and how they wait."""


@dataclass(frozen=True, slots=True)
class OneCall:
    """A call whose first attempt is made as an outage begins, with no other call about."""

    outage_s: float
    delivered: float
    """The chance that one of its attempts comes after the outage."""

    after: Reach | None
    """When it is then delivered, in seconds; None where it never is."""

    attempts: float

    by: By


@dataclass(frozen=True, slots=True)
class UnderLoad:
    """A steady load through an outage, and for a while after it."""

    outage_s: float
    rate: float
    """Calls a second. A run is made with less than was asked for where it would take too long."""

    calls: int

    lost: float
    """How many of the calls were never delivered; a mean where schedules were drawn."""

    requests: float

    peak_per_s: float
    """The most requests in one second once it was over."""

    slowest_s: float | None
    """The longest a call waited that was delivered; None where schedules were drawn, which have no longest."""

    opens_s: float | None
    """When the breaker opened, from the beginning of the outage; None where it did not."""

    closes_s: float | None
    """When it had closed for good, from the end of the outage; None where it never opened, or never closed."""

    by: By

    lost_after: int = 0
    """How many calls after the outage were never delivered, as while the breaker is still open."""

    lost_before: int = 0
    """How many calls before the outage were never delivered, as where the provider has too little capacity."""

    @property
    def lost_share(self) -> float:
        """Of the calls that came in the outage."""
        return self.lost / self.calls if self.calls else 0.0


def besides(config: ChannelConfig) -> tuple[str, ...]:
    """Return the settings of a channel that only a run can account for, beside its breaker."""
    found = [key for key in _IN_RUNS_ONLY if getattr(config, key) is not None]
    found += ["failover"] if config.failover else []
    found += ["retry.budget"] if config.retry.budget is not None else []
    return (*found, *(f"provider.{key}" for key in _OF_PROVIDERS if getattr(config.provider, key)))


def left_out(scenario: Scenario, channel: NotificationChannel, like: WorkloadEntry | None) -> tuple[str, ...]:
    """Return the settings that are not accounted for: other nodes and a breaker shared with them, users, the bound of
    the whole file, and differences between entries of the workload and the one that stands for all."""
    found = []
    if scenario.nodes_at_most > 1:
        lanes = scenario.channel_config(channel).by_provider().values()
        found += ["nodes"]
        found += ["circuit_breaker.shared"] if any(lane.circuit_breaker.shared != "none" for lane in lanes) else []
    found += ["quiet_hours"] if any(channel in each.channels for each in scenario.quiet_hours) else []
    found += ["preferences"] if any(channel == each.channel for each in scenario.preferences) else []
    found += ["max_pending"] if scenario.max_pending is not None else []
    for name, entry in zip(scenario.outline.entries, scenario.workload, strict=True):
        if channel in entry.channels:
            own = {key: getattr(entry, key, None) for key in (*_OF_EVENTS, *_OF_NOTIFICATIONS)}
            others = (key for key, value in own.items() if value and value != getattr(like, key, None))
            found += [f"workload.{name}.{key}" for key in others]
    return tuple(found)


def has_closed_form(config: ChannelConfig) -> bool:
    """Return whether retries alone decide: no breaker, nothing else, and answers that take a constant time."""
    return (
        not trips(config.circuit_breaker)
        and not besides(config)
        and config.provider.latency.constant is not None
        and config.provider.latency.constant <= config.timeout
        and config.retry.attempts_bound <= FOLLOWED_MAX
        and "transient" in config.retry.on
        and config.deadline is None
    )


def _answer_s(config: ChannelConfig) -> float:
    provider, upstream = config.provider, config.provider.upstream
    takes_s = limited_mean(provider.latency, config.timeout)
    for layer in () if upstream is None else upstream.chain:
        takes_s += limited_mean(layer.latency, layer.timeout or config.timeout)
    return min(takes_s, config.timeout)


def one_call(config: ChannelConfig, outage_s: float) -> OneCall:
    retry = retries_of(config)
    if "transient" not in retry.on:
        retry = retry.model_copy(update={"max_attempts": 1})  # what an outage has fail is final
    starts = drawn_starts(retry, limited_mean(config.provider.latency, config.timeout), _SEED, outage_s)
    takes_s = _answer_s(config)
    met = [bisect_left(row, outage_s) for row in starts]
    after = [row[count] for row, count in zip(starts, met, strict=True) if row[count:] and row[count] < math.inf]
    reach = Reach(min(after) + takes_s, median(after) + takes_s, max(after) + takes_s) if after else None
    attempts = (sum(met) + len(after)) / len(starts)
    by = By.FORMULA if len(starts) == 1 else By.DRAWS
    return OneCall(outage_s, len(after) / len(starts), reach, attempts, by)


def under_load(
    scenario: Scenario, channel: NotificationChannel, rate: float, outage_s: float, like: WorkloadEntry | None
) -> UnderLoad:
    config = scenario.channel_config(channel)
    if has_closed_form(config) and getattr(like, "expires_after", None) is None:
        return _by_schedule(config, rate, outage_s)
    return _by_run(scenario, channel, rate, outage_s, like)


def _by_schedule(config: ChannelConfig, rate: float, outage_s: float) -> UnderLoad:
    """Calls come at 0, 1 / rate, 2 / rate, … from the beginning of the outage; each makes its attempts, whatever the
    others do."""
    takes_s = config.provider.latency.constant or 0.0
    drawn = drawn_starts(config.retry, takes_s, _SEED)
    calls = math.ceil(round(rate * outage_s, 6))
    # How many of the calls come so early that the outage meets an attempt, by the starts of attempts. Of drawn
    # schedules it is the mean over all of them, and not what one for each call happens to give.
    met = [
        [min(calls, max(0, math.ceil(round((outage_s - start) * rate, 6)))) for start in row if start < math.inf]
        for row in drawn
    ]
    is_exact = len(drawn) == 1
    delivered_by = [
        start for start, ours, before in zip(drawn[0][1:], met[0][1:], met[0], strict=False) if ours < before
    ]
    return UnderLoad(
        outage_s,
        rate,
        calls,
        fmean(row[-1] for row in met),
        fmean(map(sum, met)),
        float(_busiest_second_after(drawn, rate, outage_s, calls)),
        max(delivered_by, default=0.0) + takes_s if is_exact else None,
        None,
        None,
        By.FORMULA if is_exact else By.DRAWS,
    )


def _busiest_second_after(drawn: Sequence[Sequence[float]], rate: float, outage_s: float, calls: int) -> int:
    """Return the most requests in a second after an outage: retries of its calls, and new calls.

    Of very many calls only each second, third, … is counted.
    """
    step = math.ceil(calls / CALLS_COUNTED_MAX)
    seconds: Counter[int] = Counter()
    for number, row in zip(range(0, calls, step), cycle(drawn)):
        left_s = outage_s - number / rate - _HALF_NS
        place = bisect_left(row, left_s)
        if place < len(row) and row[place] < math.inf:
            seconds[int(row[place] - left_s)] += step
    for number in range(calls, calls + math.ceil(rate * AFTER_S), step):
        seconds[int(number / rate - outage_s + _HALF_NS)] += step
    return max(seconds.values())


def _by_run(
    scenario: Scenario, channel: NotificationChannel, rate: float, outage_s: float, like: WorkloadEntry | None
) -> UnderLoad:
    rate = min(rate, CALLS_MAX / (BEFORE_S + outage_s + AFTER_S))
    result = run(_with_outage(scenario, channel, rate, outage_s, like))
    begins_ns, ends_ns = ns(BEFORE_S), ns(BEFORE_S + outage_s)
    asked_ns = [
        event.started_ns
        for event in result.history
        if isinstance(event, (NotificationSent, NotificationFailed))
        and event.channel == channel
        and not (isinstance(event, NotificationFailed) and event.refused)
    ]
    after = Counter((at_ns - ends_ns) // NS_PER_S for at_ns in asked_ns if at_ns >= ends_ns)
    came_ns = [
        event.at_ns for event in result.history if isinstance(event, NotificationRequested) and not event.instead_of
    ]
    lost_ns = _lost_ns(result)
    opens_s, closes_s = _breaker(result, channel, outage_s)
    return UnderLoad(
        outage_s,
        rate,
        sum(begins_ns <= at_ns < ends_ns for at_ns in came_ns),
        float(sum(begins_ns <= at_ns < ends_ns for at_ns in lost_ns)),
        float(sum(begins_ns <= at_ns < ends_ns for at_ns in asked_ns)),
        float(max(after.values(), default=0)),
        result.summary["channels"][channel.value]["sent_time_s"]["max"],
        opens_s,
        closes_s,
        By.RUN,
        sum(at_ns >= ends_ns for at_ns in lost_ns),
        sum(at_ns < begins_ns for at_ns in lost_ns),
    )


def _lost_ns(result: Result) -> list[int]:
    """Return the instants of wanted requests that were never delivered, in nanoseconds."""
    request_of: dict[str, str] = {}
    came_ns: dict[str, int] = {}
    settled = set[str]()
    for event in result.history:
        if isinstance(event, NotificationRequested):
            request = event.notification_id if event.instead_of is None else request_of[event.instead_of]
            request_of[event.notification_id] = request
            came_ns.setdefault(request, event.at_ns)
        elif isinstance(event, NotificationSent) or (
            isinstance(event, NotificationSuppressed) and event.notification_id in came_ns
        ):
            settled.add(request_of[event.notification_id])
    return [at_ns for request, at_ns in came_ns.items() if request not in settled]


def _breaker(result: Result, channel: NotificationChannel, outage_s: float) -> tuple[float | None, float | None]:
    changes = [e for e in result.history if isinstance(e, BreakerTransitioned) and e.breaker == channel.value]
    opened_ns = [each.at_ns for each in changes if each.to_state == "open" and each.at_ns >= ns(BEFORE_S)]
    if not opened_ns:
        return None, None
    closed_ns = [each.at_ns for each in changes if each.to_state == "closed" and each.at_ns >= opened_ns[-1]]
    closes_s = closed_ns[-1] / NS_PER_S - BEFORE_S - outage_s if closed_ns else None
    return opened_ns[0] / NS_PER_S - BEFORE_S, closes_s


def _with_outage(
    scenario: Scenario, channel: NotificationChannel, rate: float, outage_s: float, like: WorkloadEntry | None
) -> Scenario:
    written = f"{rate!r}/s"
    entry = ChannelWorkload.model_validate(
        {"channel": channel.value, "arrivals": {"constant": written}}, context=FROM_FILE
    )
    if like is not None:
        kept = _OF_EVENTS if isinstance(like, EventWorkload) else (*_OF_EVENTS, *_OF_NOTIFICATIONS)
        entry = entry.model_copy(update={name: getattr(like, name) for name in kept})
    given = scenario.channel_as_given(channel)
    well: dict[str, Any] = {"failure_rate": 0.0}
    if given.provider.upstream is not None:
        behind = None
        for layer in reversed(given.provider.upstream.chain):
            behind = layer.model_copy(update={**well, "upstream": behind})
        well["upstream"] = behind
    healthy = given.model_copy(update={"provider": given.provider.model_copy(update=well)})
    return Scenario(
        name=f"{scenario.name}: an outage",
        seed=_SEED,
        duration=BEFORE_S + outage_s + AFTER_S,
        drain=max(scenario.drain, DRAIN_S),  # what waits at the end of a short one would seem lost
        commit_latency=scenario.commit_latency,
        workload=(entry,),
        channels=scenario.channels.model_copy(update={channel.value: healthy}),
        accounts=scenario.accounts,
        faults=(
            FaultConfig.model_validate({"channel": channel.value, "at": BEFORE_S, "for": outage_s, "outage": True}),
        ),
    )


# ── sheets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def one_call_sheet(calls: Sequence[OneCall]) -> Sheet:
    rows = []
    for call in calls:
        after = None if call.after is None else call.after.text
        texts = [
            text and marked(text, call.by) for text in (_share(call.delivered), after, plain_number(call.attempts))
        ]
        rows.append(Row((duration_text(call.outage_s), *texts)))
    headings = ("delivered", "after", "attempts")
    return Sheet(
        "An outage, and one call that meets its beginning",
        [Column("outage"), *(Column(heading, Kind.NUMBER) for heading in headings)],
        rows,
        ["Its retries alone, with no breaker in their way."],
    )


def load_sheet(
    outages: Sequence[UnderLoad], load: float, load_is: str, besides: Sequence[str], left_out: Sequence[str]
) -> Sheet:
    slower = any(found.rate < load for found in outages)
    note = (
        "calls: in the outage; never: not delivered at all; requests: in the outage; peak: in a second after it; "
        "opens, closes: the breaker, from the beginning and from the end."
    )
    if slower:
        note += f" Runs that would have more than {CALLS_MAX:,} calls at the full rate have a lower one."
    if besides:
        note += f" Only the runs, and not the formulas, know of {', '.join(besides)}."
    if "nodes" in left_out:
        note += " One node takes the whole load."
    if left_out:
        note += f" Left out: {', '.join(left_out)}."
    headings = ("rate", "calls", "never", "slowest", "requests", "peak after", "opens", "closes")
    columns = [Column("outage"), *(Column(heading, Kind.COUNT) for heading in headings)]
    sheet = Sheet(
        f"An outage{' of all providers' if 'failover' in besides else ''}, and a load of {load_is}",
        columns,
        list(map(_load_row, outages)),
        [note],
    )
    return sheet if slower else sheet.only("outage", *headings[1:])


def _load_row(found: UnderLoad) -> Row:
    closes = None
    if found.opens_s is not None:
        closes = NEVER if found.closes_s is None else f"+{duration_text(found.closes_s)}"
    return Row(
        (
            marked(duration_text(found.outage_s), found.by),
            f"{plain_number(found.rate)}/s",
            found.calls,
            _lost(found),
            duration_text(found.slowest_s),
            found.requests,
            f"{found.peak_per_s:,.0f}/s",
            duration_text(found.opens_s),
            closes,
        )
    )


def _lost(found: UnderLoad) -> str:
    said = [f"{mean_count_text(found.lost)}, {_share(found.lost_share)}" if found.lost else "none"]
    said += [f"{found.lost_before:,} before it"] if found.lost_before else []
    said += [f"{found.lost_after:,} after it"] if found.lost_after else []
    return "; ".join(said)


def _share(share: float) -> str:
    percent = 100.0 * share
    return (
        f"{percent:.0f}%"
        if percent in (0.0, 100.0) or 1.0 <= percent <= 99.0
        else f"{percent:.2g}%"
        if percent < 1
        else f"{percent:.4g}%"
    )
