"""What settings will do: ``retrylab explain``, and `simulation.explain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.errors import ConfigurationError
from actors.formatting import counted
from actors.messages import NotificationChannel
from actors.settings.retry import RetryConfig
from simulation.experiments.explaining.breaking import breaker_in_words, cost_in_words, endpoints_in_words, open_spells
from simulation.experiments.explaining.outages import OUTAGES_S, besides, left_out, one_call, under_load
from simulation.experiments.explaining.parts import By, ChannelExplained, Schedule, Sentence
from simulation.experiments.explaining.schedule import schedules
from simulation.experiments.explaining.words import reach_text
from simulation.results.formatting import duration_text, line
from simulation.scenario import ChannelWorkload, ClosedWorkload, Scenario, parse
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.loading import given

ASSUMED_LOAD = 10.0
"""Calls a second where nothing says how many there are."""

_DEFAULTS = "{{name: defaults, duration: 10m, workload: [{{channel: {channel}, arrivals: {{constant: 10/s}}}}]}}"


@dataclass(frozen=True)
class Explanation:
    """What the settings of a scenario will do, by channel; a notebook shows it as text, tables and a picture."""

    scenario: Scenario
    channels: tuple[ChannelExplained, ...]

    def __repr__(self) -> str:
        return line("Explanation", self.scenario.name, [each.channel for each in self.channels])

    def _repr_html_(self) -> str:
        from simulation.experiments.explaining.page import page

        return page(self.scenario.name, self.channels)

    @property
    def document(self) -> dict[str, Any]:
        """Everything as a plain dict, fit for JSON: durations in seconds, rates a second; `by` says how each was
        found: ``formula``, ``draws`` or ``run``."""
        return {"scenario": self.scenario.name, "channels": [asdict(each) for each in self.channels]}


def explain(
    scenario: str | Path | Scenario | None = None,
    *,
    sets: Sequence[str] = (),
    channel: str | None = None,
    load: float | None = None,
) -> Explanation:
    """Return what settings will do: when attempts are made, and what a total outage does to a call and to a load.

    ::

        simulation.explain(sets=["channels.email.retry.max_attempts=8", "channels.email.retry.jitter=full"])

    Numbers come by a closed form where there is one, else by a small run of the simulation with seed 0. Each says
    which.

    Args:
        scenario: a file, or a scenario that has been loaded; None: the defaults.
        sets: ``path=value`` changes to the file, or to the defaults.
        channel: explain this one alone; None: all that the scenario uses.
        load: calls a second in the outages, more than 0 and at most 10,000; None: as many as the scenario has on
            average, or 10.

    Example:
        >>> explained = simulation.explain(sets=["channels.email.retry.max_attempts=4"])
        >>> [attempt.start.longest for attempt in explained.channels[0].schedules[0].attempts]
        [0.0, 1.0, 3.0, 7.0]

    Raises:
        ConfigurationError: the file, an override, the channel or the load cannot be used.
        ValueError: there are overrides, and a scenario that has been loaded.
    """
    loaded = (
        parse(_DEFAULTS.format(channel=_channel_of(sets, channel)), "defaults", sets=sets)
        if scenario is None
        else given(scenario, sets)
    )
    if load is not None and not 0 < load <= 10_000:
        raise ConfigurationError([f"load: wanted calls a second, more than 0 and at most 10,000, got {load!r}"])
    used = [one for one in loaded.channels_used if channel is None or one.value == channel]
    if not used:
        known = ", ".join(one.value for one in loaded.channels_used)
        raise ConfigurationError([f"channel: wanted one of {known}, got {channel!r}"])
    return Explanation(loaded, tuple(_explained(loaded, one, load, scenario is None) for one in used))


def _channel_of(sets: Sequence[str], channel: str | None) -> str:
    """Return the channel of the defaults: the first one that an override names."""
    names = {one.value for one in NotificationChannel}
    named = [
        parts[1] for text in sets if len(parts := text.partition("=")[0].split(".")) > 1 and parts[0] == "channels"
    ]
    return channel if channel in names else next((name for name in named if name in names), "email")


def _explained(
    scenario: Scenario, channel: NotificationChannel, load: float | None, is_default: bool
) -> ChannelExplained:
    config = scenario.channel_config(channel)
    mean = _mean_load(scenario, channel)
    rate, load_is = (load, "given") if load is not None else (mean, "of the scenario")
    if not rate or (load is None and is_default):
        rate, load_is = ASSUMED_LOAD, "assumed"
    entries = [entry for entry in scenario.workload if channel in entry.channels]
    like = next((entry for entry in entries if isinstance(entry, ChannelWorkload)), entries[0])
    found = schedules(config.retry)
    return ChannelExplained(
        channel.value,
        rate,
        load_is,
        found,
        _in_words(found[0], config.retry, config.timeout),
        tuple(one_call(config, outage_s) for outage_s in OUTAGES_S),
        tuple(under_load(scenario, channel, rate, outage_s, like) for outage_s in OUTAGES_S),
        (*breaker_in_words(config, rate), *endpoints_in_words(config)),
        open_spells(config, rate),
        cost_in_words(config, rate, found[0]),
        besides(config),
        left_out(scenario, config),
    )


def _mean_load(scenario: Scenario, channel: NotificationChannel) -> float:
    """Return how many notifications come on a channel a second, on average, to three digits."""
    entries = [entry for entry in scenario.workload if channel in entry.channels]
    count = sum(
        expected_notifications(scenario, entry) / (1 if isinstance(entry, ClosedWorkload) else len(entry.channels))
        for entry in entries
    )
    return float(f"{count / (scenario.arrivals_end_ns / 1e9):.3g}")


def _in_words(schedule: Schedule, retry: RetryConfig, timeout: float) -> tuple[Sentence, ...]:
    last = schedule.last
    if schedule.max_attempts == 1:
        return (Sentence("One attempt, at once; nothing is retried."),)
    by = By.DRAWS if schedule.drawn else By.FORMULA
    if retry.max_elapsed is not None:
        count = counted(schedule.mean_attempts, "attempt")
        text = f"no retry starts {duration_text(retry.max_elapsed)} after it or later: {count} where all fail at once"
        return (Sentence(f"The first attempt is made at once, and {text}, of {schedule.max_attempts}.", by),)
    start = last.start
    typical = "" if start.is_certain or start.median is None else f", half of them by {duration_text(start.median)}"
    hung = duration_text(start.longest + (last.number - 1) * timeout)
    return (
        Sentence(
            f"The first attempt is made at once; the last, attempt {last.number}, starts {reach_text(start)} after "
            f"it{typical}.",
            by if typical else By.FORMULA,
        ),
        Sentence(
            f"If every attempt hangs until the timeout of {duration_text(timeout)}, the last starts up to {hung} after."
        ),
    )
