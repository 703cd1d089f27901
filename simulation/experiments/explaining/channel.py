"""What the settings of a channel will do: all that is said of it, and its sheets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

from actors.formatting import counted, plain_number
from actors.lint.traffic import trips
from actors.messages import NotificationChannel
from actors.settings.channel import ChannelConfig
from simulation.experiments.explaining.breaker import OpenSpell, breaker_in_words, endpoints_in_words, open_spells
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
    """The first is that of failures without a rule of their own."""

    in_words: tuple[Sentence, ...]

    one_call: tuple[OneCall, ...]
    under_load: tuple[UnderLoad, ...]
    breaker: tuple[Sentence, ...]

    open_spells: tuple[OpenSpell, ...]
    """The first of an outage without an end; none where it does not open."""

    cost: tuple[Sentence, ...]
    """What the provider gets to do."""

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
    """Return what the settings of a channel will do."""
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
