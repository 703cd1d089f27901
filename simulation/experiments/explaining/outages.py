"""What a total outage does to one call and to a steady load: by a closed form where there is one, else by a run."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from actors.lint.traffic import trips
from actors.messages import NotificationChannel
from actors.settings.channel import ChannelConfig
from actors.settings.distribution_moments import limited_mean
from actors.settings.faults import FaultConfig
from actors.settings.quantities import FROM_FILE
from simulation.experiments.explaining.parts import By, OneCall, Reach, UnderLoad
from simulation.experiments.explaining.schedule import drawn_starts
from simulation.results.result import Result
from simulation.running.runner import run
from simulation.scenario import ChannelWorkload, EventWorkload, Scenario, WorkloadEntry

OUTAGES_S = (1.0, 10.0, 60.0, 600.0, 3600.0)
BEFORE_S = 30.0
"""How long a run is well before the outage: a window of the breaker has filled by then."""
AFTER_S = 60.0
"""How long calls go on coming after it."""
CALLS_MAX = 6_000
"""Calls of a run; more would take too long, so fewer come a second."""
_SEED = 0

_IN_RUNS_ONLY = (
    "rate_limit",
    "quota",
    "max_in_flight",
    "adaptive_rate",
    "concurrency_limit",
    "adaptive_throttle",
    "hedging",
    "fallback",
    "endpoints",
)

_OF_EVENTS = ("users",)
_OF_NOTIFICATIONS = ("hosts", "tenants", "expires_after", "critical", "priority")
"""What a load has of the scenario's: whom it is for, and what becomes of it where it waits."""


def besides(config: ChannelConfig) -> tuple[str, ...]:
    """Return the settings of a channel that only a run can account for, beside its breaker."""
    found = [key for key in _IN_RUNS_ONLY if getattr(config, key) is not None]
    found += ["failover"] if config.failover else []
    found += ["retry.budget"] if config.retry.budget is not None else []
    provider = config.provider
    return (*found, *(f"provider.{key}" for key in ("capacity", "latency_by_load") if getattr(provider, key)))


def left_out(scenario: Scenario, config: ChannelConfig) -> tuple[str, ...]:
    """Return what is not accounted for: the other nodes, and with which of them breakers are shared."""
    if scenario.nodes_at_most == 1:
        return ()
    is_shared = any(lane.circuit_breaker.shared != "none" for lane in config.by_provider().values())
    return ("nodes", "circuit_breaker.shared") if is_shared else ("nodes",)


def has_closed_form(config: ChannelConfig) -> bool:
    """Return whether retries alone decide: no breaker, nothing else, and answers that take a constant time."""
    return (
        not trips(config.circuit_breaker)
        and not besides(config)
        and config.provider.latency.constant is not None
        and config.provider.latency.constant <= config.timeout
    )


def one_call(config: ChannelConfig, outage_s: float) -> OneCall:
    """Return what an outage does to a call that is first tried as it begins."""
    takes_s = limited_mean(config.provider.latency, config.timeout)
    starts = drawn_starts(config.retry, takes_s, _SEED)
    after = _first_after(starts, outage_s)
    delivered = np.isfinite(after)
    attempts = float(np.mean(np.sum(starts < outage_s, axis=1) + delivered))
    came = after[delivered] + takes_s
    reach = Reach(float(came.min()), float(np.median(came)), float(came.max())) if len(came) else None
    by = By.FORMULA if len(starts) == 1 else By.DRAWS
    return OneCall(outage_s, float(np.mean(delivered)), reach, attempts, by)


def under_load(
    scenario: Scenario, channel: NotificationChannel, rate: float, outage_s: float, like: WorkloadEntry
) -> UnderLoad:
    """Return what an outage does to a steady load.

    Args:
        scenario: has the settings.
        channel: on which the load comes.
        rate: calls a second.
        outage_s: how long the outage lasts.
        like: an entry of the workload that says who the users are, and how old their notifications may become.
    """
    config = scenario.channel_config(channel)
    if has_closed_form(config) and getattr(like, "expires_after", None) is None:
        return _by_schedule(config, rate, outage_s)
    return _by_run(scenario, channel, rate, outage_s, like)


def _first_after(starts: npt.NDArray[np.float64], outage_s: float) -> npt.NDArray[np.float64]:
    """Return of each call when the first of its attempts starts that an outage does not meet; infinity if none does."""
    after: npt.NDArray[np.float64] = np.where(starts >= outage_s, starts, np.inf).min(axis=1)
    return after


