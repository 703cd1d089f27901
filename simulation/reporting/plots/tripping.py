"""Why a breaker opened: what it counts against its thresholds, from the attempts of the run;
how much of the quota and of the retry budget is in use, too."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from actors.errors import ConfigurationError
from actors.formatting import counted, instant_text
from actors.messages import BreakerState, NotificationChannel
from actors.policies.breaker.tripping import FailureRate, make_tripping
from actors.policies.retry.budgets import AwsBudget, Budget, FinagleBudget, GrpcBudget, TokenBudget, make_budget
from actors.policies.retry.policy import FailureKind
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.rate_limit import RateLimitConfig
from actors.settings.retry import BudgetConfig
from simulation.reporting.plots.breakers import openings
from simulation.reporting.plots.canvas import say
from simulation.reporting.plots.findings import titled
from simulation.reporting.plots.looks import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from simulation.reporting.plots.panels import count_axis
from simulation.reporting.plots.source import PlottedRun, Taken, check_run, parts
from simulation.reporting.plots.stacked import over_time
from simulation.results.series import nanoseconds
from simulation.results.tables import transitions_of

# ── the limits that a breaker has ─────────────────────────────────────────────────────────────────────────────────────


Steps = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Times in seconds, and a share from each of them on."""

_RETRIED = {"transient", "ambiguous"}


def quota_in_use(attempts: pd.DataFrame, quota: RateLimitConfig) -> Steps | None:
    """Return the share of a quota in use over time: the requests that started in the window up to then, of those that
    it allows. Of several quotas it is the fullest one; None: there was no attempt.
    """
    if attempts.empty:
        return None
    starts = np.sort(attempts["start_s"].to_numpy(float))
    rates = quota.limits
    times = np.unique(np.concatenate([starts, *(starts + rate.period for rate in rates)]))
    shares = [
        (np.searchsorted(starts, times, "right") - np.searchsorted(starts, times - rate.period, "right")) / rate.count
        for rate in rates
    ]
    return times, np.max(shares, axis=0)


def budget_left(attempts: pd.DataFrame, config: BudgetConfig) -> Steps | None:
    """Return when which share of a retry budget was left, of the most that it had in the run.

    None: there was no attempt, or the budget is one of retries at a time, which has nothing to be spent.
    """
    budget = make_budget(config)
    if attempts.empty or _left(budget, 0) is None:
        return None
    starts, ends = nanoseconds(attempts["start_s"]), nanoseconds(attempts["end_s"])
    ids, outcomes = attempts["id"].to_list(), attempts["outcome"].to_list()
    throttled, retried = attempts["throttled"].to_list(), attempts["next_retry_at_s"].notna().to_list()
    moments = np.concatenate([ends, starts])
    # At an instant ends come first, as what they give back can be used then; but not before the start of the same one.
    turn = np.concatenate([np.where(starts == ends, 2, 0), np.ones(len(ids), int)])
    order = np.lexsort((turn, moments)).tolist()
    times: list[float] = []
    left: list[float] = []
    due: dict[str, int] = {}  # the charge of the retry that is to come
    charges: dict[int, int] = {}  # those of attempts that have set out
    for place in order:
        row, now_ns = place % len(ids), int(moments[place])
        if place >= len(ids):
            charges[row] = due.pop(ids[row], 0)
            budget.start(charges[row], now_ns)
        else:
            outcome = outcomes[row]
            failed = outcome in _RETRIED
            budget.end(charges.pop(row, 0), True if outcome == "sent" else False if failed else None, now_ns)
            if failed and retried[row]:
                kind: FailureKind = (
                    "throttled" if throttled[row] else "ambiguous" if outcome == "ambiguous" else "transient"
                )
                due[ids[row]] = budget.try_retry(kind, now_ns) or 0
        times.append(now_ns / 1e9)
        left.append(_left(budget, now_ns) or 0.0)
    return np.array(times), np.array(left) / (max(left) or 1.0)


def _left(budget: Budget, now_ns: int) -> float | None:
    match budget:
        case FinagleBudget():
            return float(budget.balance(now_ns))
        case AwsBudget():
            return float(budget.available)
        case GrpcBudget() | TokenBudget():
            return budget.tokens
        case _:
            return None


FAILURES = ("transient", "throttled", "ambiguous")
"""The outcomes that are no call to a breaker that does not count them as failures."""

IGNORED = ("permanent", "dead_destination")
"""The outcomes that are ignored, or count as success, by `ignored_counts_as`."""


