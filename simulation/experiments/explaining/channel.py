"""The explanation of a channel's settings, and its sheets; with the times at which its breaker opens and closes at a
steady load, by stepping the policy itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod

from actors.formatting import counted, plain_number
from actors.instants import NS_PER_S, ns
from actors.lint.retries import waits
from actors.lint.traffic import trips
from actors.messages import NotificationChannel
from actors.policies.breaker.recovery import OpenTime
from actors.policies.breaker.tripping import make_tripping
from actors.policies.failing_endpoints import APART_SHARE, SPAN_SHARE
from actors.policies.resuming import Ceiling
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.channel import ChannelConfig
from actors.settings.distribution_moments import limited_mean
from simulation.experiments.explaining.outages import (
    OUTAGES_S,
    OneCall,
    UnderLoad,
    besides,
    has_closed_form,
    left_out,
    load_sheet,
    one_call,
    one_call_sheet,
    under_load,
)
from simulation.experiments.explaining.schedule import (
    LEGEND,
    By,
    Schedule,
    Sentence,
    limits_in_words,
    marked,
    retries_of,
    schedule_in_words,
    schedule_sheet,
    schedules,
)
from simulation.results.formatting import duration_text
from simulation.running.executors import Executor
from simulation.scenario import ChannelWorkload, ClosedWorkload, Scenario
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.sheets import Sheet

# ── the breaker ───────────────────────────────────────────────────────────────────────────────────────────────────────


SPELLS_MAX = 1000
HORIZON_S = 2 * 3600.0
"""How long the outage lasts in which the breaker opens again and again."""

_STEPS_MAX = 200_000
"""Calls that are counted until the breaker opens; with more it is as good as never."""


@dataclass(frozen=True, slots=True)
class OpenSpell:
    """A time for which the breaker is open in an outage without an end."""

    start_s: float
    """From the beginning of the outage."""

    end_s: float


@lru_cache(64)  # several texts and pictures of a channel say it, and a window of a minute takes thousands of steps
def calls_until_open(config: CircuitBreakerConfig, rate: float) -> int | None:
    """Return at which failed call in a row a breaker opens that has seen good ones for long; None: it never does.

    Args:
        config: the breaker.
        rate: calls a second, all of them first attempts.
    """
    tripping = make_tripping(config)
    gap_ns = max(1, ns(1.0 / rate))
    window = config.window
    before = 0
    if window is not None:
        before = window.calls or 10 * (window.ema or 0) or math.ceil((window.time or 0.0) * rate) + 1
    at_ns = 0
    for _ in range(min(before, _STEPS_MAX)):
        at_ns += gap_ns
        tripping.success(at_ns, 0)
    # In a window of time the good calls are gone after its width, so a breaker that is still closed then stays closed.
    enough = config.failure_threshold if window is None else 2 * before + (config.minimum_calls or 100) + 10
    for number in range(1, min(enough, _STEPS_MAX) + 1):
        at_ns += gap_ns
        if tripping.failure(at_ns, 0):
            return number
    return None


def opens_s(config: ChannelConfig, rate: float) -> float | None:
    """Return when the breaker opens after an outage has begun, in seconds, if nothing is retried before; None: never.

    A retry is one more failure, so it opens earlier where retries are made before that.
    """
    breaker = config.circuit_breaker
    if breaker.begins.value != "closed" or (calls := calls_until_open(breaker, rate)) is None:
        return None
    return (calls - 1) / rate + limited_mean(config.provider.latency, config.timeout)


def open_spells(config: ChannelConfig, rate: float) -> tuple[OpenSpell, ...]:
    """Return when the breaker is open in an outage of two hours; a probe is made after each time.

    More than :data:`SPELLS_MAX` are not listed.
    """
    start_s = opens_s(config, rate)
    breaker = config.circuit_breaker
    if start_s is None or (breaker.open_growth is not None and breaker.open_growth.jitter):
        return ()
    takes_s = limited_mean(config.provider.latency, config.timeout)
    open_time = OpenTime(breaker, None)
    spells = []
    for opened_before in range(SPELLS_MAX):
        if start_s >= HORIZON_S:
            break
        end_s = start_s + open_time.next_ns(opened_before) / NS_PER_S
        spells.append(OpenSpell(start_s, end_s))
        start_s = end_s + takes_s
    return tuple(spells)


def breaker_in_words(config: ChannelConfig, rate: float) -> tuple[Sentence, ...]:
    """Return when the breaker opens, the fate of calls meanwhile, and when it closes."""
    breaker = config.circuit_breaker
    match breaker.begins.value:
        case "disabled":
            return (Sentence("There is no breaker: whatever goes wrong, every attempt goes out."),)
        case "metrics-only":
            return (Sentence("The breaker only counts: whatever goes wrong, every attempt goes out."),)
        case "forced-open":
            return (Sentence("The breaker is forced open: nothing goes out until an operator changes that."),)
    return (Sentence(_opens(config, rate)), Sentence(_stays_open(breaker)), Sentence(_meanwhile(config, rate)))


def endpoints_in_words(config: ChannelConfig) -> tuple[Sentence, ...]:
    if config.endpoints is None:
        return ()
    after = config.endpoints.disable_after
    apart = f"{duration_text(after / APART_SHARE)} to {duration_text(after / SPAN_SHARE)} apart"
    return (
        Sentence(
            f"An endpoint is disabled when all attempts at it have failed for {duration_text(after)}, from the first "
            f"of two that are {apart}; an order or one success enables it."
        ),
    )


def _opens(config: ChannelConfig, rate: float) -> str:
    breaker = config.circuit_breaker
    window = breaker.window
    if window is None:
        rule = f"at {counted(breaker.failure_threshold, 'failure')} in a row"
    else:
        over = (
            f"the last {counted(window.calls, 'call')}"
            if window.calls is not None
            else f"the calls of {duration_text(window.time)}"
            if window.time is not None
            else f"a moving average of {counted(window.ema or 1, 'call')}"
        )
        least = breaker.minimum_calls or window.default_minimum_calls
        rule = f"where {100 * breaker.failure_rate:g}% of {over} have failed, of {least} or more"
        if breaker.slow_call is not None:
            slow = breaker.slow_call
            rule += f", or {100 * slow.rate:g}% took over {duration_text(slow.duration)}"
    if "counts" in breaker.model_fields_set:
        rule += f", of what is {', '.join(breaker.counts)}"
    per = ", one for each host of recipients" if breaker.per == "host" else ""
    after_s = opens_s(config, rate)
    if after_s is None:
        return f"The breaker opens {rule}{per}; at {rate:g}/s it never does, even if every call fails."
    calls = calls_until_open(breaker, rate)
    first_wait_s = next(waits(config.retry, "shortest")) if config.retry.max_attempts != 1 else math.inf
    is_sooner = first_wait_s + limited_mean(config.provider.latency, config.timeout) < after_s
    sooner = "; retries may open it sooner" if is_sooner else ""
    about = "" if config.provider.latency.constant is not None else "about "
    return (
        f"The breaker opens {rule}{per}. If every call fails, at {rate:g}/s call {calls} opens it after "
        f"{about}{duration_text(after_s)}{sooner}."
    )


def _stays_open(breaker: CircuitBreakerConfig) -> str:
    growth = breaker.open_growth
    lasts = duration_text(breaker.timeout)
    if growth is not None:
        lasts += f", then ×{growth.multiplier:g} each time up to {duration_text(growth.max)}"
    if growth is not None and growth.jitter:
        lasts += f", ±{100 * growth.jitter:g}%"
    probes = counted(breaker.half_open_permits, "probe")
    closes = "closes once all have succeeded" if breaker.half_open_permits > 1 else "closes if that succeeds"
    if breaker.decide != "first_failure":
        closes = f"closes if fewer than {100 * breaker.failure_rate:g}% of them fail"
    ramp = breaker.ramp
    rest = "" if ramp is None else f", then lets {100 * ramp.start:g}% through and all after {duration_text(ramp.over)}"
    return f"It stays open for {lasts}, lets {probes} through, and {closes}{rest}."


def _meanwhile(config: ChannelConfig, rate: float) -> str:
    breaker = config.circuit_breaker
    meets = "A call that meets the open breaker"
    if config.failover:
        meets += " of a provider goes to the next one; where all are open it"
    if breaker.when_open == "fail":
        return f"{meets} fails at once and uses up an attempt."
    pace, ceiling = breaker.resume_rate.per_second, Ceiling(breaker).per_s(rate)
    return (
        f"{meets} waits and uses up no attempt. Once it is closed, waiting calls go on at {min(pace, ceiling):g}/s, "
        f"twice as fast every {duration_text(breaker.resume_doubling)}, up to {ceiling:g}/s."
    )


def cost_in_words(
    config: ChannelConfig, rate: float, schedule: Schedule, timeout: float | None
) -> tuple[Sentence, ...]:
    """Return what the provider gets to do with these settings, at so many calls a second."""
    limit = retries_of(config).max_elapsed
    attempts = schedule.max_attempts if limit is None else schedule.mean_attempts
    by = By.DRAWS if limit is not None and schedule.drawn else By.FORMULA
    least = "at least " if limit is not None and schedule.is_cut else ""
    upstream = config.provider.upstream
    copies = "" if config.hedging is None else ", before copies that hedging sends"
    requests = marked(counted(attempts, "request"), by)
    calls = f"{counted(rate, 'call')}/s"
    become = marked(plain_number(rate * attempts), by)
    text = f"a call makes {least}{requests}{copies}: {calls} become{'s' * (rate == 1)} up to {become} requests/s"
    if attempts == math.inf:
        text = f"requests for a call{copies} go on for ever: those of {calls} only grow"
    text = f"If every attempt fails, {text}{_kept_back(config)}."
    said = [Sentence(text, by)]
    if upstream is not None:
        asked = counted(upstream.retry.attempts_bound, "request")
        bottom = counted(prod(each.retry.attempts_bound for each in upstream.chain), "request")
        last = "" if upstream.upstream is None else f", and up to {bottom} to the last layer"
        said.append(
            Sentence(f"Each attempt that the provider takes is up to {asked} of its own to its upstream{last}.")
        )
    if attempts > 1 and limit is None:
        shares = ((p, (1.0 - p**schedule.max_attempts) / (1.0 - p)) for p in (0.1, 0.5, 0.9))
        rates = ", ".join(f"×{times:.3g} where {100 * p:g}% fail" for p, times in shares)
        allowed = "" if config.retry.budget is None else ", as far as the budget allows,"
        said.append(Sentence(f"If a share of the attempts fails at random, requests are{allowed} {rates}."))
    bounds_s = [each for each in (timeout, config.deadline) if each is not None]
    text = "Nothing bounds how long an attempt may hang."
    if bounds_s:
        text = (
            f"If attempts hang, each takes {duration_text(min(bounds_s))}: at {rate:g}/s, first attempts alone keep "
            f"{counted(rate * min(bounds_s), 'request')} open at a time."
        )
    said.append(Sentence(text))
    if (price := config.provider.price) and attempts < math.inf:
        costs = marked(plain_number(price * attempts), by)
        said.append(Sentence(f"A call costs {plain_number(price)}, and {least}{costs} if every attempt fails.", by))
    return tuple(said)


def _kept_back(config: ChannelConfig) -> str:
    by = ["the retry budget"] if config.retry.budget is not None else []
    by += ["an open breaker"] if trips(config.circuit_breaker) else []
    return f", less those that {' and '.join(by)} {'keep' if len(by) > 1 else 'keeps'} back" if by else ""


ASSUMED_LOAD = 10.0
"""Calls a second where nothing says how many there are."""


@dataclass(frozen=True, slots=True)
class ChannelExplained:
    channel: str
    load: float

    load_is: str
    """Where that comes from: ``given``, ``of the scenario`` or ``assumed``."""

    schedules: tuple[Schedule, ...]
    """The schedules; the first is for failures without a rule of their own."""

    in_words: tuple[Sentence, ...]

    one_call: tuple[OneCall, ...]
    under_load: tuple[UnderLoad, ...]
    breaker: tuple[Sentence, ...]

    open_spells: tuple[OpenSpell, ...]
    """The first of an outage without an end; none where it does not open."""

    cost: tuple[Sentence, ...]
    """The load on the provider, in sentences."""

    besides: tuple[str, ...]
    """Settings that take part too, and are in the runs only."""

    left_out: tuple[str, ...]
    """Settings that are in nothing of this."""


def explained(
    scenario: Scenario,
    channel: NotificationChannel,
    load: float | None,
    has_load: bool,
    pool: Executor,
    *,
    has_timeout: bool = True,
) -> ChannelExplained:
    config = scenario.channel_config(channel)
    mean = _mean_load(scenario, channel)
    rate, load_is = (load, "given") if load is not None else (mean, "of the scenario")
    if not rate or (load is None and not has_load):
        rate, load_is = ASSUMED_LOAD, "assumed"
    entries = [entry for entry in scenario.workload if channel in entry.channels]
    like = next((entry for entry in entries if isinstance(entry, ChannelWorkload)), entries[0] if entries else None)
    retry, timeout = retries_of(config), config.timeout if has_timeout else None
    found = schedules(retry)
    outage = partial(under_load, scenario, channel, rate, like=like)
    outages = dict(enumerate(map(outage, OUTAGES_S)) if has_closed_form(config) else pool.map(outage, OUTAGES_S))
    return ChannelExplained(
        channel.value,
        rate,
        load_is,
        found,
        (*schedule_in_words(found[0], retry, timeout), *limits_in_words(config)),
        tuple(one_call(config, outage_s) for outage_s in OUTAGES_S),
        tuple(outages[number] for number in range(len(OUTAGES_S))),
        (*breaker_in_words(config, rate), *endpoints_in_words(config)),
        open_spells(config, rate),
        cost_in_words(config, rate, found[0], timeout),
        besides(config),
        left_out(scenario, channel, like),
    )


def _mean_load(scenario: Scenario, channel: NotificationChannel) -> float:
    entries = [entry for entry in scenario.workload if channel in entry.channels]
    count = sum(
        expected_notifications(scenario, entry) / (1 if isinstance(entry, ClosedWorkload) else len(entry.channels))
        for entry in entries
    )
    return float(f"{count / (scenario.arrivals_end_ns / 1e9):.3g}")


def sheets(name: str, channels: Sequence[ChannelExplained]) -> list[Sheet]:
    """Return the sheets of channels, in order.

    Args:
        name: the scenario's.
        channels: of it.
    """
    found = []
    for each in channels:
        schedule, *others = map(schedule_sheet, each.schedules)
        of_load = load_sheet(each.under_load, each.load, load_text(each), each.besides, each.left_out)
        found += [
            Sheet(f"{name}: {each.channel}"),
            schedule._replace(said=[said.text for said in each.in_words]),
            *others,
            one_call_sheet(each.one_call),
            of_load,
            Sheet("The breaker, and what it costs", said=[said.text for said in (*each.breaker, *each.cost)]),
        ]
    return [*found, Sheet(notes=[LEGEND])]


def load_text(channel: ChannelExplained) -> str:
    rate = f"{plain_number(channel.load)}/s"
    return {"of the scenario": f"{rate}, the scenario's mean"}.get(channel.load_is, f"{rate}, {channel.load_is}")