def _by_schedule(config: ChannelConfig, rate: float, outage_s: float) -> UnderLoad:
    """Calls come at 0, 1 / rate, 2 / rate, … from the beginning of the outage; each makes its attempts, whatever the
    others do."""
    takes_s = config.provider.latency.constant or 0.0
    drawn = drawn_starts(config.retry, takes_s, _SEED)
    calls = math.ceil(round(rate * outage_s, 6))
    came = np.arange(calls) / rate
    # In whole nanoseconds, as the simulated clock has it.
    starts = np.round(came[:, None] + drawn[np.arange(calls) % len(drawn)], 9)
    met = (starts < outage_s).sum(axis=1)
    after = _first_after(starts, outage_s)
    delivered = np.isfinite(after)
    steady = np.arange(calls, calls + math.ceil(rate * max(AFTER_S, 1.0))) / rate
    seconds = np.floor(np.concatenate([after[delivered], steady]) - outage_s + 1e-9).astype(np.int64)
    waited = after[delivered] + takes_s - came[delivered]
    is_exact = len(drawn) == 1
    lost, requests = float(calls - delivered.sum()), float(met.sum())
    if not is_exact:  # the mean over all schedules that were drawn, and not what one for each call happens to give
        lost = float(_share_before(np.where(np.isfinite(drawn), drawn, -np.inf).max(axis=1), outage_s - came).sum())
        requests = float(sum(_share_before(column, outage_s - came).sum() for column in drawn.T))
    return UnderLoad(
        outage_s,
        rate,
        calls,
        lost,
        requests,
        float(np.bincount(seconds).max()) if len(seconds) else 0.0,
        (float(waited.max()) if len(waited) else takes_s) if is_exact else None,
        None,
        None,
        By.FORMULA if is_exact else By.DRAWS,
    )


def _share_before(starts: npt.NDArray[np.float64], at_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return which share of some starts comes before each of these times."""
    return np.searchsorted(np.sort(starts), at_s) / len(starts)


def _by_run(
    scenario: Scenario, channel: NotificationChannel, rate: float, outage_s: float, like: WorkloadEntry
) -> UnderLoad:
    rate = min(rate, CALLS_MAX / (BEFORE_S + outage_s + AFTER_S))
    result = run(_with_outage(scenario, channel, rate, outage_s, like))
    tried, breaker = result.attempts, result.breaker
    asked = tried[(tried["channel"] == channel.value) & ~tried["refused"]]
    since = asked["start_s"].to_numpy() - BEFORE_S
    meanwhile = (since >= 0) & (since < outage_s)
    after = np.floor(since[since >= outage_s] - outage_s).astype(np.int64)
    opens_s, closes_s = _breaker(result, channel, outage_s) if len(breaker) else (None, None)
    came = result.notifications["requested_at_s"].to_numpy() - BEFORE_S
    calls = int(np.sum((came >= 0) & (came < outage_s)))
    requests = result.requests
    lost_s = requests["waited_since_s"].to_numpy()[np.isinf(requests["time_s"])] - BEFORE_S
    figures = result.summary["channels"][channel.value]
    return UnderLoad(
        outage_s,
        rate,
        calls,
        float(np.sum(lost_s < outage_s)),
        float(meanwhile.sum()),
        float(np.bincount(after).max()) if len(after) else 0.0,
        figures["sent_time_s"]["max"],
        opens_s,
        closes_s,
        By.RUN,
        int(np.sum(lost_s >= outage_s)),
    )


def _breaker(result: Result, channel: NotificationChannel, outage_s: float) -> tuple[float | None, float | None]:
    changes = result.breaker[result.breaker["channel"] == channel.value]
    opened = changes[(changes["to"] == "open") & (changes["time_s"] >= BEFORE_S)]
    if not len(opened):
        return None, None
    closed = changes[(changes["to"] == "closed") & (changes["time_s"] >= opened["time_s"].iloc[-1])]
    closes_s = float(closed["time_s"].iloc[-1]) - BEFORE_S - outage_s if len(closed) else None
    return float(opened["time_s"].iloc[0]) - BEFORE_S, closes_s


def _with_outage(
    scenario: Scenario, channel: NotificationChannel, rate: float, outage_s: float, like: WorkloadEntry
) -> Scenario:
    """Return a scenario with the same channels, a steady load on one, and nothing wrong but one outage."""
    written = f"{rate!r}/s"
    entry = ChannelWorkload.model_validate(
        {"channel": channel.value, "arrivals": {"constant": written}}, context=FROM_FILE
    )
    kept = _OF_EVENTS if isinstance(like, EventWorkload) else (*_OF_EVENTS, *_OF_NOTIFICATIONS)
    entry = entry.model_copy(update={name: getattr(like, name) for name in kept})
    given = scenario.channel_as_given(channel)
    healthy = given.model_copy(update={"provider": given.provider.model_copy(update={"failure_rate": 0.0})})
    return Scenario(
        name=f"{scenario.name}: an outage",
        seed=_SEED,
        duration=BEFORE_S + outage_s + AFTER_S,
        drain=scenario.drain,
        commit_latency=scenario.commit_latency,
        workload=(entry,),
        channels=scenario.channels.model_copy(update={channel.value: healthy}),
        accounts=scenario.accounts,
        faults=(
            FaultConfig.model_validate({"channel": channel.value, "at": BEFORE_S, "for": outage_s, "outage": True}),
        ),
    )