SHOWN_MAX = 3.0
"""In thresholds: a larger value is cut off, as it would flatten all others."""


class Counted(NamedTuple):
    """The counts of a breaker after each call to its provider that ended."""

    at_s: list[float]
    failing: list[float]
    """The share of failures in its window, or without one the failures in a row."""

    slow: list[float]
    """The share of slow calls in its window."""

    calls: list[int]
    """How many calls are in the breaker's window."""


def breaker_causes(result: PlottedRun, ax: Axes | None = None, *, channel: str | None = None) -> Axes:
    """Draw why the breaker of a channel's first provider opened: its failure rate or failures in a row against the
    threshold, slow calls against theirs, pale where there are fewer calls than it needs; a line marks each opening.
    Beside it, where the channel has them, the share of its slots and of its quota in use, and of its retry budget left.
    A value far above its threshold, as failures in a row where nothing opens, is cut off.

    The counts are made again from the attempts of the run, from 0 whenever the breaker closes. Where each host has a
    breaker of its own, the plot shows the host whose breaker opened most often. Where each node has one, the title
    alone says how often they opened: no table says at which node an attempt was made.

    Args:
        result: a result that kept its attempts.
        ax: where to draw; axes of a figure of its own when None.
        channel: the channel; all, one below the other, when None.

    Raises:
        ConfigurationError: there is no such channel, or the run kept no attempts.
        WrongType: it is no result.
    """
    check_run(result)
    if result.scenario.record != "full":
        raise ConfigurationError(["breaker-causes: wanted a run that kept its attempts (record: full)"])
    several = channel is None and len(result.scenario.channels_used) > 1
    found = parts(result, "attempts", "end_s", channel=channel, by="channel" if several else None)
    return over_time(found, ax, _draw, "against its threshold")


def _draw(ax: Axes, part: Taken) -> tuple[str, Sequence[Artist]]:
    assert part.run is not None
    assert part.channel is not None
    channel = part.run.scenario.channel_config(NotificationChannel(part.channel))
    config = channel.circuit_breaker
    transitions = transitions_of(part.run.breaker, part.channel)
    about = part.label or part.channel
    if part.run.scenario.outline.nodes > 1:
        say(ax, "each node counts its own attempts, and no table says whose an attempt was")
        nodes = openings(transitions)["channel"].nunique()
        return titled(about, _opens(openings(transitions)), f"at {counted(nodes, 'node')}" if nodes else ""), []
    own = part.frame[(part.frame["provider"] == "primary") & (part.frame["channel"] == part.channel)]
    slots = _slots_in_use(own, channel.slots)
    quota = None if channel.quota is None else quota_in_use(own, channel.quota)
    of_channel = part.frame[part.frame["channel"] == part.channel]
    budget = None if channel.retry.budget is None else budget_left(of_channel, channel.retry.budget)
    of_host = ""
    if config.per == "host" or transitions["host"].notna().any():
        transitions, own, of_host = _of_one_host(part.run, transitions, own)
    closes = transitions.loc[transitions["to"] == "closed", "time_s"].to_list()
    opens = openings(transitions)["time_s"].to_list()
    tallied = counted_by(config, own.sort_values("end_s", kind="stable").to_dict("records"), closes)
    threshold = config.failure_rate if config.window is not None else float(config.failure_threshold)
    needed = _needed(config)
    values = np.minimum(np.array(tallied.failing) / threshold, SHOWN_MAX)
    enough = np.array(tallied.calls) >= needed
    name = "failure rate" if config.window is not None else "failures in a row"
    handles: list[Artist] = []
    ax.plot(tallied.at_s, values, color=BLUE, linewidth=0.7, alpha=0.35, drawstyle="steps-post", label="_too few calls")
    shown = np.where(enough, values, np.nan)
    handles += ax.plot(tallied.at_s, shown, color=BLUE, linewidth=1.3, drawstyle="steps-post", label=name)
    highest = max([1.0, *values[enough].tolist()])
    if config.slow_call is not None:
        slow = np.where(enough, np.minimum(np.array(tallied.slow) / config.slow_call.rate, SHOWN_MAX), np.nan)
        handles += ax.plot(tallied.at_s, slow, color=PURPLE, linewidth=1.3, drawstyle="steps-post", label="slow calls")
        highest = max([highest, *slow[np.isfinite(slow)].tolist()])
    handles.append(ax.axhline(1.0, color="#222222", linewidth=1.0, linestyle=(0, (4, 2)), label="threshold"))
    for steps, color, label in (
        (slots, GREEN, "slots in use"),
        (quota, ORANGE, "quota in use"),
        (budget, SKY, "retry budget left"),
    ):
        if steps is not None:
            look: dict[str, Any] = {"color": color, "linewidth": 1.1, "alpha": 0.9, "drawstyle": "steps-post"}
            handles += ax.plot(*steps, **look, label=label)
            highest = max(highest, float(np.max(steps[1])))
    count_axis(ax, min(highest, SHOWN_MAX), whole=False)
    if opens:
        ax.vlines(opens, 0, min(highest, SHOWN_MAX), color=VERMILION, linewidth=0.9, label="opens")
        handles.append(Line2D([], [], color=VERMILION, linewidth=0.9, label="opens"))
    if config.begins is BreakerState.DISABLED:
        return titled(about + of_host, "has no breaker"), handles
    at = f"{100 * threshold:.3g}% failing" if config.window is not None else f"{threshold:g} in a row"
    slow_too = "" if config.slow_call is None else f" or {100 * config.slow_call.rate:.3g}% slow"
    said = _opens(openings(transitions))
    return titled(about + of_host, said, f"threshold {at}{slow_too}"), handles


def _opens(found: pd.DataFrame) -> str:
    if found.empty:
        return "never opens"
    times = "once" if len(found) == 1 else f"{len(found):,} times"
    return f"opens {times}, first at {instant_text(float(found['time_s'].iloc[0]))}"


def _of_one_host(
    run: PlottedRun, transitions: pd.DataFrame, attempts: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return the rows of the host whose breaker opened most often, the first of several, and its name.

    If none opened it is the host with the most attempts: hosts counted together belong to no breaker.
    """
    hosts = attempts["id"].map(run.notifications.set_index("id")["host"])
    opened = openings(transitions)["host"]
    order = (opened if len(opened) else hosts).value_counts(sort=False)
    if order.empty or hosts.nunique() < 2:
        return transitions, attempts, ""
    host = str(order.idxmax())
    name = f" at {host} (of {hosts.nunique():,})"
    return transitions[transitions["host"] == host], attempts[hosts == host], name


def _slots_in_use(attempts: pd.DataFrame, slots: int | None) -> tuple[list[float], list[float]] | None:
    """Return when which share of the channel's slots was in use; None: it has no limit of them, or made no attempt."""
    if slots is None or attempts.empty:
        return None
    starts, ends = attempts["start_s"].to_numpy(float), attempts["end_s"].to_numpy(float)
    times = np.concatenate([starts, ends])
    steps = np.concatenate([np.ones(len(starts)), -np.ones(len(ends))])
    order = np.lexsort((steps, times))  # a slot that is given back can be taken at the same time
    return times[order].tolist(), (np.cumsum(steps[order]) / slots).tolist()


def _needed(config: CircuitBreakerConfig) -> int:
    return 0 if config.window is None else config.minimum_calls or config.window.default_minimum_calls


def counted_by(
    config: CircuitBreakerConfig, attempts: Sequence[Mapping[Any, Any]], closes_s: Sequence[float]
) -> Counted:
    """Return what a breaker counts after each of some attempts, in the order in which they ended."""
    found = Counted([], [], [], [])
    kinds = {*config.counts, "channel_fault"}
    tripping, pending = make_tripping(config), deque(closes_s)
    for attempt in attempts:
        kind = "permanent" if attempt["outcome"] in IGNORED else attempt["outcome"]
        kind = "throttled" if attempt["throttled"] else kind
        failed = kind in kinds
        is_ignored = kind in FAILURES or (kind == "permanent" and config.ignored_counts_as == "neutral")
        if is_ignored and not failed:
            continue  # no call to the breaker
        end_s = float(attempt["end_s"])
        while pending and pending[0] < end_s:
            pending.popleft()
            tripping.reset()
        start_ns, end_ns = nanoseconds([attempt["start_s"], end_s]).tolist()
        count = tripping.failure if failed else tripping.success
        count(end_ns, end_ns - start_ns)
        found.at_s.append(end_s)
        if isinstance(tripping, FailureRate):
            window = tripping.window
            found.calls.append(window.calls)
            found.slow.append(window.slow / window.total)
            found.failing.append(window.failures / window.total)
        else:
            found.calls.append(1)
            found.slow.append(0.0)
            found.failing.append(float(tripping.count))
    return found
